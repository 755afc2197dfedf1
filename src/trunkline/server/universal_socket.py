"""The universal endpoint over a WebSocket: many requests at once, each told apart by its ``eventId``."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from trunkline.errors import GatewayError, MalformedRequest, TooManyRequests, UpstreamBroken, UpstreamError
from trunkline.policy.caching import STATUS_HEADER
from trunkline.server.answer import Answer
from trunkline.server.asgi import Message, Receive, Scope, Send
from trunkline.server.dispatch import Dispatch
from trunkline.server.gateway import Gateway
from trunkline.server.logbook import Entry, failed
from trunkline.server.session_log import SWITCHED
from trunkline.server.steps import StepSender, check_entrance
from trunkline.store.identifiers import ulid
from trunkline.wire.head import Head
from trunkline.wire.refusal import Dialect, http_refusal, realtime_refusal
from trunkline.wire.sse import SseParser
from trunkline.wire.subprotocols import select
from trunkline.wire.universal import (
    STREAM_END,
    Cancel,
    Create,
    Metadata,
    Step,
    Unreadable,
    answer_frame,
    chunk_frame,
    done_frame,
    error_frame,
    parse_frame,
    stream_begun_frame,
)

log = structlog.get_logger("trunkline.universal")

MAX_IN_FLIGHT: Final = 64
MAX_BYTES_IN_FLIGHT: Final = 32 * 1024 * 1024
MAX_ANSWER: Final = 24 * 1024 * 1024
_SMALL_ANSWER: Final = 256 * 1024


class UniversalSocketPlane:
    """Serves WebSocket upgrades at ``/v1/{account}/{gateway}``."""

    def __init__(self, gateway: Gateway, dispatch: Dispatch) -> None:
        self._gateway = gateway
        self._dispatch = dispatch

    async def __call__(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests until the client goes away. A refusal is sent in band, where a browser can read it."""
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept", "subprotocol": select(head.subprotocols)})
        try:
            check_entrance(self._gateway, head)
        except GatewayError as error:
            log.warning("socket refused", path=head.path, code=error.code, why=error.message)
            self._gateway.logbook.open(head, "websocket").finish_now("refused", error, status=SWITCHED)
            event, code, reason = realtime_refusal(error, Dialect.CLOUDFLARE, f"event_{secrets.token_hex(10)}")
            await send({"type": "websocket.send", "text": event})
            await send({"type": "websocket.close", "code": code, "reason": reason})
            return
        await UniversalSocket(StepSender(self._gateway, self._dispatch, head), receive, send).run()


@dataclass(slots=True)
class _Call:
    """One request in flight. ``metadata`` grows with what is known; ``size`` is that of its body."""

    metadata: Metadata
    size: int
    entry: Entry
    is_streaming: bool = False
    task: asyncio.Task[None] = field(init=False)


class UniversalSocket:
    """One client: a task reads its frames, and one more for each request answers it.

    Frames leave one at a time and only as fast as the client takes them. A task that waits for its turn reads nothing
    from its provider, so that a slow client costs no memory.
    """

    def __init__(self, sender: StepSender, receive: Receive, send: Send) -> None:
        self._sender = sender
        self._receive = receive
        self._send = send
        self._calls: dict[str, _Call] = {}
        self._writing = asyncio.Lock()
        self._gathering = asyncio.Lock()

    async def run(self) -> None:
        """Read frames until the client is gone; then give up whatever is in flight."""
        async with asyncio.TaskGroup() as tasks:
            while (message := await self._receive())["type"] == "websocket.receive":
                await self._take(_frame_of(message), tasks)
            for call in self._calls.values():
                call.entry.finish_now("client_gone")
                call.task.cancel()

    async def _take(self, frame: str | bytes, tasks: asyncio.TaskGroup) -> None:
        said = parse_frame(frame)
        try:
            match said:
                case Create(event_id, step):
                    self._begin(event_id or ulid(), step, tasks)
                case Cancel(event_id):
                    await self._cancel(event_id)
                case Unreadable(_, error):
                    raise error
        except GatewayError as error:
            self._sender.entry(event_id=said.event_id or "").finish_now("refused", error, status=error.status)
            await self._say(error_frame(error, event_id=said.event_id))

    def _begin(self, event_id: str, step: Step, tasks: asyncio.TaskGroup) -> None:
        """Start to answer a request. Raises `GatewayError` when it cannot be taken on."""
        if event_id in self._calls:
            raise MalformedRequest("A request with this eventId is in flight on this socket; give each one its own.")
        if len(self._calls) >= MAX_IN_FLIGHT:
            raise TooManyRequests(
                f"{MAX_IN_FLIGHT} requests are in flight on this socket. Wait for one to end, or open another socket."
            )
        if sum(call.size for call in self._calls.values()) + len(step.body) > MAX_BYTES_IN_FLIGHT:
            raise TooManyRequests(
                f"The requests in flight on this socket come to more than {MAX_BYTES_IN_FLIGHT // 2**20} MiB. Wait for"
                " one to end, or open another socket."
            )
        entry = self._sender.entry(event_id=event_id)
        call = self._calls[event_id] = _Call(Metadata(event_id=event_id, log_id=entry.id), len(step.body), entry)
        call.task = tasks.create_task(self._answer(call, step))

    async def _cancel(self, event_id: str) -> None:
        call = self._calls.get(event_id)
        if call is None:
            raise MalformedRequest("No request with this eventId is in flight on this socket; it may have ended.")
        call.entry.finish_now("cancelled")
        call.task.cancel()
        await asyncio.wait([call.task])
        self._calls.pop(event_id, None)  # a task that had not begun could not do it itself
        await self._say(done_frame(msgspec.structs.replace(call.metadata, cancelled=True)))

    async def _answer(self, call: _Call, step: Step) -> None:
        try:
            answer = await self._sender.send(step, call.entry)
            try:
                await self._relay(call, answer)
            finally:
                await answer.aclose()
        except GatewayError as error:
            log.info("request refused", provider=step.provider, status=error.status, code=error.code, why=error.message)
            await self._refuse(call, error)
        finally:
            call.entry.finish_now("cancelled")  # unless it was told otherwise
            self._calls.pop(call.metadata.event_id, None)

    async def _refuse(self, call: _Call, error: GatewayError) -> None:
        if call.is_streaming:
            # Its end is never said: a client that waits for it cannot take what it has for the whole.
            await call.entry.finish("upstream_broken", error)
            await self._say(error_frame(error, call.metadata))
            return
        status, _, body = http_refusal(error, Dialect.CLOUDFLARE)
        call.metadata = msgspec.structs.replace(call.metadata, status=status, content_type="application/json")
        call.entry.answered(status, "application/json", len(body))
        await call.entry.finish(failed(error), error)
        await self._say(answer_frame(call.metadata, body))

    async def _relay(self, call: _Call, answer: Answer) -> None:
        kind = answer.header(b"content-type")
        if (packing := answer.header(b"content-encoding")) not in ("", "identity"):
            raise UpstreamBroken(f"The provider compressed its answer ({packing[:20]}) though it was asked not to.")
        is_hit = (STATUS_HEADER, b"HIT") in answer.told
        call.metadata = msgspec.structs.replace(
            call.metadata, status=answer.status, content_type=kind, cache_status="HIT" if is_hit else "MISS"
        )
        if kind.lower().startswith("text/event-stream"):
            await self._relay_stream(call, answer)
        else:
            await self._relay_whole(call, answer)

    async def _relay_stream(self, call: _Call, answer: Answer) -> None:
        call.is_streaming = True
        await self._say(stream_begun_frame(call.metadata))
        parser = SseParser()
        async for piece in answer.body:
            if call.entry.is_answered:
                await call.entry.finish()
            for event in parser.feed(piece):
                if event.data != STREAM_END:
                    await self._say(chunk_frame(call.metadata.event_id, event.data))
        await call.entry.finish()
        await self._say(done_frame(call.metadata))

    async def _relay_whole(self, call: _Call, answer: Answer) -> None:
        body = bytearray()
        async with AsyncExitStack() as turn:
            async for piece in answer.body:
                if len(body) <= _SMALL_ANSWER < len(body) + len(piece):
                    # One large answer at a time: sixty-four of them would be more than the gateway should hold.
                    await turn.enter_async_context(self._gathering)
                body += piece
                if len(body) > MAX_ANSWER:
                    raise UpstreamError(
                        f"The answer is larger than the {MAX_ANSWER // 2**20} MiB that fit into a frame. Ask for it"
                        " over HTTP."
                    )
            await call.entry.finish()
            await self._say(answer_frame(call.metadata, bytes(body)))

    async def _say(self, frame: str) -> None:
        """Send a frame when its turn has come. To a client that is gone it is not sent; the reader will notice."""
        async with self._writing:
            with suppress(OSError):
                await self._send({"type": "websocket.send", "text": frame})


def _frame_of(message: Message) -> str | bytes:
    text: str | None = message.get("text")
    data: bytes = message.get("bytes") or b""
    return data if text is None else text
