"""How much was used of a bucket within its window, counted in slots of time.

A fixed window is one slot, aligned to the clock. A sliding one is `SLOTS` slots, and counts the one that it is leaving
as long as any of it is inside: so no stretch of a window's length ever holds more than the limit, and at the worst the
limit is used once in a window and a slot, which is 99.5 % of it. Times are Unix seconds, or whole microseconds where
the name says so: the script that counts in Valkey does the same arithmetic in the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from trunkline.policy.limits import Technique

SLOTS: Final = 200
SECOND: Final = 1_000_000
# Fractions that were added in another order make another sum: a billionth of a dollar is no difference.
TOLERANCE: Final = 1e-9


class Shape(NamedTuple):
    """A slot's length in microseconds, and how many slots before the present one count besides it."""

    span: int
    kept: int


class Count(msgspec.Struct, frozen=True):
    """How a bucket stands. ``used`` is with what was just taken, where it was.

    ``wait``: in how many seconds there is room for what was refused, if nothing else is used meanwhile. ``resets_in``:
    in how many the oldest of what is counted leaves the window. ``place`` is the slot that was counted in.
    """

    used: float
    wait: float = 0.0
    resets_in: float = 0.0
    place: int = 0
    is_over: bool = False


@lru_cache(maxsize=256)
def shape_of(window: int, technique: Technique) -> Shape:
    """Return the slots of a window of so many seconds."""
    if technique == "fixed":
        return Shape(window * SECOND, 0)
    return Shape(window * SECOND // SLOTS, SLOTS)


def is_over(used: float, amount: float, limit: float) -> bool:
    """Whether there is no room for an amount; what is of unknown size, 0, needs any room at all."""
    return used + amount > limit + TOLERANCE or (not amount and used >= limit - TOLERANCE)


class Slots:
    """The count of one bucket."""

    __slots__ = ("_amounts", "_seen", "_total", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._amounts: dict[int, float] = {}
        self._total = 0.0
        self._seen = 0

    def used(self, now: float) -> float:
        """Return what counts at present."""
        self._forget(self.place(now))
        return self._total

    def place(self, now: float) -> int:
        """Return the number of the present slot."""
        return int(now * SECOND) // self.shape.span

    def add(self, place: int, amount: float, now: float) -> bool:
        """Count more, or less, in a slot; return whether it still counts. None is ever below nothing.

        What is of later than ``now`` was counted before the clock was set back, and counts as of now.
        """
        present = self.place(now)
        self._forget(present)
        place = min(place, present)
        if place < present - self.shape.kept:
            return False
        before = self._amounts.get(place, 0.0)
        after = max(before + amount, 0.0)
        if after != before:
            self._amounts[place] = after
            self._total = max(self._total + after - before, 0.0)
        return True

    def wait(self, amount: float, limit: float, now: float) -> float:
        """Return in how many seconds there is room for an amount, or, if there never is, until all is forgotten."""
        left = self._total
        leaves = now
        for place, counted in sorted(self._amounts.items()):
            if not is_over(left, amount, limit):
                break
            left -= counted
            leaves = self.leaves(place)
        return max(leaves - now, 0.0)

    def resets_in(self, now: float) -> float:
        """Return in how many seconds the oldest of what counts is forgotten; 0 when nothing counts."""
        return max(self.leaves(min(self._amounts)) - now, 0.0) if self._amounts else 0.0

    def expires_at(self) -> float:
        """Return when nothing counts any more."""
        return self.leaves(max(self._amounts)) if self._amounts else 0.0

    def amount(self, place: int) -> float:
        """Return what was counted in one slot."""
        return self._amounts.get(place, 0.0)

    def start(self, place: int) -> int:
        """Return when a slot began, in whole Unix seconds. `place_at` finds it again where slots take a second."""
        return place * self.shape.span // SECOND

    def place_at(self, start: int) -> int:
        """Return the slot whose `start` it is."""
        return -(-start * SECOND // self.shape.span)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return iter(self._amounts.items())

    def leaves(self, place: int) -> float:
        """Return when a slot stops counting."""
        return (place + self.shape.kept + 1) * self.shape.span / SECOND

    def set_back(self, now: float) -> list[int]:
        """Count what is of later than ``now`` as of now: the clock was set back. Return the slots that changed by it.

        As it stands it would count for as long as the clock was set back, and a window more.
        """
        return self._set_back_to(self.place(now))

    def _set_back_to(self, present: int) -> list[int]:
        later = [place for place in self._amounts if place > present]
        if not later:
            return []
        moved = math.fsum(self._amounts.pop(place) for place in later)
        self._amounts[present] = self._amounts.get(present, 0.0) + moved
        return [*later, present]

    def _forget(self, present: int) -> None:
        if present == self._seen:
            return
        if present < self._seen:
            self._set_back_to(present)
        self._seen = present
        kept = {place: amount for place, amount in self._amounts.items() if place >= present - self.shape.kept}
        if len(kept) < len(self._amounts):  # summed anew, so that no difference of roundings stays behind
            self._amounts, self._total = kept, math.fsum(kept.values())
