"""Amazon's binary event stream (application/vnd.amazon.eventstream), read as it arrives.

A message is its length, the length of its headers and a checksum of both; then headers, payload, and a checksum of all.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM: Final = 4
_LEAST: Final = _PRELUDE.size + _CHECKSUM
# Amazon's own limit is 24 MiB of payload and 128 KiB of headers.
_MOST: Final = 25 * 1024 * 1024
# How long the value of a header is, by its type; texts and bytes state it themselves.
_FIXED: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES: Final = 6
_TEXT: Final = 7


class AwsEvent(msgspec.Struct, frozen=True):
    """One message: its type (an event's or an exception's) and its payload."""

    type: str
    payload: bytes


class AwsEventParser:
    """Turns bytes, cut anywhere, into messages. Once something is no message, nothing more is given."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._needed = _PRELUDE.size
        self._is_broken = False

    def feed(self, chunk: bytes) -> list[AwsEvent]:
        """Take some bytes; return the messages they complete."""
        if self._is_broken:
            return []
        self._pending += chunk
        found: list[AwsEvent] = []
        while len(self._pending) >= self._needed:
            length, headers_length, checksum = _PRELUDE.unpack_from(self._pending)
            prelude = bytes(self._pending[:8])
            if zlib.crc32(prelude) != checksum or not _LEAST + headers_length <= length <= _MOST:
                self._break()
                return found
            self._needed = length
            if len(self._pending) < length:
                return found
            message = bytes(self._pending[:length])
            del self._pending[:length]
            self._needed = _PRELUDE.size
            if zlib.crc32(message[:-_CHECKSUM]) != int.from_bytes(message[-_CHECKSUM:], "big"):
                self._break()
                return found
            start = _PRELUDE.size + headers_length
            headers = _headers(message[_PRELUDE.size : start])
            kind = headers.get(":exception-type") or headers.get(":event-type") or headers.get(":error-code", "")
            found.append(AwsEvent(kind, message[start:-_CHECKSUM]))
        return found

    def _break(self) -> None:
        self._is_broken = True
        self._pending.clear()


def encoded_exception(kind: str, payload: bytes) -> bytes:
    """Return a message that says what went wrong, as Amazon's services end a stream with one."""
    said = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + bytes([_TEXT]) + len(value).to_bytes(2, "big") + value.encode()
        for name, value in said.items()
    )
    length = _LEAST + len(headers) + len(payload)
    sizes = length.to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    message = sizes + zlib.crc32(sizes).to_bytes(4, "big") + headers + payload
    return message + zlib.crc32(message).to_bytes(4, "big")


def _headers(block: bytes) -> dict[str, str]:
    """Return the headers that are texts, up to the first that cannot be read."""
    found: dict[str, str] = {}
    at = 0
    while at < len(block):
        name_end = at + 1 + block[at]
        if name_end >= len(block):
            break
        name, kind = block[at + 1 : name_end].decode("utf-8", "replace"), block[name_end]
        at = name_end + 1
        if kind in (_BYTES, _TEXT):
            length = int.from_bytes(block[at : at + 2], "big")
            if kind == _TEXT:
                found[name] = block[at + 2 : at + 2 + length].decode("utf-8", "replace")
            at += 2 + length
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            break
    return found
