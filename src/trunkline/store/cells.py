"""Reads the sums of `trunkline.store.rollups`: of one cube, at the points of a chart, by group.

What a query costs is how many cells it looks at. Those of few series are looked up one by one; of many series, all
cells of a time are read in the order in which they are stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import pairwise
from operator import add, sub
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Row,
    Select,
    Table,
    and_,
    cast,
    func,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from trunkline.policy.histogram import SLOTS
from trunkline.store.intervals import Span
from trunkline.store.rollups import OTHERS, SUMS, Cube
from trunkline.store.schema.analytics import BLOCK, rollup_latencies, rollup_series, rollup_sums

# By number of the point and group: sums in the order of `SUMS`, histograms by group and timing.
Merged = dict[tuple[int, Any], list[Any]]
Reading = Callable[[], Merged]

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
        parts.append(await _narrowed(connection, asked, view, table, pieces, step))
    cells = union_all(*parts).subquery()
    ranked = (
        select(cells.c.told_apart)
        .where(cells.c.told_apart != OTHERS)
        .group_by(cells.c.told_apart)
        .order_by(func.sum(cells.c.counted).desc(), cells.c.told_apart)
        .limit(count)
    )
    return [*(await connection.scalars(ranked))]


async def read_sums(connection: AsyncConnection, view: View, pieces: Sequence[Span], names: Sequence[str]) -> Reading:
    """Read sums by point and group; those that are not named are 0.

    What is returned puts together what was read: for a thread, while the database finds what is asked for next.
    """
    found = await _rows(connection, view, rollup_sums, pieces, [rollup_sums.c[name] for name in names], [])

    def put_together() -> Merged:
        merged: Merged = {}
        for rows in found:
            _merge_sums(merged, names, rows())
        return merged

    return put_together


async def read_timings(
    connection: AsyncConnection, view: View, pieces: Sequence[Span], timings: Sequence[int]
) -> Reading:
    """Read histograms by point and (group, timing); return as `read_sums` does."""
    table = rollup_latencies
    counts = [table.c[f"slot_{slot}"] for slot in range(BLOCK)]
    found = [
        (timing, rows)
        for timing in timings
        for rows in await _rows(connection, view, table, pieces, counts, [table.c.block], table.c.timing == timing)
    ]

    def put_together() -> Merged:
        merged: Merged = {}
        for timing, rows in found:
            _merge_histograms(merged, timing, rows())
        return merged

    return put_together


def without(whole: Merged, parts: Merged) -> Merged:
    """Return what is left of sums without groups, or of histograms, when those of some groups are taken away."""
    taken: Merged = {}
    for (point, group), row in parts.items():
        at = (point, (None, group[1]) if isinstance(group, tuple) else None)
        found = taken.get(at)
        taken[at] = row if found is None else list(map(add, found, row))
    return {at: list(map(sub, row, taken[at])) if at in taken else row for at, row in whole.items()}


async def _rows(
    connection: AsyncConnection,
    view: View,
    table: Table,
    pieces: Sequence[Span],
    summed: Sequence[Column[Any]],
    apart: Sequence[Column[Any]],
    *where: ColumnElement[bool],
) -> list[Callable[[], Iterator[Sequence[Any]]]]:
    """Return what yields rows of point, group, what is told apart besides, and the sums.

    A point may come several times.
    """
    found: list[Callable[[], Iterator[Sequence[Any]]]] = []
    for step in _steps(pieces):
        here = [piece for piece in pieces if piece.step == step]
        place, place_of = _placing(connection, table, here)
        keys: list[ColumnElement[Any]] = [place, *([] if view.group is None else [view.group]), *apart]
        sums = (cast(func.sum(counted), _wide(counted)) for counted in summed)
        query = await _narrowed(connection, select(*keys, *sums).where(*where), view, table, here, step)
        query = query.group_by(text(", ".join(str(number + 1) for number in range(len(keys)))))
        group = () if view.group is not None else (None,)
        rows = (await connection.execute(query)).all()
        found.append(partial(_told_apart, rows, here, place_of, group))
    return found


def _told_apart(
    rows: Sequence[Row[Any]], here: Sequence[Span], place_of: Callable[[int], int], group: tuple[Any, ...]
) -> Iterator[Sequence[Any]]:
    return ((here[place_of(row[0])].point, *group, *row[1:]) for row in rows)


def _placing(
    connection: AsyncConnection, table: Table, here: Sequence[Span]
) -> tuple[ColumnElement[int], Callable[[int], int]]:
    """Return by what to group cells of some pieces of time, and what tells a piece's place from that."""
    sinces = [piece.since for piece in here]
    if connection.dialect.name == "postgresql":
        return func.width_bucket(table.c.start, literal(sinces, ARRAY(BigInteger))), lambda place: place - 1
    # SQLite would have to look for each cell's piece, and to sort: cells are stored in the order of their start.
    return table.c.start, lambda start: bisect_right(sinces, start) - 1


async def _narrowed(
    connection: AsyncConnection, query: Select[Any], view: View, table: Table, pieces: Sequence[Span], step: int
) -> Select[Any]:
    """Return a query for the cells of a view that are in pieces of one step."""
    query = query.where(table.c.cube == view.cube.number, table.c.step == step)
    starts = _starts(piece for piece in pieces if piece.step == step)
    few: list[int] | None = None
    if view.where:
        most = min(_LOOKED_UP // len(starts), _NAMED)
        known = select(rollup_series.c.id).where(rollup_series.c.cube == view.cube.number, *view.where)
        found = [*(await connection.scalars(known.limit(most + 1)))]
        few = found if len(found) <= most else None
    if few is None:
        query = query.where(_within(pieces, step, table), *view.where)
    else:
        query = query.where(table.c.start.in_(starts), table.c.series.in_(few))
    if view.group is None and (few is not None or not view.where):
        return query.select_from(table)
    return query.join_from(table, rollup_series, rollup_series.c.id == table.c.series)


def _steps(pieces: Iterable[Span]) -> list[int]:
    return sorted({piece.step for piece in pieces})


def _within(pieces: Iterable[Span], step: int, table: Table) -> ColumnElement[bool]:
    """Say which starts cells have: of a range, or of several by name, as neither engine looks several ranges up."""
    own = [piece for piece in pieces if piece.step == step]
    if all(piece.until == following.since for piece, following in pairwise(own)):
        return and_(table.c.start >= own[0].since, table.c.start < own[-1].until)
    return table.c.start.in_(_starts(own))


def _starts(pieces: Iterable[Span]) -> list[int]:
    return [start for piece in pieces for start in range(piece.since, piece.until, piece.step)]


def _wide(counted: Column[Any]) -> Float[float] | BigInteger:
    """A sum's type: PostgreSQL makes decimals of it otherwise."""
    return Float() if isinstance(counted.type, Float) else BigInteger()


def _merge_sums(merged: Merged, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    for point, group, *sums in rows:
        by_name = dict(zip(names, sums, strict=True))
        row = [by_name.get(name, 0) for name in SUMS]
        found = merged.get((point, group))
        merged[point, group] = row if found is None else list(map(add, found, row))


def _merge_histograms(merged: Merged, timing: int, rows: Iterable[Sequence[Any]]) -> None:
    for row in rows:
        at = row[0], (row[1], timing)
        slots = merged.get(at)
        if slots is None:
            slots = merged[at] = [0] * SLOTS
        first = row[2] * BLOCK
        before = slots[first : first + BLOCK]
        slots[first : first + BLOCK] = map(add, before, row[3:]) if any(before) else row[3:]
