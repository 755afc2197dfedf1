"""Kept answers: in a file of SQLite's, and in a Valkey server; both are the real ones."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.running import run
from tests.valkeys import PASSWORD, ValkeyServer, valkey_server
from trunkline.errors import GatewayError, SettingsError
from trunkline.policy.caching import key_name
from trunkline.store.cache import CacheStore, KeptAnswer, Place, Purge, open_cache
from trunkline.store.valkey import Valkey

JSON = [(b"content-type", b"application/json")]
MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def place(number: int = 0, *, gateway: str = "default", model: str = "gpt-4o", key: str = "") -> Place:
    return Place(f"{number:064x}", gateway, "openai", model, key_name(gateway, key))


def answer(body: bytes = b"Hello", *, now: float, ttl: float = 600) -> KeptAnswer:
    return KeptAnswer(JSON, body, now, now + ttl)


Kept = Callable[[CacheStore, Callable[[], float]], Awaitable[None]]


@pytest.fixture(params=["memory", "disk", "valkey"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Kept], None]:
    """Run a test on one of the places in which answers are kept."""

    def on(main: Kept) -> None:
        async def running() -> None:

            valkey = None
            if request.param == "valkey":
                server: ValkeyServer = request.getfixturevalue("server")
                server.flush()
                valkey = Valkey.open(server.url)
            # All in memory is what fits there; nothing in memory is what must come from the disk.
            memory, disk = (MIB, 0) if request.param == "memory" else (0, MIB)
            store = open_cache(tmp_path, memory_bytes=memory, disk_bytes=disk, valkey=valkey)
            try:
                await main(store, time.time)
            finally:
                await store.close()
                if valkey is not None:
                    await valkey.close()

        run(running())

    return on


async def keep(store: CacheStore, at: Place, kept: KeptAnswer) -> None:
    found = await store.find(at)
    await store.keep(at, kept, found.mark)


def test_what_was_kept_is_found_until_it_expires(kept: Callable[[Kept], None]) -> None:
    async def main(store: CacheStore, now: Callable[[], float]) -> None:
        assert (await store.find(place(1))).answer is None
        whole = answer(b"\x00\xff" * 40_000, now=now())
        await keep(store, place(1), whole)
        assert (await store.find(place(1))).answer == whole
        assert (await store.find(place(2))).answer is None
        await keep(store, place(3), answer(now=now(), ttl=0.05))
        await asyncio.sleep(0.1)
        assert (await store.find(place(3))).answer is None

    kept(main)


def test_an_entry_takes_the_place_of_an_older_one(kept: Callable[[Kept], None]) -> None:
    async def main(store: CacheStore, now: Callable[[], float]) -> None:
        for body in (b"first", b"second"):
            await keep(store, place(1), answer(body, now=now()))
        found = (await store.find(place(1))).answer
        assert found is not None
        assert found.body == b"second"
        assert (await store.size("default")).entries == 1

    kept(main)


def test_a_purge_removes_what_fits_and_says_how_much(kept: Callable[[Kept], None]) -> None:
    async def main(store: CacheStore, now: Callable[[], float]) -> None:
        async def fill() -> None:
            for at in (place(1), place(2, model="a*"), place(3, key="mine"), place(4, gateway="team")):
                await keep(store, at, answer(now=now()))

        async def left() -> tuple[int, int]:
            return (await store.size("default")).entries, (await store.size("team")).entries

        await fill()
        assert await store.purge(Purge("default", key="nothing")) == 0
        assert await store.purge(Purge("default", model="*")) == 0
        assert await store.purge(Purge("default", provider="groq", key="mine")) == 0
        assert await left() == (3, 1)
        assert await store.purge(Purge("default", provider="openai", key="mine")) == 1
        assert await store.purge(Purge("default", model="a*")) == 1
        assert await store.purge(Purge("default", key=place(1).key)) == 1
        assert await left() == (0, 1)
        await fill()
        assert await store.purge(Purge("default")) == 3
        assert await left() == (0, 1)
        assert (await store.find(place(1))).answer is None

    kept(main)


def test_what_was_asked_for_before_a_purge_is_not_kept_after_it(kept: Callable[[Kept], None]) -> None:
    async def main(store: CacheStore, now: Callable[[], float]) -> None:
        before, elsewhere = await store.find(place(1)), await store.find(place(2, gateway="team"))
        await store.purge(Purge("default", model="another"))
        await store.keep(place(1), answer(now=now()), before.mark)
        await store.keep(place(2, gateway="team"), answer(now=now()), elsewhere.mark)
        assert (await store.find(place(1))).answer is None
        assert (await store.find(place(2, gateway="team"))).answer is not None

    kept(main)


def test_its_size_is_told(kept: Callable[[Kept], None]) -> None:
    async def main(store: CacheStore, now: Callable[[], float]) -> None:
        for number in range(5):
            await keep(store, place(number), answer(os.urandom(1000), now=now()))
        size = await store.size("default")
        assert size.entries == 5
        assert 5 * 1000 <= size.bytes < 5 * 2000

    kept(main)


# The file


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def test_answers_in_the_file_outlive_the_process_and_only_their_owner_may_read_it(tmp_path: Path) -> None:
    async def main() -> None:
        first = open_cache(tmp_path, memory_bytes=MIB, disk_bytes=MIB, valkey=None)

        await keep(first, place(1), answer(now=time.time()))
        assert {stat.S_IMODE(file.stat().st_mode) for file in files_in(tmp_path)} == {0o600}
        await first.close()
        assert files_in(tmp_path)
        assert {stat.S_IMODE(file.stat().st_mode) for file in files_in(tmp_path)} == {0o600}
        again = open_cache(tmp_path, memory_bytes=MIB, disk_bytes=MIB, valkey=None)
        assert (await again.find(place(1))).answer is not None
        await again.close()

    run(main())


def test_the_file_keeps_to_its_size_and_the_oldest_go_first(tmp_path: Path) -> None:
    async def main() -> None:

        store = open_cache(tmp_path, memory_bytes=0, disk_bytes=200_000, valkey=None)
        for number in range(60):
            await keep(store, place(number), answer(os.urandom(8000), now=time.time()))
        size = await store.size("default")
        assert 150_000 < size.bytes <= 200_000
        assert (await store.find(place(59))).answer is not None
        assert (await store.find(place(0))).answer is None
        await keep(store, place(99), answer(os.urandom(150_000), now=time.time()))
        assert (await store.find(place(99))).answer is None
        await store.close()
        assert sum(file.stat().st_size for file in files_in(tmp_path)) < 500_000

    run(main())


def test_memory_keeps_to_its_size_and_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    async def main() -> None:

        store = open_cache(tmp_path, memory_bytes=100_000, disk_bytes=0, valkey=None)
        for number in range(40):
            await keep(store, place(number), answer(b"x" * 8000, now=time.time()))
            assert (await store.find(place(0))).answer is not None
        assert (await store.find(place(1))).answer is None
        assert (await store.size("default")).bytes <= 100_000
        assert not files_in(tmp_path)

    run(main())


@pytest.mark.parametrize("damage", ["garbage", "version", "truncated"])
def test_a_file_that_is_damaged_or_of_another_version_is_made_anew(tmp_path: Path, damage: str) -> None:
    async def main() -> None:

        file = tmp_path / "cache.db"
        first = open_cache(tmp_path, memory_bytes=0, disk_bytes=MIB, valkey=None)
        for number in range(20):
            await keep(first, place(number), answer(os.urandom(8000), now=time.time()))
        await first.close()
        if damage == "version":
            with sqlite3.connect(file) as database:
                database.execute("PRAGMA user_version = 99")
            database.close()
        elif damage == "garbage":
            file.write_bytes(b"this is no database" * 1000)
        else:
            content = bytearray(file.read_bytes())
            content[4096 : 4096 * 8] = os.urandom(4096 * 7)
            file.write_bytes(content)
        with capture_logs() as logs:
            store = open_cache(tmp_path, memory_bytes=0, disk_bytes=MIB, valkey=None)
            for number in range(20):
                await store.find(place(number))
            await keep(store, place(100), answer(b"anew", now=time.time()))
            found = (await store.find(place(100))).answer
            await store.close()
        assert found is not None
        assert found.body == b"anew"
        assert any("made anew" in one["event"] for one in logs) == (damage != "version")

    run(main())


def test_a_folder_that_cannot_be_written_costs_the_cache_and_no_request(tmp_path: Path) -> None:
    async def main() -> None:

        (tmp_path / "cache.db").mkdir()
        with capture_logs() as logs:
            store = open_cache(tmp_path, memory_bytes=MIB, disk_bytes=MIB, valkey=None)
            for number in range(3):
                await keep(store, place(number), answer(now=time.time()))
                assert (await store.find(place(number))).answer is not None
            await store.close()
        assert [one["log_level"] for one in logs] == ["error"]

    run(main())


# Valkey


def test_what_one_process_keeps_and_purges_in_valkey_counts_for_all(server: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:

        server.flush()
        valkeys = [Valkey.open(server.url) for _ in range(2)]
        one, other = (open_cache(tmp_path, memory_bytes=MIB, disk_bytes=MIB, valkey=valkey) for valkey in valkeys)
        await keep(one, place(1), answer(now=time.time()))
        assert (await other.find(place(1))).answer is not None
        on_its_way = await one.find(place(2))
        assert await other.purge(Purge("default")) == 1
        await one.keep(place(2), answer(now=time.time()), on_its_way.mark)
        assert (await one.find(place(1))).answer is None
        assert (await one.find(place(2))).answer is None
        for valkey in valkeys:
            await valkey.close()
        assert not files_in(tmp_path)

    run(main())


def test_entries_in_valkey_expire_there_and_large_ones_are_compressed(server: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:

        server.flush()
        valkey = Valkey.open(server.url)
        store = open_cache(tmp_path, memory_bytes=0, disk_bytes=0, valkey=valkey)
        whole = answer(b"the same words " * 50_000, now=time.time(), ttl=600)
        await keep(store, place(1, key="of a caller"), whole)
        with server.client() as client:
            (key,) = client.keys("trunkline:cache:*")
            assert 590 <= client.ttl(key) <= 600
            assert client.strlen(key) < 50_000
            assert b"of a caller" not in key
            client.set(key, b"\x02of another version")
        assert (await store.find(place(1, key="of a caller"))).answer is None
        await valkey.close()

    run(main())


def test_a_gateway_whose_name_is_a_pattern_purges_only_itself(server: ValkeyServer, tmp_path: Path) -> None:
    async def main() -> None:

        server.flush()
        valkey = Valkey.open(server.url)
        store = open_cache(tmp_path, memory_bytes=0, disk_bytes=0, valkey=valkey)
        for gateway in ("*", "default", "a[b]"):
            await keep(store, place(1, gateway=gateway), answer(now=time.time()))
        assert await store.purge(Purge("*")) == 1
        assert await store.purge(Purge("a[b]")) == 1
        assert (await store.size("default")).entries == 1
        await valkey.close()

    run(main())


def test_a_valkey_that_is_away_is_a_miss_said_once_and_a_purge_says_so(tmp_path: Path) -> None:
    async def main() -> None:

        with valkey_server() as mortal, capture_logs() as logs:
            clock = Clock()
            opened = Valkey.open(mortal.url)
            valkey = Valkey(opened.client, opened.place, clock)
            store = open_cache(tmp_path, memory_bytes=0, disk_bytes=0, valkey=valkey)
            await keep(store, place(1), answer(now=time.time()))
            mortal.stop()
            for _ in range(3):
                await keep(store, place(1), answer(now=time.time()))
                assert (await store.find(place(1))).answer is None
                clock.now += 10
            for failing in (store.purge(Purge("default")), store.size("default")):
                with pytest.raises(GatewayError) as refused:
                    await failing
                assert PASSWORD not in refused.value.message
            mortal.start()
            clock.now += 10
            await keep(store, place(1), answer(now=time.time()))
            assert (await store.find(place(1))).answer is not None
            await valkey.close()
        assert [one["log_level"] for one in logs] == ["error", "info"]
        assert PASSWORD not in repr(logs)

    run(main())


# The address


@pytest.mark.parametrize(
    "url",
    [
        "http://:topsecret@host",
        "host:6379",
        "valkey://",
        "valkey://:topsecret@host:port",
        "valkey://:top/secret@host:6379",
        "valkey://:topsecret@host:6379/words",
        "valkey://:topsecret@host:6379/0?socket_timeout=soon",
        "valkey://:topsecret@host:6379#topsecret",
        "unix://",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="valkey_url") as refused:
        Valkey.open(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("valkey://:topsecret@cache.example:7000/3", "cache.example:7000"),
        ("rediss://user:topsecret@cache.example", "cache.example:6379"),
        ("unix:///run/valkey.sock", "the socket /run/valkey.sock"),
    ],
)
def test_a_client_is_known_by_its_place_and_never_by_its_password(url: str, place: str) -> None:
    valkey = Valkey.open(url)
    assert valkey.place == place
    assert "topsecret" not in repr(valkey.client)
