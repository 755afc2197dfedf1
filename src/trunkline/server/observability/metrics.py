"""Prometheus metrics: counters and histograms of finished exchanges, and how the gateway itself stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from trunkline.providers.catalogue import packaged_data
from trunkline.store import LogRecord

# From a cached answer to an agent that thinks for minutes.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
# Sessions last longer than requests.
_SESSION_SECONDS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)
# Whoever calls chooses the name of the model: so many are told apart, the rest are one.
MAX_MODELS: Final = 500
OTHER: Final = "other"
_NO_MODEL: Final = "none"

Reading = Mapping[str, float]
_Metric = TypeVar("_Metric", Counter, Histogram)


class Metrics:
    """Counts the records it is told of. ``counters`` and ``gauges`` are read when somebody asks, by name."""

    def __init__(self, gauges: Callable[[], Reading], counters: Callable[[], Reading]) -> None:
        self._registry = CollectorRegistry()
        self._models: set[str] = set()
        self._providers = set(packaged_data())
        who = ("gateway", "provider", "model")
        self._requests = Counter(
            "trunkline_requests",
            "Finished exchanges.",
            (*who, "request_type", "status", "end_reason", "cached"),
            registry=self._registry,
        )
        self._tokens = Counter(
            "trunkline_tokens",
            "Tokens that providers state; cached ones are part of the input, audio of both.",
            (*who, "kind"),
            registry=self._registry,
        )
        self._cost = Counter(
            "trunkline_cost_usd", "Cost in US dollars, where it is known.", who, registry=self._registry
        )
        self._unpriced = Counter(
            "trunkline_unpriced_requests", "Successful exchanges whose cost is not known.", who, registry=self._registry
        )
        self._duration = Histogram(
            "trunkline_request_duration_seconds",
            "From the request to the end of its answer.",
            who,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_byte = Histogram(
            "trunkline_first_byte_seconds",
            "From the request to the first byte of its answer.",
            who,
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._sessions = Histogram(
            "trunkline_session_duration_seconds",
            "How long realtime sessions lasted.",
            who,
            buckets=_SESSION_SECONDS,
            registry=self._registry,
        )
        self._children: defaultdict[Any, dict[tuple[str, ...], Any]] = defaultdict(dict)
        self._registry.register(_Standing(gauges, counters))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def take(self, record: LogRecord) -> None:
        """Count an exchange."""
        who = (record.gateway, self._provider(record), self._model(record.model))
        what = (*who, record.request_type, str(record.status), record.end_reason, "true" if record.cached else "false")
        self._child(self._requests, what).inc()
        for kind, count in (
            ("input", record.tokens_in),
            ("output", record.tokens_out),
            ("cached", record.tokens_cached),
            ("audio", record.tokens_audio),
        ):
            if count:
                self._child(self._tokens, (*who, kind)).inc(count)
        if record.cost is not None:
            self._child(self._cost, who).inc(max(record.cost, 0.0))
        elif record.success:
            self._child(self._unpriced, who).inc()
        if record.request_type == "realtime":
            self._child(self._sessions, who).observe(record.duration_ms / 1000)
            return
        self._child(self._duration, who).observe(record.duration_ms / 1000)
        if record.first_byte_ms is not None:
            self._child(self._first_byte, who).observe(record.first_byte_ms / 1000)

    def _child(self, metric: _Metric, labels: tuple[str, ...]) -> _Metric:
        """Return the metric of these labels: finding one takes the library a lock and a check of each label."""
        children = self._children[metric]
        child = children.get(labels)
        if child is None:
            child = children[labels] = metric.labels(*labels)
        found: _Metric = child
        return found

    def page(self, accept: str, gateway: str | None = None) -> tuple[bytes, str]:
        """Return the metrics in the form that a scraper accepts, and the content type of it.

        With ``gateway``, those of that gateway alone: nothing of the process or of other gateways.
        """
        encode, content_type = choose_encoder(accept)
        seen = self._registry if gateway is None else _OfGateway(self._registry, gateway)
        return encode(seen), content_type

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


class _OfGateway(Collector):
    """Those samples of a registry that are one gateway's."""

    def __init__(self, registry: CollectorRegistry, gateway: str) -> None:
        self._registry = registry
        self._gateway = gateway

    def collect(self) -> Iterable[Metric]:
        """Read what is that gateway's."""
        for family in self._registry.collect():
            own = [sample for sample in family.samples if sample.labels.get("gateway") == self._gateway]
            if own:
                kept = Metric(family.name, family.documentation, family.type, family.unit)
                kept.samples = own
                yield kept


class _Standing(Collector):
    """What is read at the moment of asking."""

    def __init__(self, gauges: Callable[[], Reading], counters: Callable[[], Reading]) -> None:
        self._gauges = gauges
        self._counters = counters

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: a registration must not read what is not there yet."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read all of it."""
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"trunkline_{name}", _words(name), value=value)
        for name, value in self._counters().items():
            yield CounterMetricFamily(f"trunkline_{name}", _words(name), value=value)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize() + "."
