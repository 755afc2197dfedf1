"""How evenly the events of a stream come."""

from __future__ import annotations

from typing import Final

_MAX_KEPT: Final = 1024


class Pacing:
    """Keeps the times between events; of a long stream every second, then every fourth of them, and so on.

    Events that come in one piece have no time between them. Times are in seconds, on any clock that only goes forward.
    """

    __slots__ = ("_gaps", "_last", "_seen", "_stride")

    def __init__(self) -> None:
        self._gaps: list[float] = []
        self._last: float | None = None
        self._seen = 0
        self._stride = 1

    def take(self, now: float, events: int) -> None:
        """Take a moment at which so many events came, at least one."""
        if self._last is not None:
            self._keep(now - self._last)
        self._last = now
        if events > 1:
            for _ in range(min(events - 1, _MAX_KEPT)):
                self._keep(0.0)

    def percentile_ms(self, of_hundred: float) -> float | None:
        """Return the time in milliseconds that so many of a hundred stay within; None where nothing was measured."""
        if not self._gaps:
            return None
        ordered = sorted(self._gaps)
        return ordered[min(len(ordered) - 1, int(len(ordered) * of_hundred / 100))] * 1000

    def _keep(self, gap: float) -> None:
        self._seen += 1
        if self._seen % self._stride:
            return
        self._gaps.append(gap)
        if len(self._gaps) > _MAX_KEPT:
            del self._gaps[::2]
            self._stride *= 2
