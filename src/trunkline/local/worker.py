"""The worker process: loads the models and serves them on a socket, beside the gateway or alone.

A crash of native code ends this process and not the gateway; inference never competes for the gateway's event loop.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

import uvicorn

from trunkline.errors import LocalError
from trunkline.local import models
from trunkline.local.api.application import create_application
from trunkline.local.api.behaviours import BrokenOnPurpose
from trunkline.local.api.keys import Keys
from trunkline.local.engines import Engines
from trunkline.local.supervisor import READY
from trunkline.private import keep_memory_private
from trunkline.settings import is_loopback_host

_MAX_FRAME_BYTES: Final = 24 * 1024 * 1024
_PING_SECONDS: Final = 20.0
_GRACE_SECONDS: Final = 5
# Longer than the gateway's pool keeps one.
_KEEP_ALIVE_SECONDS: Final = 75
_PR_SET_PDEATHSIG: Final = 1


def run(*, host: str, port: int, required_key: str | None, data_dir: Path, language: Path | None = None) -> None:
    """Serve the models alone, as a strict upstream, until interrupted. Raises `LocalError`."""
    if not required_key and not is_loopback_host(host):
        raise LocalError(
            f"Refusing to listen on {host} without a key: anyone who reaches it could use this machine. Set"
            " TRUNKLINE_LOCAL_KEY, or keep --host 127.0.0.1."
        )
    keep_memory_private()
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise LocalError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    engines = Engines(models.directory_in(data_dir), language)
    address = listener.getsockname()
    print(f"The local provider is ready: http://{address[0]}:{address[1]}/v1", file=sys.stderr, flush=True)  # noqa: T201
    _serve(listener, engines, Keys(required_key))


def main() -> None:
    """Serve as a child of the gateway.

    Standard input holds the key, the models directory and the language model (or an empty line); standard output says
    when the models are loaded. The listening socket is inherited, so that its address is known before this starts.
    """
    keep_memory_private()
    _die_with_parent()
    key, directory, language = (sys.stdin.readline().rstrip("\n") for _ in range(3))
    listener = socket.socket(fileno=int(sys.argv[1]))
    try:
        engines = Engines(Path(directory), Path(language) if language else None)
    except LocalError as error:
        sys.stdout.write(f"{type(error).__name__} {error}\n")
        sys.exit(1)
    os.write(sys.stdout.fileno(), READY)
    # Nothing may write to a pipe that nobody reads any more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _serve(listener, engines, Keys(key))


def _serve(listener: socket.socket, engines: Engines, keys: Keys) -> None:
    logging.getLogger("uvicorn.error").addFilter(_not_on_purpose)
    config = uvicorn.Config(
        create_application(engines, keys),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=_MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        engines.close()


def _not_on_purpose(record: logging.LogRecord) -> bool:
    """Drop the traces of behaviours that break off because a test asked for it."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is not BrokenOnPurpose


def _die_with_parent() -> None:
    """Ask the kernel to end this process with the gateway's, however that ends (Linux)."""
    if sys.platform == "linux":
        libc: Any = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
