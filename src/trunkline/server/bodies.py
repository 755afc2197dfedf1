"""Bounds the bodies of an application that would read whatever comes, before it knows who sends it."""

from __future__ import annotations

from trunkline.errors import RequestTooLarge
from trunkline.server.asgi import App, Message, Receive, Scope, Send, head_of, respond
from trunkline.wire.refusal import Dialect, http_refusal


class BoundedBodies:
    """``app``, for bodies of at most ``most`` bytes; below the paths in ``unbounded`` it sees to that itself."""

    def __init__(self, app: App, most: int, dialect: Dialect, unbounded: tuple[str, ...] = ()) -> None:
        self._app = app
        self._most = most
        self._dialect = dialect
        self._unbounded = unbounded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it with 413."""
        if scope["path"].startswith(self._unbounded):
            await self._app(scope, receive, send)
            return
        head = head_of(scope)
        declared = head.header(b"content-length") or "0"
        if not declared.isdigit() or int(declared) > self._most:
            await self._refuse(send)
        elif head.header(b"transfer-encoding") is None:
            await self._app(scope, receive, send)  # the server lets nobody send more than was declared
        else:
            whole = await self._whole(receive)
            if whole is None:
                await self._refuse(send)
            else:
                await self._app(scope, _after(whole, receive), send)

    async def _whole(self, receive: Receive) -> Message | None:
        """Return a body of unknown length as one message, or None when it is too long."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            if len(body) > self._most:
                return None
            if not message.get("more_body", False):
                return {"type": "http.request", "body": bytes(body), "more_body": False}

    async def _refuse(self, send: Send) -> None:
        words = f"The body is larger than the {self._most // 1024} KiB that are taken here."
        await respond(send, *http_refusal(RequestTooLarge(words), self._dialect))


def _after(first: Message, receive: Receive) -> Receive:
    """Return what gives ``first``, and then whatever comes."""
    waiting = [first]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
