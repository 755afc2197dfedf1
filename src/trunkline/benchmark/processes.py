"""Programs that the benchmark starts, each on one core and in a session of its own, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from trunkline.benchmark.accounting import ProcessTree
from trunkline.benchmark.gateways import BenchmarkError, surroundings
from trunkline.benchmark.orders import Order, Outcome

_END_SECONDS: Final = 15.0
_FAREWELL_SECONDS: Final = 2.0
_LAST_LINES: Final = 5


class Cores:
    """Which core the gateway has, and which the upstream and the load share."""

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0)
        ordered = sorted(self._all)
        self.gateway, self.load = ordered[0], ordered[-1]

    @contextmanager
    def on(self, core: int) -> Iterator[None]:
        """Start programs on a core: they inherit it."""
        os.sched_setaffinity(0, {core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, self._all)


class Program:
    """A started gateway, whose tree of processes is looked at."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output
        self.tree = ProcessTree(process.pid)

    @property
    def is_running(self) -> bool:
        """Whether its first process is there."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the end of what it printed."""
        lines = self._output.read_text("utf-8", "replace").strip().splitlines()[-_LAST_LINES:]
        return " ".join(" ".join(lines).split())[-500:]

    def end(self) -> None:
        """End all of its processes: politely, and after a while not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            for survivor in self.tree.survivors():
                with suppress(ProcessLookupError):
                    os.kill(survivor, number)
            if self._has_ended():
                return

    def _has_ended(self) -> bool:
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            self.tree.bury()
            if self._process.poll() is not None and not self.tree.survivors():
                return True
            time.sleep(0.02)
        return False


@contextmanager
def program(
    arguments: Sequence[str | Path], environment: Mapping[str, str], folder: Path, cores: Cores
) -> Iterator[Program]:
    """Run a gateway on its core until the block ends. What it prints goes to a file in ``folder``."""
    output = folder / "output.txt"
    with output.open("wb") as file, cores.on(cores.gateway):
        process = subprocess.Popen(
            [str(one) for one in arguments],
            env={**surroundings(), **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Program(process, output)
    try:
        yield running
    finally:
        running.end()


def _module(name: str, cores: Cores) -> subprocess.Popen[str]:
    """Run one of the benchmark's own programs on its core; it ends with its standard input."""
    with cores.on(cores.load):
        return subprocess.Popen(
            [sys.executable, "-m", f"trunkline.benchmark.{name}"],
            env=surroundings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl+C is for the one who ends this
        )


@contextmanager
def upstream(cores: Cores) -> Iterator[int]:
    """Run the provider; give its port."""
    process = _module("upstream", cores)
    try:
        yield int(_line(process))
    finally:
        _end(process)


class Load:
    """A run of the load that is ready to begin."""

    def __init__(self, process: subprocess.Popen[str], first_line: str) -> None:
        self._process = process
        self._first_line = first_line

    def run(self) -> Outcome:
        """Begin, and return what came of it."""
        if not self._first_line.startswith("ready"):
            return msgspec.json.decode(self._first_line, type=Outcome)
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return msgspec.json.decode(_line(self._process), type=Outcome)


@contextmanager
def load(order: Order, cores: Cores) -> Iterator[Load]:
    """Start the clients; they are connected and warm when the block begins, or will say that they could not connect."""
    process = _module("load", cores)
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        process.stdin.flush()
        yield Load(process, _line(process))
    finally:
        _end(process)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    if line := process.stdout.readline():
        return line
    raise BenchmarkError("The benchmark's own program ended; what it said stands above.")


def _end(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    try:
        process.wait(_FAREWELL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
