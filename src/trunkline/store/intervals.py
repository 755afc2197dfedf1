"""Which stretches of time a chart's points stand for, and from which steps of the sums each is put together.

Times are whole Unix seconds. Minutes and hours are those of UTC; days, weeks (from Monday) and months begin at midnight
where the reader is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final, Literal, get_args

import msgspec

Interval = Literal["minute", "5m", "hour", "day", "week", "month"]

INTERVALS: Final[tuple[Interval, ...]] = get_args(Interval)
# The shortest that an interval can be.
SECONDS: Final[dict[Interval, int]] = {
    "minute": 60,
    "5m": 300,
    "hour": 3600,
    "day": 86400,
    "week": 7 * 86400,
    "month": 28 * 86400,
}
_CLOCK: Final = ("minute", "5m", "hour")


class Span(msgspec.Struct, frozen=True):
    """The cells of one step that begin from ``since`` on and before ``until``, for the point of that number."""

    point: int
    step: int
    since: int
    until: int


def fitting(since: float, until: float) -> Interval:
    """Return the interval that shows a time best: in about 30 to 180 points."""
    length = until - since
    for interval, longest in (("minute", 3 * 3600), ("5m", 12 * 3600), ("hour", 8 * 86400), ("day", 180 * 86400)):
        if length <= longest:
            return interval  # type: ignore[return-value]
    return "week" if length <= 2 * 366 * 86400 else "month"


def boundaries(since: float, until: float, interval: Interval, zone: tzinfo) -> Iterator[int]:
    """Yield where the intervals begin that hold a time, and at last where the last one ends."""
    if interval in _CLOCK:
        length = SECONDS[interval]
        start = int(since // length) * length
        while start < until:
            yield start
            start += length
        yield start
        return
    # Whole seconds: a fraction just below a day is rounded up to its beginning.
    day = _first_day(datetime.fromtimestamp(since // 1, UTC).astimezone(zone).date(), interval)
    while (start := _midnight(day, zone)) < until:
        yield start
        day = _next(day, interval)
    yield start


def spans(edges: Sequence[int], steps: Sequence[int]) -> list[Span]:
    """Return what to add up for each point, the time from one edge to the next.

    ``steps`` are those in which sums are kept, the longest first; every edge lies on the beginning of one of them, of
    which shorter ones are then kept as well.
    """
    found: list[Span] = []
    for point, (since, until) in enumerate(pairwise(edges)):
        found += (Span(point, *piece) for piece in _pieces(since, until, steps))
    return found


def aligned(edges: Sequence[int], finest: Callable[[float], int]) -> list[int]:
    """Move each edge to the nearest one of cells; ``finest`` tells the shortest step that is kept of a time."""
    return [(edge + finest(edge) // 2) // finest(edge) * finest(edge) for edge in edges]


def _pieces(since: int, until: int, steps: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    if since >= until:
        return
    step, *finer = steps
    first, last = since + -since % step, until - until % step
    if first < last:
        yield from _pieces(since, first, finer)
        yield step, first, last
        yield from _pieces(last, until, finer)
    else:
        yield from _pieces(since, until, finer)


def _first_day(day: date, interval: Interval) -> date:
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def _next(day: date, interval: Interval) -> date:
    if interval == "month":
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=7 if interval == "week" else 1)


def _midnight(day: date, zone: tzinfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
