"""Heads of requests that are too large, on a real server: 431 over HTTP and for a WebSocket, and the server goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import uvicorn

from tests import running
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.waiting import until
from tests.running import Address, gateway, run
from trunkline.server import heads, serving

UPGRADE = (
    b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
PATH = b"/v1/local/default/local/models"
LARGE = b"x" * 70_000
ANSWERED = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SHOWN_KEY = b"authorization: Bearer sk-caller-12345678\r\n\r\n"


async def exchanged(address: Address, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET " + PATH + b" HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer " + LARGE + b"\r\n\r\n"],
        [b"GET " + PATH + b" HTTP/1.1\r\nhost: localhost\r\n", b"authorization: Bearer " + LARGE],
        [b"GET " + PATH + b" HTTP/1.1\r\nhost: localhost\r\n" + b"x-many: value\r\n" * 5000 + b"\r\n"],
        [b"GET " + PATH + b"?" + LARGE + b" HTTP/1.1\r\nhost: localhost\r\n\r\n"],
        [b"GET " + PATH + b" HTTP/1.1\r\nhost: localhost\r\n", *[b"x-drop: " + b"y" * 5000 + b"\r\n"] * 20],
        [b"GET " + PATH + b" HTTP/1.1\r\nhost: localhost\r\n" + UPGRADE + b"authorization: " + LARGE + b"\r\n\r\n"],
        [b"GET " + PATH + b" HTTP/1.1\r\nhost: localhost\r\n" + UPGRADE + b"x-key: " + b"k" * 9000 + b"\r\n\r\n"],
        [b"GET " + PATH + b" HTTP/1.1\r\nhost: localhost\r\n" + UPGRADE + b"x-many: v\r\n" * 130 + b"\r\n"],
        [
            b"GET " + PATH + b" HTTP/1.1\r\nhost: localhost\r\n" + UPGRADE
            + b"sec-websocket-protocol: realtime, openai-insecure-api-key." + b"k" * 9000 + b"\r\n\r\n"
        ],
    ],
)  # fmt: skip
def test_a_head_that_is_too_large_is_answered_431_and_says_why(pieces: list[bytes]) -> None:
    async def main() -> None:
        async with gateway() as address:
            head, _, body = (await exchanged(address, *pieces)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 431 ")
            assert json.loads(body)["error"]["code"] == "request_header_fields_too_large"
            fine = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            assert (await exchanged(address, fine)).startswith(b"HTTP/1.1 200 ")

    run(main())


def test_a_large_body_and_a_head_within_bounds_are_served() -> None:
    async def main() -> None:
        upstream = Recorder()
        body = "z" * 300_000
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            url = f"{address.http}/v1/local/default/openai/files"
            answer = await client.post(url, headers={"x-large": "c" * 60_000}, content=body)
            assert answer.status_code == 200
        assert upstream.requests[0][2] == body.encode()

    run(main())


def test_trailers_without_end_are_cut_off() -> None:
    async def main() -> None:
        async with gateway() as address:
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"POST " + PATH + b" HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
            with pytest.raises(ConnectionError):
                await endless(writer)
            writer.close()

    async def endless(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x-trailer: " + b"t" * 4000 + b"\r\n")
            await writer.drain()

    run(main())


def test_what_is_no_http_is_still_a_bad_request() -> None:
    async def main() -> None:
        async with gateway() as address:
            assert (await exchanged(address, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")

    run(main())


def test_heads_on_a_kept_connection_are_counted_one_by_one() -> None:
    async def main() -> None:
        async with gateway() as address:
            head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-pad: " + b"p" * 40_000 + b"\r\n"
            answer = await exchanged(address, head + b"\r\n", head + b"\r\n", head + b"connection: close\r\n\r\n")
            assert answer.count(b"HTTP/1.1 200 ") == 3

    run(main())


def test_a_connection_is_closed_when_nothing_was_asked_for_a_while_and_not_during_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(1.5)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def main() -> None:
        monkeypatch.setattr(serving, "KEEP_ALIVE_SECONDS", 1)
        async with raw_server(slow) as origin, gateway(**openai_at(origin)) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            for pause in (0.0, 0.5):  # the second is asked while the first one's time is running
                await asyncio.sleep(pause)
                writer.write(b"GET /v1/local/default/openai/models HTTP/1.1\r\nhost: localhost\r\n" + SHOWN_KEY)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await reader.readexactly(length)
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()

    run(main())


@pytest.mark.parametrize("times", [1, 3])  # its head is known by then
def test_a_request_that_comes_on_an_open_connection_while_the_gateway_stops_is_answered_as_its_last(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A proxy that keeps connections has sent one before it can know, and goes elsewhere with the next."""
    servers: list[uvicorn.Server] = []

    def create_server(*arguments: Any) -> uvicorn.Server:
        servers.append(serving.create_server(*arguments))
        return servers[-1]

    async def refused(address: Address) -> bool:
        try:
            _, writer = await asyncio.open_connection(address.host, address.port)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    async def main() -> None:
        monkeypatch.setattr(running, "create_server", create_server)
        monkeypatch.setattr(heads, "LAST_SECONDS", 30)
        body = b'{"model": "m", "messages": []}'
        head = b"POST /v1/local/default/openai/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 30\r\n"
        asked = head + SHOWN_KEY + body
        async with (
            raw_server(Recorder(ANSWERED)) as origin,
            gateway(**openai_at(origin)) as address,
        ):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            for _ in range(times):
                writer.write(asked)
                first = await reader.readuntil(b"\r\n\r\nok")
                assert first.startswith(b"HTTP/1.1 200 ")
                assert b"connection: close" not in first
            servers[0].should_exit = True
            await until(lambda: refused(address))
            writer.write(asked)
            last = await reader.read()
            assert last.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in last
            assert last.endswith(b"ok")
            writer.close()

    run(main(), 20)


def test_a_gateway_that_stops_closes_connections_on_which_nothing_comes() -> None:
    async def main() -> None:
        async with gateway() as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
        assert await reader.read() == b""
        writer.close()

    run(main(), 20)
