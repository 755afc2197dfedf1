"""Bodies that unpack to far more than they are, or to something else than they seem to: what reads them is bounded."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import openai_at, read_request
from tests.contract.test_guards import guarded, rule
from tests.contract.test_limits_over_http import ASKED, CHAT, limit, limited
from tests.running import gateway, run
from trunkline.wire.encodings import _MOST_UNPACKED as MOST_OF_AN_ANSWER
from trunkline.wire.encodings import Unpacker

SAID: Final = json.dumps(ASKED).encode()
MANY: Final = 100 * 1024 * 1024
JSON: Final = ("content-type", "application/json")
KEY: Final = ("authorization", "Bearer sk-caller-12345678")


def bomb(size: int, before: bytes = b"") -> bytes:
    """A gzip body of some KiB that unpacks to ``size`` blanks."""
    packer = zlib.compressobj(9, wbits=31)
    blanks = b" " * (1 << 20)
    return packer.compress(before) + b"".join(packer.compress(blanks) for _ in range(size >> 20)) + packer.flush()


BOMB: Final = bomb(MANY, b'{"model":"gpt-4o-mini"')

HIDING: Final = {
    "a bomb": ([("content-encoding", "gzip")], BOMB),
    "packed twice": ([("content-encoding", "gzip, gzip")], gzip.compress(gzip.compress(SAID))),
    "packed twice, in two lines": ([("content-encoding", "gzip")] * 2, gzip.compress(gzip.compress(SAID))),
    "said to be plain first": ([("content-encoding", "identity"), ("content-encoding", "gzip")], gzip.compress(SAID)),
    "in two parts": ([("content-encoding", "gzip")], gzip.compress(SAID[:20]) + gzip.compress(SAID[20:])),
    "cut off": ([("content-encoding", "gzip")], gzip.compress(SAID)[:-4]),
    "not packed": ([("content-encoding", "gzip")], SAID),
    "brotli": ([("content-encoding", "br")], b"\x0b\x02\x80{}\x03"),
    "zstd": ([("content-encoding", "zstd")], b"\x28\xb5\x2f\xfd\x04\x00"),
}


@pytest.mark.parametrize(("headers", "body"), HIDING.values(), ids=HIDING.keys())
def test_a_request_that_cannot_be_read_passes_no_limit(
    tmp_path: Path, headers: list[tuple[str, str]], body: bytes
) -> None:
    async def main() -> None:
        mini = limit("mini", "requests", 1, where={"model": ["gpt-4o-mini"]})
        async with limited(tmp_path, mini) as (provider, _, client):
            refused = await client.post(CHAT, content=body, headers=[JSON, *headers], timeout=60)
            assert refused.status_code == 400, refused.text
            assert "content-encoding" in refused.text
            assert provider.asked == 0
            served = await client.post(CHAT, content=gzip.compress(SAID), headers=[JSON, ("content-encoding", "gzip")])
            assert served.status_code == 200, served.text
            assert provider.asked == 1
            assert (await client.post(CHAT, content=SAID, headers=[JSON])).status_code == 429  # it was counted

    run(main())


@pytest.mark.parametrize("packing", ["gzip", "x-gzip", "deflate"])
def test_unpacking_stops_where_it_has_to(packing: str) -> None:
    packed = zlib.compress(bytes(MANY), 9) if packing == "deflate" else bomb(MANY)
    most = 1 << 20
    for size in (len(packed), 1000):
        unpacker = Unpacker(packing, most)
        tracemalloc.start()
        found = sum(len(unpacker.feed(packed[at : at + size])) for at in range(0, len(packed), size))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found <= most
        assert peak < 4 * most
        assert not unpacker.is_whole


def answering(body: bytes, kind: bytes = b"application/json") -> object:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b"
                % (kind, len(body), body)
            )

    return handler


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream", b"application/x-ndjson"])
def test_an_answer_that_unpacks_to_very_much_passes_as_it_came(kind: bytes) -> None:
    packed = bomb(MOST_OF_AN_ANSWER * 2, b'{"usage":')

    async def main() -> None:
        async with (
            raw_server(answering(packed, kind)) as origin,  # type: ignore[arg-type]
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient(base_url=address.http) as client,
            client.stream("POST", CHAT, content=SAID, headers=[JSON, KEY]) as answer,
        ):
            assert b"".join([piece async for piece in answer.aiter_raw()]) == packed

    run(main())


def test_an_answer_that_unpacks_to_very_much_is_not_passed_unread_where_a_rule_blocks() -> None:
    packed = bomb(MANY, b'{"choices":')

    async def main() -> None:
        async with (
            raw_server(answering(packed)) as origin,  # type: ignore[arg-type]
            guarded(rule("secrets", sides=["response"], action="block"), **openai_at(origin)) as address,
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            answer = await client.post(CHAT, content=SAID, headers=[JSON, KEY])
            assert answer.status_code >= 400
            assert "unreadable" in answer.text or "cannot be" in answer.text or answer.status_code == 424

    run(main())


def test_a_request_that_unpacks_to_very_much_is_not_passed_unread_where_a_rule_blocks() -> None:
    async def main() -> None:
        async with (
            raw_server(answering(gzip.compress(b"{}"))) as origin,  # type: ignore[arg-type]
            guarded(rule("secrets", action="block"), **openai_at(origin)) as address,
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            headers = [JSON, KEY, ("content-encoding", "gzip")]
            answer = await client.post(CHAT, content=BOMB, headers=headers)
            assert answer.status_code == 400
            assert "unpack" in answer.text

    run(main())
