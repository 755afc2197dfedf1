"""Everybody who is told of each finished exchange, besides the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trunkline.server.observability.logpush import Logpush
from trunkline.server.observability.metrics import Metrics, Reading
from trunkline.server.observability.tracing import Tracer, tracer_for
from trunkline.settings import Settings
from trunkline.store import LogRecord
from trunkline.upstream.http import HttpPool


class Observability:
    """Metrics always; spans and Logpush where the settings ask for them."""

    def __init__(self, gauges: Callable[[], Reading], counters: Callable[[], Reading]) -> None:
        self.metrics = Metrics(gauges, counters)
        self.logpush: Logpush | None = None
        self._tracer: Tracer | None = None

    def start(self, settings: Settings, pool: HttpPool) -> None:
        """Begin. Raises `SettingsError` where the settings ask for what cannot be."""
        self._tracer = tracer_for(settings)
        self.logpush = Logpush.of(settings, pool)
        if self.logpush is not None:
            self.logpush.start()

    def take(self, record: LogRecord) -> None:
        """Tell everybody of an exchange."""
        self.metrics.take(record)
        if self._tracer is not None:
            self._tracer.take(record)
        if self.logpush is not None:
            self.logpush.take(record)

    async def close(self) -> None:
        """Send what waits, as far as some seconds allow."""
        if self.logpush is not None:
            await self.logpush.close()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)
