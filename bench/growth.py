"""What grows: the gateway's cost as keys, providers, routes, limits and rows of the log become many, and over a day.

    python bench/growth.py                                     # all but the day: about 50 minutes
    python bench/growth.py keys providers --most 1000          # some of it, with no size above 1000
    python bench/growth.py rows --rows 0,1000000 --keep DIR    # databases that stay in DIR, and are filled only once
    python bench/growth.py rows --database-url postgresql      # on a server of PostgreSQL that is started for it
    python bench/growth.py processes                           # two gateways at work at once, on one database
    python bench/growth.py day --minutes 20                    # a day's traffic in 20 minutes

Gateways of all sizes run at once, and the load goes to them in turn, several rounds of it: this machine may become
slower meanwhile, but it does so for all of them. So look at ratios, which are those to the smallest size in the same
round. The upstream, the load and the accounts of processor time, with what goes into the database afterwards, are the
benchmark's (`trunkline bench`); the gateways share a core, and the load and the upstream have the other.

For keys, providers, routes and limits it is besides measured how long a start takes, how soon one more of them is known
to a gateway that runs, what that costs in processor time, and how long the gateway answers nobody meanwhile.

Results go to bench/results/growth.json, where those of other parts stay, and a table to standard output. Ten million
rows need 6 GB in --keep, or in the folder for temporary files, and an hour to be filled.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import insert

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import analytics
from tests.databases import postgres_server

from trunkline.benchmark.accounting import adopt_orphans, settle
from trunkline.benchmark.gateways import BenchmarkError
from trunkline.benchmark.gateways.gateway import KEY
from trunkline.benchmark.orders import Ask, Order, Outcome, Turn
from trunkline.benchmark.processes import Cores, Program, load, program, upstream
from trunkline.benchmark.running import await_answer, free_port, machine_of
from trunkline.benchmark.workloads import CHUNKS, Kind, question
from trunkline.policy.keys import ID_DIGITS, VALUE_DIGITS, new_key
from trunkline.policy.registry import GatewayKey, GatewayRules, Scope
from trunkline.store import Configuration, Database, Vault, schema
from trunkline.store.configuration import key_row
from trunkline.store.custom_providers import CustomProviders
from trunkline.store.routes import Routes

PARTS = ("keys", "providers", "routes", "limits", "processes", "rows")
RESULTS = Path(__file__).parent / "results" / "growth.json"
GATEWAY = "default"
PLAIN = f"/v1/local/{GATEWAY}/openai/chat/completions"
SPREAD = 500
CHANGES = 5
PATIENCE_SECONDS = 60.0
# Which requests go the general way, and not the short one of plain chats.
NOT_PLAIN = {"cf-aig-event-id": "growth"}

Administrator = tuple[Database, Configuration, CustomProviders, Routes]
Act = Callable[[Administrator], Awaitable[Ask]]


# Set-ups


def gateway_keys(count: int, seed: int = 7) -> list[tuple[str, GatewayKey]]:
    chance = random.Random(seed)
    return [
        new_key(
            f"{chance.getrandbits(4 * (VALUE_DIGITS + ID_DIGITS)):0{VALUE_DIGITS + ID_DIGITS}x}",
            gateway=GATEWAY,
            name=f"app {number}",
            scopes={Scope.RUN},
            models=(),
            now=time.time(),
            expires_at=None,
        )
        for number in range(count)
    ]


def bearer(value: str) -> dict[str, str]:
    return {"authorization": f"Bearer {value}"}


def ask(value: str, **more: Any) -> Ask:
    return Ask(**{"path": PLAIN, "headers": bearer(value), "model": "gpt-4o-mini", **more})


async def administrate(folder: Path, url: str, act: Callable[[Administrator], Awaitable[Any]]) -> Any:
    """Do something in a gateway's database as an administrator's commands do it, in another process than its own."""
    database = await Database.open(folder, url)
    try:
        vault = Vault.at(folder, "")
        configuration = Configuration(database, vault, GatewayRules(GATEWAY, authenticated=False))
        await configuration.check()
        return await act((database, configuration, CustomProviders(database, vault, ["*"]), Routes(database)))
    finally:
        await database.close()


async def set_up(admin: Administrator, keys: Sequence[tuple[str, GatewayKey]]) -> None:
    """Make an authenticated gateway with a provider's key and these keys of its own."""
    database, configuration, _, _ = admin
    await configuration.store_key(GATEWAY, "openai", "default", KEY, KEY[-4:])
    async with database.transaction() as connection:
        await connection.execute(insert(schema.gateway_keys), [key_row(key) for _, key in keys])
    await configuration.change_gateway(GATEWAY, authenticated=True)


def one_more_key(number: int) -> Act:
    (value, key), *_ = gateway_keys(1, seed=1_000_000 + number)

    async def act(admin: Administrator) -> Ask:
        await admin[1].add_key(key)
        return ask(value)

    return act


def provider_path(number: int | str) -> str:
    return f"/v1/local/{GATEWAY}/custom-many-{number}/chat/completions"


async def add_provider(admin: Administrator, base_url: str, number: int | str) -> None:
    await admin[2].create(
        f"many-{number}", name=f"Many {number}", base_url=base_url, enable=True, fields={}, headers={"x-team": "growth"}
    )


def route_elements() -> list[dict[str, Any]]:
    model = {"provider": "openai", "model": "gpt-4o-mini", "timeout": 0, "retries": 0}
    return [
        {"id": "start", "type": "start", "outputs": {"next": {"elementId": "plan"}}},
        {
            "id": "plan",
            "type": "conditional",
            "properties": {"conditions": {"metadata.plan": {"$eq": "free"}}},
            "outputs": {"true": {"elementId": "model"}, "false": {"elementId": "model"}},
        },
        {"id": "model", "type": "model", "properties": model, "outputs": {"success": {"elementId": "end"}}},
        {"id": "end", "type": "end", "outputs": {}},
    ]


def limit_rules(keys: Sequence[tuple[str, GatewayKey]]) -> list[dict[str, Any]]:
    """Return a limit of tokens for each key, as ``keys create --limit`` makes them."""
    return [
        {
            "id": f"{key.id}.tokens",
            "measure": "tokens",
            "limit": 1e12,
            "window": 3600,
            "technique": "sliding",
            "where": {"key": [key.id]},
        }
        for _, key in keys
    ]


# Running gateways


@dataclass
class Sized:
    """A gateway of one size that runs. ``asks`` are measured, by name."""

    size: int
    folder: Path
    url: str
    port: int
    asks: dict[str, Ask]
    program: Program
    started: float = 0.0
    idle: float = 0.0
    resident: int = 0


@dataclass
class Bench:
    """What all parts share."""

    arguments: argparse.Namespace
    cores: Cores
    stack: ExitStack
    upstream: int
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.upstream}/v1"

    def folder(self) -> Path:
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-growth-")))

    def sizes(self, *wanted: int) -> list[int]:
        most = self.arguments.most
        return sorted({min(size, most) for size in wanted})

    def start(self, size: int, folder: Path, asks: dict[str, Ask], stack: ExitStack, url: str = "") -> Sized:
        """Start a gateway, and say how long it took to its first answer and what it takes when nobody asks."""
        port = free_port()
        environment = {
            **{f"TRUNKLINE_PROVIDERS__{name}__BASE_URL": self.base_url for name in ("OPENAI", "GROQ", "MISTRAL")},
            "TRUNKLINE_PORT": str(port),
            "TRUNKLINE_DATA_DIR": str(folder),
            "TRUNKLINE_DATABASE_URL": url,
            "TRUNKLINE_CUSTOM_PROVIDER_HOSTS": "127.0.0.1",
        }
        began = time.monotonic()
        running = stack.enter_context(
            program([sys.executable, "-m", "trunkline", "serve"], environment, folder, self.cores)
        )
        await_answer(running, port, next(iter(asks.values())))
        sized = Sized(size, folder, url, port, asks, running, time.monotonic() - began)
        settle(running.tree, longest=20.0)
        before = running.tree.seconds()
        time.sleep(1.0)
        sized.idle = running.tree.seconds() - before
        sized.resident = running.tree.memory().tree
        say(f"{size:,}: started in {sized.started:.1f} s, {sized.resident / 1e6:.0f} MB")
        return sized


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def per_request(bench: Bench, wanted: Ask, *gateways: Sized) -> float:
    """Return how many microseconds of the processor a request takes, with what is done of it afterwards.

    Of several gateways, all have the load at once.
    """
    seconds = bench.arguments.seconds
    with ExitStack() as loads:
        orders = [Order(sized.port, "chat", wanted, seconds, min(1.0, seconds)) for sized in gateways]
        ready = [loads.enter_context(load(order, bench.cores)) for order in orders]
        before = sum(settle(sized.program.tree, usual=sized.idle).seconds for sized in gateways)
        with ThreadPoolExecutor(len(ready)) as pool:
            outcomes = [*pool.map(lambda one: one.run(), ready)]
    spent = sum(settle(sized.program.tree, usual=sized.idle).seconds for sized in gateways) - before
    for outcome in outcomes:
        if outcome.failures:
            raise BenchmarkError(f"{outcome.failures} answers were wrong: {outcome.why}")
    return spent / sum(outcome.count for outcome in outcomes) * 1e6


def in_turn(bench: Bench, gateways: Sequence[Sized]) -> list[dict[str, Any]]:
    """Measure all, in several rounds; return a row for each size and kind of request."""
    found: dict[tuple[int, str], list[float]] = {}
    for number in range(1, bench.arguments.rounds + 1):
        for sized in gateways if number % 2 else reversed(gateways):
            for name, wanted in sized.asks.items():
                took = per_request(bench, wanted, sized)
                found.setdefault((sized.size, name), []).append(took)
                say(f"round {number}: {sized.size:,}, {name}: {took:.0f} us")
    return compared(found)


def compared(found: dict[tuple[int, str], list[float]]) -> list[dict[str, Any]]:
    """Return the times of each round as rows, with their ratios to those of the smallest size."""
    rows = []
    for (size, name), times in found.items():
        smallest = next(other for (_, also), other in sorted(found.items()) if also == name)
        ratios = [one / other for one, other in zip(times, smallest, strict=True)]
        rows.append({"size": size, "request": name, "microseconds": spread(times), "ratio": spread(ratios)})
    return rows


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


@contextmanager
def watched(port: int, every: float = 0.003) -> Iterator[list[float]]:
    """Ask a gateway again and again whether it is there; give the milliseconds that its answers took."""
    times: list[float] = []
    over = threading.Event()

    def watch() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        while not over.wait(every):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            times.append((time.perf_counter() - began) * 1000)
        connection.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


def status(port: int, wanted: Ask) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        body = question(Kind.CHAT, wanted.model, wanted.extra).filled(0)
        connection.request("POST", wanted.path, body, {"content-type": "application/json", **wanted.headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def changed(bench: Bench, sized: Sized, changes: Sequence[Act]) -> dict[str, Any]:
    """Change the set-up, several times; return how soon that counts, what it costs, and how long nobody is served."""
    seconds, spent, longest = [], [], []
    tree = sized.program.tree
    for act in changes:
        settle(tree, usual=sized.idle)
        with watched(sized.port) as times:
            time.sleep(0.5)
            usual = tree.seconds()
            time.sleep(1.0)
            usual = tree.seconds() - usual
            times.clear()
            before, at = tree.seconds(), time.monotonic()
            wanted: Ask = asyncio.run(administrate(sized.folder, sized.url, act))
            began = time.monotonic()
            while status(sized.port, wanted) != http.HTTPStatus.OK and time.monotonic() < began + PATIENCE_SECONDS:
                time.sleep(0.02)
            seconds.append(time.monotonic() - began)
            time.sleep(1.0)
            spent.append(tree.seconds() - before - usual * (time.monotonic() - at))
            longest.append(max(times))
    resident = sized.program.tree.memory().tree
    say(f"{sized.size:,}: a change acts after {statistics.median(seconds):.2f} s, {statistics.median(longest):.0f} ms")
    return {"acts_after": spread(seconds), "seconds": spread(spent), "held_up_ms": spread(longest), "after": resident}


def measured(bench: Bench, gateways: Sequence[Sized], one_more: Callable[[Sized, int], Act] | None) -> dict[str, Any]:
    """Return all that is found of gateways of several sizes."""
    sizes = []
    for sized in gateways:
        about: dict[str, Any] = {"size": sized.size, "start": sized.started, "resident": sized.resident}
        if one_more is not None:
            changes = [one_more(sized, number) for number in range(bench.arguments.changes)]
            about["change"] = changed(bench, sized, changes)
        sizes.append(about)
    requests = in_turn(bench, gateways)
    for sized, about in zip(gateways, sizes, strict=True):
        about["resident_after"] = sized.program.tree.memory().tree
    return {"sizes": sizes, "requests": requests}


# Parts


def keys(bench: Bench, stack: ExitStack) -> dict[str, Any]:
    gateways = []
    for size in bench.sizes(1, 1000, 100_000):
        folder, made = bench.folder(), gateway_keys(size)
        asyncio.run(administrate(folder, "", lambda admin, made=made: set_up(admin, made)))
        some = random.Random(1).sample(made, min(SPREAD, size))
        asks = {
            "one key": ask(made[size // 2][0]),
            f"{SPREAD} keys": ask("", turns=[Turn(bearer(value)) for value, _ in some]),
        }
        gateways.append(bench.start(size, folder, asks, stack))
    return measured(bench, gateways, lambda sized, number: one_more_key(number))


def providers(bench: Bench, stack: ExitStack) -> dict[str, Any]:
    gateways, made = [], gateway_keys(1)

    async def fill(admin: Administrator, size: int) -> None:
        await set_up(admin, made)
        for number in range(size):
            await add_provider(admin, bench.base_url, number)

    def one_more(sized: Sized, number: int) -> Act:
        async def act(admin: Administrator) -> Ask:
            await add_provider(admin, bench.base_url, f"more-{number}")
            return ask(made[0][0], path=provider_path(f"more-{number}"))

        return act

    for size in bench.sizes(1, 10, 1000):
        folder = bench.folder()
        asyncio.run(administrate(folder, "", lambda admin, size=size: fill(admin, size)))
        asks = {
            "to OpenAI": ask(made[0][0]),
            "to a custom provider": ask(made[0][0], path=provider_path(size // 2)),
        }
        gateways.append(bench.start(size, folder, asks, stack))
    return measured(bench, gateways, one_more)


def routes(bench: Bench, stack: ExitStack) -> dict[str, Any]:
    gateways, made = [], gateway_keys(1)
    path = f"/v1/local/{GATEWAY}/compat/chat/completions"

    async def fill(admin: Administrator, size: int) -> None:
        await set_up(admin, made)
        for number in range(size):
            await admin[3].create(GATEWAY, f"route-{number}", route_elements())

    def one_more(sized: Sized, number: int) -> Act:
        async def act(admin: Administrator) -> Ask:
            await admin[3].create(GATEWAY, f"more-{number}", route_elements())
            return ask(made[0][0], path=path, model=f"dynamic/more-{number}")

        return act

    for size in bench.sizes(1, 10, 1000):
        folder = bench.folder()
        asyncio.run(administrate(folder, "", lambda admin, size=size: fill(admin, size)))
        asks = {
            "without a route": ask(made[0][0]),
            "through a route": ask(made[0][0], path=path, model=f"dynamic/route-{size // 2}"),
        }
        gateways.append(bench.start(size, folder, asks, stack))
    return measured(bench, gateways, one_more)


def limits(bench: Bench, stack: ExitStack) -> dict[str, Any]:
    gateways = []

    async def fill(admin: Administrator, made: Sequence[tuple[str, GatewayKey]]) -> None:
        await set_up(admin, made)
        await admin[1].change_gateway(GATEWAY, control={"limits": limit_rules(made)})

    for size in bench.sizes(1, 10, 1000):
        folder, made = bench.folder(), gateway_keys(size)
        asyncio.run(administrate(folder, "", lambda admin, made=made: fill(admin, made)))
        gateways.append(bench.start(size, folder, {"with a limit of its key": ask(made[size // 2][0])}, stack))
    return measured(bench, gateways, lambda sized, number: one_more_key(number))


def processes(bench: Bench, stack: ExitStack) -> dict[str, Any]:
    """Measure two gateways on one database of PostgreSQL's: each alone, and both at work at once, each on a core."""
    folder, made = bench.folder(), gateway_keys(1)
    url = stack.enter_context(postgres_server()).fresh()
    asyncio.run(administrate(folder, url, lambda admin: set_up(admin, made)))
    name, wanted = "a chat", ask(made[0][0])
    other = Cores()
    other.gateway = other.load
    gateways = [one.start(1, folder, {name: wanted}, stack, url) for one in (bench, replace(bench, cores=other))]
    alone: list[float] = []
    both: list[float] = []
    for number in range(1, bench.arguments.rounds + 1):
        alone.append(statistics.mean(per_request(bench, wanted, sized) for sized in gateways))
        both.append(per_request(bench, wanted, *gateways))
        say(f"round {number}: {alone[-1]:.0f} us alone, {both[-1]:.0f} us both at once")
    return {"sizes": [], "requests": compared({(1, name): alone, (2, name): both})}


def rows(bench: Bench, stack: ExitStack) -> dict[str, Any]:
    """Measure with so many rows in the log, on SQLite or on a server of PostgreSQL."""
    made = gateway_keys(1)
    people = random.Random(3)
    turns = [
        Turn({"cf-aig-metadata": json.dumps({"customer": people.choice(analytics.CUSTOMERS)})}, extra={"user": user})
        for user in people.sample(analytics.USERS, SPREAD)
    ]
    gateways = []
    server = stack.enter_context(postgres_server()) if bench.arguments.database_url == "postgresql" else None
    for size in bench.sizes(*map(int, bench.arguments.rows.split(","))):
        folder = bench.arguments.keep / f"rows-{size}" if bench.arguments.keep else bench.folder()
        folder.mkdir(parents=True, exist_ok=True)
        url = server.fresh() if server is not None else bench.arguments.database_url.replace("ROWS", str(size))
        asyncio.run(fill_rows(folder, url, size, made))
        asks = {"alike": ask(made[0][0]), f"{SPREAD} users, metadata": ask(made[0][0], turns=turns)}
        gateways.append(bench.start(size, folder, asks, stack, url))
    return measured(bench, gateways, None)


async def fill_rows(folder: Path, url: str, size: int, made: Sequence[tuple[str, GatewayKey]]) -> None:
    database = await Database.open(folder, url)
    try:
        async with database.reading() as connection:
            is_filled = (await connection.exec_driver_sql("SELECT id FROM gateway_keys LIMIT 1")).first()
        if is_filled:
            return
        say(f"filling {size:,} rows")
        if size:
            await analytics.fill(database, size, with_log=True)
    finally:
        await database.close()
    await administrate(folder, url, lambda admin: set_up(admin, made))
    if url:
        await analytics.tidy(url)


# A day


def day(bench: Bench, stack: ExitStack) -> dict[str, Any]:
    """Ask as a team does over a day: little at its beginning and end, most in the middle."""
    folder, made = bench.folder(), gateway_keys(200)

    async def fill(admin: Administrator) -> None:
        await set_up(admin, made)
        for provider in ("groq", "mistral"):
            await admin[1].store_key(GATEWAY, provider, "default", KEY, KEY[-4:])

    asyncio.run(administrate(folder, "", fill))
    sized = bench.start(0, folder, {"": ask(made[0][0])}, stack)
    mixed = traffic([value for value, _ in made])
    peak = bench.arguments.peak or 0.5 * reached(bench, sized, mixed["plain"])
    minutes = bench.arguments.minutes
    say(f"at most {peak:.0f} requests a second, for {minutes} minutes")
    with watched(sized.port, WATCH_SECONDS):  # what that takes is not the day's
        before = sized.program.tree.seconds()
        time.sleep(5.0)
        sized.idle = (sized.program.tree.seconds() - before) / 5.0
    windows = []
    began = time.monotonic()
    for number in range(minutes):
        share = 0.1 + 0.9 * math.sin(math.pi * (number + 0.5) / minutes) ** 2
        until = began + 60 * (number + 1)
        windows.append(window(bench, sized, mixed, peak * share, until))
        say(
            f"minute {number + 1}: {windows[-1]['requests']:,} requests, {windows[-1]['microseconds']:.0f} us each,"
            f" {windows[-1]['resident'] / 1e6:.0f} MB, held up {windows[-1]['held_up_ms']:.0f} ms"
        )
    settle(sized.program.tree, usual=sized.idle)
    # The curve is the same forwards and backwards: the same rate early and late, and so the same work.
    pairs = [(windows[place], windows[-1 - place]) for place in range(minutes // 2)]
    ratios = [late["microseconds"] / early["microseconds"] for early, late in pairs]
    return {
        "windows": windows,
        "requests": sum(one["requests"] for one in windows),
        "late_to_early": spread(ratios) if ratios else None,
        "resident_at_start": sized.resident,
        "resident_at_end": sized.program.tree.memory().tree,
    }


def traffic(values: Sequence[str]) -> dict[str, Ask]:
    """Return kinds of requests: each with many keys, models, users and tags, some of them much more often."""
    chance = random.Random(11)

    def drawn(of: Sequence[Any]) -> Any:
        return chance.choices(of, cum_weights=analytics.zipf(len(of)))[0]

    def turns(count: int, **more: str) -> list[Turn]:
        found = []
        for _ in range(count):
            tags = json.dumps({"customer": drawn(analytics.CUSTOMERS), "team": drawn(analytics.TEAMS)})
            headers = {**bearer(drawn(values)), "cf-aig-metadata": tags, **more}
            found.append(Turn(headers, f"model-{drawn(range(40))}", {"user": drawn(analytics.USERS)}))
        return found

    return {
        "plain": ask("", turns=turns(2000)),
        "groq": ask("", path=f"/v1/local/{GATEWAY}/groq/chat/completions", turns=turns(500)),
        "not plain": ask("", turns=turns(1000, **NOT_PLAIN)),
        "streams": ask("", turns=turns(500)),
        "refused": ask("tlk_nobody", status=401),
        "no such provider": ask(values[0], path=f"/v1/local/{GATEWAY}/custom-none/chat/completions", status=400),
    }


SHARES = {"plain": 0.6, "groq": 0.17, "not plain": 0.2, "refused": 0.02, "no such provider": 0.01}
STREAMS = 4
WATCH_SECONDS = 0.02


def reached(bench: Bench, sized: Sized, wanted: Ask) -> float:
    """Return how many requests a second the gateway carries here."""
    with load(Order(sized.port, "chat", wanted, 3.0, 1.0), bench.cores) as ready:
        outcome = ready.run()
    settle(sized.program.tree, usual=sized.idle)
    return outcome.in_time / outcome.seconds


def window(bench: Bench, sized: Sized, mixed: dict[str, Ask], rate: float, until: float) -> dict[str, Any]:
    """Ask until then, all kinds at once; return what it took. Of a minute, a second is for the loads to start."""
    tree = sized.program.tree
    with ExitStack() as stack, ThreadPoolExecutor(len(mixed)) as pool, watched(sized.port, WATCH_SECONDS) as times:
        before, at = tree.seconds(), time.monotonic()
        seconds = max(until - at - 2.0, 1.0)
        orders = [Order(sized.port, "chat", mixed[name], seconds, 0.0, rate * share) for name, share in SHARES.items()]
        orders.append(Order(sized.port, f"sse-{STREAMS}", mixed["streams"], seconds, 0.0))
        ready = [stack.enter_context(load(order, bench.cores)) for order in orders]
        outcomes: list[Outcome] = list(pool.map(lambda one: one.run(), ready))
    time.sleep(max(until - time.monotonic(), 0.0))
    spent = tree.seconds() - before - sized.idle * (time.monotonic() - at)
    count = sum(one.count for one in outcomes[:-1]) + outcomes[-1].count // CHUNKS
    latencies = [one.latency.p99 for one in outcomes[:-1] if one.latency is not None]
    return {
        "rate": rate,
        "requests": count,
        "failures": sum(one.failures for one in outcomes),
        "why": [why for one in outcomes for why in one.why],
        "microseconds": spent / count * 1e6,
        "resident": tree.memory().tree,
        "held_up_ms": max(times),
        "answers_p99_ms": max(latencies) / 1000,
    }


# What is told


def table(found: dict[str, Any]) -> str:
    lines: list[str] = []
    for part in PARTS:
        if part in found:
            lines += [*sizes_table(part, found[part]), ""]
    if "day" in found:
        lines += day_table(found["day"])
    return "\n".join(lines)


def sizes_table(part: str, found: dict[str, Any]) -> Iterator[str]:
    yield f"| {part} | request | processor time | to the smallest |"
    yield "| ---: | --- | ---: | ---: |"
    for row in sorted(found["requests"], key=lambda row: (row["request"], row["size"])):
        yield f"| {row['size']:,} | {row['request']} | {told(row['microseconds'])} us | {told(row['ratio'], 2)} |"
    if not found["sizes"]:
        return
    yield ""
    yield f"| {part} | start | memory | after the load | a change acts after | takes | holds up for at most |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for one in found["sizes"]:
        memory = f"{one['resident'] / 1e6:.0f} MB | {one['resident_after'] / 1e6:.0f} MB"
        change = one.get("change")
        of_change = (
            f"{told(change['acts_after'], 2)} s | {told(change['seconds'], 2)} s | {told(change['held_up_ms'])} ms"
            if change
            else "- | - | -"
        )
        yield f"| {one['size']:,} | {one['start']:.1f} s | {memory} | {of_change} |"


def day_table(found: dict[str, Any]) -> Iterator[str]:
    yield "| minute | requests | processor time | memory | held up for at most | p99 of answers |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for number, one in enumerate(found["windows"], 1):
        yield (
            f"| {number} | {one['requests']:,} | {one['microseconds']:.0f} us | {one['resident'] / 1e6:.0f} MB"
            f" | {one['held_up_ms']:.0f} ms | {one['answers_p99_ms']:.1f} ms |"
        )
    yield ""
    if found["late_to_early"]:
        yield f"Late to early, minutes of the same rate: {told(found['late_to_early'], 2)}."


def told(values: dict[str, float], digits: int = 0) -> str:
    return f"{values['median']:,.{digits}f} ({values['lowest']:,.{digits}f} to {values['highest']:,.{digits}f})"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which of {', '.join(PARTS)}, day; all but day")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--changes", type=int, default=CHANGES, help="how often the set-up is changed")
    parser.add_argument("--most", type=int, default=10**9, help="no size above this")
    parser.add_argument("--rows", default="0,100000,1000000,10000000", help="sizes of the log")
    parser.add_argument("--keep", type=Path, help="where databases of the log stay, and are found the next time")
    parser.add_argument(
        "--database-url",
        default="",
        help="for rows: 'postgresql' starts a server; or a URL in which ROWS stands for the size: a database for each",
    )
    parser.add_argument("--minutes", type=int, default=20, help="of the day")
    parser.add_argument("--peak", type=float, default=0.0, help="requests a second at noon; half of what it carries")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    unknown = {*arguments.parts} - {*PARTS, "day"}
    if unknown:
        parser.error(f"there is no part {unknown.pop()!r}")
    return arguments


def main() -> None:
    arguments, cores = parsed(), Cores()
    adopt_orphans()
    parts = arguments.parts or PARTS
    of_parts = {act.__name__: act for act in (keys, providers, routes, limits, processes, rows, day)}
    how = {
        "machine": msgspec.to_builtins(machine_of(cores)),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
    }
    found: dict[str, Any] = json.loads(arguments.output.read_text("utf-8")) if arguments.output.exists() else {}
    with upstream(cores) as port:
        for name in parts:
            say(name)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            with ExitStack() as stack:
                bench = Bench(arguments, cores, stack, port)
                found[name] = {"started": started, **how, **of_parts[name](bench, stack)}
            arguments.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(table({name: found[name] for name in parts}))


if __name__ == "__main__":
    main()
