"""One session in progress: executes what its `RelaySession` decides. The only place of a session that waits."""

from __future__ import annotations

import asyncio
import codecs
import secrets
from contextlib import suppress
from typing import Final

import structlog

from trunkline.errors import GatewayError
from trunkline.realtime import closing
from trunkline.realtime.beta import BetaBridge, asks_for_beta, without_beta_marker
from trunkline.realtime.bounded import shown
from trunkline.realtime.events import (
    AskBrain,
    BrainSaid,
    Charge,
    ClientBinary,
    ClientClosed,
    ClientText,
    CloseClient,
    CloseUpstream,
    Effect,
    Event,
    Failed,
    Leaving,
    Redial,
    SendClient,
    SendUpstream,
    StopBrain,
    UpstreamBinary,
    UpstreamClosed,
    UpstreamConnected,
    UpstreamText,
)
from trunkline.realtime.frames import Frame
from trunkline.realtime.memory import SessionMemory
from trunkline.realtime.recording import session_of
from trunkline.realtime.report import Report
from trunkline.realtime.session import RelaySession
from trunkline.server import client_secrets
from trunkline.server.admission import Admission
from trunkline.server.asgi import Direct, Message, Receive, Send
from trunkline.server.gateway import Gateway
from trunkline.server.recorder import Recorder
from trunkline.server.voice.brain import Brain
from trunkline.server.voice.dialling import Dialling, Line, Route
from trunkline.server.voice.fallbacks import GatewayFallbacks, RouteFallbacks
from trunkline.server.voice.opened import OpenedSession
from trunkline.server.voice.speech import Ruling, SpeechGuard, Unjudged
from trunkline.upstream.messages import Binary, Closed, Text, Undone
from trunkline.wire.head import Head

log = structlog.get_logger("trunkline.voice")

# A client that does not read must not keep a session alive whose key was revoked.
_ENDING_SECONDS: Final = 3.0
# A provider that is lost sooner than this after a loss, and has completed nothing, has not taken the other's place: the
# tries go on where they were.
_SETTLED_SECONDS: Final = 60.0


class Call(OpenedSession):
    """A task for each side, both feeding the same `RelaySession`."""

    def __init__(
        self,
        gateway: Gateway,
        head: Head,
        admission: Admission,
        receive: Receive,
        send: Send,
        way: RouteFallbacks | None = None,
        direct: Direct | None = None,
    ) -> None:
        """``way`` is that of a dynamic route, and ``admission`` then the one to its first provider.

        ``direct`` is a way beside ``receive`` and ``send``, where the server has one.
        """
        rules, provider = admission.rules.realtime, admission.provider
        is_translated = rules.beta_bridge and provider.has_realtime and asks_for_beta(head)
        if is_translated:
            head = without_beta_marker(head)
        model = way.first.model if way is not None else head.query_value("model") or ""
        super().__init__(gateway, Route(head, admission, model))
        self._admission = admission
        self._way = way
        self._log.route = way.name if way is not None else ""
        self._path = head.path
        self._receive = receive
        self._send = send
        self._send_now = direct.send_now if direct is not None else _nothing_now
        self._dialling = (
            Dialling(gateway, self.account.route, GatewayFallbacks(gateway, head, admission))
            if way is None
            else Dialling(gateway, way.first, way)
        )
        # A session that is a second ear on another's call has none of its conversation.
        is_kept = rules.resume and provider.has_realtime and not head.query_values("call_id")
        self._session = RelaySession(
            gateway.dialect_of(head),
            f"event_{secrets.token_hex(10)}",
            self.record,
            bridge=BetaBridge() if is_translated else None,
            memory=SessionMemory() if is_kept else None,
        )
        self._speech = SpeechGuard(gateway, admission, head, self.protocol, gateway.dialect_of(head))
        self.findings = self._speech.findings
        self._open = asyncio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._orders: set[asyncio.Task[None]] = set()
        self._line: Line | None = None
        self._taken_at = -_SETTLED_SECONDS
        self._is_lost = False
        self._brain: Brain | None = None
        self._recorder = self._begin_recording(head, beta=is_translated) if rules.record else None
        self._is_ending = False
        if direct is not None:
            direct.hear(self._hear_client)
        self.judge()

    async def run(self) -> None:
        """Relay until the session is closed."""
        sides = {asyncio.create_task(side) for side in (self._provider_side(), self._client_side())}
        try:
            done, _ = await asyncio.wait({*sides, self._over}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except Exception:
            log.exception("a session failed", id=self.id, path=self._path)
            self.failure = GatewayError("The gateway made a mistake in this session. Open another.")
            await self._obey(Failed(self.failure))
        finally:
            tasks = [*sides, *self._orders]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            report = self._clear_up()
            if self._way is not None:
                await self._way.settle(report.cost.total)

    def end(self, error: GatewayError) -> None:
        """End the session for a reason of the gateway's own; the client is told."""
        if not self._is_ending:
            self._is_ending = True
            self._order(self._failed(error))

    def leave(self, *, now: bool = False) -> None:
        """End the session because the gateway stops: when its answer is finished, or now."""
        self._order(Leaving(now))

    # Beginning and end

    def _begin_recording(self, head: Head, *, beta: bool) -> Recorder | None:
        session = session_of(
            self.id,
            head,
            provider=self.provider,
            protocol=self.protocol,
            model=self.model,
            beta=beta,
            started_at=self.started_at,
        )
        try:
            return Recorder.open(self._gateway.settings.data_dir, session)
        except RuntimeError as error:  # no thread to be had
            log.error("a session is not recorded", id=self.id, why=str(error))
            return None

    def _clear_up(self) -> Report:
        if self._brain is not None:
            self._brain.stop_all()
        if self._line is not None:
            self._line.socket.abort()
        report = self.finish()
        if self._recorder is not None:
            self._recorder.close(report)
        log.debug("session ended", id=self.id, path=self._path, seconds=round(self.elapsed(), 1))
        return report

    # Sides

    async def _client_side(self) -> None:
        while not self._session.is_closed:
            message = await self._receive()
            if "undone" in message:
                await self._do_rest(message["undone"])
                continue
            event = _client_event(message)
            if self._recorder is not None and isinstance(event, ClientText | ClientBinary):
                self._recorder.client(event.text if isinstance(event, ClientText) else event.data, self.elapsed())
            if not isinstance(event, ClientClosed):
                # Not reading on is what holds the client back until a provider has answered.
                await self._open.wait()
            try:
                self._check(event)
            except GatewayError as error:
                event = self._failed(error)
            await self._take(event)

    async def _provider_side(self) -> None:
        secret = self._admission.secret
        try:
            await self.account.allowance.open()
            if secret is not None:
                self._gateway.registry.broker.claim(secret)
            self.record.dialled(self.elapsed())
            line = self._taken(await self._dialling.first())
        except GatewayError as error:
            await self._take(self._failed(error))
            return
        await self._take(UpstreamConnected(client_secrets.first_update(secret), line.cascade))
        while not self._session.is_closed:
            if self._is_lost:
                line = await self._redial()
                continue
            if self._session.is_relaying:
                self._open.set()
            heard = await self._heard(line)
            if isinstance(heard, Undone):
                await self._do_rest(heard)
            else:
                await self._take(_provider_event(heard))

    async def _heard(self, line: Line) -> Text | Binary | Closed:
        if not self._session.is_restoring:
            return await line.receive()
        try:
            async with asyncio.timeout(self._gateway.settings.connect_timeout):
                return await line.receive()
        except TimeoutError:
            return Closed(closing.ABNORMAL, "without beginning the session")

    async def _redial(self) -> Line:
        self._is_lost = False
        assert self._line is not None
        try:
            line = self._taken(await self._dialling.again())
        except GatewayError as error:
            await self._take(self._failed(error))
            return self._line
        log.info("session goes on", id=self.id, route=str(line.route))
        await self._take(UpstreamConnected(cascade=line.cascade))
        return line

    def _taken(self, line: Line) -> Line:
        """Take a new connection into use."""
        self._line = line
        line.socket.hear(self._hear_provider)
        self._taken_at = self.elapsed()
        self.account.route = line.route
        if line.cascade:
            self._brain = Brain(self._gateway, line.route.head, line.route.admission, self._say)
        return line

    def _order(self, event: Event) -> None:
        """Have an event of the gateway's own taken beside the two sides."""
        task = asyncio.create_task(self._obey(event))
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)

    async def _obey(self, event: Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_SECONDS):
                await self._take(event)
        if self._session.is_closed and not self._over.done():
            self._over.set_result(None)

    async def _say(self, frame: str) -> None:
        await self._take(BrainSaid(frame))

    # What passes in the moment it comes, while its side waits for it

    def _hear_client(self, message: Text | Binary) -> Text | Binary | None:
        if not self._passes_now() or self._admission.is_restricted or not self._open.is_set():
            return message
        if self._recorder is not None:
            self._recorder.client(message.payload, self.elapsed())
        return self._pass_now(_said(message.payload))

    def _hear_provider(self, message: Text | Binary) -> Text | Binary | None:
        return self._pass_now(_provider_event(message)) if self._passes_now() else message

    def _passes_now(self) -> bool:
        """Whether what is said only passes: nobody judges it first, and no provider has to be waited for."""
        return self._session.is_relaying and self._speech.is_idle

    def _pass_now(self, event: Event) -> Undone | None:
        """Do what follows from an event; return what of it has to wait for somebody."""
        try:
            effects = self._session.receive(event, self.elapsed())
        except Exception as error:  # it is the side's, and ends the session there
            return Undone("", error=error)
        for number, effect in enumerate(effects):
            if not self._performed(effect):
                return Undone("", work=effects[number:])
        return None

    def _performed(self, effect: Effect) -> bool:
        """Perform an effect if that needs no waiting; return whether it did."""
        match effect:
            case SendClient(payload) if self._send_now(payload):
                if self._recorder is not None:
                    self._recorder.provider(payload, self.elapsed())
                return True
            case SendUpstream(payload) if self._line is not None:
                return self._line.socket.send_now(payload)
            case _:
                return False

    # Steps

    def _failed(self, error: GatewayError) -> Failed:
        what = "session refused" if self._line is None else "session ended by the gateway"
        log.warning(what, id=self.id, path=self._path, code=error.code, why=shown(error.message))
        self.failure = self.failure or error
        return Failed(error)

    def _check(self, event: Event) -> None:
        """Raise `NotPermitted` when a frame gives the session a model its opener may not use."""
        if not self._admission.is_restricted:
            return
        if isinstance(event, ClientText):
            self._admission.check_frame(event.text)
        elif isinstance(event, ClientBinary):
            data = event.data.removeprefix(codecs.BOM_UTF8)
            if data.lstrip()[:1] == b"{":  # some providers take JSON so, too
                self._admission.check_frame(data.decode("utf-8", "replace"))

    async def _take(self, event: Event) -> None:
        checked = await self._checked(event)
        if checked is not None:
            for effect in self._session.receive(checked, self.elapsed()):
                await self._perform(effect)

    async def _do_rest(self, undone: Undone) -> None:
        """Do what was left of a message that was taken in the moment it came."""
        if undone.error is not None:
            raise undone.error
        for effect in undone.work:
            await self._perform(effect)

    async def _checked(self, event: Event) -> Event | None:
        """Return what is said as it may go on, None where it may not."""
        if self._speech.is_idle or not self._session.is_relaying:
            return event
        match event:
            case ClientText(text):
                ruling = self._speech.client(Frame(text))
            case ClientBinary(data):
                ruling = self._speech.client(data)
            case UpstreamText(text):
                ruling = self._speech.provider(Frame(text))
            case UpstreamBinary(data):
                ruling = self._speech.provider(data)
            case _:
                return event
        await self._carry_out(ruling)
        match ruling.passes:
            case Frame(text=passes):
                return ClientText(passes) if isinstance(event, ClientText) else UpstreamText(passes)
            case None:
                return None
            case _:
                return event

    async def _carry_out(self, ruling: Ruling) -> None:
        """Do what follows from what was said, besides passing it on."""
        error = ruling.blocked
        if error is not None:
            log.info("speech blocked", id=self.id, why=shown(error.message))
            if ruling.ends:
                await self._take(self._failed(error))
                return
            self.record.failed(error.reason, error.message, self.elapsed())
        for order in ruling.to_provider:
            await self._perform(SendUpstream(order))
        for told in ruling.to_client:
            await self._perform(SendClient(told))
        for unjudged in ruling.unjudged:
            task = asyncio.create_task(self._have_judged(unjudged))
            self._orders.add(task)
            task.add_done_callback(self._orders.discard)

    async def _have_judged(self, unjudged: Unjudged) -> None:
        """Have a model judge what was said; the session goes on meanwhile."""
        found = await self._gateway.guards.judge(
            unjudged.guards, unjudged.side, unjudged.words, self._admission, self.account.route.head
        )
        if self._session.is_relaying:
            await self._carry_out(self._speech.judged(unjudged, found))

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case SendClient(payload):
                if self._recorder is not None:
                    self._recorder.provider(payload, self.elapsed())
                await self._send({"type": "websocket.send", "text" if isinstance(payload, str) else "bytes": payload})
            case SendUpstream(payload):
                assert self._line is not None
                await self._line.socket.send(payload)
            case CloseClient(code, reason):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
            case CloseUpstream(code, reason):
                if self._line is not None:
                    await self._line.socket.close(code, reason)
            case Charge(usage):
                try:
                    self.account.charge(usage)
                except GatewayError as error:
                    await self._take(self._failed(error))
            case Redial(why, afresh):
                self._lose(why, afresh=afresh)
            case AskBrain(request_id, body):
                assert self._brain is not None
                self._brain.ask(request_id, body)
            case StopBrain(request_id):
                assert self._brain is not None
                self._brain.stop(request_id)

    def _lose(self, why: str, *, afresh: bool) -> None:
        assert self._line is not None
        log.warning("a provider was lost", id=self.id, route=str(self._line.route), why=why)
        if afresh or self.elapsed() - self._taken_at > _SETTLED_SECONDS:
            self._dialling.lose()
        self._open.clear()
        self._line.socket.abort()
        if self._brain is not None:
            self._brain.stop_all()
        self._is_lost = True


def _nothing_now(payload: str | bytes) -> bool:
    """Have everything sent as ASGI has it."""
    return False


def _client_event(message: Message) -> Event:
    if message["type"] == "websocket.disconnect":
        return ClientClosed(message.get("code") or 1005, message.get("reason") or "")
    text = message.get("text")
    return _said(text if text is not None else message["bytes"])


def _said(payload: str | bytes) -> Event:
    return ClientText(payload) if isinstance(payload, str) else ClientBinary(payload)


def _provider_event(heard: Text | Binary | Closed) -> Event:
    match heard:
        case Text(payload):
            return UpstreamText(payload)
        case Binary(payload):
            return UpstreamBinary(payload)
        case Closed(code, reason):
            return UpstreamClosed(code, reason)
