"""Charts over the log, on both engines: what they show is what a plain count of the same records gives."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import func, select

from tests.running import run
from trunkline.errors import MalformedRequest
from trunkline.policy.histogram import RELATIVE_ERROR
from trunkline.store import Database, LogRecord, Logs
from trunkline.store.analytics import Analytics, Chart, Question
from trunkline.store.rollups import DAY, HOUR, Rollups, _in_order
from trunkline.store.schema.analytics import rollup_latencies, rollup_series, rollup_sums
from trunkline.store.schema.logs import logs

NOW = datetime(2026, 11, 24, 15, 30, tzinfo=UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")
MODELS = {"openai": ("gpt-5", "gpt-realtime"), "anthropic": ("claude-5",), "local": ("demo",)}


@dataclass
class Stage:
    database: Database
    rollups: Rollups
    analytics: Analytics

    async def add(self, records: Sequence[LogRecord]) -> None:
        async with self.database.transaction() as connection:
            await self.rollups.add(connection, records)

    async def count(self, table: Any) -> int:
        async with self.database.reading() as connection:
            return (await connection.scalar(select(func.count()).select_from(table))) or 0


@asynccontextmanager
async def stage(url: str, now: float = NOW, **limits: int) -> AsyncIterator[Stage]:
    database = await Database.open(Path("unused"), url)
    clock: Callable[[], float] = lambda: now  # noqa: E731
    chosen = {"limits": limits} if limits else {}
    try:
        yield Stage(database, Rollups(clock, **chosen), Analytics(database, clock))
    finally:
        await database.close()


def some(count: int, seed: int, since: float = NOW - 5 * DAY, until: float = NOW) -> list[LogRecord]:
    """Records of every kind, spread over a time."""
    chance = random.Random(seed)
    records = []
    for number in range(count):
        provider = chance.choice(list(MODELS))
        status = chance.choices([200, 429, 500], [8, 1, 1])[0]
        success = status == 200
        kind = chance.choices(["http", "realtime"], [9, 1])[0]
        records.append(
            LogRecord(
                id=f"{seed:06}{number:020}",
                gateway=chance.choice(["default", "default", "prod"]),
                created_at=round(chance.uniform(since, until), 3),
                duration_ms=round(chance.lognormvariate(6, 1.5), 3),
                provider=provider,
                model=chance.choice(MODELS[provider]),
                request_type=kind,
                status=status,
                success=success,
                cached=success and chance.random() < 0.2,
                tokens_in=chance.randrange(5000) if success else None,
                tokens_out=chance.randrange(500) if success else None,
                tokens_cached=chance.choice([None, 100]),
                tokens_audio=chance.randrange(100) if kind == "realtime" else None,
                cost=chance.choice([None, 0.25, 0.5]),
                first_byte_ms=round(chance.lognormvariate(5, 1), 3) if success else None,
                key_id=chance.choice(["", "key_1", "key_2", "key_3"]),
                user=chance.choice(["", "ada", "grace", "mary"]),
                metadata=chance.choice([{}, {"team": "red"}, {"team": "blue", "trial": True}, {"team": 7}]),
            )
        )
    return records


SUMS: dict[str, Callable[[LogRecord], float]] = {
    "requests": lambda record: 1,
    "errors": lambda record: not record.success,
    "cached": lambda record: record.cached,
    "tokens_in": lambda record: record.tokens_in or 0,
    "tokens_out": lambda record: record.tokens_out or 0,
    "tokens": lambda record: (record.tokens_in or 0) + (record.tokens_out or 0),
    "tokens_cached": lambda record: record.tokens_cached or 0,
    "tokens_audio": lambda record: record.tokens_audio or 0,
    "cost": lambda record: record.cost or 0,
    "unpriced": lambda record: record.success and record.cost is None,
    "sessions": lambda record: record.request_type == "realtime",
    "session_seconds": lambda record: record.duration_ms / 1000 if record.request_type == "realtime" else 0,
}
GROUPS: dict[str, Callable[[LogRecord], str | None]] = {
    "": lambda record: None,
    "gateway": lambda record: record.gateway,
    "provider": lambda record: record.provider,
    "model": lambda record: record.model,
    "key": lambda record: record.key_id,
    "user": lambda record: record.user,
    "status": lambda record: str(record.status),
    "metadata:team": lambda record: str(record.metadata["team"]) if "team" in record.metadata else None,
}


def naive(records: Sequence[LogRecord], chart: Chart, by: str, measure: str) -> dict[str | None, list[float]]:
    """What a chart should show, counted from the records themselves."""
    edges = [*chart.starts, chart.until]
    found: defaultdict[str | None, list[float]] = defaultdict(lambda: [0.0] * len(chart.starts))
    for record in records:
        group = GROUPS[by](record)
        if by.startswith("metadata:") and group is None:
            continue
        for point, since in enumerate(chart.starts):
            if since <= record.created_at < edges[point + 1]:
                found[group][point] += SUMS[measure](record)
    return found


def shown(chart: Chart, measure: str) -> dict[str | None, Any]:
    return {group.value: pytest.approx(group.points[measure]) for group in chart.groups}


def test_sums_are_those_of_the_log(database_url: str) -> None:
    async def main() -> None:
        records = some(600, seed=1)
        async with stage(database_url) as at:
            for start in range(0, len(records), 97):
                await at.add(records[start : start + 97])
            kinds = (("hour", UTC), ("day", UTC), ("day", BERLIN), ("month", BERLIN), ("week", UTC))
            for by, (interval, zone) in product(GROUPS, kinds):
                question = Question(since=NOW - 5 * DAY, until=NOW, measures=list(SUMS), by=by)
                chart = await at.analytics.series(question, interval, zone)  # type: ignore[arg-type]
                assert not chart.rounded
                for measure in SUMS:
                    assert shown(chart, measure) == naive(records, chart, by, measure), (by, interval, measure)
                for group in chart.groups:
                    assert group.total["requests"] == sum(map(int, group.points["requests"]))  # type: ignore[arg-type]

    run(main(), 120)


def test_percentiles_are_within_the_stated_error_of_the_exact_ones(database_url: str) -> None:
    async def main() -> None:
        records = some(800, seed=2, since=NOW - 2 * DAY)
        async with stage(database_url) as at:
            await at.add(records)
            measures = ["requests", "duration_p50", "duration_p95", "first_byte_p90", "first_byte_p99"]
            measures += ["durations", "first_bytes"]
            for by, interval in (("", "hour"), ("provider", "minute"), ("key", "day"), ("user", "day")):
                since = NOW - 3 * HOUR if interval == "minute" else NOW - 2 * DAY
                question = Question(since=since, until=NOW, measures=measures, by=by)
                chart = await at.analytics.series(question, interval)  # type: ignore[arg-type]
                edges = [*chart.starts, chart.until]
                compared = 0
                for group in chart.groups:
                    own = [record for record in records if GROUPS[by](record) == group.value]
                    for point, (first, last) in enumerate(pairwise(edges)):
                        inside = [record for record in own if first <= record.created_at < last]
                        # Sessions take as long as people talk, which is nobody's latency.
                        durations = [r.duration_ms for r in inside if r.request_type != "realtime"]
                        first_bytes = [r.first_byte_ms for r in inside if r.first_byte_ms is not None]
                        assert group.points["durations"][point] == len(durations)
                        assert group.points["first_bytes"][point] == len(first_bytes)
                        for measure, times, percent in (
                            ("duration_p50", durations, 50),
                            ("duration_p95", durations, 95),
                            ("first_byte_p90", first_bytes, 90),
                            ("first_byte_p99", first_bytes, 99),
                        ):
                            told = group.points[measure][point]
                            exact = nearest_rank(times, percent)
                            assert (told is None) == (exact is None)
                            if told is not None and exact is not None:
                                compared += 1
                                assert abs(told - exact) <= max(exact * RELATIVE_ERROR * 1.000001, 1)
                assert compared > 20

    run(main(), 120)


def nearest_rank(times: Sequence[float], percent: int) -> float | None:
    return sorted(times)[math.ceil(len(times) * percent / 100) - 1] if times else None


FILTERS: list[tuple[str, dict[str, list[str]], Callable[[LogRecord], bool]]] = [
    ("model", {"key": ["key_1", "key_2"]}, lambda r: r.key_id in ("key_1", "key_2")),
    (
        "status",
        {"gateway": ["prod"], "provider": ["openai"]},
        lambda r: (r.gateway, r.provider) == ("prod", "openai"),
    ),
    ("provider", {"status": ["429", "500"]}, lambda r: r.status in (429, 500)),
    ("provider", {"status": [">=400"]}, lambda r: r.status >= 400),
    ("model", {"status": ["<=200", ">429"]}, lambda r: r.status <= 200 or r.status > 429),
    ("model", {"status": ["!=200"]}, lambda r: r.status != 200),
    ("key", {"status": ["<429"]}, lambda r: r.status < 429),
    ("model", {"user": ["ada"]}, lambda r: r.user == "ada"),
    ("provider", {"metadata:team": ["red", "7"]}, lambda r: r.metadata.get("team") in ("red", 7)),
    ("metadata:trial", {"gateway": ["default"]}, lambda r: r.gateway == "default" and "trial" in r.metadata),
    ("user", {"user": ["ada"], "gateway": ["prod"]}, lambda r: (r.user, r.gateway) == ("ada", "prod")),
]


def test_a_filter_leaves_what_it_names(database_url: str) -> None:
    groups = GROUPS | {"metadata:trial": lambda record: str(record.metadata["trial"]).lower()}

    async def main() -> None:
        records = some(500, seed=3)
        async with stage(database_url) as at:
            await at.add(records)
            for by, filters, wanted in FILTERS:
                question = Question(since=NOW - 6 * DAY, until=NOW, by=by, filters=filters)
                chart = await at.analytics.series(question, "day")
                shown = {group.value: group.total["requests"] for group in chart.groups}
                assert shown == Counter(groups[by](record) for record in records if wanted(record)), (by, filters)

    run(main())


def test_the_greatest_groups_come_first_and_all_others_are_one(database_url: str) -> None:
    async def main() -> None:
        records = [
            LogRecord(id=f"{number:026}", gateway="default", created_at=NOW - 60, key_id=f"key_{number % rank}")
            for rank in range(1, 8)
            for number in range(rank * 100, rank * 110)
        ]
        counts = Counter(record.key_id for record in records)
        async with stage(database_url) as at:
            await at.add(records)
            question = Question(since=NOW - HOUR, until=NOW, by="key", top=3)
            chart = await at.analytics.series(question, "hour")
        greatest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        assert [(group.value, group.total["requests"]) for group in chart.groups[:3]] == greatest[:3]
        assert (chart.groups[3].value, chart.groups[3].other) == (None, True)
        assert chart.groups[3].total["requests"] == sum(count for _, count in greatest[3:])

    run(main())


def test_a_record_that_is_written_again_is_counted_once(database_url: str) -> None:
    async def main() -> None:
        records = some(300, seed=4)
        async with stage(database_url) as at:
            writer = Logs(at.database, [at.rollups.add])
            for start in range(0, 300, 50):  # every batch holds half of the one before
                await writer.write(records[max(start - 25, 0) : start + 50])
            await writer.write(records)
            assert await total(at, "requests") == 300
            assert await at.count(logs) == 300

    run(main())


def test_two_writers_of_the_same_records_count_each_once(database_url: str) -> None:
    async def main() -> None:
        records = some(400, seed=5)
        async with stage(database_url) as at, stage(database_url) as other:
            writers = [Logs(one.database, [one.rollups.add]) for one in (at, other)]

            async def write(writer: Logs, seed: int) -> None:
                for start in random.Random(seed).sample(range(0, 400, 20), 20):
                    await writer.write(records[start : start + 20])

            await asyncio.gather(write(writers[0], 1), write(writers[1], 2))
            assert await total(at, "requests") == 400
            assert await total(at, "tokens") == sum(map(SUMS["tokens"], records))

    run(main())


def test_values_of_metadata_that_are_equal_and_read_differently_are_told_apart(database_url: str) -> None:
    values = [True, 1, 1.0, "1", "true"] * 30

    async def main() -> None:
        records = [msgspec.structs.replace(one, metadata={"n": n}) for one, n in zip(some(150, 1), values, strict=True)]
        async with stage(database_url) as at:
            await at.add(records)
            question = Question(since=NOW - 6 * DAY, until=NOW, measures=["requests"], by="metadata:n")
            chart = await at.analytics.series(question, "day", UTC)
            assert {group.value: sum(group.points["requests"]) for group in chart.groups} == {
                "true": 60,
                "1": 60,
                "1.0": 30,
            }

    run(main())


def test_a_record_whose_numbers_no_sum_can_have_keeps_no_other_out(database_url: str) -> None:
    async def main() -> None:
        rejected: list[LogRecord] = []
        records = some(250, seed=1)
        records[100] = msgspec.structs.replace(records[100], tokens_in=2**64 - 1)
        records[200] = msgspec.structs.replace(records[200], created_at=math.nan)
        async with stage(database_url) as at:
            logs = Logs(at.database, [at.rollups.add], on_rejected=rejected.append)
            assert await logs.write(records) == 248
            assert rejected == [records[100], records[200]]
            assert await total(at, "requests") == 248

    run(main())


def test_what_is_rolled_back_is_not_counted(database_url: str) -> None:
    async def main() -> None:
        async with stage(database_url) as at:

            async def fail(connection: Any, written: Sequence[LogRecord]) -> None:
                raise RuntimeError("the last thing in the transaction")

            with pytest.raises(RuntimeError):
                await Logs(at.database, [at.rollups.add, fail]).write(some(10, seed=6))
            assert await total(at, "requests") == 0
            assert await at.count(rollup_series) == 0

    run(main())


def test_deleted_rows_of_the_log_stay_in_the_sums(database_url: str) -> None:
    async def main() -> None:
        records = some(50, seed=7)
        async with stage(database_url) as at:
            await Logs(at.database, [at.rollups.add]).write(records)
            async with at.database.transaction() as connection:
                await connection.execute(logs.delete())
            assert await total(at, "requests") == 50

    run(main())


def test_more_series_than_a_statement_can_name_are_read_all_the_same(database_url: str) -> None:
    async def main() -> None:
        unused = [
            {"id": number, "cube": 3, "gateway": "default", "user": f"user-{number}", "status": 0}
            | dict.fromkeys(("provider", "model", "key_id", "name", "value"), "")
            for number in range(70_000)
        ]
        records = [record for record in some(200, seed=11, since=NOW - HOUR) if record.gateway == "default"]
        async with stage(database_url) as at:
            await at.add(records)
            async with at.database.transaction() as connection:
                await connection.execute(rollup_series.insert(), unused)
            question = Question(since=NOW - HOUR, until=NOW, by="user", filters={"gateway": ["default"]})
            chart = await at.analytics.series(question, "day")
        assert {group.value: group.total["requests"] for group in chart.groups} == Counter(r.user for r in records)

    run(main(), 120)


async def total(at: Stage, measure: str, by: str = "") -> float:
    question = Question(since=NOW - 30 * DAY, until=NOW, measures=[measure], by=by, top=100)
    chart = await at.analytics.series(question, "day")
    return sum(group.total[measure] or 0 for group in chart.groups)


def test_a_client_that_makes_up_names_cannot_fill_the_tables(database_url: str) -> None:
    async def main() -> None:
        def record(number: int, **fields: Any) -> LogRecord:
            return LogRecord(id=f"{number:026}", gateway="default", created_at=NOW - number % HOUR, **fields)

        regular = [record(number, user="ada", model="gpt-5", metadata={"team": "red"}) for number in range(100)]
        made_up = [
            record(
                1000 + number,
                user=f"user-{number}",
                model=f"model-{number}",
                metadata={"team": f"team-{number}", f"name-{number}": "value"},
                first_byte_ms=10.0,
            )
            for number in range(400)
        ]
        async with stage(database_url, user=5, model=5, name=3, value=4) as at:
            await at.add(regular)
            for start in range(0, 400, 20):
                await at.add(made_up[start : start + 20])
            for by, most in (("user", 10), ("model", 10), ("metadata:team", 8)):
                question = Question(since=NOW - DAY, until=NOW, by=by, top=100)
                groups = (await at.analytics.series(question, "day")).groups
                assert len(groups) <= most + 2
                assert (groups[0].value, groups[0].total["requests"]) in [
                    ("ada", 100),
                    ("gpt-5", 100),
                    ("red", 100),
                ]
                assert groups[-1].other
                assert sum(group.total["requests"] or 0 for group in groups) == 500
            question = Question(since=NOW - DAY, until=NOW, measures=["first_byte_p50"], by="model", top=100)
            others = (await at.analytics.series(question, "day")).groups[-1]
            assert others.total["first_byte_p50"] == pytest.approx(10, rel=RELATIVE_ERROR)
            # Of six cubes, over an hour and a bit: nowhere near the 400 names of each kind in each.
            assert await at.count(rollup_series) < 400

    run(main(), 120)


def test_the_values_of_a_day_are_counted_only_when_there_may_be_too_many(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        def batch(first: int, users: int) -> list[LogRecord]:
            return [
                LogRecord(
                    id=f"{first + number:026}",
                    gateway="default",
                    created_at=NOW,
                    key_id=f"key_{first + number}",
                    user=f"user-{(first + number) % users}",
                )
                for number in range(50)
            ]

        counted: list[str] = []
        original = Rollups._bound

        async def bound(*given: Any) -> None:
            counted.append(given[4])
            await original(*given)

        monkeypatch.setattr(Rollups, "_bound", bound)
        async with stage(database_url, user=40) as at:
            await at.add(batch(0, 50))
            assert "user" in counted
            counted.clear()
            for first in range(50, 500, 50):  # many series that are new, of users that are known
                await at.add(batch(first, 50))
            assert counted == []
            for first in range(500, 1000, 50):
                await at.add(batch(first, 10_000))
            assert 0 < len(counted) <= 2 * 500 / 38, "of two cubes, after each 38 users at most"
            groups = (await at.analytics.series(Question(since=NOW - DAY, until=NOW, by="user", top=100), "day")).groups
            assert len(groups) <= 81

    run(main(), 120)


def test_cells_are_written_in_the_order_of_their_keys_and_in_shares() -> None:
    async def main() -> None:
        chance = random.Random(2)
        cells = {(1 + number % 3, 60, number % 7, chance.getrandbits(60)): [number] for number in range(5000)}
        expected = [(*key, *cells[key]) for key in sorted(cells)]
        shares = [rows async for rows in _in_order(cells, apart=3)]
        assert [row for rows in shares for row in rows] == expected
        assert max(map(len, shares)) <= 250
        assert cells == {}

    run(main())


def test_what_has_no_place_in_a_database_is_cleaned(database_url: str) -> None:
    async def main() -> None:
        strange = "a\x00b\x1f\ud800c" + "d" * 500
        record = LogRecord(
            id="1", gateway="default", created_at=NOW, user=strange, model=strange, metadata={strange: strange}
        )
        async with stage(database_url) as at:
            await at.add([record])
            chart = await at.analytics.series(Question(since=NOW, until=NOW + 1, by="user"), "day")
            assert [(group.value, group.other) for group in chart.groups] == [("a b  c" + "d" * 194, False)]

    run(main())


def test_fine_sums_go_after_a_while_and_charts_of_days_stay(database_url: str) -> None:
    async def main() -> None:
        records = some(200, seed=8, since=NOW - 2 * HOUR)
        later = NOW + 500 * DAY
        async with stage(database_url) as at, stage(database_url, later) as then:
            await at.add(records)
            before = await at.count(rollup_sums), await at.count(rollup_latencies)
            assert await at.rollups.expire(at.database) == 0
            assert (await at.count(rollup_sums), await at.count(rollup_latencies)) == before
            assert await then.rollups.expire(then.database) > 0
            assert await then.count(rollup_sums) < before[0]
            question = Question(since=NOW - DAY, until=NOW, measures=["requests", "duration_p50"], by="provider")
            days = await then.analytics.series(question, "day")
            assert sum(group.total["requests"] or 0 for group in days.groups) == 200
            with pytest.raises(MalformedRequest, match="so long ago are kept by the day"):
                await then.analytics.series(question, "hour")
            # Days of Berlin begin within an hour that is no longer kept: the answer says that they are those of UTC.
            berlin = await then.analytics.series(question, "day", BERLIN)
            assert berlin.rounded
            assert sum(group.total["requests"] or 0 for group in berlin.groups) == 200

    run(main())


def test_what_comes_late_is_counted_by_the_steps_that_are_left(database_url: str) -> None:
    async def main() -> None:
        records = some(100, seed=9, since=NOW - 450 * DAY, until=NOW)
        async with stage(database_url) as at:
            await at.add(records)
            question = Question(since=NOW - 460 * DAY, until=NOW, measures=["requests", "first_byte_p50"])
            chart = await at.analytics.series(question, "month", BERLIN)
            assert sum(map(int, chart.groups[0].points["requests"])) == 100  # type: ignore[arg-type]

    run(main())


def test_a_summary_compares_a_time_with_the_one_before(database_url: str) -> None:
    async def main() -> None:
        records = some(400, seed=10, since=NOW - 2 * DAY)
        middle = NOW - DAY
        async with stage(database_url) as at:
            await at.add(records)
            question = Question(
                since=middle, until=NOW, measures=["requests", "cost", "error_rate", "duration_p95", "sessions"]
            )
            summary = await at.analytics.summary(question)
        assert (summary.before.until, summary.now.since, summary.rounded) == (middle, middle, False)
        for period, inside in (
            (summary.before, [record for record in records if record.created_at < middle]),
            (summary.now, [record for record in records if record.created_at >= middle]),
        ):
            assert period.total["requests"] == len(inside) > 100
            assert period.total["cost"] == pytest.approx(sum(record.cost or 0 for record in inside))
            assert period.total["error_rate"] == sum(not record.success for record in inside) / len(inside)
            durations = [record.duration_ms for record in inside if record.request_type != "realtime"]
            assert period.total["duration_p95"] == pytest.approx(nearest_rank(durations, 95), rel=RELATIVE_ERROR)
            assert period.total["sessions"] == sum(record.request_type == "realtime" for record in inside)

    run(main())


@pytest.mark.parametrize(
    ("question", "interval", "why"),
    [
        (Question(since=NOW, until=NOW), "day", "ends before it begins"),
        (Question(since=NOW - DAY, until=NOW, measures=["beauty"]), "hour", "no measure beauty"),
        (Question(since=NOW - DAY, until=NOW, measures=[]), "hour", "no measure"),
        (Question(since=NOW - DAY, until=NOW, by="colour"), "hour", "no dimension 'colour'"),
        (Question(since=NOW - DAY, until=NOW, by="metadata:"), "hour", "no dimension"),
        (Question(since=NOW - DAY, until=NOW, by="user"), "minute", "kept by the hour"),
        (Question(since=NOW - 9 * DAY, until=NOW - 8 * DAY), "minute", "so long ago are kept by the hour"),
        (Question(since=NOW - DAY, until=NOW, by="user", measures=["duration_p50"]), "hour", "kept by the day"),
        (Question(since=NOW - DAY, until=NOW, by="user", filters={"key": ["a"]}), "day", "user, key together"),
        (
            Question(since=NOW - DAY, until=NOW, by="metadata:a", filters={"metadata:b": ["c"]}),
            "day",
            "metadata:a, metadata:b together",
        ),
        (Question(since=NOW - DAY, until=NOW, filters={"status": ["2xx"]}), "day", "three digits"),
        (Question(since=NOW - DAY, until=NOW, top=0), "day", "from 1 to"),
        (Question(since=NOW - 300 * DAY, until=NOW), "hour", "too much for a chart"),
        (Question(since=NOW - 60 * DAY, until=NOW, by="key", top=50), "hour", "smaller `top`"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_with_what_to_ask_instead(
    tmp_path: Path, question: Question, interval: Any, why: str
) -> None:
    async def main() -> None:
        async with stage(f"sqlite:///{tmp_path / 'fresh.db'}") as at:
            with pytest.raises(MalformedRequest, match=why):
                await at.analytics.series(question, interval)

    run(main())
