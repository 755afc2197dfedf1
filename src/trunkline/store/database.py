"""One database, a file of SQLite's or one of a PostgreSQL server: opened, brought up to date, closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Table, event, inspect, text
from sqlalchemy import exc as sqlalchemy_errors
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from trunkline.errors import SettingsError
from trunkline.private import make_folder
from trunkline.store.async_engine import AsyncConnection, AsyncEngine, create_async_engine
from trunkline.store.location import Location, PostgresServer, SqliteFile, locate
from trunkline.store.schema import HEAD

# What reading or writing raises while the database is away, busy or full. To try again later may help.
AWAY: Final = (OSError, DBAPIError)

# How long a writer waits for another's: a command beside a running gateway.
_BUSY_MILLISECONDS: Final = 5000

# PostgreSQL. A process has one event loop, which never waits for more than a few statements at once.
_CONNECTIONS: Final = 8
_MORE_CONNECTIONS: Final = 8
_CONNECT_SECONDS: Final = 10
# For a server that is gone without a word; the server itself ends a statement earlier.
_SILENCE_SECONDS: Final = 90
_SERVER_SETTINGS: Final = {
    "application_name": "trunkline",
    "timezone": "UTC",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "120s",
}
# Two processes that start together must not both change the tables. Any number would do: it is "trunk" in ASCII.
_MIGRATION_LOCK: Final = 0x7472756E6B


class Database:
    """An open database.

    On SQLite a `transaction` holds the one write lock from its start, so that none fails halfway. On PostgreSQL many
    run at once, each statement sees what was committed before it (READ COMMITTED), and a row that is read in order to
    be changed has to be read ``with_for_update()``, which SQLite leaves out.
    """

    def __init__(self, engine: AsyncEngine, location: Location) -> None:
        self._engine = engine
        self._location = location
        self._file = _identity(location)

    @classmethod
    async def open(cls, data_dir: Path, url: str = "") -> Database:
        """Open the database of the setting ``database_url``, else of a data directory; make or update its tables.

        Raises `SettingsError` when it cannot be used, or is newer than this program.
        """
        location = locate(data_dir, url)
        if isinstance(location, SqliteFile):
            _make_private(location.path)
        database = cls(_engine(location), location)
        async with database._closed_on_failure():
            await database._bring_up_to_date()
        return database

    @classmethod
    async def look_at(cls, data_dir: Path, url: str = "") -> Database:
        """Open a database as it is, for whoever only looks: its tables may be older, newer or missing.

        Raises `SettingsError` as `open` does, and where there is no file.
        """
        location = locate(data_dir, url)
        if isinstance(location, SqliteFile) and not location.path.is_file():
            raise SettingsError(f"There is no database at {location}.")
        database = cls(_engine(location), location)
        async with database._closed_on_failure():
            await database.version()
        return database

    async def version(self) -> str | None:
        """Return the version of its tables, as `schema.HEAD` is one; None where there are none."""
        async with self.reading() as connection:
            return await connection.run_sync(_version)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @property
    def location(self) -> Location:
        """Where it is; its ``str()`` holds no secret."""
        return self._location

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back by an exception. Raises `AWAY`."""
        async with self._connected() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: it sees one state of the database, and keeps no writer waiting."""
        async with self._connected() as connection:
            await connection.execution_options(**_READS[self.dialect])
            async with connection.begin():
                yield connection

    def insert(self, table: Table) -> Any:
        """Return an insert of the engine's own kind, which knows ``on_conflict_do_update`` and ``_do_nothing``."""
        if self.dialect == "sqlite":
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql  # late: it takes a while, and most have no such server

        return postgresql.insert(table)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _closed_on_failure(self) -> AsyncIterator[None]:
        """Close what cannot be used. Raises `SettingsError` for why it cannot."""
        try:
            yield
        except (OSError, DBAPIError) as error:
            await self.close()
            why = error.orig if isinstance(error, DBAPIError) else error
            raise SettingsError(
                f"The database {self._location} cannot be used: {str(why).strip().rstrip('.') or type(why).__name__}."
            ) from error
        except BaseException:
            await self.close()
            raise

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        if self._file is not None and _identity(self._location) != self._file:
            # A connection would go on with what has no name any more, and all that is written would be gone with it.
            raise OSError(f"{self._location} was removed or replaced while it was in use; put it back, or restart")
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._engine.connect())
            except sqlalchemy_errors.TimeoutError as error:
                raise TimeoutError("every connection to the database is in use") from error
            yield connection

    async def _bring_up_to_date(self) -> None:
        if await self.version() == HEAD:
            return
        async with self.transaction() as connection:
            if self.dialect == "postgresql":
                # Another process may take long; the tables of a big database too.
                await connection.execute(text("SET LOCAL lock_timeout = 0"))
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            if await connection.run_sync(_version) != HEAD:
                await connection.run_sync(_migrate, self._location)


_READS: Final[dict[str, dict[str, Any]]] = {
    "sqlite": {"trunkline_reads": True},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}


def _engine(location: Location) -> AsyncEngine:
    return _sqlite_engine(location) if isinstance(location, SqliteFile) else _postgres_engine(location)


def _sqlite_engine(location: SqliteFile) -> AsyncEngine:
    address = URL.create("sqlite+aiosqlite", database=str(location.path))
    # Without values in errors: they may be anything that a caller sent, and errors are logged.
    engine = create_async_engine(address, hide_parameters=True)
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    event.listen(engine.sync_engine, "handle_error", _keep_after_cancelling)
    return engine


def _postgres_engine(location: PostgresServer) -> AsyncEngine:
    try:
        import asyncpg  # late: an extra, which a gateway with SQLite does without
    except ImportError as error:
        raise SettingsError(
            "database_url names a PostgreSQL server, for which a package is missing: pip install 'trunkline[postgres]'"
        ) from error

    async def connect(**arguments: Any) -> Any:
        try:
            return await asyncpg.connect(
                location.dsn,
                timeout=_CONNECT_SECONDS,
                command_timeout=_SILENCE_SECONDS,
                server_settings=_SERVER_SETTINGS,
                **arguments,
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            # As a server that does not answer: refused, starting up, too many connections.
            raise ConnectionError(str(error)) from error
        except TimeoutError as error:
            raise TimeoutError(f"no answer within {_CONNECT_SECONDS} s") from error

    return create_async_engine(
        "postgresql+asyncpg://",  # asyncpg reads the rest itself, with all that libpq's URLs can say, such as sslmode
        connect_args={"async_creator_fn": connect},
        hide_parameters=True,
        pool_size=_CONNECTIONS,
        max_overflow=_MORE_CONNECTIONS,
        pool_pre_ping=True,  # connections from before a restart of the server are replaced unnoticed
        pool_timeout=_CONNECT_SECONDS,
    )


def _identity(location: Location) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name, or None where there is none."""
    if not isinstance(location, SqliteFile):
        return None
    try:
        found = location.path.stat()
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _make_private(path: Path) -> None:
    """Make the file, for its owner alone, before anything is written into it: SQLite's own files follow its mode."""
    make_folder(path.parent)
    if not path.exists():
        path.touch(0o600)


def _version(connection: Any) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _migrate(connection: Any, location: Location) -> None:
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
            f"The database {location} was made by a newer Trunkline; install that one, or give another data_dir"
            " or database_url."
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


def _keep_after_cancelling(context: Any) -> None:
    """Have a connection whose statement was cancelled rolled back, and not thrown away.

    SQLite closes no connection while a statement of it is alive, so one that is thrown away keeps the write lock until
    Python's garbage is collected. Its thread takes one statement after the other: the rollback comes behind.
    """
    if isinstance(context.original_exception, asyncio.CancelledError):
        context.is_disconnect = False
