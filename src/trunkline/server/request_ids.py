"""A name for each request to an application, by which the answer, its log lines and people speak of it."""

from __future__ import annotations

from typing import Final

import structlog
from structlog.contextvars import bound_contextvars

from trunkline.server.asgi import App, Message, Receive, Scope, Send
from trunkline.store.identifiers import ulid

log = structlog.get_logger("trunkline.api")

HEADER: Final = b"x-request-id"


class NamedRequests:
    """``app``, whose answers carry ``X-Request-Id``, and whose log lines have the same as ``request_id``.

    The id is made here: what a client sends in its place is not looked at. An error that nobody foresaw is logged here,
    without what the request held.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        name = ulid()

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, name.encode())]
            await send(message)

        with bound_contextvars(request_id=name):
            try:
                await self._app(scope, receive, send_named)
            except Exception as error:
                # Whoever asked has an answer, or a broken one: the server notes that this one did not end.
                log.error("a request failed", method=scope["method"], path=scope["path"], exc_info=error)
