"""Trunkline itself, with its journal and its log in SQLite, as it always is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import trunkline
from trunkline.benchmark.gateways.environments import PythonEnvironment
from trunkline.benchmark.gateways.gateway import KEY, Gateway, Place, Size, Start, openai_asks, run
from trunkline.benchmark.workloads import Kind

_CHECKOUT: Final = Path(trunkline.__file__).parents[2]
_CACHED: Final = "cached"
_LIMIT: Final = ("--measure", "requests", "--limit", "1000000000", "--per", "key")


class _ThisOne:
    """What is measured is the program that measures; an environment is made for its size alone."""

    _apart = PythonEnvironment("trunkline", (str(_CHECKOUT),), {"TRUNKLINE_CONSOLE": "skip"})

    def install(self, home: Path) -> None:
        """Make the environment. Raises `BenchmarkError`, also where this is no checkout."""
        self._apart.install(home)

    def version(self, home: Path) -> str:
        """Return the version that runs."""
        return trunkline.__version__

    def size(self, home: Path) -> Size | None:
        """Return that of the environment, if it was made."""
        return self._apart.size(home)


def _prepare_open(place: Place) -> Start:
    """Callers bring the provider's key, and all may come."""
    command = _Commands(place.folder)
    command("gateways", "create", _CACHED, "--open", "--cache-ttl", "1d")
    return _start(place, {}, {})


def _prepare(place: Place) -> Start:
    """The gateway asks who comes, counts, and shows the provider a key of its own."""
    command = _Commands(place.folder)
    command("gateways", "create", _CACHED, "--authenticated", "--cache-ttl", "1d")
    command("gateways", "set", "default", "--authenticated")
    headers = []
    for gateway in ("default", _CACHED):
        command("limits", "add", gateway, *_LIMIT)
        command("vault", "set", "openai", "--gateway", gateway, "--from", "BENCH_KEY")
        key = command("keys", "create", "bench", "--gateway", gateway).split()[-1]
        headers.append({"authorization": f"Bearer {key}"})
    return _start(place, *headers)


def _start(place: Place, headers: dict[str, str], cached: dict[str, str]) -> Start:
    """Return the start; what is cached has a gateway of its own, for a cache is looked into at every chat."""
    kinds = (Kind.CHAT, Kind.SSE, Kind.REALTIME, Kind.LARGE)
    asks = openai_asks(*kinds, base="/v1/local/default/openai", headers=headers)
    asks |= openai_asks(Kind.CACHE, base=f"/v1/local/{_CACHED}/openai", headers=cached)
    environment = {
        "TRUNKLINE_PROVIDERS__OPENAI__BASE_URL": place.base_url,
        "TRUNKLINE_PORT": str(place.port),
        "TRUNKLINE_DATA_DIR": str(place.folder),
    }
    return Start([sys.executable, "-m", "trunkline", "serve"], asks, environment)


class _Commands:
    """The command line, for a data directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *arguments: str) -> str:
        whole = [sys.executable, "-m", "trunkline", *arguments, "--data-dir", str(self._folder)]
        return run(*whole, environment={"BENCH_KEY": KEY}, folder=self._folder)


TRUNKLINE: Final = Gateway(
    name="trunkline",
    setup="an authenticated gateway with one key, one limit of requests for each key, and the provider's key in the"
    " vault; every request goes through the journal into SQLite",
    environment=_ThisOne(),
    prepare=_prepare,
)

TRUNKLINE_OPEN: Final = Gateway(
    name="trunkline-open",
    setup="the defaults of `serve`; every request goes through the journal into SQLite",
    environment=_ThisOne(),
    prepare=_prepare_open,
    folder="trunkline",
)
