"""Four processes with one Valkey: together they let pass as much as a limit allows, and hardly less."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import uvloop

from tests.valkeys import ValkeyServer, valkey_server
from trunkline.errors import LimitReached
from trunkline.policy.buckets import SLOTS
from trunkline.policy.facts import Facts
from trunkline.policy.limits import LimitRule
from trunkline.policy.prices import CustomCost
from trunkline.server.limiting import Limiter
from trunkline.store import Database
from trunkline.store.counters import Take, ValkeyCounters, Verdict
from trunkline.store.valkey import Valkey

PROCESSES: Final = 4
TASKS: Final = 8
WINDOW: Final = 1
LIMIT: Final = 200
SECONDS: Final = 3.5
ASKED: Final = Facts(gateway="default", provider="openai", model="gpt-4o-mini", tokens_in=1)
# Each request is thought to cost a cent, and costs up to two.
PRICE: Final = CustomCost(total_cost=0.01)
BUDGET: Final = 2.0
PLACES: Final = 5

RULES: Final[dict[str, dict[str, Any]]] = {
    "fixed": {"measure": "requests", "limit": LIMIT, "window": WINDOW, "technique": "fixed"},
    "sliding": {"measure": "requests", "limit": LIMIT, "window": WINDOW, "technique": "sliding"},
    "spend": {"measure": "cost", "limit": BUDGET, "window": 31_622_400, "technique": "fixed"},
    "at-once": {"measure": "concurrent", "limit": PLACES},
}


class Fleet:
    """Four processes of this module, which all do what they are told at the same time."""

    def __init__(self, server: ValkeyServer) -> None:
        self._server = server
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            for _ in range(PROCESSES)
        ]
        self._tell(server.url)
        assert self._answers() == ["ready"] * PROCESSES

    def hammer(self, name: str) -> list[Any]:
        """Have a rule hammered; return what all of them found."""
        self._server.flush()
        self._tell(name)
        return [one for answer in self._answers() for one in answer]

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def _tell(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()

    def _answers(self) -> list[Any]:
        return [json.loads(process.stdout.readline()) for process in self._processes if process.stdout is not None]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with valkey_server() as server:
        running = Fleet(server)
        try:
            yield running
        finally:
            running.stop()


def answers(found: list[Any]) -> tuple[list[float], list[float]]:
    """When something was granted and when refused, by Valkey's clock."""
    granted, refused = (sorted(at for at, is_refused in found if is_refused is kind) for kind in (False, True))
    assert len(granted) > LIMIT, "there was more than one window"
    assert refused, "there was load"
    return granted, refused


def count(times: Sequence[float], after: float, until: float) -> int:
    """How many times there are in ``(after, until]``."""
    return bisect_right(times, until) - bisect_right(times, after)


def test_no_fixed_window_passes_more_than_its_limit_and_none_that_refused_passed_less(fleet: Fleet) -> None:
    granted, refused = answers(fleet.hammer("fixed"))
    for at in granted:
        assert sum(1 for other in granted if int(other) == int(at)) <= LIMIT
    for window in {int(at) for at in refused}:
        assert sum(1 for at in granted if int(at) == window) == LIMIT


def test_no_stretch_of_a_sliding_window_passes_more_and_whoever_was_refused_saw_all_of_it_used(fleet: Fleet) -> None:
    granted, refused = answers(fleet.hammer("sliding"))
    for at in granted:
        assert count(granted, at - WINDOW, at) <= LIMIT
    # So that under load the limit is used up once in a window and a slot: 99.5 % of it in a window.
    for at in refused:
        assert count(granted, at - WINDOW - WINDOW / SLOTS, at) >= LIMIT
    assert SLOTS / (SLOTS + 1) >= 0.99


def test_spending_is_over_a_budget_by_no_more_than_was_open(fleet: Fleet) -> None:
    spent = fleet.hammer("spend")
    # What was still open when the others were refused, each at a cent, is all that can be missing.
    assert sum(spent) >= BUDGET - PROCESSES * TASKS * 0.01
    # Each of those that were under way may have cost a cent more than was reserved for it.
    assert sum(spent) <= BUDGET + PROCESSES * TASKS * 0.01


def test_there_are_no_more_at_once_than_places(fleet: Fleet) -> None:
    held = fleet.hammer("at-once")
    assert len(held) > 2 * PLACES
    changes = sorted([(begun, 1) for begun, _ in held] + [(ended, -1) for _, ended in held])
    open_now = most = 0
    for _, change in changes:
        open_now += change
        most = max(most, open_now)
    assert 1 < most <= PLACES


# In each of the four processes


class Watched(ValkeyCounters):
    """Counters that remember what they decided."""

    def __init__(self, valkey: Valkey) -> None:
        super().__init__(valkey)
        self.decided: list[tuple[float, bool]] = []

    async def take(self, wanted: Sequence[Take]) -> Verdict:
        verdict = await super().take(wanted)
        self.decided.append((verdict.at, verdict.is_refused))
        return verdict


async def hammer(valkey: Valkey, counters: Watched, name: str) -> list[Any]:
    """Ask for as much as may be had; return what was decided when, what was spent, or when what was held."""
    rule = msgspec.convert({"id": name, **RULES[name]}, LimitRule)
    dice = random.Random()
    limiter, loop = Limiter(counters), asyncio.get_running_loop()
    counters.decided = []
    found: list[Any] = []
    until = loop.time() + SECONDS

    async def requests() -> None:
        while loop.time() < until:
            try:
                await limiter.take([rule], ASKED, set())
            except LimitReached:
                await asyncio.sleep(0.002)

    async def spending() -> None:
        while loop.time() < until:
            try:
                lease = await limiter.take([rule], ASKED, set(), custom=PRICE)
            except LimitReached:
                await asyncio.sleep(0.002)
                continue
            await asyncio.sleep(dice.uniform(0, 0.05))
            cost = dice.uniform(0, 0.02)
            await lease.settle(None, cost)
            found.append(cost)

    async def at_once() -> None:
        while loop.time() < until - SECONDS / 2:
            try:
                lease = await limiter.take([rule], ASKED, set())
            except LimitReached:
                await asyncio.sleep(0.002)
                continue
            await asyncio.sleep(dice.uniform(0, 0.02))
            # By Valkey's clock, and before the place is given back: until when it was surely held.
            seconds, micros = await valkey.client.time()
            await lease.settle(None, None)
            found.append((lease.at, seconds + micros / 1e6))

    act = {"spend": spending, "at-once": at_once}.get(name, requests)
    await asyncio.gather(*(act() for _ in range(TASKS)))
    assert counters.counts() == {"limits_counted_without_valkey": 0}
    return found if act is not requests else counters.decided


async def serve() -> None:
    """Do what standard input says, line by line."""
    lines = iter(sys.stdin)
    valkey = Valkey.open(next(lines).strip())
    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(Path(folder))
        counters = Watched(valkey)
        await counters.start(database)
        answer("ready")
        for line in lines:
            answer(await hammer(valkey, counters, line.strip()))


def answer(what: Any) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
