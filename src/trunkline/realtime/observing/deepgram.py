"""Deepgram: its voice agent, speech to text (Nova and Flux), text to speech. Sound is in binary frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from trunkline.realtime.frames import Frame
from trunkline.realtime.observing.facts import (
    NOTHING,
    AssistantSaid,
    Called,
    CancelAsked,
    Fact,
    Failure,
    ResponseAsked,
    ResponseEnded,
    Said,
    SessionSet,
    Transcribed,
    UsageStatement,
    UserSaid,
    UserStarted,
    UserStopped,
    Utterance,
)
from trunkline.realtime.observing.reading import amount, count, entries, members, name, words

# Bytes of one sample are known for these only.
_ENCODINGS: Final = {"linear16": "audio/pcm", "mulaw": "audio/pcmu", "alaw": "audio/pcma"}


class DeepgramObserver:
    """Reads messages by their type."""

    usage: ClassVar[UsageStatement] = "never"

    def __init__(self) -> None:
        self._answering = False
        self._heard: list[str] = []  # of an utterance that goes on

    def client(self, said: Frame | bytes) -> Said:
        """Read a client message."""
        if isinstance(said, bytes):
            return len(said)
        document = said.document
        match said.type:
            case "Settings":
                return (_settings(document),)
            case "Speak":
                return (UserSaid(words(document.get("text")), typed=True), ResponseAsked())
            case "Clear":
                return (CancelAsked(),)
            case "InjectUserMessage":
                return (UserSaid(words(document.get("content")), typed=True), ResponseAsked())
            case "FunctionCallResponse":
                return (ResponseAsked(),)
        return NOTHING

    def provider(self, said: Frame | bytes) -> Said:
        """Read a server message."""
        if isinstance(said, bytes):
            self._answering = True
            return len(said)
        return tuple(self._facts(said.type, said.document))

    def _facts(self, kind: str, document: Mapping[str, Any]) -> Iterator[Fact]:
        match kind:
            case "ConversationText" if document.get("role") == "user":
                yield from self._end("completed")
                yield UserSaid(words(document.get("content")))
                yield UserStopped()
            case "ConversationText":
                self._answering = True
                yield AssistantSaid(words(document.get("content")))
            case "UserStartedSpeaking":
                yield from self._end("cancelled")
                yield UserStarted()
            case "AgentAudioDone" | "Flushed":
                yield from self._end("completed")
            case "Cleared":
                yield from self._end("cancelled")
            case "FunctionCallRequest":
                for call in entries(document.get("functions")):
                    yield Called(words(call.get("name")), words(call.get("arguments")))
            case "Error":
                yield Failure(words(document.get("code")), words(document.get("description")))
            case "SpeechStarted":
                yield UserStarted()
            case "Results":
                yield from self._results(document)
            case "UtteranceEnd":
                yield from self._utterance()
            case "TurnInfo":
                yield from _turn_info(document)
            case "Metadata":
                model = next((name(one) for one in _list(document.get("models")) if name(one)), None)
                if "duration" in document:
                    yield Transcribed(seconds=amount(document["duration"]), model=model or "")

    def _end(self, ending: str) -> Iterator[Fact]:
        if self._answering:
            self._answering = False
            if ending == "cancelled":
                yield ResponseEnded(ending="cancelled", reason="interrupted")
            else:
                yield ResponseEnded()

    def _results(self, document: Mapping[str, Any]) -> Iterator[Fact]:
        if not document.get("is_final"):
            return
        alternatives = entries(members(document, "channel").get("alternatives"))
        heard = words(alternatives[0].get("transcript")) if alternatives else ""
        if heard:
            self._heard.append(heard)
        if document.get("speech_final") or document.get("from_finalize"):
            yield from self._utterance()

    def _utterance(self) -> Iterator[Fact]:
        if self._heard:
            yield Utterance(" ".join(self._heard))
            self._heard.clear()


def _turn_info(document: Mapping[str, Any]) -> Iterator[Fact]:
    match document.get("event"):
        case "StartOfTurn":
            yield UserStarted()
        case "EndOfTurn":
            yield Utterance(words(document.get("transcript")))


def _settings(document: Mapping[str, Any]) -> SessionSet:
    agent = members(document, "agent")
    return SessionSet(
        model=name(members(agent, "think", "provider").get("model")),
        voice=name(members(agent, "speak", "provider").get("model")),
        heard=_format(members(document, "audio", "input")),
        spoken=_format(members(document, "audio", "output")),
        transcriber=name(members(agent, "listen", "provider").get("model")),
    )


def _format(audio: Mapping[str, Any]) -> str | None:
    encoding = name(audio.get("encoding"))
    if encoding is None:
        return None
    kind = _ENCODINGS.get(encoding, encoding)
    rate = count(audio.get("sample_rate"))
    return f"{kind};rate={rate}" if rate else kind


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
