"""What keeping a record costs: an append to the journal, as an exchange pays for it, and its way into the database.

    .venv/bin/python bench/journal.py [--directory DIR] [--url URL] [--only appends|rows|drain] [--diverse]

Appends are timed one by one; rows are written in batches as the drain writes them. The drain is measured whole, from
the journal's files to rows and sums that are committed, in processor time of this process with all its threads: other
load on the machine shows less in it, but it does show, so compare two versions in turns. Beside it stands how late a
task comes that wants to run every millisecond, while as much is drained again. ``--url`` names an empty PostgreSQL
database to drain into instead of SQLite. With ``--diverse`` records are those of many keys, models, users and tags.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from trunkline.server.drain import Drain
from trunkline.store import Database, Journal, LogRecord, Logs
from trunkline.store.identifiers import ulid
from trunkline.store.log_record import encoded
from trunkline.store.rollups import Rollups

APPENDS = 100_000
ROWS = 20_000
BATCH = 500


def record(payload: int) -> LogRecord:
    said = b"x" * payload if payload else None
    return LogRecord(
        id=ulid(),
        gateway="default",
        created_at=time.time(),
        duration_ms=812.5,
        provider="openai",
        model="gpt-5-mini",
        model_type="chat",
        path="chat/completions",
        request_content_type="application/json",
        response_content_type="text/event-stream",
        status=200,
        success=True,
        tokens_in=812,
        tokens_out=120,
        usage={"prompt_tokens": 812, "completion_tokens": 120},
        cost=0.0012,
        first_byte_ms=310.0,
        key_id="k_0123456789",
        caller="team",
        metadata={"team": "blue"},
        request=said,
        response=said,
    )


def appends(directory: Path, payload: int, count: int, fsync: str) -> None:
    journal = Journal.open(directory / f"journal-{payload}-{fsync}", fsync="interval" if fsync == "on" else "off")
    kept = record(payload)
    size = len(encoded(kept))
    times = []
    for _ in range(count):
        started = time.perf_counter_ns()
        journal.append(encoded(kept))
        times.append((time.perf_counter_ns() - started) / 1000)
    assert journal.stats().appended == count
    cuts = statistics.quantiles(times, n=1000)
    print(
        f"append, {size:>7,} bytes, fsync {fsync:>3}:"
        f"  mean {statistics.mean(times):6.1f} us  p50 {cuts[499]:6.1f}  p99 {cuts[989]:6.1f}  p99.9 {cuts[998]:7.1f}"
    )
    started = time.perf_counter()
    while batch := journal.next_batch(BATCH):
        journal.done(batch)
    print(f"    read back: {(time.perf_counter() - started) / count * 1e6:6.1f} us a record")
    journal.close()


async def rows(directory: Path) -> None:
    database = await Database.open(directory)
    logs = Logs(database)
    records = [record(0) for _ in range(ROWS)]
    await logs.write(records[:BATCH])
    started = time.perf_counter()
    for start in range(BATCH, ROWS, BATCH):
        await logs.write(records[start : start + BATCH])
    each = (time.perf_counter() - started) / (ROWS - BATCH)
    print(f"rows into SQLite: {1 / each:,.0f} a second ({each * 1e6:.0f} us each)")
    await database.close()


def like(chance: random.Random) -> LogRecord:
    """One of many exchanges that differ as those of one application do."""
    took, tokens = chance.lognormvariate(6.5, 0.6), chance.randrange(100, 2000)
    return msgspec.structs.replace(
        record(0),
        model=chance.choice(("gpt-5", "gpt-5-mini", "gpt-5-nano")),
        duration_ms=took,
        first_byte_ms=took * 0.3,
        connect_ms=chance.uniform(5, 9),
        tokens_in=tokens,
        tokens_out=tokens // 4,
        usage={"prompt_tokens": tokens, "completion_tokens": tokens // 4, "details": {"cached_tokens": 0}},
        cost=tokens * 1.5e-6,
        request_size=tokens * 5,
        response_size=tokens * 3,
    )


def unlike(chance: random.Random) -> LogRecord:
    """One of many exchanges of a whole company."""
    return msgspec.structs.replace(
        like(chance),
        model=f"model-{chance.randrange(40)}",
        key_id=f"key_{chance.randrange(5000):012}",
        user=f"user-{chance.randrange(4000)}@example.com",
        metadata={"customer": f"customer-{chance.randrange(800)}", "team": f"team-{chance.randrange(20)}"},
    )


async def drain(directory: Path, url: str, make: Callable[[random.Random], LogRecord]) -> None:
    database = await Database.open(directory / "drained", url)
    journal = Journal.open(directory / "drained" / "journal")
    drain = Drain(journal, Logs(database, [Rollups().add]), list)
    chance = random.Random(1)
    late: list[float] = []

    async def drained(count: int) -> float:
        """Return how many microseconds of the processor a record took."""
        records = [encoded(make(chance)) for _ in range(count)]
        assert all(journal.append(one) for one in records)
        started = time.process_time()
        await drain.flush(600)
        each = (time.process_time() - started) / count * 1e6
        assert journal.is_drained
        return each

    async def tick() -> None:
        while True:
            expected = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            late.append((time.perf_counter() - expected) * 1000)

    drain.start()
    await drained(BATCH)
    gc.freeze()  # both as a gateway does when it has started
    gc.set_threshold(20_000, 10, 10)
    each = await drained(ROWS)
    ticking = asyncio.create_task(tick())
    await drained(ROWS)
    ticking.cancel()
    cuts = statistics.quantiles(late, n=1000)
    print(
        f"drained into {database.dialect}: {each:.1f} us of the processor each;"
        f"  loop late by p50 {cuts[499]:.2f} ms  p99 {cuts[989]:.2f}  max {max(late):.2f}"
    )
    await drain.stop()
    journal.close()
    await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, help="where the files are made (default: a temporary one)")
    parser.add_argument("--url", default="", help="an empty PostgreSQL database to drain into")
    parser.add_argument("--only", choices=("appends", "rows", "drain"), help="one of the measurements")
    parser.add_argument("--diverse", action="store_true", help="drain records of many keys, models, users and tags")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-", dir=chosen.directory) as name:
        directory = Path(name)
        print(f"{os.cpu_count()} cores, in {directory.parent}")
        if chosen.only in (None, "appends"):
            appends(directory, 0, APPENDS, "off")
            appends(directory, 0, APPENDS, "on")
            appends(directory, 16 << 10, APPENDS // 10, "off")
            appends(directory, 1 << 20, 200, "off")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if chosen.only in (None, "rows"):
                runner.run(rows(directory))
            if chosen.only in (None, "drain"):
                runner.run(drain(directory, chosen.url, unlike if chosen.diverse else like))


if __name__ == "__main__":
    main()
