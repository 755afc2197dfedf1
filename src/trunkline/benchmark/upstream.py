"""The provider of the benchmark, a process of its own: ``python -m trunkline.benchmark.upstream``.

It prints its port and serves until its standard input ends. It shares a core with the load, so that it does as little
as it can: answers are made beforehand, and of a WebSocket's frames only the number at their end is unmasked.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import re
import sys
import time
from typing import Final, cast

import httptools
import uvloop

from trunkline.benchmark.ticking import Ticker
from trunkline.benchmark.workloads import (
    CHUNK_SECONDS,
    CHUNKS,
    MARK,
    NUMBER_PLACE,
    SESSION_CREATED,
    answer,
    chunk,
    heard,
)

COUNT_PATH: Final = "/bench/count"
"""Answers how many chats have been answered so far."""

_BEFORE, _BETWEEN, _AFTER = answer()
_LENGTH: Final = len(_BEFORE) + 8 + len(_BETWEEN) + 8 + len(_AFTER)
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_ANSWER_HEAD: Final = _HEAD % _LENGTH + _BEFORE
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_REFUSAL: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def _framed(index: int) -> tuple[bytes, bytes, bytes]:
    """Return a chunk's parts in HTTP's chunked form; the last one ends the answer."""
    before, between, after = chunk(index)
    is_last = index == CHUNKS - 1
    size = len(before) + len(between) + len(after) + (0 if is_last else 7 + 16)
    return b"%x\r\n%b" % (size, before), between, after + b"\r\n" + (b"0\r\n\r\n" if is_last else b"")


_CHUNKS: Final = [_framed(index) for index in range(CHUNKS)]


class _Streams:
    """All streams that are being written: a fifth of them each millisecond."""

    def __init__(self) -> None:
        self._slots: list[dict[_Connection, int]] = [{} for _ in range(round(CHUNK_SECONDS * 1000))]
        self._now = 0
        self._ticker: Ticker | None = None

    def add(self, connection: _Connection) -> None:
        if self._ticker is None:
            self._ticker = Ticker(0.001, self._tick)
        min(self._slots, key=len)[connection] = 0

    def remove(self, connection: _Connection) -> None:
        for slot in self._slots:
            slot.pop(connection, None)

    def _tick(self, passed: int) -> None:
        for _ in range(min(passed, len(self._slots))):
            self._now = (self._now + 1) % len(self._slots)
            slot = self._slots[self._now]
            for connection, index in list(slot.items()):
                connection.write_chunk(index)
                if index + 1 < CHUNKS:
                    slot[connection] = index + 1
                else:
                    del slot[connection]
        if self._ticker is not None and not any(self._slots):
            self._ticker.stop()
            self._ticker = None


class _Connection(asyncio.Protocol):
    """One connection of a client, HTTP until it is upgraded."""

    answered = 0
    streams = _Streams()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, but in name
        self._parser = httptools.HttpRequestParser(self)
        self._socket: _Socket | None = None
        self._path = b""
        self._body: list[bytes] = []
        self._number = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.streams.remove(self)

    def data_received(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.feed(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._socket = _Socket.opened(self._transport, data)
        except httptools.HttpParserError:
            self._transport.write(_REFUSAL)
            self._transport.close()

    # Called by the parser.

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        found = MARK.search(body)
        if found is None:
            self._tell()
            return
        kind, number = found.groups()
        _Connection.answered += 1
        if kind == b"s":
            self._number = number
            self._transport.write(_STREAM_HEAD)
            self.streams.add(self)
        else:
            self._transport.write(b"%b%b%b%b%08d%b" % (_ANSWER_HEAD, kind, number, _BETWEEN, len(body), _AFTER))

    def write_chunk(self, index: int) -> None:
        """Write one event of the answer, with the time."""
        before, between, after = _CHUNKS[index]
        if between:
            self._transport.write(b"%b%b%b%016d%b" % (before, self._number, between, time.monotonic_ns(), after))
        else:
            self._transport.write(before + after)

    def _tell(self) -> None:
        """Answer what is no chat: the count, and for the sake of gateways that look, an empty list of models."""
        if self._path.decode("latin-1") == COUNT_PATH:
            said = b"%d" % _Connection.answered
        else:
            said = b'{"object": "list", "data": []}'
        self._transport.write(_HEAD % len(said) + said)


# WebSockets

_KEY: Final = re.compile(rb"\r\nsec-websocket-key:[ \t]*([^\r\n]+?)[ \t]*\r\n", re.IGNORECASE)
_PROTOCOLS: Final = re.compile(rb"\r\nsec-websocket-protocol:[ \t]*([^\r\n,]+)", re.IGNORECASE)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_HEARD: Final = heard()
_TAIL: Final = 9


def _frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes((0x80 | opcode, len(payload))) + payload
    return bytes((0x80 | opcode, 126)) + len(payload).to_bytes(2) + payload


_HEARD_HEAD: Final = _frame(_TEXT, _HEARD.filled(0))[: -7 - len(_HEARD.after)]


class _Socket:
    """The provider's end of a realtime session: each frame of sound is answered with one that has its number."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._buffer = b""
        self._expected = 0

    @classmethod
    def opened(cls, transport: asyncio.Transport, head: bytes) -> _Socket:
        """Answer a handshake, which has to have come in one piece."""
        self = cls(transport)
        key = _KEY.search(head)
        if key is None:
            transport.write(_REFUSAL)
            transport.close()
            return self
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
        offered = _PROTOCOLS.search(head)
        chosen = b"sec-websocket-protocol: %b\r\n" % offered[1].strip() if offered else b""
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: %b\r\n%b\r\n" % (accept, chosen)
        )
        transport.write(_frame(_TEXT, SESSION_CREATED))
        self.feed(head.partition(b"\r\n\r\n")[2])
        return self

    def feed(self, data: bytes) -> None:
        """Take bytes of masked frames."""
        if self._buffer:
            data = self._buffer + data
        at, end = 0, len(data)
        while end - at >= 6:
            length, mask = data[at + 1] & 0x7F, at + 2
            if length >= 126:
                mask += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : mask])
            start = mask + 4
            if end < start + length:
                break
            self._take(data[at], data[mask:start], data[start : start + length])
            at = start + length
        self._buffer = data[at:]

    def _take(self, first: int, mask: bytes, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode == _CLOSE:
            self._transport.write(_frame(_CLOSE, _unmasked(mask, payload, 0)[:2]))
            self._transport.close()
        elif opcode == _PING:
            self._transport.write(_frame(_PONG, _unmasked(mask, payload, 0)))
        elif opcode in (0, _TEXT) and first & 0x80 and len(payload) > 1000:  # shorter ones are no sound
            number = _unmasked(mask, payload, len(payload) - _TAIL)[NUMBER_PLACE]
            if number == b"%07d" % self._expected:
                self._expected += 1
                self._transport.write(b"%b%b%b" % (_HEARD_HEAD, number, _HEARD.after))
            else:
                reason = b"%b instead of %d" % (number, self._expected)
                self._transport.write(_frame(_CLOSE, (4000).to_bytes(2) + reason))
                self._transport.close()


def _unmasked(mask: bytes, payload: bytes, since: int) -> bytes:
    """Return a payload from an offset on, as it was before it was masked."""
    return bytes(payload[place] ^ mask[place & 3] for place in range(since, len(payload)))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - what the one who started it reads
    gc.freeze()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve())
