"""Identifiers that are made here and nowhere else."""

from __future__ import annotations

import secrets
import time
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS: Final = 80
_LENGTH: Final = 26


def ulid() -> str:
    """Return a new ULID: 26 characters, of which the first ten grow with the time in milliseconds."""
    return _ulid(time.time_ns() // 1_000_000, secrets.randbits(_RANDOM_BITS))


def first_ulid(at: float) -> str:
    """Return the smallest ULID of a moment, in Unix seconds."""
    return _ulid(max(0, int(at * 1000)), 0)


def _ulid(milliseconds: int, rest: int) -> str:
    number = milliseconds << _RANDOM_BITS | rest
    return "".join(_CROCKFORD[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))
