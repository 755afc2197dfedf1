"""The HTTP data plane: one request in, one request out, streamed both ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog

from trunkline.errors import GatewayError, MalformedRequest, RequestTooLarge, UpstreamError
from trunkline.server import client_secrets
from trunkline.server.admission import Admission
from trunkline.server.answer import Answer
from trunkline.server.asgi import ClientGone, Message, Receive, Scope, Send, WriteNow, on_gone_of, respond, write_now_of
from trunkline.server.dispatch import MAX_WHOLE_BODY, Dispatch, Sent, Terms
from trunkline.server.express import Begun, Express
from trunkline.server.gateway import Gateway
from trunkline.server.logbook import Entry, failed
from trunkline.server.voice import WebRtcCalls
from trunkline.upstream.http import Response
from trunkline.wire.head import Head, returned_headers, without_scripts
from trunkline.wire.refusal import Dialect, dialect_for, http_refusal

log = structlog.get_logger("trunkline.http")

# RFC 9110 sections 15.3.5 and 15.4.5: these have no body, whatever Content-Length says.
_BODILESS: Final = frozenset({204, 304})
_OK: Final = 200
_NOTHING_YET: Final = {"type": "http.response.body", "body": b"", "more_body": True}


class DataPlane:
    """Serves ``/v1/...`` over HTTP."""

    _request_type = "http"

    def __init__(self, gateway: Gateway, dispatch: Dispatch, calls: WebRtcCalls, express: Express) -> None:
        self._gateway = gateway
        self._express = express
        self._dispatch = dispatch
        self._calls = calls
        self._tells_all = gateway.settings.log_level == "debug"  # asking the logger would cost every request

    async def __call__(
        self, head: Head, scope: Scope, receive: Receive, send: Send, begun: Begun | None = None
    ) -> None:
        """Answer one request: relay it, or refuse it in the shape its client can read.

        ``begun`` says how far it has come already.
        """
        started = time.perf_counter()
        preflight = self._gateway.origins.preflight_headers(head)
        if preflight is not None:
            await self._answer_preflight(head, send, preflight)
            return
        entry = self._gateway.logbook.open(head, self._request_type)
        exchange = Exchange(scope, receive, send, entry)
        try:
            if begun is not None:
                await self._go_on(head, exchange, begun)
            else:
                await self._relay(head, exchange)
        except GatewayError as error:
            await self._refuse(head, exchange, error)
        except ClientGone:
            log.debug("client went away", path=head.path, status=exchange.status)
            await entry.finish("client_gone")
        except Exception:
            entry.finish_now("refused", GatewayError("The gateway made a mistake in this exchange."), status=500)
            raise
        finally:
            entry.finish_now("cancelled")  # unless it was told otherwise
            exchange.finish()
            if self._tells_all:
                milliseconds = round((time.perf_counter() - started) * 1000, 1)
                log.debug(
                    "request", method=head.method, path=head.path, status=exchange.status, milliseconds=milliseconds
                )

    async def _answer_preflight(self, head: Head, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        try:
            self._check_origin(head)
        except GatewayError as error:
            status, headers, body = http_refusal(error, self._dialect(head))
            await respond(send, status, headers, body)
        else:
            await respond(send, 204, headers)

    async def _relay(self, head: Head, exchange: Exchange) -> None:
        gateway, entry = self._gateway, exchange.entry
        admission = gateway.doorkeeper.admit(head)
        entry.admitted(admission)
        surface = client_secrets.surface_of(head, admission)
        if surface is not None:
            await self._mint(head, exchange, admission, surface)
            return
        if self._calls.is_offer(head, admission):
            await self._place_call(head, exchange, admission)
            return
        dispatch, terms = self._dispatch, self._dispatch.terms(head, admission)
        async with exchange:
            if dispatch.needs_whole(head, admission, terms):
                sent = Sent(await exchange.whole_body(head))
            else:
                sent = await exchange.request_body(head)
            await self._give(head, exchange, await dispatch.send(head, admission, sent, entry, terms))
        await self._learn(head, exchange, admission, terms)

    async def _go_on(self, head: Head, exchange: Exchange, begun: Begun) -> None:
        """Relay the answer to a request that was sent, or raise what came of it."""
        entry, admission, outcome = exchange.entry, begun.admission, begun.outcome
        entry.began(begun.created_at, begun.started)
        entry.admitted(admission)
        entry.sees_request(begun.body)
        entry.knows(begun.told)
        entry.sent()
        if isinstance(outcome, BaseException):
            raise outcome
        async with exchange:
            exchange.watch()
            answer = self._dispatch.seen(outcome, admission, entry)
            answer.told += begun.lease.headers()
            await self._give(head, exchange, answer)

    async def _learn(self, head: Head, exchange: Exchange, admission: Admission, terms: Terms) -> None:
        """Have requests like one that went well go the short way, if they can."""
        if exchange.status == _OK and admission.is_lasting and not admission.known(head, Express):
            admission.remember(head, Express, True)  # once is enough
            await self._express.learn(exchange.scope, head, admission, terms, exchange.entry.words())

    async def _give(self, head: Head, exchange: Exchange, answer: Answer) -> None:
        try:
            await exchange.relay(answer, self._gateway.origins.cors_headers(head))
        finally:
            await answer.aclose()

    async def _mint(
        self, head: Head, exchange: Exchange, admission: Admission, surface: client_secrets.Surface
    ) -> None:
        broker, settings = self._gateway.registry.broker, self._gateway.settings
        body = await exchange.whole_body(head) or b""
        answer = await client_secrets.mint(broker, settings, head, admission, surface, body)
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await exchange.answer(200, headers + self._gateway.origins.cors_headers(head), answer)

    async def _place_call(self, head: Head, exchange: Exchange, admission: Admission) -> None:
        async with exchange:
            body = await exchange.whole_body(head) or b""
            exchange.entry.sees_request(body)
            exchange.entry.sent()
            status, headers, answer = await self._calls.place(head, admission, body)
            await exchange.answer(status, headers + self._gateway.origins.cors_headers(head), answer)

    async def _refuse(self, head: Head, exchange: Exchange, error: GatewayError) -> None:
        if exchange.status is not None:
            # The answer has begun. Returning without its end makes the server cut the connection, so that the client
            # cannot take what it has for the whole.
            log.warning("answer cut short", path=head.path, status=exchange.status, reason=error.reason)
            await exchange.entry.finish("upstream_broken", error)
            return
        level = log.warning if isinstance(error, UpstreamError) else log.info
        level("request refused", path=head.path, status=error.status, code=error.code, why=error.message)
        status, headers, body = http_refusal(error, self._dialect(head))
        exchange.status = status
        entry = exchange.entry
        headers += self._gateway.origins.cors_headers(head) + exchange.extra + entry.headers()
        entry.answered(status, "application/json", len(body))
        await entry.finish(failed(error), error)
        await respond(exchange.send, status, headers, body)

    def _check_origin(self, head: Head) -> None:
        """Raise `ForbiddenOrigin` unless a page of the head's origin may ask."""
        self._gateway.doorkeeper.check_origin(head)

    def _dialect(self, head: Head) -> Dialect:
        """Return whose error object a refusal of this head has."""
        return dialect_for(head.headers, self._gateway.dialect_of(head))


class Exchange:
    """One request and its answer on the client's connection, which ``entry`` sees pass.

    ``extra`` are headers for the answer, whoever gives it.

    As an async context it watches for the client to go away and then cancels what runs inside at once, which
    surfaces as `ClientGone`.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, entry: Entry) -> None:
        self.scope = scope
        self._receive = receive
        self._on_gone = on_gone_of(scope)
        self.send = send
        self.entry = entry
        self.status: int | None = None
        self.extra: list[tuple[bytes, bytes]] = []
        self._task: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        task, self._task = self._task, None
        if self._gone and kind is asyncio.CancelledError and task is not None:
            task.uncancel()
            raise ClientGone from None

    def finish(self) -> None:
        """Stop watching."""
        self._task = None
        if self._on_gone is not None:
            self._on_gone(None)
        if self._watcher is not None:
            self._watcher.cancel()

    async def request_body(self, head: Head) -> Sent:
        """Return the request's body for the provider, and its length where the client declared it.

        A body that has arrived in one piece is returned as it is: it can be sent again on a fresh connection. A
        larger one is streamed.
        """
        length, chunked = _framing(head)
        if length is None and not chunked:
            self.watch()
            return Sent(None)
        message = await self._next()
        if not message.get("more_body", False):
            self.watch()
            body: bytes = message.get("body", b"")
            return Sent(body, len(body))
        return Sent(self._stream(message.get("body", b"")), length)

    async def whole_body(self, head: Head) -> bytes | None:
        """Return the request's body in one piece, or None when it has none. Raises `RequestTooLarge`."""
        body, _ = await self.request_body(head)
        if body is None or isinstance(body, bytes):
            return body
        pieces = []
        size = 0
        async for piece in body:
            size += len(piece)
            if size > MAX_WHOLE_BODY:
                raise RequestTooLarge(f"The body is larger than {MAX_WHOLE_BODY // 2**20} MiB.")
            pieces.append(piece)
        return b"".join(pieces)

    async def relay(self, answer: Answer, extra: list[tuple[bytes, bytes]]) -> None:
        """Send an answer on as it arrives.

        The exchange is written down before the bytes go out that complete the answer. Raises `GatewayError` when it
        breaks off.
        """
        entry = self.entry
        bodiless = answer.status in _BODILESS
        ours = answer.told + entry.headers()
        unsaid = {name for name, _ in ours}
        ours += [pair for pair in self.extra if pair[0] not in unsaid]
        unsaid.update(name for name, _ in self.extra)
        if bodiless:
            unsaid.add(b"content-length")
        headers = [pair for pair in returned_headers(answer.headers) if pair[0] not in unsaid]
        headers += without_scripts(headers)
        self.status = answer.status
        if bodiless or entry.is_answered:
            await entry.finish()
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers + extra + ours})
        write = write_now_of(self.scope)
        if write is not None and isinstance(answer.body, Response):
            await self._pass_on(answer.body, write)
        async for chunk in answer.body:
            await self._send_on(chunk)
        await entry.finish()
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_on(self, chunk: bytes) -> None:
        if self.entry.is_answered:
            await self.entry.finish()
        await self.send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _pass_on(self, response: Response, write: WriteNow) -> None:
        """Write what comes in the moment it comes, until an answer is complete that may have more behind it."""
        entry = self.entry
        last: list[bytes] = []

        def take(chunk: bytes) -> bool:
            if not entry.is_answered:
                return write(chunk)
            last.append(chunk)
            return False

        while not await response.pass_on(take) and not last:
            await self.send(_NOTHING_YET)  # which waits until the client has read
        for chunk in last:
            await self._send_on(chunk)

    async def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer of the gateway's own."""
        self.status = status
        self.entry.answered(status, _content_type(headers), len(body))
        await self.entry.finish()
        await respond(self.send, status, headers + self.entry.headers(), body)

    async def _stream(self, first: bytes) -> AsyncIterator[bytes]:
        if first:
            yield first
        while True:
            message = await self._next()
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                self.watch()
                return

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    def watch(self) -> None:
        """Watch for the client to go away, whose request has been read."""
        if self._on_gone is not None:
            self._on_gone(self._left)
        elif self._watcher is None:
            self._watcher = asyncio.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        """Wait for the disconnect: once the body is read, nothing else can be received."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        if self._task is not None:
            self._gone = True
            self._task.cancel()


def _content_type(headers: Sequence[tuple[bytes, bytes]]) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")


def _framing(head: Head) -> tuple[int | None, bool]:
    """Return the declared length of the request body, and whether it is chunked."""
    chunked = head.header(b"transfer-encoding") is not None
    declared = head.header(b"content-length")
    if declared is None or chunked:
        return None, chunked
    if not declared.isascii() or not declared.isdigit():
        raise MalformedRequest("Content-Length is not a number.")
    return int(declared) or None, False
