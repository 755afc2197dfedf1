"""How long charts take over a log of ten million rows, on SQLite and on PostgreSQL.

Fills a new database with exchanges of 90 days (8 providers, 40 models, 300 keys, 2,000 users, metadata): rows of the
log, and the sums that the charts are made from. Prints the figures that docs/analytics.md reports:

    python bench/analytics.py [--engine sqlite|postgresql] [--rows 10000000] [--without-log] [--url URL]

The sums are made by the gateway's own code. PostgreSQL runs as its wheel has it, with no setting made for speed of
reading. Ten million rows need about 10 GB in the folder for temporary files, until the end.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg
import msgspec
from sqlalchemy import Boolean, Table, text
from tests.databases import postgres_server

from trunkline.store import Database, LogRecord, schema
from trunkline.store.analytics import Analytics, Question
from trunkline.store.rollups import DAY, Rollups

TABLES = (schema.analytics.rollup_series, schema.analytics.rollup_sums, schema.analytics.rollup_latencies)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
DAYS = 90
BATCH = 100_000
GATEWAYS = ["default", "staging", "prod"]
PROVIDERS = ["openai", "anthropic", "google-ai-studio", "groq", "mistral", "deepseek", "openrouter", "local"]
MODELS = [(provider, f"{provider}-model-{number}") for provider in PROVIDERS for number in range(5)]
KEYS = [f"key_{number:03}" for number in range(300)]
USERS = [f"user-{number:04}@example.com" for number in range(2000)]
CUSTOMERS = [f"customer-{number:03}" for number in range(500)]
TEAMS = [f"team-{number:02}" for number in range(20)]
ANSWERS = [(200, "complete"), (429, "complete"), (500, "complete"), (401, "refused")]
BERLIN = ZoneInfo("Europe/Berlin")


def zipf(count: int) -> list[float]:
    """Cumulated weights: the second is used half as often as the first, the third a third as often."""
    return list(itertools.accumulate(1 / (rank + 2) for rank in range(count)))


def exchanges(count: int) -> Iterator[list[LogRecord]]:
    """Yield records in the order of time.

    A key belongs to one gateway and uses three models; a user has one to three keys and belongs to one customer.
    """
    chance = random.Random(7)
    homes = {key: chance.choice(GATEWAYS) for key in KEYS}
    habits = {key: chance.choices(range(len(MODELS)), cum_weights=zipf(len(MODELS)), k=3) for key in KEYS}
    since = NOW - DAYS * DAY
    apart = DAYS * DAY / count
    users_keys = {user: chance.choices(KEYS, cum_weights=zipf(len(KEYS)), k=chance.randint(1, 3)) for user in USERS}
    users_customer = {user: chance.choices(CUSTOMERS, cum_weights=zipf(len(CUSTOMERS)))[0] for user in USERS}
    user_weights = zipf(len(USERS))
    number = 0
    while number < count:
        size = min(BATCH, count - number)
        users = chance.choices(USERS, cum_weights=user_weights, k=size)
        answers = chance.choices(ANSWERS, cum_weights=[94, 96, 98, 100], k=size)
        batch = []
        for user, (status, reason) in zip(users, answers, strict=True):
            key, customer = chance.choice(users_keys[user]), users_customer[user]
            model = chance.choices(habits[key], (6, 3, 1))[0]
            provider, name = MODELS[model]
            success = status == 200
            is_session = success and chance.random() < 0.01
            first_byte = chance.lognormvariate(5.5 + model / 40, 0.5)
            tokens_in = int(chance.lognormvariate(6.5, 1))
            at = since + (number + chance.random()) * apart
            batch.append(
                LogRecord(
                    id=f"{int(at * 1000):012x}{number:014x}",
                    gateway=homes[key],
                    created_at=at,
                    duration_ms=first_byte + chance.lognormvariate(7, 0.7) if success else first_byte,
                    provider=provider,
                    model=name,
                    model_type="chat",
                    path="chat/completions",
                    request_type="realtime" if is_session else "http",
                    request_content_type="application/json",
                    response_content_type="application/json",
                    status=101 if is_session else status,
                    success=success,
                    cached=success and chance.random() < 0.1,
                    tokens_in=tokens_in if success else None,
                    tokens_out=tokens_in // 4 if success else None,
                    tokens_cached=tokens_in // 2 if success else None,
                    tokens_audio=tokens_in // 3 if is_session else None,
                    cost=tokens_in * 1e-6 * (model + 1) if success else None,
                    first_byte_ms=first_byte if success else None,
                    end_reason=reason,
                    key_id=key,
                    caller=key,
                    user=user,
                    key_source="vault",
                    user_agent="OpenAI/Python 3.54.0",
                    metadata={"customer": customer, "team": TEAMS[int(customer[-3:]) % len(TEAMS)]},
                    request_size=tokens_in * 4,
                    response_size=tokens_in,
                )
            )
            number += 1
        yield batch


CHARTS: list[tuple[str, Question, Any, Any]] = [
    (name, Question(since=NOW - days * DAY, until=NOW, measures=measures, by=by, filters=filters), interval, zone)
    for name, days, interval, zone, by, measures, filters in [
        ("requests, 3 hours by minute", 3 / 24, "minute", UTC, "", ["requests", "errors"], {}),
        ("requests by model, a day by minute", 1, "minute", UTC, "model", ["requests"], {}),
        ("requests and errors, a week by hour", 7, "hour", UTC, "", ["requests", "errors", "error_rate"], {}),
        ("status, 30 days by hour", 30, "hour", UTC, "status", ["requests"], {}),
        ("all sums by model, 30 days by hour", 30, "hour", UTC, "model", ["requests", "errors", "tokens", "cost"], {}),
        ("requests by key, 60 days by hour", 60, "hour", UTC, "key", ["requests"], {}),
        ("requests by provider, 90 days", 90, "day", UTC, "provider", ["requests", "cached"], {}),
        ("cost by model, 90 days", 90, "day", UTC, "model", ["cost"], {}),
        ("tokens by key, 90 days", 90, "day", UTC, "key", ["tokens_in", "tokens_out"], {}),
        ("tokens by key, 90 days of Berlin", 90, "day", BERLIN, "key", ["tokens_in", "tokens_out"], {}),
        ("cost by key, months of Berlin", 90, "month", BERLIN, "key", ["cost"], {}),
        ("cost by user, 90 days", 90, "day", UTC, "user", ["cost"], {}),
        ("cost by user, 90 days of Berlin", 90, "day", BERLIN, "user", ["cost"], {}),
        ("cost by team, 90 days", 90, "day", UTC, "metadata:team", ["cost"], {}),
        ("cost by customer, 90 days of Berlin", 90, "day", BERLIN, "metadata:customer", ["cost"], {}),
        ("models of a key, 90 days", 90, "day", UTC, "model", ["cost"], {"key": [KEYS[0]]}),
        ("models of a user, 90 days", 90, "day", UTC, "model", ["cost"], {"user": [USERS[0]]}),
        ("models of a customer, 90 days", 90, "day", UTC, "model", ["cost"], {"metadata:customer": [CUSTOMERS[0]]}),
        ("duration p50 p95 p99, 90 days", 90, "day", UTC, "", ["duration_p50", "duration_p95", "duration_p99"], {}),
        ("first byte p95 by model, 90 days", 90, "day", UTC, "model", ["first_byte_p95"], {}),
        ("duration p95 by key, 90 days", 90, "day", UTC, "key", ["duration_p95"], {}),
        ("duration p95 by user, 90 days", 90, "day", UTC, "user", ["duration_p95"], {}),
        ("duration p95 by model, 30 days by hour", 30, "hour", UTC, "model", ["duration_p95"], {}),
        ("duration p95 by key, a week by hour", 7, "hour", UTC, "key", ["duration_p95"], {}),
        ("duration p95 by key, 30 days by hour", 30, "hour", UTC, "key", ["duration_p95"], {}),
    ]
]
TILES = ["requests", "error_rate", "cache_rate", "tokens", "cost", "duration_p50", "duration_p95", "first_byte_p95"]


async def fill(database: Database, count: int, with_log: bool) -> None:
    """Write records and their sums, a batch in a transaction."""
    rollups = Rollups(lambda: NOW)
    started = time.monotonic()
    done = 0
    for batch in exchanges(count):
        if with_log:
            await write_log(database, batch)
        async with database.transaction() as connection:
            if database.dialect == "sqlite":
                await connection.exec_driver_sql("PRAGMA cache_size = -200000")
            await rollups.add(connection, batch)
        done += len(batch)
        spent = time.monotonic() - started
        print(f"\r{done:,} rows, {done / spent:,.0f} a second", end="", file=sys.stderr, flush=True)
    print(f"\nfilled in {(time.monotonic() - started) / 60:.0f} minutes", file=sys.stderr)


async def copy(database: Database, url: str) -> None:
    """Fill PostgreSQL with what a database of SQLite's holds: as it would itself come to hold, and sooner."""
    started = time.monotonic()
    async with opened(url) as source, source.reading() as rows:
        for table in (schema.logs, *TABLES):
            names = [column.name for column in table.columns]
            flags = [place for place, column in enumerate(table.columns) if isinstance(column.type, Boolean)]
            quoted = ", ".join(f'"{name}"' for name in names)
            cursor = await rows.stream(text(f"SELECT {quoted} FROM {table.name}"))
            async for part in cursor.partitions(BATCH):
                await copy_rows(database, table, names, [tuple(row) for row in part], flags)
    print(f"copied in {(time.monotonic() - started) / 60:.0f} minutes", file=sys.stderr)


async def copy_rows(database: Database, table: Table, names: list[str], rows: list[Any], flags: list[int]) -> None:
    if flags:
        rows = [tuple(bool(value) if place in flags else value for place, value in enumerate(row)) for row in rows]
    async with database.transaction() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        await driver.copy_records_to_table(table.name, records=rows, columns=names)


async def write_log(database: Database, batch: Sequence[LogRecord]) -> None:
    """Write rows of the log as quickly as the engine takes them."""
    names = [column.name for column in schema.logs.columns]
    unsaid = {"has_payload": False, "feedback": None, "score": None}
    dialect = database._engine.dialect
    as_json = schema.logs.c.metadata.type.dialect_impl(dialect).bind_processor(dialect)
    assert as_json is not None
    rows = []
    for record in batch:
        told = {**msgspec.structs.asdict(record), **unsaid, "written_at": record.created_at}
        told |= {name: as_json(told[name]) for name in ("usage", "metadata", "findings")}
        rows.append(tuple([told[name] for name in names]))
    async with database.transaction() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        if database.dialect == "postgresql":
            await driver.copy_records_to_table("logs", records=rows, columns=names)
        else:
            columns = ", ".join(f'"{name}"' for name in names)
            marks = ", ".join("?" * len(names))
            await driver.executemany(f"INSERT INTO logs ({columns}) VALUES ({marks})", rows)


async def measure(database: Database, repeat: int) -> list[tuple[str, float, float, int]]:
    """Return for each chart its first time, the median of the others, in seconds, and how many lines it has."""
    analytics = Analytics(database, lambda: NOW)
    found = []
    for name, question, interval, zone in CHARTS:
        times = []
        for _ in range(repeat):
            started = time.perf_counter()
            chart = await analytics.series(question, interval, zone)
            times.append(time.perf_counter() - started)
        found.append((name, times[0], statistics.median(times[1:]), len(chart.groups)))
        print(f"{name:45} {times[0]:7.3f} {found[-1][2]:7.3f} {len(chart.groups):4}", flush=True)
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        await analytics.summary(Question(since=NOW - 30 * DAY, until=NOW, measures=TILES))
        times.append(time.perf_counter() - started)
    found.append(("tiles: 30 days and the 30 before", times[0], statistics.median(times[1:]), 2))
    print(f"{found[-1][0]:45} {times[0]:7.3f} {found[-1][2]:7.3f}    2", flush=True)
    return found


async def sizes(database: Database) -> None:
    async with database.reading() as connection:
        for table in ("logs", "rollup_series", "rollup_sums", "rollup_latencies"):
            rows = (await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar()
            print(f"{table}: {rows:,} rows")
        if database.dialect == "postgresql":
            size = (await connection.exec_driver_sql("SELECT pg_database_size(current_database())")).scalar()
        else:
            pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
            size = (pages or 0) * ((await connection.exec_driver_sql("PRAGMA page_size")).scalar() or 0)
        print(f"database: {(size or 0) / 1e9:.1f} GB")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await Database.open(Path("unused"), url)
    try:
        yield database
    finally:
        await database.close()


async def tidy(url: str) -> None:
    """Do what autovacuum does to such tables in the course of a day."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


async def bench(url: str, arguments: argparse.Namespace) -> None:
    async with opened(url) as database:
        async with database.reading() as connection:
            is_filled = (await connection.exec_driver_sql("SELECT id FROM rollup_series LIMIT 1")).first()
        if not is_filled and arguments.copy:
            await copy(database, arguments.copy)
        elif not is_filled:
            await fill(database, arguments.rows, not arguments.without_log)
    async with opened(url) as database:
        if database.dialect == "postgresql":
            await tidy(url)
        await sizes(database)
        await measure(database, arguments.repeat)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--without-log", action="store_true", help="only the sums, which is all that charts read")
    parser.add_argument("--url", default="", help="this database instead, which stays: filled if it is empty")
    parser.add_argument("--copy", default="", metavar="URL", help="PostgreSQL: fill it from this database of SQLite's")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        if arguments.url:
            url = arguments.url
        elif arguments.engine == "postgresql":
            url = stack.enter_context(postgres_server()).fresh()
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-"))
            url = f"sqlite:///{folder}/bench.db"
        asyncio.run(bench(url, arguments))


if __name__ == "__main__":
    main()
