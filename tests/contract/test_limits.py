"""Limits counted for real: in a database that outlasts the process, in Valkey, and told to webhooks over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from tests.contract.test_gateway_keys import eventually
from tests.databases import Postgres
from tests.running import run
from tests.valkeys import ValkeyServer, valkey_server
from trunkline.errors import LimitReached, LimitsUnavailable
from trunkline.policy.facts import Facts
from trunkline.policy.limits import LimitRule, buckets
from trunkline.policy.prices import CustomCost
from trunkline.server.limit_webhooks import LimitWebhooks
from trunkline.server.limiting import Lease, Limiter, UsedBucket
from trunkline.store import Database, schema
from trunkline.store import counters as counting
from trunkline.store.counters import Counters, MemoryCounters, Settle, Take, ValkeyCounters
from trunkline.store.valkey import Valkey
from trunkline.upstream.http import HttpPool

ASKED = Facts(gateway="default", provider="openai", model="gpt-4o-mini", key="key_1", tokens_in=100, tokens_out=400)
PRICE = CustomCost(per_token_in=0.001, per_token_out=0.001)


def rule(id: str = "r", measure: Any = "requests", limit: float = 2, **given: Any) -> LimitRule:
    # Longer than any test, so that no window ends in the middle of one.
    whole = {"id": id, "measure": measure, "limit": limit, "window": 86400, "technique": "sliding", **given}
    return msgspec.convert(whole, LimitRule)


def facts(**changes: Any) -> Facts:
    return Facts(**{name: getattr(ASKED, name) for name in Facts.__slots__} | changes)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.fixture
def valkey(server: ValkeyServer) -> ValkeyServer:
    if server.process.poll() is not None:
        server.start()
    server.flush()
    return server


@asynccontextmanager
async def shared(server: ValkeyServer, tmp_path: Path, **given: Any) -> AsyncIterator[ValkeyCounters]:
    """Counters as another process has them: with a connection of their own."""
    valkey = Valkey.open(server.url)
    counters = ValkeyCounters(valkey, **given)
    database = await Database.open(tmp_path)
    await counters.start(database)
    try:
        yield counters
    finally:
        await counters.close()
        await database.close()
        await valkey.close()


async def passes(counters: Counters, *rules: LimitRule, asked: Facts = ASKED) -> int:
    """How many requests pass before one is refused."""
    limiter, passed = Limiter(counters), 0
    while True:
        try:
            await limiter.take(rules, asked, set())
        except LimitReached:
            return passed
        passed += 1
        assert passed < 1000


# In the database


def test_what_was_used_of_a_long_window_outlasts_the_process(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        long = [rule("fixed", limit=5, technique="fixed"), rule("sliding", "tokens", 2500, per=["metadata.team"])]
        short = rule("short", limit=1, window=60)
        database = await Database.open(tmp_path, database_url)
        try:
            for expected in (3, 2):
                counters = MemoryCounters()
                await counters.start(database)
                limiter = Limiter(counters)
                for number in range(expected):
                    lease = await limiter.take(long, facts(metadata={"team": "r/d, é"}), set())
                    if number == 0:
                        await lease.settle(400, None)
                if expected == 3:
                    await limiter.take([short], ASKED, set())
                await counters.close()
            last = MemoryCounters()
            await last.start(database)
            standing = {one.name.partition("/")[0]: one for one in await last.standing("default")}
            assert {name: one.used for name, one in standing.items()} == {"fixed": 5, "sliding": 2300}
            assert all(one.resets_in > 0 for one in standing.values())
            assert await passes(last, long[0]) == 0
            assert await passes(last, short) == 1
            await last.close()
        finally:
            await database.close()

    run(main())


def test_counts_that_have_passed_leave_the_database(tmp_path: Path) -> None:
    async def main() -> None:
        now = time.time()
        clock = [now]
        database = await Database.open(tmp_path)
        counters = MemoryCounters(lambda: clock[0])
        await counters.start(database)
        await passes(counters, rule(window=3600))
        await counters.close()

        async def rows() -> int:
            async with database.reading() as connection:
                return await connection.scalar(select(func.count()).select_from(schema.control.limit_counts)) or 0

        assert await rows() == 1
        clock[0] = now + 7300
        later = MemoryCounters(lambda: clock[0])
        await later.start(database)
        await later.close()
        assert await rows() == 0
        await database.close()

    run(main())


def test_counting_goes_on_while_the_database_is_away_and_is_written_down_afterwards(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.fresh()

    async def main() -> None:
        database = await Database.open(tmp_path, url)
        counters = MemoryCounters()
        await counters.start(database)
        try:
            await asyncio.to_thread(postgres.stop)
            try:
                assert await passes(counters, rule(limit=3)) == 3
                await asyncio.sleep(1.5)  # a flush fails
            finally:
                await asyncio.to_thread(postgres.start)
            await counters.close()
            again = MemoryCounters()
            await again.start(database)
            assert await passes(again, rule(limit=3)) == 0
            await again.close()
        finally:
            await database.close()

    run(main())
    postgres.drop(url)


# In Valkey


def test_processes_share_what_is_used(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        rules = [rule("s", limit=7), rule("f", limit=9, technique="fixed"), rule("k", limit=8, per=["key"])]
        async with shared(valkey, tmp_path) as one, shared(valkey, tmp_path) as two:
            for number in range(7):
                await Limiter((one, two)[number % 2]).take(rules, ASKED, set())
            assert await passes(two, *rules) == 0
            assert await passes(one, rules[1], rules[2]) == 1
            assert await passes(one, rules[2], asked=facts(key="key_2")) == 8
            assert await passes(one, *rules, asked=facts(gateway="other")) == 7

    run(main())


def test_valkey_counts_as_memory_does(valkey: ValkeyServer, tmp_path: Path) -> None:
    """The script and the pure code are one arithmetic: the same takes and settlements, the same counts."""

    async def main() -> None:
        kinds: list[dict[str, Any]] = [
            {"measure": "requests", "limit": 4},
            {"measure": "requests", "limit": 4, "technique": "fixed"},
            {"measure": "tokens", "limit": 1000.0},
            {"measure": "cost", "limit": 0.3, "technique": "fixed"},
            {"measure": "cost", "limit": 0.0},
            {"measure": "concurrent", "limit": 2},
        ]
        amounts = [0.1, 1.0, 400.0, 0.0, 0.1, 1.0, 0.1, 700.0, 1.0, 0.05]
        async with shared(valkey, tmp_path) as there:
            here = MemoryCounters()
            for number, kind in enumerate(kinds):
                (bucket,) = buckets([rule(f"r{number}", **kind)], ASKED)
                for step, amount in enumerate(amounts):
                    wanted = [Take(bucket, amount, is_used=step == 7 and bucket.measure != "concurrent")]
                    verdicts = [await one.take(wanted) for one in (here, there)]
                    told = [(one.counts[0].used, one.is_refused) for one in verdicts]
                    assert told[0] == pytest.approx(told[1]), (kind, step)
                    for count in (one.counts[0] for one in verdicts):
                        assert count.is_over == (count.wait > 0) or count.used == 0
                    if step % 3 == 0 and not verdicts[0].is_refused:
                        settled: list[float] = []
                        for one in verdicts:
                            place = one.counts[0].place
                            settled += await one.counted_by.settle([Settle(bucket, place, 0.03, one.lease)])
                        assert bucket.measure == "concurrent" or settled[0] == pytest.approx(settled[1])

    run(main())


def test_windows_slide_and_end_by_the_servers_clock(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with shared(valkey, tmp_path) as counters:
            for technique in ("fixed", "sliding"):
                brief = rule(technique, limit=3, window=1, technique=technique)
                limiter = Limiter(counters)
                at: list[float] = []
                while len(at) < 10:
                    try:
                        at.append((await limiter.take([brief], ASKED, set())).at)
                    except LimitReached:
                        await asyncio.sleep(0.02)
                for moment in at:
                    within = [
                        one
                        for one in at
                        if (int(one) == int(moment) if technique == "fixed" else moment <= one < moment + 1)
                    ]
                    assert len(within) <= 3

    run(main())


def test_the_wait_that_is_told_is_long_enough(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with shared(valkey, tmp_path) as counters:
            (bucket,) = buckets([rule("t", "tokens", 10, window=1)], ASKED)
            for _ in range(5):
                await counters.take([Take(bucket, 2)])
                await asyncio.sleep(0.03)
            refused = await counters.take([Take(bucket, 5)])
            assert refused.is_refused
            await asyncio.sleep(refused.counts[0].wait + 0.01)
            assert not (await counters.take([Take(bucket, 5)])).is_refused

    run(main())


def test_valkey_forgets_what_counts_no_more(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with shared(valkey, tmp_path) as counters:
            rules = [rule("a", window=1), rule("b", window=1, technique="fixed"), rule("c", "concurrent")]
            lease = await Limiter(counters).take(rules, ASKED, set())
            await lease.settle(None, None)
            with valkey.client() as client:
                keys = client.keys("*")
                assert len(keys) == 3
                assert all(client.pttl(key) > 0 for key in keys)
                assert {key.split(b":limits:")[0] for key in keys} == {b"trunkline:{default}"}

    run(main())


def test_a_script_that_the_server_has_forgotten_is_sent_again(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with shared(valkey, tmp_path) as counters:
            await Limiter(counters).take([rule()], ASKED, set())
            with valkey.client() as client:
                client.script_flush()
            assert await passes(counters, rule()) == 1
            assert counters.counts() == {"limits_counted_without_valkey": 0}

    run(main())


def test_a_process_that_dies_gives_its_places_back_and_one_that_lives_keeps_them(
    valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(counting, "_RENEW_SECONDS", 0.2)

    async def main() -> None:
        at_once = rule("c", "concurrent", 2)
        async with shared(valkey, tmp_path) as alive:
            await Limiter(alive).take([at_once], ASKED, set())
            async with shared(valkey, tmp_path) as dead:
                await Limiter(dead).take([at_once], ASKED, set())
                with pytest.raises(LimitReached):
                    await Limiter(alive).take([at_once], ASKED, set())

            async def is_given_back() -> bool:
                return [one.used for one in await alive.standing("default")] == [1]

            await eventually(is_given_back)
            await asyncio.sleep(1.5)  # longer than a lease
            assert await is_given_back()
            assert await passes(alive, at_once) == 1

    run(main())


def test_who_leaves_while_valkey_is_asked_has_taken_nothing(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with shared(valkey, tmp_path) as counters:
            rules = [rule("n", limit=5), rule("t", "tokens", 5000), rule("c", "concurrent", 3)]
            limiter = Limiter(counters)
            await (await limiter.take(rules, ASKED, set())).release()  # the connection is there
            for turns in range(8):
                leaving = asyncio.create_task(limiter.take(rules, ASKED, set()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                leaving.cancel()
                (left,) = await asyncio.gather(leaving, return_exceptions=True)
                if isinstance(left, Lease):
                    await left.release()

            async def is_free() -> bool:
                return not any((await limiter.standing("default", rules)).values())

            await eventually(is_free)

    run(main())


def test_while_valkey_is_away_each_process_counts_by_itself(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with shared(valkey, tmp_path) as one, shared(valkey, tmp_path) as two:
            limits = [rule(limit=3), rule("t", "tokens", 100_000)]
            before = await Limiter(one).take(limits, ASKED, set())
            valkey.stop()
            try:
                assert await passes(one, *limits) == 3
                assert await passes(two, *limits) == 3
                assert one.counts() == {"limits_counted_without_valkey": 4}
                await before.settle(10, None)  # whose count is there: it does not fail
                during = await Limiter(one).take([limits[1]], ASKED, set())
            finally:
                valkey.start()

            async def is_back() -> bool:
                await two.take([Take(buckets([rule("probe", limit=10_000)], ASKED)[0], 1)])
                return bool(await two.standing("default"))

            await eventually(is_back)
            assert await passes(two, *limits) == 3
            await during.settle(10, None)

    run(main())


def test_where_nothing_may_pass_uncounted_what_is_limited_is_refused(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with shared(valkey, tmp_path, fails_open=False) as counters:
            limiter = Limiter(counters)
            session = await limiter.open_session([rule("m", "minutes", 5)], ASKED)
            valkey.stop()
            with pytest.raises(LimitsUnavailable) as raised:
                await limiter.take([rule()], ASKED, set())
            assert raised.value.status == 503
            assert "limits_fail" in raised.value.message
            await limiter.take([], ASKED, set())
            await session.tick(120)  # an open session goes on, and is counted later
            valkey.start()

            async def is_counted() -> bool:
                await session.tick(0)
                return [one.used for one in await counters.standing("default")] == [2.0]

            await eventually(is_counted)

    run(main())


# Told to people


@pytest.mark.parametrize("kind", ["memory", "valkey"])
def test_what_stands_is_told_by_rule_and_for_whom(kind: str, valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        rules = [rule("team", limit=100, per=["metadata.team", "key"]), rule("c", "concurrent"), rule("unused")]
        async with shared(valkey, tmp_path) as there:
            limiter = Limiter(there if kind == "valkey" else MemoryCounters())
            for team in ("a/b", "a/b", "", "c,d"):
                lease = await limiter.take([rules[0]], facts(metadata={"team": team} if team else {}), set())
            lease = await limiter.take([rules[1]], ASKED, set())
            await limiter.take([rules[2]], facts(gateway="other"), set())
            standing = await limiter.standing("default", rules)
            assert [(one.values, one.used) for one in standing["team"]][:1] == [
                ({"metadata.team": "a/b", "key": "key_1"}, 2.0)
            ]
            assert sorted(one.values["metadata.team"] for one in standing["team"]) == ["", "a/b", "c,d"]
            assert all(86000 < (one.resets_at or 0) - time.time() < 87000 for one in standing["team"])
            assert standing["c"] == [UsedBucket({}, 1, None)]
            assert standing["unused"] == []
            await lease.settle(None, None)
            assert (await limiter.standing("default", rules))["c"] == []

    run(main())


@asynccontextmanager
async def receiver(statuses: Sequence[int]) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that answers POSTs with these statuses in turn, the last one from then on; and what it was told."""
    told: list[Any] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r")[0])
        told.append(json.loads(await reader.readexactly(length)))
        status = statuses[min(len(told), len(statuses)) - 1]
        where = b"location: http://127.0.0.1:1/\r\n" if status == 302 else b""
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\nconnection: close\r\n%s\r\n" % (status, where))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook?token=abc", told


def webhooks(*pauses: float) -> LimitWebhooks:
    return LimitWebhooks(HttpPool(), pauses=pauses)


def test_a_webhook_is_told_once_of_each_bucket_that_is_nearly_used_up(valkey: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            receiver([200]) as (url, told),
            shared(valkey, tmp_path) as one,
            shared(valkey, tmp_path) as two,
        ):
            each = rule("team", limit=10, per=["metadata.team"], warn_at=0.5, webhook=url)
            limiters = [Limiter(counters, webhooks=webhooks()) for counters in (one, two)]
            for number in range(8):
                await limiters[number % 2].take([each], facts(metadata={"team": "red"}), set())
            for number in range(5):
                await limiters[number % 2].take([each], facts(metadata={"team": "blue"}), set())
            for limiter in limiters:
                await limiter._webhooks.close()
            assert sorted(one["bucket"]["metadata.team"] for one in told) == ["blue", "red"]
            one_told = told[0]
            assert abs(one_told.pop("at") - time.time()) < 60
            assert one_told == {
                "gateway": "default",
                "rule": "team",
                "measure": "requests",
                "bucket": {"metadata.team": "red"},
                "used": 5.0,
                "limit": 10.0,
                "window": 86400,
            }

    run(main())


def test_what_is_settled_can_be_what_the_webhook_is_told_of() -> None:
    async def main() -> None:
        async with receiver([200]) as (url, told):
            hooks = webhooks()
            limiter = Limiter(MemoryCounters(), webhooks=hooks)
            lease = await limiter.take([rule("b", "cost", 5, webhook=url)], ASKED, set(), custom=PRICE)
            await hooks.close()
            assert told == []
            await lease.settle(100, 4.5)
            await hooks.close()
            assert [one["used"] for one in told] == [4.5]

    run(main())


def test_a_webhook_that_fails_is_tried_again_and_one_that_goes_on_failing_given_up() -> None:
    async def main() -> None:
        async with receiver([500, 302, 204]) as (url, told):
            hooks = webhooks(0.01, 0.01)
            await Limiter(MemoryCounters(), webhooks=hooks).take([rule(limit=1, webhook=url)], ASKED, set())
            await hooks.close()
            assert (len(told), hooks.failed) == (3, 0)
        async with receiver([500]) as (url, told):
            hooks = webhooks(0.01)
            await Limiter(MemoryCounters(), webhooks=hooks).take([rule(limit=1, webhook=url)], ASKED, set())
            await hooks.close()
            assert (len(told), hooks.failed) == (2, 1)

    run(main())


def test_a_webhook_reaches_into_no_private_network(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with receiver([200]) as (url, told):
            port = url.rpartition(":")[2].partition("/")[0]
            # A name that leads to this machine, as a stranger's may; only names of loopback itself are trusted.
            resolved = [(2, 1, 6, "", ("127.0.0.1", int(port)))]

            async def lead_home(*_: Any, **__: Any) -> Any:
                return resolved

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lead_home, raising=False)
            hooks = webhooks()
            limited = rule(limit=1, webhook=f"https://hooks.example.org:{port}/")
            await Limiter(MemoryCounters(), webhooks=hooks).take([limited], ASKED, set())
            await hooks.close()
            assert (told, hooks.failed) == ([], 1)

    asyncio.run(main())
