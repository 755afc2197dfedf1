"""Disks that are full and databases that are down, slow, read-only, gone or damaged: requests go on, records wait."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.contract.test_journal_survives import serving
from tests.contract.waiting import until
from tests.databases import Postgres, postgres_server
from tests.faults.stage import Got, chat_of, exchange, provider
from tests.faults.wire import wire
from tests.running import Program, data_directory, run
from trunkline.store import Database
from trunkline.store.schema import logs

CACHED = {"cf_aig_cache_ttl": "600"}


async def rows_in(directory: Path, url: str = "") -> set[str]:
    """The ids of all rows."""
    database = await Database.open(directory, url)
    try:
        async with database.reading() as connection:
            return {*(await connection.execute(select(logs.c.id))).scalars()}
    finally:
        await database.close()


class Asking:
    """Requests to a gateway, and the ids of those that were answered."""

    def __init__(self, running: Program) -> None:
        self.port = running.address.port
        self.answered: list[str] = []
        self._running = running

    async def ask(self, times: int = 10, **headers: str) -> list[Got]:
        """Ask; every request is answered."""
        got = [await exchange(self.port, chat_of("m"), **headers) for _ in range(times)]
        assert {one.status for one in got} == {200}
        self.answered += [one.headers["cf-aig-log-id"] for one in got]
        return got

    async def checks(self) -> dict[str, bool]:
        """What the gateway says of itself."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self._running.address.http}/readyz", timeout=30)
        assert answer.status_code == 200  # requests can come
        found: dict[str, Any] = answer.json()
        assert (found["status"] == "ready") == all(found["checks"].values())
        return dict(found["checks"])

    async def until_logged(self, words: str) -> None:
        """Wait until the gateway's own log says something."""

        async def is_said() -> bool:
            return any(words in line for line in self._running.output)

        await until(is_said)

    async def until_kept(self, directory: Path, url: str = "") -> None:
        """Wait until every request that was answered has a row."""

        async def are_there() -> bool:
            return {*self.answered} <= await rows_in(directory, url)

        await until(are_there)


@asynccontextmanager
async def asking(directory: Path, url: str = "") -> AsyncIterator[Asking]:
    async with (
        provider({}) as (_, origin),
        serving(directory, f"http://{origin.host}:{origin.port}", url) as running,
    ):
        yield Asking(running)


# Full disks


@contextmanager
def no_room(process: int) -> Iterator[None]:
    """Let a process write nothing more to any file: what it writes fails as on a disk that is full."""
    soft, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", ["0", pytest.param("half a record", marks=pytest.mark.whole)])
def test_requests_go_on_when_nothing_can_be_written_and_are_recorded_again_when_there_is_room(room: str) -> None:
    async def main() -> None:
        with data_directory() as directory:
            async with asking(directory) as gateway:
                await gateway.ask()
                assert all((await gateway.checks()).values())
                process = gateway._running.process.pid
                with no_room(process):
                    if room != "0":
                        [active] = (directory / "journal").glob("*.segment")
                        _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
                        resource.prlimit(process, resource.RLIMIT_FSIZE, (active.stat().st_size + 700, hard))
                    unkept = Asking(gateway._running)
                    await unkept.ask(20, **CACHED)
                    await gateway.until_logged("records are not kept")
                    assert not (await gateway.checks())["records"]
                await gateway.ask()
                assert all((await gateway.checks()).values())
                await gateway.until_kept(directory)
            lost = {*unkept.answered} - await rows_in(directory)
            assert len(lost) >= 18  # said in the log, and counted

    run(main(), 120)


@pytest.mark.whole
def test_a_disk_that_is_really_full_costs_records_and_no_request(tmp_path: Path) -> None:
    async def main() -> None:
        with data_directory() as fresh, small_disk(16) as directory:
            (directory / "trunkline.db").write_bytes((fresh / "trunkline.db").read_bytes())
            (directory / "models").symlink_to(fresh / "models")
            async with asking(directory) as gateway:
                await gateway.ask()
                filler = directory / "filler"
                fill(filler)
                unkept = Asking(gateway._running)
                for _ in range(100):
                    await unkept.ask(20)
                    if not (await gateway.checks())["records"]:
                        break
                await gateway.until_logged("records are not kept")
                filler.unlink()
                await gateway.ask()
                assert all((await gateway.checks()).values())
                await gateway.until_kept(directory)

    run(main(), 120)


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """A disk of its own; only root can make one."""
    with tempfile.TemporaryDirectory(prefix="trunkline-disk-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "trunkline", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def fill(path: Path) -> None:
    """Leave no room on a disk."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break
        os.fsync(file.fileno())


if os.geteuid() != 0:  # and is not skipped there, which would count as missing
    del test_a_disk_that_is_really_full_costs_records_and_no_request


# SQLite


@pytest.mark.whole
def test_a_database_file_that_is_taken_away_costs_no_record() -> None:
    async def main() -> None:
        with data_directory() as directory:
            database = directory / "trunkline.db"
            async with asking(directory) as gateway:
                await gateway.ask()
                await gateway.until_kept(directory)
                database.rename(directory / "elsewhere.db")
                await gateway.ask()
                await gateway.until_logged("was removed or replaced")
                assert await gateway.checks() == {"accepting": True, "database": False, "records": True}
                (directory / "elsewhere.db").rename(database)
                await gateway.ask()
                await gateway.until_kept(directory)
                assert all((await gateway.checks()).values())

    run(main(), 120)


@pytest.mark.whole
def test_a_database_file_that_is_damaged_costs_no_record_that_came_after_it() -> None:
    async def main() -> None:
        with data_directory() as directory:
            database = directory / "trunkline.db"
            whole = database.read_bytes()
            async with asking(directory) as gateway:
                await gateway.ask()
                before = [*gateway.answered]
                await gateway.until_kept(directory)
                for suffix in ("-wal", "-shm"):
                    damaged = database.with_name(database.name + suffix)
                    damaged.write_bytes(b"\xa5" * damaged.stat().st_size)
                with database.open("r+b") as file:
                    file.write(b"\xa5" * len(whole))
                await gateway.ask()
                await gateway.until_logged("the database takes no records")
                assert not (await gateway.checks())["database"]
            for suffix in ("", "-wal", "-shm"):
                database.with_name(database.name + suffix).unlink(missing_ok=True)
            database.write_bytes(whole)  # as from a backup
            async with asking(directory) as again:
                again.answered = [one for one in gateway.answered if one not in before]
                await again.ask()
                await again.until_kept(directory)

    run(main(), 120)


# PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres_server() as running:
        yield running


@pytest.mark.whole
def test_a_server_that_ends_every_connection_costs_no_record(server: Postgres) -> None:
    """As one does that fails over."""
    url = server.fresh()

    async def main() -> None:
        with data_directory(has_database=False) as directory:
            async with asking(directory, url) as gateway:
                for _ in range(5):
                    await gateway.ask(5)
                    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trunkline'"
                    await asyncio.to_thread(server.execute, end)
                await gateway.ask(5)
                await gateway.until_kept(directory, url)
                assert all((await gateway.checks()).values())

    run(main(), 120)


@pytest.mark.whole
def test_a_server_that_takes_no_writes_costs_no_record(server: Postgres) -> None:
    """As a replica, or a primary whose disk is nearly full."""
    url = server.fresh()
    name = url.rpartition("/")[2]

    async def main() -> None:
        with data_directory(has_database=False) as directory:
            async with asking(directory, url) as gateway:
                await gateway.ask(5)
                await gateway.until_kept(directory, url)

                async def make(state: str) -> None:
                    change = f"ALTER DATABASE {name} SET default_transaction_read_only = {state}"
                    await asyncio.to_thread(server.execute, change)
                    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
                    await asyncio.to_thread(server.execute, end)

                await make("on")
                await gateway.ask(5)
                await gateway.until_logged("the database takes no records")
                assert (await gateway.checks())["database"]  # it can be read
                await make("off")
                await gateway.ask(5)
                await gateway.until_kept(directory, url)

    run(main(), 120)


@pytest.mark.whole
def test_a_server_that_is_slow_or_silent_holds_up_no_request(server: Postgres) -> None:
    url = server.fresh()

    async def main() -> None:
        async with wire(server.port) as between:
            through = url.replace(f":{server.port}/", f":{between.port}/")
            with data_directory(has_database=False) as directory:
                async with asking(directory, through) as gateway:
                    await gateway.ask(5)
                    between.delay = 0.1
                    await gateway.ask(20)
                    between.holds = True
                    await gateway.ask(20)
                    assert not (await gateway.checks())["database"]
                    between.holds, between.delay = False, 0.0
                    between.cut()
                    await gateway.ask(5)
                    await gateway.until_kept(directory, url)
                    assert all((await gateway.checks()).values())

    run(main(), 120)
