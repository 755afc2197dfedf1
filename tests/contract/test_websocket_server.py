"""The client's side of a WebSocket, frame by frame: what RFC 6455 lets a client do, and what it does not."""

from __future__ import annotations

import asyncio
import gc
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import uvicorn
from uvicorn.protocols.utils import ClientDisconnected

from tests.contract.waiting import until
from tests.running import run
from trunkline.server.heads import BoundedHttpProtocol
from trunkline.server.websocket import WebSocketProtocol

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MOST: Final = 100_000
KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of that key, from RFC 6455 section 1.3

Talk = Callable[[Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


async def holds(look: Callable[[], bool]) -> None:
    """Wait until something is so."""

    async def looked() -> bool:
        return look()

    await until(looked)


class Server:
    """An application behind the protocol, with what it received."""

    def __init__(self, talk: Talk | None = None, accept: dict[str, Any] | None = None) -> None:
        self.received: list[Any] = []
        self.port = 0
        self._talk = talk
        self._accept = accept or {}
        self.is_let = asyncio.Event()
        self.is_let.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await self.is_let.wait()
        await send({"type": "websocket.accept", **self._accept})
        if self._talk is not None:
            await self._talk(receive, send)
            return
        while True:
            message = await receive()
            self.received.append(message)
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", **{name: message[name] for name in message if name != "type"}})


@asynccontextmanager
async def served(server: Server, **options: Any) -> AsyncIterator[uvicorn.Server]:
    config = uvicorn.Config(
        server,
        port=0,
        http=BoundedHttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MOST,
        **{"ws_ping_interval": 20, "ws_ping_timeout": 20, **options},
        lifespan="off",
        log_config=None,
        server_header=False,
        date_header=False,
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running._serve())
    await holds(lambda: running.started)
    server.port = running.servers[0].sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        running.should_exit = True
        await task


class Client:
    """A client that writes what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    @classmethod
    async def of(cls, server: Server, *, more: bytes = b"", behind: bytes = b"") -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", server.port))
        client.writer.write(
            b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: %b\r\n%b\r\n" % (KEY, more)
        )
        if behind:
            await asyncio.sleep(0.1)
            client.writer.write(behind)
            await asyncio.sleep(0.1)
            server.is_let.set()
        client.head = await client.reader.readuntil(b"\r\n\r\n")
        return client

    def write(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def read(self) -> tuple[int, bytes]:
        """The opcode and payload of the next frame, which is whole and not masked."""
        first, second = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80
        assert second < 0x80
        size = second
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0xF, await self.reader.readexactly(size)

    async def end(self) -> tuple[int, str]:
        """The code and the reason of the close frame that ends everything; nothing comes behind it."""
        kind, payload = await self.read()
        while kind != CLOSE:
            kind, payload = await self.read()
        self.write(frame(CLOSE, payload))
        assert await self.reader.read() == b""
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def frame(kind: int, payload: bytes, *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    mask = os.urandom(4) if masked else b""
    size = len(payload)
    short = size if size < 126 else 126 if size < 1 << 16 else 127
    head = bytes([fin << 7 | reserved << 4 | kind, masked << 7 | short])
    head += b"" if short < 126 else struct.pack("!H" if short == 126 else "!Q", size)
    return head + mask + (bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)) if masked else payload)


def test_the_handshake_is_answered_with_what_the_application_says() -> None:
    async def main() -> None:
        server = Server(accept={"subprotocol": "realtime", "headers": [(b"X-One", b"1"), (b"x-two", b"2")]})
        async with served(server):
            client = await Client.of(server, more=b"sec-websocket-protocol: other, realtime\r\n")
        first, *lines = client.head.split(b"\r\n")
        assert first == b"HTTP/1.1 101 Switching Protocols"
        named = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines if line)}
        assert named[b"sec-websocket-accept"] == ACCEPT
        assert named[b"sec-websocket-protocol"] == b"realtime"
        assert (named[b"x-one"], named[b"x-two"]) == (b"1", b"2")
        assert named[b"upgrade"] == b"websocket"
        assert {b"date", b"server", b"sec-websocket-extensions"} & {*named} == set()

    run(main())


@pytest.mark.parametrize("bytewise", [False, True])
def test_messages_of_every_form_come_back_as_they_were(bytewise: bool) -> None:
    sizes = (0, 1, 125, 126, 300) if bytewise else (0, 1, 125, 126, 65_535, 65_536, MOST)

    async def main() -> None:
        server = Server()
        async with served(server):
            client = await Client.of(server)
            for size in sizes:
                for kind, payload in ((TEXT, b"x" * size), (BINARY, os.urandom(size))):
                    written = frame(kind, payload)
                    for piece in [written[i : i + 1] for i in range(len(written))] if bytewise else [written]:
                        client.write(piece)
                        if bytewise:
                            await client.writer.drain()
                            await asyncio.sleep(0)
                    assert await client.read() == (kind, payload)
            client.write(frame(CLOSE, b"\x03\xe8bye"))
            assert await client.end() == (1000, "bye")
        assert server.received[-1] == {"type": "websocket.disconnect", "code": 1000, "reason": "bye"}

    run(main())


def test_a_message_in_pieces_with_a_ping_between_them_is_one_message() -> None:
    async def main() -> None:
        server = Server()
        async with served(server):
            client = await Client.of(server)
            accent = "é".encode()
            client.write(
                frame(TEXT, b"one " + accent[:1], fin=False),
                frame(PING, b"still there?"),
                frame(CONTINUATION, accent[1:], fin=False),
                frame(CONTINUATION, b""),
                frame(BINARY, b"\xff"),
            )
            assert await client.read() == (PONG, b"still there?")
            assert await client.read() == (TEXT, "one é".encode())
            assert await client.read() == (BINARY, b"\xff")

    run(main())


FAULTS = {
    "not UTF-8": ([frame(TEXT, b"\xff\xfe")], 1007),
    "half a character at the end": ([frame(TEXT, "é".encode()[:1], fin=False), frame(CONTINUATION, b"")], 1007),
    "not masked": ([frame(TEXT, b"hello", masked=False)], 1002),
    "a reserved bit": ([frame(TEXT, b"hello", reserved=4)], 1002),
    "another reserved bit": ([frame(BINARY, b"hello", reserved=1)], 1002),
    "a kind that is none": ([frame(0x3, b"hello")], 1002),
    "a ping in pieces": ([frame(PING, b"", fin=False)], 1002),
    "a ping of 126 bytes": ([frame(PING, b"x" * 126)], 1002),
    "a piece of nothing": ([frame(CONTINUATION, b"hello")], 1002),
    "a message within another": ([frame(TEXT, b"one", fin=False), frame(TEXT, b"two")], 1002),
    "a close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "a close that no frame may hold": ([frame(CLOSE, struct.pack("!H", 1005))], 1002),
    "a close whose reason is not UTF-8": ([frame(CLOSE, b"\x03\xe8\xff")], 1007),
    "too large": ([frame(BINARY, bytes(MOST + 1))], 1009),
    "too large in pieces": ([frame(BINARY, bytes(MOST), fin=False), frame(CONTINUATION, b"x")], 1009),
}


@pytest.mark.parametrize(("frames", "code"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_closes_with_its_code_and_gives_the_application_nothing(frames: list[bytes], code: int) -> None:
    async def main() -> None:
        server = Server()
        async with served(server):
            client = await Client.of(server)
            client.write(frame(TEXT, b"before"))
            assert await client.read() == (TEXT, b"before")
            client.write(*frames)
            assert (await client.end())[0] == code
            await holds(lambda: server.received[-1]["type"] == "websocket.disconnect")
        assert [message["type"] for message in server.received] == ["websocket.receive", "websocket.disconnect"]

    run(main())


@pytest.mark.parametrize(
    ("close", "told", "echo"),
    [(b"", 1005, b""), (struct.pack("!H", 4321) + b"why", 4321, struct.pack("!H", 4321) + b"why")],
)
def test_a_clients_close_is_told_and_echoed(close: bytes, told: int, echo: bytes) -> None:
    async def main() -> None:
        server = Server()
        async with served(server):
            client = await Client.of(server)
            client.write(frame(CLOSE, close))
            assert await client.read() == (CLOSE, echo)
            assert await client.reader.read() == b""
        assert server.received == [{"type": "websocket.disconnect", "code": told, "reason": echo[2:].decode()}]

    run(main())


def test_a_client_that_vanishes_has_ended_abnormally() -> None:
    async def main() -> None:
        server = Server()
        async with served(server):
            client = await Client.of(server)
            client.writer.transport.abort()
            await holds(lambda: bool(server.received))
        assert server.received == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]

    run(main())


def test_the_applications_close_waits_for_the_echo_and_drops_what_comes_before_it() -> None:
    seen: list[Any] = []

    async def closes(receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 4001, "reason": "é" * 100})
        seen.append(await receive())
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.send", "text": "late"})

    async def main() -> None:
        server = Server(closes)
        async with served(server):
            client = await Client.of(server)
            client.write(*[frame(BINARY, bytes(MOST)) for _ in range(20)])
            assert await client.end() == (4001, "é" * 61)  # whole characters of the 123 bytes there are
        assert seen == [{"type": "websocket.disconnect", "code": 4001, "reason": "é" * 100}]

    run(main())


def test_what_comes_before_the_handshake_is_answered_is_not_lost() -> None:
    async def main() -> None:
        server = Server()
        server.is_let.clear()
        async with served(server):
            early = [frame(TEXT, b"%d" % number) for number in range(10)] + [frame(BINARY, bytes(MOST))] * 3
            client = await Client.of(server, behind=b"".join(early))
            for number in range(10):
                assert await client.read() == (TEXT, b"%d" % number)
            for _ in range(3):
                assert await client.read() == (BINARY, bytes(MOST))

    run(main())


def test_an_application_that_does_not_read_holds_the_client_back_and_loses_nothing() -> None:
    is_read = asyncio.Event()
    total = 300

    async def waits(receive: Any, send: Any) -> None:
        await is_read.wait()
        for number in range(total):
            message = await receive()
            assert message["bytes"][:4] == struct.pack("!I", number)
        await send({"type": "websocket.send", "text": "all"})

    async def main() -> None:
        server = Server(waits)
        written = 0

        async def writes(client: Client) -> None:
            nonlocal written
            for number in range(total):
                client.write(frame(BINARY, struct.pack("!I", number) + bytes(MOST - 4)))
                await client.writer.drain()
                written += 1

        async with served(server):
            client = await Client.of(server)
            writing = asyncio.create_task(writes(client))
            before = -1
            while written > before:
                before = written
                await asyncio.sleep(0.3)
            assert written < total
            is_read.set()
            await writing
            assert await client.read() == (TEXT, b"all")

    run(main())


def test_a_client_that_does_not_read_holds_the_application_back() -> None:
    sent = 0

    async def floods(receive: Any, send: Any) -> None:
        nonlocal sent
        for _ in range(500):
            await send({"type": "websocket.send", "bytes": bytes(MOST)})
            sent += 1

    async def main() -> None:
        server = Server(floods)
        async with served(server):
            client = await Client.of(server)
            before = -1
            while sent > before:
                before = sent
                await asyncio.sleep(0.3)
            assert sent < 500
            for _ in range(500):
                assert await client.read() == (BINARY, bytes(MOST))

    run(main())


def test_a_silent_client_is_asked_whether_it_is_there_and_left_when_it_is_not() -> None:
    async def main() -> None:
        server = Server()
        async with served(server, ws_ping_interval=0.2, ws_ping_timeout=0.2):
            client = await Client.of(server)
            for _ in range(3):
                kind, payload = await client.read()
                assert kind == PING
                client.write(frame(PONG, payload))
            assert not server.received
            await holds(lambda: bool(server.received))
        assert server.received[0]["type"] == "websocket.disconnect"

    run(main())


def test_a_server_that_stops_tells_its_clients() -> None:
    async def main() -> None:
        server = Server()
        async with served(server) as running:
            client = await Client.of(server)
            running.should_exit = True
            assert (await client.end())[0] == 1012
        assert server.received == [{"type": "websocket.disconnect", "code": 1012, "reason": ""}]

    run(main())


def test_a_refusal_and_an_application_that_fails_are_answered_before_the_handshake_is() -> None:
    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 403, "headers": [(b"x-why", b"no")]})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    async def main() -> None:
        server = Server()
        server.__class__ = type("Refusing", (Server,), {"__call__": staticmethod(refuses)})
        async with served(server):
            client = await Client.of(server)
            assert client.head.startswith(b"HTTP/1.1 403 ")
            assert b"x-why: no\r\n" in client.head.lower()

    run(main())


def test_what_read_the_handshake_is_let_go_of_while_the_session_goes_on() -> None:
    def readers() -> int:
        gc.collect()
        return sum(isinstance(one, BoundedHttpProtocol) for one in gc.get_objects())

    async def main() -> None:
        server = Server()
        async with served(server):
            before = readers()
            clients = [await Client.of(server) for _ in range(5)]
            assert readers() <= before
            for client in clients:
                client.writer.close()

    run(main())
