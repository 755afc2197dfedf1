"""The few ASGI shapes the bare applications share (ASGI 3.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from trunkline.wire.head import Head, Transport

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def head_of(scope: Scope) -> Head:
    """Return the head of an ``http`` or ``websocket`` scope."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    websocket = scope["type"] == "websocket"
    return Head(
        transport=Transport.WEBSOCKET if websocket else Transport.HTTP,
        method="GET" if websocket else scope["method"],
        path=raw_path.decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.lower(), value) for name, value in scope["headers"]] if websocket else scope["headers"],
        subprotocols=scope.get("subprotocols", ()),
    )


async def respond(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
    """Send a whole HTTP response."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def respond_to_upgrade(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """Refuse a WebSocket handshake with an HTTP response."""
    await send({"type": "websocket.http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "websocket.http.response.body", "body": body})
