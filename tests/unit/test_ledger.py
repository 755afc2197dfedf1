"""What sessions use is counted by caller, held against its limits, and remembered."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from trunkline.errors import (
    BudgetSpent,
    GatewayError,
    SessionExpired,
    SessionIdle,
    SessionRateReached,
    TooManySessions,
)
from trunkline.policy.sessions import NO_LIMITS, PastUsage, SessionLimits
from trunkline.server.ledger import Ledger, Snapshot, Standing, caller_key

NOW = 1_700_000_000.0
DAY = 86400.0


def limits(**given: Any) -> SessionLimits:
    return NO_LIMITS.changed(given)


def test_without_limits_nothing_ends_a_session_and_no_timer_is_needed() -> None:
    lease = Ledger().open("key_1", NO_LIMITS, NOW)
    lease.charge(10**9, 10.0**6, NOW + 1)
    lease.tick(NOW + 10 * DAY, last_activity=NOW)
    assert lease.next_deadline(NOW + 10 * DAY, last_activity=NOW) is None


def test_a_session_beyond_those_that_may_be_open_is_refused_until_one_ends() -> None:
    ledger, allowed = Ledger(), limits(concurrent=2)
    first = ledger.open("key_1", allowed, NOW)
    ledger.open("key_1", allowed, NOW)
    with pytest.raises(TooManySessions, match="2 of this caller's") as refused:
        ledger.open("key_1", allowed, NOW)
    assert (refused.value.reason, refused.value.close_code) == ("too_many_sessions", 1013)
    ledger.open("key_2", allowed, NOW)
    first.close(NOW + 1)
    first.close(NOW + 1)
    ledger.open("key_1", allowed, NOW + 1)
    with pytest.raises(TooManySessions):
        ledger.open("key_1", allowed, NOW + 1)


def test_sessions_per_time_are_refused_with_the_time_to_wait_and_end_none_that_is_open() -> None:
    ledger, allowed = Ledger(), limits(sessions="2/minute")
    lease = ledger.open("key_1", allowed, NOW)
    ledger.open("key_1", allowed, NOW + 20)
    with pytest.raises(SessionRateReached, match=r"open 2 sessions in 1m\. Try again in 30s") as refused:
        ledger.open("key_1", allowed, NOW + 30)
    assert (refused.value.reason, refused.value.retry_after) == ("rate_limit_exceeded", 30)
    lease.tick(NOW + 30, last_activity=NOW + 30)
    lease.charge(5, 0.1, NOW + 30)
    ledger.open("key_1", allowed, NOW + 60)  # those that were refused do not count


def test_a_budget_ends_the_session_that_spends_it_and_refuses_others_until_its_time_has_passed() -> None:
    ledger, allowed = Ledger(), limits(budget="5/day")
    lease = ledger.open("key_1", allowed, NOW)
    other = ledger.open("key_1", allowed, NOW)
    lease.charge(100, 1.0, NOW + 1)
    with pytest.raises(BudgetSpent, match="5 US dollars") as ended:
        lease.charge(100, 6.0, NOW + 2)
    assert (ended.value.reason, ended.value.type) == ("insufficient_quota", "insufficient_quota")
    assert ended.value.close_code == 3000
    assert ended.value.retry_after == DAY  # of the two amounts, the later one fills more than what is left
    for refused in (
        lambda: other.tick(NOW + 3, last_activity=NOW),
        lambda: ledger.open("key_1", allowed, NOW + 3),
        lambda: ledger.open("key_1", allowed, NOW + 1 + DAY - 1),
    ):
        with pytest.raises(BudgetSpent):
            refused()
    ledger.open("key_1", allowed, NOW + 2 + DAY)
    [standing] = ledger.snapshot("key_1", allowed, NOW + 3).quotas
    assert (standing.used, standing.limit) == (7.0, 5.0)


def test_tokens_per_time_end_a_session() -> None:
    ledger, allowed = Ledger(), limits(tokens="1000/minute")
    lease = ledger.open("key_1", allowed, NOW)
    lease.charge(600, 0.0, NOW)
    lease.charge(600, 0.0, NOW + 60)
    with pytest.raises(SessionRateReached, match=r"use 1000 tokens in 1m\. Try again in 60s"):
        lease.charge(400, 0.0, NOW + 60)


def test_minutes_pass_for_every_open_session_and_the_deadline_says_when_they_are_over() -> None:
    ledger, allowed = Ledger(), limits(minutes="10/day")
    first = ledger.open("key_1", allowed, NOW)
    assert first.next_deadline(NOW, last_activity=NOW) == NOW + 480  # when the log says so
    second = ledger.open("key_1", allowed, NOW + 120)
    moments = [NOW + 120]

    def go_on() -> None:
        while moments[-1] < NOW + 600:
            due = second.next_deadline(moments[-1], last_activity=moments[-1])
            assert due is not None
            assert due > moments[-1]
            moments.append(due)
            second.tick(due, last_activity=due)

    with capture_logs() as logs, pytest.raises(SessionRateReached, match="10 minutes of sessions in 1d"):
        go_on()
    now = moments[-1]
    assert now == pytest.approx(NOW + 120 + 240, abs=1.1)  # two minutes alone, four together
    assert [entry["limit"] for entry in logs] == ["minutes"]
    second.close(now)
    first.close(now + 60)
    [standing] = ledger.snapshot("key_1", allowed, now + 60).quotas
    assert standing.used == pytest.approx(11.0, abs=0.1)


def test_minutes_that_leave_the_window_as_fast_as_they_are_used_do_not_keep_the_timer_busy() -> None:
    ledger, allowed = Ledger(), limits(minutes="59.999/60m")
    lease = ledger.open("key_1", allowed, NOW)
    for step in range(3590):
        lease.tick(NOW + step, last_activity=NOW + step)
    due = lease.next_deadline(NOW + 3589, last_activity=NOW + 3589)
    assert due is not None
    assert due >= NOW + 3590


def test_a_session_expires_after_its_longest_duration_as_at_openai() -> None:
    lease = Ledger().open("key_1", limits(max_duration="30m"), NOW)
    assert lease.next_deadline(NOW, last_activity=NOW) == NOW + 1440
    with capture_logs() as logs:
        lease.tick(NOW + 1440, last_activity=NOW)
        lease.tick(NOW + 1500, last_activity=NOW)
    assert [(entry["log_level"], entry["limit"], entry["caller"]) for entry in logs] == [
        ("warning", "max_duration", "key_1")
    ]
    assert lease.next_deadline(NOW + 1500, last_activity=NOW) == NOW + 1800
    with pytest.raises(SessionExpired, match="hit the maximum duration of 30m") as ended:
        lease.tick(NOW + 1800, last_activity=NOW)
    assert (ended.value.reason, ended.value.close_code) == ("session_expired", 1001)
    assert ended.value.close_reason == "session hit the maximum duration"


def test_an_idle_session_ends_and_one_in_use_does_not() -> None:
    lease = Ledger().open("key_1", limits(idle=60), NOW)
    assert lease.next_deadline(NOW, last_activity=0.0) == NOW + 60
    lease.tick(NOW + 59, last_activity=0.0)
    lease.tick(NOW + 100, last_activity=NOW + 50)
    assert lease.next_deadline(NOW + 100, last_activity=NOW + 50) == NOW + 110
    with pytest.raises(SessionIdle, match="for 1m") as ended:
        lease.tick(NOW + 110, last_activity=NOW + 50)
    assert ended.value.reason == "session_idle_timeout"
    assert 4000 <= ended.value.close_code < 5000


def test_a_deadline_that_has_passed_is_due_in_a_moment() -> None:
    lease = Ledger().open("key_1", limits(idle=60), NOW)
    due = lease.next_deadline(NOW + 100, last_activity=NOW)
    assert due is not None
    assert NOW + 100 < due < NOW + 101


def test_limits_that_an_administrator_changes_count_in_open_sessions_with_what_was_used_before() -> None:
    ledger = Ledger()
    lease = ledger.open("key_1", NO_LIMITS, NOW)
    lease.charge(100, 3.0, NOW + 1)
    lease.limits = limits(budget="2/day")
    with pytest.raises(BudgetSpent):
        lease.tick(NOW + 2, last_activity=NOW + 2)


def test_the_log_says_once_in_a_quotas_time_that_it_is_nearly_used_up() -> None:
    ledger, allowed = Ledger(), limits(tokens="100/minute", budget="10/day")
    lease = ledger.open("key_1", allowed, NOW)
    with capture_logs() as logs:
        lease.charge(79, 0.0, NOW)
    assert logs == []
    with capture_logs() as logs:
        lease.charge(1, 0.0, NOW)
        lease.charge(5, 8.0, NOW + 30)
        lease.charge(5, 1.0, NOW + 31)
        lease.charge(90, 0.0, NOW + 120)
    assert [(entry["limit"], entry["of"]) for entry in logs] == [
        ("tokens", "100/minute"),
        ("budget", "10/day"),
        ("tokens", "100/minute"),
    ]
    assert {entry["caller"] for entry in logs} == {"key_1"}


def test_what_is_known_only_after_the_end_is_booked_all_the_same() -> None:
    ledger, allowed = Ledger(), limits(budget="1/day")
    lease = ledger.open("key_1", allowed, NOW)
    lease.close(NOW + 60)
    with pytest.raises(BudgetSpent):
        lease.charge(10, 1.5, NOW + 61)
    assert ledger.snapshot("key_1", allowed, NOW + 61).quotas[0].used == 1.5


def test_a_snapshot_says_of_each_quota_how_much_is_used_and_when_there_is_room() -> None:
    ledger, allowed = Ledger(), limits(concurrent=5, sessions="1/minute", budget="4/hour")
    nothing = Snapshot("key_1", 0, 5, (Standing("sessions", 0, 1, 60, 0), Standing("budget", 0, 4, 3600, 0)))
    assert ledger.snapshot("key_1", allowed, NOW) == nothing
    ledger.open("key_1", allowed, NOW).charge(1, 2.0, NOW)
    assert ledger.snapshot("key_1", allowed, NOW + 10) == Snapshot(
        "key_1", 1, 5, (Standing("sessions", 1, 1, 60, 50.0), Standing("budget", 2.0, 4, 3600, 0))
    )
    assert ledger.snapshot("key_2", allowed, NOW).quotas == nothing.quotas


def test_callers_without_a_key_are_one_in_each_gateway() -> None:
    assert caller_key("team", "key_1") == "key_1"
    assert caller_key("team", "") != caller_key("default", "")


def test_usage_of_an_earlier_process_counts() -> None:
    past = [
        PastUsage("team", "key_1", NOW - 10, tokens=100, cost=6.0, minutes=5.0),
        PastUsage("team", "key_1", NOW - 300, sessions=1),
        PastUsage("team", "", NOW - 10, cost=1.0),
    ]
    ledger, allowed = Ledger(past), limits(budget="5/day", sessions="2/hour")
    with pytest.raises(BudgetSpent):
        ledger.open(caller_key("team", "key_1"), allowed, NOW)
    ledger.open(caller_key("team", ""), allowed, NOW)
    used = {standing.name: standing.used for standing in ledger.snapshot("key_1", allowed, NOW).quotas}
    assert used == {"budget": 6.0, "sessions": 1.0}


@pytest.mark.parametrize("kind", [BudgetSpent, SessionRateReached, TooManySessions, SessionExpired, SessionIdle])
def test_only_what_a_wait_cures_lets_clients_dial_again(kind: type[GatewayError]) -> None:
    again = {1001, 1005, 1006, 1011, 1012, 1013, 1015}  # those after which OpenAI's client does
    assert (kind.close_code in again) == (kind not in (BudgetSpent, SessionIdle))
