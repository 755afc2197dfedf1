"""One SQLite database in the data directory: opened, brought up to date, closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, event, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from trunkline.errors import SettingsError
from trunkline.store.schema import HEAD

FILE_NAME: Final = "trunkline.db"
_INSERTS: Final = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
# How long a writer waits for another process's: a command beside a running gateway.
_BUSY_MILLISECONDS: Final = 5000


class Database:
    """An open database. Every transaction takes the write lock at its start, so that none fails halfway."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, data_dir: Path) -> Database:
        """Open the database of a data directory; make it, or bring it up to date, where needed.

        Raises `SettingsError` when the file cannot be used or is newer than this program.
        """
        path = data_dir / FILE_NAME
        _make_private(path)
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
        database = cls(engine)
        try:
            await database._bring_up_to_date(path)
        except DBAPIError as error:
            await engine.dispose()
            raise SettingsError(f"The database {path} cannot be used: {error.orig}.") from error
        except BaseException:
            await engine.dispose()
            raise
        return database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back by an exception."""
        async with self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: it sees one state of the database, and keeps no writer waiting."""
        async with self._engine.connect() as connection:
            await connection.execution_options(trunkline_reads=True)
            async with connection.begin():
                yield connection

    def insert(self, table: Table) -> Any:
        """Return an insert of the engine's own kind, which knows ``on_conflict_do_update`` and ``_do_nothing``."""
        return _INSERTS[self._engine.dialect.name](table)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _bring_up_to_date(self, path: Path) -> None:
        async with self.transaction() as connection:
            version = await connection.run_sync(_version)
            if version == HEAD:
                return
            await connection.run_sync(_migrate, path)


def _make_private(path: Path) -> None:
    """Make the file, for its owner alone, before anything is written into it: SQLite's own files follow its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(0o600)


def _version(connection: Any) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _migrate(connection: Any, path: Path) -> None:
    from alembic import command  # late: a third of a second, and seldom needed
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "trunkline:store/migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise SettingsError(
            f"The database {path} was made by a newer Trunkline; install that one, or give another data_dir."
        ) from error


def _prepare(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions begin when `_begin` says so, not when the driver guesses
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Any) -> None:
    reads = connection.get_execution_options().get("trunkline_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
