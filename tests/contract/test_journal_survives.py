"""Nothing that a client saw answered is lost, whatever is killed when."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, text

from tests.contract.raw_server import raw_server, read_head
from tests.contract.waiting import until
from tests.databases import Postgres
from tests.running import Address, Program, data_directory, gateway, program, run
from trunkline.store import Database
from trunkline.store.schema import logs

CLIENTS = 12
CHAT = "/v1/local/default/openai/chat/completions"
KEY = {"authorization": "Bearer sk-test-0123456789abcdef"}
WHOLE = b'{"id":"c","object":"chat.completion","model":"gpt-5","choices":[],"usage":{"prompt_tokens":3}}'
EVENT = b'data: {"id":"c","object":"chat.completion.chunk","model":"gpt-5","choices":[]}\n\n'
EVENTS = [EVENT, EVENT * 3, b"data: [DONE]\n\n"]


async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whole or as a stream, as is asked."""
    while True:
        head = await read_head(reader)
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert length is not None
        body = await reader.readexactly(int(length[1]))
        if b'"stream": true' not in body:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n" % len(WHOLE) + WHOLE)
            await writer.drain()
            continue
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in EVENTS:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(0.002)
        writer.write(b"0\r\n\r\n")
        await writer.drain()


class Load:
    """Clients that ask one thing after the other, and the ids of what they saw answered to the last byte."""

    def __init__(self) -> None:
        self.answered: list[str] = []

    @asynccontextmanager
    async def on(self, address: Address) -> AsyncIterator[None]:
        clients = [asyncio.create_task(self._ask(address, is_stream=bool(number % 2))) for number in range(CLIENTS)]
        try:
            yield
        finally:
            await asyncio.gather(*clients)

    async def _ask(self, address: Address, *, is_stream: bool) -> None:
        """Ask until the gateway is gone."""
        body = '{"model": "gpt-5", "messages": [], "stream": %s}' % ("true" if is_stream else "false")
        async with httpx.AsyncClient(base_url=address.http, headers=KEY, timeout=30) as client:
            while True:
                try:
                    answer = await client.post(CHAT, content=body)
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                assert answer.content == (b"".join(EVENTS) if is_stream else WHOLE)
                self.answered.append(answer.headers["cf-aig-log-id"])

    async def more(self, count: int) -> None:
        """Wait until so many more were answered."""
        enough = len(self.answered) + count

        async def there_are() -> bool:
            return len(self.answered) >= enough

        await until(there_are)


@asynccontextmanager
async def serving(directory: Path, origin: str, url: str) -> AsyncIterator[Program]:
    """A gateway that is a process of its own."""
    environment = {
        "TRUNKLINE_DATA_DIR": str(directory),
        "TRUNKLINE_PROVIDERS__OPENAI__BASE_URL": f"{origin}/v1",
        "TRUNKLINE_DATABASE_URL": url,
    }
    started = program("serve", "--port", "0", environment=environment)
    running = await asyncio.to_thread(started.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(started.__exit__, None, None, None)


async def rows(directory: Path, url: str) -> list[str]:
    """The ids of all rows, after one more start that finds what was left."""
    async with gateway(data_dir=directory, database_url=url):
        pass
    assert [*(directory / "journal").glob("*.segment")] == []
    database = await Database.open(directory, url)
    async with database.reading() as connection:
        ids = [*(await connection.execute(select(logs.c.id))).scalars()]
    await database.close()
    return ids


@pytest.mark.parametrize(("engine", "kills"), [("sqlite", 20), ("postgresql", 5)])
def test_what_was_seen_answered_is_in_the_database_once_however_often_the_gateway_is_killed(
    request: pytest.FixtureRequest, engine: str, kills: int
) -> None:
    url = ""
    if engine == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.fresh()

    async def main() -> None:
        load = Load()
        with data_directory() as directory:
            async with raw_server(provider) as upstream:
                origin = f"http://{upstream.host}:{upstream.port}"
                for _ in range(kills):
                    async with serving(directory, origin, url) as running, load.on(running.address):
                        await load.more(20)
                        await asyncio.sleep(random.random() * 0.3)
                        running.process.kill()
            found = await rows(directory, url)
            assert len(found) == len({*found})
            assert {*load.answered} - {*found} == set()
            # What was not seen to its end may be there too: at most one exchange of each client at each kill.
            assert len(found) - len(load.answered) <= CLIENTS * kills

    run(main(), 500)


def test_requests_are_answered_while_the_database_is_locked_and_their_rows_come_later(tmp_path: Path) -> None:
    async def main() -> None:
        load = Load()
        with data_directory() as directory:
            async with raw_server(provider) as upstream:
                origin = f"http://{upstream.host}:{upstream.port}"
                async with serving(directory, origin, "") as running:
                    other = await Database.open(directory)
                    async with load.on(running.address):
                        async with other.transaction() as connection:
                            await connection.execute(text("SELECT 1"))
                            await load.more(300)
                        await load.more(100)
                        running.process.terminate()
                    await other.close()
            assert {*load.answered} <= {*await rows(directory, "")}

    run(main(), 120)


def test_requests_are_answered_while_the_database_server_is_down_and_their_rows_come_later(
    postgres: Postgres,
) -> None:
    url = postgres.fresh()

    async def main() -> None:
        load = Load()
        with data_directory() as directory:
            async with raw_server(provider) as upstream:
                origin = f"http://{upstream.host}:{upstream.port}"
                async with serving(directory, origin, url) as running, load.on(running.address):
                    await load.more(50)
                    await asyncio.to_thread(postgres.stop)
                    try:
                        await load.more(300)
                    finally:
                        await asyncio.to_thread(postgres.start)
                    await load.more(100)
                    running.process.terminate()
            assert {*load.answered} <= {*await rows(directory, url)}

    run(main(), 120)
