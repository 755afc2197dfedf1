"""How a provider is doing: whether it rests after failures, how busy it is, and how soon it begins its answers."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

State = Literal["closed", "open", "half-open"]

# How much the newest time counts in the mean: the last ten or so make up nine tenths of it.
_NEWEST: Final = 0.2


class Breaker(msgspec.Struct):
    """Keeps requests from a provider that fails, until one of them shows that it answers again.

    It is closed while requests pass; so many failures in a row open it; when it has been open for long enough it is
    half-open and lets one request through, the probe. Times are seconds on any clock that only goes forward.
    """

    failures: int = 0
    _open_until: float | None = None
    _probing: bool = False

    def state(self, now: float) -> State:
        """Return the state's name."""
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    def rests(self, now: float) -> float:
        """Return for how many seconds it lets nothing through, 0 when the next request may pass.

        While a probe is on its way that cannot be known: a second is said then.
        """
        if self._open_until is None:
            return 0.0
        return max(self._open_until - now, 1.0 if self._probing else 0.0)

    def enter(self, now: float) -> bool:
        """Let a request through, and return whether it is the probe. Only when `rests` is 0."""
        self._probing = self.state(now) == "half-open"
        return self._probing

    def answered(self, *, probe: bool) -> None:
        """Learn that an answer began: the probe's closes it, and until that is complete one failure opens it again."""
        if probe:
            self._open_until, self._probing = None, False

    def completed(self) -> None:
        """Learn that an answer went well to its end."""
        if self._open_until is None:
            self.failures = 0

    def failed(self, now: float, *, threshold: int, rest: float, probe: bool) -> None:
        """Learn of a failure: from so many in a row on it opens for ``rest`` seconds. A threshold of 0 is never."""
        self.failures += 1
        if probe:
            self._probing = False
        elif self._open_until is not None:
            return  # one that was on its way already: the rest is not prolonged
        if threshold and (probe or self.failures >= threshold):
            self._open_until = now + rest

    def withdrawn(self, *, probe: bool) -> None:
        """Learn that a request came to no end, through no fault of the provider: the next may be the probe."""
        if probe:
            self._probing = False

    def reset(self) -> None:
        """Close it, and forget."""
        self.failures, self._open_until, self._probing = 0, None, False


class Condition(msgspec.Struct):
    """One place that requests go to. ``open`` is how many exchanges with it are under way.

    ``latency`` is the running mean of the milliseconds until an answer begins, None before the first.
    """

    breaker: Breaker = msgspec.field(default_factory=Breaker)
    open: int = 0
    latency: float | None = None
    _rests_until: float = 0.0

    def rests(self, now: float) -> float:
        """Return for how many seconds it is asked only when there is nobody else, because its key was refused."""
        return max(self._rests_until - now, 0.0)

    def rest(self, until: float) -> None:
        """Learn that its key was refused, or used too much."""
        self._rests_until = until

    def began(self, milliseconds: float) -> None:
        """Learn how long an answer took to begin."""
        before = self.latency
        self.latency = milliseconds if before is None else before + _NEWEST * (milliseconds - before)
