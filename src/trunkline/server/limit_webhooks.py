"""Telling somebody that a limit is nearly used up: a POST beside all requests, which waits for none and holds none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import structlog

from trunkline.errors import first_line
from trunkline.settings import is_loopback_host
from trunkline.upstream.address import Origin, parse
from trunkline.upstream.http import HttpPool, Request

log = structlog.get_logger("trunkline.limits")

# Seconds before each further try: a receiver that restarts is back by then.
_PAUSES: Final = (1.0, 5.0, 30.0, 120.0)
_ANSWER_SECONDS: Final = 10.0
_FAREWELL_SECONDS: Final = 3.0
_MOST_WAITING: Final = 1000
_FIRST_ERROR_STATUS: Final = 300


class LimitWebhooks:
    """Posts JSON to the webhooks of rules; again when that fails, and then gives up and logs it.

    Redirects are not followed, and an address that is not public is not connected to, unless its host is loopback or
    one of ``private_hosts`` (``*``: any).
    """

    def __init__(
        self, http: HttpPool, private_hosts: Collection[str] = (), pauses: Collection[float] = _PAUSES
    ) -> None:
        self._http = http
        self._private_hosts = private_hosts
        self._pauses = tuple(pauses)
        self._posting: set[asyncio.Task[None]] = set()
        self.failed = 0
        """How many were given up."""

    def post(self, url: str, told: Mapping[str, Any], is_first: Callable[[], Awaitable[bool]]) -> None:
        """Have a message sent, if ``is_first`` then says so."""
        if len(self._posting) >= _MOST_WAITING:
            self._give_up(url, "too many others wait to be sent")
            return
        task = asyncio.create_task(self._post(url, msgspec.json.encode(told), is_first))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def close(self) -> None:
        """Let what is being sent be sent, for a few seconds."""
        if not self._posting:
            return
        _, late = await asyncio.wait(self._posting, timeout=_FAREWELL_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _post(self, url: str, body: bytes, is_first: Callable[[], Awaitable[bool]]) -> None:
        if not await is_first():
            return
        why = ""
        for pause in (*self._pauses, None):
            try:
                status = await self._status_of(url, body)
            except Exception as error:  # whatever it is, requests go on, and the next try may work
                why = first_line(error)
            else:
                if status < _FIRST_ERROR_STATUS:
                    return
                why = f"it answered {status}"
            if pause is not None:
                await asyncio.sleep(pause)
        self._give_up(url, why)

    async def _status_of(self, url: str, body: bytes) -> int:
        origin, path = self._place(url)
        query = urlsplit(url).query
        target = (f"{path}?{query}" if query else path).encode("latin-1")
        request = Request(b"POST", origin, target, [(b"content-type", b"application/json")], body)
        async with asyncio.timeout(_ANSWER_SECONDS):
            response = await self._http.send(request)
        try:
            return response.status
        finally:
            await response.aclose()

    def _place(self, url: str) -> tuple[Origin, str]:
        host = urlsplit(url).hostname or ""
        is_trusted = is_loopback_host(host) or host in self._private_hosts or "*" in self._private_hosts
        return parse(url, public_only=not is_trusted)

    def _give_up(self, url: str, why: str) -> None:
        self.failed += 1
        # The path of such an address is often a secret.
        log.error("a limit's webhook was not told", host=urlsplit(url).hostname, why=why)
