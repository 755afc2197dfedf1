"""The WebSocket data plane: executes what a `RelaySession` decides. The only place of a session that waits."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import Any, Final

import structlog

from trunkline.errors import GatewayError, SpendCapReached, Unauthorized, UpgradeRequired
from trunkline.policy.client_secrets import ClientSecret
from trunkline.policy.cost import cost_of_transcription, cost_of_turn, cost_of_unfinished_turn
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
from trunkline.server import client_secrets
from trunkline.server.admission import Admission
from trunkline.server.asgi import Message, Receive, Scope, Send, respond_to_upgrade
from trunkline.server.brain import Brain
from trunkline.server.chaining import dial_first_taken
from trunkline.server.gateway import Gateway
from trunkline.upstream.websocket import Binary, Closed, Text, UpstreamSocket
from trunkline.wire.documents import json_object
from trunkline.wire.head import Head
from trunkline.wire.refusal import dialect_for, http_refusal
from trunkline.wire.subprotocols import select

log = structlog.get_logger("trunkline.voice")


# A client that does not read must not keep a session alive whose key was revoked.
_ENDING_SECONDS: Final = 3.0
_FRONT: Final = 64
_RESPONSE_FAMILY: Final = '"response.'
_TYPE_IS_WITHIN: Final = 200
_PRICED: Final = ('"response.done"', '"conversation.item.input_audio_transcription.completed"')


class VoicePlane:
    """Serves WebSocket upgrades below ``/v1/``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._calls: set[_Call] = set()
        gateway.registry.on_change(self._end_dead_calls)

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
        call = _Call(self._gateway, head, receive, send)
        self._calls.add(call)
        try:
            await call.run()
        finally:
            self._calls.discard(call)

    def _end_dead_calls(self) -> None:
        """End every session whose key was revoked: who opened it may no longer speak."""
        for call in self._calls:
            call.end_if_dead()


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
        self._admission: Admission | None = None
        self._ending: asyncio.Future[GatewayError] = asyncio.get_running_loop().create_future()
        self._open = asyncio.Event()
        self._upstream: UpstreamSocket | None = None
        self._heard_already: Text | Binary | Closed | None = None
        self._brain: Brain | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._broker = gateway.registry.broker
        self._unsettled = 0  # bytes of a turn whose price is not known yet

    async def run(self) -> None:
        """Relay until the session is closed."""
        started = time.perf_counter()
        sides = {
            asyncio.create_task(side) for side in (self._provider_side(), self._client_side(), self._gateway_side())
        }
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
            if self._alarm is not None:
                self._alarm.cancel()
            self._settle()
            log.debug("session ended", path=self._head.path, seconds=round(time.perf_counter() - started, 1))

    async def _client_side(self) -> None:
        while not self._session.is_closed:
            event = _client_event(await self._receive())
            if not isinstance(event, ClientClosed):
                # Not reading on is what holds the client back until the provider has answered.
                await self._open.wait()
            try:
                self._check(event)
            except GatewayError as error:
                event = self._failed(error)
            await self._take(event)

    async def _gateway_side(self) -> None:
        """Wait for the gateway's own reason to end the session."""
        error = await self._ending
        try:
            async with asyncio.timeout(_ENDING_SECONDS):
                await self._take(self._failed(error))
        except TimeoutError:
            pass

    def end_if_dead(self) -> None:
        """End the session if the key that opened it counts no more."""
        caller = self._admission.caller if self._admission is not None else None
        reason = self._gateway.registry.why_dead(caller) if caller is not None else ""
        if reason and not self._ending.done():
            self._ending.set_result(Unauthorized(f"The gateway ended this session: the key that opened it {reason}."))

    def _failed(self, error: GatewayError) -> Failed:
        log.warning("session refused", path=self._head.path, code=error.code, why=error.message)
        return Failed(error)

    async def _provider_side(self) -> None:
        try:
            self._upstream = await self._dial()
        except GatewayError as error:
            await self._take(self._failed(error))
            return
        assert self._admission is not None
        await self._take(UpstreamConnected(client_secrets.first_update(self._admission.secret)))
        while not self._session.is_closed:
            if self._session.is_relaying:
                self._open.set()
            event = await self._heard(self._upstream)
            await self._take(event)
            try:
                self._charge(event)
            except GatewayError as error:
                await self._take(self._failed(error))

    async def _dial(self) -> UpstreamSocket:
        gateway = self._gateway
        admission = gateway.doorkeeper.admit(self._head)
        head = client_secrets.bound(self._head, admission)
        admission.check_models(head.query_values("model"))
        self._admission = admission
        self._watch_expiry()
        calls = await gateway.outgoing_calls(head, admission)
        if calls[0].cascade:
            self._brain = Brain(gateway, head, admission, self._say)
        if admission.secret is not None:
            self._broker.claim(admission.secret)
        upstream, self._heard_already = await dial_first_taken(gateway.dialer, gateway.known_slots, admission, calls)
        return upstream

    def _watch_expiry(self) -> None:
        """End the session when its key expires; the loop's clock is another and may ring early, so it is set again."""
        caller = self._admission.caller if self._admission is not None else None
        expires_at = self._gateway.registry.expiry(caller) if caller is not None else None
        if expires_at is None:
            return
        remaining = expires_at - time.time()
        if remaining > 0:
            self._alarm = asyncio.get_running_loop().call_later(remaining, self._watch_expiry)
        else:
            self.end_if_dead()

    def _check(self, event: Event) -> None:
        """Raise `NotPermitted` when a frame gives the session a model its opener may not use."""
        if self._admission is None or not self._admission.is_restricted:
            return
        if isinstance(event, ClientText):
            self._admission.check_frame(event.text)
        elif isinstance(event, ClientBinary) and b"{" in event.data[:_FRONT]:  # some providers take JSON so, too
            with suppress(UnicodeDecodeError):  # sound
                self._admission.check_frame(event.data.decode())

    def _charge(self, event: Event) -> None:
        """Charge what a frame states to the client secret that opened the session. Raises `SpendCapReached`."""
        secret = self._capped_secret()
        if secret is None or not isinstance(event, UpstreamText):
            return
        priced = (secret.provider, secret.model)
        said = _priced_event(event.text)
        match said.get("type"):
            case "response.done":
                cost = cost_of_turn(*priced, said)
                spoken, self._unsettled = self._unsettled, 0
                self._broker.charge(secret, cost_of_unfinished_turn(*priced, spoken) if cost is None else cost)
            case "conversation.item.input_audio_transcription.completed":
                self._broker.charge(secret, cost_of_transcription(*priced, said) or 0.0)
            case _ if _RESPONSE_FAMILY in event.text[:_TYPE_IS_WITHIN]:
                self._unsettled += len(event.text)

    def _settle(self) -> None:
        """Charge a turn that was given up before it said what it cost."""
        secret = self._capped_secret()
        if secret is not None and self._unsettled:
            with suppress(SpendCapReached):
                self._broker.charge(secret, cost_of_unfinished_turn(secret.provider, secret.model, self._unsettled))

    def _capped_secret(self) -> ClientSecret | None:
        secret = self._admission.secret if self._admission is not None else None
        return secret if secret is not None and secret.spend_cap is not None else None

    async def _heard(self, upstream: UpstreamSocket) -> Event:
        heard, self._heard_already = self._heard_already or await upstream.receive(), None
        match heard:
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


def _priced_event(text: str) -> dict[str, Any]:
    """Return a provider's event if it may be one that states a price: few are, and they are not read for nothing."""
    return json_object(text) if any(name in text for name in _PRICED) else {}


def _client_event(message: Message) -> Event:
    if message["type"] == "websocket.disconnect":
        return ClientClosed(message.get("code") or 1005, message.get("reason") or "")
    text = message.get("text")
    return ClientText(text) if text is not None else ClientBinary(message["bytes"])
