"""From the journal into the database: what a database that is away costs, and what is found at the next start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.contract.waiting import until
from tests.databases import Postgres
from tests.running import run
from trunkline.policy.logging import LoggingRules
from trunkline.server.drain import Drain
from trunkline.store import Database, Journal, LogFilter, LogRecord, Logs
from trunkline.store.identifiers import first_ulid, ulid
from trunkline.store.log_record import encoded

OFTEN = 0.02
KEEP_ALL = LoggingRules()


def record(**fields: Any) -> LogRecord:
    return LogRecord(**{"id": ulid(), "gateway": "default", "created_at": time.time(), **fields})


class Store:
    """A journal, a log and what connects them, as a gateway has them."""

    def __init__(self, journal: Journal, database: Database, rules: LoggingRules, on_written: Sequence[Any]) -> None:
        self.journal = journal
        self.logs = Logs(
            database,
            on_written,
            rules_of=lambda gateway: rules,
            on_rejected=lambda one: journal.set_aside(encoded(one)),
        )
        self.drain = Drain(journal, self.logs, lambda: [("default", rules)], look=OFTEN, retention=OFTEN)

    def append(self, count: int = 1) -> set[str]:
        records = [record() for _ in range(count)]
        assert all(self.journal.append(encoded(one)) for one in records)
        return {one.id for one in records}

    async def ids(self) -> set[str]:
        return {row.id for row in await self.logs.list(LogFilter(), limit=100_000)}


@asynccontextmanager
async def store(
    directory: Path, url: str, rules: LoggingRules = KEEP_ALL, on_written: Sequence[Any] = (), **options: Any
) -> AsyncIterator[Store]:
    database = await Database.open(directory, url)
    journal = Journal.open(directory / "journal", **options)
    opened = Store(journal, database, rules, on_written)
    opened.drain.start()
    try:
        yield opened
    finally:
        await opened.drain.stop()
        journal.close()
        await database.close()


@asynccontextmanager
async def writer_in_the_way(url: str) -> AsyncIterator[None]:
    """Another process that lets nobody write, as a backup or a migration does."""
    other = await Database.open(Path("/nowhere"), url)
    async with other.transaction() as connection:
        if other.dialect == "postgresql":
            await connection.execute(text("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE"))
        else:
            await connection.execute(text("SELECT 1"))
        yield
    await other.close()


def test_what_was_flushed_can_be_read(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with store(tmp_path, database_url) as opened:
            for count in (1, 1200, 3):
                ids = opened.append(count)
                assert await opened.drain.flush()
                assert ids <= await opened.ids()
            assert opened.journal.is_drained
            assert await opened.drain.flush()

    run(main())


def test_records_come_in_without_being_asked_for(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with store(tmp_path, database_url) as opened:
            ids = opened.append(10)

            async def all_are_there() -> bool:
                return await opened.ids() == ids

            await until(all_are_there)

    run(main())


def test_a_flush_under_load_ends(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with store(tmp_path, database_url) as opened:

            async def load() -> None:
                while True:
                    opened.append(20)
                    await asyncio.sleep(0)

            loading = asyncio.create_task(load())
            ids = opened.append(20)
            assert await opened.drain.flush(50)
            loading.cancel()
            assert ids <= await opened.ids()

    run(main())


def test_records_wait_while_another_holds_the_database(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with store(tmp_path, database_url) as opened:
            async with writer_in_the_way(database_url):
                ids = opened.append(300)
                assert not await opened.drain.flush(0.2)
                ids |= opened.append(300)
                assert not opened.journal.is_drained
            assert await opened.drain.flush(50)
            assert await opened.ids() == ids
            assert not opened.drain.is_held_up
            assert opened.journal.stats().refused == 0

    run(main())


def test_records_wait_while_the_database_server_is_down(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.fresh()

    async def main() -> None:
        async with store(tmp_path, url) as opened:
            ids = opened.append(100)
            assert await opened.drain.flush()
            await asyncio.to_thread(postgres.stop)
            try:
                ids |= opened.append(100)
                assert not await opened.drain.flush()
                assert opened.drain.is_held_up
                ids |= opened.append(100)
            finally:
                await asyncio.to_thread(postgres.start)

            async def flushed() -> bool:
                return await opened.drain.flush()

            await until(flushed)
            assert await opened.ids() == ids
            assert not opened.drain.is_held_up

    run(main())


def test_what_a_killed_process_left_is_found_at_the_next_start(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        left = Journal.open(tmp_path / "journal")
        records = [record() for _ in range(700)]
        assert all(left.append(encoded(one)) for one in records)
        left.close()
        async with store(tmp_path, database_url) as opened:

            async def all_are_there() -> bool:
                return await opened.ids() == {one.id for one in records}

            await until(all_are_there)
        assert [*(tmp_path / "journal").iterdir()] == []

    run(main())


def test_at_the_end_what_waits_is_written(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with store(tmp_path, database_url) as opened:
            ids = opened.append(1500)
        async with store(tmp_path, database_url) as opened:
            assert await opened.ids() == ids
        assert [*(tmp_path / "journal").iterdir()] == []

    run(main())


def test_what_cannot_be_written_at_the_end_stays_for_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'logs.db'}"
        async with store(tmp_path, url) as opened, writer_in_the_way(url):
            ids = opened.append(10)
            await opened.drain.stop()
            assert not opened.journal.is_drained
        async with store(tmp_path, url) as opened:
            assert await opened.drain.flush()
            assert await opened.ids() == ids

    run(main())


def test_a_flush_that_waits_when_the_drain_stops_is_answered(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with store(tmp_path, database_url) as opened:
            opened.append(100)
            waiting = asyncio.create_task(opened.drain.flush(50))
            await asyncio.sleep(0)
            await opened.drain.stop()
            assert await waiting
            opened.append()
            assert not await opened.drain.flush()

    run(main())


def test_a_record_that_nobody_understands_keeps_no_other_out(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with store(tmp_path, database_url) as opened:
            ids = opened.append(150)
            for nonsense in (
                b"",
                b"nonsense",
                b"\xc1",
                encoded(record())[:-3],
                encoded(record(model="mm")).replace(b"mm", b"\xff\xff"),
            ):
                assert opened.journal.append(nonsense)
            ids |= opened.append(1200)
            assert await opened.drain.flush()
            assert await opened.ids() == ids
            assert opened.journal.stats().set_aside == 5

    run(main())


def test_a_record_that_the_database_will_not_have_is_tried_again_at_the_next_start(
    tmp_path: Path, database_url: str
) -> None:
    async def listener(connection: AsyncConnection, records: Sequence[LogRecord]) -> None:
        if any(one.model == "strange" for one in records):
            raise ValueError("strange")

    async def main() -> None:
        strange = record(model="strange")
        async with store(tmp_path, database_url, on_written=[listener]) as opened:
            ids = opened.append(100)
            opened.journal.append(encoded(strange))
            ids |= opened.append(100)
            assert await opened.drain.flush()
            assert await opened.ids() == ids
            assert (opened.logs.rejected, opened.journal.stats().set_aside) == (1, 1)
        async with store(tmp_path, database_url) as repaired:
            assert await repaired.drain.flush()
            assert await repaired.ids() == ids | {strange.id}
        assert [*(tmp_path / "journal").iterdir()] == []

    run(main())


def test_rows_beyond_what_a_gateway_keeps_go_by_themselves(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        rules = LoggingRules(max_rows=5, max_age_days=1)
        async with store(tmp_path, database_url, rules) as opened:
            opened.journal.append(encoded(record(id=first_ulid(time.time() - 2 * 86_400))))
            ids = opened.append(20)

            async def as_many_as_should_be() -> bool:
                return opened.journal.is_drained and len(await opened.ids()) == 5

            await until(as_many_as_should_be)
            assert await opened.ids() == {*sorted(ids)[-5:]}

    run(main())


def test_two_processes_bring_each_record_in_once(tmp_path: Path, database_url: str) -> None:
    told: list[str] = []

    async def listener(connection: AsyncConnection, records: Sequence[LogRecord]) -> None:
        told.extend(one.id for one in records)

    async def main() -> None:
        async with (
            store(tmp_path, database_url, on_written=[listener]) as one,
            store(tmp_path, database_url, on_written=[listener]) as other,
        ):
            ids: set[str] = set()
            for _ in range(20):
                ids |= one.append(10) | other.append(10)
                await asyncio.sleep(OFTEN)
            assert await one.drain.flush()
            assert await other.drain.flush()
            assert await one.ids() == ids
            assert sorted(told) == sorted(ids)

    run(main())
