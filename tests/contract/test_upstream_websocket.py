"""The WebSocket dialer against a real WebSocket server and against impostors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.contract.raw_server import answering, raw_server
from trunkline.errors import UpstreamBroken, UpstreamRefused, UpstreamTimeout, UpstreamUpgradeRefused
from trunkline.upstream.address import Origin
from trunkline.upstream.messages import Binary, Closed, Text
from trunkline.upstream.timeouts import Timeouts
from trunkline.upstream.websocket import Dialer


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 20))


@asynccontextmanager
async def socket_server(
    handler: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[Origin]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield Origin("http", "127.0.0.1", next(iter(server.sockets)).getsockname()[1])


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def test_messages_go_both_ways_and_keep_their_kind() -> None:
    async def main() -> None:
        async with socket_server(echo, max_size=None) as origin:
            socket = await Dialer().dial(origin, b"/x?model=m", [])
            for size in (0, 5, 200, 70_000, 3_000_000):
                await socket.send("é" * size)
                assert await socket.receive() == Text("é" * size)
                await socket.send(b"\x00\xff" * size)
                assert await socket.receive() == Binary(b"\x00\xff" * size)
            await socket.close(1000, "done")

    run(main())


def test_fragments_become_one_message() -> None:
    async def fragments(connection: ServerConnection) -> None:
        await connection.send(["one ", "two ", "three"])
        await connection.send([b"a", b"b"])

    async def main() -> None:
        async with socket_server(fragments) as origin:
            socket = await Dialer().dial(origin, b"/", [])
            assert await socket.receive() == Text("one two three")
            assert await socket.receive() == Binary(b"ab")

    run(main())


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4000, "invalid_request_error.x"), (3000, "k"), (1013, "é")])
def test_the_providers_close_is_reported_exactly(code: int, reason: str) -> None:
    async def closes(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    async def main() -> None:
        async with socket_server(closes) as origin:
            socket = await Dialer().dial(origin, b"/", [])
            assert await socket.receive() == Closed(code, reason)
            assert await socket.receive() == Closed(code, reason)

    run(main())


def test_our_close_reaches_the_provider_exactly() -> None:
    seen: list[tuple[int | None, str | None]] = []

    async def watches(connection: ServerConnection) -> None:
        await connection.wait_closed()
        seen.append((connection.close_code, connection.close_reason))

    async def main() -> None:
        async with socket_server(watches) as origin:
            socket = await Dialer().dial(origin, b"/", [])
            await socket.close(4123, "because")
            await asyncio.sleep(0.05)
            assert seen == [(4123, "because")]

    run(main())


def test_a_connection_that_breaks_is_1006_and_not_a_clean_end() -> None:
    async def breaks(connection: ServerConnection) -> None:
        connection.transport.abort()

    async def main() -> None:
        async with socket_server(breaks) as origin:
            socket = await Dialer().dial(origin, b"/", [])
            assert await socket.receive() == Closed(1006, "")
            await socket.send("into the void")

    run(main())


def test_headers_and_subprotocols_arrive_as_given() -> None:
    async def main() -> None:
        async def tells(connection: ServerConnection) -> None:
            assert connection.request is not None
            await connection.send(connection.request.headers["authorization"])
            await connection.send(connection.request.path)
            await connection.send(connection.request.headers["host"])

        async with socket_server(tells, subprotocols=["realtime"]) as origin:
            headers = [(b"authorization", b"Bearer k")]
            socket = await Dialer().dial(origin, b"/v1/realtime?model=a%20b", headers, ["realtime", "other"])
            assert socket.subprotocol == "realtime"
            assert await socket.receive() == Text("Bearer k")
            assert await socket.receive() == Text("/v1/realtime?model=a%20b")
            assert await socket.receive() == Text(f"127.0.0.1:{origin.port}")

    run(main())


def test_a_refused_handshake_holds_the_providers_answer() -> None:
    refusal = b'HTTP/1.1 401 Unauthorized\r\ncontent-length: 16\r\n\r\n{"error":"nope"}'

    async def main() -> None:
        async with raw_server(answering(refusal, then_close=True)) as origin:
            with pytest.raises(UpstreamUpgradeRefused) as caught:
                await Dialer().dial(origin, b"/?key=hidden", [(b"authorization", b"Bearer hidden")])
            assert caught.value.upstream_status == 401
            assert b"nope" in caught.value.body
            assert "hidden" not in str(caught.value)

    run(main())


def test_redirects_are_not_followed() -> None:
    async def main() -> None:
        answer = b"HTTP/1.1 302 Found\r\nlocation: ws://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
        async with raw_server(answering(answer, then_close=True)) as origin:
            with pytest.raises(UpstreamUpgradeRefused, match="302"):
                await Dialer().dial(origin, b"/", [])

    run(main())


def test_what_cannot_be_reached_or_never_answers_has_its_own_error() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        with pytest.raises(UpstreamRefused):
            await Dialer().dial(Origin("http", "127.0.0.1", 1), b"/", [])
        async with raw_server(silent) as origin:
            with pytest.raises(UpstreamTimeout, match="handshake"):
                await Dialer(timeouts=Timeouts(connect=0.1)).dial(origin, b"/", [])
        async with raw_server(answering(b"", then_close=True)) as origin:
            with pytest.raises((UpstreamBroken, UpstreamRefused)):
                await Dialer().dial(origin, b"/", [])

    run(main())


def test_a_slow_consumer_holds_the_provider_back() -> None:
    sent = 0

    async def floods(connection: ServerConnection) -> None:
        nonlocal sent
        for _ in range(400):
            await connection.send(b"x" * 100_000)
            sent += 1

    async def main() -> None:
        async with socket_server(floods) as origin:
            socket = await Dialer().dial(origin, b"/", [])
            await asyncio.sleep(0.3)
            assert sent < 200
            for _ in range(400):
                assert isinstance(await socket.receive(), Binary)

    run(main())


def test_a_dial_that_is_given_up_closes_its_connection_at_once() -> None:
    """The event loop held on to a socket whose handshake was never answered."""

    async def main() -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await reader.read()
            ended.set()

        async with raw_server(waiting) as origin:
            dial = asyncio.create_task(Dialer().dial(origin, b"/", []))
            await asked.wait()
            dial.cancel()
            await ended.wait()

    run(main())
