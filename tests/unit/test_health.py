"""How it is told that a provider fails, and that it answers again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import UpstreamBroken, UpstreamBusy, UpstreamResting
from trunkline.policy.attempts import AttemptRules
from trunkline.policy.health import Condition
from trunkline.server.health import Health, Place, Ticket

RULES = AttemptRules(breaker=3, rest=30)
OPENAI = Place("default", "openai", "default")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """Health with a clock that a test turns."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.health = Health(self.clock)

    def begin(self, rules: AttemptRules = RULES, place: Place = OPENAI) -> Ticket:
        return self.health.begin(place, rules)

    def fail(self, times: int = 1, rules: AttemptRules = RULES) -> None:
        for _ in range(times):
            self.begin(rules).failed(UpstreamBroken("It broke."))

    def succeed(self) -> None:
        ticket = self.begin()
        ticket.answered(200, 10)
        ticket.ended(None)

    def state(self) -> str:
        (found,) = self.health.snapshot()
        return found.state


def test_so_many_failures_in_a_row_open_the_breaker_and_the_refusal_says_for_how_long() -> None:
    stage = Stage()
    stage.fail(2)
    assert stage.state() == "closed"
    stage.fail()
    assert stage.state() == "open"
    stage.clock.now += 12.5
    with pytest.raises(UpstreamResting, match=r"openai rests after 3 failures in a row.* 18 s") as refused:
        stage.begin()
    assert refused.value.retry_after == 18


def test_an_answer_between_failures_breaks_their_row() -> None:
    stage = Stage()
    stage.fail(2)
    stage.succeed()
    stage.fail(2)
    assert stage.state() == "closed"


@pytest.mark.parametrize(
    ("status", "state"),
    [(500, "open"), (503, "open"), (529, "open"), (429, "closed"), (401, "closed"), (404, "closed")],
)
def test_errors_of_the_provider_count_and_those_of_the_request_do_not(status: int, state: str) -> None:
    stage = Stage()
    for _ in range(3):
        ticket = stage.begin()
        ticket.answered(status, 10)
        ticket.ended(None)
    assert stage.state() == state


def test_answers_that_break_off_count_though_they_began_well() -> None:
    stage = Stage()
    for _ in range(3):
        ticket = stage.begin()
        ticket.answered(200, 10)
        ticket.ended(UpstreamBroken("Cut."))
    assert stage.state() == "open"


def test_what_is_no_fault_of_the_provider_does_not_count() -> None:
    stage = Stage()
    for _ in range(5):
        stage.begin().withdrawn()
        stage.begin().failed(UpstreamBusy("All connections are in use."))
    assert stage.state() == "closed"
    assert stage.health.snapshot()[0].failures == 0


def test_after_its_rest_one_request_at_a_time_finds_out_whether_it_answers() -> None:
    stage = Stage()
    stage.fail(3)
    stage.clock.now += 30
    assert stage.state() == "half-open"
    probe = stage.begin()
    with pytest.raises(UpstreamResting):
        stage.begin()
    probe.answered(200, 10)
    assert stage.state() == "closed"
    stage.begin().withdrawn()
    probe.ended(None)
    assert stage.health.snapshot()[0].failures == 0


def test_a_probe_that_fails_opens_it_again_at_once() -> None:
    stage = Stage()
    stage.fail(3)
    stage.clock.now += 30
    stage.fail()
    assert stage.state() == "open"
    stage.clock.now += 29
    assert stage.state() == "open"


def test_a_probe_whose_answer_breaks_off_opens_it_again() -> None:
    stage = Stage()
    stage.fail(3)
    stage.clock.now += 30
    probe = stage.begin()
    probe.answered(200, 10)
    probe.ended(UpstreamBroken("Cut."))
    assert stage.state() == "open"


def test_a_probe_whose_client_left_makes_room_for_the_next() -> None:
    stage = Stage()
    stage.fail(3)
    stage.clock.now += 30
    stage.begin().withdrawn()
    assert stage.state() == "half-open"
    stage.succeed()
    assert stage.state() == "closed"


def test_what_was_on_its_way_already_neither_prolongs_the_rest_nor_ends_it() -> None:
    stage = Stage()
    late, early = stage.begin(), stage.begin()
    stage.fail(3)
    stage.clock.now += 20
    late.failed(UpstreamBroken("It broke."))
    early.answered(200, 10)
    early.ended(None)
    assert stage.state() == "open"
    stage.clock.now += 10
    assert stage.state() == "half-open"


def test_without_a_breaker_nobody_rests_and_one_switched_off_forgets() -> None:
    stage = Stage()
    stage.fail(3)
    stage.fail(10, AttemptRules())
    assert stage.state() == "closed"
    stage.begin()


def test_places_fail_each_by_itself() -> None:
    stage = Stage()
    stage.fail(3)
    for other in (
        OPENAI._replace(gateway="other"),
        OPENAI._replace(member="second"),
        OPENAI._replace(provider="groq"),
        OPENAI._replace(backend="eu"),
    ):
        stage.begin(place=other).withdrawn()


def test_a_snapshot_shows_one_gateway_or_all() -> None:
    stage = Stage()
    first = stage.begin()
    stage.begin(place=OPENAI._replace(gateway="other", member="")).withdrawn()
    first.answered(200, 123.46)
    (found,) = stage.health.snapshot("default")
    assert (found.open_exchanges, found.latency_ms, found.member) == (1, 123.5, "default")
    assert [health.gateway for health in stage.health.snapshot()] == ["default", "other"]
    first.ended(None)
    first.withdrawn()
    assert stage.health.snapshot("default")[0].open_exchanges == 0


def test_a_key_that_was_refused_is_shown_resting_until_its_time_or_its_next_good_answer() -> None:
    stage = Stage()
    stage.health.rest(OPENAI, 5)
    assert stage.state() == "resting"
    assert stage.health.standing(OPENAI, RULES, 0).rests == 5
    stage.succeed()
    assert stage.state() == "closed"
    stage.health.rest(OPENAI, 5)
    stage.clock.now += 5
    assert stage.state() == "closed"


def test_however_many_places_callers_name_they_are_forgotten_again() -> None:
    stage = Stage()
    for number in range(10_050):
        stage.begin(place=OPENAI._replace(backend=str(number))).withdrawn()
    assert len(stage.health.snapshot()) == 10_000
    assert "10049" in {health.backend for health in stage.health.snapshot()}


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=50))
def test_the_mean_time_stays_among_those_measured_and_follows_what_is_new(times: list[float]) -> None:
    condition = Condition()
    for milliseconds in times:
        condition.began(milliseconds)
    assert condition.latency is not None
    assert min(times) - 1e-6 <= condition.latency <= max(times) + 1e-6
    for _ in range(30):
        condition.began(50.0)
    assert condition.latency == pytest.approx(50.0, abs=0.0013 * max(*times, 50.0))


@given(st.lists(st.sampled_from(["fail", "good", "bad", "cut", "leave", "wait", "wait long"]), max_size=60))
def test_whatever_happens_exchanges_are_counted_and_it_is_asked_again_after_its_rest(happens: list[str]) -> None:
    stage = Stage()
    for what in happens:
        if what.startswith("wait"):
            stage.clock.now += 30 if what == "wait long" else 7
            continue
        try:
            ticket = stage.begin()
        except UpstreamResting:
            continue
        match what:
            case "fail":
                ticket.failed(UpstreamBroken("It broke."))
            case "leave":
                ticket.withdrawn()
            case _:
                ticket.answered(500 if what == "bad" else 200, 1)
                ticket.ended(UpstreamBroken("Cut.") if what == "cut" else None)
    stage.clock.now += 30
    stage.begin().withdrawn()
    assert stage.health.snapshot()[0].open_exchanges == 0
