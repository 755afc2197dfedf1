"""What every request has in common: a body of bounded size, and an end when its client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any, Final

from starlette.types import ASGIApp

from trunkline.local.api.problems import Problem

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

# OpenAI's limit for an audio file.
MAX_BODY: Final = 25 * 1024 * 1024


class EndsWithItsClient:
    """Wraps an application: reads each body whole, and cancels the work on it when the connection closes."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        try:
            body = await _read(receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        if body is None:
            return
        work = asyncio.ensure_future(self._application(scope, _replay(body), send))
        gone = asyncio.create_task(_until_disconnect(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            work.cancel()
            outcome = (await asyncio.gather(work, gone, return_exceptions=True))[0]
        if isinstance(outcome, Exception):
            raise outcome


class Stream:
    """A response that is sent piece by piece; its source is closed at once when sending ends."""

    def __init__(self, source: AsyncGenerator[bytes, None], content_type: str = "text/event-stream") -> None:
        self._source = source
        self._content_type = content_type

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Send the response."""
        headers = [(b"content-type", self._content_type.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with aclosing(self._source):
            async for piece in self._source:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            raise Problem(413, f"The request is larger than {MAX_BODY // 2**20} MiB.", code="request_too_large")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # never: see above

    return receive


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
