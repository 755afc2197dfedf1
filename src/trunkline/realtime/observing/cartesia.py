"""Cartesia: text to speech, where a context is a response, and speech to text, with turns or without."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from trunkline.realtime.frames import Frame
from trunkline.realtime.observing.facts import (
    NOTHING,
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
    Utterance,
)
from trunkline.realtime.observing.reading import amount, count, members, name, sound_size, words

_CHUNK: Final = re.compile(r'"type"\s*:\s*"chunk"')
_EDGE: Final = 200
_ENCODINGS: Final = {"pcm_s16le": "audio/pcm", "pcm_mulaw": "audio/pcmu", "pcm_alaw": "audio/pcma"}


class CartesiaObserver:
    """Reads messages by their type."""

    usage: ClassVar[UsageStatement] = "never"

    def client(self, said: Frame | bytes) -> Said:
        """Read a client message."""
        if isinstance(said, bytes):
            return len(said)
        document = said.document
        if document.get("cancel"):
            return (CancelAsked(),)
        if "transcript" in document:
            return tuple(_request(document))
        return NOTHING

    def provider(self, said: Frame | bytes) -> Said:
        """Read a server message."""
        if isinstance(said, bytes):
            return len(said)
        if _CHUNK.search(said.text, 0, _EDGE) or _CHUNK.search(said.text[-_EDGE:]):
            return sound_size(said.text, '"data"')
        return tuple(_answer(said.type, said.document))


def _request(document: Mapping[str, Any]) -> Iterator[Fact]:
    form = members(document, "output_format")
    encoding, rate = words(form.get("encoding")) or words(form.get("container")), count(form.get("sample_rate"))
    kind = _ENCODINGS.get(encoding, encoding)
    yield SessionSet(
        model=name(document.get("model_id")),
        voice=name(members(document, "voice").get("id")),
        spoken=(f"{kind};rate={rate}" if rate else kind) or None,
    )
    yield UserSaid(words(document.get("transcript")), piece=document.get("continue") is not None, typed=True)
    yield ResponseAsked()


def _answer(kind: str, document: Mapping[str, Any]) -> Iterator[Fact]:
    match kind:
        case "done" if "context_id" in document:
            yield ResponseEnded()
        case "error":
            code = document.get("error_code") or document.get("status_code") or document.get("title")
            yield Failure(str(code or "error"), words(document.get("error")) or words(document.get("message")))
        case "transcript" if document.get("is_final"):
            yield Utterance(words(document.get("text")))
            yield Transcribed(seconds=amount(document.get("duration")))
        case "turn.start":
            yield UserStarted()
        case "turn.end":
            yield Utterance(words(document.get("transcript")))
