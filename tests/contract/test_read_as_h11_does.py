"""The server beside h11, an HTTP parser by other people: what both take they read alike, to the same byte.

Requests are made of parts that smugglers use, and bytes of them changed. Each is sent alone, and behind a good one that
was answered on the same connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final, NamedTuple

import h11
import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contract.test_websocket_server import Server, served
from trunkline.server import heads

LAST: Final = b"GET /last HTTP/1.1\r\nhost: last\r\nconnection: close\r\n\r\n"
GOOD: Final = b"POST /v1/x?y=z HTTP/1.1\r\nhost: h\r\nauthorization: Bearer k\r\ncontent-length: 5\r\n\r\nhello"
_LONG: Final = 1 << 20


class Read(NamedTuple):
    """A request as somebody has read it."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Reader(Server):
    """An application that reads requests and notes those that were whole."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Read] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message["body"]
            more = message["more_body"]
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        self.read.append(Read(scope["method"].encode(), scope["raw_path"] + query, scope["headers"], bytes(body)))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def read_by_h11(data: bytes) -> tuple[list[Read], str]:
    """Return the requests that h11 finds, and with what words it stops, if it does."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONG)
    connection.receive_data(data)
    connection.receive_data(b"")
    found: list[Read] = []
    begun: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                begun, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert begun is not None
                found.append(Read(begun.method, begun.target, list(begun.headers), body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
                    connection.start_next_cycle()
            else:
                return found, ""
    except h11.RemoteProtocolError as error:
        return found, str(error)
    except h11.LocalProtocolError as error:  # of an answer: there is none to a tunnel
        return found, str(error)


def alike(read: Read) -> Read:
    """What counts of a request: not how its target was written, and not what was offered and not taken up."""
    target = re.sub(rb"^https?://[^/?#]*", b"", read.target, flags=re.IGNORECASE)
    fields = [
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in read.headers
        if name not in (b"upgrade", b"http2-settings")
    ]
    return Read(read.method, target, fields, read.body)


# What the server takes and h11 does not, and why that is harmless: both ends of it are read in one way only.
TAKEN_BY_US_ALONE: Final = (
    "no request line received",  # line breaks before a request are skipped (RFC 9112 section 2.2)
    r"illegal request line: bytearray\(b'\\r",
    r"illegal request line: .*[A-Z]  +[/*h]",  # more blanks than one (RFC 9112 section 3)
    r"illegal request line: .*  +HTTP/1\.[01]'",
    r"illegal request line: .* (RTSP|ICE)/1\.",  # taken as HTTP/1.0, with which the connection ends
    r"illegal chunk header: bytearray\(b'0{10}",  # a size with more zeros before it than h11 counts digits
    "bad Content-Length",  # a length with more zeros before it than h11 counts digits
)


def is_justified(data: bytes, words: str) -> bool:
    if words == "bad Content-Length":
        return re.search(rb"content-length:[ \t]*0{9}", data, re.IGNORECASE) is not None
    return any(re.match(pattern, words) for pattern in TAKEN_BY_US_ALONE)


lines = st.sampled_from([b"\r\n"] * 40 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\n\r\n"])
methods = st.sampled_from(
    [b"POST"] * 6 + [b"GET"] * 4 + [b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"SOURCE", b"post", b""]
)
targets = st.sampled_from(
    [b"/x"] * 8
    + [b"/", b"/x?y", b"/%20", b"//h/x", b"*", b"http://h/x", b"http://g/x", b"h:80", b"/x#y", b"/\xff", b"x"]
)
versions = st.sampled_from([b"HTTP/1.1"] * 9 + [b"HTTP/1.0"] * 3 + [b"HTTP/2.0", b"HTTP/0.9", b"RTSP/1.0", b"http/1.1"])
blanks = st.sampled_from([b" "] * 30 + [b"", b"  ", b"\t", b"\x0b"])
names = st.sampled_from(
    [b"content-length"] * 6
    + [b"transfer-encoding"] * 5
    + [b"host", b"connection", b"upgrade", b"expect", b"x-a", b"Content-Length", b"te", b"trailer", b"proxy-connection"]
)
values = st.sampled_from(
    [b"5"] * 6
    + [b"chunked"] * 6
    + [b"0", b"05", b"+5", b"5, 5", b"0x5", b"000000000000000000000000005", b"18446744073709551621", b"4", b"6", b""]
    + [b"identity", b"chunked, identity", b"identity, chunked", b"xchunked", b"Chunked", b"h", b"g", b"close", b"gzip"]
    + [b"keep-alive", b"upgrade", b"h2c", b"websocket", b"100-continue", b"a\x00b", b"a\x7fb", b"content-length"]
)
colons = st.sampled_from([b": "] * 20 + [b":", b" :", b":\t", b":  ", b"\x00:", b""])
chunks = st.sampled_from(
    [b"5\r\nhello\r\n"] * 8
    + [
        b"5;a=b\r\nhello\r\n",
        b"05\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello\n",
        b"+5\r\nhello\r\n",
    ]
    + [b"0x5\r\nhello\r\n", b"5\r\nhelloo\r\n", b"00000000000000000000000005\r\nhello\r\n", b"a\r\nhellohello\r\n"]
    + [b'5;a="\r\nhello\r\n', b"5;\r\nhello\r\n", b"\r\n", b"10000000000000005\r\nhello\r\n"]
)
ends = st.sampled_from(
    [b"0\r\n\r\n"] * 8
    + [b"0\r\nx-t: v\r\n\r\n", b"0\r\ncontent-length: 5\r\n\r\n", b"0\r\nconnection: close\r\n\r\n", b"00\r\n\r\n"]
    + [b"0\r\n\n", b"0\n\n", b"0\r\nhost: g\r\n\r\n", b"0\r\nbad\r\n\r\n", b"0;a=b\r\n\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, more or less."""
    fields = [b"host: h"] if draw(st.integers(0, 9)) else []
    fields += [draw(names) + draw(colons) + draw(values) for _ in range(draw(st.integers(0, 3)))]
    first = draw(methods) + draw(blanks) + draw(targets) + draw(blanks) + draw(versions)
    head = b"".join(line + draw(lines) for line in (first, *draw(st.permutations(fields)))) + draw(lines)
    match draw(st.integers(0, 3)):
        case 0:
            return head
        case 1:
            return head + b"hello"
        case _:
            return head + b"".join(draw(st.lists(chunks, max_size=2))) + draw(ends)


@st.composite
def changed(draw: st.DrawFn, base: st.SearchStrategy[bytes], least: int) -> bytes:
    """Bytes of which some were changed, left out or put in."""
    data = draw(base)
    for _ in range(draw(st.integers(least, 3))):
        at = draw(st.integers(0, len(data)))
        new = draw(
            st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b":", b",", b";", b"0", b"5", b"\x80"])
        )
        data = data[:at] + new + data[at + draw(st.integers(0, 2)) :]
    return data


sent_at_once = st.lists(changed(requests(), 0), min_size=1, max_size=2).map(b"".join)
twins = changed(st.just(GOOD), 1) | changed(requests(), 0)
cuts = st.lists(st.floats(0, 1), max_size=3)


class Exchange:
    """A server, and what it makes of bytes."""

    def __init__(self, runner: asyncio.Runner, reader: Reader) -> None:
        self._runner = runner
        self._reader = reader

    def check(self, before: list[bytes], data: bytes, cut: list[float]) -> None:
        """Send bytes in pieces, behind requests that are answered one by one; h11 has to read them alike."""
        self._reader.read.clear()
        answers = self._runner.run(self._sent(before, data + LAST, cut))
        whole = b"".join(before) + data + LAST
        theirs, words = read_by_h11(whole)
        ours = [alike(read) for read in self._reader.read]
        both = min(len(ours), len(theirs))
        assert ours[:both] == [alike(read) for read in theirs[:both]]
        assert len(ours) <= len(theirs) or is_justified(whole, words), (ours, theirs, words)
        if answers is None:
            return
        # Each request that was taken has its answer, and there is at most one that refuses, at the end.
        final = [status for status in answers if status != 100]
        assert final[: len(ours)] == [200] * len(ours)
        assert final[len(ours) :] in ([], [400], [408], [431])

    async def _sent(self, before: list[bytes], data: bytes, cut: list[float]) -> list[int] | None:
        """Return the status of each answer, or None where what came behind a last request has reset the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._reader.port)
        got = b""
        for good in before:
            writer.write(good)
            got += await reader.readuntil(b"\r\n\r\n")
        places = sorted({0, len(data), *(int(place * len(data)) for place in cut)})
        try:
            for begin, end in pairwise(places):
                writer.write(data[begin:end])
                await writer.drain()
                await asyncio.sleep(0)
            while piece := await reader.read(65536):
                got += piece
        except ConnectionError:
            return None
        finally:
            writer.close()
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", got)]


@contextmanager
def exchanging() -> Iterator[Exchange]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        reader = Reader()
        serving = served(reader)
        runner.run(serving.__aenter__())  # type: ignore[arg-type]  # what it makes is a coroutine
        try:
            yield Exchange(runner, reader)
        finally:
            runner.run(serving.__aexit__(None, None, None))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what lacks its end given up soon."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.05)
    monkeypatch.setattr(heads, "STALL_SECONDS", 0.05)


EXAMPLES = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])


def test_requests_are_read_as_h11_reads_them() -> None:
    with exchanging() as exchange:

        @EXAMPLES
        @example(GOOD, [])
        @example(GOOD + GOOD, [0.3, 0.6])
        @given(sent_at_once, cuts)
        def check(data: bytes, cut: list[float]) -> None:
            exchange.check([], data, cut)

        check()


def test_requests_nearly_like_one_that_came_before_are_read_as_h11_reads_them() -> None:
    with exchanging() as exchange:

        @EXAMPLES
        @example(GOOD.replace(b"content-length: 5", b"content-length: 4"), [])
        @given(twins, cuts)
        def check(data: bytes, cut: list[float]) -> None:
            exchange.check([GOOD, GOOD], data, cut)

        check()


def test_the_comparison_sees_a_difference() -> None:
    one = Read(b"GET", b"/x", [(b"host", b"h")], b"")
    assert alike(one) == alike(one._replace(target=b"http://h/x"))
    assert alike(one) != alike(one._replace(body=b"x"))
    assert alike(one) != alike(one._replace(headers=[(b"host", b"g")]))
