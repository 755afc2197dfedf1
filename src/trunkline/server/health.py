"""How the providers of this process are doing, each by gateway and stored key: what its own requests tell of them."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec

from trunkline.errors import UpstreamBusy, UpstreamError, UpstreamNotPublic, UpstreamResting
from trunkline.policy.attempts import AttemptRules
from trunkline.policy.balancing import Standing
from trunkline.policy.health import Condition, State

# Callers may name a resource or region in the path, as many as they like: those not asked for longest are forgotten.
_MOST_PLACES: Final = 10_000
_FIRST_FAILURE: Final = 500
_FIRST_ERROR: Final = 400


class Place(NamedTuple):
    """Where a gateway's requests go.

    ``member`` is the alias of the stored key, empty for keys that callers bring; ``backend`` the part of the path that
    names one of several hosts, such as a region.
    """

    gateway: str
    provider: str
    member: str
    backend: str = ""


class ProviderHealth(msgspec.Struct, frozen=True):
    """How one place is doing, as this process sees it.

    ``state`` is ``open`` while it is not asked after ``failures`` in a row, ``half-open`` when the next request shows
    whether it answers again, ``resting`` when its key was refused or used too much; ``rests_seconds`` says for how
    long. ``open_exchanges`` are those under way, ``latency_ms`` is the running mean of the time until an answer begins.
    """

    gateway: str
    provider: str
    member: str
    backend: str
    state: State | Literal["resting"]
    failures: int
    rests_seconds: float
    open_exchanges: int
    latency_ms: float | None


class Health:
    """Keeps the condition of every place. ``clock`` gives seconds and only goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._conditions: OrderedDict[Place, Condition] = OrderedDict()

    def standing(self, place: Place, rules: AttemptRules, tries: int) -> Standing:
        """Return how a place stands to a request that went there so often."""
        condition = self._conditions.get(place)
        if condition is None:
            return Standing(tries)
        now = self._clock()
        is_out = rules.breaker > 0 and condition.breaker.rests(now) > 0
        return Standing(tries, condition.open, condition.latency, condition.rests(now), is_out)

    def begin(self, place: Place, rules: AttemptRules) -> Ticket:
        """Begin an exchange with a place. Raises `UpstreamResting` while its breaker lets nothing through."""
        condition = self._condition(place)
        if not rules.breaker:
            condition.breaker.reset()
        elif condition.breaker.rests(self._clock()) > 0:
            raise self.refusal(place)
        return Ticket(condition, rules, self._clock)

    def refusal(self, place: Place) -> UpstreamResting:
        """Return the error for a place whose breaker lets nothing through."""
        breaker = self._condition(place).breaker
        return UpstreamResting(
            f"{place.provider} rests after {breaker.failures} failures in a row: the gateway asks it again in"
            f" {math.ceil(breaker.rests(self._clock()))} s.",
            retry_after=max(math.ceil(breaker.rests(self._clock())), 1),
        )

    def rests(self, place: Place) -> float:
        """Return for how many seconds a place's breaker lets nothing through."""
        return self._condition(place).breaker.rests(self._clock())

    def rest(self, place: Place, seconds: float) -> None:
        """Have a place asked only where there is nobody else, for so long."""
        self._condition(place).rest(self._clock() + seconds)

    def snapshot(self, gateway: str | None = None) -> list[ProviderHealth]:
        """Return how all places are doing, or those of one gateway, in the order of their names."""
        now = self._clock()
        chosen = sorted(place for place in self._conditions if gateway in (None, place.gateway))
        return [_health(place, self._conditions[place], now) for place in chosen]

    def _condition(self, place: Place) -> Condition:
        condition = self._conditions.get(place)
        if condition is None:
            condition = self._conditions[place] = Condition()
            self._forget_some()
        self._conditions.move_to_end(place)
        return condition

    def _forget_some(self) -> None:
        while len(self._conditions) > _MOST_PLACES:
            self._conditions.popitem(last=False)


def _health(place: Place, condition: Condition, now: float) -> ProviderHealth:
    state: State | Literal["resting"] = condition.breaker.state(now)
    rests = condition.breaker.rests(now) if state == "open" else condition.rests(now)
    if state == "closed" and rests > 0:
        state = "resting"
    latency = None if condition.latency is None else round(condition.latency, 1)
    return ProviderHealth(*place, state, condition.breaker.failures, round(rests, 1), condition.open, latency)


class Ticket:
    """One exchange with a place, from before it is sent to the end of its answer.

    Of `failed`, `withdrawn` and `ended` the first that is called ends it.
    """

    def __init__(self, condition: Condition, rules: AttemptRules, clock: Callable[[], float]) -> None:
        self._condition = condition
        self._rules = rules
        self._clock = clock
        self._probe = condition.breaker.enter(clock()) if rules.breaker else False
        self._is_failure = False
        self._is_over = False
        condition.open += 1

    def answered(self, status: int, milliseconds: float) -> None:
        """Learn that an answer began, after so long."""
        if status >= _FIRST_FAILURE:
            self._is_failure = True
            self._fail()
            return
        self._condition.breaker.answered(probe=self._probe)
        self._probe = False
        if status < _FIRST_ERROR:
            self._condition.began(milliseconds)
            self._condition.rest(0.0)

    def failed(self, error: UpstreamError) -> None:
        """Learn that no answer came. What is the gateway's own to mend is no failure of the provider's."""
        if self._over():
            if isinstance(error, UpstreamBusy | UpstreamNotPublic):
                self._condition.breaker.withdrawn(probe=self._probe)
            else:
                self._fail()

    def withdrawn(self) -> None:
        """Learn that the exchange is given up, through no fault of the provider."""
        if self._over():
            self._condition.breaker.withdrawn(probe=self._probe)

    def ended(self, error: UpstreamError | None) -> None:
        """Learn that the answer is over, or broke off."""
        if self._over() and not self._is_failure:
            if error is not None:
                self._fail()
            else:
                self._condition.breaker.completed()

    def _over(self) -> bool:
        """End the exchange; return whether it was under way until now."""
        if self._is_over:
            return False
        self._is_over = True
        self._condition.open -= 1
        return True

    def _fail(self) -> None:
        self._condition.breaker.failed(
            self._clock(), threshold=self._rules.breaker, rest=self._rules.rest, probe=self._probe
        )
        self._probe = False
