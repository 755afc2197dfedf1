"""Members of documents that strangers wrote: what is not of the expected kind counts as absent."""

from __future__ import annotations

import json
import math
from typing import Any, Final

_MOST: Final = 10**12


def members(value: Any, *path: str) -> dict[str, Any]:
    """Return the object at a path below ``value``, an empty one where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def entries(value: Any) -> list[dict[str, Any]]:
    """Return the objects in an array."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def words(value: Any) -> str:
    """Return a string, an empty one for what is none."""
    return value if isinstance(value, str) else ""


def name(value: Any) -> str | None:
    """Return a string that says something, None for what does not."""
    return value if isinstance(value, str) and value else None


def amount(value: Any) -> float:
    """Return a number that can be an amount of something, 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= _MOST and not math.isnan(value) else 0.0


def count(value: Any) -> int:
    """Return a whole number of things."""
    return int(amount(value))


def written(value: Any) -> str:
    """Return a value as JSON, unless it is a string already; nothing for one that is nested too deep."""
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""


def sound_span(text: str, member: str) -> tuple[int, int] | None:
    """Return where a frame has the base64 of a member, given with its quotes: begin and end; without parsing."""
    start = text.find(member)
    if start < 0:
        return None
    start = text.find('"', start + len(member)) + 1
    end = text.find('"', start)
    return (start, end) if 0 < start < end else None


def sound_size(text: str, member: str) -> int:
    """Return about how many bytes of sound a frame holds in a member: padding, of two bytes at most, is counted."""
    span = sound_span(text, member)
    return 0 if span is None else (span[1] - span[0]) * 3 // 4
