"""Gemini Live. Its JSON arrives in text frames or in binary ones; one frame may state several things.

When the user's speech ended it does not say, so only turns that the client marks have latencies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from trunkline.realtime.frames import Frame
from trunkline.realtime.observing.facts import (
    NOTHING,
    AssistantSaid,
    Called,
    Content,
    Fact,
    Failure,
    ResponseAsked,
    ResponseEnded,
    Said,
    SessionSet,
    UsageStatement,
    Used,
    UserSaid,
    UserStarted,
    UserStopped,
)
from trunkline.realtime.observing.reading import count, entries, members, name, sound_size, words, written
from trunkline.realtime.usage import Tokens

_HEARD: Final = re.compile(r'\s*\{\s*"realtime_?[iI]nput"\s*:\s*\{\s*"(?:audio|media|media_?[cC]hunks)"')
# A frame that is sound and nothing else: it begins so, and behind the sound it ends.
_SPOKEN: Final = re.compile(
    r'\s*\{\s*"serverContent"\s*:\s*\{\s*"modelTurn"\s*:\s*\{\s*(?:"role"\s*:\s*"model"\s*,\s*)?'
    r'"parts"\s*:\s*\[\s*\{\s*"inlineData"\s*:\s*\{\s*(?:"mimeType"\s*:\s*"[^"\\]*"\s*,\s*)?"data"\s*:\s*"'
)
_END: Final = re.compile(r'"\s*(?:,\s*"mimeType"\s*:\s*"[^"\\]*"\s*)?\}\s*\}\s*\]\s*\}\s*\}\s*\}\s*\Z')


class GoogleObserver:
    """Reads messages by their members."""

    usage: ClassVar[UsageStatement] = "apart"

    def client(self, said: Frame | bytes) -> Said:
        """Read a client message."""
        frame = _frame(said)
        if frame is None:
            return NOTHING
        if _HEARD.match(frame.text):
            return sound_size(frame.text, '"data"')
        return tuple(_of_client(frame.document))

    def provider(self, said: Frame | bytes) -> Said:
        """Read a server message."""
        frame = _frame(said)
        if frame is None:
            return NOTHING
        begin = _SPOKEN.match(frame.text)
        if begin is not None:
            end = frame.text.find('"', begin.end())
            if end > 0 and _END.match(frame.text, end):
                return (end - begin.end()) * 3 // 4
        return tuple(_of_provider(frame.document))


def _frame(said: Frame | bytes) -> Frame | None:
    if not isinstance(said, bytes):
        return said
    return Frame(said.decode(errors="replace")) if said[:1] == b"{" else None


def _of_client(document: Mapping[str, Any]) -> Iterator[Fact]:
    setup = members(document, "setup")
    if setup:
        config = members(setup, "generationConfig") or setup
        voice = members(config, "speechConfig", "voiceConfig", "prebuiltVoiceConfig").get("voiceName")
        yield SessionSet(
            model=words(setup.get("model")).rpartition("/")[2] or None,
            voice=name(voice),
            heard="audio/pcm;rate=16000",
            spoken="audio/pcm;rate=24000",
            manual=members(setup, "realtimeInputConfig", "automaticActivityDetection").get("disabled") is True,
        )
    content = members(document, "clientContent")
    parts = [words(part.get("text")) for turn in entries(content.get("turns")) for part in entries(turn.get("parts"))]
    if any(parts):
        yield UserSaid(" ".join(filter(None, parts)), typed=True)
    if content.get("turnComplete"):
        yield ResponseAsked()
    given = members(document, "realtimeInput")
    if "activityStart" in given:
        yield UserStarted()
    if "activityEnd" in given or "audioStreamEnd" in given:
        yield UserStopped()
    if words(given.get("text")):
        yield UserSaid(words(given["text"]), typed=True)
        yield ResponseAsked()
    if entries(members(document, "toolResponse").get("functionResponses")):
        yield ResponseAsked()


def _of_provider(document: Mapping[str, Any]) -> Iterator[Fact]:
    content = members(document, "serverContent")
    heard = words(members(content, "inputTranscription").get("text"))
    if heard:
        yield UserSaid(heard, piece=True)
    for part in entries(members(content, "modelTurn").get("parts")):
        if words(part.get("text")):
            yield AssistantSaid(words(part["text"]), piece=True)
        elif members(part, "inlineData"):
            yield Content()
    spoken = words(members(content, "outputTranscription").get("text"))
    if spoken:
        yield AssistantSaid(spoken, piece=True)
    for call in entries(members(document, "toolCall").get("functionCalls")):
        yield Called(words(call.get("name")), written(call.get("args", {})))
    if "usageMetadata" in document:
        yield Used(_tokens(members(document, "usageMetadata")))
    if content.get("interrupted"):
        yield ResponseEnded(ending="cancelled", reason="interrupted")
    elif content.get("turnComplete"):
        yield ResponseEnded(reason=words(content.get("turnCompleteReason")))
    error = members(document, "error")
    if error:
        yield Failure(words(error.get("status")), words(error.get("message")))


def _tokens(usage: Mapping[str, Any]) -> Tokens:
    """Return the tokens by modality: a picture and a film count as images, thoughts as text that came out."""
    given = _by_modality(usage, "promptTokensDetails", "toolUsePromptTokensDetails")
    kept = _by_modality(usage, "cacheTokensDetails")
    made = _by_modality(usage, "responseTokensDetails")
    total = count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount"))
    out = count(usage.get("responseTokenCount"))
    return Tokens(
        input_text=max(given["TEXT"], total - given["AUDIO"] - given["IMAGE"]),
        input_audio=given["AUDIO"],
        input_image=given["IMAGE"],
        cached_text=max(kept["TEXT"], count(usage.get("cachedContentTokenCount")) - kept["AUDIO"] - kept["IMAGE"]),
        cached_audio=kept["AUDIO"],
        cached_image=kept["IMAGE"],
        output_text=max(made["TEXT"], out - made["AUDIO"]) + count(usage.get("thoughtsTokenCount")),
        output_audio=made["AUDIO"],
    )


def _by_modality(usage: Mapping[str, Any], *lists: str) -> dict[str, int]:
    counts = {"TEXT": 0, "AUDIO": 0, "IMAGE": 0}
    for listed in lists:
        for entry in entries(usage.get(listed)):
            modality = words(entry.get("modality"))
            counts["IMAGE" if modality == "VIDEO" else modality if modality in counts else "TEXT"] += count(
                entry.get("tokenCount")
            )
    return counts
