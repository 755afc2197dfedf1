"""Conditions on the log as people type them: ``status:>=400``, ``model:gpt-4o,"gpt 5"``, ``metadata.team:!=blue``.

The console writes the same words (``web/src/core/filters.ts``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from trunkline.errors import MalformedRequest
from trunkline.store.log_filter import METADATA_PREFIX, Condition

# What a word may be about -> the key of a condition.
FIELDS: Final = {
    "gateway": "gateway",
    "provider": "provider",
    "model": "model",
    "key": "key_id",
    "user": "user",
    "status": "status",
    "kind": "kind",
    "success": "success",
    "cached": "cached",
    "end": "end_reason",
    "session": "session_id",
    "route": "route",
    "cost": "cost",
    "tokens": "tokens",
    "duration": "duration_ms",
    "ttft": "first_byte_ms",
}
_COMPARISONS: Final = {"": "eq", "=": "eq", "!": "neq", "!=": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_METADATA: Final = "metadata."
_WORD: Final = re.compile(r"([a-z]+(?:\.[^:]+)?):(!=|>=|<=|>|<|!|=)?(.*)", re.DOTALL)
_VALUE: Final = re.compile(r'(?:[^,"]|"[^"]*"?)+')
_TIMES: Final = frozenset({"duration", "ttft"})
_TIME: Final = re.compile(r"([0-9.]+)(ms|s|m)")
_MILLISECONDS: Final = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0}


def conditions_of(words: Sequence[str]) -> list[Condition]:
    """Return what words ask for, one condition for each.

    After the name and a colon comes a comparison, by default ``=``, and a value; with ``=`` and ``!=`` several, between
    commas. Double quotes hold together what has commas in it. ``duration`` and ``ttft`` are in milliseconds, or with
    ``s`` or ``m`` in seconds or minutes. Raises `MalformedRequest` for a word that is none.
    """
    return [_condition(word) for word in words]


def _condition(word: str) -> Condition:
    match = _WORD.fullmatch(word)
    name, sign, rest = match.groups() if match is not None else ("", "", "")
    operator = _COMPARISONS[sign or ""]
    if name.startswith(_METADATA):
        key = METADATA_PREFIX + name.removeprefix(_METADATA)
    elif name in FIELDS:
        key = FIELDS[name]
    else:
        raise MalformedRequest(
            f"filter: {word[:50]!r} does not begin with the name of a field and a colon. Names: {', '.join(FIELDS)},"
            " metadata.NAME."
        )
    pieces = _VALUE.findall(rest) if operator in ("eq", "neq") else [rest]
    values = [value for value in (piece.replace('"', "") for piece in pieces) if value]
    if not values:
        raise MalformedRequest(f"filter: {word[:50]!r} has no value.")
    return key, operator, [_time(value) for value in values] if name in _TIMES else values


def _time(value: str) -> Any:
    match = _TIME.fullmatch(value)
    if match is None:
        return value
    try:
        return float(match[1]) * _MILLISECONDS[match[2]]
    except ValueError:
        return value
