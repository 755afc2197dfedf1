"""The Valkey (or Redis) server that the processes of a gateway share: one client for all that is kept there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog

from trunkline.errors import SettingsError, first_line

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger("trunkline.valkey")

_SCHEMES: Final = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss", "unix": "unix"}
_SHAPES: Final = "valkey://USER:PASSWORD@HOST:PORT/NUMBER, valkeys:// for TLS, or unix:///PATH"
_CONNECT_SECONDS: Final = 1.0
# For one command, a large entry of the cache included.
_ANSWER_SECONDS: Final = 2.0
_RETRIES: Final = 1
_MAX_CONNECTIONS: Final = 64
# So long a server that failed is left alone: requests would wait for it in vain, each for all of the timeouts.
REST_SECONDS: Final = 2.0
# One that refused nothing for so long takes everything again: a full one has room now and then, as entries expire.
_CALM_SECONDS: Final = 60.0


class Valkey:
    """A client that many tasks may use at once. Nothing is connected before the first command.

    Commands raise `redis.exceptions.RedisError`. Whoever catches it calls `failed`, `worked` after a command that went
    well, and `wrote` after one that needed room: an outage is then logged once, and `is_resting` says for how long
    nobody needs to ask again. A server that answers and refuses, such as one that is full, is no outage: what it holds
    is still read, and `refuses` says for how long nothing needs to be brought to it.
    """

    def __init__(self, client: Redis, place: str, now: Callable[[], float] = time.monotonic) -> None:
        """``place`` is said in logs, and holds no password."""
        self.client = client
        self.place = place
        self._now = now
        self._is_away = False
        self._rests_until = 0.0
        self._refused_at: float | None = None

    @classmethod
    def open(cls, url: str) -> Valkey:
        """Return a client for the setting ``valkey_url``. Raises `SettingsError`, which never shows the URL."""
        scheme, place = _read(url)
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import ExponentialBackoff
        except ImportError as error:
            raise SettingsError(
                "valkey_url names a Valkey server, for which a package is missing: pip install 'trunkline[valkey]'"
            ) from error
        try:
            # One that is blocking: a burst waits for a connection, and does not fail for want of one.
            connections = BlockingConnectionPool.from_url(
                f"{scheme}://{url.partition('://')[2]}",
                socket_connect_timeout=_CONNECT_SECONDS,
                socket_timeout=_ANSWER_SECONDS,
                socket_keepalive=True,
                health_check_interval=30,
                max_connections=_MAX_CONNECTIONS,
                timeout=_ANSWER_SECONDS,
                retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), _RETRIES),
            )
        except (ValueError, TypeError):
            raise _unreadable() from None  # the reason may quote a piece of the password
        return cls(Redis.from_pool(connections), place)

    @property
    def is_resting(self) -> bool:
        """Whether the server failed a moment ago, so that asking it again would only cost time."""
        return self._is_away and self._now() < self._rests_until

    @property
    def refuses(self) -> bool:
        """Whether the server refused something a moment ago, or rests, so that it will take nothing now."""
        return self.is_resting or (self._refused_at is not None and self._now() < self._refused_at + REST_SECONDS)

    def failed(self, error: Exception) -> None:
        """Note that a command failed or was refused; the first one of each is logged."""
        from redis.exceptions import ResponseError

        if isinstance(error, ResponseError):
            self.worked()  # it answers
            if self._refused_at is None:
                log.error("Valkey refuses what is brought to it", place=self.place, why=first_line(error))
            self._refused_at = self._now()
            return
        self._rests_until = self._now() + REST_SECONDS
        if not self._is_away:
            self._is_away = True
            log.error("Valkey does not answer", place=self.place, why=first_line(error))

    def worked(self) -> None:
        """Note that a command went well."""
        if self._is_away:
            self._is_away = False
            log.info("Valkey answers again", place=self.place)

    def wrote(self) -> None:
        """Note that a command went well that a full server refuses."""
        self.worked()
        if self._refused_at is not None and self._now() > self._refused_at + _CALM_SECONDS:
            self._refused_at = None
            log.info("Valkey takes everything again", place=self.place)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()


def _read(url: str) -> tuple[str, str]:
    """Return the scheme by which the client knows it, and the place without a password."""
    try:
        parts = urlsplit(url)
        scheme, host, port = _SCHEMES.get(parts.scheme), parts.hostname, parts.port
    except ValueError:
        raise _unreadable() from None
    if scheme is None:
        raise SettingsError(f"valkey_url: expected {_SHAPES}.")
    if scheme == "unix":
        if not parts.path.strip("/"):
            raise _unreadable()
        return scheme, f"the socket {parts.path}"
    # A number names the database; anything else is a password that ended the host too early.
    if not host or "@" in parts.path + parts.query + parts.fragment or parts.fragment or not _is_database(parts.path):
        raise _unreadable()
    return scheme, f"{host}:{port or 6379}"


def _is_database(path: str) -> bool:
    number = path.strip("/")
    return not number or (number.isascii() and number.isdigit())


def _unreadable() -> SettingsError:
    return SettingsError(
        f"valkey_url: it cannot be read as {_SHAPES}. In a password, the characters / ? # @ : % are written as"
        " %2F %3F %23 %40 %3A %25."
    )
