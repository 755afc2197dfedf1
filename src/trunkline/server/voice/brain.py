"""The text behind a cascade: chat completions of any provider, asked for by the voice worker during a session.

The worker listens and speaks; it never sees a key. Its requests come through the session's own socket as
``trunkline.brain.*`` frames, and the answer goes back the same way, chunk by chunk.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from trunkline.errors import GatewayError, UpstreamError
from trunkline.server.admission import Admission
from trunkline.server.gateway import Gateway
from trunkline.upstream.http import Response
from trunkline.wire.documents import UNREADABLE
from trunkline.wire.head import Head, Transport
from trunkline.wire.sse import SseParser

_MAX_ERROR_BYTES: Final = 64 * 1024


class Brain:
    """Answers the voice worker's requests for text with one provider's chat completions."""

    def __init__(
        self, gateway: Gateway, head: Head, admission: Admission, say: Callable[[str], Awaitable[None]]
    ) -> None:
        self._gateway = gateway
        self._admission = admission
        self._model = head.query_value("model")
        self._say = say
        self._answers: dict[str, asyncio.Task[None]] = {}

    def ask(self, request_id: str, body: dict[str, Any]) -> None:
        """Start an answer; its chunks are said as they come."""
        task = asyncio.create_task(self._answer(request_id, body))
        self._answers[request_id] = task
        task.add_done_callback(lambda _: self._answers.pop(request_id, None))

    def stop(self, request_id: str) -> None:
        """Cancel an answer at once; the provider's connection is closed."""
        task = self._answers.get(request_id)
        if task is not None:
            task.cancel()

    def stop_all(self) -> None:
        """Cancel all answers."""
        for task in list(self._answers.values()):
            task.cancel()

    async def _answer(self, request_id: str, body: dict[str, Any]) -> None:
        try:
            response = await self._send(body)
            try:
                if response.status != 200:
                    raise UpstreamError(await _complaint(response))
                await self._relay(request_id, response)
            finally:
                await response.aclose()
        except GatewayError as error:
            problem = {"type": error.type, "code": error.reason, "message": error.message}
            await self._frame("failed", request_id, error=problem)

    async def _send(self, body: dict[str, Any]) -> Response:
        content = json.dumps({**body, "model": self._model or body.get("model"), "stream": True}).encode()
        head = Head(
            Transport.HTTP,
            "POST",
            "",
            "",
            [(b"content-type", b"application/json"), (b"accept", b"text/event-stream")],
        )
        request = await self._gateway.chat_request(head, self._admission)
        request.body, request.content_length = content, len(content)
        return await self._gateway.http.send(request)

    async def _relay(self, request_id: str, response: Response) -> None:
        parser = SseParser()
        async for chunk in response:
            for event in parser.feed(chunk):
                if event.data == "[DONE]":
                    await self._frame("done", request_id)
                    return
                # Spliced in as it came: decoding each token to encode it again would only cost time.
                await self._say(f'{{"type":"trunkline.brain.chunk","id":"{request_id}","chunk":{event.data}}}')
        await self._frame("done", request_id)

    async def _frame(self, kind: str, request_id: str, **fields: Any) -> None:
        await self._say(json.dumps({"type": f"trunkline.brain.{kind}", "id": request_id, **fields}))


async def _complaint(response: Response) -> str:
    """Return what the provider said was wrong, in its own words where they can be found."""
    body = b""
    async for chunk in response:
        body += chunk
        if len(body) > _MAX_ERROR_BYTES:
            break
    try:
        error = msgspec.json.decode(body)["error"]
        said = error["message"] if isinstance(error, dict) else str(error)
    except (*UNREADABLE, KeyError, TypeError):
        said = "it gave no reason that could be read"
    return f"The chat provider behind this voice answered {response.status}: {said}"
