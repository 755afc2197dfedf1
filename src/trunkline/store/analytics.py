"""Charts: sums of the log over time, asked for by name.

Nothing here reads the log itself: answers come from the sums of `trunkline.store.rollups`.
"""

from __future__ import annotations

import asyncio
import operator
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, String, and_, cast, or_, text

from trunkline.errors import MalformedRequest
from trunkline.policy.histogram import SLOTS, percentile
from trunkline.store.cells import Lines, View, greatest, read_cells
from trunkline.store.database import Database
from trunkline.store.intervals import SECONDS, Interval, aligned, boundaries, spans
from trunkline.store.rollups import CUBES, DURATION, FIRST_BYTE, OTHERS, SUMS, Cube
from trunkline.store.schema.analytics import BLOCK, rollup_series

MAX_POINTS: Final = 1500
MAX_CELLS: Final = 20_000
MAX_GROUPS: Final = 100
# The year 3000: the calendar of a time zone ends somewhere beyond.
LAST_MOMENT: Final = 32_503_680_000.0
METADATA: Final = "metadata:"

# What can be told apart, and the column of the table of series that has it.
DIMENSIONS: Final = {
    "gateway": "gateway",
    "provider": "provider",
    "model": "model",
    "key": "key_id",
    "user": "user",
    "status": "status",
}
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], ColumnElement[bool]]]] = {
    "": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_STATUS: Final = re.compile(r"(?:!=|[<>]=?)?[0-9]{3}")
_PERCENTS: Final = (50, 90, 95, 99)
_TIMINGS: Final = {
    f"{name}_p{percent}": (timing, percent)
    for name, timing in (("duration", DURATION), ("first_byte", FIRST_BYTE))
    for percent in _PERCENTS
}
# How many exchanges the percentiles of a timing are made of.
_TIMED: Final = {"durations": DURATION, "first_bytes": FIRST_BYTE}
# Measures that are one sum by another.
_RATES: Final = {"error_rate": ("errors", "requests"), "cache_rate": ("cached", "requests")}
_TOGETHER: Final = {"tokens": ("tokens_in", "tokens_out")}
_FROM_TIMINGS: Final = {**{name: timing for name, (timing, _) in _TIMINGS.items()}, **_TIMED}
MEASURES: Final = (*SUMS, *_TOGETHER, *_RATES, *_FROM_TIMINGS)

# On PostgreSQL: to compile such a query costs more than it saves, the cells of one are near each other and mostly in
# memory, and there are many more than it expects: to sort them takes far longer than to hash them.
_READING_CELLS: Final = text(
    "SELECT set_config('jit', 'off', true), set_config('random_page_cost', '1.1', true),"
    " set_config('work_mem', '32MB', true), set_config('enable_sort', 'off', true)"
)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chart. ``value`` is what is told apart, null where nothing is, or for ``other``: all the rest.

    ``points`` has, for each measure, a number for each point, ``total`` one for all of them together; null where there
    is nothing to take a rate or a percentile of. Timings are milliseconds, costs US dollars, rates from 0 to 1.
    """

    value: str | None
    other: bool
    points: dict[str, list[float | None]]
    total: dict[str, float | None]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: lines whose points begin at ``starts``, in Unix seconds, the last of which ends at ``until``.

    ``rounded``: a point begins at the nearest hour or day (UTC) to where it should, as finer sums are not kept.
    Of groups, the one with most comes first; of all those that are left out, ``other`` is the last.
    """

    starts: list[int]
    until: int
    rounded: bool
    groups: list[Group]


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Measures of a time as a whole, in Unix seconds."""

    since: int
    until: int
    total: dict[str, float | None]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A time, and the equally long one before it."""

    now: Period
    before: Period
    rounded: bool


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a chart shows: ``measures`` of what came from ``since`` on and before ``until``, in Unix seconds.

    ``by`` is a name of `DIMENSIONS`, ``metadata:KEY``, or empty for one line; at most ``top`` lines, and one of all the
    rest. ``filters`` gives, by the same names, values of which one must be there.
    """

    since: float
    until: float
    measures: Sequence[str] = ("requests",)
    by: str = ""
    filters: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    top: int = 10


class Analytics:
    """Answers questions from one database. ``clock`` gives the time in Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def series(self, question: Question, interval: Interval, zone: tzinfo = UTC) -> Chart:
        """Return a chart whose points are whole intervals, from the one that holds ``since`` on.

        Raises `MalformedRequest` for what cannot be answered.
        """
        _check(question)
        points = (question.until - question.since) / SECONDS[interval]
        if points > MAX_POINTS or (question.by and points * question.top > MAX_CELLS):
            raise MalformedRequest(
                f"That is too much for a chart: at most {MAX_POINTS} points and {MAX_CELLS} of all groups together; ask"
                " for a longer interval, less time or a smaller `top`."
            )
        wanted = list(boundaries(question.since, question.until, interval, zone))
        cube = _cube_for(question)
        finest = self._finest(cube, question)
        edges = aligned(wanted, finest)
        if SECONDS[interval] < finest(question.since):
            raise MalformedRequest(_too_fine(interval, finest(question.since), finest(self._clock())))
        groups = await asyncio.to_thread(_groups, question, len(edges) - 1, *await self._read(cube, question, edges))
        return Chart(starts=edges[:-1], until=edges[-1], rounded=edges != wanted, groups=groups)

    async def summary(self, question: Question) -> Summary:
        """Return the measures of a time and of the one before it; ``by`` and ``top`` mean nothing here.

        Raises `MalformedRequest` for what cannot be answered.
        """
        question = _whole(question)
        _check(question)
        cube = _cube_for(question)
        since, until = int(question.since), -int(-question.until // 1)
        wanted = [since - (until - since), since, until]
        finest = self._finest(cube, question)
        edges = aligned(wanted, finest)
        if edges[-1] < until:  # all of the last cell, which may still be growing
            edges[-1] += finest(until)
        _, lines = await self._read(cube, question, edges)
        measures = _measures(question, lines, None, range(2))
        periods = [
            Period(
                since=edges[point],
                until=edges[point + 1],
                total={name: found[point] for name, found in measures.items()},
            )
            for point in (0, 1)
        ]
        return Summary(before=periods[0], now=periods[1], rounded=edges[:-1] != wanted[:-1])

    def _finest(self, cube: Cube, question: Question) -> Callable[[float], int]:
        now, timed = self._clock(), _is_timed(question)
        return lambda at: cube.finest(at, now, timed=timed)

    async def _read(self, cube: Cube, question: Question, edges: Sequence[int]) -> tuple[list[Any], Lines]:
        """Return the groups, and what they have at each point."""
        steps = (cube.timed if _is_timed(question) else cube.steps)[::-1]
        pieces = spans(edges, steps)
        names = _summed(question)
        timings = sorted({_FROM_TIMINGS[name] for name in question.measures if name in _FROM_TIMINGS})
        async with self._database.reading() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(_READING_CELLS)

            async def read(view: View) -> asyncio.Task[Lines]:
                """Return what goes on in a thread, while the database finds what is read next."""
                put_together = await read_cells(connection, view, pieces, names, timings)
                return asyncio.create_task(asyncio.to_thread(put_together))

            view = _view(cube, question)
            if view.group is None:
                return [None], await (await read(view))
            whole = spans([edges[0], edges[-1]], steps)
            groups = await greatest(connection, view, whole, _ranking(question), question.top)
            told_apart = await read(view.only(groups))
            # All of it is soon read where groups are not told apart; what the others have is the rest.
            everything = await read(_view(_cube_for(question, is_whole=True), question, is_whole=True))
        return await asyncio.to_thread(_with_others, groups, await told_apart, await everything)


def _check(question: Question) -> None:
    if not question.since < question.until:
        raise MalformedRequest("The time asked for ends before it begins: give `since` before `until`.")
    unknown = [name for name in question.measures if name not in MEASURES]
    if unknown or not question.measures:
        raise MalformedRequest(f"There is no measure {', '.join(unknown) or 'named'}; there are {', '.join(MEASURES)}.")
    for name in filter(None, (question.by, *question.filters)):
        if name not in DIMENSIONS and not (name.startswith(METADATA) and name != METADATA):
            known = ", ".join(DIMENSIONS)
            raise MalformedRequest(f"There is no dimension {name[:64]!r}; there are {known} and {METADATA}KEY.")
    if not 1 <= question.top <= MAX_GROUPS:
        raise MalformedRequest(f"`top` is from 1 to {MAX_GROUPS}.")
    for status in question.filters.get("status", ()):
        if not _STATUS.fullmatch(status):
            raise MalformedRequest("A status is three digits, such as 200, or compared with them, such as >=400.")


def _cube_for(question: Question, *, is_whole: bool = False) -> Cube:
    """Return the narrowest cube that can answer; ``is_whole``: without telling groups apart."""
    named = [name for name in (question.by, *question.filters) if name]
    keys = {name for name in named if name.startswith(METADATA)}
    columns = {DIMENSIONS[name] for name in named if name not in keys and not (is_whole and name == question.by)}
    columns |= {DIMENSIONS[name] for name in question.filters if name not in keys} | ({"name"} if keys else set())
    fitting = [cube for cube in CUBES if columns <= set(cube.dimensions) and (cube.timed or not _is_timed(question))]
    if len(keys) > 1 or not fitting:
        raise MalformedRequest(
            f"Sums are not kept by {', '.join(dict.fromkeys(named))} together. A user, or one key of the metadata, goes"
            " with gateway, and but for timings with provider and model; a key or a status with those as well, but not"
            " with a user."
        )
    return fitting[0]


def _view(cube: Cube, question: Question, *, is_whole: bool = False) -> View:
    where = [_filter(name, wanted) for name, wanted in question.filters.items()]
    group: ColumnElement[str] | None = None
    if question.by.startswith(METADATA):
        where.append(rollup_series.c.name == question.by.removeprefix(METADATA))
        group = rollup_series.c.value
    elif question.by == "status":
        group = cast(rollup_series.c.status, String)
    elif question.by:
        group = rollup_series.c[DIMENSIONS[question.by]]
    return View(cube, tuple(where), None if is_whole else group)


def _is_timed(question: Question) -> bool:
    return any(name in _FROM_TIMINGS for name in question.measures)


def _too_fine(interval: Interval, finest: int, newest: int) -> str:
    length = "hour" if finest == SECONDS["hour"] else "day"
    of = "Such sums" if finest == newest else "Sums of so long ago"
    return f"{of} are kept by the {length}, not by {interval}; ask for the interval {length} or a longer one."


def _filter(name: str, wanted: Sequence[str]) -> ColumnElement[bool]:
    if name.startswith(METADATA):
        return and_(rollup_series.c.name == name.removeprefix(METADATA), rollup_series.c.value.in_(wanted))
    if name == "status":
        return or_(*map(_status, wanted))
    return rollup_series.c[DIMENSIONS[name]].in_(wanted)


def _status(wanted: str) -> ColumnElement[bool]:
    comparison, number = wanted[:-3], int(wanted[-3:])
    return _COMPARISONS[comparison](rollup_series.c.status, number)


def _summed(question: Question) -> list[str]:
    """Return the columns to sum."""
    parts = [_RATES.get(name, _TOGETHER.get(name, (name,))) for name in question.measures if name not in _FROM_TIMINGS]
    return list(dict.fromkeys(part for named in parts for part in named))


def _ranking(question: Question) -> Sequence[str]:
    """Return the columns by whose sum groups are ranked: that of the first measure, if it is a sum."""
    first = question.measures[0]
    return _TOGETHER.get(first, (first if first in SUMS else "requests",))


def _groups(question: Question, count: int, found: Sequence[Any], lines: Lines) -> list[Group]:
    totals = {at: {0: tuple(map(sum, zip(*line.values(), strict=True)))} for at, line in lines.items()}
    return [
        Group(
            value=None if group in (None, OTHERS) else group,
            other=group == OTHERS,
            points=_measures(question, lines, group, range(count)),
            total={name: total for name, [total] in _measures(question, totals, group, [0]).items()},
        )
        for group in found
    ]


def _measures(question: Question, lines: Lines, group: Any, points: Sequence[int]) -> dict[str, list[float | None]]:
    """Return the measures of a group at some points."""
    names = _summed(question)
    summed, nothing = lines.get((group, 0, 0), {}), (0,) * len(names)
    sums = dict(zip(names, zip(*(summed.get(point, nothing) for point in points), strict=True), strict=True))

    def measure(name: str) -> list[float | None]:
        if name in _TIMINGS:
            return _percentiles(lines, group, points, *_TIMINGS[name])
        return _counts(lines, group, points, _TIMED[name]) if name in _TIMED else _sums(name, sums)

    return {name: measure(name) for name in question.measures}


def _sums(name: str, sums: Mapping[str, Sequence[float]]) -> list[float | None]:
    if name in _RATES:
        parts, wholes = (sums[part] for part in _RATES[name])
        return [part / whole if whole else None for part, whole in zip(parts, wholes, strict=True)]
    return [sum(parts) for parts in zip(*(sums[part] for part in _TOGETHER.get(name, (name,))), strict=True)]


def _counts(lines: Lines, group: Any, points: Sequence[int], timing: int) -> list[float | None]:
    blocks = [lines.get((group, timing, block), {}) for block in range(SLOTS // BLOCK)]
    return [sum(sum(line[point]) for line in blocks if point in line) for point in points]


def _percentiles(lines: Lines, group: Any, points: Sequence[int], timing: int, percent: int) -> list[float | None]:
    blocks = {block * BLOCK: lines.get((group, timing, block), {}) for block in range(SLOTS // BLOCK)}
    return [
        percentile({first: line[point] for first, line in blocks.items() if point in line}, percent) for point in points
    ]


def _with_others(groups: list[str], told_apart: Lines, everything: Lines) -> tuple[list[Any], Lines]:
    """Add what is left of everything for all other groups, at those points at which they have anything."""
    others: Lines = defaultdict(dict)
    for (_, timing, block), line in everything.items():
        parts = [told_apart.get((group, timing, block), {}) for group in groups]
        for point, numbers in line.items():
            for part in parts:
                if point in part:
                    numbers = tuple(map(operator.sub, numbers, part[point]))
            if not timing or min(numbers) < 0:
                # Costs and seconds are fractions: what is left of nothing is not quite 0.
                numbers = tuple(max(round(number, 9), 0) for number in numbers)
            if any(numbers):
                others[OTHERS, timing, block][point] = numbers
    return [*groups, OTHERS] if others else [*groups], {**told_apart, **others}


def _whole(question: Question) -> Question:
    return Question(since=question.since, until=question.until, measures=question.measures, filters=question.filters)
