"""Reads the sums of `trunkline.store.rollups`: of one cube, at the points of a chart, by group.

What a query costs is how many cells it looks at. Those of few series are looked up one by one; of many series, all
cells of a time are read in the order in which they are stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Select,
    Table,
    and_,
    any_,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
    text,
    union_all,
)

from trunkline.store.async_engine import AsyncConnection
from trunkline.store.intervals import Span
from trunkline.store.rollups import OTHERS, Cube
from trunkline.store.schema.analytics import BLOCK, rollup_latencies, rollup_series, rollup_sums

# By group, timing and block, and then by number of the point: the counts of a block of a histogram. Sums have timing 0
# and block 0, and come in the order in which they were asked for. Tuples, as the garbage collector soon forgets them.
Lines = dict[tuple[Any, int, int], dict[int, tuple[Any, ...]]]
Reading = Callable[[], Lines]

# Looking up so many cells is quicker than to read all of a time, on either engine.
_LOOKED_UP: Final = 400_000
# What one statement may name, well below what either engine takes.
_NAMED: Final = 10_000


@dataclass(frozen=True)
class View:
    """Series of a cube, those for which all of ``where`` is true, told apart by ``group`` if there is one."""

    cube: Cube
    where: tuple[ColumnElement[bool], ...] = ()
    group: ColumnElement[str] | None = None

    def only(self, groups: Sequence[str]) -> View:
        """Return the series of these groups."""
        assert self.group is not None
        return replace(self, where=(*self.where, self.group.in_(groups)))


async def greatest(
    connection: AsyncConnection, view: View, pieces: Sequence[Span], names: Sequence[str], count: int
) -> list[str]:
    """Return the groups that have most of some sums together, at most ``count`` of them, without that of `OTHERS`."""
    assert view.group is not None
    table = rollup_sums
    parts = []
    for step in _steps(pieces):
        asked = select(view.group.label("told_apart"), reduce(add, (table.c[name] for name in names)).label("counted"))
        here = [piece for piece in pieces if piece.step == step]
        parts.append(await _narrowed(connection, asked, view, table, here))
    cells = union_all(*parts).subquery()
    ranked = (
        select(cells.c.told_apart)
        .where(cells.c.told_apart != OTHERS)
        .group_by(cells.c.told_apart)
        .order_by(func.sum(cells.c.counted).desc(), cells.c.told_apart)
        .limit(count)
    )
    return [*(await connection.scalars(ranked))]


async def read_cells(
    connection: AsyncConnection, view: View, pieces: Sequence[Span], names: Sequence[str], timings: Sequence[int]
) -> Reading:
    """Read the sums of some names, and histograms of some timings.

    What is returned puts together what was read: for a thread, while the database finds what is asked for next.
    """
    counts = [rollup_latencies.c[f"slot_{slot}"] for slot in range(BLOCK)]
    found = []
    for step in _steps(pieces):
        here = [piece for piece in pieces if piece.step == step]
        if names:
            summed = [rollup_sums.c[name] for name in names]
            found.append((0, *await _rows(connection, view, rollup_sums, here, summed, literal_column("0"))))
        for timing in timings:
            of = rollup_latencies.c.timing == timing
            block = rollup_latencies.c.block
            found.append((timing, *await _rows(connection, view, rollup_latencies, here, counts, block, of)))

    def put_together() -> Lines:
        lines: Lines = defaultdict(dict)
        for timing, points, rows in found:
            for row in rows:
                line, point, numbers = lines[row[1], timing, row[2]], points[row[0]], row[3:]
                line[point] = tuple(map(add, line[point], numbers)) if point in line else numbers
        return lines

    return put_together


async def _rows(
    connection: AsyncConnection,
    view: View,
    table: Table,
    here: Sequence[Span],
    summed: Sequence[Column[Any]],
    block: ColumnElement[Any],
    *where: ColumnElement[bool],
) -> tuple[Mapping[int, int], Sequence[Any]]:
    """Return rows of place, group, block and sums, and which point a place is of; for pieces of one step.

    A point may come several times.
    """
    place, points = _placing(connection, table, here)
    group = null() if view.group is None else view.group
    sums = (cast(func.sum(counted), _wide(counted)) for counted in summed)
    query = await _narrowed(connection, select(place, group, block, *sums).where(*where), view, table, here)
    keys = ["1", *(["2"] if view.group is not None else []), *(["3"] if table is rollup_latencies else [])]
    return points, (await connection.execute(query.group_by(text(", ".join(keys))))).all()


def _placing(
    connection: AsyncConnection, table: Table, here: Sequence[Span]
) -> tuple[ColumnElement[int], Mapping[int, int]]:
    """Return by what to group cells of some pieces of time, and which point that is of."""
    # SQLite would have to look for each cell's piece, and to sort: cells are stored in the order of their start.
    if connection.dialect.name == "sqlite" or all(piece.until - piece.since == piece.step for piece in here):
        return table.c.start, {start: piece.point for piece in here for start in _starts([piece])}
    sinces = [piece.since for piece in here]
    points = {number: piece.point for number, piece in enumerate(here, 1)}
    return func.width_bucket(table.c.start, literal(sinces, ARRAY(BigInteger))), points


async def _narrowed(
    connection: AsyncConnection, query: Select[Any], view: View, table: Table, here: Sequence[Span]
) -> Select[Any]:
    """Return a query for the cells of a view that are in pieces of one step."""
    query = query.where(table.c.cube == view.cube.number, table.c.step == here[0].step)
    starts = _starts(here)
    few: list[int] | None = None
    if view.where:
        most = min(_LOOKED_UP // len(starts), _NAMED)
        known = select(rollup_series.c.id).where(rollup_series.c.cube == view.cube.number, *view.where)
        found = [*(await connection.scalars(known.limit(most + 1)))]
        few = found if len(found) <= most else None
    if few is None:
        query = query.where(_within(connection, here, table), *view.where)
    else:
        query = query.where(_is_one(connection, table.c.start, starts), _is_one(connection, table.c.series, few))
    if view.group is None and (few is not None or not view.where):
        return query.select_from(table)
    if few is not None:  # said of both, or PostgreSQL would read all series
        query = query.where(_is_one(connection, rollup_series.c.id, few))
    return query.join_from(table, rollup_series, rollup_series.c.id == table.c.series)


def _steps(pieces: Iterable[Span]) -> list[int]:
    return sorted({piece.step for piece in pieces})


def _within(connection: AsyncConnection, here: Sequence[Span], table: Table) -> ColumnElement[bool]:
    """Say which starts cells have: of a range, or of several by name, as neither engine looks several ranges up."""
    if all(piece.until == following.since for piece, following in pairwise(here)):
        return and_(table.c.start >= here[0].since, table.c.start < here[-1].until)
    return _is_one(connection, table.c.start, _starts(here))


def _is_one(connection: AsyncConnection, column: Column[int], numbers: Sequence[int]) -> ColumnElement[bool]:
    """Say that a column is one of some numbers; on PostgreSQL without a parameter for each."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(numbers, ARRAY(BigInteger)))
    return column.in_(numbers)


def _starts(pieces: Iterable[Span]) -> list[int]:
    return [start for piece in pieces for start in range(piece.since, piece.until, piece.step)]


def _wide(counted: Column[Any]) -> Float[float] | BigInteger:
    """A sum's type: PostgreSQL makes decimals of it otherwise."""
    return Float() if isinstance(counted.type, Float) else BigInteger()
