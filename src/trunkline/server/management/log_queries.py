"""Which rows of the log a request asks for: Cloudflare's parameters in every notation in which its programs write them.

``filters`` may be a JSON array in one parameter, or spread over several: ``filters[0][key]``, ``filters[key]`` and
``filters.key``, the last two repeated for each filter, one filter after another or, as Cloudflare's own client does it,
all keys, then all operators, then all values. What cannot be understood is refused, so that no other rows are
chosen than those that were meant.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from trunkline.errors import MalformedRequest
from trunkline.store.log_filter import OPERATORS, LogFilter

_SPREAD: Final = re.compile(
    r"filters(?:\[(\d*)\]|\.(\d+))?(?:\[(key|operator|value)\]|\.(key|operator|value))(?:\[\d*\])?"
)
_MAX_FILTERS_LENGTH: Final = 20_000

_EQUAL: Final = (
    *("cached", "success", "provider", "model", "model_type", "request_content_type", "response_content_type"),
)
_BOUNDED: Final = {
    "cost": "cost",
    "duration": "duration",
    "tokens_in": "tokens_in",
    "tokens_out": "tokens_out",
    "total_tokens": "tokens",
}
_BOUNDS: Final = {f"{side}_{name}": (key, side) for name, key in _BOUNDED.items() for side in ("min", "max")}
_DATES: Final = {"start_date": "gt", "end_date": "lt"}
_FEEDBACK: Final = {"1": 1, "0": -1, "-1": -1}
# Read elsewhere.
_OTHERS: Final = frozenset(
    {"search", "order_by", "order_by_direction", "direction", "page", "per_page", "meta_info", "limit"}
)

Condition = tuple[str, str, list[Any]]


def log_filter(gateway: str, parameters: Sequence[tuple[str, str]]) -> LogFilter:
    """Return the rows of a gateway that a query's parameters ask for. Raises `MalformedRequest`."""
    conditions = _filters(parameters)
    search = ""
    for name, value in parameters:
        if name in _EQUAL:
            conditions.append((name, "eq", [value]))
        elif name in _BOUNDS:
            key, side = _BOUNDS[name]
            # The bound itself is within.
            number, towards, operator = (
                _number(name, value),
                *((-math.inf, "gt") if side == "min" else (math.inf, "lt")),
            )
            conditions.append((key, operator, [math.nextafter(number, towards)]))
        elif name in _DATES:
            conditions.append(("created_at", _DATES[name], [value]))
        elif name == "feedback":
            if value not in _FEEDBACK:
                raise MalformedRequest("feedback: expected 1 or 0.")
            conditions.append(("feedback", "eq", [_FEEDBACK[value]]))
        elif name == "search":
            search = value
        elif name not in _OTHERS and not _is_filter(name):
            raise MalformedRequest(f"{name[:60]}: there is no such parameter.")
    return LogFilter(gateway=gateway, conditions=conditions, search=search)


def checked_conditions(filters: Iterable[Any]) -> list[Condition]:
    """Return filters as conditions. Raises `MalformedRequest` for one that lacks something, or is none."""
    return [_condition(one) for one in filters]


def order_of(parameters: Sequence[tuple[str, str]], default: str = "desc") -> tuple[str, bool]:
    """Return by what the rows are ordered, and whether the greatest comes first. Raises `MalformedRequest`."""
    given = dict(parameters)
    direction = given.get("order_by_direction") or given.get("direction") or default
    if direction not in ("asc", "desc"):
        raise MalformedRequest("order_by_direction: expected asc or desc.")
    return given.get("order_by") or "created_at", direction == "desc"


def _is_filter(name: str) -> bool:
    return name == "filters" or name.startswith(("filters[", "filters."))


def _filters(parameters: Sequence[tuple[str, str]]) -> list[Condition]:
    whole = [value for name, value in parameters if name == "filters"]
    spread = [(name, value) for name, value in parameters if name != "filters" and _is_filter(name)]
    if (whole and spread) or len(whole) > 1:
        raise MalformedRequest("filters: send them in one notation, once.")
    if whole:
        return _from_json(whole[0])
    return checked_conditions(_gathered(spread))


def _from_json(text: str) -> list[Condition]:
    if len(text) > _MAX_FILTERS_LENGTH:
        raise MalformedRequest(f"filters: at most {_MAX_FILTERS_LENGTH} characters are read.")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest('filters: expected a JSON array of {"key", "operator", "value": [...]}.') from error
    return checked_conditions(given if isinstance(given, list) else [given])


def _gathered(spread: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Put filters together whose parts came one by one, by their number or else by their order."""
    numbered: dict[str, list[tuple[str, str]]] = {}
    plain: list[tuple[str, str]] = []
    for name, value in spread:
        match = _SPREAD.fullmatch(name)
        if match is None:
            raise MalformedRequest(f"{name[:60]}: expected a filter's key, operator or value.")
        number, part = match[1] or match[2], match[3] or match[4]
        (numbered.setdefault(number, []) if number else plain).append((part, value))
    by_number = [_put_together(parts) for parts in numbered.values()]
    return by_number + (_sorted_apart(plain) if _is_sorted(plain) else [_put_together(one) for one in _split(plain)])


def _is_sorted(parts: Sequence[tuple[str, str]]) -> bool:
    """Whether the parts of several filters came kind by kind: each kind in one run, and more than one key."""
    runs = [part for place, (part, _) in enumerate(parts) if place == 0 or parts[place - 1][0] != part]
    return len(runs) == len(set(runs)) and sum(part == "key" for part, _ in parts) > 1


def _sorted_apart(parts: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return several filters that came kind by kind, which tells them apart only where each has one value."""
    kinds: dict[str, list[str]] = {"key": [], "operator": [], "value": []}
    for part, value in parts:
        kinds[part].append(value)
    if len({len(values) for values in kinds.values()}) != 1:
        raise MalformedRequest(
            "filters: of several filters that were sent kind by kind, it cannot be told which value belongs to which."
            " Send them as one JSON array, with Cloudflare's client by extra_query={'filters': json.dumps([...])}."
        )
    return [
        {"key": key, "operator": operator, "value": [value]}
        for key, operator, value in zip(kinds["key"], kinds["operator"], kinds["value"], strict=True)
    ]


def _split(parts: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Return the parts of filters that came one after another."""
    found: list[list[tuple[str, str]]] = []
    for part, value in parts:
        # A part that the filter has already begins the next one; several values come one after another.
        repeats = bool(found) and any(known == part for known, _ in found[-1])
        if not found or (repeats and (part != "value" or found[-1][-1][0] != "value")):
            found.append([])
        found[-1].append((part, value))
    return found


def _put_together(parts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    one: dict[str, Any] = {}
    for part, value in parts:
        if part == "value":
            one.setdefault("value", []).append(value)
        elif part in one:
            raise MalformedRequest(f"filters: the {part} was sent twice for one filter.")
        else:
            one[part] = value
    return one


def _condition(given: Any) -> Condition:
    if not isinstance(given, dict):
        raise MalformedRequest("filters: each is an object with key, operator and value.")
    unknown = given.keys() - {"key", "operator", "value"}
    if unknown:
        raise MalformedRequest(f"filters: {str(min(unknown))[:60]!r} is no part of a filter.")
    key, operator, values = (given.get(part) for part in ("key", "operator", "value"))
    if not isinstance(key, str) or not key:
        raise MalformedRequest("filters: each needs a key.")
    if operator not in OPERATORS:
        raise MalformedRequest(f"filters: the operator of {key[:50]!r} is one of {', '.join(OPERATORS)}.")
    if not isinstance(values, list) or not values:
        raise MalformedRequest(
            f"filters: the value of {key[:50]!r} is an array with one value at least; null can only be sent as JSON."
        )
    return key, operator, values


def _number(name: str, value: str) -> float:
    read: Callable[[str], float] = float
    try:
        number = read(value)
    except ValueError as error:
        raise MalformedRequest(f"{name}: expected a number.") from error
    if not math.isfinite(number):
        raise MalformedRequest(f"{name}: expected a number.")
    return number
