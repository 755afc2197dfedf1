"""Sums of the log, made in the transaction that writes its rows: each exchange is in them exactly once.

There are several `CUBES`, for a cell of everything by everything would be as good as a row for each exchange. A cell
is kept for a minute, an hour and a day, the finer ones for a while. Deleting rows of the log changes no sum.

Callers choose the names of models and users and what stands in metadata, so the values of each are bounded by gateway
and day: once there are more than twice as many as `LIMITS` says, the least used ones become `OTHERS`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import add
from typing import Any, Final, TypeVar

import msgspec
import structlog
from sqlalchemy import ColumnElement, Table, and_, delete, distinct, func, select

from trunkline.errors import first_line
from trunkline.policy.histogram import slots_of
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.bulk import Insert, present
from trunkline.store.database import AWAY, Database
from trunkline.store.log_record import LogRecord
from trunkline.store.schema.analytics import BLOCK, rollup_latencies, rollup_series, rollup_sums

log = structlog.get_logger("trunkline.rollups")

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400

DURATION: Final = 1
FIRST_BYTE: Final = 2

# No name that a record brings is this: what cannot be printed is taken out of those.
OTHERS: Final = "\x1f"

SUMS: Final = (
    "requests",
    "errors",
    "cached",
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "tokens_audio",
    "cost",
    "unpriced",
    "sessions",
    "session_seconds",
)


class Cube(msgspec.Struct, frozen=True):
    """What is summed apart: by ``dimensions``, columns of the table of series, in ``steps`` of so many seconds.

    ``timed`` are those steps that have histograms too. ``kept`` says for how many seconds cells of a step are kept; a
    step that is not in it stays for ever. Steps come with the shortest first.
    """

    number: int
    dimensions: tuple[str, ...]
    steps: tuple[int, ...]
    timed: tuple[int, ...]
    kept: Mapping[int, int]

    def finest(self, at: float, now: float, *, timed: bool = False) -> int:
        """Return the shortest step that is still kept of a time; if ``timed``, with histograms."""
        steps = self.timed if timed else self.steps
        return next(step for step in steps if step not in self.kept or at >= now - self.kept[step])


_ALL: Final = (MINUTE, HOUR, DAY)
_LONG: Final = {MINUTE: 3 * DAY, HOUR: 400 * DAY}
_SHORT: Final = {HOUR: 100 * DAY}

# The narrowest first: the first one that knows all that a question is about answers it.
CUBES: Final = (
    Cube(1, ("gateway", "provider", "model", "status"), _ALL, _ALL, _LONG),
    Cube(2, ("gateway", "key_id", "provider", "model", "status"), _ALL, _ALL, _LONG),
    Cube(3, ("gateway", "user"), (HOUR, DAY), (DAY,), _SHORT),
    Cube(4, ("gateway", "name", "value"), (HOUR, DAY), (DAY,), _SHORT),
    Cube(5, ("gateway", "user", "provider", "model"), (DAY,), (), {}),
    Cube(6, ("gateway", "name", "value", "provider", "model"), (DAY,), (), {}),
)
# Values of a column that are told apart, of each gateway and day; of metadata's values, of each name.
LIMITS: Final = {"provider": 100, "model": 500, "user": 5000, "name": 50, "value": 1000}

# Of each cube.
_BOUNDED: Final = {cube.number: [column for column in LIMITS if column in cube.dimensions] for cube in CUBES}

# So many rows are written, records counted or kinds of records put into cells, before the event loop gets its turn.
_ROWS: Final = 250
_RECORDS: Final = 100
_KINDS: Final = 20
_KEYS: Final = 1000
# Values are noted of so many days, those that came last.
_DAYS: Final = 3
# What one statement may list, well below what either engine takes.
_LISTED: Final = 10_000
# Cells are made and kept for so much longer than they are asked for: the hour before may be needed up to such a minute,
# the day before up to such an hour.
_GRACE: Final = DAY
# On PostgreSQL one writer adds at a time: two that add to the same cells in turns would wait for each other. Any number
# would do: it is "rollup" in ASCII.
_LOCK: Final = 0x726F6C6C7570

_DIMENSIONS: Final = ("gateway", "provider", "model", "status", "key_id", "user", "name", "value")
_COUNTS: Final = tuple(f"slot_{slot}" for slot in range(BLOCK))

_Kind = tuple[Any, ...]  # what tells apart the records that belong to different cells
_Cell = tuple[int, int, int, int]  # cube, step, start, series
_Block = tuple[int, int, int, int, int, int]  # cube, step, timing, start, series, block
_Item = TypeVar("_Item")


class Rollups:
    """Adds records to the sums. ``clock`` gives the time in Unix seconds, ``limits`` replaces `LIMITS`."""

    def __init__(self, clock: Callable[[], float] = time.time, limits: Mapping[str, int] = LIMITS) -> None:
        self._clock = clock
        self._limits = limits
        self._crowds: dict[int, dict[tuple[int, str], _Crowd]] = {}
        self._expiring: asyncio.Task[None] | None = None

    def start(self, database: Database) -> None:
        """Begin to remove, every hour, what `expire` does."""
        self._expiring = asyncio.create_task(self._keep_short(database))

    async def stop(self) -> None:
        """End that."""
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.wait([self._expiring])

    async def add(self, connection: AsyncConnection, records: Sequence[LogRecord]) -> None:
        """Add records in the transaction of ``connection``. Whoever calls sees to it that none comes twice."""
        if not records:
            return
        batch = _Batch(self._clock() - _GRACE)
        for share in _shares(records, _RECORDS):
            batch.count(share)
            await asyncio.sleep(0)
        await batch.spread()
        await batch.widen()
        if connection.dialect.name == "postgresql":
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        await self._note_values(batch)
        await _write(connection, batch)
        for day, crowds in sorted(self._crowds.items()):
            for cube in CUBES:
                for column in _BOUNDED[cube.number]:
                    crowd = crowds[cube.number, column]
                    if len(crowd.seen) > crowd.enough:
                        await self._bound(connection, cube, day, column, crowd)

    async def expire(self, database: Database) -> int:
        """Remove cells that are finer than they need be by now; return how many that were."""
        removed = 0
        for cube in CUBES:
            for step, kept in cube.kept.items():
                before = int(self._clock() - kept - _GRACE)
                while share := await _remove_oldest(database, cube, step, before):
                    removed += share
        return removed

    async def _keep_short(self, database: Database) -> None:
        pause = MINUTE  # a gateway that has just started has other things to do
        while True:
            await asyncio.sleep(pause)
            pause = HOUR
            try:
                removed = await self.expire(database)
            except AWAY as error:
                log.warning("old sums cannot be removed", why=first_line(error))
            else:
                log.debug("old sums removed", cells=removed)

    async def _note_values(self, batch: _Batch) -> None:
        """Take note of the values that a batch brings for each day."""
        for share in _shares(batch.sums, _ROWS):
            for number, step, day, series in share:
                if step != DAY:
                    continue
                row, crowds = batch.series[series], self._crowds_of(day)
                for column in _BOUNDED[number]:
                    name = row["name"] if column == "value" else ""
                    crowds[number, column].seen.add(hash((row["gateway"], name, row[column])))
            await asyncio.sleep(0)

    def _crowds_of(self, day: int) -> dict[tuple[int, str], _Crowd]:
        crowds = self._crowds.get(day)
        if crowds is None:
            while len(self._crowds) >= _DAYS:
                del self._crowds[next(iter(self._crowds))]
            crowds = {(cube, column): _Crowd() for cube, columns in _BOUNDED.items() for column in columns}
            self._crowds[day] = crowds
        return crowds

    async def _bound(self, connection: AsyncConnection, cube: Cube, day: int, column: str, crowd: _Crowd) -> None:
        """Put the least used values of a day together where there are too many; say when to look again."""
        limit = self._limits.get(column, LIMITS[column])
        within = [rollup_series.c.gateway] + ([rollup_series.c.name] if column == "value" else [])
        counted = (
            select(*within, func.count(distinct(rollup_series.c[column])))
            .select_from(rollup_sums.join(rollup_series, rollup_series.c.id == rollup_sums.c.series))
            .where(_is_in(rollup_sums, cube, DAY, day))
            .group_by(*within)
        )
        most = 0
        for *group, count in (await connection.execute(counted)).all():
            if count > 2 * limit:
                here = and_(*(of == value for of, value in zip(within, group, strict=True)))
                await _put_together(connection, cube, day, column, here, limit)
                crowd.seen.clear()  # what comes again is another value
                count = limit + 2  # with the others, and with none
            most = max(most, count)
        crowd.enough = len(crowd.seen) + max(2 * limit - most, 0)


class _Crowd(msgspec.Struct):
    """Values of a column that came on a day, as hashes. Up to so many as are ``enough`` none need be put together.

    There may be more than are ``seen``: other processes write too, and so did earlier ones.
    """

    seen: set[int] = msgspec.field(default_factory=set)
    enough: int = 0


class _Counted(msgspec.Struct):
    """Records that belong to the same cells, one of them, their `SUMS`, and their times by timing and block."""

    one: LogRecord
    sums: list[float]
    blocks: dict[tuple[int, int], list[int]]

    def add(self, other: _Counted) -> None:
        """Add others of the kind."""
        self.sums = list(map(add, self.sums, other.sums))
        for block, counts in other.blocks.items():
            _add_up(self.blocks, block, counts)


class _Batch:
    """Cells of some records: counted in the finest step that is kept at a time, then widened to the others."""

    def __init__(self, now: float) -> None:
        self._now = now
        self.series: dict[int, dict[str, Any]] = {}
        self.sums: dict[_Cell, list[float]] = {}
        self.latencies: dict[_Block, list[int]] = {}
        self._kinds: dict[_Kind, _Counted] = {}
        self._ids: dict[tuple[Any, ...], int] = {}
        self._places: dict[int, dict[int, tuple[int, int, int, int]]] = {}

    def count(self, records: Iterable[LogRecord]) -> None:
        """Count records, those together that differ in nothing by which cells are told apart."""
        alike: dict[_Kind, list[LogRecord]] = {}
        for record in records:
            # Metadata as it is written: values may be equal and read differently, as 1 and true.
            kind = (
                *(record.created_at // MINUTE, record.gateway, record.provider, record.model, record.status),
                *(record.key_id, record.user, record.request_type, repr(record.metadata)),
            )
            alike.setdefault(kind, []).append(record)
        for kind, together in alike.items():
            counted = self._kinds.get(kind)
            if counted is None:
                self._kinds[kind] = _counted(together)
            else:
                counted.add(_counted(together))

    async def spread(self) -> None:
        """Put what was counted into cells."""
        for share in _shares(self._kinds.values(), _KINDS):
            for counted in share:
                self._spread(counted)
            await asyncio.sleep(0)
        self._kinds.clear()

    def _spread(self, counted: _Counted) -> None:
        places = self._places_of(int(counted.one.created_at // MINUTE))
        for key in _keys(counted.one):
            cube = key[0]
            series = self._id(key)
            step, start, timed_step, timed_start = places[cube]
            _add_up(self.sums, (cube, step, start, series), counted.sums)
            if timed_step:
                for (timing, number), counts in counted.blocks.items():
                    _add_up(self.latencies, (cube, timed_step, timing, timed_start, series, number), counts)

    def _places_of(self, minute: int) -> dict[int, tuple[int, int, int, int]]:
        places = self._places.get(minute)
        if places is None:
            places = self._places[minute] = {cube.number: self._place(cube, minute * MINUTE) for cube in CUBES}
        return places

    def _place(self, cube: Cube, at: int) -> tuple[int, int, int, int]:
        """Return step and start of the shortest cell for a time; and those of the one with histograms, else zeros."""
        step = cube.finest(at, self._now)
        if not cube.timed:
            return step, at - at % step, 0, 0
        timed = cube.finest(at, self._now, timed=True)
        return step, at - at % step, timed, at - at % timed

    async def widen(self) -> None:
        """Make the cells of longer steps from those of the next shorter ones."""
        for coarser, finer in ((HOUR, MINUTE), (DAY, HOUR)):
            for sums in _shares(list(self.sums.items()), _ROWS):
                for (cube, step, start, series), added in sums:
                    if step == finer:
                        _add_up(self.sums, (cube, coarser, start - start % coarser, series), added)
                await asyncio.sleep(0)
            for latencies in _shares(list(self.latencies.items()), _ROWS):
                for (cube, step, timing, start, series, block), counts in latencies:
                    if step == finer:
                        _add_up(self.latencies, (cube, coarser, timing, start - start % coarser, series, block), counts)
                await asyncio.sleep(0)

    def _id(self, key: tuple[Any, ...]) -> int:
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = self.know(dict(zip(("cube", *_DIMENSIONS), key, strict=True)))
        return found

    def know(self, series: Mapping[str, Any]) -> int:
        """Take note of a series, given without its id, and return that."""
        written = "\x1e".join(str(series[name]) for name in ("cube", *_DIMENSIONS))
        digest = hashlib.blake2b(written.encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "big", signed=True)
        self.series[number] = {"id": number, **series}
        return number


def _counted(records: Sequence[LogRecord]) -> _Counted:
    """Count records of one kind."""
    number = len(records)
    is_session = records[0].request_type == "realtime"
    sums = [
        number,
        number - sum([record.success for record in records]),
        sum([record.cached for record in records]),
        sum([record.tokens_in or 0 for record in records]),
        sum([record.tokens_out or 0 for record in records]),
        sum([record.tokens_cached or 0 for record in records]),
        sum([record.tokens_audio or 0 for record in records]),
        sum([record.cost or 0.0 for record in records]),
        sum([record.success and record.cost is None for record in records]),
        number if is_session else 0,
        sum([record.duration_ms for record in records]) / 1000 if is_session else 0.0,
    ]
    # How long people talked is no latency.
    timings = {
        DURATION: [] if is_session else [record.duration_ms for record in records],
        FIRST_BYTE: [record.first_byte_ms for record in records if record.first_byte_ms is not None],
    }
    blocks: dict[tuple[int, int], list[int]] = {}
    for timing, times in timings.items():
        for slot, count in slots_of(times).items():
            counts = blocks.setdefault((timing, slot // BLOCK), [0] * BLOCK)
            counts[slot % BLOCK] = count
    return _Counted(records[0], sums, blocks)


async def _write(connection: AsyncConnection, batch: _Batch) -> None:
    """Add a batch's cells to those that are kept; none is left in it."""
    known = await present(connection, rollup_series.c.id, [*batch.series])
    for share in _shares((row for series, row in batch.series.items() if series not in known), _ROWS):
        await _ADDING_SERIES.add(connection, [*zip(*(row.values() for row in share), strict=True)])
    async for rows in _in_order(batch.sums, apart=3):
        await _ADDING_SUMS.add(connection, [*zip(*rows, strict=True)])
    async for rows in _in_order(batch.latencies, apart=4):
        await _ADDING_LATENCIES.add(connection, [*zip(*rows, strict=True)])


async def _in_order(cells: dict[Any, list[Any]], apart: int) -> AsyncIterator[list[tuple[Any, ...]]]:
    """Yield rows in the order of their keys, in shares, and forget them: all at once would take long.

    Keys that differ in one of so many values, their first, are sorted ``apart``.
    """
    groups: dict[tuple[int, ...], list[Any]] = {}
    for keys in _shares(cells, _KEYS):
        for key in keys:
            groups.setdefault(key[:apart], []).append(key)
        await asyncio.sleep(0)
    for group in sorted(groups):
        for keys in _shares(sorted(groups.pop(group)), _ROWS):
            yield [(*key, *cells.pop(key)) for key in keys]


async def _remove_oldest(database: Database, cube: Cube, step: int, before: int) -> int:
    """Remove the oldest cells of a step, some hours of them, so that no other writer has to wait for long."""
    sums, latencies = rollup_sums.c, rollup_latencies.c
    of_sums = and_(sums.cube == cube.number, sums.step == step, sums.start < before)
    async with database.transaction() as connection:
        oldest = await connection.scalar(select(func.min(sums.start)).where(of_sums))
        if oldest is None:
            return 0
        until = oldest + 6 * HOUR
        of_latencies = and_(
            latencies.cube == cube.number,
            latencies.step == step,
            latencies.timing.in_([DURATION, FIRST_BYTE]),
            latencies.start < min(before, until),
        )
        await connection.execute(delete(rollup_latencies).where(of_latencies))
        return (await connection.execute(delete(rollup_sums).where(of_sums, sums.start < until))).rowcount


async def _put_together(
    connection: AsyncConnection, cube: Cube, day: int, column: str, here: ColumnElement[bool], limit: int
) -> None:
    """Make one of a column's values of a day, but for the most used ones."""
    values = rollup_series.c[column]
    by_use = (
        select(values)
        .select_from(rollup_sums.join(rollup_series, rollup_series.c.id == rollup_sums.c.series))
        .where(_is_in(rollup_sums, cube, DAY, day), here, values.not_in([OTHERS, ""]))
        .group_by(values)
        .order_by(func.sum(rollup_sums.c.requests).desc(), values)
        .limit(limit)
    )
    kept = [*(await connection.scalars(by_use)), OTHERS, ""]
    rare = and_(rollup_series.c.cube == cube.number, here, values.not_in(kept))
    found = {row["id"]: dict(row) for row in (await connection.execute(select(rollup_series).where(rare))).mappings()}
    batch = _Batch(0.0)
    instead: dict[int, int] = {}
    for series, dimensions in found.items():
        changed = {"name": OTHERS, "value": OTHERS} if column == "name" else {column: OTHERS}
        instead[series] = batch.know({name: {**dimensions, **changed}[name] for name in ("cube", *_DIMENSIONS)})
    touched: set[int] = set()
    rare_ids = select(rollup_series.c.id).where(rare)
    for table in (rollup_sums, rollup_latencies):
        moved = and_(
            table.c.cube == cube.number,
            table.c.step.in_(cube.steps),
            table.c.start >= day,
            table.c.start < day + DAY,
            table.c.series.in_(rare_ids),
        )
        for row in (await connection.execute(select(table).where(moved))).mappings():
            touched.add(row["series"])
            other = instead[row["series"]]
            if table is rollup_sums:
                cell = (row["cube"], row["step"], row["start"], other)
                _add_up(batch.sums, cell, [row[name] for name in SUMS])
            else:
                block = (row["cube"], row["step"], row["timing"], row["start"], other, row["block"])
                _add_up(batch.latencies, block, [row[name] for name in _COUNTS])
        await connection.execute(delete(table).where(moved))
    await _write(connection, batch)
    await _forget(connection, cube, touched)


async def _forget(connection: AsyncConnection, cube: Cube, series: Iterable[int]) -> None:
    """Remove those series that have no cell left."""
    table = rollup_sums
    for ids in _shares(series, _LISTED):
        used = select(table.c.series).where(table.c.cube == cube.number, table.c.step == DAY, table.c.series.in_(ids))
        left = set(await connection.scalars(used.distinct()))
        unused = [one for one in ids if one not in left]
        await connection.execute(delete(rollup_series).where(rollup_series.c.id.in_(unused)))


_ADDING_SERIES: Final = Insert(rollup_series, ("id", "cube", *_DIMENSIONS))
_ADDING_SUMS: Final = Insert(rollup_sums, ("cube", "step", "start", "series", *SUMS), summed=SUMS)
_ADDING_LATENCIES: Final = Insert(
    rollup_latencies, ("cube", "step", "timing", "start", "series", "block", *_COUNTS), summed=_COUNTS
)


def _keys(record: LogRecord) -> list[tuple[Any, ...]]:
    """Return the series that a record belongs to: each a cube and `_DIMENSIONS`."""
    gateway, provider, model = record.gateway, _cleaned(record.provider, 64), _cleaned(record.model, 200)
    user, status = _cleaned(record.user, 200), record.status
    keys: list[tuple[Any, ...]] = [
        (1, gateway, provider, model, status, "", "", "", ""),
        (2, gateway, provider, model, status, record.key_id, "", "", ""),
        (3, gateway, "", "", 0, "", user, "", ""),
        (5, gateway, provider, model, 0, "", user, "", ""),
    ]
    for name, value in record.metadata.items():
        pair = (_cleaned(name, 100), _cleaned(_as_text(value), 200))
        keys.append((4, gateway, "", "", 0, "", "", *pair))
        keys.append((6, gateway, provider, model, 0, "", "", *pair))
    return keys


def _is_in(table: Table, cube: Cube, step: int, start: int) -> ColumnElement[bool]:
    return and_(table.c.cube == cube.number, table.c.step == step, table.c.start == start)


def _add_up(cells: dict[Any, list[Any]], key: Any, added: Sequence[float]) -> None:
    found = cells.get(key)
    cells[key] = list(added) if found is None else list(map(add, found, added))


def _shares(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    rest = iter(items)
    while share := list(islice(rest, size)):
        yield share


def _as_text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cleaned(text: str, length: int) -> str:
    text = text[:length]
    return text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)
