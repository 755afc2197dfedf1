"""What the benchmark has to know of a gateway: how it is installed, set up, started and asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from trunkline.benchmark.orders import Ask
from trunkline.benchmark.workloads import MODEL, REALTIME_MODEL, Kind
from trunkline.errors import TrunklineError

KEY: Final = "sk-bench"
"""What clients show, and what the upstream would get if it looked."""


class BenchmarkError(TrunklineError):
    """A run cannot begin, or something that it needs did not start."""


class Place(msgspec.Struct, frozen=True):
    """Where one start of a gateway happens.

    ``home`` has what was installed, ``folder`` is new and for this start alone. The gateway is to listen on ``port`` of
    127.0.0.1, and the provider listens on ``upstream``.
    """

    home: Path
    folder: Path
    port: int
    upstream: int

    @property
    def base_url(self) -> str:
        """The provider's, as OpenAI's clients name it."""
        return f"http://127.0.0.1:{self.upstream}/v1"


class Start(msgspec.Struct, frozen=True):
    """How a gateway is started, and how it is asked: for each kind of workload that it can do.

    One that listens where it likes writes its port into the file ``announced``.
    """

    arguments: Sequence[str | Path]
    asks: Mapping[Kind, Ask]
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    announced: Path | None = None


def openai_asks(
    *kinds: Kind, base: str = "/v1", headers: Mapping[str, str] | None = None, model: str = MODEL
) -> dict[Kind, Ask]:
    """Return how OpenAI's clients ask below ``base``; ``headers`` come in addition, or instead."""
    shown = {"authorization": f"Bearer {KEY}", **(headers or {})}
    return {
        kind: Ask(f"{base}/realtime?model={REALTIME_MODEL}", shown)
        if kind is Kind.REALTIME
        else Ask(f"{base}/chat/completions", shown, model)
        for kind in kinds
    }


class Size(msgspec.Struct, frozen=True):
    """What an installed gateway takes on the disk, and of how many packages it consists."""

    bytes: int
    packages: int


class Environment(Protocol):
    """Where a gateway is installed, and how. ``home`` is a folder for it alone."""

    def install(self, home: Path) -> None:
        """Install it, with the newest that is there. Raises `BenchmarkError`."""

    def version(self, home: Path) -> str:
        """Return which version is there; empty when none is."""

    def size(self, home: Path) -> Size | None:
        """Return what it takes on the disk; None where that is not known."""


class Gateway(msgspec.Struct, frozen=True):
    """One gateway in one set-up.

    ``setup`` says for the report what it does and what is switched off. ``prepare`` writes its settings and returns how
    it is started; it raises `BenchmarkError`. ``folder`` names its home where several share one.
    """

    name: str
    setup: str
    environment: Environment
    prepare: Callable[[Place], Start]
    folder: str = ""

    def home(self, homes: Path) -> Path:
        """Return its own folder among those of all gateways."""
        return homes / (self.folder or self.name)


def surroundings() -> dict[str, str]:
    """Return the environment of all that is started.

    It lacks what the user has set for a gateway of theirs, and what would have each start compile all modules anew.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TRUNKLINE_") and name != "PYTHONDONTWRITEBYTECODE"
    }


def run(*arguments: str | Path, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """Run a command, ``environment`` added to its surroundings, and return what it printed.

    Raises `BenchmarkError` with its last line when it fails.
    """
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            check=False,
            env={**surroundings(), **(environment or {})},
            cwd=folder,
        )
    except FileNotFoundError as error:
        raise BenchmarkError(f"There is no {arguments[0]} on this machine.") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1]
        raise BenchmarkError(f"{' '.join(map(str, arguments))} failed: {said}")
    return done.stdout
