"""ElevenLabs agents. They do not say when a response ends, only when the user speaks next or interrupts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from trunkline.realtime.frames import Frame
from trunkline.realtime.observing.facts import (
    NOTHING,
    AssistantCorrected,
    AssistantSaid,
    Called,
    Fact,
    Failure,
    ResponseAsked,
    ResponseEnded,
    Said,
    SessionSet,
    UsageStatement,
    UserSaid,
    UserStopped,
)
from trunkline.realtime.observing.reading import count, members, name, sound_size, words, written

_HEARD: Final = re.compile(r'\s*\{\s*"user_audio_chunk"')
_SPOKEN: Final = re.compile(r'\s*\{\s*(?:"type"\s*:\s*"audio"\s*,\s*)?"audio_event"')
_EVENT_ID: Final = re.compile(r'"event_id"\s*:\s*(\d{1,12})')
_EDGE: Final = 100


class ElevenLabsObserver:
    """Reads events by their type."""

    usage: ClassVar[UsageStatement] = "never"

    def __init__(self) -> None:
        self._answering = False
        self._interrupted_at = -1  # the id of an event: sound that is not younger belongs to what was interrupted

    def client(self, said: Frame | bytes) -> Said:
        """Read a client event."""
        if isinstance(said, bytes):
            return NOTHING
        if _HEARD.match(said.text):
            return sound_size(said.text, '"user_audio_chunk"')
        document = said.document
        match said.type:
            case "user_message":
                return (UserSaid(words(document.get("text")), typed=True), ResponseAsked())
            case "client_tool_result":
                return (ResponseAsked(),)
            case "conversation_initiation_client_data":
                override = members(document, "conversation_config_override", "tts")
                return (SessionSet(voice=name(override.get("voice_id"))),)
        return NOTHING

    def provider(self, said: Frame | bytes) -> Said:
        """Read a server event."""
        if isinstance(said, bytes):
            return NOTHING
        if _SPOKEN.match(said.text):
            return self._sound(said.text)
        return tuple(self._facts(said))

    def _sound(self, text: str) -> Said:
        if self._interrupted_at >= 0:
            found = _EVENT_ID.search(text[:_EDGE]) or _EVENT_ID.search(text[-_EDGE:])
            if found is not None and int(found[1]) <= self._interrupted_at:
                return NOTHING
        self._answering = True
        return sound_size(text, '"audio_base_64"')

    def _facts(self, said: Frame) -> Iterator[Fact]:
        document = said.document
        match said.type:
            case "conversation_initiation_metadata":
                event = members(document, "conversation_initiation_metadata_event")
                yield SessionSet(
                    heard=name(event.get("user_input_audio_format")),
                    spoken=name(event.get("agent_output_audio_format")),
                )
            case "user_transcript":
                yield from self._end()
                yield UserSaid(words(members(document, "user_transcription_event").get("user_transcript")))
                yield UserStopped()
            case "agent_response":
                self._answering = True
                yield AssistantSaid(words(members(document, "agent_response_event").get("agent_response")))
            case "agent_response_correction":
                corrected = members(document, "agent_response_correction_event").get("corrected_agent_response")
                yield AssistantCorrected(words(corrected))
            case "interruption":
                self._interrupted_at = count(members(document, "interruption_event").get("event_id"))
                self._answering = False
                yield ResponseEnded(ending="cancelled", reason="interruption")
            case "agent_response_complete":
                yield from self._end()
            case "client_tool_call":
                call = members(document, "client_tool_call")
                yield Called(words(call.get("tool_name")), written(call.get("parameters", {})))
            case "error" | "client_error":
                error = members(document, "error_event") or document
                yield Failure(words(error.get("error_type")) or said.type, words(error.get("message")))

    def _end(self) -> Iterator[Fact]:
        if self._answering:
            self._answering = False
            yield ResponseEnded()
