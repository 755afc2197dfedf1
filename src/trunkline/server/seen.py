"""What passes in one exchange, as far as its log row is about it. Bodies are held only where they are to be kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from trunkline.policy.pacing import Pacing
from trunkline.policy.usage import UsageReader
from trunkline.wire.encodings import Unpacker

MAX_PAYLOAD: Final = 10 * 1024 * 1024
"""Bytes of each body that is kept; of a longer one nothing is."""
MAX_SEARCHED: Final = 1024 * 1024
"""Bytes of a request's body that is held for a moment to find its model, which may stand behind a long conversation."""
MAX_TYPE: Final = 100

# Bodies in which secrets can be found. Of others (sound, pictures, archives) only the size is told.
_TEXTS: Final = ("text/", "application/json", "application/x-ndjson", "application/x-www-form-urlencoded")
_TEXT_SUFFIXES: Final = ("+json", "+xml", "/xml", "/jsonl", "/yaml")


def is_text(content_type: str) -> bool:
    """Whether a body of this type can be searched for secrets, so that it may be kept."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith(_TEXTS) or kind.endswith(_TEXT_SUFFIXES)


class SeenBody:
    """A body, up to a limit; of a longer one its beginning and its end."""

    __slots__ = ("_first", "_last", "_limit", "_pieces", "kept_size", "size")

    def __init__(self, limit: int) -> None:
        self.size = 0
        self.kept_size = 0
        self._limit = limit
        self._pieces: list[bytes] = []
        self._first = self._last = b""

    def take(self, piece: bytes) -> None:
        """Take some bytes of it."""
        if not self.size:
            self._first = piece
        self._last = piece
        self.size += len(piece)
        if self.size <= self._limit:
            self._pieces.append(piece)
            self.kept_size = self.size
        elif self._pieces:
            self._pieces.clear()
            self.kept_size = 0

    def whole(self) -> bytes | None:
        """Return all of it, or None when it was too long."""
        if self.size > self._limit:
            return None
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    def searched(self) -> bytes:
        """Return all of it, or else what of it may name a model."""
        whole = self.whole()
        return b"\r\n".join((self._first, self._last)) if whole is None else whole

    def forget(self) -> None:
        """Let go of what was kept; the size stays."""
        self._limit = -1
        self._pieces.clear()
        self._first = self._last = b""
        self.kept_size = 0


class SeenAnswer:
    """One answer. ``reader`` reads what it used; its text is held only with ``keeps_text``."""

    def __init__(self, reader: UsageReader | None = None, *, keeps_text: bool = False) -> None:
        self.status = 0
        self.content_type = ""
        self.size = 0
        self.connect_ms: float | None = None
        self.first_byte: float | None = None
        """On the clock of `time.perf_counter`."""
        self.is_complete = False
        """Whether what was seen last is the last that belongs to it, as far as anybody can tell."""
        self.reader = reader
        self.pacing = Pacing()
        self.text: SeenBody | None = None
        self._keeps_text = keeps_text
        self._length: int | None = None
        self._unpacker: Unpacker | None = None

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], *, is_bodiless: bool) -> None:
        """Take its head."""
        self.status = status
        encoding = ""
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-type":
                self.content_type = value.decode("latin-1")[:MAX_TYPE]
            elif lower == b"content-length" and value.isdigit():
                self._length = int(value)
            elif lower == b"content-encoding":
                encoding = value.decode("latin-1")
        if is_bodiless:
            self._length = 0
        self.is_complete = self._length == 0
        if self.reader is not None:
            self.reader.begin(status, headers)
        if self._keeps_text and is_text(self.content_type):
            self.text = SeenBody(MAX_PAYLOAD)
            self._unpacker = Unpacker(encoding, MAX_PAYLOAD) if encoding else None

    def feed(self, chunk: bytes) -> None:
        """Take some bytes of its body."""
        self.size += len(chunk)
        now = time.perf_counter()
        if self.first_byte is None:
            self.first_byte = now
        reader = self.reader
        if reader is not None:
            before = reader.events
            reader.feed(chunk)
            if reader.events > before:
                self.pacing.take(now, reader.events - before)
            self.is_complete = reader.is_done
        if self._length is not None and self.size >= self._length:
            self.is_complete = True
        if self.text is not None:
            self.text.take(self._unpacker.feed(chunk) if self._unpacker is not None else chunk)
