"""Requests that two readers could read differently: the gateway refuses them, or takes them as exactly one.

Each is sent as bytes to a real gateway, with another request behind it that has to be answered, or refused with it;
and what reaches the provider is framed in one way.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Final, NamedTuple

import pytest

from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at, read_request
from tests.running import Address, gateway, run
from trunkline.server import heads

TARGET: Final = b"/v1/local/default/openai/chat/completions"
BODY: Final = b'{"model":"gpt-4o","messages":[]}'
LENGTH: Final = b"content-length: %d" % len(BODY)
CHUNKED: Final = b"transfer-encoding: chunked"
CHUNKS: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
ANSWER: Final = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
LAST: Final = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
UPGRADE: Final = (b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13")
# A case can be told from another, at the provider, by this.
MARK: Final = b"x-case: %d"


def request(
    *lines: bytes, body: bytes = BODY, line: bytes = b"POST " + TARGET + b" HTTP/1.1", host: bytes = b"host: localhost"
) -> bytes:
    """A request with these lines besides those that all have."""
    fields = [line, *([host] if host else []), b"authorization: Bearer sk-caller-12345678", MARK, *lines]
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return request(CHUNKED, body=body)


class Case(NamedTuple):
    """``takes`` is the body that reaches the provider, or None where nothing is taken.

    ``is_last``: the connection is closed behind its answer. ``is_ours``: the gateway itself answers, with a refusal.
    """

    data: bytes
    takes: bytes | None = None
    is_last: bool = False
    is_ours: bool = False


SIZE: Final = b"%x" % len(BODY)
NUMBER: Final = b"%d" % len(BODY)

CASES: Final = {
    # Two lengths, or none that is one
    "a length and chunks": Case(request(LENGTH, CHUNKED, body=CHUNKS)),
    "chunks and a length": Case(request(CHUNKED, LENGTH, body=CHUNKS)),
    "no length and chunks": Case(request(b"content-length: 0", CHUNKED, body=CHUNKS)),
    "a length, twice": Case(request(LENGTH, LENGTH)),
    "two lengths": Case(request(LENGTH, b"content-length: 5")),
    "two lengths, written differently": Case(request(LENGTH, b"Content-Length: 5")),
    "a list of one length": Case(request(LENGTH + b", " + NUMBER)),
    "a list of two lengths": Case(request(LENGTH + b",5")),
    "a length with a plus": Case(request(b"content-length: +" + NUMBER)),
    "a length with a minus": Case(request(b"content-length: -" + NUMBER)),
    "a negative nothing": Case(request(b"content-length: -0", body=b"")),
    "a length with a blank inside": Case(request(b"content-length: 3 2")),
    "a length in hexadecimal": Case(request(b"content-length: 0x20")),
    "a length in octal": Case(request(b"content-length: 0o40")),
    "a length with a zero before it": Case(request(b"content-length: 0" + NUMBER), BODY),
    "a length with blanks around it": Case(request(b"content-length: \t" + NUMBER + b" \t"), BODY),
    "a length with a point": Case(request(LENGTH + b".0")),
    "a length with an exponent": Case(request(LENGTH + b"e0")),
    "a length with an underscore": Case(request(b"content-length: 3_2")),
    "a length in quotes": Case(request(b'content-length: "%b"' % NUMBER)),
    "a length in other digits": Case(request("content-length: ٣٢".encode())),
    "an empty length": Case(request(b"content-length:", body=b"")),
    "a blank length": Case(request(b"content-length:  ", body=b"")),
    "a length with a vertical tab": Case(request(b"content-length: \x0b" + NUMBER)),
    "a length with a NUL": Case(request(LENGTH + b"\0")),
    "a length that has no end": Case(request(b"content-length: " + b"9" * 60)),
    "a length of 2^64 and some": Case(request(b"content-length: %d" % (2**64 + len(BODY)))),
    "a length of 2^32 and some": Case(request(b"content-length: %d" % (2**96 + len(BODY)))),
    "a length in capitals": Case(request(LENGTH.upper()), BODY),
    "another name": Case(request(b"content_length: 5", LENGTH), BODY),
    "no length": Case(request(body=b""), b""),
    "the length as an option of the connection": Case(request(b"connection: content-length", LENGTH), BODY),
    # Codings
    "a coding that begins otherwise": Case(request(b"transfer-encoding: xchunked", body=CHUNKS)),
    "a coding that ends otherwise": Case(request(b"transfer-encoding: chunkedx", body=CHUNKS)),
    "chunked, identity": Case(request(b"transfer-encoding: chunked, identity", body=CHUNKS)),
    "identity, chunked": Case(request(b"transfer-encoding: identity, chunked", body=CHUNKS)),
    "identity": Case(request(b"transfer-encoding: identity", body=b"")),
    "identity and a length": Case(request(b"transfer-encoding: identity", LENGTH)),
    "gzip, chunked": Case(request(b"transfer-encoding: gzip, chunked", body=CHUNKS)),
    "gzip": Case(request(b"transfer-encoding: gzip", body=b"")),
    "an empty coding": Case(request(b"transfer-encoding:", body=b"")),
    "an empty coding and a length": Case(request(b"transfer-encoding:", LENGTH)),
    "nothing, chunked": Case(request(b"transfer-encoding: ,chunked", body=CHUNKS)),
    "chunked, nothing": Case(request(b"transfer-encoding: chunked,", body=CHUNKS)),
    "chunked, chunked": Case(request(b"transfer-encoding: chunked, chunked", body=CHUNKS)),
    "chunked, twice": Case(request(CHUNKED, CHUNKED, body=CHUNKS)),
    "chunked and identity": Case(request(CHUNKED, b"transfer-encoding: identity", body=CHUNKS)),
    "identity and chunked": Case(request(b"transfer-encoding: identity", CHUNKED, body=CHUNKS)),
    "chunked with a parameter": Case(request(b"transfer-encoding: chunked;q=1", body=CHUNKS)),
    "chunked in quotes": Case(request(b'transfer-encoding: "chunked"', body=CHUNKS)),
    "chunked with a blank inside": Case(request(b"transfer-encoding: chun ked", body=CHUNKS)),
    "chunked behind a tab": Case(request(b"transfer-encoding:\tchunked", body=CHUNKS), BODY),
    "chunked before a tab": Case(request(b"transfer-encoding: chunked\t", body=CHUNKS)),
    "chunked behind a vertical tab": Case(request(b"transfer-encoding: \x0bchunked", body=CHUNKS)),
    "chunked in capitals": Case(request(b"Transfer-Encoding: CHUNKED", body=CHUNKS), BODY),
    "chunked on a line of its own": Case(request(b"transfer-encoding:\r\n chunked", body=CHUNKS)),
    "chunked and a line more": Case(request(CHUNKED + b"\r\n , identity", body=CHUNKS)),
    "chunked with a blank before the colon": Case(request(b"transfer-encoding : chunked", LENGTH)),
    "another name for the coding": Case(request(b"transfer_encoding: chunked", LENGTH), BODY),
    "chunked in HTTP/1.0": Case(request(CHUNKED, body=CHUNKS, line=b"POST " + TARGET + b" HTTP/1.0")),
    "chunked in HTTP/1.0, kept": Case(
        request(CHUNKED, b"connection: keep-alive", body=CHUNKS, line=b"POST " + TARGET + b" HTTP/1.0")
    ),
    # Lines
    "line feeds alone": Case(request(LENGTH).replace(b"\r\n", b"\n")),
    "a line feed alone behind the first line": Case(request(LENGTH).replace(b"\r\n", b"\n", 1)),
    "a line feed alone behind a header": Case(request(b"x-a: b\nx-c: d", LENGTH)),
    "a length behind a line feed alone": Case(request(b"x-a: b\n" + LENGTH, body=b"")),
    "a line feed alone at the end": Case(request(LENGTH).replace(b"\r\n\r\n", b"\r\n\n")),
    "a line feed alone before the end": Case(request(LENGTH).replace(b"\r\n\r\n", b"\n\r\n")),
    "a carriage return alone": Case(request(b"x-a: b\r" + LENGTH, body=b"")),
    "a carriage return alone in a value": Case(request(b"x-a: b\rc", LENGTH)),
    "two carriage returns": Case(request(b"x-a: b\r", LENGTH)),
    "a blank before the colon": Case(request(LENGTH.replace(b":", b" :"))),
    "a tab before the colon": Case(request(LENGTH.replace(b":", b"\t:"))),
    "a blank before a header": Case(request(b" " + LENGTH)),
    "a blank before the first header": Case(request(LENGTH, host=b" host: localhost")),
    "a header that goes on": Case(request(b"x-a: b\r\n c", LENGTH)),
    "a length that goes on": Case(request(b"content-length: 3\r\n 2")),
    "a NUL in a name": Case(request(b"x\0a: b", LENGTH)),
    "a NUL in a value": Case(request(b"x-a: b\0c", LENGTH)),
    "a control character in a name": Case(request(b"x\x01a: b", LENGTH)),
    "a control character in a value": Case(request(b"x-a: b\x1bc", LENGTH)),
    "a DEL in a value": Case(request(b"x-a: b\x7fc", LENGTH)),
    "a tab in a value": Case(request(b"x-a: b\tc", LENGTH), BODY),
    "a byte of 255 in a value": Case(request(b"x-a: b\xffc", LENGTH), BODY),
    "a byte of 255 in a name": Case(request(b"x-\xff: b", LENGTH)),
    "no name": Case(request(b": b", LENGTH)),
    "no colon": Case(request(b"nothing", LENGTH)),
    "a bracket in a name": Case(request(b"a[b: c", LENGTH)),
    "an at sign in a name": Case(request(b"a@b: c", LENGTH)),
    "a quote in a name": Case(request(b'a"b: c', LENGTH)),
    "many headers": Case(request(*[b"x-many: value"] * 900, LENGTH), BODY),
    "more headers than fit": Case(request(*[b"x-many: value"] * 9000, LENGTH)),
    "an oversize header": Case(request(b"x-large: " + b"x" * 70_000, LENGTH)),
    "a line break before the request": Case(b"\r\n" + request(LENGTH), BODY),
    "a blank before the request": Case(b" " + request(LENGTH)),
    # The first line
    "the whole URL": Case(request(LENGTH, line=b"POST http://localhost" + TARGET + b" HTTP/1.1"), BODY),
    "the whole URL of another host": Case(request(LENGTH, line=b"POST http://elsewhere" + TARGET + b" HTTP/1.1")),
    "the whole URL with a user": Case(request(LENGTH, line=b"POST http://a@localhost" + TARGET + b" HTTP/1.1")),
    "the URL of a file": Case(request(LENGTH, line=b"POST file://localhost" + TARGET + b" HTTP/1.1")),
    "a host alone": Case(request(LENGTH, line=b"POST localhost:80 HTTP/1.1")),
    "a tunnel": Case(request(body=b"", line=b"CONNECT localhost:80 HTTP/1.1")),
    "a tunnel to a path": Case(request(body=b"", line=b"CONNECT " + TARGET + b" HTTP/1.1")),
    "a tunnel with a body": Case(request(LENGTH, line=b"CONNECT " + TARGET + b" HTTP/1.1")),
    "an asterisk": Case(request(body=b"", line=b"GET * HTTP/1.1")),
    "no path": Case(request(body=b"", line=b"GET HTTP/1.1")),
    "a query alone": Case(request(body=b"", line=b"GET ?a=b HTTP/1.1")),
    "a path without its slash": Case(request(body=b"", line=b"GET v1 HTTP/1.1")),
    "a fragment": Case(request(LENGTH, line=b"POST " + TARGET + b"#x HTTP/1.1")),
    "a blank in the path": Case(request(LENGTH, line=b"POST " + TARGET + b" x HTTP/1.1")),
    "a tab in the path": Case(request(LENGTH, line=b"POST " + TARGET + b"\tx HTTP/1.1")),
    "a NUL in the path": Case(request(LENGTH, line=b"POST " + TARGET + b"\0 HTTP/1.1")),
    "a byte of 255 in the path": Case(request(LENGTH, line=b"POST " + TARGET + b"\xff HTTP/1.1")),
    "a request in the path": Case(request(LENGTH, line=b"POST " + TARGET + b"%20HTTP/1.1%0d%0ax:%20y HTTP/1.1"), BODY),
    "a tab behind the method": Case(request(LENGTH, line=b"POST\t" + TARGET + b" HTTP/1.1")),
    "a blank behind the version": Case(request(LENGTH, line=b"POST " + TARGET + b" HTTP/1.1 ")),
    "a method of small letters": Case(request(LENGTH, line=b"post " + TARGET + b" HTTP/1.1")),
    "a method that is none": Case(request(LENGTH, line=b"PO(T " + TARGET + b" HTTP/1.1")),
    "an unknown method": Case(request(LENGTH, line=b"SMUGGLE " + TARGET + b" HTTP/1.1")),
    "no version": Case(request(body=b"", line=b"GET " + TARGET)),
    "HTTP/0.9": Case(request(body=b"", line=b"GET " + TARGET + b" HTTP/0.9")),
    "HTTP/1.2": Case(request(LENGTH, line=b"POST " + TARGET + b" HTTP/1.2")),
    "HTTP/2.0": Case(request(LENGTH, line=b"POST " + TARGET + b" HTTP/2.0")),
    "HTTP/1.10": Case(request(LENGTH, line=b"POST " + TARGET + b" HTTP/1.10")),
    "http/1.1": Case(request(LENGTH, line=b"POST " + TARGET + b" http/1.1")),
    "HTTP/1.0": Case(request(LENGTH, line=b"POST " + TARGET + b" HTTP/1.0"), BODY, is_last=True),
    "HTTP/1.0, kept": Case(
        request(LENGTH, b"connection: keep-alive", line=b"POST " + TARGET + b" HTTP/1.0"), BODY, is_last=True
    ),
    # Hosts
    "two hosts": Case(request(b"host: elsewhere", LENGTH)),
    "one host twice": Case(request(b"host: localhost", LENGTH)),
    "no host": Case(request(LENGTH, host=b"")),
    "no host in HTTP/1.0": Case(
        request(LENGTH, host=b"", line=b"POST " + TARGET + b" HTTP/1.0"), BODY, is_last=True
    ),
    "a host with a blank": Case(request(LENGTH, host=b"host: local host")),
    "a host with a path": Case(request(LENGTH, host=b"host: localhost/x")),
    "a host with a user": Case(request(LENGTH, host=b"host: a@localhost")),
    "a list of hosts": Case(request(LENGTH, host=b"host: localhost, elsewhere:x")),
    "a host with a port that is none": Case(request(LENGTH, host=b"host: localhost:x")),
    # Chunks
    "chunks": Case(chunked(CHUNKS), BODY),
    "two chunks": Case(chunked(b"1\r\n{\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY) - 1, BODY[1:])), BODY),
    "an extension of a chunk": Case(chunked(SIZE + b";a=b\r\n" + BODY + b"\r\n0\r\n\r\n"), BODY),
    "an extension in quotes": Case(chunked(SIZE + b';a="b;c"\r\n' + BODY + b"\r\n0\r\n\r\n"), BODY),
    "an extension with an open quote": Case(chunked(SIZE + b';a="b\r\n' + BODY + b"\r\n0\r\n\r\n")),
    "an extension with a line feed": Case(chunked(SIZE + b";a=b\n" + BODY + b"\r\n0\r\n\r\n")),
    "an extension with a carriage return": Case(chunked(SIZE + b";a\rb\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "an extension with a NUL": Case(chunked(SIZE + b";a\0\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "a size with a plus": Case(chunked(b"+" + CHUNKS)),
    "a size with a minus": Case(chunked(b"-" + CHUNKS)),
    "a size with 0x": Case(chunked(b"0x" + CHUNKS)),
    "a size with zeros": Case(chunked(b"0000" + CHUNKS), BODY),
    "a size with a blank before": Case(chunked(b" " + CHUNKS)),
    "a size with a blank behind": Case(chunked(SIZE + b" \r\n" + BODY + b"\r\n0\r\n\r\n")),
    "a size of no digit": Case(chunked(b"\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "a size of a wrong digit": Case(chunked(b"g\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "a size of 2^64 and some": Case(chunked(b"100000000000000%02x\r\n" % len(BODY) + CHUNKS[4:])),
    "a chunk without its line break": Case(chunked(SIZE + b"\r\n" + BODY + b"0\r\n\r\n")),
    "a chunk longer than its size": Case(chunked(SIZE + b"\r\n" + BODY + b"x\r\n0\r\n\r\n")),
    "a line feed alone behind a size": Case(chunked(SIZE + b"\n" + BODY + b"\r\n0\r\n\r\n")),
    "a line feed alone behind a chunk": Case(chunked(SIZE + b"\r\n" + BODY + b"\n0\r\n\r\n")),
    "a line feed alone behind the last size": Case(chunked(SIZE + b"\r\n" + BODY + b"\r\n0\n\r\n")),
    "a line feed alone at the end of chunks": Case(chunked(SIZE + b"\r\n" + BODY + b"\r\n0\r\n\n")),
    "a carriage return alone behind a size": Case(chunked(SIZE + b"\r" + BODY + b"\r\n0\r\n\r\n")),
    # Trailers
    "a trailer": Case(chunked(CHUNKS[:-2] + b"x-a: b\r\n\r\n"), BODY),
    "a length in the trailers": Case(chunked(CHUNKS[:-2] + b"content-length: 5\r\n\r\n")),
    "a coding in the trailers": Case(chunked(CHUNKS[:-2] + CHUNKED + b"\r\n\r\n")),
    "a host in the trailers": Case(chunked(CHUNKS[:-2] + b"host: elsewhere\r\n\r\n"), BODY),
    "a key in the trailers": Case(chunked(CHUNKS[:-2] + b"authorization: Bearer sk-other\r\n\r\n"), BODY),
    "a connection's option in the trailers": Case(chunked(CHUNKS[:-2] + b"connection: close\r\n\r\n")),
    "an upgrade in the trailers": Case(chunked(CHUNKS[:-2] + b"\r\n".join(UPGRADE) + b"\r\n\r\n")),
    "a trailer without a colon": Case(chunked(CHUNKS[:-2] + b"nothing\r\n\r\n")),
    "a trailer that goes on": Case(chunked(CHUNKS[:-2] + b"x-a: b\r\n c\r\n\r\n")),
    # What a connection is asked for besides
    "close, and more behind it": Case(request(b"connection: close", LENGTH), BODY, is_last=True),
    "close among options": Case(request(b"connection: keep-alive, close", LENGTH), BODY, is_last=True),
    "HTTP/2 from its beginning": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    "HTTP/2 offered": Case(
        request(b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABk", LENGTH), BODY
    ),
    "HTTP/2 offered with chunks": Case(request(b"connection: upgrade", b"upgrade: h2c", CHUNKED, body=CHUNKS), BODY),
    "another protocol offered": Case(request(b"connection: upgrade", b"upgrade: tls/1.0", LENGTH), BODY),
    "another protocol offered, and no connection": Case(request(b"upgrade: h2c", LENGTH), BODY),
    "two protocols offered": Case(request(b"connection: upgrade", b"upgrade: h2c, websocket", LENGTH), BODY),
    "a request in the body of one that offers HTTP/2": Case(
        request(b"connection: upgrade", b"upgrade: h2c", b"content-length: %d" % len(LAST), body=LAST), LAST
    ),
    "a WebSocket with a length": Case(request(*UPGRADE, b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", LENGTH)),
    "a WebSocket by POST": Case(request(*UPGRADE, b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", body=b"")),
    "a wish to go on": Case(request(b"expect: 100-continue", LENGTH), BODY),
    "another wish": Case(request(b"expect: a-miracle", LENGTH), BODY),
    "a wish to go on in HTTP/1.0": Case(
        request(b"expect: 100-continue", LENGTH, line=b"POST " + TARGET + b" HTTP/1.0"), BODY, is_last=True
    ),
    "GET with a body": Case(request(LENGTH, line=b"GET " + TARGET + b" HTTP/1.1"), BODY),
    "GET with chunks": Case(request(CHUNKED, body=CHUNKS, line=b"GET " + TARGET + b" HTTP/1.1"), BODY),
    "DELETE with a body": Case(request(LENGTH, line=b"DELETE " + TARGET + b" HTTP/1.1"), BODY),
}  # fmt: skip
TWIN: Final = request(LENGTH)
CHUNKED_TWIN: Final = request(CHUNKED, body=CHUNKS)


async def sent(address: Address, data: bytes, before: bytes = b"", times: int = 0) -> list[int]:
    """Send bytes, and a last request behind them; return the status of each answer until the connection is closed.

    ``before`` is sent first, as often as ``times``, and each time answered.
    """
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        for _ in range(times):
            writer.write(before)
            assert await answered(reader) == 200
        writer.write(data + LAST)
        got = bytearray()
        try:
            while piece := await reader.read(65536):
                got += piece
        except ConnectionError:
            pass
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]
    finally:
        writer.close()


async def answered(reader: asyncio.StreamReader) -> int:
    """Read an answer of a declared length; return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
    return int(head.split()[1])


def problem_of(case: Case, statuses: list[int]) -> str:
    """What is wrong with the answers to a case and to the request behind it, if anything is."""
    final = [status for status in statuses if status != 100]
    if case.takes is None:
        return "" if len(final) == 1 and 400 <= final[0] < 500 else f"not refused: {statuses}"
    return "" if final == ([200] if case.is_last else [200, 200]) else f"not taken as one: {statuses}"


@pytest.mark.parametrize("way", ["alone", "behind its good twin", "again and again"])
def test_what_can_be_read_in_two_ways_is_refused_or_taken_as_one_request(way: str) -> None:
    problems: dict[str, str] = {}

    async def main() -> None:
        upstream = Recorder(OK)
        slots = asyncio.Semaphore(16)

        async def tried(number: int, name: str, case: Case) -> None:
            data = case.data.replace(MARK, MARK % number)
            twins = [twin.replace(MARK, MARK % number) for twin in (TWIN, CHUNKED_TWIN)]
            async with slots:
                match way:
                    case "alone":
                        all_of_them = [await sent(address, data)]
                    case "behind its good twin":
                        all_of_them = [await sent(address, data, twin, 3) for twin in twins]
                    case _:
                        await sent(address, data, twins[0], 2)
                        all_of_them = [await sent(address, data) for _ in range(3)]
            found = [problem for statuses in all_of_them if (problem := problem_of(case, statuses))]
            if found:
                problems[name] = found[0]

        async with raw_server(upstream) as origin, gateway(**openai_at(origin)) as address:
            await asyncio.gather(*(tried(number, *pair) for number, pair in enumerate(CASES.items())))
        arrived: dict[int, list[bytes]] = {number: [] for number in range(len(CASES))}
        for line, fields, body in upstream.requests:
            assert re.fullmatch(r"[A-Z]+ /v1/chat/completions\S* HTTP/1\.1", line)
            assert len(fields.get("content-length", []) + fields.get("transfer-encoding", [])) <= 1
            assert fields["authorization"] == ["Bearer sk-caller-12345678"]
            arrived[int(fields["x-case"][0])].append(body)
        for (name, case), bodies in zip(CASES.items(), arrived.values(), strict=True):
            times, twins = {"alone": (1, 0), "behind its good twin": (2, 6)}.get(way, (4, 2))
            wanted = [BODY] * twins + [case.takes] * (times if case.takes is not None else 0)
            if sorted(bodies) != sorted(wanted):  # type: ignore[type-var]  # there is no None in it
                problems.setdefault(name, f"{len(bodies)} requests reached the provider: {bodies}")

    run(main())
    assert problems == {}


def test_the_body_of_a_request_that_offers_another_protocol_is_no_request_when_it_comes_later() -> None:
    async def main() -> None:
        upstream = Recorder(OK)
        hidden = request(LENGTH).replace(MARK, b"x-case: hidden")
        head = request(b"connection: upgrade", b"upgrade: h2c", b"content-length: %d" % len(hidden), body=b"")
        async with raw_server(upstream) as origin, gateway(**openai_at(origin)) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(head)
            await asyncio.sleep(0.05)  # the head is read before the body comes; the test holds where it is not, too
            writer.write(hidden + LAST)
            assert (await reader.read()).count(b"HTTP/1.1 200 ") == 2
            writer.close()
        assert [body for _, _, body in upstream.requests] == [hidden]

    run(main())


def test_requests_that_come_at_once_are_answered_in_order_and_what_is_no_request_behind_them_last() -> None:
    is_let = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line, _, body = await read_request(reader)
            if "first" in line:
                await is_let.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async def main() -> None:
        async with raw_server(slow) as origin, gateway(**openai_at(origin)) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            for name in (b"first", b"second", b"third"):
                line = b"POST " + TARGET + b"?" + name + b" HTTP/1.1"
                writer.write(request(b"content-length: %d" % len(name), body=name, line=line))
            writer.write(b"no request\r\n\r\n")
            await asyncio.sleep(0.05)  # all of it is read before the first is answered
            is_let.set()
            got = await reader.read()
            writer.close()
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", got) == [b"200", b"200", b"200", b"400"]
        assert [got.index(name) for name in (b"first", b"second", b"third")] == sorted(
            got.index(name) for name in (b"first", b"second", b"third")
        )

    run(main())


def test_an_answer_that_has_begun_is_not_mixed_with_a_refusal() -> None:
    async def answers_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegun")
        await reader.read()

    async def main() -> None:
        async with raw_server(answers_early) as origin, gateway(**openai_at(origin)) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(request(CHUNKED, body=b"1\r\na\r\n"))
            got = await reader.readuntil(b"begun")
            writer.write(b"no chunk\r\n")
            assert b"HTTP/1.1" not in await reader.read()
            assert got.startswith(b"HTTP/1.1 200 ")
            writer.close()

    run(main())


def test_a_websocket_does_not_begin_in_the_middle_of_an_answer() -> None:
    is_let = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await is_let.wait()
        writer.write(OK)

    async def main() -> None:
        async with raw_server(slow) as origin, gateway(**openai_at(origin)) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            line = b"GET /v1/local/default/openai/realtime?model=gpt-realtime HTTP/1.1"
            key = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
            writer.write(request(LENGTH) + request(*UPGRADE, key, body=b"", line=line))
            await asyncio.sleep(0.05)  # both are read before the first is answered
            is_let.set()
            assert re.findall(rb"HTTP/1\.1 (\d{3}) ", await reader.read()) == [b"200", b"400"]
            writer.close()

    run(main())


# Requests that do not come to their end


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(heads, "STALL_SECONDS", 0.3)


async def dripped(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a byte at a time, without end, until the other side has closed."""
    while not writer.transport.is_closing():
        writer.write(data)
        await asyncio.sleep(0.02)


async def reads_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


@pytest.mark.parametrize(
    ("begun", "drip"),
    [
        (b"POST /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ", b"x"),
        (b"P", b""),
        (request(b"content-length: 1000", body=b"a"), b""),
        (request(CHUNKED, body=b"5\r\na"), b""),
        (request(CHUNKED, body=CHUNKS[:-2]), b""),
    ],
    ids=["a head byte by byte", "a head that stops", "a body that stops", "a chunk that stops", "trailers that stop"],
)
def test_a_request_whose_rest_does_not_come_is_given_up(hurry: None, begun: bytes, drip: bytes) -> None:
    async def main() -> None:
        async with raw_server(reads_on) as origin, gateway(**openai_at(origin)) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(begun)
            dripping = asyncio.create_task(dripped(writer, drip)) if drip else None
            got = await reader.read()
            writer.close()
            if dripping is not None:
                dripping.cancel()
            assert got.startswith(b"HTTP/1.1 408 ")
            assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"

    run(main())


def test_a_body_that_goes_on_is_waited_for_longer_than_a_pause_may_be(hurry: None) -> None:
    async def main() -> None:
        upstream = Recorder(OK)
        async with raw_server(upstream) as origin, gateway(**openai_at(origin)) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(request(b"content-length: 10", body=b""))
            for _ in range(10):
                await asyncio.sleep(0.06)
                writer.write(b"x")
            assert await answered(reader) == 200
            writer.close()
        assert [body for _, _, body in upstream.requests] == [b"x" * 10]

    run(main())


def test_an_answer_may_take_longer_than_a_request(hurry: None) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.8)
        writer.write(OK)

    async def main() -> None:
        async with raw_server(slow) as origin, gateway(**openai_at(origin)) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(request(LENGTH))
            assert await answered(reader) == 200
            writer.close()

    run(main())


@pytest.mark.parametrize("first", [b"", b"\r\n"])
def test_a_connection_on_which_nothing_is_asked_is_closed(monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    from trunkline.server import serving

    async def main() -> None:
        monkeypatch.setattr(serving, "KEEP_ALIVE_SECONDS", 0.3)
        async with gateway() as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            dripping = asyncio.create_task(dripped(writer, first)) if first else None
            with suppress(ConnectionError):
                assert await reader.read() == b""
            if dripping is not None:
                dripping.cancel()
            writer.close()

    run(main())
