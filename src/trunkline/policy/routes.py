"""The graph of a dynamic route: what its elements are, and whether they make a way through it.

Elements are as in Cloudflare's management API: ``{"id", "type", "properties", "outputs": {NAME: {"elementId"}}}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec

from trunkline.errors import SettingsError
from trunkline.wire.documents import converted

ROUTE_PREFIX: Final = "dynamic/"
"""What a model's name begins with that is a route's."""

_MAX_ELEMENTS: Final = 200
_MAX_SHARES: Final = 5
_MAX_DEPTH: Final = 20
SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%")
"""The name of an output of a `Percentage`."""

_OF_LISTS: Final = frozenset({"$and", "$or"})
_OF_VALUES: Final = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"})
_OF_SETS: Final = frozenset({"$in", "$nin"})

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
# As `LimitRule` bounds them, which counts them.
_Amount = Annotated[float, msgspec.Meta(gt=0, le=1e15)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=31_622_400)]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=600_000)]
# It is told in a header of the answer.
_ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Output(msgspec.Struct, frozen=True, rename="camel"):
    """Where the way goes on."""

    element_id: str


class Element(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """One step. ``outputs`` are by name, which depend on the kind."""

    id: _Id
    outputs: dict[str, Output] = {}


class Start(Element, frozen=True, tag="start"):
    """Where a request comes in: goes on at ``next``."""


class End(Element, frozen=True, tag="end"):
    """Answers with what the last model said."""


class Conditions(msgspec.Struct, frozen=True):
    """What must be true of a request, as MongoDB writes it: ``{"metadata.plan": {"$eq": "free"}}``.

    Cloudflare's pages write ``condition`` and its API ``conditions``: what stands under either counts.
    """

    conditions: dict[str, Any] = {}
    condition: dict[str, Any] = {}

    @property
    def all(self) -> dict[str, Any]:
        """Return the one object that must be true as a whole."""
        if self.conditions and self.condition:
            return {"$and": [self.conditions, self.condition]}
        return self.conditions or self.condition


class Conditional(Element, frozen=True, tag="conditional"):
    """Goes on at ``true`` or ``false``."""

    properties: Conditions


class Percentage(Element, frozen=True, tag="percentage"):
    """Goes on at one of its outputs, such as ``10%``, by chance."""


class Quota(msgspec.Struct, frozen=True, rename="camel"):
    """So many requests, or US dollars, in ``window`` seconds, for each value of ``key``."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    limit: _Amount
    limit_type: Literal["count", "cost"]
    window: _Seconds


class Rate(Element, frozen=True, tag="rate"):
    """Goes on at ``success`` within a quota, and beyond it at ``fallback``, or nowhere."""

    properties: Quota


class Call(msgspec.Struct, frozen=True):
    """Which model to ask; ``timeout`` is milliseconds."""

    provider: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    model: _ModelName
    timeout: _Milliseconds = 0
    retries: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0


class Model(Element, frozen=True, tag="model"):
    """Asks a model: goes on at ``success`` when its answer begins, else at ``fallback``, or nowhere."""

    properties: Call


AnyElement = Start | End | Conditional | Percentage | Rate | Model
# Which outputs a kind must have, and which it may have.
_OUTPUTS: Final[dict[type[Element], tuple[frozenset[str], frozenset[str]]]] = {
    Start: (frozenset({"next"}), frozenset({"next"})),
    End: (frozenset(), frozenset()),
    Conditional: (frozenset({"true", "false"}), frozenset({"true", "false"})),
    Rate: (frozenset({"success"}), frozenset({"success", "fallback"})),
    Model: (frozenset({"success"}), frozenset({"success", "fallback"})),
}


def route_name(model: str) -> str | None:
    """Return the name of the route that stands for a model, ``NAME`` of ``dynamic/NAME``, or None."""
    return model.removeprefix(ROUTE_PREFIX) if model.startswith(ROUTE_PREFIX) else None


@dataclass(frozen=True, slots=True)
class DeployedRoute:
    """A route as requests walk it: the version in use, its elements by id, and where it starts."""

    id: str
    version: str
    name: str
    start: Start
    elements: Mapping[str, AnyElement] = field(repr=False)

    @classmethod
    def of(
        cls,
        id: str,
        version: str,
        name: str,
        elements: Sequence[Mapping[str, Any]],
        providers: Collection[str] | None = None,
    ) -> DeployedRoute:
        """Read a route as `parse_route` does."""
        parsed = parse_route(elements, providers)
        start = next(element for element in parsed if isinstance(element, Start))
        return cls(id, version, name, start, {element.id: element for element in parsed})


def parse_route(elements: Sequence[Mapping[str, Any]], providers: Collection[str] | None = None) -> list[AnyElement]:
    """Return the elements of a route: one start, from which every other is reached, and no way leads in a circle.

    ``providers`` are the names that models may have, None any. Raises `SettingsError` naming the element at fault.
    """
    try:
        parsed = converted(list(elements), list[AnyElement])
    except msgspec.ValidationError as error:
        raise SettingsError(f"elements: {error}.") from error
    if len(parsed) > _MAX_ELEMENTS:
        raise SettingsError(f"elements: a route has at most {_MAX_ELEMENTS} of them.")
    by_id: dict[str, AnyElement] = {}
    for element in parsed:
        if element.id in by_id:
            raise SettingsError(f"elements: two of them have the id {element.id!r}.")
        by_id[element.id] = element
    starts = [element for element in parsed if isinstance(element, Start)]
    if len(starts) != 1:
        raise SettingsError(f"elements: a route has one element of the type 'start', not {len(starts)}.")
    for element in parsed:
        _check_outputs(element, by_id)
        if isinstance(element, Conditional):
            _check_conditions(element.properties.all, element.id, 0)
        if isinstance(element, Model) and providers is not None and element.properties.provider not in providers:
            raise SettingsError(f"elements: {element.id!r} names no provider: {element.properties.provider!r}.")
        if isinstance(element, Rate):
            _check_quota(element)
    _check_ways(starts[0], by_id)
    return parsed


def _check_outputs(element: AnyElement, by_id: Mapping[str, AnyElement]) -> None:
    names = element.outputs.keys()
    if isinstance(element, Percentage):
        shares = [SHARE.fullmatch(name) for name in names]
        total = sum(float(share[1]) for share in shares if share is not None)
        if None in shares or not 1 <= len(shares) <= _MAX_SHARES or not math.isclose(total, 100, abs_tol=0.001):
            raise SettingsError(
                f"elements: the outputs of {element.id!r} are up to {_MAX_SHARES} shares such as '10%' that make 100 %."
            )
    else:
        required, allowed = _OUTPUTS[type(element)]
        if not required <= names or not names <= allowed:
            expected = ", ".join(sorted(allowed)) or "none"
            raise SettingsError(f"elements: the outputs of {element.id!r} are {expected}.")
    for output in element.outputs.values():
        if output.element_id not in by_id:
            raise SettingsError(f"elements: {element.id!r} leads to {output.element_id[:100]!r}, which is not there.")


def _check_quota(element: Rate) -> None:
    quota = element.properties
    if quota.limit_type == "count" and not quota.limit.is_integer():
        raise SettingsError(f"elements: the limit of {element.id!r} is a whole number of requests, from 1.")


def _check_conditions(conditions: Any, where: str, depth: int) -> None:
    if not isinstance(conditions, dict) or depth > _MAX_DEPTH:
        raise SettingsError(f"elements: the conditions of {where!r} are objects, at most {_MAX_DEPTH} deep.")
    for name, value in conditions.items():
        if name in _OF_LISTS:
            if not isinstance(value, list) or not value:
                raise SettingsError(f"elements: {name} in {where!r} takes an array of conditions.")
            for one in value:
                _check_conditions(one, where, depth + 1)
        elif name.startswith("$"):
            known = ", ".join(sorted(_OF_LISTS | _OF_VALUES | _OF_SETS))
            raise SettingsError(f"elements: {name[:30]!r} in {where!r} is no operator here; there are {known}.")
        else:
            _check_comparison(name, value, where)


def _check_comparison(field: str, comparison: Any, where: str) -> None:
    if not isinstance(comparison, dict):
        comparison = {"$eq": comparison}
    if not comparison:
        raise SettingsError(f"elements: {field[:100]!r} in {where!r} is compared with nothing.")
    for operator, value in comparison.items():
        if operator in _OF_SETS:
            if not isinstance(value, list) or not all(_is_plain(one) for one in value):
                raise SettingsError(f"elements: {operator} in {where!r} takes an array of values.")
        elif operator not in _OF_VALUES:
            known = ", ".join(sorted(_OF_VALUES | _OF_SETS))
            raise SettingsError(
                f"elements: {operator[:30]!r} of {field[:100]!r} in {where!r} is no comparison; there are {known}."
            )
        elif not _is_plain(value):
            raise SettingsError(f"elements: {operator} in {where!r} takes a text, a number, true, false or null.")


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _check_ways(start: Start, by_id: Mapping[str, AnyElement]) -> None:
    """Walk every way, depth first and without recursion: an element met again on its own way makes a circle."""
    on_the_way: set[str] = set()
    done: set[str] = set()
    waiting: list[tuple[str, bool]] = [(start.id, False)]
    while waiting:
        name, is_leaving = waiting.pop()
        if is_leaving:
            on_the_way.discard(name)
            done.add(name)
            continue
        if name in on_the_way:
            raise SettingsError(f"elements: the way through {name!r} leads back to it.")
        if name in done:
            continue
        on_the_way.add(name)
        waiting.append((name, True))
        waiting += [(output.element_id, False) for output in by_id[name].outputs.values()]
    unreached = [name for name in by_id if name not in done]
    if unreached:
        raise SettingsError(f"elements: no way leads to {unreached[0]!r}.")
