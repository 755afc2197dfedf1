"""Models named ``test/...``: an upstream that misbehaves on demand, for tests and probes. They need no weights.

====================  =============================================================================
``test/echo``         answers the last message's own words; over a WebSocket, every message as it came
``test/slow-MS``      waits before the first byte
``test/slow-stream-MS``  fifty chunks (whole answer: one wait), that long apart
``test/refuse-NNN``   answers that status (a 429 with ``Retry-After: 7``); refuses a handshake with it
``test/break``        cuts the connection in the middle of the answer, or after the first WebSocket message
``test/huge-MB``      answers that many megabytes, over a WebSocket in one message
``test/silent``       never answers a handshake
``test/close-NNNN``   WebSocket: closes with that code and the reason ``asked.for`` after the first message
====================  =============================================================================
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.types import Send
from starlette.websockets import WebSocket

from trunkline.local.api.chat import DONE, ChatRequest
from trunkline.local.api.connection import Stream
from trunkline.local.api.problems import Problem
from trunkline.local.codes import ProblemCode

PREFIX: Final = "test/"

_RETRY_AFTER: Final = 7
_MEGABYTE: Final = 1 << 20
_SLOW_CHUNKS: Final = 50
_NAME: Final = re.compile(r"test/(echo|break|silent|slow-stream|slow|refuse|huge|close)(?:-(\d{1,6}))?\Z")


class BrokenOnPurpose(Exception):
    """Leaves an answer unfinished: the server then cuts the connection."""


class Behaviour:
    """A parsed ``test/`` model name."""

    def __init__(self, model: str) -> None:
        """Raise `Problem` for a name that is not in the table."""
        match = _NAME.fullmatch(model)
        if match is None:
            names = "echo, slow-MS, slow-stream-MS, refuse-NNN, break, huge-MB, silent, close-NNNN"
            raise Problem(
                404,
                f"There is no {model!r}; known are {names}.",
                code="model_not_found",
                param="model",
                close_code=4004,
            )
        self.model = model
        self.name = match[1]
        self.number = int(match[2] or 1)

    async def respond(self, body: ChatRequest) -> JSONResponse | Stream | Response:
        """Answer a chat completion request."""
        if self.name == "refuse":
            raise self._refusal()
        if self.name in ("slow", "slow-stream") and not (self.name == "slow-stream" and body.stream):
            await asyncio.sleep(self.number / 1000)
        if body.stream:
            include_usage = body.stream_options is not None and body.stream_options.include_usage
            return Stream(self._chunks(self._text(body), include_usage))
        if self.name == "break":
            return _CutShort()
        return JSONResponse(
            {
                **self._envelope("chat.completion"),
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": self._text(body), "refusal": None},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": _USAGE,
            }
        )

    async def converse(self, websocket: WebSocket, subprotocol: str | None) -> None:
        """Behave so on a WebSocket that is not accepted yet."""
        if self.name == "silent":
            await asyncio.get_running_loop().create_future()
        if self.name == "refuse":
            await websocket.send_denial_response(self._refusal().response())
            return
        if self.name == "slow":
            await asyncio.sleep(self.number / 1000)
        await websocket.accept(subprotocol)
        while (message := await websocket.receive())["type"] == "websocket.receive":
            if self.name == "break":
                raise BrokenOnPurpose
            if self.name == "close":
                await websocket.close(self.number, "asked.for")
                return
            if self.name == "huge":
                await websocket.send_text(json.dumps({"type": "huge", "data": "x" * (self.number * _MEGABYTE)}))
            elif message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])

    def _refusal(self) -> Problem:
        status = self.number if 400 <= self.number <= 599 else 500
        kind = "server_error" if status >= 500 else "invalid_request_error"
        code: ProblemCode | None = "rate_limit_exceeded" if status == 429 else None
        retry_after = _RETRY_AFTER if status == 429 else None
        return Problem(
            status, f"Refused with {status} because it was asked for.", type=kind, code=code, retry_after=retry_after
        )

    def _text(self, body: ChatRequest) -> str:
        return "x" * (self.number * _MEGABYTE) if self.name == "huge" else body.messages[-1].text()

    async def _chunks(self, text: str, include_usage: bool) -> AsyncGenerator[bytes, None]:
        pieces = re.findall(r"\S+\s*|\s+", text) if self.name != "huge" else _cut(text)
        if self.name == "slow-stream":
            pieces = [f"{number} " for number in range(_SLOW_CHUNKS)]
        for number, piece in enumerate(pieces):
            if self.name == "break" and number == len(pieces) // 2:
                raise BrokenOnPurpose
            if self.name == "slow-stream" and number:
                await asyncio.sleep(self.number / 1000)
            yield self._event([{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
        yield self._event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        if include_usage:
            yield self._event([], usage=_USAGE)
        yield DONE

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {**self._envelope("chat.completion.chunk"), "choices": choices, **more}
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-test", "object": kind, "created": int(time.time()), "model": self.model}


_USAGE: Final = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _cut(text: str) -> list[str]:
    return [text[at : at + 65_536] for at in range(0, len(text), 65_536)]


class _CutShort(Response):
    """Declares more than it sends."""

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"id": "chatcmpl-test"', "more_body": True})
        raise BrokenOnPurpose
