"""What a provider can do wrong on a WebSocket: what the caller is told, and that nothing is left."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote, unquote

from websockets.exceptions import ConnectionClosed

from tests.contract.administration import administration
from tests.contract.log_rows import logged
from tests.contract.raw_server import raw_server, read_head
from tests.contract.test_voiceplane import dial
from tests.faults.stage import GOOD, SECRET, at, left, reset, until_no_more_than
from tests.running import Address, run

GREETING = b'{"type":"session.created","session":{"model":"gpt-realtime"}}'


def accepted(head: bytes) -> bytes:
    """The answer that opens a WebSocket (RFC 6455 section 4.2.2)."""
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")).split(b":")[1]
    digest = hashlib.sha1(key.strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    lines = [b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: upgrade"]
    return b"\r\n".join([*lines, b"sec-websocket-accept: " + base64.b64encode(digest), b"", b""])


def handshake(*pieces: bytes, then: str = "closes") -> Act:
    """Answer the handshake with bytes."""

    async def act(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if then == "hangs":
            await reader.read()
        elif then == "resets":
            reset(writer)

    return act


def frames(*pieces: bytes, then: str = "closes") -> Act:
    """Open, and send bytes."""

    async def act(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(head) + text(GREETING))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if then == "hangs":
            await reader.read()
        elif then == "resets":
            reset(writer)

    return act


def text(payload: bytes) -> bytes:
    return b"\x81" + bytes([len(payload)]) + payload


Act = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Expected(NamedTuple):
    """The code of the last event, where that is an error; the close; and how the row ends."""

    code: str
    close: int


BROKEN = Expected("upstream_broken", 1013)
LATE = Expected("upstream_timeout", 1013)
LOST = Expected("upstream_error", 1013)
REFUSED = Expected("upstream_upgrade_refused", 1013)

HANDSHAKES: dict[str, tuple[Act, Expected]] = {
    "hangs in the handshake": (handshake(then="hangs"), LATE),
    "hangs inside its answer": (handshake(b"HTTP/1.1 101 Swi", then="hangs"), LATE),
    "closes in the handshake": (handshake(), BROKEN),
    "closes inside its answer": (handshake(b"HTTP/1.1 101 Swi"), BROKEN),
    "resets in the handshake": (handshake(then="resets"), BROKEN),
    "answers with garbage": (handshake(b"\x00\x01\x02 no http\r\n\r\n"), BROKEN),
    "accepts another handshake": (
        handshake(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
        ),
        REFUSED,
    ),
    "answers as if asked over HTTP": (handshake(GOOD), REFUSED),
    "has headers without end": (handshake(b"HTTP/1.1 101 X\r\n", *[b"x: " + b"y" * 9000 + b"\r\n"] * 60), BROKEN),
    "has no time": (handshake(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno"), REFUSED),
}

SESSIONS: dict[str, tuple[Act, Expected]] = {
    "closes without a close": (frames(), LOST),
    "resets": (frames(then="resets"), LOST),
    "closes inside a frame": (frames(b"\x81\x7e\x10\x00half of it"), LOST),
    "masks its frames": (frames(b"\x81\x85\x01\x02\x03\x04abcde", then="hangs"), LOST),
    "sends a frame of no kind": (frames(b"\x83\x01x", then="hangs"), LOST),
    "sends a frame with reserved bits": (frames(b"\xf1\x01x", then="hangs"), LOST),
    "sends a frame beyond all memory": (frames(b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xffx", then="hangs"), LOST),
    "sends a continuation of nothing": (frames(b"\x80\x01x", then="hangs"), LOST),
    "sends a long control frame": (frames(b"\x89\x7e\x00\x80" + b"x" * 128, then="hangs"), LOST),
}


FAULTS = {**HANDSHAKES, **SESSIONS}


async def by_model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider whose fault is chosen by the model; another one's sessions are good ones that nobody speaks in."""
    head = await read_head(reader)
    model = unquote(head.partition(b"?model=")[2].partition(b" ")[0].decode())
    act, _ = FAULTS.get(model, (frames(then="hangs"), LOST))
    await act(head, reader, writer)


async def heard_by(address: Address, model: str) -> tuple[str, int | None]:
    """Call, hear all of it; return the code of the last error and the close code."""
    code = ""
    socket = await dial(address, f"/v1/local/default/openai/realtime?model={quote(model)}")
    with suppress(ConnectionClosed):
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "error":
                code = event["error"]["code"]
            assert SECRET not in message
    return code, socket.close_code


def test_a_provider_that_breaks_a_call_is_told_in_band_with_a_close_that_says_try_again() -> None:
    async def main() -> None:
        async with raw_server(by_model) as origin, logged(**at(origin), connect_timeout=4) as gateway:
            async with administration(gateway.directory) as configuration:
                await configuration.change_gateway("default", realtime={"resume": False})
            async with dial(gateway.address) as good:
                await good.recv()
                before = left()
                found = await asyncio.gather(*[heard_by(gateway.address, way) for way in FAULTS])
                heard = dict(zip(FAULTS, found, strict=True))
                assert heard == {way: tuple(expected) for way, (_, expected) in FAULTS.items()}
                await until_no_more_than(before)
                await (await good.ping())  # the call of somebody else goes on
        rows = {row.model: row for row in gateway.rows if row.model in FAULTS}
        assert rows.keys() == FAULTS.keys()
        assert {way: row.end_reason for way, row in rows.items()} == {
            way: "gateway" if way in SESSIONS else "upstream_error" for way in FAULTS
        }
        assert not any(SECRET in row.error for row in rows.values())

    run(main(), 60)
