"""A database by its URL: found, refused, shared, away and back, and brought up to date from what was released."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import delete, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.databases import PASSWORD, Postgres, postgres_server
from tests.running import run
from trunkline.errors import SettingsError
from trunkline.policy.logging import LoggingRules
from trunkline.policy.registry import GatewayRules
from trunkline.store import AWAY, Configuration, Database, Vault, schema
from trunkline.store.location import PostgresServer, SqliteFile, locate

RELEASED = Path(__file__).parent / "schemas"


def has_other_default(
    context: object, found_column: object, column: object, found: str | None, default: object, rendered: str | None
) -> bool:
    """Whether two defaults differ as text; PostgreSQL shows one with its type, SQLite in brackets."""
    shown = [None if words is None else words.partition("::")[0].strip("()'\"") for words in (found, rendered)]
    return shown[0] != shown[1]


async def differences(database: Database) -> list[Any]:
    """What the program's tables and those of a database do not share, with types, indexes and defaults."""

    def compared(connection: Any) -> list[Any]:
        # What the migration alone makes, in another way for each engine.
        options = {
            "compare_type": True,
            "compare_server_default": has_other_default,
            "include_object": lambda found, name, *rest: (
                not str(name).startswith((schema.conversations.SEARCH_INDEX, *schema.analytics.PARTITIONS))
            ),
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata))

    async with database.reading() as connection:
        return await connection.run_sync(compared)


# Where it is


def test_without_a_url_it_is_a_file_in_the_data_directory() -> None:
    assert locate(Path("/data"), "") == SqliteFile(Path("/data/trunkline.db"))
    assert locate(Path("/data"), "sqlite:////srv/one.db") == SqliteFile(Path("/srv/one.db"))
    assert locate(Path("/data"), "sqlite:///one.db") == SqliteFile(Path("one.db"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "POSTGRESQL"])
def test_a_server_is_named_without_its_password(scheme: str) -> None:
    found = locate(Path(), f"{scheme}://app:s3cret%2F@db.example:6432/gate?sslmode=require")
    assert isinstance(found, PostgresServer)
    assert found.dsn == "postgresql://app:s3cret%2F@db.example:6432/gate?sslmode=require"
    assert str(found) == "PostgreSQL at db.example:6432, database gate"
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://app:s3cret@h/d",
        "s3cret",
        "sqlite://s3cret",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///~nobody-s3cret/trunkline.db",
        "sqlite:///~%00s3cret",
        "sqlite:////s3cret\0",
        "postgresql://app:s3cret/more@h/d",
        "postgresql://app:s3cret?more@h/d",
        "postgresql://app:12?s3cret@h/d",
        "postgresql://app:12#s3cret@h/d",
        "postgresql://app:x@h:s3cret/d",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="database_url") as refused:
        locate(Path(), url)
    error: BaseException | None = refused.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__


# How it is opened


def test_a_password_that_is_wrong_is_told_and_not_shown(postgres: Postgres, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.url().replace(PASSWORD, "not-this-one-0123")
        with pytest.raises(SettingsError, match=r"127\.0\.0\.1.*password authentication failed") as refused:
            await Database.open(tmp_path, url)
        assert "not-this-one" not in str(refused.value)
        with pytest.raises(SettingsError, match="nowhere"):
            await Database.open(tmp_path, postgres.url("nowhere"))

    run(main())


def test_a_server_that_is_not_there_is_told_and_the_password_not_shown(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(SettingsError, match=r"127\.0\.0\.1:9, database gate cannot be used") as refused:
            await Database.open(tmp_path, f"postgresql://app:{PASSWORD}@127.0.0.1:9/gate")
        assert PASSWORD not in str(refused.value)

    run(main())


def test_a_database_of_a_newer_trunkline_is_left_alone(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        database = await Database.open(tmp_path, database_url)
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await database.close()
        with pytest.raises(SettingsError, match="newer Trunkline"):
            await Database.open(tmp_path, database_url)

    run(main())


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(SettingsError, match=r"pip install 'trunkline\[postgres\]'"):
        run(Database.open(tmp_path, "postgresql://app@127.0.0.1/gate"))


# How it behaves


def test_who_reads_sees_one_state_and_keeps_no_writer_waiting(tmp_path: Path, database_url: str) -> None:
    state = schema.vault_state

    async def main() -> None:
        database = await Database.open(tmp_path, database_url)
        async with database.reading() as reader:
            before = await reader.scalar(select(state.c.number))
            async with database.transaction() as writer:
                await writer.execute(update(state).values(number=state.c.number + 1))
            assert await reader.scalar(select(state.c.number)) == before
        async with database.reading() as reader:
            assert await reader.scalar(select(state.c.number)) == before + 1
        await database.close()

    run(main())


def test_a_transaction_that_fails_leaves_nothing_behind(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        database = await Database.open(tmp_path, database_url)
        twice = insert(schema.vault_state).values(id=1, number=5, key_check=b"planted-secret")

        async def fail() -> None:
            async with database.transaction() as connection:
                await connection.execute(update(schema.vault_state).values(number=99))
                await connection.execute(twice)

        with pytest.raises(DBAPIError) as refused:
            await fail()
        assert "planted-secret" not in str(refused.value)
        async with database.reading() as connection:
            assert await connection.scalar(select(schema.vault_state.c.number)) == 0
        await database.close()

    run(main())


def test_a_transaction_that_is_cancelled_at_any_moment_is_undone_and_holds_nothing_up(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.store.database._BUSY_MILLISECONDS", 200)
    many = text("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000) SELECT x FROM c")

    async def main() -> None:
        database = await Database.open(tmp_path, database_url)

        async def work() -> None:
            async with database.transaction() as connection:
                await connection.execute(update(schema.vault_state).values(number=99))
                await connection.execute(many)
                await asyncio.Event().wait()

        for moment in range(200):
            working = asyncio.create_task(work())
            await asyncio.sleep(moment * 0.00002)
            working.cancel()
            # Kept, as a task that failed may be: nothing that its traceback holds is freed.
            kept = await asyncio.gather(working, return_exceptions=True)
            assert isinstance(kept[0], asyncio.CancelledError)
            async with database.transaction() as connection:
                assert await connection.scalar(select(schema.vault_state.c.number)) == 0
        await database.close()

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that a test may stop."""
    with postgres_server() as server:
        yield server


def test_a_server_that_was_away_is_used_again_when_it_is_back(own_postgres: Postgres, tmp_path: Path) -> None:
    url = own_postgres.fresh()

    async def read(database: Database) -> Any:
        async with database.reading() as connection:
            return await connection.scalar(select(schema.vault_state.c.number))

    async def main() -> None:
        database = await Database.open(tmp_path, url)
        assert await asyncio.gather(*(read(database) for _ in range(4))) == [0] * 4
        await asyncio.to_thread(own_postgres.stop)
        with pytest.raises(AWAY) as away:
            await read(database)
        assert PASSWORD not in str(away.value)
        await asyncio.to_thread(own_postgres.start)
        assert await asyncio.gather(*(read(database) for _ in range(4))) == [0] * 4
        await database.close()

    run(main())


# What is in it


def test_the_migrations_make_the_tables_that_the_program_uses(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        database = await Database.open(tmp_path, database_url)
        found = await differences(database)
        await database.close()
        assert not found

    run(main())
    config = Config()
    config.set_main_option("script_location", "trunkline:store/migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


# What was released, as its own migrations made it: a file each, for both engines, with rows. 0.1.0 had up to 0002.
@pytest.fixture(params=[path.name for path in sorted(RELEASED.glob("*.sql"))])
def released_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    script = (RELEASED / request.param).read_text("utf-8")
    if request.param.endswith("-sqlite.sql"):
        with sqlite3.connect(tmp_path / "released.db") as connection:
            connection.executescript(script)
        connection.close()
        return f"sqlite:///{tmp_path / 'released.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    url = server.fresh("template0")
    server.execute(script, url.rpartition("/")[2])
    return url


async def rows_as_they_are(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that is there, read without the program: its tables are what is being tested."""
    driver = url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(driver)
    try:
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda inner: inspect(inner).get_table_names())
            read = {name: await connection.execute(text(f'SELECT * FROM "{name}"')) for name in names}
            return {name: [dict(row) for row in rows.mappings()] for name, rows in read.items()}
    finally:
        await engine.dispose()


def test_a_released_database_is_brought_up_to_date_with_every_row_intact(released_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        before = await rows_as_they_are(released_url)
        assert [name for name, rows in before.items() if not rows] == []
        await asyncio.gather(*(opened_and_closed() for _ in range(3)))  # as processes that start together
        after = await rows_as_they_are(released_url)
        assert after.pop("alembic_version") == [{"version_num": schema.HEAD}]
        before.pop("alembic_version")
        for name, rows in before.items():
            shared = [{column: row[column] for column in rows[0]} for row in after[name]]
            assert sorted(map(repr, shared)) == sorted(map(repr, rows)), name
        database = await Database.open(tmp_path, released_url)
        assert not await differences(database)
        await database.close()

    async def opened_and_closed() -> None:
        await (await Database.open(tmp_path, released_url)).close()

    run(main())


def test_the_set_up_of_a_released_database_is_read(released_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        database = await Database.open(tmp_path, released_url)
        async with database.transaction() as connection:  # sealed with a key that nobody has
            await connection.execute(delete(schema.stored_keys))
        configuration = Configuration(database, Vault.at(tmp_path), GatewayRules("default", authenticated=False))
        await configuration.check()
        number, registry = await configuration.load()
        await database.close()
        assert number == 7
        assert registry.gateways["prod"].realtime.limits.idle == 60.0
        assert registry.gateways["prod"].logging == LoggingRules()
        assert [(key.name, key.limits.concurrent) for key in registry.keys.values()] == [("voice app", 2)]
        assert registry.vias["prod", "groq"].base_url == "https://gateway.example/v1/a/b"

    run(main())
