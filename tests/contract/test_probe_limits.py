"""What the probe asks of the connections below it: a bound on a message, and a connector of its choice."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.contract.raw_server import answering, raw_server
from tests.running import run
from trunkline.credentials.matrix import PRESENTATIONS, Way
from trunkline.probe import Keys, Target
from trunkline.probe.asking import question
from trunkline.probe.exchange import MOST_BYTES, HttpAnswer, ask
from trunkline.probe.keys import Secrets
from trunkline.upstream.address import Origin
from trunkline.upstream.connecting import Connector
from trunkline.upstream.http import HttpPool, Request
from trunkline.upstream.messages import Closed, Text
from trunkline.upstream.websocket import Dialer

LIMIT = MOST_BYTES
WHOLE: list[str | list[str]] = ["x" * LIMIT, ["x" * (LIMIT // 2)] * 2]
TOO_LARGE: list[str | list[str]] = ["x" * (LIMIT + 1), ["x" * LIMIT, "x"], ["x" * 1000] * 1000]


async def first(send: Callable[[ServerConnection], Awaitable[None]]) -> tuple[object, object]:
    async with serve(send, "127.0.0.1", 0, compression=None) as server:
        origin = Origin("http", "127.0.0.1", next(iter(server.sockets)).getsockname()[1])
        connection = await Dialer(max_message=LIMIT).dial(origin, b"/", [])
        return await connection.receive(), await connection.receive()


@pytest.mark.parametrize("message", WHOLE, ids=["one frame", "fragments"])
def test_a_message_within_the_bound_is_received(message: str | list[str]) -> None:
    async def send(connection: ServerConnection) -> None:
        await connection.send(message)

    async def main() -> None:
        assert await first(send) == (Text("x" * LIMIT), Closed(1000, ""))

    run(main())


@pytest.mark.parametrize("message", TOO_LARGE, ids=["one frame", "two fragments", "many fragments"])
def test_a_message_beyond_it_ends_the_connection_and_is_never_handed_over(
    message: str | list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def send(connection: ServerConnection) -> None:
        await connection.send(message)
        await connection.wait_closed()

    async def main() -> None:
        assert await first(send) == (Closed(1006, ""), Closed(1006, ""))

    run(main())
    gc.collect()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING and record.name == "asyncio"]


def test_of_an_answer_without_end_the_bound_is_read_and_no_byte_more() -> None:
    async def main() -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
        async with raw_server(answering(head, *[b"x" * 10_000] * 100)) as origin:
            row = next(row for row in PRESENTATIONS if row.name == "nothing")
            asked = question(row, Way.HTTP, Target(f"http://{origin}"), Secrets(Keys()), allow_billable=False)
            answer = await ask(asked, Connector(), 10.0)
        assert isinstance(answer, HttpAnswer)
        assert (len(answer.body), answer.cut_off) == (MOST_BYTES, "")

    run(main())


def test_both_kinds_of_connection_are_made_by_the_connector_that_is_given() -> None:
    class Recording(Connector):
        asked: list[Origin] = []

        async def open(self, origin: Origin) -> object:  # type: ignore[override]
            self.asked.append(origin)
            raise ConnectionRefusedError

    async def main() -> None:
        origin = Origin("http", "never.example", 80)
        pool = HttpPool(connector=Recording())
        for attempt in (
            pool.send(Request(b"GET", origin, b"/", [])),
            Dialer(connector=Recording()).dial(origin, b"/", []),
        ):
            with pytest.raises(Exception, match="refused the connection"):
                await attempt
        assert Recording.asked == [origin, origin]

    asyncio.run(main())
