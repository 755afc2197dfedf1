"""Real servers for tests: a gateway in this process, and programs of the package in processes of their own."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvicorn.server
import uvloop

import trunkline.server.gateway
from trunkline.local import models
from trunkline.local.supervisor import LocalWorker, Status
from trunkline.server import console, heads
from trunkline.server.serving import create_server, listen
from trunkline.settings import Settings, default_data_dir
from trunkline.store import Database
from trunkline.store.location import FILE_NAME

START_SECONDS = 60


class _ShortNaps:
    """asyncio as uvicorn sees it, who looks every tenth of a second whether to end: minutes, in thousands of tests."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


heads.LAST_SECONDS = 0.02
uvicorn.server.asyncio = _ShortNaps()  # type: ignore[attr-defined]
# The files of the console do not change during a run, and every gateway reads all of them when it starts.
console._load = cache(console._load)


class _SharedModels:
    """One worker with the local models for all gateways of this process: to load them takes seconds of both cores."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.worker = LocalWorker(default_data_dir())
        atexit.register(lambda: asyncio.run_coroutine_threadsafe(self.worker.stop(), self._loop).result())

    async def ensure_started(self) -> None:
        started = asyncio.run_coroutine_threadsafe(self.worker.ensure_started(), self._loop)
        await asyncio.wrap_future(started)


_shared_models = cache(_SharedModels)


class _BorrowedWorker(LocalWorker):
    """What a gateway has in place of a worker: its own state, and behind it the models that all gateways share."""

    def __init__(self, data_dir: Path, language: str = "") -> None:
        super().__init__(data_dir, language)
        self._shared: _SharedModels | None = None
        if not language and self._models.resolve() == models.directory_in(default_data_dir()).resolve():
            self._shared = _shared_models()
            self.key = self._shared.worker.key

    @property
    def base_url(self) -> str:
        return self._shared.worker.base_url if self._shared else super().base_url

    async def _start(self) -> None:
        if self._shared is None:
            await super()._start()
            return
        self.status = Status("starting")
        await self._shared.ensure_started()
        self.status = Status("ready")


@dataclass(frozen=True)
class Address:
    """Where a server listens, with or without TLS."""

    scheme: str
    host: str
    port: int

    @property
    def http(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def ws(self) -> str:
        return f"{self.scheme.replace('http', 'ws')}://{self.host}:{self.port}"

    def path(self, rest: str) -> str:
        """The data plane's path of a provider's resource."""
        return f"/v1/local/default/{rest}"


@asynccontextmanager
async def gateway(
    *, has_own_models: bool = False, most_connections: int = 0, **settings: Any
) -> AsyncIterator[Address]:
    """A gateway on a free port, served as `trunkline serve` does it, with a data directory of its own.

    The local models are those that all gateways of the process share, unless it is to have a worker of its own.
    """
    with data_directory() as fresh:
        chosen = Settings(**{"port": 0, "data_dir": fresh, **settings})
        listener = listen(chosen)
        worker = LocalWorker if has_own_models else _BorrowedWorker
        with patch.object(trunkline.server.gateway, "LocalWorker", worker):
            server = create_server(chosen, listener, most_connections)
        serving = asyncio.create_task(server._serve(sockets=[listener]))
        while not server.started:
            assert not serving.done(), serving.exception()
            await asyncio.sleep(0.005)
        try:
            yield Address("https" if chosen.tls != "off" else "http", chosen.host, listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


@contextmanager
def data_directory(*, has_database: bool = True) -> Iterator[Path]:
    """A new data directory that has the installed models, a database without rows, and nothing else of the user's."""
    with tempfile.TemporaryDirectory(prefix="trunkline-test-") as name:
        directory = Path(name)
        (directory / "models").symlink_to(default_data_dir() / "models", target_is_directory=True)
        if has_database:
            database = directory / FILE_NAME
            database.touch(0o600)
            database.write_bytes(new_database())
        yield directory


@cache
def new_database() -> bytes:
    """A database with its tables and nothing in them: to make these for every test takes minutes of a core."""

    async def make(folder: Path) -> None:
        await (await Database.open(folder)).close()

    with tempfile.TemporaryDirectory(prefix="trunkline-test-") as name, ThreadPoolExecutor(1) as elsewhere:
        # Who asks may be within an event loop already.
        elsewhere.submit(lambda: asyncio.run(make(Path(name)))).result()
        return (Path(name) / FILE_NAME).read_bytes()


@dataclass
class Program:
    """A running `trunkline` command."""

    process: subprocess.Popen[str]
    address: Address
    output: list[str]


@contextmanager
def program(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Run ``trunkline ARGUMENTS`` until it announces its address; end it afterwards."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "trunkline", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **(environment or {})},
    )
    output: list[str] = []
    found: list[Address] = []
    announced = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            output.append(line)
            match = re.search(r"ready: (https?)://([\d.]+):(\d+)", line)
            if match and not found:
                found.append(Address(match[1], match[2], int(match[3])))
                announced.set()
        announced.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        announced.wait(START_SECONDS)
        assert found, f"trunkline {' '.join(arguments)} did not start:\n{''.join(output)}"
        yield Program(process, found[0], output)
    finally:
        process.terminate()
        process.wait(20)
        reader.join(5)


def models_are_here() -> Path:
    """The data directory whose models the tests use; `make test` has installed them."""
    return default_data_dir()


def run(main: Coroutine[Any, Any, None], seconds: float = 60) -> None:
    """Run a test's coroutine on the event loop the gateway uses; `seconds` only ends a test that hangs."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main, seconds))
