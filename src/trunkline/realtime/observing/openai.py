"""OpenAI Realtime, in its general form and in the retired beta's; Azure and xAI speak it as well.

Only frames that are small and rare are parsed. Those that may hold an item's whole audio never are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, cast

from trunkline.realtime.frames import Frame
from trunkline.realtime.observing.facts import (
    CONTENT,
    NOTHING,
    AssistantSaid,
    Called,
    CancelAsked,
    Failure,
    LimitsTold,
    OutputItem,
    PlaybackCleared,
    PlaybackCut,
    PlaybackStarted,
    ResponseAsked,
    ResponseEnded,
    ResponseStarted,
    Said,
    SessionSet,
    Transcribed,
    UsageStatement,
    UserCommitted,
    UserSaid,
    UserStarted,
    UserStopped,
)
from trunkline.realtime.observing.reading import amount, count, entries, members, name, sound_size, words
from trunkline.realtime.report import Ending, RateLimit
from trunkline.realtime.usage import Tokens

_APPEND: Final = "input_audio_buffer.append"
_SOUND: Final = frozenset({"response.output_audio.delta", "response.audio.delta"})
_CONTENT: Final = frozenset(
    {
        "response.output_audio_transcript.delta",
        "response.audio_transcript.delta",
        "response.output_text.delta",
        "response.text.delta",
        "response.function_call_arguments.delta",
    }
)
# A user's item with more in it has a picture or sound, which is not worth parsing for the words beside it.
_LARGEST_ITEM: Final = 64 * 1024
_ENDINGS: Final = frozenset({"completed", "cancelled", "incomplete", "failed"})
# The beta's names of formats.
_FORMATS: Final = {"pcm16": "audio/pcm;rate=24000", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}


class OpenAIObserver:
    """Reads events by their type."""

    usage: ClassVar[UsageStatement] = "at_end"

    def client(self, said: Frame | bytes) -> Said:
        """Read a client event."""
        if isinstance(said, bytes):
            return NOTHING
        kind = said.type
        if kind == _APPEND:
            return sound_size(said.text, '"audio"')
        match kind:
            case "response.create":
                return (ResponseAsked(),)
            case "input_audio_buffer.commit":
                return (UserStopped(),)
            case "response.cancel":
                return (CancelAsked(),)
            case "conversation.item.create" if len(said.text) <= _LARGEST_ITEM:
                return _user_item(members(said.document, "item"))
            case "conversation.item.truncate":
                return (PlaybackCut(words(said.document.get("item_id")), count(said.document.get("audio_end_ms"))),)
            case "session.update" | "transcription_session.update":
                # The provider may refuse the rest, and says what holds.
                return (SessionSet(transcriber=_settings(members(said.document, "session")).transcriber),)
        return NOTHING

    def provider(self, said: Frame | bytes) -> Said:
        """Read a server event."""
        if isinstance(said, bytes):
            return NOTHING
        kind = said.type
        if kind in _SOUND:
            return sound_size(said.text, '"delta"')
        if kind in _CONTENT:
            return CONTENT
        read = _READERS.get(kind)
        return read(said.document) if read is not None else NOTHING


def _session(document: Mapping[str, Any]) -> Said:
    return (_settings(members(document, "session")),)


def _settings(session: Mapping[str, Any]) -> SessionSet:
    heard, spoken = members(session, "audio", "input"), members(session, "audio", "output")
    voice = spoken.get("voice", session.get("voice"))
    kind = name(session.get("type")) or name(session.get("object"))
    manual = None
    for place in (heard, session):
        if "turn_detection" in place:
            manual = place["turn_detection"] is None
    return SessionSet(
        model=name(session.get("model")),
        voice=name(voice["id"] if isinstance(voice, dict) and "id" in voice else voice),
        heard=_format(heard.get("format", session.get("input_audio_format"))),
        spoken=_format(spoken.get("format", session.get("output_audio_format"))),
        transcriber=_transcriber(heard, session),
        manual=manual,
        transcribes_only=None if kind is None else "transcription" in kind,
    )


def _transcriber(heard: Mapping[str, Any], session: Mapping[str, Any]) -> str | None:
    for place, member in ((heard, "transcription"), (session, "input_audio_transcription")):
        if member in place:
            return words(members(place, member).get("model"))
    return None


def _format(value: Any) -> str | None:
    if isinstance(value, str):
        return _FORMATS.get(value, value) or None
    kind, rate = name(members(value).get("type")), count(members(value).get("rate"))
    if kind == "audio/pcm":
        return f"{kind};rate={rate or 24000}"
    return kind


def _user_item(item: Mapping[str, Any]) -> Said:
    if item.get("role") != "user":
        return NOTHING
    parts = [words(part.get("text")) or words(part.get("transcript")) for part in entries(item.get("content"))]
    return (UserSaid(" ".join(filter(None, parts)), words(item.get("id")), typed=True),)


def _transcribed(document: Mapping[str, Any]) -> Said:
    usage, item = members(document, "usage"), words(document.get("item_id"))
    said = UserSaid(words(document.get("transcript")), item)
    if not usage:
        return (said,)
    return (said, Transcribed(tokens=_tokens(usage), seconds=amount(usage.get("seconds")), item=item))


def _response_created(document: Mapping[str, Any]) -> Said:
    response = members(document, "response")
    aside = "conversation_id" in response and response["conversation_id"] is None
    return (ResponseStarted(words(response.get("id")), aside),)


def _output_item_added(document: Mapping[str, Any]) -> Said:
    return (OutputItem(words(members(document, "item").get("id"))),)


def _output_item_done(document: Mapping[str, Any]) -> Said:
    item = members(document, "item")
    return (_call(item),) if item.get("type") == "function_call" else NOTHING


def _call(item: Mapping[str, Any]) -> Called:
    return Called(words(item.get("name")), words(item.get("arguments")))


def _response_done(document: Mapping[str, Any]) -> Said:
    response = members(document, "response")
    details, output = members(response, "status_details"), entries(response.get("output"))
    error = members(details, "error")
    status = words(response.get("status"))
    parts = [part for item in output for part in entries(item.get("content"))]
    usage = response.get("usage")
    ended = ResponseEnded(
        id=words(response.get("id")),
        ending=cast("Ending", status) if status in _ENDINGS else "incomplete",
        reason=name(details.get("reason")) or name(error.get("code")) or words(error.get("type")),
        said=" ".join(filter(None, (words(part.get("transcript")) or words(part.get("text")) for part in parts))),
        calls=tuple(_call(item) for item in output if item.get("type") == "function_call"),
        tokens=_tokens(usage) if isinstance(usage, dict) else None,
    )
    return (*_failures(error), ended)


def _tokens(usage: Mapping[str, Any]) -> Tokens:
    """Return the tokens by modality; those without one are text."""
    given, made = members(usage, "input_token_details"), members(usage, "output_token_details")
    kept = members(given, "cached_tokens_details")
    audio, image, spoken = count(given.get("audio_tokens")), count(given.get("image_tokens")), members(made)
    out_audio = count(spoken.get("audio_tokens"))
    kept_audio, kept_image = count(kept.get("audio_tokens")), count(kept.get("image_tokens"))
    return Tokens(
        input_text=max(count(given.get("text_tokens")), count(usage.get("input_tokens")) - audio - image),
        input_audio=audio,
        input_image=image,
        cached_text=max(count(kept.get("text_tokens")), count(given.get("cached_tokens")) - kept_audio - kept_image),
        cached_audio=kept_audio,
        cached_image=kept_image,
        output_text=max(count(spoken.get("text_tokens")), count(usage.get("output_tokens")) - out_audio),
        output_audio=out_audio,
    )


def _failures(error: Mapping[str, Any]) -> tuple[Failure, ...]:
    if not error:
        return ()
    return (Failure(name(error.get("code")) or words(error.get("type")), words(error.get("message"))),)


def _error(document: Mapping[str, Any]) -> Said:
    return _failures(members(document, "error"))


def _limits(document: Mapping[str, Any]) -> Said:
    told = (
        RateLimit(
            words(one.get("name")),
            amount(one.get("limit")),
            amount(one.get("remaining")),
            amount(one.get("reset_seconds")),
        )
        for one in entries(document.get("rate_limits"))
    )
    return (LimitsTold(tuple(told)),)


def _speech_started(document: Mapping[str, Any]) -> Said:
    return (UserStarted(words(document.get("item_id"))),)


def _speech_stopped(document: Mapping[str, Any]) -> Said:
    return (UserStopped(),)


def _committed(document: Mapping[str, Any]) -> Said:
    return (UserCommitted(words(document.get("item_id"))),)


def _playback_started(document: Mapping[str, Any]) -> Said:
    return (PlaybackStarted(),)


def _playback_cleared(document: Mapping[str, Any]) -> Said:
    return (PlaybackCleared(words(document.get("response_id"))),)


def _transcript_done(document: Mapping[str, Any]) -> Said:
    return (AssistantSaid(words(document.get("transcript")) or words(document.get("text"))),)


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], Said]]] = {
    "session.created": _session,
    "session.updated": _session,
    "transcription_session.created": _session,
    "transcription_session.updated": _session,
    "input_audio_buffer.speech_started": _speech_started,
    "input_audio_buffer.speech_stopped": _speech_stopped,
    "input_audio_buffer.committed": _committed,
    "output_audio_buffer.started": _playback_started,
    "output_audio_buffer.cleared": _playback_cleared,
    "conversation.item.input_audio_transcription.completed": _transcribed,
    "conversation.item.input_audio_transcription.failed": _error,
    "response.created": _response_created,
    "response.output_item.added": _output_item_added,
    "response.output_item.done": _output_item_done,
    "response.output_audio_transcript.done": _transcript_done,
    "response.audio_transcript.done": _transcript_done,
    "response.output_text.done": _transcript_done,
    "response.text.done": _transcript_done,
    "response.done": _response_done,
    "error": _error,
    "rate_limits.updated": _limits,
}
