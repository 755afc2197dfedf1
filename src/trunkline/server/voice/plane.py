"""Serves WebSocket upgrades below ``/v1/``, and ends their sessions when the gateway does."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import Final

import structlog

from trunkline.errors import GatewayError, GatewayLeaving, UpgradeRequired
from trunkline.realtime.bounded import shown
from trunkline.server import client_secrets
from trunkline.server.asgi import Direct, Receive, Scope, Send, direct_of, respond_to_upgrade
from trunkline.server.gateway import Gateway
from trunkline.server.routing import deployed_route
from trunkline.server.session_log import SWITCHED
from trunkline.server.voice.call import Call
from trunkline.server.voice.fallbacks import RouteFallbacks
from trunkline.server.voice.unified import admitted_to_route, is_routed, to_provider
from trunkline.wire.head import Head
from trunkline.wire.refusal import dialect_for, http_refusal, realtime_refusal
from trunkline.wire.subprotocols import select

log = structlog.get_logger("trunkline.voice")

# What sessions get, once they were told to go, to say so to both sides.
_FAREWELL_SECONDS: Final = 1.0


class VoicePlane:
    """All sessions of this process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._calls: set[Call] = set()
        self._is_leaving = False
        self._emptied = asyncio.Event()

    async def __call__(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one session. A refusal is sent in band, where a browser can read it."""
        if (await receive())["type"] != "websocket.connect":
            return
        if head.path.rstrip("/").endswith("/responses"):
            # The one refusal that is an HTTP answer: clients of this surface fall back to HTTP when they read 426.
            error = UpgradeRequired("Responses are served over HTTP here; send the request as POST.")
            dialect = dialect_for(head.headers, self._gateway.dialect_of(head))
            self._gateway.logbook.open(head, "realtime").finish_now("refused", error, status=error.status)
            await respond_to_upgrade(send, *http_refusal(error, dialect))
            return
        await send({"type": "websocket.accept", "subprotocol": select(head.subprotocols)})
        try:
            call = await self._admitted(head, receive, send, direct_of(scope))
        except GatewayError as error:
            await self._refuse(head, send, error)
            return
        self._calls.add(call)
        try:
            await call.run()
        finally:
            self._calls.discard(call)
            if not self._calls:
                self._emptied.set()

    async def _admitted(self, head: Head, receive: Receive, send: Send, direct: Direct | None) -> Call:
        if self._is_leaving:
            raise GatewayLeaving("The gateway is about to stop; dial again in a moment.")
        head = to_provider(head)
        if is_routed(head):
            admission = admitted_to_route(self._gateway.doorkeeper, head)
        else:
            admission = self._gateway.doorkeeper.admit(head)
        head = client_secrets.bound(head, admission)
        model = head.query_value("model") or ""
        route = deployed_route(self._gateway.registry.now, admission.gateway, model)
        if route is None:
            admission.check_models(head.query_values("model"))
            return Call(self._gateway, head, admission, receive, send, direct=direct)
        way = RouteFallbacks(self._gateway, head, admission, route)
        first = await way.start()
        return Call(self._gateway, head, first.admission, receive, send, way, direct)

    async def _refuse(self, head: Head, send: Send, error: GatewayError) -> None:
        log.warning("session refused", path=head.path, code=error.code, why=shown(error.message))
        self._gateway.logbook.open(head, "realtime").finish_now("refused", error, status=SWITCHED)
        text, code, reason = realtime_refusal(error, self._gateway.dialect_of(head), f"event_{secrets.token_hex(10)}")
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close", "code": code, "reason": reason})

    async def leave(self, seconds: float) -> None:
        """Take no more sessions, and end those that are open: each when its answer is finished, all after ``seconds``.

        Clients are told to come back (1012); an answer that is cut ends as one that failed.
        """
        self._is_leaving = True
        for call in list(self._calls):
            call.leave()
        await self._until_empty(seconds)
        for call in list(self._calls):
            call.leave(now=True)
        await self._until_empty(_FAREWELL_SECONDS)

    async def _until_empty(self, seconds: float) -> None:
        if self._calls:
            self._emptied.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
