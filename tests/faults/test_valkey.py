"""A Valkey server that is down, silent, restarted or full: what is limited passes or is refused, as it is set."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from tests.contract.administration import administration
from tests.contract.test_cache_store import Clock, answer, keep, place
from tests.contract.test_limits import ASKED, passes, rule, shared
from tests.contract.waiting import until
from tests.faults.stage import at, chat_of, exchange, left, provider, until_no_more_than
from tests.faults.wire import wire
from tests.running import data_directory, gateway, run
from tests.valkeys import ValkeyServer, valkey_server
from trunkline.errors import CacheUnavailable
from trunkline.server.limiting import Limiter
from trunkline.store.cache import Purge, open_cache
from trunkline.store.valkey import Valkey

# Long, so that no window ends in the middle of a test.
LIMIT = {"id": "few", "measure": "requests", "limit": 3, "window": 86400, "technique": "sliding"}


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.mark.parametrize("how", ["down", pytest.param("silent", marks=pytest.mark.whole)])
@pytest.mark.parametrize("fails", ["open", "closed"])
def test_without_valkey_what_is_limited_passes_or_is_refused_as_it_is_set(
    fails: str, how: str, server: ValkeyServer
) -> None:
    server.flush()

    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                await configuration.change_gateway("default", control={"limits": [LIMIT], "cache": {"ttl": 600}})
            async with (
                provider({}) as (there, origin),
                wire(server.port) as between,
                gateway(
                    data_dir=directory,
                    valkey_url=server.url.replace(f":{server.port}/", f":{between.port}/"),
                    limits_fail=fails,
                    **at(origin),
                ) as address,
            ):
                port = address.port
                asked = 0

                async def statuses(times: int) -> list[int | None]:
                    nonlocal asked
                    found = []
                    for _ in range(times):  # each another question, which no kept answer is for
                        asked += 1
                        found.append((await exchange(port, chat_of(f"m{asked}"))).status)
                    return found

                assert await statuses(2) == [200, 200]
                before = left(there.open)
                if how == "down":
                    server.stop()
                    between.cut()
                else:
                    between.holds = True
                try:
                    # Each process counts by itself, from nothing; or nobody passes uncounted.
                    assert await statuses(5) == ([200, 200, 200, 429, 429] if fails == "open" else [503] * 5)
                finally:
                    if how == "down":
                        server.start()
                    between.holds = False

                async def counts_again() -> bool:
                    refused = (await exchange(port, chat_of("probe"))).status
                    with server.client() as client:
                        is_there = any(b"limits:few" in key for key in client.keys("trunkline:*"))
                    return is_there and refused in (200, 429)

                await until(counts_again)
                # What was down forgot what it knew; what was silent did not.
                assert 429 in await statuses(4)
                await until_no_more_than(before, lambda: there.open + 2)

    run(main(), 60)


# Full


@contextmanager
def full(server: ValkeyServer, *, bytes_of_room: int = 1) -> Iterator[None]:
    """Let a server take nothing that needs memory, once it holds more than so many bytes."""
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", bytes_of_room)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


def refusals(server: ValkeyServer) -> int:
    """How often it has refused something for want of memory."""
    with server.client() as client:
        return int(client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"])


def used(server: ValkeyServer) -> float:
    """How much of the limit it has counted."""
    with server.client() as client:
        return sum(float(client.hget(key, "total") or 0) for key in client.keys("trunkline:*limits:few*"))


@pytest.mark.parametrize("fails", ["open", "closed"])
def test_a_full_valkey_costs_counts_as_it_is_set_and_what_it_holds_is_still_given(
    fails: str, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.store.valkey.REST_SECONDS", 0.05)  # so that it is asked, and refuses, often
    server.flush()

    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                some = {**LIMIT, "limit": 10, "where": {"model": ["m*"]}}  # what is kept is not limited
                rules = {"limits": [some], "cache": {"ttl": 600}}
                await configuration.change_gateway("default", control=rules)
            async with (
                provider({}) as (_, origin),
                gateway(data_dir=directory, valkey_url=server.url, limits_fail=fails, **at(origin)) as address,
                httpx.AsyncClient(base_url=address.http, timeout=30) as console,
            ):
                asked = 0

                async def status_of_another() -> int | None:
                    nonlocal asked
                    asked += 1
                    return (await exchange(address.port, chat_of(f"m{asked}"))).status

                async def is_kept() -> bool:
                    got = await exchange(address.port, chat_of("kept"))
                    assert got.status == 200
                    return got.headers["cf-aig-cache-status"] == "HIT"

                assert not await is_kept()
                await until(is_kept)
                before = refusals(server)
                statuses = []
                with full(server):

                    async def was_refused_again() -> bool:
                        statuses.append(await status_of_another())
                        assert await is_kept()
                        return refusals(server) >= before + 4

                    await until(was_refused_again)
                    shown = await console.get("/api/gateways/default/cache")
                    assert (shown.status_code, shown.json()["entries"]) == (200, 1)
                    assert (await console.get("/api/gateways/default/limits")).status_code == 200
                    # What is purged is gone; that there is no room even then is told.
                    purged = await console.delete("/api/gateways/default/cache")
                    assert (purged.status_code, purged.json()["error"]["code"]) == (503, "cache_unavailable")
                    assert (await console.get("/api/gateways/default/cache")).json()["entries"] == 0
                # Each process counts by itself, from nothing; or nobody passes uncounted.
                passed = statuses.count(200)
                assert statuses == [200] * passed + [429 if fails == "open" else 503] * (len(statuses) - passed)
                assert passed == (min(10, len(statuses)) if fails == "open" else 0)

                async def counts_again() -> bool:
                    before = used(server)
                    return await status_of_another() == 200 and used(server) == before + 1

                await until(counts_again)
                assert (await console.delete("/api/gateways/default/cache")).status_code == 200

    with capture_logs() as logs:
        run(main(), 60)
    told = [one for one in logs if "Valkey" in one["event"]]
    assert [one["event"] for one in told] == ["Valkey refuses what is brought to it"]
    assert "maxmemory" in told[0]["why"]


def test_a_full_valkey_is_told_of_once_however_often_it_has_room_in_between(
    server: ValkeyServer, tmp_path: Path
) -> None:
    server.flush()

    async def main() -> None:
        clock = Clock()
        opened = Valkey.open(server.url)
        valkey = Valkey(opened.client, opened.place, clock)
        store = open_cache(tmp_path, memory_bytes=0, disk_bytes=0, valkey=valkey)
        number = 0

        async def keeps() -> bool:
            nonlocal number
            number += 1
            clock.now += 10
            await keep(store, place(number), answer(now=time.time()))
            return (await store.find(place(number))).answer is not None

        assert await keeps()
        for _ in range(3):
            with full(server):
                assert not await keeps()
                assert (await store.find(place(1))).answer is not None
                assert not valkey.is_resting
            assert await keeps()
        assert len(logs) == 1
        clock.now += 60
        assert await keeps()
        await valkey.close()

    with capture_logs() as logs:
        run(main(), 30)
    assert [(one["log_level"], one["event"]) for one in logs] == [
        ("error", "Valkey refuses what is brought to it"),
        ("info", "Valkey takes everything again"),
    ]


def test_a_purge_makes_the_room_that_it_needs(server: ValkeyServer, tmp_path: Path) -> None:
    server.flush()

    async def main() -> None:
        valkey = Valkey.open(server.url)
        store = open_cache(tmp_path, memory_bytes=0, disk_bytes=0, valkey=valkey)
        with server.client() as client:
            room = client.info("memory")["used_memory"] + (12 << 20)
        for number in range(3):
            await keep(store, place(number), answer(os.urandom(8 << 20), now=time.time()))
        with full(server, bytes_of_room=room):
            assert await store.purge(Purge("default")) == 3
            assert (await store.size("default")).entries == 0
        with full(server), pytest.raises(CacheUnavailable, match="refuses"):
            await store.purge(Purge("default"))
        await valkey.close()

    run(main(), 30)


def test_what_was_used_while_valkey_was_full_is_settled_when_it_has_room(
    server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.store.valkey.REST_SECONDS", 0.1)
    server.flush()

    async def main() -> None:
        limit = rule("t", "tokens", 100_000)
        async with shared(server, tmp_path) as counters:
            limiter = Limiter(counters)
            lease = await limiter.take([limit], ASKED, set())
            with full(server):
                await lease.settle(10, None)
                assert await passes(counters, rule(limit=3)) == 3

            async def is_settled() -> bool:
                await counters._settle_the_rest()
                return [one.used for one in await counters.standing("default")] == [10.0]

            await until(is_settled)

    run(main(), 30)
