"""Server-sent events, read as they arrive (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import codecs
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event; ``data`` joins its data lines with newlines."""

    event: str
    data: str


class SseParser:
    """Turns bytes, cut anywhere, into events. Comments are skipped; an event without its blank line is not given."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._pending = ""
        self._after_return = False
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take some bytes; return the events they complete."""
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if self._after_return:
            # The second half of a CRLF that was cut in two: the first half has already ended the line.
            text = text.removeprefix("\n")
        self._after_return = text.endswith("\r")
        *lines, self._pending = (self._pending + text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        if not data:
            return None
        return ServerSentEvent(event or "message", "\n".join(data))
