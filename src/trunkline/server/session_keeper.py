"""Writes realtime sessions into the database: each while it is open, and once more when it has ended.

Sessions never wait for the database: one task of its own writes for all of them, and what cannot be written yet is
kept in memory, up to a bound.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Final

import structlog

from trunkline.credentials.redaction import redact
from trunkline.errors import first_line
from trunkline.realtime.report import Report
from trunkline.server.live_sessions import LiveSession, LiveSessions
from trunkline.store import RealtimeSessions, StoredSession

log = structlog.get_logger("trunkline.sessions")

WRITE_SECONDS: Final = 30.0
MAX_UNWRITTEN: Final = 2000
_RETRY_SECONDS: Final = 2.0
_BATCH: Final = 100
# Longer than a writer waits for another process's transaction.
_FAREWELL_SECONDS: Final = 8.0


class SessionKeeper:
    """Keeps ``live`` sessions, every ``interval`` seconds and at their end; ``bound`` ends may wait to be written."""

    def __init__(
        self,
        live: LiveSessions,
        *,
        interval: float = WRITE_SECONDS,
        bound: int = MAX_UNWRITTEN,
        retry: float = _RETRY_SECONDS,
    ) -> None:
        self.live = live
        self._interval = interval
        self._bound = bound
        self._retry = retry
        self._store: RealtimeSessions | None = None
        self._unwritten: OrderedDict[str, StoredSession] = OrderedDict()
        self._news = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def stored(self) -> RealtimeSessions:
        """What was kept so far. It is there from the start on."""
        assert self._store is not None
        return self._store

    def start(self, store: RealtimeSessions) -> None:
        """Begin to write into ``store``. What an earlier process left open is marked as ended."""
        self._store = store
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Write what is left, and stop: call this before the database is closed. Takes some seconds at most."""
        if self._keeping is None:
            return
        self._keeping.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeping
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._write_open()
                while self._unwritten:
                    await self._write_ended()
        except Exception as error:
            log.error("sessions lost: they could not be written", ids=[*self._unwritten], why=first_line(error))

    def ended(self, session: LiveSession, report: Report) -> None:
        """Keep the last report of a session that was removed from ``live``. Returns at once."""
        self._unwritten[session.id] = _stored(session, report, ended_at=time.time())
        if len(self._unwritten) > self._bound:
            lost, _ = self._unwritten.popitem(last=False)
            log.error("session lost: too many wait for the database", id=lost)
        self._news.set()

    async def _keep(self) -> None:
        due = 0.0  # at once: what was left open is looked for
        while True:
            self._news.clear()
            try:
                await self._write_ended()
                if time.monotonic() >= due:
                    due = time.monotonic() + self._interval
                    await self._write_open()
                    await self._close_abandoned()
            except Exception as error:
                # The database may be busy, full or away; nothing of that may end the watch.
                log.warning("sessions cannot be written yet", waiting=len(self._unwritten), why=first_line(error))
                await asyncio.sleep(self._retry)
                continue
            if not self._unwritten:
                with suppress(TimeoutError):
                    # Not wait_for: in Python 3.11 it swallows a cancellation that comes with the news.
                    async with asyncio.timeout(max(0.0, due - time.monotonic())):
                        await self._news.wait()

    async def _write_ended(self) -> None:
        """Write the ends that wait, as many as go into one transaction."""
        batch = [session for _, session in zip(range(_BATCH), self._unwritten.values(), strict=False)]
        if not batch:
            return
        await self.stored.write(batch)
        for session in batch:
            if self._unwritten.get(session.id) is session:
                del self._unwritten[session.id]

    async def _write_open(self) -> None:
        """Write how the open sessions stand, one transaction for all."""
        batch = []
        for session in self.live.all():
            batch.append(_stored(session, session.record.report(session.elapsed()), ended_at=None))
            await asyncio.sleep(0)  # frames come first
        # One that ended meanwhile has its last report among the unwritten, and must not be opened again.
        batch = [session for session in batch if self.live.find(session.id) is not None]
        if batch:
            await self.stored.write(batch)

    async def _close_abandoned(self) -> None:
        count = await self.stored.close_abandoned(time.time())
        if count:
            log.warning("sessions of a process that ended without a word were marked as ended", count=count)


def _stored(session: LiveSession, report: Report, *, ended_at: float | None) -> StoredSession:
    return StoredSession(
        id=session.id,
        gateway=session.gateway,
        key_id=session.key_id,
        provider=session.provider,
        model=redact(session.model or report.model),
        started_at=session.started_at,
        written_at=time.time(),
        ended_at=ended_at,
        caller=session.caller,
        user_agent=session.user_agent,
        report=session.fit_to_keep(report),
    )
