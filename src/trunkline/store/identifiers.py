"""Identifiers that are made here and nowhere else."""

from __future__ import annotations

import os
import time
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)
_RANDOM_BITS: Final = 80
# Of the 26 characters, two at a time.
_SHIFTS: Final = tuple(range(120, -1, -10))
# To ask the kernel for each of them takes as long as all the rest.
_ASKED_AT_ONCE: Final = 256
_numbers: Final[list[int]] = []
os.register_at_fork(after_in_child=_numbers.clear)


def ulid() -> str:
    """Return a new ULID: 26 characters, of which the first ten grow with the time in milliseconds."""
    return _ulid(time.time_ns() // 1_000_000, _random())


def first_ulid(at: float) -> str:
    """Return the smallest ULID of a moment, in Unix seconds."""
    return _ulid(max(0, int(at * 1000)), 0)


def _random() -> int:
    """Return a random number of the kernel's that nobody else gets."""
    while True:
        try:
            return _numbers.pop()
        except IndexError:
            size = _RANDOM_BITS // 8
            drawn = os.urandom(size * _ASKED_AT_ONCE)
            _numbers.extend(int.from_bytes(drawn[at : at + size], "big") for at in range(0, len(drawn), size))


def _ulid(milliseconds: int, rest: int) -> str:
    number = milliseconds << _RANDOM_BITS | rest
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
