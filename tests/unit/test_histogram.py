"""Percentiles from counts by size."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.histogram import LONGEST, RELATIVE_ERROR, SHORTEST, SLOTS, percentile, slot_of, slots_of

TIMES = st.floats(min_value=SHORTEST, max_value=LONGEST, exclude_max=True)


def counted(times: list[float]) -> dict[int, list[int]]:
    """Counts in runs of 16 slots, as they are kept, without those that have none."""
    counts: dict[int, list[int]] = {}
    for time in reversed(times):
        first = slot_of(time) // 16 * 16
        counts.setdefault(first, [0] * 16)[slot_of(time) - first] += 1
    return counts


@given(st.lists(TIMES, min_size=1, max_size=200), st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_a_percentile_is_within_the_stated_error_of_the_exact_one(times: list[float], percent: int) -> None:
    exact = sorted(times)[max(math.ceil(len(times) * percent / 100), 1) - 1]
    told = percentile(counted(times), percent)
    assert told is not None
    assert abs(told - exact) <= exact * RELATIVE_ERROR * 1.000001


@given(st.lists(TIMES, max_size=100), st.lists(TIMES, max_size=100))
def test_histograms_of_parts_add_up_to_that_of_all(first: list[float], second: list[float]) -> None:
    added = counted(first)
    for start, counts in counted(second).items():
        added[start] = [a + b for a, b in zip(added.get(start, [0] * 16), counts, strict=True)]
    assert added == counted(first + second)


@given(st.floats(), st.floats())
def test_every_number_has_a_slot_and_longer_times_have_none_before(one: float, other: float) -> None:
    assert 0 <= slot_of(one) < SLOTS
    if one <= other:
        assert slot_of(one) <= slot_of(other)


@given(st.lists(st.floats(), max_size=100))
def test_many_times_are_counted_as_one_by_one(times: list[float]) -> None:
    assert slots_of(times) == Counter(map(slot_of, times))


def test_nothing_counted_has_no_percentile() -> None:
    assert percentile({}, 50) is None
    assert percentile({0: [0] * SLOTS}, 50) is None


@pytest.mark.parametrize(
    ("time", "told"), [(0.0, SHORTEST), (-3.0, SHORTEST), (0.4, SHORTEST), (1e12, LONGEST), (math.inf, LONGEST)]
)
def test_what_is_out_of_range_is_told_as_its_end(time: float, told: float) -> None:
    assert percentile(counted([time]), 50) == told


def test_the_error_is_below_five_percent_up_to_most_of_an_hour() -> None:
    assert RELATIVE_ERROR < 0.05
    assert LONGEST > 55 * 60 * 1000
