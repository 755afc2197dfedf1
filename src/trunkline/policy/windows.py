"""How much was used within the last so many seconds, for windows of any length, in bounded memory."""

from __future__ import annotations

from typing import Final

from trunkline.policy.sessions import LONGEST_WINDOW, Quota

# Amounts are put together when they lie no further apart than this part of their age: the older, the coarser.
_RESOLUTION: Final = 1 / 32
_FINEST_SECONDS: Final = 1 / 32
_MOST_BUCKETS: Final = 2048


class Tally:
    """Amounts over time, of which those of the last 30 days count.

    A window is never found emptier than it is: an amount counts for as long as it is in the window, and at most a
    thirty-second part of the window longer.
    """

    def __init__(self) -> None:
        self._buckets: list[_Bucket] = []  # oldest first

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, amount: float, now: float) -> None:
        """Count an amount. A clock that was set back is taken to stand still."""
        if amount <= 0:
            return
        if self._buckets:
            now = max(now, self._buckets[-1].last)
        self._buckets.append(_Bucket(now, now, amount))
        if len(self._buckets) > _MOST_BUCKETS:
            self._put_together(now)

    def used(self, seconds: float, now: float) -> float:
        """Return what was counted within the last ``seconds``."""
        total = 0.0
        for bucket in reversed(self._buckets):
            if bucket.last <= now - seconds:
                break
            total += bucket.amount
        return total

    def seconds_until_free(self, quota: Quota, now: float) -> float:
        """Return how long it takes until less than the quota is used, if nothing is added: 0 when that is so."""
        total = 0.0
        for bucket in reversed(self._buckets):  # summed as in `used`: fractions in another order make another sum
            if bucket.last <= now - quota.seconds:
                break
            total += bucket.amount
            if total >= quota.limit:  # until this one leaves the window
                return bucket.last + quota.seconds - now
        return 0.0

    def _put_together(self, now: float) -> None:
        kept: list[_Bucket] = []
        for bucket in self._buckets:
            if bucket.last <= now - LONGEST_WINDOW:
                continue
            span = max((now - bucket.last) * _RESOLUTION, _FINEST_SECONDS)
            if kept and bucket.last - kept[-1].first <= span:
                kept[-1] = _Bucket(kept[-1].first, bucket.last, kept[-1].amount + bucket.amount)
            else:
                kept.append(bucket)
        self._buckets = kept


class _Bucket:
    """What was counted from the time ``first`` to ``last``."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, first: float, last: float, amount: float) -> None:
        self.first = first
        self.last = last
        self.amount = amount
