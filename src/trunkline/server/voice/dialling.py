"""Which providers a session dials, in order: the one asked for, then those that stand behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from trunkline.errors import GatewayError, UpstreamError, UpstreamTimeout, UpstreamUpgradeRefused
from trunkline.realtime.bounded import shown
from trunkline.server.admission import Admission
from trunkline.server.chaining import dial_first_taken
from trunkline.server.gateway import Gateway
from trunkline.upstream.messages import Binary, Closed, Text
from trunkline.wire.head import Head

if TYPE_CHECKING:
    from trunkline.upstream.websocket import UpstreamSocket

log = structlog.get_logger("trunkline.voice")

# How long to wait before each try of the provider that was lost: at once, then after its restart, then a last time.
_FIRST_TRIES: Final = (0.0, 0.5)
_LAST_TRY: Final = 2.0
_SERVER_FAILS: Final = 500
_RATE_LIMITED: Final = 429


class Route(msgspec.Struct, frozen=True):
    """A provider to dial: how it was admitted, with what head, and for which model where one is named.

    ``timeout_ms`` is how long that may take besides the gateway's own bounds, 0 is none; ``retries`` is how often it is
    dialled again when it fails.
    """

    head: Head
    admission: Admission
    model: str
    timeout_ms: int = 0
    retries: int = 0

    def __str__(self) -> str:
        return f"{self.admission.provider.slug}/{self.model}"


class Line(msgspec.Struct):
    """An open connection to a provider. ``heard`` came on it before anybody listened."""

    route: Route
    socket: UpstreamSocket
    heard: Text | Binary | Closed | None
    cascade: bool

    async def receive(self) -> Text | Binary | Closed:
        """Return the next message, or the close."""
        heard, self.heard = self.heard, None
        return heard or await self.socket.receive()


async def dial(gateway: Gateway, route: Route) -> Line:
    """Dial one provider, as often as its route says. Raises `GatewayError`."""
    for _ in range(route.retries):
        try:
            return await _dial_once(gateway, route)
        except UpstreamError as error:
            if not is_failure(error):
                raise
            log.info("a provider is dialled again", route=str(route), why=shown(error.message))
    return await _dial_once(gateway, route)


async def _dial_once(gateway: Gateway, route: Route) -> Line:
    calls = await gateway.outgoing_calls(route.head, route.admission)
    try:
        async with asyncio.timeout(route.timeout_ms / 1000 or None):
            socket, heard = await dial_first_taken(gateway.dialer, gateway.known_slots, route.admission, calls)
    except TimeoutError as error:
        raise UpstreamTimeout(
            f"{route.admission.provider.name} did not take the session within {route.timeout_ms} ms."
        ) from error
    return Line(route, socket, heard, calls[0].cascade)


class Fallbacks(Protocol):
    """Who stands behind the provider that is dialled first."""

    def are_for(self, error: GatewayError) -> bool:
        """Whether the next one is to be dialled when the first provider gave this error to a new session."""

    async def next(self, error: GatewayError | None) -> Route | None:
        """Return the next provider, or None when there is no other. ``error`` is that of the one before."""

    def refusal(self, error: GatewayError) -> GatewayError:
        """Return what a new session is told when nobody takes it; ``error`` is that of the first provider."""


class Dialling:
    """Dials for one session: ``first``, then whoever ``behind`` names."""

    def __init__(self, gateway: Gateway, first: Route, behind: Fallbacks) -> None:
        self._gateway = gateway
        self._first = first
        self._behind = behind
        self._known: list[Route] = []
        self._error: GatewayError | None = None
        self.lose()

    async def first(self) -> Line:
        """Dial for a new session. Raises the `GatewayError` of the provider asked for when nobody can be reached."""
        try:
            return await dial(self._gateway, self._first)
        except GatewayError as error:
            if not self._behind.are_for(error):
                raise
            self._error = error
            line = await self._first_of((route, 0.0) async for route in self._fallbacks())
            if line is None:
                raise self._behind.refusal(error) from error
            return line

    def lose(self) -> None:
        """Begin anew with the tries for a session that went well until its provider was lost."""
        self._tries = self._in_order()

    async def again(self) -> Line:
        """Dial for a session whose provider is lost. Raises `UpstreamError` when there is nobody to go on with."""
        line = await self._first_of(self._tries)
        if line is None:
            raise UpstreamError(
                f"The gateway lost {self._first.admission.provider.name} in the middle of the session, and nobody could"
                " take its place. Open another session."
            )
        return line

    async def _in_order(self) -> AsyncIterator[tuple[Route, float]]:
        """Yield whom to dial for a session whose provider is lost, and after how many seconds."""
        for wait in _FIRST_TRIES:
            yield self._first, wait
        async for route in self._fallbacks():
            yield route, 0.0
        yield self._first, _LAST_TRY

    async def _fallbacks(self) -> AsyncIterator[Route]:
        """Yield the fallbacks: those that were named already, then as many more as there are."""
        number = 0
        while True:
            if number == len(self._known):
                found = await self._behind.next(self._error)
                if found is None:
                    return
                self._known.append(found)
            yield self._known[number]
            number += 1

    async def _first_of(self, tries: AsyncIterable[tuple[Route, float]]) -> Line | None:
        async for route, wait in tries:
            await asyncio.sleep(wait)
            try:
                return await dial(self._gateway, route)
            except GatewayError as error:
                self._error = error
                log.warning("a provider cannot take the session", route=str(route), why=shown(error.message))
        return None


def is_failure(error: UpstreamError) -> bool:
    """Whether a provider failed, rather than refused what it was asked for."""
    if isinstance(error, UpstreamUpgradeRefused):
        return error.upstream_status >= _SERVER_FAILS or error.upstream_status == _RATE_LIMITED
    return True
