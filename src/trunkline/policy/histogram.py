"""How long things took, counted by size, so that percentiles can be told of any sum of such counts.

A histogram has `SLOTS` counts. Slot 0 has what took a millisecond or less, each further one reaches `RATIO` times as
far as the one before it, and the last one has no end. Histograms are added slot by slot.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, repeat
from typing import Final

RATIO: Final = 1.1
SLOTS: Final = 160
# What a percentile may be off by, as a part of it: from a slot's middle, by proportion, to either end. It holds from
# `SHORTEST` to `LONGEST`, in milliseconds; a percentile outside of these is told as the nearer one.
RELATIVE_ERROR: Final = math.sqrt(RATIO) - 1
SHORTEST: Final = 1.0
LONGEST: Final = RATIO ** (SLOTS - 2)

# Where the slots end, but for the last one.
_ENDS: Final = tuple(RATIO**slot for slot in range(SLOTS - 1))


def slot_of(milliseconds: float) -> int:
    """Return which slot counts something that took so long."""
    return bisect_left(_ENDS, milliseconds)  # 0 for what is no number


def slots_of(times: Iterable[float]) -> Counter[int]:
    """Return how many of some times, in milliseconds, each slot counts."""
    return Counter(map(bisect_left, repeat(_ENDS), times))


def percentile(counts: Mapping[int, Sequence[int]], percent: float) -> float | None:
    """Return how many milliseconds ``percent`` of what was counted took at most; None when nothing was counted.

    ``counts`` are those of slots in a row, by the number of the first one; all other slots have none. What is returned
    is the nearest-rank percentile, off by `RELATIVE_ERROR` at most.
    """
    counted = {first: sum(counts[first]) for first in sorted(counts)}
    rank = max(math.ceil(sum(counted.values()) * percent / 100), 1)
    for first, number in counted.items():
        if rank <= number:
            return _middle(first + bisect_left(list(accumulate(counts[first])), rank))
        rank -= number
    return None


def _middle(slot: int) -> float:
    if slot == 0:
        return SHORTEST
    return LONGEST if slot == SLOTS - 1 else RATIO ** (slot - 0.5)
