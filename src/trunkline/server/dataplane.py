"""The HTTP data plane: one request in, one request out, streamed both ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

import structlog

from trunkline.errors import GatewayError, MalformedRequest, UpstreamError
from trunkline.server.asgi import Message, Receive, Scope, Send, respond
from trunkline.server.gateway import Gateway
from trunkline.upstream.http import Response
from trunkline.wire.head import Head, returned_headers
from trunkline.wire.refusal import dialect_for, http_refusal

log = structlog.get_logger("trunkline.http")

# RFC 9110 sections 15.3.5 and 15.4.5: these have no body, whatever Content-Length says.
_BODILESS: Final = frozenset({204, 304})


class ClientGone(Exception):
    """The client closed its connection before the answer was complete."""


class DataPlane:
    """Serves ``/v1/...`` over HTTP."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: relay it, or refuse it in the shape its client can read."""
        started = time.perf_counter()
        exchange = Exchange(receive, send)
        try:
            preflight = self._gateway.origins.preflight_headers(head)
            if preflight is not None:
                self._gateway.origins.check(head)
                await respond(send, 204, preflight)
                return
            await self._relay(head, exchange)
        except GatewayError as error:
            await self._refuse(head, exchange, error)
        except ClientGone:
            log.debug("client went away", path=head.path, status=exchange.status)
        finally:
            exchange.finish()
            log.debug(
                "request",
                method=head.method,
                path=head.path,
                status=exchange.status,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
            )

    async def _relay(self, head: Head, exchange: Exchange) -> None:
        admission = self._gateway.doorkeeper.admit(head)
        request = await self._gateway.outgoing_request(head, admission)
        async with exchange:
            request.body, request.content_length = await exchange.request_body(head)
            response = await self._gateway.http.send(request)
            try:
                await exchange.relay(response, self._gateway.origins.cors_headers(head))
            finally:
                await response.aclose()

    async def _refuse(self, head: Head, exchange: Exchange, error: GatewayError) -> None:
        if exchange.status is not None:
            # The answer has begun. Returning without its end makes the server cut the connection, so that the client
            # cannot take what it has for the whole.
            log.warning("answer cut short", path=head.path, status=exchange.status, reason=error.reason)
            return
        level = log.warning if isinstance(error, UpstreamError) else log.info
        level("request refused", path=head.path, status=error.status, code=error.code, why=error.message)
        status, headers, body = http_refusal(error, dialect_for(head.headers, self._gateway.dialect_of(head)))
        exchange.status = status
        await respond(exchange.send, status, headers + self._gateway.origins.cors_headers(head), body)


class Exchange:
    """One request and its answer on the client's connection.

    As an async context it watches for the client to go away and then cancels what runs inside at once, which
    surfaces as `ClientGone`.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self.send = send
        self.status: int | None = None
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
        if self._watcher is not None:
            self._watcher.cancel()

    async def request_body(self, head: Head) -> tuple[bytes | AsyncIterator[bytes] | None, int | None]:
        """Return the request's body for the provider, and its length where the client declared it.

        A body that has arrived in one piece is returned as it is: it can be sent again on a fresh connection. A
        larger one is streamed.
        """
        length, chunked = _framing(head)
        if length is None and not chunked:
            self._watch()
            return None, None
        message = await self._next()
        if not message.get("more_body", False):
            self._watch()
            body: bytes = message.get("body", b"")
            return body, len(body)
        return self._stream(message.get("body", b"")), length

    async def relay(self, response: Response, extra: list[tuple[bytes, bytes]]) -> None:
        """Send a provider's answer on as it arrives. Raises `UpstreamError` when it breaks off."""
        bodiless = response.status in _BODILESS
        headers = [
            pair for pair in returned_headers(response.headers) if not (bodiless and pair[0] == b"content-length")
        ]
        self.status = response.status
        await self.send({"type": "http.response.start", "status": response.status, "headers": headers + extra})
        async for chunk in response:
            await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, first: bytes) -> AsyncIterator[bytes]:
        if first:
            yield first
        while True:
            message = await self._next()
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                self._watch()
                return

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        """Wait for the disconnect: once the body is read, nothing else can be received."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self._gone = True
            self._task.cancel()


def _framing(head: Head) -> tuple[int | None, bool]:
    """Return the declared length of the request body, and whether it is chunked."""
    chunked = head.header(b"transfer-encoding") is not None
    declared = head.header(b"content-length")
    if declared is None or chunked:
        return None, chunked
    if not declared.isascii() or not declared.isdigit():
        raise MalformedRequest("Content-Length is not a number.")
    return int(declared) or None, False
