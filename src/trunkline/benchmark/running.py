"""A run: in every round each gateway in turn, alone on its core, with every workload."""

from __future__ import annotations

import http.client
import os
import platform
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

import trunkline
from trunkline.benchmark.accounting import adopt_orphans, settle
from trunkline.benchmark.gateways import BenchmarkError, Gateway, Place, Start, openai_asks
from trunkline.benchmark.orders import Ask, Order
from trunkline.benchmark.processes import Cores, Program, load, program, upstream
from trunkline.benchmark.results import DIRECT, About, Begun, Machine, Paced, Results, Sample
from trunkline.benchmark.upstream import COUNT_PATH
from trunkline.benchmark.workloads import ANSWER_MARK, Kind, Workload, question

_START_SECONDS: Final = 120.0
_IDLE_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.005
_MODERATE: Final = 0.7
_WARM_SECONDS: Final = 1.0
_LEAST_CACHED: Final = 0.99
_PACE_SETTER: Final = "trunkline"

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to be measured. ``seconds`` are those of each measurement; ``homes`` is where gateways are installed."""

    gateways: Sequence[Gateway]
    workloads: Sequence[Workload]
    rounds: int
    seconds: float
    homes: Path

    @property
    def warm_seconds(self) -> float:
        """How long is asked before time is taken."""
        return min(_WARM_SECONDS, self.seconds)

    @property
    def quiet_seconds(self) -> float:
        """How long a gateway has to be quiet before it has done what it had to do."""
        return min(1.0, self.seconds)


def run(plan: Plan, on_step: OnStep = lambda words: None) -> Results:
    """Measure, and say before each step what it is. Raises `BenchmarkError` when the upstream does not start.

    A gateway that does not start, or stops answering, is one line of the results. Whatever happens, all that was
    started has ended and no file is left when this returns or raises. Ctrl+C in a later round than the first leaves
    what the whole rounds before it gave.
    """
    adopt_orphans()
    cores = Cores()
    results = Results(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        trunkline=trunkline.__version__,
        machine=machine_of(cores),
        rounds=0,
        seconds=plan.seconds,
        workloads=[one.name for one in plan.workloads],
    )
    try:
        with upstream(cores) as port:
            runner = _Runner(plan, results, cores, port, on_step)
            for number in range(1, plan.rounds + 1):
                runner.round(number)
                results.rounds = number
    except KeyboardInterrupt:
        if not results.rounds:
            raise
        results.forget_after(results.rounds)
    # As they were named, and not as they came in turn.
    order = [one.name for one in plan.gateways]
    results.gateways.sort(key=lambda about: order.index(about.name))
    return results


def steps(plan: Plan) -> int:
    """Return about how many steps there will be; gateways that cannot do a workload have fewer."""
    workloads = len(plan.workloads)
    paced = 2 if any(one.kind is Kind.CHAT for one in plan.workloads) else 0
    return plan.rounds * (workloads + len(plan.gateways) * (1 + workloads + paced))


class _Runner:
    def __init__(self, plan: Plan, results: Results, cores: Cores, upstream_port: int, on_step: OnStep) -> None:
        self._plan = plan
        self._results = results
        self._cores = cores
        self._upstream = upstream_port
        self._on_step = on_step
        self._given_up: set[str] = set()
        self._rate: float | None = None

    def round(self, number: int) -> None:
        self._number = number
        self._direct()
        # Who sets the pace of all comes first, so that it is known in the first round.
        for gateway in sorted(self._plan.gateways, key=lambda one: one.name != _PACE_SETTER):
            if gateway.name not in self._given_up:
                try:
                    self._gateway(gateway)
                except (BenchmarkError, OSError) as error:
                    self._given_up.add(gateway.name)
                    self._results.failed.append(f"{gateway.name}, round {number}: {error}")

    def _step(self, who: str, what: str) -> None:
        self._on_step(f"round {self._number} of {self._plan.rounds}: {who}, {what}")

    def _direct(self) -> None:
        asks = openai_asks(*Kind)
        for workload in self._plan.workloads:
            if workload.kind is not Kind.CACHE:
                self._step(DIRECT, workload.name)
                with load(self._order(self._upstream, workload, asks[workload.kind]), self._cores) as ready:
                    outcome = ready.run()
                self._results.samples.append(Sample(DIRECT, self._number, workload.name, outcome))

    def _gateway(self, gateway: Gateway) -> None:
        home = gateway.home(self._plan.homes)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
            self._step(gateway.name, "start")
            place = Place(home, folder, free_port(), self._upstream)
            start = gateway.prepare(place)
            began = time.monotonic()
            running = stack.enter_context(program(start.arguments, start.environment, folder, self._cores))
            port = _port(running, place, start)
            await_answer(running, port, start.asks[Kind.CHAT])
            took = time.monotonic() - began
            self._note(gateway, home)
            idle = self._idle(running)
            memory = running.tree.memory()
            self._results.begun.append(
                Begun(gateway.name, self._number, took, memory.tree, memory.largest, round(idle, 4))
            )
            for workload in self._plan.workloads:
                if workload.kind in start.asks:
                    self._measure(gateway, running, start.asks[workload.kind], port, workload, idle)

    def _idle(self, running: Program) -> float:
        """Return the share of a core that a gateway takes when it has started and nothing is asked of it."""
        window = self._plan.quiet_seconds
        settle(running.tree, window=window, longest=_IDLE_SECONDS)
        before = running.tree.seconds()
        time.sleep(window)
        return (running.tree.seconds() - before) / window

    def _note(self, gateway: Gateway, home: Path) -> None:
        if all(one.name != gateway.name for one in self._results.gateways):
            size = gateway.environment.size(home)
            self._results.gateways.append(
                About(
                    gateway.name,
                    gateway.environment.version(home),
                    gateway.setup,
                    size.bytes if size else None,
                    size.packages if size else None,
                )
            )

    def _measure(
        self, gateway: Gateway, running: Program, ask: Ask, port: int, workload: Workload, idle: float
    ) -> None:
        self._step(gateway.name, workload.name)
        tree, window = running.tree, self._plan.quiet_seconds
        with load(self._order(port, workload, ask), self._cores) as ready:
            settle(tree, usual=idle, window=window)
            asked, before, began = self._asked(), tree.seconds(), time.monotonic()
            outcome = ready.run()
            busy = (tree.seconds() - before) / (time.monotonic() - began)
        memory = tree.memory()
        settled = settle(tree, usual=idle, window=window)
        if workload.kind is Kind.CACHE:
            missed = self._asked() - asked
            if missed > outcome.count * (1 - _LEAST_CACHED):
                why = [*outcome.why, f"{missed} of {outcome.count} were not answered from the cache"]
                outcome = msgspec.structs.replace(outcome, failures=outcome.failures + missed, why=why)
        self._results.samples.append(
            Sample(
                gateway.name,
                self._number,
                workload.name,
                outcome,
                processor=round(settled.seconds - before, 6),
                busy=round(busy, 3),
                after=round(settled.waited, 2),
                became_quiet=settled.is_quiet,
                memory=memory.tree,
                largest=memory.largest,
            )
        )
        if not running.is_running:
            raise BenchmarkError(f"it ended during {workload.name}: {running.last_words()}")
        if workload.kind is Kind.CHAT and outcome.in_time:
            self._pace(gateway, port, workload, ask, outcome.in_time / outcome.seconds)

    def _pace(self, gateway: Gateway, port: int, workload: Workload, ask: Ask, reached: float) -> None:
        """Ask at the pace of all, if this one carries it, and at its own."""
        own = _MODERATE * reached
        if self._rate is None:
            self._rate = own
        rates = [(self._rate, False)] if self._rate <= own * 1.2 else []
        if own != self._rate and gateway.name != _PACE_SETTER:
            rates.append((own, True))
        plain = openai_asks(Kind.CHAT)[Kind.CHAT]
        for rate, is_own in rates:
            self._step(gateway.name, f"{rate:.0f} requests a second")
            with load(self._order(port, workload, ask, rate), self._cores) as ready:
                through = ready.run()
            with load(self._order(self._upstream, workload, plain, rate), self._cores) as ready:
                without = ready.run()
            self._results.paced.append(Paced(gateway.name, self._number, round(rate, 1), is_own, through, without))

    def _order(self, port: int, workload: Workload, ask: Ask, rate: float | None = None) -> Order:
        return Order(port, workload.name, ask, self._plan.seconds, self._plan.warm_seconds, rate)

    def _asked(self) -> int:
        """How many chats have come to the upstream."""
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=30)
        try:
            connection.request("GET", COUNT_PATH)
            return int(connection.getresponse().read())
        finally:
            connection.close()


def _port(running: Program, place: Place, start: Start) -> int:
    """Return where a gateway listens, when it has said so. Raises `BenchmarkError`."""
    if start.announced is None:
        return place.port
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and running.is_running:
        if start.announced.exists():
            return int(start.announced.read_text("ascii"))
        time.sleep(_LOOK_SECONDS)
    raise BenchmarkError(f"it did not say where it listens: {running.last_words()}")


def await_answer(running: Program, port: int, ask: Ask) -> None:
    """Return when the first request has been answered. Raises `BenchmarkError` with what the gateway said instead."""
    body = question(Kind.CHAT, ask.model, ask.extra).filled(0)
    deadline, said = time.monotonic() + _START_SECONDS, "it did not listen"
    while time.monotonic() < deadline:
        if not running.is_running:
            raise BenchmarkError(f"it ended at its start: {running.last_words()}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
        try:
            connection.request("POST", ask.path, body, {"content-type": "application/json", **ask.headers})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == http.HTTPStatus.OK and ANSWER_MARK.search(text):
                return
            said = f"HTTP {answer.status}: {text[:300].decode('utf-8', 'replace')}"
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(_LOOK_SECONDS)
    raise BenchmarkError(f"it did not answer within {_START_SECONDS:.0f} s: {said} {running.last_words()}")


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def machine_of(cores: Cores) -> Machine:
    """Return what is to be said of this machine."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return Machine(
        processor=models[0] if models else platform.processor(),
        cores=os.cpu_count() or 1,
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=platform.release(),
        python=platform.python_version(),
        gateway_core=cores.gateway,
        load_core=cores.load,
    )


def _lines(path: str) -> Iterable[str]:
    return Path(path).read_text("utf-8", "replace").splitlines()
