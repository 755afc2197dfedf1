"""Everything that can go wrong with a provider's answer: what the client gets, what is written, what is left."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from tests.contract.log_rows import chunk, logged, stream_of
from tests.faults.stage import SECRET, Act, at, chat_of, exchange, left, provider, says, until_no_more_than
from tests.running import run

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"content-type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
WHOLE = b'{"object": "chat.completion", "choices": [], "usage": {"prompt_tokens": 1}}'
LENGTH = b"content-length: %d\r\n\r\n" % len(WHOLE)
OTHER = b"HTTP/1.1 500 Oh\r\nset-cookie: theirs\r\ncontent-length: 5\r\n\r\nother"
GARBAGE = b"\x16\x03\x01 what is this? authorization: Bearer " + SECRET.encode() + b"\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"


class Expected(NamedTuple):
    """What comes of a fault: the status and code for the client, whether it is whole, and the row's end."""

    status: int
    code: str
    is_whole: bool
    end: str


LATE = Expected(504, "upstream_timeout", True, "upstream_error")
BROKEN = Expected(502, "upstream_broken", True, "upstream_error")
CUT = Expected(200, "", False, "upstream_broken")
FINE = Expected(200, "", True, "complete")


def drips(beginning: bytes, piece: bytes) -> Act:
    """Send a beginning, and then a piece more every tenth of a second for as long as somebody waits."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(beginning)
        leaving = asyncio.create_task(reader.read())
        while not leaving.done():
            writer.write(piece)
            await asyncio.wait([leaving], timeout=0.1)
        return False

    return act


# (what the provider does, what comes of it)
FAULTS: dict[str, tuple[Act, Expected]] = {
    "hangs before the first byte": (says(then="hangs"), LATE),
    "hangs inside the head": (says(OK + b"content-ty", then="hangs"), LATE),
    "drips its head": (drips(OK, b"x-a: b\r\n"), LATE),
    "drips answers before its answer": (drips(b"", INTERIM), LATE),
    "hangs in the middle of the body": (says(JSON + LENGTH + WHOLE[:20], then="hangs"), CUT),
    "hangs in the middle of a chunk": (says(JSON + CHUNKED + b"ff\r\n" + WHOLE[:20], then="hangs"), CUT),
    "hangs between chunks": (says(JSON + CHUNKED + chunk(WHOLE[:20].decode()), then="hangs"), CUT),
    "hangs before the last chunk": (says(JSON + CHUNKED + chunk(WHOLE.decode()), then="hangs"), CUT),
    "hangs before it closes": (says(JSON + b"\r\n" + WHOLE, then="hangs"), CUT),
    "closes before the first byte": (says(then="closes"), BROKEN),
    "closes inside the head": (says(OK + b"content-ty", then="closes"), BROKEN),
    "closes in the middle of the body": (says(JSON + LENGTH + WHOLE[:20], then="closes"), CUT),
    "closes in the middle of a chunk": (says(JSON + CHUNKED + b"ff\r\n" + WHOLE[:20], then="closes"), CUT),
    "closes before the last chunk": (says(JSON + CHUNKED + chunk(WHOLE.decode()), then="closes"), CUT),
    "closes instead of a length": (says(JSON + b"\r\n" + WHOLE, then="closes"), FINE),
    "resets before the first byte": (says(then="resets"), BROKEN),
    "resets inside the head": (says(OK + b"content-ty", then="resets"), BROKEN),
    "resets in the middle of the body": (says(JSON + LENGTH + WHOLE[:20], then="resets"), CUT),
    "resets in the middle of a chunk": (says(JSON + CHUNKED + b"ff\r\n" + WHOLE[:20], then="resets"), CUT),
    "resets instead of a close": (says(JSON + b"\r\n" + WHOLE, then="resets"), CUT),
    "is garbage": (says(GARBAGE), BROKEN),
    "is garbage in the head": (says(OK + GARBAGE), BROKEN),
    "is garbage between chunks": (says(JSON + CHUNKED + chunk("x") + GARBAGE), CUT),
    "is of another protocol": (says(b"SSH-2.0-OpenSSH_9.6\r\n", then="hangs"), BROKEN),
    "has a status of no meaning": (says(b"HTTP/1.1 999 Odd\r\n" + LENGTH + WHOLE), BROKEN),
    "has a status of nothing": (says(b"HTTP/1.1 000 Odd\r\n" + LENGTH + WHOLE), BROKEN),
    "is in a coding that nobody knows": (
        says(JSON + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n"),
        BROKEN,
    ),
    "is shorter than it says": (says(JSON + b"content-length: 999\r\n\r\n" + WHOLE, then="closes"), CUT),
    "is longer than it says": (says(JSON + LENGTH + WHOLE + b"and more"), FINE),
    "has a negative length": (says(JSON + b"content-length: -5\r\n\r\n" + WHOLE), BROKEN),
    "has a length beyond numbers": (says(JSON + b"content-length: 99999999999999999999999\r\n\r\n" + WHOLE), BROKEN),
    "has a length beyond all memory": (
        says(JSON + b"content-length: 9000000000000000000\r\n\r\n" + WHOLE, then="closes"),
        CUT,
    ),
    "has two lengths": (says(JSON + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc"), BROKEN),
    "has a length and chunks": (says(JSON + b"content-length: 2\r\n" + CHUNKED + b"2\r\nab\r\n0\r\n\r\n"), BROKEN),
    "has a chunk beyond numbers": (says(JSON + CHUNKED + b"fffffffffffffffff\r\nab"), CUT),
    "has a chunk of negative size": (says(JSON + CHUNKED + b"-2\r\nab\r\n0\r\n\r\n"), CUT),
    "has headers without end": (says(OK, *[b"x: " + b"y" * 8000 + b"\r\n"] * 40, then="hangs"), BROKEN),
    "has one header without end": (says(OK + b"x: ", *[b"y" * 8000] * 40, then="hangs"), BROKEN),
    "has trailers without end": (
        says(JSON + CHUNKED + chunk("ab") + b"0\r\n", *[b"x: " + b"y" * 9000 + b"\r\n"] * 40),
        CUT,
    ),
    "has one trailer without end": (says(JSON + CHUNKED + chunk("ab") + b"0\r\nx: ", *[b"y" * 9000] * 40), CUT),
    "says more of a chunk than its length": (says(JSON + CHUNKED + chunk("ab") + b"2;", *[b"y" * 9000] * 40), CUT),
    "has trailers": (says(JSON + CHUNKED + chunk(WHOLE.decode()) + b"0\r\nset-cookie: theirs\r\n\r\n"), FINE),
    "is announced for a while": (says(INTERIM * 50, JSON + LENGTH + WHOLE), FINE),
    "is announced and never comes": (says(*[INTERIM * 100] * 40, then="hangs"), BROKEN),
    "is announced and hangs": (says(INTERIM, then="hangs"), LATE),
    "switches protocols": (
        says(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
        BROKEN,
    ),
    "has another behind it": (says(JSON + LENGTH + WHOLE + OTHER), FINE),
    "has chunks and another behind it": (says(JSON + CHUNKED + chunk(WHOLE.decode()) + b"0\r\n\r\n" + OTHER), FINE),
    "has another behind its head": (says(JSON + LENGTH, WHOLE + OTHER), FINE),
}

# Streams: an event that was read whole was passed on, and no end looks like one that the provider made.
EVENT = stream_of("Hi")[1]
STREAMS: dict[str, tuple[Act, Expected]] = {
    "hangs after an event": (says(EVENTS, EVENT, then="hangs"), CUT),
    "hangs in an event": (says(EVENTS, EVENT[:-20], then="hangs"), CUT),
    "closes after an event": (says(EVENTS, EVENT, then="closes"), CUT),
    "resets after an event": (says(EVENTS, EVENT, then="resets"), CUT),
    "resets before an event": (says(EVENTS, then="resets"), CUT),
    "hangs before the first byte": (says(then="hangs"), LATE),
    "ends without its last event": (says(EVENTS, EVENT, b"0\r\n\r\n"), FINE),
    "hangs after its last event": (says(*stream_of("Hi")[:-1], then="hangs"), Expected(200, "", False, "complete")),
    "resets after its last event": (says(*stream_of("Hi")[:-1], then="resets"), Expected(200, "", False, "complete")),
    "has another behind it": (says(*stream_of("Hi")[:-1], b"0\r\n\r\n" + OTHER), FINE),
}

WAYS = {
    "short": (FAULTS, False, {}),
    "general": (FAULTS, False, {"content_encoding": "identity"}),
    "stream": (STREAMS, True, {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_goes_wrong_is_told_written_and_cleared_away_while_others_are_served(way: str) -> None:
    faults, is_stream, headers = WAYS[way]
    acts = {name: act for name, (act, _) in faults.items()}

    async def main() -> None:
        seen = {}
        async with (
            provider(acts) as (there, origin),
            logged(**at(origin), first_byte_timeout=3, idle_timeout=3) as gateway,
        ):
            port = gateway.address.port

            async def asks(name: str) -> None:
                got = await exchange(port, chat_of(name, stream=is_stream), **headers)
                assert OTHER[-5:] not in got.body, name
                assert "set-cookie" not in got.headers, name
                assert got.body.count(SECRET.encode()) == 0 or name == "is garbage between chunks"
                seen[name] = (got.status, got.code, got.is_whole)

            async def is_served() -> None:
                got = await exchange(port, chat_of("good"), **headers)
                assert (got.status, got.is_whole) == (200, True)

            for _ in range(3):  # by the third its head is known
                await is_served()
            before = left(there.open)
            asking = [asyncio.create_task(asks(name)) for name in faults]
            await there.until_asked(next(name for name in faults if name.startswith("hangs")))
            for _ in range(5):
                await is_served()
            await asyncio.gather(*asking)
            await is_served()
            await there.until_left()
            await until_no_more_than(before, lambda: there.open)
        assert seen == {name: expected[:3] for name, (_, expected) in faults.items()}
        rows = {row.model: row for row in gateway.rows if row.model not in ("good", "gpt-4o-2024-08-06", "gpt-4o")}
        ends = {row.model: row.end_reason for row in gateway.rows if row.model in faults}
        assert ends == {name: expected.end for name, (_, expected) in faults.items()}
        assert not any(SECRET in row.error for row in rows.values())
        assert all(row.error for row in rows.values() if row.end_reason.startswith("upstream"))

    run(main(), 60)


@pytest.mark.parametrize("way", WAYS)
def test_bytes_that_are_no_utf_8_reach_the_client_and_the_log_as_they_came(way: str) -> None:
    """Half of a character that a limit of tokens has cut in two, or another coding: the reader may know better."""
    _, is_stream, headers = WAYS[way]
    whole = WHOLE.replace(b"[]", b'[{"index": 0, "message": {"role": "assistant", "content": "a\xffb\xc3"}}]')
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "a\xffb\xc3"}}]}\n\n'
    body = event + b"data: [DONE]\n\n" if is_stream else whole
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    act = says(head % (b"text/event-stream" if is_stream else b"application/json", len(body)), body)

    async def main() -> None:
        async with provider({"odd": act}) as (_, origin), logged({"payloads": True}, **at(origin)) as gateway:
            for _ in range(3):  # by the third its head is known
                got = await exchange(gateway.address.port, chat_of("odd", stream=is_stream), **headers)
                assert (got.status, got.body, got.is_whole) == (200, body, True)
        assert [row.end_reason for row in gateway.rows] == ["complete"] * 3
        for payload in gateway.payloads.values():
            assert payload is not None
            assert payload.response == body

    run(main(), 30)


def test_an_answer_that_nobody_asked_for_ends_the_kept_connection_and_answers_nothing() -> None:
    """One that comes as the next request is sent cannot be told from its answer: that is HTTP/1.1."""
    answered = asyncio.Event()

    async def goes_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(JSON + LENGTH + WHOLE)
        await writer.drain()
        await answered.wait()
        writer.write(OTHER)
        await writer.drain()
        return True

    async def main() -> None:
        async with provider({"goes on": goes_on}) as (there, origin), logged(**at(origin)) as gateway:
            port = gateway.address.port
            assert (await exchange(port, chat_of("goes on"))).body == WHOLE
            answered.set()
            await there.until_gone()
            got = await exchange(port, chat_of("good"))
            assert (got.status, got.is_whole) == (200, True)
            assert there.connections == 2
        assert [row.status for row in gateway.rows] == [200, 200]

    run(main(), 30)
