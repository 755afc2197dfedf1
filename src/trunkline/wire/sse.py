"""Server-sent events, read as they arrive (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import codecs

import msgspec


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One dispatched event; ``data`` joins its data lines with newlines."""

    event: str
    data: str


class SseParser:
    """Turns bytes, cut anywhere, into events. Comments are skipped; an event without its blank line is not given."""

    def __init__(self, longest: int | None = None) -> None:
        """An event of more than ``longest`` characters is left out; no more than about as many are ever held."""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._longest = longest
        self._has_part = False
        """Whether the decoder holds a part of a character."""
        self._pending: list[str] = []
        self._after_return = False
        self._event = ""
        self._data: list[str] = []
        self._held = 0
        self._size = 0
        self._is_too_long = False

    def count(self, chunk: bytes) -> int:
        """Return how many events some bytes are, where that can be told without reading them, else 0.

        That is where whole events come in one of the two usual forms, a line of data each or one with a name before it,
        and none waits for its end. They need not be fed.
        """
        if self._has_part or self._pending or self._event or self._data:
            return 0
        if not chunk.endswith(b"\n\n") or b"\r" in chunk:
            return 0
        if chunk.find(b"\n") == len(chunk) - 2:  # one line, as most come
            return 1 if chunk.startswith(b"data:") else 0
        events, lines = chunk.count(b"\n\n"), chunk.count(b"\n")
        if chunk.startswith(b"data:"):
            is_usual = lines == 2 * events and chunk.count(b"\n\ndata:") == events - 1
        else:
            is_usual = lines == 3 * events and chunk.count(b"\ndata:") == events
            is_usual = is_usual and chunk.startswith(b"event:") and chunk.count(b"\n\nevent:") == events - 1
        return events if is_usual else 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take some bytes; return the events they complete."""
        text = self._decoder.decode(chunk)
        self._has_part = bool(self._decoder.getstate()[0])
        if not text:
            return []
        if self._after_return:
            # The second half of a CRLF that was cut in two: the first half has already ended the line.
            text = text.removeprefix("\n")
        self._after_return = text.endswith("\r")
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if lines:
            lines[0] = "".join([*self._pending, lines[0]])
            self._pending.clear()
            self._held = 0
        found = [event for line in lines if (event := self._line(line)) is not None]
        if rest:
            self._pending.append(rest)
            self._held += len(rest)
            self._check_size()
        return found

    def _check_size(self) -> None:
        if self._longest is not None and self._size + self._held > self._longest:
            self._is_too_long = True
            self._data.clear()
            if self._pending:
                self._pending[:] = [":"]  # whatever the line goes on with, it is skipped

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        self._size += len(line)
        self._check_size()
        if self._is_too_long:
            return None
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
        self._size, self._is_too_long = 0, False
        if not data:
            return None
        return ServerSentEvent(event or "message", "\n".join(data))
