"""Rows on their way out of a database and into another, of either engine, while gateways use both.

An `Area` is what people name: logs, the set-up. Rows are read by their primary key in batches, and written so that one
that is there already stays as it is: a copy that broke off is simply made again.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby, islice
from operator import itemgetter
from types import ModuleType
from typing import Any, Final

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    and_,
    exists,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from trunkline.errors import SettingsError
from trunkline.store import schema
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.database import Database
from trunkline.store.log_record import LogRecord
from trunkline.store.rollups import Rollups
from trunkline.store.vault import Unsealable, Vault

BATCH: Final = 500
# Any number would do that nothing else locks: it is "import" in ASCII.
_LOCK: Final = 0x696D706F7274

# Rows that mean something only in their own database, or not for long.
STAYS: Final = frozenset({"vault_state", "client_secrets", "sign_ins", "login_tokens", "limit_counts"})

_SETUP: Final = (schema.gateways, schema.gateway_keys, schema.stored_keys, schema.vias)
# PostgreSQL knows no NUL, and half a surrogate pair is no character to either engine.
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_WHOLE_NUMBERS: Final = ((SmallInteger, 2**15), (BigInteger, 2**63), (Integer, 2**31))


def _tables_of(module: ModuleType) -> tuple[Table, ...]:
    found = [value.name for value in vars(module).values() if isinstance(value, Table)]
    ordered = schema.metadata.sorted_tables
    return tuple(table for table in ordered if table.name in found and table.name not in STAYS)


# Each table after those that it refers to.
AREAS: Final[Mapping[str, tuple[Table, ...]]] = {
    "setup": (*_SETUP, *_tables_of(schema.management)),
    "users": _tables_of(schema.users),
    "logs": (schema.logs, schema.log_payloads),
    "sessions": (schema.realtime_sessions,),
    "conversations": _tables_of(schema.conversations),
    "analytics": _tables_of(schema.analytics),
}
EVERYTHING: Final = "all"

# Tables that a time narrows: the column, in Unix seconds.
_TIMES: Final[Mapping[str, Column[Any]]] = {
    schema.logs.name: schema.logs.c.created_at,
    schema.realtime_sessions.name: schema.realtime_sessions.c.started_at,
}


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows: an area's name or ``all``, of one gateway, from ``since`` to before ``until`` in Unix seconds.

    ``sealed``: also provider keys, as they are sealed. The times narrow logs and sessions.
    """

    area: str = EVERYTHING
    gateway: str | None = None
    since: float | None = None
    until: float | None = None
    sealed: bool = False

    def tables(self) -> list[Table]:
        """Return the tables, each after those it refers to. Raises `SettingsError` for what narrows nothing."""
        names = list(AREAS) if self.area == EVERYTHING else [self.area]
        if unknown := [name for name in names if name not in AREAS]:
            raise SettingsError(f"--what: there is no {unknown[0]!r}; there are {', '.join(AREAS)} and {EVERYTHING}.")
        tables = [table for name in names for table in AREAS[name] if self._takes(table)]
        for option, value, narrows in (
            ("--since", self.since, _time_of),
            ("--until", self.until, _time_of),
            ("--gateway", self.gateway, _gateway_of),
        ):
            if value is not None and all(narrows(table) is None for table in tables):
                raise SettingsError(f"{option} narrows nothing of {self.area}; leave it out.")
        return tables

    def condition(self, table: Table) -> ColumnElement[bool]:
        """Return which rows of a table it takes."""
        if table is schema.log_payloads:
            owner = schema.logs
            return exists().where(owner.c.id == table.c.id, *self._conditions(owner))
        return and_(True, *self._conditions(table))

    def columns(self, table: Table) -> list[Column[Any]]:
        """Return the columns of a table that it takes: none that counts changes of the database it is in."""
        wanted = [column for column in table.columns if column is not schema.gateway_keys.c.changed]
        return [column for column in wanted if self.sealed or not is_sealed(column)]

    def _takes(self, table: Table) -> bool:
        if self.sealed:
            return True
        if any(is_sealed(column) and not column.nullable for column in table.columns):
            return False
        return all(self._takes(reference.column.table) for reference in table.foreign_keys)

    def _conditions(self, table: Table) -> Iterator[ColumnElement[bool]]:
        time, gateway = _time_of(table), _gateway_of(table)
        if time is not None and self.since is not None:
            yield time >= self.since
        if time is not None and self.until is not None:
            yield time < self.until
        if self.gateway is None:
            return
        if gateway is not None:
            yield gateway == self.gateway
            return
        for reference in table.foreign_keys:  # such as versions of a gateway's routes
            owners = list(self._conditions(reference.column.table))
            if owners:
                yield reference.parent.in_(select(reference.column).where(*owners))


def _time_of(table: Table) -> Column[Any] | None:
    return _TIMES.get(table.name)


def _gateway_of(table: Table) -> Column[Any] | None:
    if table is schema.gateways:
        return schema.gateways.c.id
    return table.columns.get("gateway")


def is_sealed(column: Column[Any]) -> bool:
    """Whether what a column holds was sealed with the master key."""
    return column.name.startswith("sealed")


# Out


class Export:
    """What a selection takes of a database, as it is at one moment: what is written meanwhile is not in it."""

    def __init__(self, connection: AsyncConnection, selection: Selection) -> None:
        self._connection = connection
        self._selection = selection
        self.tables = selection.tables()

    async def key_check(self) -> bytes | None:
        """Return what tells whether another vault opens what is sealed here."""
        found: bytes | None = await self._connection.scalar(select(schema.vault_state.c.key_check))
        return found

    async def count(self, table: Table) -> int:
        """Return how many rows of a table there are to copy."""
        wanted = select(func.count()).select_from(table).where(self._selection.condition(table))
        return (await self._connection.execute(wanted)).scalar_one()

    async def rows(self, table: Table) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the rows in batches, in the order of the primary key: column name -> value."""
        key, columns = list(table.primary_key.columns), self._selection.columns(table)
        names = [str(column.name) for column in columns]  # SQLAlchemy's own kind of text is none to an encoder
        wanted = select(*columns).where(self._selection.condition(table))
        wanted = wanted.order_by(*key).limit(BATCH)
        after: tuple[Any, ...] | None = None
        while True:
            asked = wanted if after is None else wanted.where(_follows(key, after))
            found = [dict(zip(names, row, strict=True)) for row in await self._connection.execute(asked)]
            if found:
                yield found
            if len(found) < BATCH:
                return
            after = tuple(found[-1][column.name] for column in key)


@asynccontextmanager
async def exporting(database: Database, selection: Selection) -> AsyncIterator[Export]:
    """Read a database for an export. Raises `SettingsError`."""
    async with database.reading() as connection:
        yield Export(connection, selection)


def _follows(key: Sequence[Column[Any]], after: tuple[Any, ...]) -> ColumnElement[bool]:
    following: ColumnElement[bool] = key[0] > after[0] if len(key) == 1 else tuple_(*key) > after
    return following


# In


class Row(msgspec.Struct, frozen=True):
    """A row to be written, and where it was read, for the person who has to mend it."""

    place: str
    values: Mapping[str, Any]


def batches(rows: Iterable[tuple[Table, Row]]) -> Iterator[tuple[Table, list[Row]]]:
    """Yield rows of one table together, at most `BATCH` of them, in their order."""
    for table, alike in groupby(rows, key=itemgetter(0)):
        while batch := [row for _, row in islice(alike, BATCH)]:
            yield table, batch


class Import:
    """Writes rows into a database.

    ``sums``: the charts' sums come with the rows of the log; where they do not, the log's rows are added to them here.
    """

    def __init__(self, database: Database, *, sums: bool) -> None:
        self._database = database
        self._rollups = None if sums else Rollups()

    async def add(self, table: Table, rows: Sequence[Row]) -> int:
        """Write the rows that are not there, all or none; return how many those were.

        Raises `SettingsError` naming the row and the field that cannot be.
        """
        values = [checked(table, row) for row in rows]
        try:
            async with self._database.transaction() as connection:
                added = await self._write(connection, table, values)
                if added:
                    await self._follow(connection, table, added)
        except IntegrityError as error:
            raise SettingsError(
                f"{rows[0].place} to {rows[-1].place}: {table.name} refers to a row that is not there, such as that of"
                " its gateway; import the set-up first."
            ) from error
        return len(added)

    async def _write(
        self, connection: AsyncConnection, table: Table, values: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Insert the rows that are not there; return those."""
        key = list(table.primary_key.columns)
        if self._database.dialect == "postgresql":  # two imports at once must not both add a row to the sums
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        wanted = {tuple(row[column.name] for column in key): row for row in values}
        known = {tuple(row) for row in await connection.execute(select(*key).where(_is_one_of(key, list(wanted))))}
        new = [row for identity, row in wanted.items() if identity not in known]
        written = self._database.insert(table).on_conflict_do_nothing()
        if not _has_other_keys(table):
            for alike in _alike(table, new):
                await connection.execute(written, alike)
            return new
        # A row may also be there under another key, such as a user of the same name: the database tells which went in.
        added: set[tuple[Any, ...]] = set()
        for alike in _alike(table, new):
            added.update(tuple(row) for row in await connection.execute(written.returning(*key), alike))
        return [wanted[identity] for identity in added]

    async def _follow(self, connection: AsyncConnection, table: Table, added: Sequence[dict[str, Any]]) -> None:
        """Do what else has to happen when rows came."""
        if table.name in _SETUP_NAMES:  # running gateways read the set-up again
            state = schema.vault_state
            await connection.execute(update(state).values(number=state.c.number + 1))
        if table is schema.logs and self._rollups is not None:
            await self._rollups.add(connection, [_record(row) for row in added])


_SETUP_NAMES: Final = frozenset(table.name for table in AREAS["setup"])
_RECORD_FIELDS: Final = frozenset(field.name for field in msgspec.structs.fields(LogRecord))


def _is_one_of(key: Sequence[Column[Any]], identities: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    if len(key) == 1:
        return key[0].in_([identity[0] for identity in identities])
    return tuple_(*key).in_(identities)


def _has_other_keys(table: Table) -> bool:
    """Whether two rows may collide in anything but their primary key."""
    return any(isinstance(rule, UniqueConstraint) for rule in table.constraints) or any(
        index.unique for index in table.indexes
    )


def require_same_master_key(key_check: bytes, vault: Vault) -> None:
    """Make sure that sealed values of another database open with this vault. Raises `SettingsError`."""
    try:
        vault.open(key_check, "check")
    except Unsealable as error:
        raise SettingsError(
            "The provider keys in this export were sealed with another master key. Give that one"
            " (TRUNKLINE_MASTER_KEY, or the file master.key), or export again without --with-sealed-keys."
        ) from error


def table_named(name: str, place: str) -> Table:
    """Return the table that rows are of. Raises `SettingsError`."""
    for tables in AREAS.values():
        for table in tables:
            if table.name == name:
                return table
    raise SettingsError(f"{place}: there is no table {name[:80]!r}; a newer Trunkline may have made this export.")


def checked(table: Table, row: Row) -> dict[str, Any]:
    """Return a row's values as the database takes them. Raises `SettingsError` naming place and field."""
    columns = table.columns
    if unknown := [name for name in row.values if name not in columns]:
        raise SettingsError(
            f"{row.place}: {table.name} has no field {unknown[0][:80]!r}; a newer Trunkline may have made this export."
        )
    values = {}
    for column in columns:
        if column.name not in row.values:
            if column.nullable or column.server_default is not None:
                continue
            raise SettingsError(f"{row.place}: the field {column.name} of {table.name} is missing.")
        try:
            values[column.name] = _value(column, row.values[column.name])
        except ValueError as error:
            raise SettingsError(f"{row.place}: the field {column.name} of {table.name} {error}.") from error
    return values


def _value(column: Column[Any], value: Any) -> Any:
    """Return a value as its column takes it. Raises `ValueError` with what completes "the field ..."."""
    kind = column.type
    if value is None:
        if column.nullable:
            return None
        raise ValueError("is null, and must not be")
    match kind:
        case Boolean():
            _require(isinstance(value, bool), "true or false", value)
        case Integer():
            limit = next(limit for one, limit in _WHOLE_NUMBERS if isinstance(kind, one))
            whole = isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
            _require(whole, "a whole number in range", value)
        case Float():
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            _require(number, "a number", value)
            return float(value)
        case LargeBinary():
            return value if isinstance(value, bytes) else _from_base64(value)
        case String():
            _require(isinstance(value, str) and not _UNSTORABLE.search(value), "text without NUL", value)
            if kind.length is not None and len(value) > kind.length:
                raise ValueError(f"has {len(value)} characters, and at most {kind.length} fit")
    return value


def _require(holds: bool, what: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"is not {what} but {repr(value)[:60]}")


def _from_base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ValueError("is not bytes in base64") from None


def _alike(table: Table, values: Iterable[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Return the rows by the columns they give, for one statement each.

    A JSON value that is null is not given: the column is null then, and would otherwise hold the word.
    """
    words = {column.name for column in table.columns if isinstance(column.type, JSON)}
    groups: dict[frozenset[str], list[dict[str, Any]]] = {}
    for row in values:
        given = {name: value for name, value in row.items() if value is not None or name not in words}
        groups.setdefault(frozenset(given), []).append(given)
    return groups.values()


def _record(row: Mapping[str, Any]) -> LogRecord:
    return LogRecord(**{name: value for name, value in row.items() if name in _RECORD_FIELDS})
