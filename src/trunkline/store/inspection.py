"""What a look at a database tells of its health, without a change to it."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

import msgspec
from sqlalchemy import Table, func, select, text
from sqlalchemy.exc import DatabaseError, OperationalError

from trunkline.store import schema
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.database import Database
from trunkline.store.schema import HEAD

# PostgreSQL's: those on which this user has not every right that is needed.
_CLOSED_TABLES: Final = """
SELECT tablename
FROM pg_tables, LATERAL (SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name) AS called
WHERE schemaname = current_schema() AND NOT (
  has_table_privilege(name, 'SELECT') AND has_table_privilege(name, 'INSERT')
  AND has_table_privilege(name, 'UPDATE') AND has_table_privilege(name, 'DELETE'))
"""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``server`` is the engine with its version. ``version`` is that of the tables, None where there are none yet.

    ``faults`` are what the engine says is wrong with its file, ``rights`` what this user may not do. ``clock`` is by
    how many seconds the server's clock is ahead of this machine's; None for a file.
    """

    server: str
    version: str | None
    faults: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()
    clock: float | None = None

    @property
    def is_current(self) -> bool:
        """Whether the tables are those of this program."""
        return self.version == HEAD

    @property
    def is_newer(self) -> bool:
        """Whether a newer program has changed the tables."""
        return self.version is not None and self.version > HEAD


class Contents(msgspec.Struct, frozen=True):
    """``is_sealed``: a master key was used with it. ``sealed`` values are kept under that, ``users`` have accounts."""

    is_sealed: bool
    sealed: int
    users: int


async def health_of(database: Database) -> Health:
    """Look at an open database. Raises `AWAY`."""
    version = await database.version()
    if database.dialect == "sqlite":
        return Health(server=f"SQLite {sqlite3.sqlite_version}", version=version, faults=await _damage(database))
    async with database.reading() as connection:
        return await _health_of_server(connection, version)


async def contents_of(database: Database) -> Contents:
    """Count what is in a database whose tables are this program's. Raises `AWAY`."""
    async with database.reading() as connection:
        check = (await connection.execute(select(schema.vault_state.c.key_check))).scalar_one()
        sealed = [await _count(connection, table) for table in (schema.stored_keys, schema.vias)]
        users = await _count(connection, schema.users.users)
    return Contents(check is not None, sum(sealed), users)


async def _count(connection: AsyncConnection, table: Table) -> int:
    found: int = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
    return found


async def _damage(database: Database) -> tuple[str, ...]:
    try:
        async with database.reading() as connection:
            said = tuple(str(row[0]) for row in await connection.execute(text("PRAGMA quick_check(5)")))
    except OperationalError:  # it is busy, or cannot be read
        raise
    except DatabaseError as error:  # damage of some kinds keeps the check itself from going on
        return (str(error.orig),)
    return () if said == ("ok",) else said


async def _health_of_server(connection: AsyncConnection, version: str | None) -> Health:
    before = time.time()
    at = float((await connection.execute(text("SELECT extract(epoch FROM clock_timestamp())"))).scalar_one())
    clock = at - (before + time.time()) / 2
    number = (await connection.execute(text("SHOW server_version"))).scalar_one()
    rights = []
    if (await connection.execute(text("SELECT pg_is_in_recovery()"))).scalar_one():
        rights.append("write: the server is a standby, or in recovery")
    may_create = text("SELECT current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE')")
    if not (await connection.execute(may_create)).scalar_one():
        rights.append("make tables in its schema")
    closed = {row[0] for row in await connection.execute(text(_CLOSED_TABLES))} & schema.metadata.tables.keys()
    if closed:
        rights.append(f"read and write the tables {', '.join(sorted(closed))}")
    return Health(server=f"PostgreSQL {number}", version=version, rights=tuple(rights), clock=clock)
