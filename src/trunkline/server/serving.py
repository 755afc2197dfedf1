"""Listening: sockets, TLS, uvicorn's settings, logging, and what a person reads at the start."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import math
import os
import socket
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import click
import structlog
import uvicorn

from trunkline.credentials.redaction import redact_message
from trunkline.errors import SettingsError
from trunkline.private import is_open_to_others, keep_memory_private, make_folder
from trunkline.server import heads
from trunkline.server.accounts import sign_in_link
from trunkline.server.application import Application
from trunkline.server.heads import BoundedHttpProtocol
from trunkline.server.open_files import raise_limit
from trunkline.server.tls import TlsFiles, prepare
from trunkline.server.websocket import WebSocketProtocol
from trunkline.settings import Settings

log = structlog.get_logger("trunkline.serving")

# Realtime clients may send 15 MiB of audio in one event, base64-encoded, with room for the JSON around it.
MAX_FRAME_BYTES: Final = 24 * 1024 * 1024
_PING_SECONDS: Final = 20.0
# Longer than clients and balancers keep a connection without a request (5 to 60 s): it is theirs to close, who know
# that they ask for nothing just then.
KEEP_ALIVE_SECONDS: Final = 75
# For answers that are nearly there, however little time sessions were given.
_LEAST_GRACE_SECONDS: Final = 1
_BACKLOG: Final = 2048
# Names of providers are looked up in half of these, each for as long as DNS is silent.
_THREADS: Final = "32"
_TICK_SECONDS: Final = 0.1
# So many new objects, instead of 700, that no count of references will free.
_GARBAGE: Final = 20_000


def run(settings: Settings) -> None:
    """Serve until interrupted. Raises `SettingsError` when the address cannot be had or TLS cannot be set up."""
    keep_memory_private()
    configure_logging(settings.log_level, settings.log_format)
    make_folder(settings.data_dir)
    if is_open_to_others(settings.data_dir):
        log.warning("others on this machine may look into the data directory", chmod=f"700 {settings.data_dir}")
    # Before the loop's first lookup. libuv has four threads, and lets only half of them look up names.
    os.environ.setdefault("UV_THREADPOOL_SIZE", _THREADS)
    listener = listen(settings)
    server = create_server(settings, listener, raise_limit())
    _collect_less()
    server.run(sockets=[listener])


def create_server(settings: Settings, listener: socket.socket, most_connections: int = 0) -> uvicorn.Server:
    """Return the server that serves the gateway on a listening socket, to so many clients at once; zero is no bound."""
    tls = prepare(settings)
    application = Application(settings)

    def announce() -> str:
        return _announcement(settings, listener, tls, application.gateway.accounts.take_first_token())

    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=BoundedHttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        limit_concurrency=most_connections or None,
        interface="asgi3",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_certfile=str(tls.certificate) if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
    )
    return _Server(config, application, settings.drain_timeout, announce)


class _Server(uvicorn.Server):
    """uvicorn, saying where it listens once it does, and leaving in good order."""

    def __init__(
        self, config: uvicorn.Config, application: Application, drain: float, announce: Callable[[], str]
    ) -> None:
        super().__init__(config)
        self._application = application
        self._drain = drain
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            click.echo(self._announce(), err=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        until = asyncio.get_running_loop().time() + self._drain
        for server in self.servers:  # who comes now is for the next process
            server.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, BoundedHttpProtocol):
                connection.leave()
        leaving = asyncio.create_task(self._application.leave(self._drain))
        while not leaving.done() and not self.force_exit:  # a second Ctrl+C
            await asyncio.wait({leaving}, timeout=_TICK_SECONDS)
        leaving.cancel()
        left = until - asyncio.get_running_loop().time()  # for streams, which went on meanwhile
        self.config.timeout_graceful_shutdown = max(math.ceil(left), _LEAST_GRACE_SECONDS)
        await super().shutdown(sockets=sockets)


def _collect_less() -> None:
    """Have garbage looked for less often, and not among what is there to stay: it took a tenth of a busy core."""
    gc.freeze()
    gc.set_threshold(_GARBAGE, *gc.get_threshold()[1:])
    gc.enable()


def _announcement(settings: Settings, listener: socket.socket, tls: TlsFiles | None, first_token: str) -> str:
    address = f"{_url_host(settings.host)}:{listener.getsockname()[1]}"
    scheme, websocket = ("https", "wss") if tls else ("http", "ws")
    path = f"/v1/{settings.account}/{settings.gateway}"
    lines = [
        f"{click.style('Trunkline is ready:', bold=True)} {scheme}://{address}",
        f"  chat   {scheme}://{address}{path}/local/chat/completions",
        f"  voice  {websocket}://{address}{path}/local/realtime?model=local",
    ]
    if tls and tls.authority:
        lines += [
            "  To trust its certificate:",
            f"    Node.js          export NODE_EXTRA_CA_CERTS={tls.authority}",
            f"    Python, curl     export SSL_CERT_FILE={tls.authority}",
            f"    browsers         import {tls.authority} as an authority",
        ]
    if first_token:
        base = settings.public_url.rstrip("/") or f"{scheme}://{address}"
        lines += [
            "  To have people sign in, make the first account, within an hour:",
            f"    {sign_in_link(base, first_token)}",
        ]
    return "\n".join([*lines, "  Press Ctrl+C to stop."])


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket that the settings ask for. Raises `SettingsError` saying what is in the way."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":  # connections have it from here
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(heads.STALL_SECONDS * 1000))
        listener.bind(address)
        listener.listen(_BACKLOG)
    except socket.gaierror as error:
        raise SettingsError(f"host: {host} is no address of this machine ({error.strerror}).") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"Port {port} on {host} is in use. Stop the other program, or choose another with --port."
            ) from error
        raise SettingsError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    listener.setblocking(False)
    return listener


def configure_logging(level: str, form: str = "auto") -> None:
    """Send structured lines to standard error: as text for people, or as JSON; ``auto`` tells by the terminal."""
    number = logging.getLevelNamesMapping()[level.upper()]
    terminal = sys.stderr.isatty()
    text = terminal if form == "auto" else form == "text"
    # Not the traceback of its choice, which shows the values of variables: some are keys.
    people = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
    renderer: Any = people if text else structlog.processors.JSONRenderer()
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_secrets,
        renderer,
    ]
    if not text:
        processors.insert(3, structlog.processors.format_exc_info)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").addFilter(_not_our_abort)


def _without_secrets(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out of a line what has the shape of a key: a client may have put one into a path, a provider into words."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = redact_message(value)
    return event


def _not_our_abort(record: logging.LogRecord) -> bool:
    """Drop uvicorn's complaint about an unfinished answer: leaving one so is how a broken stream is shown."""
    return "without completing response" not in record.getMessage()
