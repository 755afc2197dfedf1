"""A clock that is set forward or back by hours while the gateway serves: what counts by which clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.clients.ga_upstream import ga_upstream
from tests.contract.administration import administration, new_key
from tests.contract.log_rows import logged
from tests.contract.test_governed_sessions import dial, limits
from tests.contract.test_limits import ASKED, passes, receiver, rule, webhooks
from tests.contract.test_resumption import ASK, KEY, TEXT, heard, say, user
from tests.contract.waiting import until
from tests.faults.stage import CHAT, Client, at, chat_of, exchange, provider
from tests.running import data_directory, gateway, run
from tests.valkeys import valkey_server
from trunkline.policy.limits import buckets
from trunkline.server.limiting import Limiter
from trunkline.server.log_tail import Tail
from trunkline.store import Database, LogFilter, Logs
from trunkline.store import counters as counting
from trunkline.store.cache import DiskCache, LocalCache, MemoryCache
from trunkline.store.counters import MemoryCounters, ValkeyCounters
from trunkline.store.valkey import Valkey

HOURS = 3 * 3600.0
JUMPS = pytest.mark.parametrize("jump", [HOURS, -HOURS], ids=["forward", "back"])


class Clock:
    """The machine's clock of this process, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = time.time
        self._ahead = 0.0
        monkeypatch.setattr(time, "time", self)
        # What was bound when it was defined, before there was a clock to set.
        for kind in (MemoryCounters, DiskCache, LocalCache):
            given = tuple(self if value is self._real else value for value in kind.__init__.__defaults__ or ())
            monkeypatch.setattr(kind.__init__, "__defaults__", given)

    def __call__(self) -> float:
        return self._real() + self._ahead

    def jump(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self._ahead += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@JUMPS
def test_a_limit_refuses_nobody_for_longer_than_its_window(jump: float, clock: Clock) -> None:
    limit = {"id": "few", "measure": "requests", "limit": 3, "window": 60, "technique": "sliding"}

    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                await configuration.change_gateway("default", control={"limits": [limit]})
            async with provider({}) as (_, origin), gateway(data_dir=directory, **at(origin)) as address:

                async def passed() -> int:
                    got = [(await exchange(address.port, chat_of("m"))).status for _ in range(5)]
                    assert {*got} <= {200, 429}
                    return got.count(200)

                assert await passed() == 3
                clock.jump(jump)
                # A minute passes for a clock that was set forward. What was used before it was set back counts.
                assert await passed() == (3 if jump > 0 else 0)
                clock.jump(61)
                assert await passed() == 3

    run(main(), 60)


@JUMPS
@pytest.mark.parametrize("technique", ["fixed", "sliding"])
def test_who_is_told_of_a_limit_is_told_again_in_the_next_window_of_the_clock(
    technique: str, jump: float, clock: Clock
) -> None:
    """Once in each: a clock that was set back does not keep it silent for as long as that."""

    async def main() -> None:
        async with receiver([200]) as (url, told):
            hooks = webhooks()
            limiter = Limiter(MemoryCounters(), webhooks=hooks)
            clock.jump(1800 - clock() % 3600)  # no hour begins in between
            hourly = rule(limit=20, window=3600, technique=technique, warn_at=0.25, webhook=url)
            for times in (1, 2):
                for _ in range(6):
                    await limiter.take([hourly], ASKED, set())
                await hooks.close()
                assert len(told) == times
                clock.jump(jump)

    run(main(), 30)


def test_budgets_are_counted_once_also_over_a_restart_after_the_clock_was_set_back(
    tmp_path: Path, clock: Clock
) -> None:
    """Two windows of an hour: what was counted in one that is to come counts in this one, and in no other besides."""
    long = rule(limit=10, window=7200, technique="fixed")

    async def main() -> None:
        database = await Database.open(tmp_path)
        try:
            first = MemoryCounters()
            await first.start(database)
            assert await passes(first, rule(limit=4, window=7200, technique="fixed")) == 4
            await first.close()
            clock.jump(-HOURS)
            for left in (6, 0, 0):
                counters = MemoryCounters()
                await counters.start(database)
                assert await passes(counters, long) == left
                await counters.close()
            clock.jump(7200)
            counters = MemoryCounters()
            await counters.start(database)
            assert await passes(counters, long) == 10
            await counters.close()
        finally:
            await database.close()

    run(main(), 60)


@pytest.mark.whole
def test_counts_in_valkey_survive_that_its_clock_is_set_back(tmp_path: Path) -> None:
    limit = rule(limit=5, window=60)
    at_once = rule("c", "concurrent", 2)

    async def main() -> None:
        with valkey_server() as server:
            valkey = Valkey.open(server.url)
            counters = ValkeyCounters(valkey)
            await counters.start(await Database.open(tmp_path))
            try:
                assert await passes(counters, limit) == 5
                assert await passes(counters, at_once) == 2
                # What was counted lies in the future of a clock that was set back by three hours.
                with server.client() as client:
                    place = counting._place(buckets([limit], ASKED)[0])
                    slots = client.hgetall(place)
                    later = round(HOURS / (60 / 200))
                    client.delete(place)
                    for name, value in slots.items():
                        moved = str(int(name) + later) if name.isdigit() else name
                        client.hset(place, moved, str(int(value) + later) if name in (b"place", b"first") else value)
                    leases = counting._place(buckets([at_once], ASKED)[0])
                    for lease, end in client.zrange(leases, 0, -1, withscores=True):
                        client.zadd(leases, {lease: end + HOURS * 1e6})
                assert await passes(counters, limit) == 0
                assert await passes(counters, at_once) == 0
                with server.client() as client:
                    seconds, _ = client.time()
                    assert all(int(name) <= seconds * 200 / 60 + 10 for name in client.hkeys(place) if name.isdigit())
                    assert all(end <= (seconds + 40) * 1e6 for _, end in client.zrange(leases, 0, -1, withscores=True))
                    assert float(client.hget(place, "total") or 0) in (0.0, 5.0)
            finally:
                await counters.close()
                await valkey.close()

    run(main(), 60)


@JUMPS
def test_a_session_goes_on_and_its_minutes_are_those_that_passed(jump: float, clock: Clock) -> None:
    rules = limits(max_duration=600, idle=600, minutes="30/1h")

    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                await configuration.change_gateway("default", realtime=rules.document())
            async with ga_upstream(key=KEY) as upstream:
                providers = {"openai": {"base_url": upstream.http, "api_key": KEY}}
                async with gateway(providers=providers, data_dir=directory) as address, dial(address) as socket:
                    await heard(socket, "session.created")
                    for _ in range(2):
                        clock.jump(jump)
                        await say(socket, TEXT, user("", "Hello."), ASK)
                        assert (await heard(socket, "response.done"))[-1]["response"]["status"] == "completed"
                    async with dial(address) as another:  # no minutes were used that did not pass
                        await heard(another, "session.created")

    run(main(), 60)


def test_a_key_that_expires_is_refused_by_the_clock_on_the_wall(clock: Clock) -> None:
    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                value, _ = await new_key(configuration, expires_at=clock() + 3600)
                await configuration.change_gateway("default", authenticated=True)
            async with (
                provider({}) as (_, origin),
                gateway(data_dir=directory, **at(origin, api_key="sk-x")) as address,
            ):

                async def asked() -> int | None:
                    async with await Client.to(address.port) as client:
                        client.ask(chat_of("m"), CHAT, cf_aig_authorization=f"Bearer {value}")
                        return (await client.answer()).status

                assert await asked() == 200
                clock.jump(HOURS)
                assert await asked() == 401
                clock.jump(-HOURS)
                assert await asked() == 200

    run(main(), 60)


def test_an_open_session_ends_when_its_key_has_expired_by_the_clock_on_the_wall(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.server.voice.opened._LOOK_SECONDS", 0.1)

    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                value, _ = await new_key(configuration, expires_at=clock() + 3600)
            async with ga_upstream(key=KEY) as upstream:
                providers = {"openai": {"base_url": upstream.http, "api_key": KEY}}
                async with gateway(providers=providers, data_dir=directory) as address, dial(address, value) as socket:
                    await heard(socket, "session.created")
                    clock.jump(HOURS)
                    error = (await heard(socket, "error"))[-1]["error"]
                    assert "expired" in error["message"]

    run(main(), 60)


@JUMPS
@pytest.mark.parametrize("memory", [1 << 20, 0], ids=["memory", "disk"])
def test_no_answer_is_kept_longer_than_it_may_be(jump: float, memory: int, clock: Clock, tmp_path: Path) -> None:
    from tests.contract.test_cache_store import answer, place

    async def main() -> None:
        cache = LocalCache(MemoryCache(memory), DiskCache(tmp_path / "cache.db", 1 << 20))
        try:
            kept = answer(now=clock(), ttl=600)
            found = await cache.find(place())
            await cache.keep(place(), kept, found.mark)
            assert (await cache.find(place())).answer == kept
            clock.jump(jump)
            assert (await cache.find(place())).answer is None
        finally:
            await cache.close()

    run(main(), 60)


@pytest.mark.whole
@JUMPS
def test_rows_go_on_to_be_written_and_told_to_who_watches(jump: float, clock: Clock) -> None:
    async def main() -> None:
        async with provider({}) as (_, origin), logged(**at(origin)) as running:
            database = await Database.open(running.directory)
            tail = Tail(Logs(database), clock())
            told: list[Any] = []

            async def told_of(models: Sequence[str]) -> None:
                async def are_there() -> bool:
                    told.extend(row.model for row in await tail.look(LogFilter()) or [])
                    return {*models} <= {*told}

                await until(are_there)

            try:
                assert (await exchange(running.address.port, chat_of("before"))).status == 200
                await told_of(["before"])
                clock.jump(jump)
                assert (await exchange(running.address.port, chat_of("after"))).status == 200
                await told_of(["after"])
            finally:
                await database.close()
        assert sorted(row.model for row in running.rows) == ["after", "before"]
        assert all(0 <= row.duration_ms < 60_000 for row in running.rows)

    run(main(), 60)


@pytest.mark.whole
@JUMPS
def test_a_provider_that_is_silent_is_given_up_after_the_time_that_passed(jump: float, clock: Clock) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        clock.jump(jump)
        await asyncio.sleep(0.3)
        clock.jump(-jump)
        return False

    async def main() -> None:
        async with (
            provider({"silent": silent}) as (_, origin),
            logged(**at(origin), first_byte_timeout=10) as running,
        ):
            got = await exchange(running.address.port, chat_of("silent"))
            assert (got.status, got.code) == (502, "upstream_broken")

    run(main(), 60)
