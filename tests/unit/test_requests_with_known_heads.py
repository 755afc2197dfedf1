"""Requests whose head came before are served as the parser would have them, however their bytes are cut."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.wires import Wire, body_from, length_of
from trunkline.server import heads
from trunkline.server.asgi import KNOWN_HEADS, Receive, Scope, Send, Whole, memo_of, respond
from trunkline.server.heads import BoundedHttpProtocol
from trunkline.server.known_heads import KnownHeads

BOTH = (True, False)


class Served(NamedTuple):
    """A request as an application was told of it; ``whole`` when beside ASGI's messages."""

    scope: dict[str, Any]
    body: bytes
    is_known: bool
    whole: bool


class Server:
    """Answers each request with the length of its body."""

    def __init__(self, *, at_once: bool = False, takes_whole: bool = True) -> None:
        self.served: list[Served] = []
        self._at_once = at_once
        self.heads = KnownHeads(self._whole if takes_whole else None)

    def connect(self) -> tuple[BoundedHttpProtocol, Wire]:
        config = uvicorn.Config(self, http=BoundedHttpProtocol, interface="asgi3", proxy_headers=False, log_config=None)
        config.load()
        protocol = BoundedHttpProtocol(
            config=config, server_state=ServerState(), app_state={KNOWN_HEADS: self.heads, "x": 1}
        )
        wire = Wire()
        protocol.connection_made(wire)
        return protocol, wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send, whole=False)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, whole: bool) -> None:
        body = await body_from(receive)
        if body is None:
            return
        told = {name: value for name, value in scope.items() if name != "extensions"}
        self.served.append(Served(told, body, memo_of(scope) is not None, whole))
        await respond(send, 200, *length_of(body))

    def _whole(self, whole: Whole) -> Any:
        if not self._at_once:
            scope, receive, send = whole.as_asgi()
            return self._serve(scope, receive, send, whole=True)
        self.served.append(Served({}, whole.content, is_known=True, whole=True))
        whole.answer(200, *length_of(whole.content))
        return None


def answered(*lengths: int) -> bytes:
    return b"".join(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%d" % (len(str(n)), n) for n in lengths)


def request(body: bytes, *more: bytes, name: bytes = b"content-length") -> bytes:
    lines = [b"POST /v1/a%20b/c?q=1 HTTP/1.1", b"Host: h", b"X-Two: one", b"%b: %d" % (name, len(body)), *more]
    return b"\r\n".join([*lines, b"X-Two: two", b"", b""]) + body


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def feed(protocol: BoundedHttpProtocol, *pieces: bytes) -> None:
    for piece in pieces:
        if piece:
            protocol.data_received(piece)
        await settle()


def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "cut", lambda _: None)


def told(served: Sequence[Served]) -> list[tuple[dict[str, Any], bytes]]:
    """Return what does not differ from server to server."""
    return [({**one.scope, "state": one.scope["state"]["x"]}, one.body) for one in served]


@pytest.mark.parametrize("name", [b"content-length", b"Content-Length"])
def test_however_a_request_is_cut_it_is_served_as_the_parser_has_it(
    monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    first, second = request(b"first body", name=name), request(b"the second", name=name)

    async def main() -> None:
        server = Server()
        protocol, wire = server.connect()
        await feed(protocol, first)
        for at in range(len(second)):
            await feed(protocol, second[:at], second[at:])
        assert wire.written == answered(*[10] * (1 + len(second)))
        parsed = Server()
        without_memory(monkeypatch)
        await feed(parsed.connect()[0], first, *[second] * len(second))
        assert told(server.served) == told(parsed.served)
        assert sum(one.whole for one in server.served) == len(second) - second.index(b"\r\n\r\n") - 4 + 1
        assert not any(one.is_known for one in parsed.served)

    asyncio.run(main())


def test_the_first_of_them_shares_what_is_worked_out_from_it_with_the_others() -> None:
    async def main() -> None:
        server = Server()
        await feed(server.connect()[0], request(b"one"))
        await feed(server.connect()[0], request(b"another one"), request(b""))
        assert [(one.is_known, one.whole, one.body) for one in server.served] == [
            (True, False, b"one"),
            (True, True, b"another one"),
            (True, True, b""),
        ]
        assert server.served[1].scope["state"] == server.served[0].scope["state"]
        assert server.served[1].scope["state"] is not server.served[2].scope["state"]

    asyncio.run(main())


def test_what_comes_behind_a_body_is_the_next_request_and_answers_come_in_their_order() -> None:
    async def main() -> None:
        for at_once in BOTH:
            server = Server(at_once=at_once)
            protocol, wire = server.connect()
            one, two, three = request(b"1"), request(b"22"), request(b"", b"x-other: 1").replace(b"a%20b", b"o")
            await feed(protocol, one)
            await feed(protocol, two[:-1], two[-1:] + three + one + two)
            await feed(protocol, one + two + three, three)
            lengths = [1, 2, 0, 1, 2, 1, 2, 0, 0]
            assert wire.written == answered(*lengths)
            assert [len(served.body) for served in server.served] == lengths

    asyncio.run(main())


def test_a_head_that_was_not_alone_or_not_kept_is_not_learnt() -> None:
    async def main() -> None:
        closing = request(b"ok", b"connection: close")
        for data in (request(b"ok") + request(b"ok"), closing, request(b"ok", b"Expect: 100-continue")):
            server = Server()
            await feed(server.connect()[0], data)
            await feed(server.connect()[0], data)
            assert not any(one.is_known for one in server.served)

    asyncio.run(main())


def test_a_large_body_is_served_before_it_is_whole() -> None:
    async def main() -> None:
        server = Server()
        protocol, wire = server.connect()
        large = b"x" * 300_000
        await feed(protocol, request(b"small"))
        data = request(large)
        await feed(protocol, *[data[at : at + 50_000] for at in range(0, len(data), 50_000)], request(b"small"))
        assert wire.written == answered(5, 300_000, 5)
        assert [(one.whole, one.body == large) for one in server.served] == [
            (False, False),
            (False, True),
            (True, False),
        ]

    asyncio.run(main())


def test_without_a_way_for_whole_requests_all_are_served_over_messages() -> None:
    async def main() -> None:
        server = Server(takes_whole=False)
        protocol, wire = server.connect()
        await feed(protocol, request(b"one"), request(b"three")[:-2], b"ee", request(b""))
        assert wire.written == answered(3, 5, 0)
        assert [(one.whole, one.is_known) for one in server.served] == [(False, True), (False, True), (False, True)]

    asyncio.run(main())


def test_a_client_that_leaves_in_the_middle_of_a_body_is_not_served_and_one_that_waits_is_told() -> None:
    async def main() -> None:
        server = Server()
        protocol, wire = server.connect()
        await feed(protocol, request(b"one"), request(b"12345")[:-2])
        protocol.connection_lost(None)
        await settle()
        assert wire.written == answered(3)
        assert len(server.served) == 1

    asyncio.run(main())


def test_a_server_that_ends_answers_a_request_whose_body_is_still_coming() -> None:
    async def main() -> None:
        server = Server()
        protocol, wire = server.connect()
        await feed(protocol, request(b"one"), request(b"12345")[:-2])
        protocol.shutdown()
        assert not wire.is_closing()
        await feed(protocol, b"45")
        assert wire.is_closing()
        assert wire.written == answered(3) + answered(5).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")

    asyncio.run(main())


def test_a_known_head_that_is_too_large_for_the_memory_is_parsed_each_time() -> None:
    async def main() -> None:
        server = Server()
        data = request(b"ok", b"x: " + b"y" * 9000)
        await feed(server.connect()[0], data, data)
        assert [one.is_known for one in server.served] == [False, False]

    asyncio.run(main())
