"""The events of a streamed answer, byte for byte and with what they say, and how one is told that it ends here."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from trunkline.errors import GatewayError
from trunkline.policy.guards.words import Words, answered_by_event, is_last_event
from trunkline.wire.aws_events import AwsEventParser, encoded_exception
from trunkline.wire.documents import json_object
from trunkline.wire.refusal import Dialect, http_refusal
from trunkline.wire.sse import SseParser

_BOUNDARY: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_PRELUDE: Final = 4
_CHUNK: Final = "chunk"
_BEDROCKS_LAST: Final = frozenset({"messageStop", "metadata"})


class Event(NamedTuple):
    """``raw`` is all of it with its end. ``is_last``: it says that the answer is whole."""

    raw: bytes
    words: list[Words]
    is_last: bool = False


class StreamReader:
    """Cuts the bytes of a stream into its events, and knows whose they are by the first that says so."""

    def __init__(self, content_type: str, dialect: Dialect) -> None:
        """Raise `ValueError` for what is no stream. ``dialect`` is what its events are taken for at first."""
        kind = content_type.partition(";")[0].strip().lower()
        self._next: Callable[[], Event | None] = _READERS[kind].__get__(self)
        self._held = bytearray()
        self._looked_at = 0
        self._dialect = dialect
        self._is_binary = kind == "application/vnd.amazon.eventstream"
        self._is_sse = kind == "text/event-stream"
        self._is_known = False
        self._is_responses = False
        self._count = 0

    @property
    def held(self) -> int:
        """How many bytes wait for the end of their event."""
        return len(self._held)

    def feed(self, chunk: bytes) -> list[Event]:
        """Take some bytes; return the events they complete."""
        self._held += chunk
        found: list[Event] = []
        while self._held and (event := self._next()) is not None:
            self._count += 1
            found.append(event)
        return found

    def give_up(self) -> bytes:
        """Return what waits, unread."""
        raw = bytes(self._held)
        self._held.clear()
        self._looked_at = 0
        return raw

    def finish(self) -> Event | None:
        """Return what is left: an event without its end."""
        raw = self.give_up()
        if not raw:
            return None
        return self._sse_event(raw + b"\n\n", raw) if self._is_sse else Event(raw, _words(raw))

    def ending(self, error: GatewayError) -> bytes:
        """Return the event that ends the stream with an error its clients can read. It is no end of an answer."""
        body = http_refusal(error, self._dialect)[2]
        if self._is_binary:
            return encoded_exception("validationException", json.dumps({"message": error.message}).encode())
        if not self._is_sse:
            return body + b"\n"
        if self._is_responses:
            flat: dict[str, Any] = {"type": "error", "code": error.reason, "message": error.message, "param": None}
            said = {**flat, "sequence_number": self._count, **json_object(body)}
            return b"event: error\ndata: " + json.dumps(said).encode() + b"\n\n"
        if self._dialect is Dialect.ANTHROPIC:
            return b"event: error\ndata: " + body + b"\n\n"
        return b"data: " + body + b"\n\n"

    # How an event is found, by the kind of stream.

    def _next_sse(self) -> Event | None:
        start = max(self._looked_at - 3, 0)
        match = _BOUNDARY.search(self._held, start)
        self._looked_at = len(self._held)
        # Of a last CRLF only the half may be there yet.
        if match is None or (match.end() == len(self._held) and match[0].endswith(b"\r")):
            return None
        raw = bytes(self._held[: match.end()])
        del self._held[: match.end()]
        self._looked_at = 0
        return self._sse_event(raw, raw)

    def _sse_event(self, whole: bytes, raw: bytes) -> Event:
        words: list[Words] = []
        is_last = False
        for event in SseParser().feed(whole):
            self._learn(event.data)
            words += answered_by_event(event.data)
            is_last = is_last or is_last_event(event.data)
        return Event(raw, words, is_last)

    def _next_message(self) -> Event | None:
        length = int.from_bytes(self._held[:_PRELUDE], "big") if len(self._held) >= _PRELUDE else 0
        if not length or len(self._held) < length:
            return None
        raw = bytes(self._held[:length])
        del self._held[:length]
        words: list[Words] = []
        is_last = False
        for event in AwsEventParser().feed(raw):
            payload = event.payload
            if event.type == _CHUNK:
                payload = _decoded(json_object(payload).get("bytes"))
            words += answered_by_event(payload) if payload else []
            is_last = event.type in _BEDROCKS_LAST
        return Event(raw, words, is_last)

    def _next_line(self) -> Event | None:
        end = self._held.find(b"\n", self._looked_at)
        self._looked_at = len(self._held)
        if end < 0:
            return None
        raw = bytes(self._held[: end + 1])
        del self._held[: end + 1]
        self._looked_at = 0
        return Event(raw, _words(raw))

    def _learn(self, data: str) -> None:
        if self._is_known:
            return
        document = json_object(data)
        kind = document.get("type")
        if isinstance(kind, str) and kind.startswith("response."):
            self._dialect, self._is_responses, self._is_known = Dialect.OPENAI, True, True
        elif "choices" in document:
            self._dialect, self._is_known = Dialect.OPENAI, True
        elif "candidates" in document:
            self._dialect, self._is_known = Dialect.GOOGLE, True
        elif kind in ("message_start", "content_block_start"):
            self._dialect, self._is_known = Dialect.ANTHROPIC, True


_READERS: Final = {
    "text/event-stream": StreamReader._next_sse,
    "application/vnd.amazon.eventstream": StreamReader._next_message,
    "application/x-ndjson": StreamReader._next_line,
    "application/jsonl": StreamReader._next_line,
    "application/stream+json": StreamReader._next_line,
}


def is_stream(content_type: str) -> bool:
    """Whether an answer of this type comes as events."""
    return content_type.partition(";")[0].strip().lower() in _READERS


def _words(raw: bytes) -> list[Words]:
    return answered_by_event(raw) if raw.strip() else []


def _decoded(written: Any) -> bytes:
    try:
        return binascii.a2b_base64(written) if isinstance(written, str) else b""
    except ValueError:
        return b""
