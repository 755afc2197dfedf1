"""Which providers a session dials, in order: the one asked for, then those that the gateway falls back to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import structlog

from trunkline.errors import GatewayError, UpstreamError, UpstreamUpgradeRefused
from trunkline.policy.cost import price_is_known
from trunkline.policy.models import is_allowed
from trunkline.realtime.bounded import shown
from trunkline.server.admission import Admission
from trunkline.server.chaining import dial_first_taken
from trunkline.server.gateway import Gateway
from trunkline.upstream.websocket import Binary, Closed, Text, UpstreamSocket
from trunkline.wire.head import Head, Transport

log = structlog.get_logger("trunkline.voice")

# How long to wait before each try of the provider that was lost: at once, then after its restart, then a last time.
_FIRST_TRIES: Final = (0.0, 0.5)
_LAST_TRY: Final = 2.0
_SERVER_FAILS: Final = 500
_RATE_LIMITED: Final = 429


@dataclass(frozen=True, slots=True)
class Route:
    """A provider to dial: how it was admitted, with what head, and for which model where one is named."""

    head: Head
    admission: Admission
    model: str

    def __str__(self) -> str:
        return f"{self.admission.provider.slug}/{self.model}"


@dataclass(slots=True)
class Line:
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
    """Dial one provider. Raises `GatewayError`."""
    calls = await gateway.outgoing_calls(route.head, route.admission)
    socket, heard = await dial_first_taken(gateway.dialer, gateway.known_slots, route.admission, calls)
    return Line(route, socket, heard, calls[0].cascade)


class Dialling:
    """Dials for one session."""

    def __init__(self, gateway: Gateway, first: Route) -> None:
        self._gateway = gateway
        self._first = first
        self._fallbacks = list(self._routes_behind(first.head, first.admission))
        self.lose()

    async def first(self) -> Line:
        """Dial for a new session. Raises the `GatewayError` of the provider asked for when nobody can be reached."""
        try:
            return await dial(self._gateway, self._first)
        except UpstreamError as error:
            if not _is_failure(error):
                raise
            line = await self._first_of((route, 0.0) for route in self._fallbacks)
            if line is None:
                raise
            return line

    def lose(self) -> None:
        """Begin anew with the tries for a session that went well until its provider was lost."""
        first = [(self._first, wait) for wait in _FIRST_TRIES]
        self._tries: Iterator[tuple[Route, float]] = iter(
            [*first, *((route, 0.0) for route in self._fallbacks), (self._first, _LAST_TRY)]
        )

    async def again(self) -> Line:
        """Dial for a session whose provider is lost. Raises `UpstreamError` when there is nobody to go on with."""
        line = await self._first_of(self._tries)
        if line is None:
            raise UpstreamError(
                f"The gateway lost {self._first.admission.provider.name} in the middle of the session, and nobody could"
                " take its place. Open another session."
            )
        return line

    async def _first_of(self, tries: Iterable[tuple[Route, float]]) -> Line | None:
        for route, wait in tries:
            await asyncio.sleep(wait)
            try:
                return await dial(self._gateway, route)
            except GatewayError as error:
                log.warning("a provider cannot take the session", route=str(route), why=shown(error.message))
        return None

    def _routes_behind(self, head: Head, admission: Admission) -> Iterator[Route]:
        """Yield the gateway's fallbacks, less those that the caller's key may not use, or whose price it needs to know.

        The head is made anew: what the client showed the first provider is not for another.
        """
        if not admission.provider.has_realtime:
            return
        agent = [(name, value) for name, value in head.headers if name == b"user-agent"]
        is_priced = admission.is_capped or admission.limits.budget is not None
        for name in admission.rules.realtime.fallbacks:
            slug, _, model = name.partition("/")
            caller = admission.caller
            if caller is not None and not is_allowed(model, caller.models, slug):
                continue
            if is_priced and not price_is_known(slug, model):
                continue
            intent = head.query_value("intent")
            query = {"intent": intent, "model": model} if intent else {"model": model}
            path = f"/v1/{admission.account}/{admission.gateway}/{slug}/realtime"
            try:
                other = self._gateway.doorkeeper.elsewhere(admission, slug)
            except GatewayError as error:
                log.warning("a fallback cannot be used", route=name, why=shown(error.message))
                continue
            yield Route(Head(Transport.WEBSOCKET, "GET", path, urlencode(query), agent, ("realtime",)), other, model)


def _is_failure(error: UpstreamError) -> bool:
    """Whether a provider failed, rather than refused what it was asked for."""
    if isinstance(error, UpstreamUpgradeRefused):
        return error.upstream_status >= _SERVER_FAILS or error.upstream_status == _RATE_LIMITED
    return True
