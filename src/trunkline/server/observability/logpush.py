"""The log as it grows, as lines of JSON, to a file or to an address that takes them by POST.

Rows wait in a journal of their own until the destination has taken them, so that neither a restart nor a destination
that is away loses any; one that took rows whose receipt was lost gets them again, and can tell by their ids.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import msgspec
import structlog

from trunkline.errors import SettingsError
from trunkline.server.observability.tracing import header_pairs
from trunkline.settings import Settings
from trunkline.store import Journal, LogRecord
from trunkline.store.log_record import decoded, encoded
from trunkline.upstream.address import parse
from trunkline.upstream.http import HttpPool, Request

log = structlog.get_logger("trunkline.logpush")

_DIRECTORY: Final = "logpush"
_MEBIBYTE: Final = 1024 * 1024
_BATCH: Final = 1000
_PAUSE_SECONDS: Final = 1.0
_MAX_PAUSE_SECONDS: Final = 60.0
_FAREWELL_SECONDS: Final = 3.0
_FIRST_ERROR_STATUS: Final = 300
_FILE_MODE: Final = 0o600

_LINE: Final = msgspec.json.Encoder().encode


class NotTaken(Exception):
    """The destination did not take a batch; the message says why, without anything of the destination's secrets."""


class Destination(Protocol):
    """Where lines go."""

    async def take(self, lines: bytes) -> None:
        """Take whole lines. Raises `NotTaken`."""


class File:
    """Appends to a file, which is opened anew for each batch: whatever rotates it may move it at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def take(self, lines: bytes) -> None:
        """Append the lines; a write that failed halfway is taken back."""
        try:
            await asyncio.to_thread(self._append, lines)
        except OSError as error:
            raise NotTaken(f"{self._path}: {error.strerror}") from error

    def _append(self, lines: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _FILE_MODE)
        try:
            before = os.fstat(descriptor).st_size
            view = memoryview(lines)
            try:
                while view:
                    view = view[os.write(descriptor, view) :]
            except OSError:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)


class Address:
    """Posts newline-delimited JSON, compressed."""

    def __init__(self, url: str, headers: Sequence[tuple[str, str]], pool: HttpPool) -> None:
        self._origin, path = parse(url)
        query = urlsplit(url).query
        self._target = (f"{path}?{query}" if query else path).encode("latin-1")
        self._headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._pool = pool

    async def take(self, lines: bytes) -> None:
        """Post the lines; whatever answers 2xx has taken them."""
        body = await asyncio.to_thread(gzip.compress, lines, 6)
        headers = [(b"content-type", b"application/x-ndjson"), (b"content-encoding", b"gzip"), *self._headers]
        request = Request(b"POST", self._origin, self._target, headers, body)
        try:
            response = await self._pool.send(request)
        except Exception as error:
            raise NotTaken(f"{self._origin} cannot be reached: {error}") from error
        try:
            status = response.status
        finally:
            await response.aclose()
        if status >= _FIRST_ERROR_STATUS:
            raise NotTaken(f"{self._origin} answered {status}")


class Logpush:
    """Takes records at any time; a task of its own sends them on in batches, and again until they are taken."""

    def __init__(
        self, journal: Journal, destination: Destination, *, with_payloads: bool, pause: float = _PAUSE_SECONDS
    ) -> None:
        """``pause`` is in seconds: between looks at the journal, and doubled after each failure."""
        self.journal = journal
        self._destination = destination
        self._with_payloads = with_payloads
        self._pause = pause
        self._sending: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: Settings, pool: HttpPool) -> Logpush | None:
        """Return what the settings ask for, or None when they ask for nothing. Raises `SettingsError`."""
        if not settings.logpush_url:
            return None
        journal = Journal.open(
            settings.data_dir / _DIRECTORY, limit_bytes=settings.logpush_limit * _MEBIBYTE, policy="drop-oldest"
        )
        return cls(journal, _destination(settings, pool), with_payloads=settings.logpush_payloads)

    def start(self) -> None:
        """Begin to send; what an earlier process left comes first."""
        self._sending = asyncio.create_task(self._send())

    def take(self, record: LogRecord) -> None:
        """Keep a record until it is sent."""
        if not self._with_payloads:
            record = msgspec.structs.replace(record, request=None, response=None)
        self.journal.append(encoded(record))

    async def close(self) -> None:
        """Send what waits, for some seconds at most; the rest stays for the next start."""
        if self._sending is None:
            return
        self._sending.cancel()
        with suppress(asyncio.CancelledError):
            await self._sending
        with suppress(TimeoutError, NotTaken):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while await self._send_batch():
                    pass
        self.journal.close()

    async def _send(self) -> None:
        pause = self._pause
        while True:
            try:
                while await self._send_batch():
                    pass
                pause = self._pause
            except NotTaken as error:
                log.warning(
                    "log rows cannot be sent yet", why=str(error), waiting_bytes=self.journal.stats().waiting_bytes
                )
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)
            except Exception as error:  # nothing may end the watch
                log.error("log rows cannot be sent", why=f"{type(error).__name__}: {error}")
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _send_batch(self) -> bool:
        """Send what waits, up to a batch; return whether there was any."""
        batch = self.journal.next_batch(_BATCH)
        if batch is None:
            return False
        await self._destination.take(b"".join(_line(record) for record in batch.records))
        self.journal.done(batch)
        return True


def _line(kept: bytes) -> bytes:
    """Return a record as a line: its own fields, bodies as text."""
    record = decoded(kept)
    told: dict[str, Any] = {name: getattr(record, name) for name in record.__struct_fields__}
    for name in ("request", "response"):
        body = told.pop(name)
        if body is not None:
            told[name] = body.decode("utf-8", "replace")
    return _LINE(told) + b"\n"


def _destination(settings: Settings, pool: HttpPool) -> Destination:
    parts = urlsplit(settings.logpush_url)
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
        if parts.netloc not in ("", "localhost") or not path.is_absolute() or path.is_dir():
            raise SettingsError("logpush_url: give a file as file:///path/to/name.ndjson.")
        return File(path)
    if parts.scheme in ("http", "https") and parts.hostname:
        if parts.username or parts.password:
            raise SettingsError("logpush_url: put the credential into logpush_headers; an address may be shown.")
        return Address(settings.logpush_url, header_pairs(settings.logpush_headers, "logpush_headers"), pool)
    raise SettingsError("logpush_url: give file:///path/to/name.ndjson, or an http(s) address that takes POST.")
