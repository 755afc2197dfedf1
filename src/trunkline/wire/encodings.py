"""Bodies that are compressed on their way: what can be unpacked beside the relay, and the unpacking."""

from __future__ import annotations

import zlib
from typing import Final

# Of what is read beside its way: an answer that unpacks to more is passed on, and its rest not read.
_MOST_UNPACKED: Final = 64 * 1024 * 1024
_READABLE: Final = frozenset({"gzip", "x-gzip", "deflate", "identity"})


def readable_encodings(accepted: str) -> str:
    """Return of a value of ``accept-encoding`` what the gateway can read as well, ``identity`` where none is left."""
    kept = [one.strip() for one in accepted.split(",") if one.partition(";")[0].strip().lower() in _READABLE]
    return ", ".join(kept) or "identity"


class Unpacker:
    """Unpacks a body as it arrives. What is no such body, or unpacks to more than ``most`` bytes, ends there."""

    def __init__(self, encoding: str, most: int = _MOST_UNPACKED) -> None:
        """``encoding`` is a value of ``content-encoding``; of one that cannot be unpacked nothing comes out."""
        self._encoding = encoding.strip().lower()
        self._left = most
        self._stream: zlib._Decompress | None = None
        self._is_over = self._encoding not in _READABLE

    def feed(self, chunk: bytes) -> bytes:
        """Take some bytes; return what they unpack to."""
        if self._encoding in ("", "identity"):
            return chunk
        if self._is_over or not chunk:
            return b""
        if self._stream is None:
            self._stream = zlib.decompressobj(self._window(chunk))
        try:
            found = self._stream.decompress(chunk, self._left + 1)
        except zlib.error:
            self._is_over = True
            return b""
        self._left -= len(found)
        if self._left < 0 or self._stream.eof:
            self._is_over = True
        return found if self._left >= 0 else b""

    @property
    def is_whole(self) -> bool:
        """Whether all that came was unpacked, to its end."""
        if self._encoding in ("", "identity"):
            return True
        stream = self._stream
        return stream is not None and stream.eof and not stream.unused_data and self._left >= 0

    def _window(self, first: bytes) -> int:
        if self._encoding != "deflate":
            return 16 + zlib.MAX_WBITS
        # The standard means a zlib stream; some servers send a bare one.
        return zlib.MAX_WBITS if first[0] & 0x0F == 8 else -zlib.MAX_WBITS
