"""Answers that are for who asked alone: kept by nobody on the way, shown on no page, and read by no other site's."""

from __future__ import annotations

from typing import Final

from trunkline.server.asgi import App, Message, Receive, Scope, Send

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class PrivateAnswers:
    """``app``, whose answers say so in their headers. Where it says something itself, that stands."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ())]
                said = {name.lower() for name, _ in headers}
                message["headers"] = headers + [pair for pair in _HEADERS if pair[0] not in said]
            await send(message)

        await self._app(scope, receive, send_private)
