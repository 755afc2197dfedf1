"""What keeping a record costs: an append to the journal, as an exchange pays for it, and a row in the database.

    .venv/bin/python bench/journal.py [--directory DIR]

Appends are timed one by one; the rows are written in batches as the drain writes them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from trunkline.store import Database, Journal, LogRecord, Logs
from trunkline.store.identifiers import ulid
from trunkline.store.log_record import encoded

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the files are made (default: a temporary one)")
    chosen = parser.parse_args().directory
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-", dir=chosen) as name:
        directory = Path(name)
        print(f"{os.cpu_count()} cores, in {directory.parent}")
        appends(directory, 0, APPENDS, "off")
        appends(directory, 0, APPENDS, "on")
        appends(directory, 16 << 10, APPENDS // 10, "off")
        appends(directory, 1 << 20, 200, "off")
        asyncio.run(rows(directory))


if __name__ == "__main__":
    main()
