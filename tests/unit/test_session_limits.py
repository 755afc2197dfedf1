"""Limits of realtime sessions as people and JSON write them, and what was used within a window."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.errors import SettingsError
from trunkline.policy.sessions import (
    LONGEST_WINDOW,
    NO_LIMITS,
    Quota,
    RealtimeRules,
    SessionLimits,
    checked_fallbacks,
    length_words,
    merged,
)
from trunkline.policy.windows import Tally
from trunkline.providers import Catalogue

EVERYTHING = {
    "max_duration": 1800.0,
    "idle": 90.0,
    "concurrent": 3,
    "sessions": "10/minute",
    "minutes": "600/day",
    "tokens": "40000/10m",
    "budget": "2.5/month",
}


@pytest.mark.parametrize(
    ("text", "quota", "written"),
    [
        ("10/minute", Quota(10, 60), "10/minute"),
        ("600/day", Quota(600, 86400), "600/day"),
        (" 40000 / Minute ", Quota(40000, 60), "40000/minute"),
        ("2.50/h", Quota(2.5, 3600), "2.5/hour"),
        ("5/10m", Quota(5, 600), "5/10m"),
        ("5/30 days", Quota(5, 2592000), "5/month"),
        ("1/2 weeks", Quota(1, 1209600), "1/2w"),
        ("1000000000/second", Quota(1e9, 1), "1000000000/second"),
    ],
)
def test_a_quota_is_read_and_written_as_people_write_it(text: str, quota: Quota, written: str) -> None:
    assert Quota.parse(text) == quota
    assert str(quota) == written
    assert Quota.parse(written) == quota


@pytest.mark.parametrize("text", ["", "10", "ten/day", "-1/day", "5/fortnight", "5/day/day", "1e3/day", "nan/day"])
def test_what_is_no_quota_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(SettingsError, match="10/minute"):
        Quota.parse(text)


@pytest.mark.parametrize("text", ["0/day", "5/0m", "5/31d", "5/2months"])
def test_a_quota_of_nothing_or_of_longer_than_is_remembered_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="30 days"):
        Quota.parse(text)


@given(st.integers(1, 10**9), st.integers(1, LONGEST_WINDOW))
def test_every_quota_can_be_read_back(limit: int, seconds: int) -> None:
    assert Quota.parse(str(Quota(limit, seconds))) == Quota(limit, seconds)


@given(st.text(max_size=30))
def test_any_text_is_a_quota_or_is_refused(text: str) -> None:
    try:
        quota = Quota.parse(text)
    except SettingsError:
        return
    assert quota.limit > 0


def test_limits_and_switches_go_through_json_unchanged() -> None:
    rules = RealtimeRules().changed(
        {"limits": EVERYTHING, "beta_bridge": False, "resume": False, "fallbacks": ["local/local"], "record": True}
    )
    assert rules.limits.tokens == Quota(40000, 600)
    assert rules.limits.document() == EVERYTHING
    assert RealtimeRules().changed(json.loads(json.dumps(rules.document()))) == rules
    assert RealtimeRules().changed({}) == RealtimeRules()


def test_a_change_leaves_what_it_does_not_name_and_clears_what_it_says_is_nothing() -> None:
    rules = RealtimeRules(limits=SessionLimits(idle=60.0, concurrent=2), record=True)
    changed = rules.changed({"limits": {"idle": None, "max_duration": "1h"}})
    assert changed == RealtimeRules(limits=SessionLimits(max_duration=3600.0, concurrent=2), record=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limit": {}}, "no switch 'limit'"),
        ({"limits": {"session": "1/day"}}, "no limit 'session'"),
        ({"limits": {"sessions": "many"}}, "sessions: 'many' is no quota"),
        ({"limits": {"sessions": 10}}, "is no quota"),
        ({"limits": {"concurrent": 0}}, "whole one from 1"),
        ({"limits": {"concurrent": True}}, "whole one from 1"),
        ({"limits": {"concurrent": 1.5}}, "whole one from 1"),
        ({"limits": {"idle": "soon"}}, "idle: 'soon' is no length of time"),
        ({"limits": {"idle": 0}}, "no length of time"),
        ({"limits": {"max_duration": math.inf}}, "no length of time"),
        ({"limits": {"max_duration": math.nan}}, "no length of time"),
        ({"limits": []}, "expected an object"),
        ({"record": "yes"}, "expected true or false"),
        ({"fallbacks": "local/local"}, "expected a list"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        RealtimeRules().changed(changes)


def test_a_keys_own_limits_stand_instead_of_its_gateways() -> None:
    gateway = SessionLimits(idle=60.0, concurrent=2, budget=Quota(5, 86400))
    assert merged(gateway, NO_LIMITS) == gateway
    assert merged(NO_LIMITS, gateway) == gateway
    own = SessionLimits(concurrent=10, tokens=Quota(1, 1))
    assert merged(gateway, own) == SessionLimits(idle=60.0, concurrent=10, tokens=Quota(1, 1), budget=Quota(5, 86400))


@pytest.mark.parametrize(
    ("seconds", "words"), [(90, "90s"), (1800, "30m"), (7200, "2h"), (604800, "1w"), (1.5, "1.5s")]
)
def test_a_length_of_time_is_written_in_its_largest_whole_unit(seconds: float, words: str) -> None:
    assert length_words(seconds) == words


def test_a_fallback_is_a_provider_that_can_take_a_session_over() -> None:
    catalogue = Catalogue.build()
    assert checked_fallbacks([" openai/gpt-realtime", "local/local"], catalogue) == (
        "openai/gpt-realtime",
        "local/local",
    )
    for name, said in (
        ("openai", "write provider/model"),
        ("nobody/model", "no provider 'nobody'"),
        ("anthropic/claude", "does not speak"),
        ("deepgram/aura", "does not speak"),
    ):
        with pytest.raises(SettingsError, match=said):
            checked_fallbacks([name], catalogue)


# What happened, as (seconds since the last time, amount); and windows to ask for.
HISTORIES = st.lists(st.tuples(st.floats(0, 20000), st.floats(0.001, 1000)), max_size=60)
WINDOWS = st.integers(1, LONGEST_WINDOW)


@given(HISTORIES, WINDOWS, st.floats(0, 100000))
def test_a_tally_of_few_amounts_is_exact(history: list[tuple[float, float]], seconds: int, later: float) -> None:
    tally, now, added = Tally(), 1e9, []
    for gap, amount in history:
        now += gap
        tally.add(amount, now)
        added.append((now, amount))
    now += later
    expected = sum(amount for at, amount in added if at > now - seconds)
    assert tally.used(seconds, now) == pytest.approx(expected)


@given(HISTORIES, WINDOWS, st.floats(0.5, 5000))
@example([(0.0, 890.9814410564355), (1.0, 134.0)], 2, 134.0)  # sums of fractions depend on their order
def test_when_the_time_told_has_passed_there_is_room_again(
    history: list[tuple[float, float]], seconds: int, limit: float
) -> None:
    tally, now, quota = Tally(), 1e9, Quota(limit, seconds)
    for gap, amount in history:
        now += gap
        tally.add(amount, now)
    wait = tally.seconds_until_free(quota, now)
    assert (wait > 0) == (tally.used(seconds, now) >= limit)
    assert wait <= seconds
    assert tally.used(seconds, now + wait + 1e-3) < limit
    if wait > 0.01:
        assert tally.used(seconds, now + wait - 1e-3) >= limit * (1 - 1e-9)


@given(st.integers(0, 2**32), st.integers(10, LONGEST_WINDOW))
def test_a_tally_stays_small_and_never_finds_a_window_emptier_than_it_is(seed: int, seconds: int) -> None:
    tally, now, added, state = Tally(), 1e9, [], seed
    for _ in range(5000):
        state = (state * 1103515245 + 12345) % 2**31
        now += (state / 2**31) ** 8 * 20000  # mostly bursts, at times a long gap
        tally.add(1, now)
        added.append(now)
    assert len(tally) <= 2048
    exact = sum(at > now - seconds for at in added)
    loose = sum(at > now - seconds * (1 + 1 / 32) - 0.04 for at in added)
    assert exact <= tally.used(seconds, now) <= loose


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    tally = Tally()
    tally.add(1, 1000.0)
    tally.add(1, 900.0)
    assert tally.used(60, 1000.0) == 2
    assert tally.used(60, 1060.0) == 0
