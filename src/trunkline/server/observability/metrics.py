"""What Prometheus is told: counts and histograms of finished exchanges, and how the gateway itself stands.

Every exchange is counted here, and a scraper comes now and then: so they are plain sums until somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from trunkline.providers.catalogue import packaged_data
from trunkline.store import LogRecord

# From a cached answer to an agent that thinks for minutes.
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0)
# Sessions last longer than requests.
SESSION_SECONDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
# Whoever calls chooses the name of the model: so many are told apart, the rest are one.
MAX_MODELS: Final = 500
# And so many models of providers of gateways: each takes a KiB, and each scrape has them all.
MAX_TOLD_APART: Final = 5000
OTHER: Final = "other"
_NO_MODEL: Final = "none"

Reading = Mapping[str, float]

WHO: Final = ("gateway", "provider", "model")
_Who = tuple[str, str, str]


class Metrics:
    """Counts the records it is told of. ``counters`` and ``gauges`` are read when somebody asks, by name."""

    def __init__(self, gauges: Callable[[], Reading], counters: Callable[[], Reading]) -> None:
        self._gauges = gauges
        self._counters = counters
        self._models: set[str] = set()
        self._providers = set(packaged_data())
        self._requests: Counter[tuple[str, ...]] = Counter()
        self._sums: dict[_Who, _Sums] = {}

    def take(self, record: LogRecord) -> None:
        """Count an exchange."""
        gateway, provider, model = who = self._who(record)
        cached = "true" if record.cached else "false"
        self._requests[
            gateway, provider, model, record.request_type, str(record.status), record.end_reason, cached
        ] += 1
        sums = self._sums.get(who)
        if sums is None:
            sums = self._sums[who] = _Sums()
        sums.add(record)

    def page(self, accept: str, gateway: str | None = None) -> tuple[bytes, str]:
        """Return the metrics in the form that a scraper accepts, and the content type of it.

        With ``gateway``, those of that gateway alone: nothing of the process or of other gateways.
        """
        from trunkline.server.observability import exposition  # late: the library takes a while, and few ask

        seen = Seen(
            {what: count for what, count in self._requests.items() if gateway in (None, what[0])},
            {who: sums for who, sums in self._sums.items() if gateway in (None, who[0])},
        )
        if gateway is not None:
            return exposition.page(seen, accept)
        return exposition.page(seen, accept, self._gauges(), self._counters())

    def _who(self, record: LogRecord) -> _Who:
        who = (record.gateway, self._provider(record), self._model(record.model))
        if who in self._sums or len(self._sums) < MAX_TOLD_APART:
            return who
        return (*who[:2], OTHER)

    def _provider(self, record: LogRecord) -> str:
        """Return the provider's name; one that strangers made up in a path, and that was never asked, is no name."""
        if record.provider not in self._providers:
            if not (record.attempts or record.success):
                return OTHER if record.provider else ""
            self._providers.add(record.provider)
        return record.provider

    def _model(self, name: str) -> str:
        if not name:
            return _NO_MODEL
        if name not in self._models:
            if len(self._models) >= MAX_MODELS:
                return OTHER
            self._models.add(name)
        return name


class Histogram:
    """How many values were at most as large as each bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class _Sums:
    """Of one gateway, provider and model."""

    __slots__ = ("cost", "durations", "first_bytes", "sessions", "tokens", "unpriced")

    def __init__(self) -> None:
        self.tokens = {"input": 0, "output": 0, "cached": 0, "audio": 0}
        self.cost: float | None = None
        self.unpriced = 0
        self.durations = Histogram(SECONDS)
        self.first_bytes = Histogram(SECONDS)
        self.sessions = Histogram(SESSION_SECONDS)

    def add(self, record: LogRecord) -> None:
        tokens = self.tokens
        tokens["input"] += record.tokens_in or 0
        tokens["output"] += record.tokens_out or 0
        tokens["cached"] += record.tokens_cached or 0
        tokens["audio"] += record.tokens_audio or 0
        if record.cost is not None:
            self.cost = (self.cost or 0.0) + max(record.cost, 0.0)
        elif record.success:
            self.unpriced += 1
        if record.request_type == "realtime":
            self.sessions.add(record.duration_ms / 1000)
            return
        self.durations.add(record.duration_ms / 1000)
        if record.first_byte_ms is not None:
            self.first_bytes.add(record.first_byte_ms / 1000)


class Seen(NamedTuple):
    """What was counted: of `REQUEST_LABELS`, and of gateway, provider and model."""

    requests: Mapping[tuple[str, ...], int]
    sums: Mapping[_Who, _Sums]


REQUEST_LABELS: Final = (*WHO, "request_type", "status", "end_reason", "cached")
