"""Clients that are slow, that close half of their connection, and that vanish, over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection

from tests.contract.log_rows import chunk, logged, stream_of
from tests.contract.test_voiceplane import REALTIME, upstream_of
from tests.contract.waiting import until
from tests.faults.stage import (
    SECRET,
    Client,
    Provider,
    at,
    chat_of,
    exchange,
    head_of,
    left,
    provider,
    says,
    until_no_more_than,
)
from tests.running import run
from trunkline.server import heads

BODY = chat_of("hangs")
STREAM = chat_of("streams", stream=True)
BEGUN = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + stream_of("Hi")[1]
ACTS = {"hangs": says(then="hangs"), "streams": says(BEGUN, then="hangs")}

Stage = Callable[[Client, Provider], Awaitable[None]]


async def before_a_word(client: Client, there: Provider) -> None:
    pass


async def in_its_head(client: Client, there: Provider) -> None:
    client.writer.write(head_of(len(BODY))[:40])
    await client.writer.drain()


async def before_its_body(client: Client, there: Provider) -> None:
    client.writer.write(head_of(len(BODY)))
    await client.writer.drain()


async def in_its_body(client: Client, there: Provider) -> None:
    client.writer.write(head_of(len(BODY)) + BODY[:20])
    await client.writer.drain()


async def in_a_chunk_of_its_body(client: Client, there: Provider) -> None:
    client.writer.write(head_of(None, transfer_encoding="chunked") + b"ff\r\n" + BODY[:20])
    await client.writer.drain()


async def in_a_body_that_is_sent_on(client: Client, there: Provider) -> None:
    path = "/v1/local/default/openai/files"  # not JSON: it goes on as it comes
    client.writer.write(head_of(1_000_000, path).replace(b"application/json", b"application/octet-stream") + b"x" * 200)
    await client.writer.drain()


async def while_it_waits(client: Client, there: Provider) -> None:
    client.ask(BODY)
    await there.until_asked("hangs")


async def in_its_answer(client: Client, there: Provider) -> None:
    client.ask(STREAM)
    await client.reader.readuntil(b"\n\n")


async def with_two_requests_at_once(client: Client, there: Provider) -> None:
    client.ask(BODY)
    client.ask(BODY)
    await there.until_asked("hangs")


async def after_an_answer(client: Client, there: Provider) -> None:
    client.ask(chat_of("good"))
    assert (await client.answer()).status == 200


# (the stage, and how the row of its request ends; None: there is no request yet, or nothing of it to be known)
STAGES: dict[str, tuple[Stage, str | None]] = {
    "before a word": (before_a_word, None),
    "in its head": (in_its_head, None),
    "before its body": (before_its_body, "client_gone"),
    "in its body": (in_its_body, "client_gone"),
    "in a chunk of its body": (in_a_chunk_of_its_body, "client_gone"),
    "in a body that is sent on": (in_a_body_that_is_sent_on, "client_gone"),
    "while it waits": (while_it_waits, "client_gone"),
    "in its answer": (in_its_answer, "client_gone"),
    "with two requests at once": (with_two_requests_at_once, "client_gone"),
    "after an answer": (after_an_answer, "complete"),
}


@pytest.mark.parametrize("how", [pytest.param("closes", marks=pytest.mark.whole), "resets", "closes its half"])
def test_a_client_that_goes_at_any_stage_is_noticed_written_down_and_cleared_away(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a connection whose client closed its half nobody can tell whether it is closed: both count as gone."""

    async def main() -> None:
        async with provider(ACTS) as (there, origin), logged(**at(origin)) as gateway:
            port = gateway.address.port
            for _ in range(3):
                assert (await exchange(port, chat_of("good"))).status == 200
            before = left(there.open)
            expected = ["complete"] * 3
            for stage, end in STAGES.values():
                there.asked.clear()
                client = await Client.to(port)
                await stage(client, there)
                if how == "closes its half":
                    client.writer.write_eof()
                    got = await client.answer() if stage is not in_its_answer else None
                    assert got is None or not got.is_whole
                    rest = await client.reader.read()
                    assert not rest.endswith(b"0\r\n\r\n")  # what it has never looks like all of it
                    await client.close()
                elif how == "resets":
                    client.reset()
                else:
                    await client.close()
                await there.until_left()
                assert (await exchange(port, chat_of("good"))).status == 200
                expected += [end] if end is not None else []
                expected.append("complete")
            await until_no_more_than(before, lambda: there.open)
        assert sorted(row.end_reason for row in gateway.rows) == sorted(expected)
        assert not any(SECRET in repr(row) for row in gateway.rows)
        assert [record for record in caplog.records if record.name == "asyncio"] == []  # nothing failed unseen

    run(main(), 60)


SENT = {
    "nothing": b"",
    "half a head": b"\x81",
    "half a frame": b"\x81\xfe\xff\xff\x01\x02\x03\x04half",
    "half a message": b"\x01\x85\x00\x00\x00\x00first",
}
HANDSHAKE = (
    f"GET {REALTIME} HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    f"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n"
    f"authorization: Bearer {SECRET}\r\n\r\n"
).encode()
_ALSO_SHORT = ("resets", "half a frame")


@pytest.mark.parametrize(
    ("how", "sent"),
    [
        pytest.param(how, name, marks=() if (how, name) == _ALSO_SHORT else pytest.mark.whole)
        for how in ("closes", "resets", "closes its half")
        for name in SENT
    ],
)
def test_a_caller_that_goes_without_a_close_ends_the_providers_side(how: str, sent: str) -> None:
    async def main() -> None:
        opened, ended = asyncio.Event(), asyncio.Event()

        async def conversation(socket: ServerConnection) -> None:
            opened.set()
            await socket.wait_closed()
            ended.set()

        async with upstream_of(conversation) as origin, logged(**at(origin)) as gateway:
            before = left()
            client = await Client.to(gateway.address.port)
            client.writer.write(HANDSHAKE)
            await opened.wait()
            client.writer.write(SENT[sent])
            await client.writer.drain()
            if how == "closes its half":
                client.writer.write_eof()
            elif how == "resets":
                client.reset()
            else:
                await client.close()
            await ended.wait()
            if how == "closes its half":
                await client.reader.read()
                await client.close()
            await until_no_more_than(before)
        assert gateway.row.end_reason == "client"

    run(main(), 30)


# Slow clients


def test_a_client_that_asks_byte_by_byte_is_served_and_holds_up_nobody() -> None:
    async def main() -> None:
        async with provider({}) as (_, origin), logged(**at(origin)) as gateway:
            port = gateway.address.port
            asked = head_of(len(chat_of("good"))) + chat_of("good")
            async with await Client.to(port) as slow:
                for place in range(len(asked) - 1):
                    slow.writer.write(asked[place : place + 1])
                    await slow.writer.drain()
                    if place % 40 == 0:
                        assert (await exchange(port, chat_of("good"))).status == 200
                slow.writer.write(asked[-1:])
                assert (await slow.answer()).status == 200

    run(main(), 30)


def resident() -> int:
    """The memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PIECE = chunk("x" * 100_000)
PIECES = 1500


def test_clients_that_read_nothing_cost_a_bounded_amount_of_memory_each() -> None:
    """Ten answers of 150 MB, of which nobody reads anything: a gateway that took them in would need 1.5 GB."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(PIECES):
            writer.write(PIECE)
            await writer.drain()
            sent += len(PIECE)
        writer.write(b"0\r\n\r\n")
        return False

    async def main() -> None:
        async with provider({"floods": flood}) as (there, origin), logged(**at(origin)) as gateway:
            port = gateway.address.port
            assert (await exchange(port, chat_of("good"))).status == 200
            before, memory = left(there.open), resident()
            clients = [await Client.to(port) for _ in range(10)]
            for client in clients:
                client.ask(chat_of("floods", stream=True))
            await there.until_asked("floods", 10)
            seen = -1
            while sent > seen:  # until everybody between waits for the clients
                seen = sent
                await asyncio.sleep(0.3)
                assert (await exchange(port, chat_of("good"))).status == 200
            # What the kernel holds for each connection, 6 MB at the most on either side, is not this process's.
            assert resident() - memory < 60_000_000
            for client in clients:
                client.reset()
            await there.until_left()
            await until_no_more_than(before, lambda: there.open)
        assert sorted(row.end_reason for row in gateway.rows if row.request_content_type)[:10] == ["client_gone"] * 10

    run(main(), 60)


@pytest.fixture
def short_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "STALL_SECONDS", 0.5)


def test_an_answer_that_nobody_takes_is_given_up_and_one_that_is_taken_slowly_is_not(short_of_patience: None) -> None:
    """What a client takes none of for a while is more than the kernel holds for it, 6 MB at most on either side."""
    pieces = 160

    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(BEGUN + PIECE * pieces + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def main() -> None:
        async with provider({"long": long}) as (there, origin), logged(**at(origin)) as gateway:
            port = gateway.address.port
            async with await Client.to(port) as idle, await Client.to(port) as slow:
                idle.ask(chat_of("long", stream=True))
                slow.ask(chat_of("long", stream=True))
                got = b""
                for _ in range(12):
                    got += await slow.reader.read(300_000)
                    await asyncio.sleep(0.1)
                while not got.endswith(b"\r\n0\r\n\r\n"):
                    more = await slow.reader.read(1_000_000)
                    assert more
                    got += more
                assert got.count(b"x") >= pieces * 100_000
                await there.until_left()
        assert sorted(row.end_reason for row in gateway.rows) == ["client_gone", "complete"]

    run(main(), 30)


def test_a_call_whose_client_takes_nothing_is_given_up(short_of_patience: None) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def conversation(socket: ServerConnection) -> None:
            try:
                while True:
                    await socket.send("x" * 100_000)
            finally:
                ended.set()

        async with upstream_of(conversation) as origin, logged(**at(origin)) as gateway:
            client = await Client.to(gateway.address.port)
            client.writer.write(HANDSHAKE)
            await ended.wait()
            client.reset()
        assert gateway.row.end_reason == "client"

    run(main(), 30)


@pytest.mark.parametrize("over", [1, heads._MOST_TOLD + 1])
def test_more_clients_than_there_is_room_for_are_told_and_those_that_were_there_are_served(over: int) -> None:
    most = 3

    async def main() -> None:
        async with (
            provider({}) as (_, origin),
            logged(most_connections=most, **at(origin)) as gateway,
        ):
            port = gateway.address.port
            there = [await Client.to(port) for _ in range(most)]
            for client in there:
                client.ask(chat_of("good"))
                assert (await client.answer()).status == 200
            more = [await Client.to(port) for _ in range(over)]
            refusals = [await answer_to(client) for client in more]
            assert all(b'"code": "too_many_connections"' in refusal for refusal in refusals[: heads._MOST_TOLD])
            assert refusals[heads._MOST_TOLD :] == [b""] * (over - heads._MOST_TOLD)
            there[0].ask(chat_of("good"))
            assert (await there[0].answer()).status == 200
            await there.pop().close()
            for client in (*there, *more):
                await client.close()
            await until(lambda: is_served(port))

    run(main(), 30)


async def answer_to(client: Client) -> bytes:
    """What comes without a question."""
    try:
        return await client.reader.read()
    except ConnectionError:
        return b""


async def is_served(port: int) -> bool:
    return (await exchange(port, chat_of("good"))).status == 200


def test_a_client_that_expects_to_be_asked_for_its_body_is() -> None:
    async def main() -> None:
        async with provider({}) as (there, origin), logged(**at(origin)) as gateway:
            async with await Client.to(gateway.address.port) as client:
                body = chat_of("good")
                client.writer.write(head_of(len(body), expect="100-continue"))
                assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                client.writer.write(body)
                assert (await client.answer()).status == 200
            assert there.asked["good"] == 1

    run(main(), 30)
