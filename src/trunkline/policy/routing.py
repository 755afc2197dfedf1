"""The way of one request through a dynamic route: which model is asked next, and why.

`Walk` decides and waits for nothing: it returns what is to be done, and is told how that went.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from trunkline.errors import SettingsError
from trunkline.policy.facts import Facts, Tag
from trunkline.policy.limits import LimitRule
from trunkline.policy.routes import (
    ROUTE_PREFIX,
    SHARE,
    AnyElement,
    Conditional,
    DeployedRoute,
    End,
    Model,
    Percentage,
    Quota,
    Rate,
    Start,
)

# By these `LimitRule` tells callers apart.
_PER: Final = re.compile(r"key|user|provider|model|metadata\..{1,100}")
_RULE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# As `AttemptRules` bounds them.
_MOST_TRIES: Final = 5
_LONGEST_SHOWN: Final = 60
_MOST_SHOWN: Final = 8
# Of a place in an array, in digits; Python reads no number of thousands of them.
_LONGEST_PLACE: Final = 9


class AskModel(NamedTuple):
    """Ask this model. ``timeout_ms`` ends with the first byte, 0 is none; ``number`` is how many were asked before."""

    element: str
    provider: str
    model: str
    timeout_ms: int
    retries: int
    number: int

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class TakeQuota(NamedTuple):
    """Take one request out of a quota. ``value`` is the one of the quota's key here, ``rule`` what counts it."""

    element: str
    quota: Quota
    value: str
    rule: LimitRule


class Ended(NamedTuple):
    """The way is at its end: at an element of that type, or at one that has nowhere to go on."""

    element: str


Step = AskModel | TakeQuota | Ended


class TraceLine(msgspec.Struct, frozen=True):
    """Why a way went on where it did. ``output`` is None where it ended.

    ``looked_at`` is what the element judges by, ``why`` what became of a model or quota.
    """

    element: str
    type: str
    looked_at: str
    output: str | None
    why: str = ""


class Failure(NamedTuple):
    """A model or quota that went wrong."""

    step: AskModel | TakeQuota
    why: str

    def __str__(self) -> str:
        what = f" ({self.step})" if isinstance(self.step, AskModel) else ""
        return f"{self.step.element}{what}: {self.why}"


class _Passed(NamedTuple):
    """An element that was passed; ``seen`` is what was drawn or done there."""

    element: AnyElement
    output: str | None
    seen: float | AskModel | TakeQuota | None = None
    why: str = ""


class Walk:
    """One request's way through a route.

    ``request`` is the parsed body, ``chance`` draws from [0, 1). ``answered`` is the model that answered last, and
    ``failures`` are those that did not, with the quotas that were used up.
    """

    def __init__(
        self, route: DeployedRoute, facts: Facts, request: Mapping[str, Any], chance: Callable[[], float]
    ) -> None:
        self.route = route
        self.answered: AskModel | None = None
        self.failures: list[Failure] = []
        self._facts = facts
        self._request = request
        self._chance = chance
        self._asked = 0
        self._here: AnyElement = route.start
        self._step: Step | None = None
        self._passed: list[_Passed] = []

    @property
    def trace(self) -> list[TraceLine]:
        """What was passed so far, put into words when somebody asks."""
        return [
            TraceLine(
                passed.element.id,
                str(type(passed.element).__struct_config__.tag),
                self._looked_at(passed),
                passed.output,
                passed.why,
            )
            for passed in self._passed
        ]

    @property
    def way(self) -> list[str]:
        """The ids of the elements that were passed, and nothing of what was looked at there."""
        return [passed.element.id for passed in self._passed]

    def next(self) -> Step:
        """Return what is to be done next: the same until `tell` was called for it."""
        while self._step is None:
            self._go_on()
        return self._step

    def tell(self, outcome: bool, why: str = "") -> None:
        """Say how the step went that `next` returned, and in words why."""
        step = self._step
        if step is None or isinstance(step, Ended):
            raise ValueError("There is no step to tell of.")
        if not outcome:
            self.failures.append(Failure(step, why))
        elif isinstance(step, AskModel):
            self.answered = step
        self._step = None
        self._leave("success" if outcome else "fallback", step, why)

    def _go_on(self) -> None:
        match self._here:
            case Start():
                self._leave("next")
            case Conditional(properties=properties):
                holds = matches(properties.all, self._facts, self._request)
                self._leave("true" if holds else "false")
            case Percentage(outputs=outputs):
                drawn = self._chance()
                self._leave(_share_of(drawn, list(outputs)), drawn)
            case Rate() as rate:
                self._step = self._quota(rate)
            case Model(id=id, properties=call):
                timeout, retries = math.ceil(call.timeout), min(int(call.retries), _MOST_TRIES - 1)
                self._step = AskModel(id, call.provider, call.model, timeout, retries, self._asked)
                self._asked += 1
            case End(id=id):
                self._step = Ended(id)
                self._passed.append(_Passed(self._here, None))

    def _leave(self, output: str, seen: float | AskModel | TakeQuota | None = None, why: str = "") -> None:
        there = self._here.outputs.get(output)
        self._passed.append(_Passed(self._here, output if there is not None else None, seen, why))
        if there is None:
            self._step = Ended(self._here.id)
        else:
            self._here = self.route.elements[there.element_id]

    def _looked_at(self, passed: _Passed) -> str:
        match passed:
            case _Passed(element=Conditional(properties=properties)):
                names = list(dict.fromkeys(_names_in(properties.all)))
                shown = [f"{name} {_shown(_values(name, self._facts, self._request))}" for name in names[:_MOST_SHOWN]]
                return ", ".join(shown) + (", ..." if len(names) > _MOST_SHOWN else "")
            case _Passed(seen=float() as drawn):
                return f"chance {drawn:.4f}"
            case _Passed(seen=AskModel() as step):
                return str(step)
            case _Passed(seen=TakeQuota() as step):
                return _quota_words(step)
            case _:
                return ""

    def _quota(self, rate: Rate) -> TakeQuota:
        quota = rate.properties
        found = _values(quota.key, self._facts, self._request)
        value = ",".join(one if isinstance(one, str) else _words(one) for one in found)
        return TakeQuota(rate.id, quota, value, _rule(self.route.id, rate, value))


class Result(msgspec.Struct, frozen=True):
    """Whose answer a request would have got; empty where nobody's. ``step`` counts the models asked before."""

    answered: bool
    element: str = ""
    provider: str = ""
    model: str = ""
    step: int | None = None


class Simulation(msgspec.Struct, frozen=True):
    """Where a request would have gone, and why; ``chance`` is what was drawn wherever shares divide requests."""

    trace: list[TraceLine]
    result: Result
    chance: float


Outcome = Literal["success", "failure"]


def simulate(
    route: DeployedRoute, facts: Facts, request: Mapping[str, Any], outcomes: Mapping[str, Outcome], chance: float
) -> Simulation:
    """Walk a route without asking anybody. Models and quotas do well unless ``outcomes`` has their ids as a failure.

    Raises `SettingsError` for an id that is none of these.
    """
    for name in outcomes:
        if not isinstance(route.elements.get(name), Model | Rate):
            raise SettingsError(f"outcomes: the route has no model or quota {name[:100]!r}.")
    walk = Walk(route, facts, request, lambda: chance)
    while not isinstance(step := walk.next(), Ended):
        succeeds = outcomes.get(step.element, "success") == "success"
        walk.tell(succeeds, "" if succeeds else "fails in this simulation")
    answered = walk.answered
    result = (
        Result(False)
        if answered is None
        else Result(True, answered.element, answered.provider, answered.model, answered.number)
    )
    return Simulation(walk.trace, result, chance)


def simulated_facts(
    gateway: str, name: str, request: Mapping[str, Any], metadata: Mapping[str, Tag], *, key: str = "", user: str = ""
) -> Facts:
    """Return what would be known of a request for chat completions with this body."""
    said = request.get("user")
    return Facts(
        gateway=gateway,
        provider="",
        model=f"{ROUTE_PREFIX}{name}",
        kind="chat",
        stream=request.get("stream") is True,
        key=key,
        user=user or (said if isinstance(said, str) else ""),
        metadata=metadata,
    )


def matches(conditions: Mapping[str, Any], facts: Facts, request: Mapping[str, Any]) -> bool:
    """Whether conditions are true of a request, as MongoDB's would be of a document; of no conditions they are.

    Values of different types are neither equal nor in an order. What is absent equals null and nothing else. One
    element of an array is enough for a match.
    """

    def holds(name: str, wanted: Any) -> bool:
        if name == "$and":
            return all(matches(one, facts, request) for one in wanted)
        if name == "$or":
            return any(matches(one, facts, request) for one in wanted)
        values = _values(name, facts, request)
        comparison = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
        return all(_compares(operator, values, one) for operator, one in comparison.items())

    return all(holds(name, wanted) for name, wanted in conditions.items())


def _compares(operator: str, values: Sequence[Any], wanted: Any) -> bool:
    match operator:
        case "$eq":
            return _is_among(values, [wanted])
        case "$ne":
            return not _is_among(values, [wanted])
        case "$in":
            return _is_among(values, wanted)
        case "$nin":
            return not _is_among(values, wanted)
        case "$gt":
            return any(_in_order(wanted, value) and value > wanted for value in values)
        case "$gte":
            return any(_in_order(wanted, value) and value >= wanted for value in values)
        case "$lt":
            return any(_in_order(wanted, value) and value < wanted for value in values)
        case "$lte":
            return any(_in_order(wanted, value) and value <= wanted for value in values)
        case _:  # `parse_route` lets no other pass
            raise ValueError(operator)


def _is_among(values: Sequence[Any], wanted: Sequence[Any]) -> bool:
    return any(_is_same(value, one) for value in values or (None,) for one in wanted)


def _is_same(first: Any, second: Any) -> bool:
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


def _in_order(first: Any, second: Any) -> bool:
    return (_is_number(first) and _is_number(second)) or (isinstance(first, str) and isinstance(second, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(name: str, facts: Facts, request: Mapping[str, Any]) -> list[Any]:
    """Return the values of a field, those of an array by themselves; none where it is absent.

    A name that is none of the gateway's own is a field of the body.
    """
    whose, _, rest = name.partition(".")
    if whose == "metadata" and rest:
        return [facts.metadata[rest]] if rest in facts.metadata else []
    if whose == "body" and rest:
        return list(_within(request, rest.split(".")))
    match name:
        case "stream":
            return [facts.stream]
        case "kind":
            return [facts.kind]
        case "model" | "user" | "key":
            found = getattr(facts, name)
            return [found] if found else []
        case _:
            return list(_within(request, name.split(".")))


def _within(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list):
        if path and path[0].isdecimal() and len(path[0]) <= _LONGEST_PLACE and int(path[0]) < len(value):
            yield from _within(value[int(path[0])], path[1:])
        for one in value:
            if not path:
                yield one
            elif isinstance(one, Mapping):
                yield from _within(one, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _within(value[path[0]], path[1:])


def _names_in(conditions: Mapping[str, Any]) -> Iterator[str]:
    for name, value in conditions.items():
        if name.startswith("$"):
            for one in value:
                yield from _names_in(one)
        else:
            yield name


def _shown(values: Sequence[Any]) -> str:
    if not values:
        return "is absent"
    words = ", ".join(_words(value) for value in values[:_MOST_SHOWN])
    return f"is {words}" if len(words) <= _LONGEST_SHOWN else f"is {words[:_LONGEST_SHOWN]}..."


def _words(value: Any) -> str:
    """Return a value as JSON; halves of characters, which a body may hold, become question marks."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()


def _share_of(drawn: float, names: Sequence[str]) -> str:
    """Return the output whose share of the whole holds what was drawn."""
    reached = 0.0
    for name in names:
        share = SHARE.fullmatch(name)
        reached += float(share[1]) if share is not None else 0.0
        if drawn * 100 < reached:
            return name
    return names[-1]  # the shares may fall short of 100 by a rounding


def _rule(route: str, rate: Rate, value: str) -> LimitRule:
    """Return the rule that counts a quota, whatever version of the route asks.

    Where the key is none that rules know, each value has a rule of its own.
    """
    quota = rate.properties
    is_known = _PER.fullmatch(quota.key) is not None
    name = f"route.{route}.{rate.id}"
    if not is_known or not _RULE_ID.fullmatch(name):
        told_apart = rate.id if is_known else f"{rate.id}\0{value}"
        name = f"route.{route}.{hashlib.blake2b(told_apart.encode(errors='replace'), digest_size=10).hexdigest()}"
    return LimitRule(
        id=name,
        measure="requests" if quota.limit_type == "count" else "cost",
        limit=quota.limit,
        window=math.ceil(quota.window),
        per=(quota.key,) if is_known else (),
    )


def _quota_words(step: TakeQuota) -> str:
    quota = step.quota
    what = f"{quota.limit:g} requests" if quota.limit_type == "count" else f"${quota.limit:g}"
    who = f"{quota.key} {_shown([step.value]) if step.value else 'is absent'}"
    return f"{what} in {quota.window:g} s, {who}"
