"""Brings what waits in the journal into the database, and keeps the log as short as its gateways want it.

Exchanges never wait for this. While the database is away records wait in the journal, and this one tries again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog

from trunkline.errors import first_line
from trunkline.policy.logging import LoggingRules
from trunkline.store import AWAY, Batch, Journal, LogRecord, Logs
from trunkline.store.log_record import decoded
from trunkline.wire.documents import UNREADABLE

log = structlog.get_logger("trunkline.drain")

# So often is looked for records: what few they are goes in one transaction with its neighbours.
_LOOK_SECONDS: Final = 0.5
_ADOPT_SECONDS: Final = 5.0
_RETENTION_SECONDS: Final = 60.0
_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 10.0
# Longer than a writer waits for another process's transaction.
_FAREWELL_SECONDS: Final = 8.0
_FLUSH_SECONDS: Final = 10.0
# Transactions and sums cost about as much for few records as for many.
_BATCH: Final = 1000
_RECORDS_AT_ONCE: Final = 100
# After so many failures in a row that are not the database's, records are taken to be at fault.
_PATIENCE: Final = 8


class Drain:
    """Hands a journal's records to ``logs``. ``rules`` names each gateway and how long its rows are kept."""

    def __init__(
        self,
        journal: Journal,
        logs: Logs,
        rules: Callable[[], Iterable[tuple[str, LoggingRules]]],
        *,
        look: float = _LOOK_SECONDS,
        retention: float = _RETENTION_SECONDS,
    ) -> None:
        self._journal = journal
        self._logs = logs
        self._rules = rules
        self._look = look
        self._retention = retention
        self._news = asyncio.Event()
        self._asking: list[asyncio.Future[bool]] = []
        self._failures = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_held_up(self) -> bool:
        """Whether the last try to write into the database failed."""
        return self._failures > 0

    def start(self) -> None:
        """Begin to drain, with what earlier processes left."""
        self._tasks = [asyncio.create_task(self._drain()), asyncio.create_task(self._keep_short())]

    async def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Wait until all that was appended before is in the database; return whether it is.

        It is not when the database is away, or does not get done with it in ``seconds``.
        """
        if self._journal.is_drained:
            return True
        if not self._tasks:
            return False
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking.append(done)
        self._news.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await done
        return False

    async def stop(self) -> None:
        """Write what can be written in some seconds, and stop. What is left waits on the disk for the next start."""
        if not self._tasks:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._write_waiting()
        except Exception as error:
            waiting = self._journal.stats().waiting_bytes
            log.warning("records stay in the journal until the next start", bytes=waiting, why=first_line(error))
        self._answer(is_drained=self._journal.is_drained)

    async def _drain(self) -> None:
        adopt_at = 0.0
        while True:
            self._news.clear()
            if time.monotonic() >= adopt_at:
                await asyncio.to_thread(self._journal.adopt)
                adopt_at = time.monotonic() + _ADOPT_SECONDS
            await self._try()
            pause = self._look
            if self._failures:
                pause = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, 10))
            with suppress(TimeoutError):
                # Not wait_for: in Python 3.11 it swallows a cancellation that comes with the news.
                async with asyncio.timeout(pause):
                    await self._news.wait()

    async def _try(self) -> None:
        """Write all that waits; after a failure leave the rest for later."""
        asked, self._asking = self._asking, []
        try:
            await self._write_waiting()
        except Exception as error:
            # Busy, full or away, or a fault of ours: nothing of that may end the watch.
            if not self._failures:
                log.warning("the database takes no records; they wait in the journal", why=first_line(error))
            elif not isinstance(error, AWAY):
                log.error("records cannot be written", why=first_line(error), exc_info=error)
            self._failures += 1
            self._asking = [*asked, *self._asking]
            self._answer(is_drained=False)
            return
        except asyncio.CancelledError:
            self._asking = [*asked, *self._asking]
            raise
        if self._failures:
            log.warning("the database takes records again")
        self._failures = 0
        for done in asked:
            if not done.done():
                done.set_result(True)

    async def _write_waiting(self) -> None:
        # No more than waits now: under load there is always more, and somebody may wait for this to end.
        waiting = self._journal.stats().waiting_bytes
        while waiting > 0:
            batch = await asyncio.to_thread(self._journal.next_batch, _BATCH)
            if batch is None:
                return
            records = await self._understood(batch)
            await self._logs.write(records, gives_up=self._failures >= _PATIENCE)
            await asyncio.to_thread(self._journal.done, batch)
            waiting -= batch.end - batch.start
            while records:  # to forget all of them at once takes long, too
                del records[-_RECORDS_AT_ONCE:]
                await asyncio.sleep(0)

    async def _understood(self, batch: Batch) -> list[LogRecord]:
        """Return the records of a batch, and set aside what is none."""
        records: list[LogRecord] = []
        for number, payload in enumerate(batch.records, 1):
            try:
                records.append(decoded(payload))
            except UNREADABLE as error:
                log.error("a record in the journal cannot be understood", why=first_line(error))
                await asyncio.to_thread(self._journal.set_aside, payload)
            # Not in a thread: the event loop would wait longer for a thread that computes than for as few records.
            if number % _RECORDS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return records

    async def _keep_short(self) -> None:
        while True:
            for gateway, rules in [*self._rules()]:
                try:
                    deleted = await self._logs.enforce(gateway, rules, time.time())
                except Exception as error:
                    log.warning("old log rows are not deleted yet", gateway=gateway, why=first_line(error))
                else:
                    if deleted:
                        log.info("old log rows deleted", gateway=gateway, rows=deleted)
            await asyncio.sleep(self._retention)

    def _answer(self, *, is_drained: bool) -> None:
        asked, self._asking = self._asking, []
        for done in asked:
            if not done.done():
                done.set_result(is_drained)
