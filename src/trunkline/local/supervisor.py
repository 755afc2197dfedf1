"""The gateway's side of the worker process: starts it on first use, watches it, starts it again when it died."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from trunkline.errors import LocalError, ModelsMissing, WorkerUnavailable
from trunkline.local import models

log = structlog.get_logger("trunkline.local")

# What the worker says when its models are loaded. It stands here, since importing the worker loads every model library.
READY: Final = b"ready\n"
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 8.0
# A worker that ends sooner than this after its start will do so again: it is then left to the next request.
_STABLE_SECONDS: Final = 5.0
_BACKLOG: Final = 512

State = Literal["stopped", "starting", "ready", "failed", "missing-models"]


class Status(msgspec.Struct, frozen=True):
    """Where the worker stands; ``detail`` is a sentence for a person, or empty."""

    state: State
    detail: str = ""


class LocalWorker:
    """The embedded provider as the gateway sees it: an address, a key, and a process behind them.

    The address is taken at once and kept, across restarts too. Connections wait in its queue while models load.
    """

    def __init__(self, data_dir: Path, language: str = "") -> None:
        self.key = secrets.token_urlsafe(32)
        self.status = Status("stopped")
        self._models = models.directory_in(data_dir)
        self._language = language
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """The provider's base URL."""
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}/v1"

    @property
    def model_name(self) -> str:
        """What answers, for people: the built-in model's name, or that of the user's file."""
        return Path(self._language).stem if self._language else "SmolLM2-135M (demo)"

    async def ensure_started(self) -> None:
        """Return when the models are loaded. Raises `ModelsMissing` or `WorkerUnavailable`."""
        if self.status.state == "ready":
            return
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        # Shielded: a caller that goes away must not stop the start others wait for.
        await asyncio.shield(self._starting)

    async def stop(self) -> None:
        """End the process and give up the address."""
        for task in (self._starting, self._watching):
            if task is not None:
                task.cancel()
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self.release()

    def release(self) -> None:
        """Give up the address of a worker that does not run."""
        self._listener.close()
        self.status = Status("stopped")

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # told to whoever waited; not to the event loop's log as well

    async def _start(self) -> None:
        self.status = Status("starting")
        try:
            # Checked here first: it is quick, and the answer names the command that helps.
            models.locate(self._models, Path(self._language) if self._language else None)
            self._process = await self._spawn()
            await self._await_ready(self._process)
        except ModelsMissing as error:
            self.status = Status("missing-models", str(error))
            raise
        except LocalError as error:
            self.status = Status("failed", str(error))
            log.error("local worker did not start", why=str(error))
            raise
        self.status = Status("ready")
        self._watching = asyncio.create_task(self._watch(self._process))
        log.info("local worker is ready", process=self._process.pid, model=self.model_name)

    async def _spawn(self) -> asyncio.subprocess.Process:
        descriptor = self._listener.fileno()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "trunkline.local.worker", str(descriptor)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            env=_environment(),
            start_new_session=True,  # Ctrl+C is for the gateway, which then ends the worker in order
        )
        assert process.stdin is not None
        process.stdin.write(f"{self.key}\n{self._models}\n{self._language}\n".encode())
        await process.stdin.drain()
        process.stdin.close()
        return process

    async def _await_ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await process.stdout.readline()
        except TimeoutError:
            process.kill()
            raise WorkerUnavailable(f"The local models did not load within {_START_SECONDS:.0f} s.") from None
        if line == READY:
            return
        status = await process.wait()
        kind, _, words = line.decode("utf-8", "replace").strip().partition(" ")
        if kind == ModelsMissing.__name__:
            raise ModelsMissing(words)
        raise WorkerUnavailable(words or f"The local worker ended with status {status}; its output says why.")

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        started = time.monotonic()
        status = await process.wait()
        self._process = None
        self.status = Status("stopped", f"The local worker ended with status {status}; the next request restarts it.")
        log.error("local worker died", status=status)
        if time.monotonic() - started >= _STABLE_SECONDS:
            # At once: connections that came in the meantime wait in the listener's queue.
            await self.ensure_started()


def _environment() -> dict[str, str]:
    """Return the worker's environment: what an interpreter and its libraries need, and none of the gateway's keys."""
    kept = ("PATH", "HOME", "TMPDIR", "TZ", "VIRTUAL_ENV")
    families = ("LANG", "LC_", "LD_", "DYLD_", "PYTHON", "OMP_", "GOMP_")
    return {name: value for name, value in os.environ.items() if name in kept or name.startswith(families)}
