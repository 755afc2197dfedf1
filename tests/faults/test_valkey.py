"""A Valkey server that is down, silent or restarted: what is limited passes or is refused, as the gateway is set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.administration import administration
from tests.contract.waiting import until
from tests.faults.stage import at, chat_of, exchange, left, provider, until_no_more_than
from tests.faults.wire import wire
from tests.running import data_directory, gateway, run
from tests.valkeys import ValkeyServer, valkey_server

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
