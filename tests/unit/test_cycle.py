"""What is written to a client's connection for an answer, and what is refused."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from trunkline.server.asgi import respond
from trunkline.server.cycle import Cycle


class Transport:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.is_closed = False

    @property
    def written(self) -> bytes:
        return b"".join(self.pieces)

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.is_closed = True


def cycle(transport: Transport, *, method: str = "POST", keep_alive: bool = True, ends: list[str]) -> Cycle:
    told: Any = transport
    scope: Any = {"method": method}
    return Cycle(
        scope=scope,
        transport=told,
        flow=FlowControl(told),
        logger=logging.getLogger("test"),
        access_logger=logging.getLogger("test"),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: ends.append("end"),
    )


def written(*messages: dict[str, Any], **options: Any) -> tuple[bytes, bool, list[str]]:
    async def send() -> tuple[bytes, bool, list[str]]:
        transport, ends = Transport(), list[str]()
        one = cycle(transport, ends=ends, **options)
        for message in messages:
            await one.send(message)
        return transport.written, transport.is_closed, ends

    return asyncio.run(send())


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


LENGTH = (b"content-length", b"2")
OK = b"HTTP/1.1 200 OK\r\n"


def test_an_answer_of_known_length_is_written_as_it_is() -> None:
    assert written(start(LENGTH), body(b"ok")) == (OK + b"content-length: 2\r\n\r\nok", False, ["end"])


def test_one_of_unknown_length_is_written_in_chunks() -> None:
    data, _, ends = written(start(), body(b"one", more=True), body(more=True), body(b"two"))
    assert data == OK + b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert ends == ["end"]
    data, _, _ = written(start((b"transfer-encoding", b"Chunked")), body(b"x", more=True), body())
    assert data == OK + b"transfer-encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"


def test_an_answer_to_head_and_one_without_a_body_have_none() -> None:
    assert written(start(LENGTH), body(), method="HEAD")[0] == OK + b"content-length: 2\r\n\r\n"
    assert written(start(status=204), body())[0] == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_connection_that_is_not_kept_says_so_and_is_closed() -> None:
    data, is_closed, _ = written(start(LENGTH), body(b"ok"), keep_alive=False)
    assert (b"connection: close\r\n" in data, is_closed) == (True, True)
    data, is_closed, _ = written(start(LENGTH, (b"connection", b"Close")), body(b"ok"))
    assert (data.lower().count(b"connection: close"), is_closed) == (1, True)


@pytest.mark.parametrize("header", [(b"x", b"a\r\nset-cookie: b"), (b"x\n", b"a"), (b"x", b"a\0"), (b"x", b"a\rb")])
def test_a_header_that_would_be_two_is_refused_before_anything_is_written(header: tuple[bytes, bytes]) -> None:
    async def send() -> None:
        transport = Transport()
        with pytest.raises(RuntimeError, match="line break"):
            await cycle(transport, ends=[]).send(start(header))
        assert transport.written == b""

    asyncio.run(send())


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"x")],
        [start(LENGTH), start(LENGTH)],
        [start(LENGTH), body(b"too long")],
        [start(LENGTH), body(b"1")],
        [start(LENGTH), body(b"ok"), body(b"more")],
    ],
)
def test_messages_out_of_order_and_bodies_of_another_length_are_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(RuntimeError):
        written(*messages)


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("headers", [[(b"content-length", b"5")], []], ids=["length", "chunked"])
def test_a_whole_answer_is_written_in_one_piece_and_as_ever(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    in_two = written(start(*headers), body(b"hello"), method=method)

    async def send() -> None:
        transport, ends = Transport(), list[str]()
        await respond(cycle(transport, method=method, ends=ends).send, 200, headers, b"hello")
        assert transport.pieces == [in_two[0]]
        assert ends == in_two[2] == ["end"]

    asyncio.run(send())


def test_of_a_whole_answer_that_is_wrong_nothing_is_written() -> None:
    async def send() -> None:
        transport = Transport()
        with pytest.raises(RuntimeError, match="longer"):
            await respond(cycle(transport, ends=[]).send, 200, [(b"content-length", b"4")], b"hello")
        assert not transport.pieces

    asyncio.run(send())
