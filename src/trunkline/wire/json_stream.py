"""JSON that arrives in pieces: the elements of an array, or the lines of NDJSON, each given as soon as it is whole."""

from __future__ import annotations

import re
from typing import Final

_IN_TEXT: Final = re.compile(rb'["\\]')
_OUTSIDE: Final = re.compile(rb'["{}\[\]]')


class _Pieces:
    """One thing that arrives in pieces; of more than ``longest`` bytes nothing is held."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._longest:
            self._parts.append(piece)
        else:
            self._parts.clear()

    def take(self) -> bytes | None:
        """Return all of it, or None when it was too long, and begin the next."""
        whole = b"".join(self._parts) if self._size <= self._longest else None
        self._parts.clear()
        self._size = 0
        return whole


class JsonArrayParser:
    """Turns bytes, cut anywhere, into the objects (and arrays) that a JSON array holds.

    What is no array yields nothing. An element of more than ``longest`` bytes is left out. Elements are found by their
    brackets: whether one is JSON is for its reader to find out.
    """

    def __init__(self, longest: int) -> None:
        self._element = _Pieces(longest)
        self._depth = 0
        self._in_text = False
        self._escaped = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take some bytes; return the elements they complete."""
        found: list[bytes] = []
        at, start, end = 0, 0, len(chunk)
        if self._escaped and chunk:
            self._escaped, at = False, 1
        while at < end:
            match = (_IN_TEXT if self._in_text else _OUTSIDE).search(chunk, at)
            if match is None:
                break
            mark, at = match[0], match.end()
            if mark == b"\\":
                at += 1  # whatever it is, it ends no text
                self._escaped = at > end
            elif mark == b'"':
                self._in_text = not self._in_text
            elif mark in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = at - 1
            else:
                self._depth -= 1
                if self._depth == 1:
                    self._element.add(chunk[start:at])
                    whole = self._element.take()
                    if whole is not None:
                        found.append(whole)
        if self._depth >= 2:
            self._element.add(chunk[start:])
        return found


class LineParser:
    """Turns bytes, cut anywhere, into lines. One of more than ``longest`` bytes is left out, as are empty ones."""

    def __init__(self, longest: int) -> None:
        self._line = _Pieces(longest)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take some bytes; return the lines they complete."""
        *lines, rest = chunk.split(b"\n")
        found = [line for piece in lines if (line := self._end(piece))]
        self._line.add(rest)
        return found

    def finish(self) -> bytes:
        """Return the last line, which has no end."""
        return self._end(b"")

    def _end(self, piece: bytes) -> bytes:
        self._line.add(piece)
        return (self._line.take() or b"").strip()
