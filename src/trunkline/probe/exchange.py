"""One question and its answer on a real connection: bounded in time and size, no redirect followed, nothing logged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from typing import Final

import msgspec

from trunkline.errors import UpstreamError, UpstreamUpgradeRefused
from trunkline.probe.asking import Question
from trunkline.probe.cell import SOCKETS
from trunkline.upstream.connecting import Connector
from trunkline.upstream.http import HttpPool, Request, Response
from trunkline.upstream.messages import Closed, Text
from trunkline.upstream.timeouts import Timeouts
from trunkline.upstream.websocket import Dialer, UpstreamSocket
from trunkline.wire.documents import json_object
from trunkline.wire.sse import SseParser

MOST_BYTES: Final = 64 * 1024
# An error event is followed by a close at once; the close of an open session is a courtesy.
_CLOSE_SECONDS: Final = 2.0


class HttpAnswer(msgspec.Struct, frozen=True):
    """An HTTP answer: its body as text, or of a stream the data of its first event.

    ``cut_off`` says why the body ended before it should have, or nothing. ``is_whole`` is false where it is longer than
    what the probe reads.
    """

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: str
    cut_off: str = ""
    is_whole: bool = True
    milliseconds: float = 0.0

    def header(self, name: bytes) -> str:
        """Return the first value of a header, or nothing."""
        return next((value.decode("latin-1") for found, value in self.headers if found.lower() == name), "")


class SocketAnswer(msgspec.Struct, frozen=True):
    """What an opened WebSocket said: its first message, or its close, or neither in time.

    ``frame`` is None without a message and bytes for a binary one. ``close_code`` is None while it stays open.
    ``selected`` is the sub-protocol of those ``offered`` that the server chose.
    """

    frame: str | bytes | None
    close_code: int | None
    close_reason: str
    selected: str | None
    offered: Sequence[str]
    milliseconds: float = 0.0


async def ask(question: Question, connector: Connector, seconds: float) -> HttpAnswer | SocketAnswer:
    """Put a question. Raises `UpstreamError` or `TimeoutError` when no answer begins."""
    started = perf_counter()
    deadline = asyncio.get_running_loop().time() + seconds
    if question.way in SOCKETS:
        return await _ask_socket(question, connector, seconds, started, deadline)
    return await _ask_http(question, connector, seconds, started, deadline)


async def _ask_http(
    question: Question, connector: Connector, seconds: float, started: float, deadline: float
) -> HttpAnswer:
    request = Request(question.method, question.origin, question.target, question.headers, question.body)
    # A pool for each question: a connection that was used before would tell the second cell less than the first.
    pool = HttpPool(timeouts=Timeouts(seconds, seconds, seconds), connector=connector)
    try:
        async with asyncio.timeout_at(deadline):
            response = await pool.send(request)
        body = bytearray()
        cut_off = await _read(response, body, deadline)
        return HttpAnswer(
            response.status,
            response.headers,
            body.decode("utf-8", "replace"),
            cut_off,
            len(body) < MOST_BYTES,
            _since(started),
        )
    finally:
        await pool.aclose()


async def _read(response: Response, body: bytearray, deadline: float) -> str:
    """Read a body, or of a stream the data of its first event; return what cut it off, or nothing."""
    content_type = next((value for name, value in response.headers if name.lower() == b"content-type"), b"")
    stream = SseParser() if content_type.startswith(b"text/event-stream") else None
    try:
        async with asyncio.timeout_at(deadline):
            async for chunk in response:
                piece = chunk[: MOST_BYTES - len(body)]
                body += piece
                if stream is not None and (events := stream.feed(piece)):
                    body[:] = events[0].data.encode()
                    break
                if len(body) >= MOST_BYTES:
                    break
    except TimeoutError:
        return "it stopped in the middle"
    except UpstreamError:
        return "it broke off in the middle"
    return ""


async def _ask_socket(
    question: Question, connector: Connector, seconds: float, started: float, deadline: float
) -> HttpAnswer | SocketAnswer:
    dialer = Dialer(timeouts=Timeouts(connect=seconds), connector=connector, max_message=MOST_BYTES)
    try:
        socket = await dialer.dial(question.origin, question.target, question.headers, question.subprotocols)
    except UpstreamUpgradeRefused as refusal:
        body = refusal.body.decode("utf-8", "replace")
        return HttpAnswer(refusal.upstream_status, refusal.headers, body, milliseconds=_since(started))
    try:
        return await _first_message(socket, question, started, deadline)
    finally:
        await _hang_up(socket)


async def _first_message(socket: UpstreamSocket, question: Question, started: float, deadline: float) -> SocketAnswer:
    frame: str | bytes | None = None
    close: Closed | None = None
    try:
        async with asyncio.timeout_at(deadline):
            first = await socket.receive()
    except TimeoutError:
        first = None
    milliseconds = _since(started)
    if isinstance(first, Closed):
        close = first
    elif first is not None:
        frame = first.payload
        if isinstance(first, Text) and _is_error(first.payload):
            close = await _close_of(socket)
    return SocketAnswer(
        frame,
        None if close is None else close.code,
        "" if close is None else close.reason,
        socket.subprotocol,
        question.subprotocols,
        milliseconds,
    )


async def _close_of(socket: UpstreamSocket) -> Closed | None:
    """Return the close that follows, whatever else comes before it; None when none does."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            while not isinstance(message := await socket.receive(), Closed):
                pass
            return message
    except TimeoutError:
        return None


async def _hang_up(socket: UpstreamSocket) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await socket.close(1000, "")
    socket.abort()


def _is_error(frame: str) -> bool:
    """Whether a text message is an ``error`` event."""
    return json_object(frame).get("type") == "error"


def _since(started: float) -> float:
    return (perf_counter() - started) * 1000
