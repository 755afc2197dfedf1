"""A gateway that reads a credential differently on each transport, as users of one reported theirs to do.

This is an emulation of those reports, made to reproduce them on one machine with no account and no network. It is no
claim about what anybody's service does today. What was reported:

- over HTTP the caller's ``Authorization`` is used, else the key stored in the gateway;
- on a realtime WebSocket the stored key is not: the upgrade is answered 101, the provider then says in an event that
  the authentication is missing, and the socket is closed with 4001;
- nor is ``Authorization`` there. Only the sub-protocol ``openai-insecure-api-key.KEY`` works, in which a browser shows
  the key to everybody who looks.

It serves OpenAI's paths below ``/v1/{account}/{gateway}/openai``, on loopback, and keeps and logs nothing of a request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TypeVar

import uvicorn

from trunkline.errors import UpstreamError
from trunkline.probe.serving import served
from trunkline.realtime import closing
from trunkline.upstream.address import parse
from trunkline.upstream.http import HttpPool, Request
from trunkline.upstream.messages import Binary, Closed, Text
from trunkline.upstream.websocket import Dialer, UpstreamSocket
from trunkline.wire.head import Head, Transport, forwarded_headers, returned_headers
from trunkline.wire.subprotocols import carries_secret, select

Slot = Literal["header", "subprotocol", "stored"]
"""Where a provider key may come from: ``Authorization``, ``openai-insecure-api-key.KEY``, the gateway's own store."""

AS_REPORTED: Final[frozenset[Slot]] = frozenset({"subprotocol"})
FIXED: Final[frozenset[Slot]] = frozenset({"header", "subprotocol", "stored"})
_OVER_HTTP: Final[frozenset[Slot]] = frozenset({"header", "stored"})

KEY_MISSING: Final = 4001

_PATH: Final = re.compile(r"/v1/[^/]+/[^/]+/openai(?:/(?:v1/)?(?P<rest>.*))?")
_REALTIME: Final = frozenset({"", "realtime"})
_GATEWAY_PROTOCOL: Final = "cf-aig-authorization."
_PROVIDER_PROTOCOL: Final = "openai-insecure-api-key."
_MAX_FRAME_BYTES: Final = 24 * 1024 * 1024
_GRACE_SECONDS: Final = 2

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_T = TypeVar("_T")


@asynccontextmanager
async def emulated_gateway(
    upstream_base_url: str,
    *,
    token: str,
    stored_key: str = "",
    fixed: bool = False,
    websocket_slots: frozenset[Slot] | None = None,
) -> AsyncIterator[str]:
    """Serve the emulation on a free loopback port; yield its base URL, to which ``/openai/...`` is appended.

    ``token`` is what callers must show, ``stored_key`` the provider key it holds. ``fixed`` is the same gateway without
    the fault; ``websocket_slots`` names instead exactly the slots that an upgrade honours. Raises `OSError` when there
    is no port to be had.
    """
    slots = websocket_slots if websocket_slots is not None else FIXED if fixed else AS_REPORTED
    emulation = Emulation(upstream_base_url, token=token, stored_key=stored_key, websocket_slots=slots)
    config = uvicorn.Config(
        emulation,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=_MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        interface="asgi3",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    log = logging.getLogger("uvicorn.error")
    log.addFilter(_not_a_refused_upgrade)
    try:
        async with served(config, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/account/gateway"
    finally:
        await emulation.aclose()
        log.removeFilter(_not_a_refused_upgrade)


def _not_a_refused_upgrade(record: logging.LogRecord) -> bool:
    """Drop uvicorn's complaint about an upgrade that was answered with an HTTP response, which is allowed."""
    return "without completing handshake" not in record.getMessage()


class Emulation:
    """The ASGI application."""

    def __init__(
        self, upstream_base_url: str, *, token: str, stored_key: str, websocket_slots: frozenset[Slot]
    ) -> None:
        self._origin, path = parse(upstream_base_url)
        self._base_path = path.rstrip("/")
        self._token = token
        self._stored_key = stored_key
        self._slots = {Transport.HTTP: _OVER_HTTP, Transport.WEBSOCKET: websocket_slots}
        self._http = HttpPool()
        self._dialer = Dialer()

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve one ASGI connection."""
        head = _head_of(scope)
        if head.transport is Transport.WEBSOCKET:
            await self._serve_websocket(head, receive, send)
        else:
            await self._serve_http(head, receive, send)

    async def aclose(self) -> None:
        """Close the connections to the provider."""
        await self._http.aclose()

    async def _serve_http(self, head: Head, receive: _Receive, send: _Send) -> None:
        refusal = self._refusal(head)
        if refusal is not None:
            await _answer(send, "http.response", *refusal)
            return
        request = Request(
            method=head.method.encode(),
            origin=self._origin,
            target=self._target(_rest(head) or "", head.query),
            headers=self._headers(head),
            body=await _body(receive),
        )
        if key := self._provider_key(head):
            request.headers.append((b"authorization", f"Bearer {key}".encode("latin-1")))
        await _first(self._relay_answer(request, send), _gone(receive))

    async def _relay_answer(self, request: Request, send: _Send) -> None:
        try:
            response = await self._http.send(request)
        except UpstreamError:
            await _answer(send, "http.response", 400, 2005, "The provider gave no usable response.")
            return
        try:
            headers = list(returned_headers(response.headers))
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            async for chunk in response:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    async def _serve_websocket(self, head: Head, receive: _Receive, send: _Send) -> None:
        await receive()  # websocket.connect
        refusal = self._refusal(head)
        if refusal is not None:
            await _answer(send, "websocket.http.response", *refusal)
            return
        await send({"type": "websocket.accept", "subprotocol": select(head.subprotocols)})
        key = self._provider_key(head)
        if not key:
            await send({"type": "websocket.send", "text": _key_missing()})
            await _close(send, KEY_MISSING, "invalid_request_error")
            return
        try:
            upstream = await self._dial(head, key)
        except UpstreamError as error:
            await _close(send, closing.SERVER_ERROR, error.reason)
            return
        try:
            side = await _first(_client_side(receive, upstream), _provider_side(send, upstream))
            if side is not None:
                await upstream.close(*side)
        finally:
            upstream.abort()

    async def _dial(self, head: Head, key: str) -> UpstreamSocket:
        """Open the provider's socket, which sees the key once and no other credential."""
        offered = [name for name in ("realtime", *head.subprotocols) if not carries_secret(name)]
        return await self._dialer.dial(
            self._origin,
            self._target("realtime", head.query),
            self._headers(head),
            [*dict.fromkeys(offered), _PROVIDER_PROTOCOL + key],
        )

    def _refusal(self, head: Head) -> tuple[int, int, str] | None:
        """Return the status, code and words with which the gateway itself refuses a head, or None."""
        rest = _rest(head)
        if rest is None or (head.transport is Transport.WEBSOCKET and rest not in _REALTIME):
            return 400, 2008, "Invalid provider"
        shown = {_bare(head.header(b"cf-aig-authorization")), _protocol_value(head, _GATEWAY_PROTOCOL)}
        if "header" in self._slots[head.transport]:
            shown.add(_bare(head.header(b"authorization")))  # what an SDK sends whose API key is the gateway's token
        return None if self._token in shown else (401, 2009, "Unauthorized")

    def _provider_key(self, head: Head) -> str:
        """Return the first key in a slot that counts on this transport, or nothing."""
        slots = self._slots[head.transport]
        if "header" in slots and (key := _bare(head.header(b"authorization"))) not in ("", self._token):
            return key
        if "subprotocol" in slots and (key := _protocol_value(head, _PROVIDER_PROTOCOL)):
            return key
        return self._stored_key if "stored" in slots else ""

    def _headers(self, head: Head) -> list[tuple[bytes, bytes]]:
        return [pair for pair in forwarded_headers(head.headers) if pair[0] != b"authorization"]

    def _target(self, rest: str, query: str) -> bytes:
        return f"{self._base_path}/{rest}{'?' if query else ''}{query}".encode("latin-1")


def _head_of(scope: _Message) -> Head:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    return Head(
        transport=Transport(scope["type"]),
        method=scope.get("method", "GET"),
        path=raw_path.decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.lower(), value) for name, value in scope["headers"]],
        subprotocols=scope.get("subprotocols", ()),
    )


def _rest(head: Head) -> str | None:
    """Return the path below the provider, without a version, or None for another provider's."""
    match = _PATH.fullmatch(head.path)
    return None if match is None else match["rest"] or ""


def _bare(header: str | None) -> str:
    """Return a header's value without ``Bearer``."""
    scheme, _, value = (header or "").strip().partition(" ")
    return value.strip() if scheme.lower() == "bearer" else scheme


def _protocol_value(head: Head, prefix: str) -> str:
    """Return what follows a prefix among the offered sub-protocols, or nothing."""
    return next((name.removeprefix(prefix) for name in head.subprotocols if name.startswith(prefix)), "")


def _key_missing() -> str:
    error = {
        "type": "invalid_request_error",
        "code": None,
        "message": "No bearer or basic authentication came with this connection",
        "param": None,
        "event_id": None,
    }
    return json.dumps({"type": "error", "event_id": f"event_{secrets.token_hex(10)}", "error": error})


async def _answer(send: _Send, kind: str, status: int, code: int, message: str) -> None:
    """Send the gateway's own refusal: to a request, or instead of an upgrade."""
    envelope = {
        "success": False,
        "result": [],
        "messages": [],
        "error": [{"code": code, "message": message}],
        "name": "AiGatewayError",
        "httpCode": status,
        "internalCode": code,
        "message": message,
        "description": message,
    }
    body = json.dumps(envelope).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


async def _close(send: _Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def _body(receive: _Receive) -> bytes | None:
    """Return the whole body of a request, or None when it has none."""
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces) or None


async def _gone(receive: _Receive) -> None:
    """Return when the client of a request that has been read closes its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _client_side(receive: _Receive, upstream: UpstreamSocket) -> tuple[int, str]:
    """Pass the client's frames on, untouched; return the close that the provider is to be told."""
    while (message := await receive())["type"] != "websocket.disconnect":
        text = message.get("text")
        await upstream.send(text if text is not None else message["bytes"])
    return closing.for_upstream(message.get("code") or closing.NO_STATUS, message.get("reason") or "")


async def _provider_side(send: _Send, upstream: UpstreamSocket) -> None:
    """Pass the provider's frames on, untouched, and its close."""
    while True:
        match await upstream.receive():
            case Text(payload):
                await send({"type": "websocket.send", "text": payload})
            case Binary(payload):
                await send({"type": "websocket.send", "bytes": payload})
            case Closed(code, reason):
                await _close(send, *closing.for_client(code, reason))
                return


async def _first(*sides: Coroutine[Any, Any, _T]) -> _T:
    """Run until one ends, then end the others; return, or raise, what that one did."""
    tasks = [asyncio.create_task(side) for side in sides]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return done.pop().result()
