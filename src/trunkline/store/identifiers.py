"""Identifiers that are made here and nowhere else."""

from __future__ import annotations

import secrets
import time
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)
_RANDOM_BITS: Final = 80
# Of the 26 characters, two at a time.
_SHIFTS: Final = tuple(range(120, -1, -10))


def ulid() -> str:
    """Return a new ULID: 26 characters, of which the first ten grow with the time in milliseconds."""
    return _ulid(time.time_ns() // 1_000_000, secrets.randbits(_RANDOM_BITS))


def first_ulid(at: float) -> str:
    """Return the smallest ULID of a moment, in Unix seconds."""
    return _ulid(max(0, int(at * 1000)), 0)


def _ulid(milliseconds: int, rest: int) -> str:
    number = milliseconds << _RANDOM_BITS | rest
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
