"""The WebSocket data plane: executes what a `RelaySession` decides. The only place of a session that waits."""

from __future__ import annotations

import asyncio
import secrets
import time

import structlog

from trunkline.errors import GatewayError, UpgradeRequired
from trunkline.realtime.events import (
    AskBrain,
    BrainSaid,
    ClientBinary,
    ClientClosed,
    ClientText,
    CloseClient,
    CloseUpstream,
    Effect,
    Event,
    Failed,
    SendClient,
    SendUpstream,
    StopBrain,
    UpstreamBinary,
    UpstreamClosed,
    UpstreamConnected,
    UpstreamText,
)
from trunkline.realtime.session import RelaySession
from trunkline.server.asgi import Message, Receive, Scope, Send, respond_to_upgrade
from trunkline.server.brain import Brain
from trunkline.server.gateway import Gateway
from trunkline.upstream.websocket import Binary, Closed, Text, UpstreamSocket
from trunkline.wire.head import Head
from trunkline.wire.refusal import dialect_for, http_refusal
from trunkline.wire.subprotocols import select

log = structlog.get_logger("trunkline.voice")


class VoicePlane:
    """Serves WebSocket upgrades below ``/v1/``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one session. A refusal is sent in band, where a browser can read it."""
        if (await receive())["type"] != "websocket.connect":
            return
        if head.path.rstrip("/").endswith("/responses"):
            # The one refusal that is an HTTP answer: clients of this surface fall back to HTTP when they read 426.
            error = UpgradeRequired("Responses are served over HTTP here; send the request as POST.")
            dialect = dialect_for(head.headers, self._gateway.dialect_of(head))
            await respond_to_upgrade(send, *http_refusal(error, dialect))
            return
        await send({"type": "websocket.accept", "subprotocol": select(head.subprotocols)})
        await _Call(self._gateway, head, receive, send).run()


class _Call:
    """One session in progress: a task for each side, both feeding the same `RelaySession`."""

    def __init__(self, gateway: Gateway, head: Head, receive: Receive, send: Send) -> None:
        self._gateway = gateway
        self._head = head
        self._receive = receive
        self._send = send
        self._session = RelaySession(
            gateway.dialect_of(head), f"event_{secrets.token_hex(10)}", cascade=gateway.is_cascade(head)
        )
        self._connected = asyncio.Event()
        self._upstream: UpstreamSocket | None = None
        self._brain: Brain | None = None

    async def run(self) -> None:
        """Relay until the session is closed."""
        started = time.perf_counter()
        sides = {asyncio.create_task(self._provider_side()), asyncio.create_task(self._client_side())}
        try:
            done, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in sides:
                task.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
            if self._brain is not None:
                self._brain.stop_all()
            if self._upstream is not None:
                self._upstream.abort()
            log.debug("session ended", path=self._head.path, seconds=round(time.perf_counter() - started, 1))

    async def _client_side(self) -> None:
        while not self._session.is_closed:
            event = _client_event(await self._receive())
            if not isinstance(event, ClientClosed):
                # Not reading on is what holds the client back until the provider has answered.
                await self._connected.wait()
            await self._take(event)

    async def _provider_side(self) -> None:
        try:
            self._upstream = await self._dial()
        except GatewayError as error:
            log.warning("session refused", path=self._head.path, code=error.code, why=error.message)
            await self._take(Failed(error))
            return
        await self._take(UpstreamConnected())
        self._connected.set()
        while not self._session.is_closed:
            await self._take(await self._heard(self._upstream))

    async def _dial(self) -> UpstreamSocket:
        admission = self._gateway.doorkeeper.admit(self._head)
        call = await self._gateway.outgoing_call(self._head, admission)
        if call.cascade:
            self._brain = Brain(self._gateway, self._head, admission, self._say)
        return await self._gateway.dialer.dial(call.origin, call.target, call.headers, call.subprotocols)

    async def _heard(self, upstream: UpstreamSocket) -> Event:
        match await upstream.receive():
            case Text(payload):
                return UpstreamText(payload if isinstance(payload, str) else payload.decode())
            case Binary(payload):
                return UpstreamBinary(payload)
            case Closed(code, reason):
                return UpstreamClosed(code, reason)

    async def _say(self, frame: str) -> None:
        await self._take(BrainSaid(frame))

    async def _take(self, event: Event) -> None:
        for effect in self._session.receive(event):
            await self._perform(effect)

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case SendClient(str() as text):
                await self._send({"type": "websocket.send", "text": text})
            case SendClient(bytes() as data):
                await self._send({"type": "websocket.send", "bytes": data})
            case SendUpstream(str() as text):
                assert self._upstream is not None
                await self._upstream.send_text(text)
            case SendUpstream(bytes() as data):
                assert self._upstream is not None
                await self._upstream.send_binary(data)
            case CloseClient(code, reason):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
            case CloseUpstream(code, reason):
                if self._upstream is not None:
                    await self._upstream.close(code, reason)
            case AskBrain(request_id, body):
                assert self._brain is not None
                self._brain.ask(request_id, body)
            case StopBrain(request_id):
                assert self._brain is not None
                self._brain.stop(request_id)


def _client_event(message: Message) -> Event:
    if message["type"] == "websocket.disconnect":
        return ClientClosed(message.get("code") or 1005, message.get("reason") or "")
    text = message.get("text")
    return ClientText(text) if text is not None else ClientBinary(message["bytes"])
