"""The few ASGI shapes the bare applications share (ASGI 3.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any, Final, NamedTuple, Protocol, cast

from trunkline.upstream.messages import Take
from trunkline.wire.head import Head, Transport

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientGone(Exception):
    """The client closed its connection before the answer was complete."""


# Takes what is to be called once when the client leaves, or None when nobody needs to know any more.
OnGone = Callable[[Callable[[], None] | None], None]
GONE: Final = "trunkline.gone"
"""The extension of a scope whose ``listen`` is an `OnGone`: to wait in ``receive`` would take a task a request."""

# Writes a piece of a body that goes on, and returns whether the client reads fast enough for another.
WriteNow = Callable[[bytes], bool]
WRITE_NOW: Final = "trunkline.write_now"
"""The extension of a scope whose ``write`` is a `WriteNow`: to `Send` takes a turn of the event loop."""


class Direct(NamedTuple):
    """A WebSocket beside ASGI's messages, as `MessageListener` has it: what comes, and what is sent without waiting."""

    hear: Callable[[Take], None]
    send_now: Callable[[str | bytes], bool]


# A larger body is not waited for before it is served.
LARGEST_WHOLE: Final = 128 * 1024


class Whole(Protocol):
    """A request whose head came before, byte for byte, and whose body is all there: beside ASGI's messages.

    ``memo`` is that of all such heads (`trunkline.wire.head.Head.memo`). It is answered in one piece, or over the
    messages of its scope.
    """

    memo: dict[object, Any]
    listen: OnGone

    @property
    def content(self) -> bytes:
        """The body."""

    def as_asgi(self) -> tuple[Scope, Receive, Send]:
        """Return the request as ASGI has it, body and all."""

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Write a whole answer without waiting."""


# Answers a request at once, or returns what will answer it.
ServeWhole = Callable[[Whole], Coroutine[Any, Any, None] | None]

BODY_FOLLOWS: Final = "trunkline.body_follows"
"""Says of the beginning of an answer that its body comes at once, so that both can be written together."""

DIRECT: Final = "trunkline.direct"
"""The extension of a scope whose ``direct`` is a `Direct`."""

KNOWN_HEADS: Final = "trunkline.known_heads"
"""The `trunkline.server.known_heads.KnownHeads` that an application shares with its server, in the lifespan's state."""

MEMO: Final = "trunkline.memo"
"""The extension of a scope whose head came before, byte for byte: the memo of all of them."""


def head_of(scope: Scope) -> Head:
    """Return the head of an ``http`` or ``websocket`` scope."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    websocket = scope["type"] == "websocket"
    head = Head(
        transport=Transport.WEBSOCKET if websocket else Transport.HTTP,
        method="GET" if websocket else scope["method"],
        path=raw_path.decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.lower(), value) for name, value in scope["headers"]] if websocket else scope["headers"],
        subprotocols=scope.get("subprotocols", ()),
    )
    memo = memo_of(scope)
    if memo is not None:
        head.share(memo)
    return head


def memo_of(scope: Scope) -> dict[object, Any] | None:
    """Return what was worked out from heads like that of a scope, where the server knows them."""
    memo: dict[object, Any] | None = scope.get("extensions", {}).get(MEMO)
    return memo


def on_gone_of(scope: Scope) -> OnGone | None:
    """Return how to learn at once that a client has left, where the server tells."""
    return cast("OnGone | None", _told(scope, GONE, "listen"))


def write_now_of(scope: Scope) -> WriteNow | None:
    """Return how to write without waiting, where the server lets."""
    return cast("WriteNow | None", _told(scope, WRITE_NOW, "write"))


def direct_of(scope: Scope) -> Direct | None:
    """Return the way beside ASGI's messages, where the server has one."""
    return cast("Direct | None", _told(scope, DIRECT, "direct"))


def _told(scope: Scope, extension: str, name: str) -> Any:
    """Return what an extension of a scope tells under a name, or None where the server has no such extension."""
    told = scope.get("extensions", {}).get(extension)
    return None if told is None else told[name]


async def respond(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
    """Send a whole HTTP response, in one piece where the server can."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers), BODY_FOLLOWS: True})
    await send({"type": "http.response.body", "body": body})


async def respond_to_upgrade(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """Refuse a WebSocket handshake with an HTTP response."""
    await send({"type": "websocket.http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "websocket.http.response.body", "body": body})
