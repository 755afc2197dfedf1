"""Many rows in few statements, handed to the driver as they are: SQLAlchemy would look at each value of each row.

Rows come by column, and their values are what the drivers take: for a column of JSON a text. Statements are made of the
names of tables and columns alone.
"""

# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain, compress, count
from typing import Any, Final

import aiosqlite
import msgspec
from sqlalchemy import JSON, Column, String, Table
from sqlalchemy import exc as sqlalchemy_errors

from trunkline.store.async_engine import AsyncConnection

Columns = Sequence[Sequence[Any]]

# A statement has so many rows: no other thread gets on while Python hands on its values, and a statement of SQLite's
# takes long to read, so there is one for whole hundreds.
_ROWS: Final = 100
# For so many statements a column that differed from row to row is taken to go on so.
_REMEMBERED: Final = 1000
_KEY: Final = frozenset((0,))


class Insert:
    """Adds rows of the columns ``names`` to a table.

    Where a row's primary key is there already, numbers of the columns ``summed`` are added to those that are there, or
    nothing is done if there are none.
    """

    def __init__(self, table: Table, names: Sequence[str], summed: Sequence[str] = ()) -> None:
        key = _listed(column.name for column in table.primary_key)
        sums = ", ".join(f'"{name}" = {table.name}."{name}" + excluded."{name}"' for name in summed)
        self._columns = [table.c[name] for name in names]
        self._into = f"INSERT INTO {table.name} ({_listed(names)})"
        self._conflict = f"ON CONFLICT ({key}) DO " + (f"UPDATE SET {sums}" if sums else "NOTHING")
        self._row = f"{self._into} VALUES ({_marks(len(names))}) {self._conflict}"
        self._differing: frozenset[int] = frozenset()
        self._rows = ""
        self._remembered = 0

    @cached_property
    def _arrays(self) -> str:
        return f"{self._into} {_from_arrays(self._columns, range(len(self._columns)))} {self._conflict}"

    async def add(self, connection: AsyncConnection, columns: Columns) -> None:
        """Add rows."""
        if connection.dialect.name == "sqlite":
            with _as_of_sqlalchemy():
                await _driver(connection).executemany(self._row, [*zip(*columns, strict=True)])
            return
        for part in _parts(columns):
            await connection.exec_driver_sql(self._arrays, tuple(part))

    async def add_new(self, connection: AsyncConnection, columns: Columns) -> set[Any]:
        """Add the rows that are not there yet, and return their keys: the first column, in which none comes twice.

        To be told a value is what takes a driver longest, and most columns have the same one in many rows: a statement
        is told that once.
        """
        if connection.dialect.name == "sqlite":
            # Nobody else can come between: a transaction that writes holds the one lock from its start.
            there = await present(connection, self._columns[0], columns[0])
            if there:
                is_new = [key not in there for key in columns[0]]
                columns = [[*compress(column, is_new)] for column in columns]
            for part in _parts(columns):
                if len(part[0]) < _ROWS:
                    await self.add(connection, part)
                else:
                    self._learn(part, _from_rows)
                    alike, own = self._divided(part)
                    with _as_of_sqlalchemy():
                        values = (*alike, *chain.from_iterable(zip(*own, strict=True)))
                        await _driver(connection).execute_fetchall(self._rows, values)
            return {*columns[0]}
        new: set[Any] = set()
        for part in _parts(columns):
            self._learn(part, _from_arrays)
            alike, own = self._divided(part)
            added = await connection.exec_driver_sql(
                f'{self._rows} RETURNING "{self._columns[0].name}"', (*alike, *own)
            )
            new.update(added.scalars())
        return new

    def _learn(self, part: Columns, query: Callable[[Sequence[Column[Any]], Collection[int]], str]) -> None:
        """See to it that there is a statement for rows that differ as these do: most often there is."""
        known = self._differing if self._remembered else _KEY
        self._remembered = (self._remembered or _REMEMBERED) - 1
        rows = len(part[0])
        differing = known.union(
            place for place, column in enumerate(part) if place not in known and column.count(column[0]) < rows
        )
        if differing != self._differing:
            self._differing = differing
            self._rows = f"{self._into} {query(self._columns, differing)} {self._conflict}"

    def _divided(self, part: Columns) -> tuple[list[Any], list[Sequence[Any]]]:
        """Return the values that are alike in all rows, and the columns of the others."""
        alike = [column[0] for place, column in enumerate(part) if place not in self._differing]
        return alike, [column for place, column in enumerate(part) if place in self._differing]


async def present(connection: AsyncConnection, column: Column[Any], values: Collection[Any]) -> set[Any]:
    """Return those values that a column has. They are texts or whole numbers."""
    asked = f'SELECT "{column.name}" FROM {column.table} WHERE "{column.name}"'
    if connection.dialect.name == "sqlite":
        written = msgspec.json.encode(values).decode()
        with _as_of_sqlalchemy():
            rows = await _driver(connection).execute_fetchall(
                f"{asked} IN (SELECT value FROM json_each(?))", (written,)
            )
        return {value for (value,) in rows}
    found = await connection.exec_driver_sql(f"{asked} = ANY ($1::{_kind(column)}[])", ([*values],))
    return {*found.scalars()}


def _driver(connection: AsyncConnection) -> aiosqlite.Connection:
    """Return SQLite's own connection: a statement is one visit to its thread, where SQLAlchemy pays three or four."""
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    assert isinstance(driver, aiosqlite.Connection)
    return driver


@contextmanager
def _as_of_sqlalchemy() -> Iterator[None]:
    """Raise what the driver raises as SQLAlchemy does."""
    try:
        yield
    except sqlite3.Error as error:
        raise getattr(sqlalchemy_errors, type(error).__name__)(None, None, error) from error


def _parts(columns: Columns) -> Iterator[list[Sequence[Any]]]:
    for start in range(0, len(columns[0]), _ROWS):
        yield [column[start : start + _ROWS] for column in columns]


def _from_rows(columns: Sequence[Column[Any]], differing: Collection[int]) -> str:
    """Return a query of SQLite's that takes what is alike in all rows, and then each row's own values."""
    alike, own = count(1), count(1)
    values = (f"column{next(own)}" if place in differing else f"?{next(alike)}" for place in range(len(columns)))
    rows = ", ".join([f"({_marks(len(differing))})"] * _ROWS)
    # Without a condition it could not tell the conflict's ON from that of a join.
    return f"SELECT {', '.join(values)} FROM (VALUES {rows}) WHERE true"


def _from_arrays(columns: Sequence[Column[Any]], differing: Collection[int]) -> str:
    """Return a query of PostgreSQL's that takes what is alike in all rows, and then an array for each other column."""
    alike = count(1)
    values = [
        (f'"{column.name}"' if place in differing else f"${next(alike)}::{_kind(column)}")
        + ("::json" if isinstance(column.type, JSON) else "")
        for place, column in enumerate(columns)
    ]
    own = [columns[place] for place in sorted(differing)]
    arrays = (f"${place}::{_kind(column)}[]" for place, column in enumerate(own, next(alike)))
    given = _listed(column.name for column in own)
    return f"SELECT {', '.join(values)} FROM unnest({', '.join(arrays)}) AS given ({given})"


def _kind(column: Column[Any]) -> str:
    if isinstance(column.type, String | JSON):
        return "text"
    from sqlalchemy.dialects import postgresql  # late: it takes a while, and most have no such server

    return str(column.type.compile(postgresql.dialect()))  # type: ignore[no-untyped-call]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _marks(count: int) -> str:
    return ", ".join("?" * count)
