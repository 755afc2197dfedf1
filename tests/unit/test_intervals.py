"""Where the points of a chart begin and end, and what each is put together from."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.store.intervals import INTERVALS, SECONDS, Span, boundaries, fitting, spans

BERLIN = ZoneInfo("Europe/Berlin")
STEPS = (86400, 3600, 60)


def at(text: str, zone: Any = UTC) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


def test_months_begin_at_local_midnight_on_both_sides_of_a_change_of_clocks() -> None:
    edges = list(boundaries(at("2026-02-10T12:00"), at("2026-04-20T00:00"), "month", BERLIN))
    assert edges == [at(day, BERLIN) for day in ("2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01")]
    assert [until - since for since, until in pairwise(edges)] == [
        28 * 86400,
        31 * 86400 - 3600,
        30 * 86400,
    ]


def test_a_day_has_23_or_25_hours_when_the_clocks_change() -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-24", 24)):
        first, last = boundaries(at(f"{day}T05:00", BERLIN), at(f"{day}T06:00", BERLIN), "day", BERLIN)
        assert (first, last - first) == (at(day, BERLIN), hours * 3600)


def test_a_day_whose_midnight_is_skipped_begins_when_it_does() -> None:
    beirut = ZoneInfo("Asia/Beirut")  # clocks went from 0:00 to 1:00
    first, last = boundaries(at("2026-03-29T12:00", beirut), at("2026-03-29T13:00", beirut), "day", beirut)
    assert (first, last - first) == (at("2026-03-28T22:00"), 23 * 3600)


def test_weeks_begin_on_mondays_and_years_end() -> None:
    edges = list(boundaries(at("2026-12-30"), at("2027-01-05"), "week", UTC))
    assert edges == [at("2026-12-28"), at("2027-01-04"), at("2027-01-11")]
    assert list(boundaries(at("2026-12-30"), at("2027-01-05"), "month", UTC)) == [
        at("2026-12-01"),
        at("2027-01-01"),
        at("2027-02-01"),
    ]


@given(
    st.floats(0, 4e9),
    st.floats(1, 90 * 86400),
    st.sampled_from(INTERVALS[2:]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "Asia/Kolkata"]),
)
@example(3887999.999999999, 1.0, "day", "UTC")
def test_points_cover_the_time_without_gaps_and_no_more_than_they_must(
    since: float, length: float, interval: Any, zone: str
) -> None:
    edges = list(boundaries(since, since + length, interval, ZoneInfo(zone)))
    assert edges == sorted(set(edges))
    assert edges[0] <= since < edges[1]
    assert edges[-2] < since + length <= edges[-1]


@given(
    st.lists(st.integers(0, 10**5).map(lambda minute: minute * 60), min_size=2, max_size=20, unique=True).map(sorted)
)
def test_spans_cover_each_point_exactly_once_with_whole_cells(edges: list[int]) -> None:
    found = spans(edges, STEPS)
    for point, (since, until) in enumerate(pairwise(edges)):
        own = [span for span in found if span.point == point]
        assert [span.since for span in own] == [since, *(span.until for span in own[:-1])]
        assert own[-1].until == until
        assert all(span.since % span.step == span.until % span.step == 0 for span in own)
        assert sum((span.until - span.since) // span.step for span in own if span.step < 86400) < 2 * (24 + 60) + 24 * 2


def test_a_local_month_is_whole_days_with_hours_at_its_ends() -> None:
    month = [at("2026-11-01", BERLIN), at("2026-12-01", BERLIN)]
    assert spans(month, STEPS) == [
        Span(0, 3600, at("2026-10-31T23:00"), at("2026-11-01")),
        Span(0, 86400, at("2026-11-01"), at("2026-11-30")),
        Span(0, 3600, at("2026-11-30"), at("2026-11-30T23:00")),
    ]


@pytest.mark.parametrize(
    ("length", "interval"), [(3600, "minute"), (6 * 3600, "5m"), (86400, "hour"), (30 * 86400, "day"), (4e7, "week")]
)
def test_an_interval_fits_the_time(length: float, interval: str) -> None:
    chosen = fitting(1e9, 1e9 + length)
    assert chosen == interval
    assert length / SECONDS[chosen] <= 200
