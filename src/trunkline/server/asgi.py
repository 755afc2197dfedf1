"""The few ASGI shapes the bare applications share (ASGI 3.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, NamedTuple, cast

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


BODY_FOLLOWS: Final = "trunkline.body_follows"
"""Says of the beginning of an answer that its body comes at once, so that both can be written together."""

DIRECT: Final = "trunkline.direct"
"""The extension of a scope whose ``direct`` is a `Direct`."""

# So many heads are remembered, of so many bytes at most: anybody may send some.
_MOST_ALIKE: Final = 1024
_MAX_ALIKE: Final = 8192
# While there is no room, one of so many newcomers takes the place of the oldest. If each did, more heads in turn than
# fit would all be forgotten just before they come again.
_ONE_OF: Final = 16


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


class Alike:
    """Finds heads that came before: most of what a client sends differs in its body alone.

    What follows from such heads alone is worked out once, in their common `Head.memo`.
    """

    def __init__(self) -> None:
        self._memos: dict[object, dict[object, Any]] = {}
        self._turned_away = 0

    def recognise(self, head: Head) -> None:
        """Give a head the memo of those like it."""
        headers = tuple([pair for pair in head.headers if pair[0] != b"content-length"])
        key = (head.method, head.path, head.query, headers)
        memo = self._memos.get(key)
        if memo is not None:
            head.share(memo)
        elif sum(len(name) + len(value) for name, value in headers) + len(head.path) + len(head.query) < _MAX_ALIKE:
            if len(self._memos) >= _MOST_ALIKE:
                self._turned_away = (self._turned_away + 1) % _ONE_OF
                if self._turned_away:
                    return
                del self._memos[next(iter(self._memos))]
            self._memos[key] = head.memo

    def forget(self) -> None:
        """Forget all of it, when it counts no more: each memo would keep the whole set-up as it was."""
        self._memos.clear()


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
