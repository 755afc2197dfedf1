"""How evenly the events of a stream come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.pacing import Pacing


def paced(*moments: tuple[float, int]) -> Pacing:
    pacing = Pacing()
    for now, events in moments:
        pacing.take(now, events)
    return pacing


@pytest.mark.parametrize("moments", [(), ((1.0, 1),)])
def test_fewer_than_two_events_have_no_time_between_them(moments: tuple[tuple[float, int], ...]) -> None:
    assert paced(*moments).percentile_ms(50) is None


def test_the_middle_and_the_slow_end_are_told_apart() -> None:
    pacing = paced(*((number / 100, 1) for number in range(100)), (1.99, 1))
    assert pacing.percentile_ms(50) == pytest.approx(10)
    assert pacing.percentile_ms(99) == pytest.approx(1000)


def test_events_of_one_piece_have_no_time_between_them() -> None:
    assert paced((1.0, 3), (2.0, 1)).percentile_ms(50) == 0
    assert paced((1.0, 3), (2.0, 1)).percentile_ms(99) == pytest.approx(1000)


@given(st.integers(1, 20_000), st.floats(0.001, 1))
def test_a_stream_of_any_length_keeps_its_pace(length: int, gap: float) -> None:
    pacing = paced(*((number * gap, 1) for number in range(length + 1)))
    assert pacing.percentile_ms(50) == pytest.approx(gap * 1000, rel=1e-3)
    assert pacing.percentile_ms(99) == pytest.approx(gap * 1000, rel=1e-3)


def test_a_long_stream_that_slows_down_is_seen_to_do_so() -> None:
    fast = [(number * 0.01, 1) for number in range(5000)]
    slow = [(50 + number * 0.1, 1) for number in range(5000)]
    pacing = paced(*fast, *slow)
    assert pacing.percentile_ms(25) == pytest.approx(10)
    assert pacing.percentile_ms(75) == pytest.approx(100)
