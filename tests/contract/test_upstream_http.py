"""The HTTP pool against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import trustme
import uvloop

from tests.contract.raw_server import answering, raw_server, read_head
from trunkline.errors import (
    MalformedRequest,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnresolved,
    UpstreamUntrusted,
)
from trunkline.upstream.address import Origin
from trunkline.upstream.http import HttpPool, Request, Response
from trunkline.upstream.timeouts import Timeouts


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 20))


def get(origin: Origin, target: bytes = b"/") -> Request:
    return Request(b"GET", origin, target, [])


async def iterated(response: Response) -> AsyncIterator[bytes]:
    async for chunk in response:
        yield chunk


async def passed_on(response: Response) -> AsyncIterator[bytes]:
    """All that is passed on, and then what is left to be iterated over: nothing."""
    taken: deque[bytes] = deque()

    def take(chunk: bytes) -> bool:
        taken.append(chunk)
        return True

    has_ended = await response.pass_on(take)
    assert has_ended
    while taken:
        yield taken.popleft()
    async for chunk in response:
        raise AssertionError(chunk)


async def by_turns(response: Response) -> AsyncIterator[bytes]:
    """One piece that is passed on, and one that is iterated over, until the end."""
    taken: deque[bytes] = deque()

    def take(chunk: bytes) -> bool:
        taken.append(chunk)
        return False

    while not await response.pass_on(take):
        yield taken.popleft()
        async for chunk in response:
            yield chunk
            break
    while taken:
        yield taken.popleft()
    async for chunk in response:
        raise AssertionError(chunk)


Read = Callable[[Response], AsyncIterator[bytes]]


@pytest.fixture(params=[iterated, passed_on, by_turns], ids=lambda read: read.__name__)
def read(request: pytest.FixtureRequest) -> Read:
    """Each way to read an answer."""
    way: Read = request.param
    return way


async def body_of(pool: HttpPool, request: Request, read: Read = iterated) -> bytes:
    response = await pool.send(request)
    seen: list[bytes] = []
    response.observer = seen.append
    try:
        body = b"".join([chunk async for chunk in read(response)])
    finally:
        await response.aclose()
    assert b"".join(seen) == body
    return body


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (CHUNKED, b"hello world"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", b""),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_an_answer_is_read_the_same_whole_and_one_byte_at_a_time(
    answer: bytes, body: bytes, bytewise: bool, read: Read
) -> None:
    async def main() -> None:
        pieces = [answer[i : i + 1] for i in range(len(answer))] if bytewise else [answer]
        async with raw_server(answering(*pieces)) as origin:
            pool = HttpPool()
            assert await body_of(pool, get(origin), read) == body
            assert await body_of(pool, get(origin), read) == body
            await pool.aclose()

    run(main())


def test_an_answer_without_framing_ends_where_the_connection_does() -> None:
    async def main() -> None:
        async with raw_server(answering(b"HTTP/1.1 200 OK\r\n\r\nall of it", then_close=True)) as origin:
            assert await body_of(HttpPool(), get(origin)) == b"all of it"

    run(main())


def test_what_is_sent_behind_the_answer_to_head_is_no_body_and_no_other_answer(read: Read) -> None:
    async def main() -> None:
        async with raw_server(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")) as origin:
            pool = HttpPool()
            for _ in range(2):
                response = await pool.send(Request(b"HEAD", origin, b"/", []))
                assert (response.status, response.headers) == (200, [(b"content-length", b"5")])
                assert [chunk async for chunk in read(response)] == []
            await pool.aclose()

    run(main())


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n",
    ],
)
def test_an_answer_that_breaks_off_never_looks_complete(cut: bytes, read: Read) -> None:
    async def main() -> None:
        async with raw_server(answering(cut, then_close=True)) as origin:
            response = await HttpPool().send(get(origin))
            with pytest.raises(UpstreamBroken):
                async for _ in read(response):
                    pass

    run(main())


@pytest.mark.parametrize("noise", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nx"])
def test_no_answer_at_all_is_named_as_such(noise: bytes) -> None:
    async def main() -> None:
        async with raw_server(answering(noise, then_close=True)) as origin:
            with pytest.raises(UpstreamBroken, match=str(origin.port)):
                await HttpPool().send(get(origin))

    run(main())


def test_a_large_body_that_arrives_together_with_its_head_is_no_large_head() -> None:
    async def main() -> None:
        body = b"x" * 3_000_000
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        async with raw_server(answering(answer)) as origin:
            pool = HttpPool()
            for _ in range(20):
                assert await body_of(pool, get(origin)) == body
            await pool.aclose()

    # uvloop's reads are large enough to hold both.
    uvloop.run(asyncio.wait_for(main(), 20))


def test_endless_headers_are_cut_off() -> None:
    async def main() -> None:
        pieces = [b"HTTP/1.1 200 OK\r\n", *[b"x: " + b"y" * 8000 + b"\r\n"] * 40]
        async with raw_server(answering(*pieces, then_close=True)) as origin:
            with pytest.raises(UpstreamBroken):
                await HttpPool().send(get(origin))

    run(main())


def test_connections_are_kept_and_used_again() -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(CHUNKED)(reader, writer)

    async def main() -> None:
        async with raw_server(handler) as origin:
            pool = HttpPool()
            for _ in range(5):
                assert await body_of(pool, get(origin)) == b"hello world"
            assert connections == 1

    run(main())


def test_a_kept_connection_that_was_closed_is_replaced_for_repeatable_requests_only() -> None:
    async def main() -> None:
        async with raw_server(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", then_close=True)) as origin:
            pool = HttpPool()
            for _ in range(3):
                assert await body_of(pool, get(origin)) == b"ok"
                await asyncio.sleep(0.02)

    run(main())


def test_a_post_is_not_repeated_when_the_connection_closes_after_it_was_sent() -> None:
    requests = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await read_head(reader)
        requests += 1

    async def main() -> None:
        async with raw_server(handler) as origin:
            pool = HttpPool()
            await body_of(pool, get(origin))
            with pytest.raises(UpstreamBroken):
                await pool.send(Request(b"POST", origin, b"/", [], b"{}"))
            assert requests == 1
            await body_of(pool, get(origin))
            keyed = Request(b"POST", origin, b"/", [(b"idempotency-key", b"k")], b"{}")
            assert await body_of(pool, keyed) == b"ok"

    run(main())


def test_each_stage_that_hangs_has_its_own_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nsome")
        await reader.read()

    async def main() -> None:
        async with raw_server(silent) as origin:
            with pytest.raises(UpstreamTimeout, match="first_byte_timeout"):
                await HttpPool(timeouts=Timeouts(1, 0.05, 1)).send(get(origin))
        async with raw_server(stalls) as origin:
            response = await HttpPool(timeouts=Timeouts(1, 1, 0.05)).send(get(origin))
            with pytest.raises(UpstreamTimeout, match="idle_timeout"):
                async for _ in response:
                    pass

    run(main())


def test_refusal_dns_and_certificates_are_told_apart() -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)

    async def main() -> None:
        with pytest.raises(UpstreamRefused):
            await HttpPool().send(get(Origin("http", "127.0.0.1", 1)))
        with pytest.raises(UpstreamUnresolved):
            await HttpPool(proxies={}).send(get(Origin("http", "no-such-host.invalid", 80)))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(CHUNKED, then_close=True)(reader, writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        origin = Origin("https", "127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(UpstreamUntrusted, match="not trusted"):
            await HttpPool().send(get(origin))
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        assert await body_of(HttpPool(ssl_context=trusting), get(origin)) == b"hello world"
        server.close()

    run(main())


def test_giving_up_an_answer_closes_the_providers_connection() -> None:
    closed = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await reader.read()
        closed.set()

    async def main() -> None:
        async with raw_server(handler) as origin:
            response = await HttpPool().send(get(origin))
            assert await anext(response) == b"hello"
            await response.aclose()
            await closed.wait()

    run(main())


def test_cancelling_a_request_that_waits_frees_its_place() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        async with raw_server(silent) as origin:
            pool = HttpPool(max_connections_per_origin=1, timeouts=Timeouts(0.2, 5, 5))
            first = asyncio.create_task(pool.send(get(origin)))
            await asyncio.sleep(0.05)
            with pytest.raises(UpstreamBusy):
                await pool.send(get(origin))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            second = asyncio.create_task(pool.send(get(origin)))
            await asyncio.sleep(0.05)
            assert not second.done()
            second.cancel()

    run(main())


def test_a_slow_consumer_holds_the_provider_back(read: Read) -> None:
    sent = 0

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async def main() -> None:
        async with raw_server(floods) as origin:
            response = await HttpPool().send(get(origin))
            await asyncio.sleep(0.3)
            assert sent < 30_000_000
            total = 0
            async for chunk in read(response):
                total += len(chunk)
            assert total == 100_000_000

    run(main())


def test_a_streamed_body_arrives_whole_and_an_early_answer_ends_it() -> None:
    async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if b"/early" in head:
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
            await reader.read()
            return
        assert b"transfer-encoding: chunked" in head
        received = await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(received), received))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"three"

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0.001)

    async def main() -> None:
        async with raw_server(echoes) as origin:
            pool = HttpPool()
            request = Request(b"POST", origin, b"/", [], pieces())
            assert await body_of(pool, request) == b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"
            response = await HttpPool().send(Request(b"POST", origin, b"/early", [], endless()))
            assert response.status == 413
            assert await anext(response) == b"big"
            await response.aclose()

    run(main())


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\ny", b"a\x00b", b"a\rb"])
def test_a_line_break_in_a_header_is_refused_before_anything_is_sent(value: bytes) -> None:
    async def main() -> None:
        with pytest.raises(MalformedRequest):
            await HttpPool().send(Request(b"GET", Origin("http", "127.0.0.1", 1), b"/", [(b"x", value)]))

    run(main())


def test_the_time_that_an_exchange_before_had_left_does_not_end_a_long_upload() -> None:
    async def reads_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await read_head(reader):
            if b"chunked" in head:
                await reader.readuntil(b"0\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(6):
            await asyncio.sleep(0.1)
            yield b"piece"

    async def main() -> None:
        async with raw_server(reads_all) as origin:
            pool = HttpPool(timeouts=Timeouts(1, 0.25, 0.25))
            assert await body_of(pool, get(origin)) == b"ok"
            assert await body_of(pool, Request(b"POST", origin, b"/", [], slow())) == b"ok"
            await pool.aclose()

    run(main())


def test_a_kept_connection_is_timed_anew_for_each_exchange() -> None:
    async def answers_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await read_head(reader)
        await reader.read()

    async def main() -> None:
        async with raw_server(answers_once) as origin:
            pool = HttpPool(timeouts=Timeouts(1, 0.2, 5))
            assert await body_of(pool, get(origin)) == b"ok"
            await asyncio.sleep(0.3)  # the timer of the first exchange has rung meanwhile
            with pytest.raises(UpstreamTimeout):
                await pool.send(get(origin))
            await pool.aclose()

    run(main())
