"""Prometheus' forms of what was counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from trunkline.server.observability.metrics import REQUEST_LABELS, WHO, Histogram, Seen

_INFINITE: Final = "+Inf"


def page(
    seen: Seen,
    accept: str,
    gauges: Mapping[str, float] | None = None,
    counters: Mapping[str, float] | None = None,
) -> tuple[bytes, str]:
    """Return the metrics in the form that a scraper accepts, and its content type.

    With ``gauges`` and ``counters``, which are of the whole process, come those of the interpreter and of the machine.
    """
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry()
    registry.register(_Exchanges(seen))
    if gauges is not None and counters is not None:
        registry.register(_Standing(gauges, counters))
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
    return encode(registry), content_type


class _Exchanges(Collector):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        """Return what was counted of exchanges."""
        requests = CounterMetricFamily("trunkline_requests", "Finished exchanges.", labels=REQUEST_LABELS)
        for what, count in self._seen.requests.items():
            requests.add_metric(what, count)
        tokens = CounterMetricFamily(
            "trunkline_tokens",
            "Tokens that providers state; cached ones are part of the input, audio of both.",
            labels=(*WHO, "kind"),
        )
        cost = CounterMetricFamily("trunkline_cost_usd", "Cost in US dollars, where it is known.", labels=WHO)
        unpriced = CounterMetricFamily(
            "trunkline_unpriced_requests", "Successful exchanges whose cost is not known.", labels=WHO
        )
        for who, sums in self._seen.sums.items():
            for kind, used in sums.tokens.items():
                if used:
                    tokens.add_metric((*who, kind), used)
            if sums.cost is not None:
                cost.add_metric(who, sums.cost)
            if sums.unpriced:
                unpriced.add_metric(who, sums.unpriced)
        return [requests, tokens, cost, unpriced, *self._histograms()]

    def _histograms(self) -> Iterator[Metric]:
        for attribute, name, words in (
            ("durations", "trunkline_request_duration_seconds", "From the request to the end of its answer."),
            ("first_bytes", "trunkline_first_byte_seconds", "From the request to the first byte of its answer."),
            ("sessions", "trunkline_session_duration_seconds", "How long realtime sessions lasted."),
        ):
            family = HistogramMetricFamily(name, words, labels=WHO)
            for who, sums in self._seen.sums.items():
                histogram: Histogram = getattr(sums, attribute)
                if any(histogram.counts):
                    bounds = [*map(str, histogram.bounds), _INFINITE]
                    family.add_metric(who, [*zip(bounds, accumulate(histogram.counts), strict=True)], histogram.sum)
            yield family


class _Standing(Collector):
    def __init__(self, gauges: Mapping[str, float], counters: Mapping[str, float]) -> None:
        self._gauges = gauges
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        """Return how the process stands."""
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(f"trunkline_{name}", _words(name), value=value)
        for name, value in self._counters.items():
            yield CounterMetricFamily(f"trunkline_{name}", _words(name), value=value)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize() + "."
