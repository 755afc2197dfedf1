"""A realtime session on a WebSocket: frames in, frames out, and how it ends."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from typing import Any, Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from trunkline.local.engines import Engines
from trunkline.local.realtime.brain import FRAME_FAMILY, Brain, LocalBrain, RemoteBrain
from trunkline.local.realtime.cascade import Cascade
from trunkline.local.realtime.configuration import Kind
from trunkline.local.realtime.mistakes import ClientMistake
from trunkline.local.realtime.session import RealtimeSession
from trunkline.realtime.closing import GOING_AWAY

_SESSION_SECONDS: Final = 60 * 60
# An answer is made faster than it is heard; a client that reads slowly must not fill the memory with it.
_MOST_QUEUED: Final = 1 << 20


async def serve(websocket: WebSocket, engines: Engines, *, kind: Kind, model: str, remote_brain: bool) -> None:
    """Run a session on an accepted socket until either side ends it.

    ``kind`` is a conversation or transcription only. With ``remote_brain`` the texts of answers are asked for by
    ``trunkline.brain.*`` frames on the same socket instead of from the model in this process.
    """
    outlet = _Outlet(websocket)
    brain: Brain = RemoteBrain(outlet.send, _new_id) if remote_brain else LocalBrain(engines.language)
    session = RealtimeSession(
        kind,
        model,
        probability=engines.activity().probability,
        new_id=_new_id,
        expires_at=int(time.time()) + _SESSION_SECONDS,
    )
    cascade = Cascade(session, engines, brain, outlet)
    writing = asyncio.create_task(outlet.write())
    try:
        cascade.open()
        async with asyncio.timeout(_SESSION_SECONDS):
            await _read(websocket, outlet, session, cascade, brain)
    except TimeoutError:
        await cascade.close()
        await _expire(websocket, outlet, session)
    finally:
        await cascade.close()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def _read(
    websocket: WebSocket, outlet: _Outlet, session: RealtimeSession, cascade: Cascade, brain: Brain
) -> None:
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        text = message.get("text")
        if text is None:
            mistake = ClientMistake("invalid_event", "Events are JSON in text frames; this frame is binary.")
            outlet.send(session.complain(mistake).event)
        elif isinstance(brain, RemoteBrain) and FRAME_FAMILY in text and (frame := _brain_frame(text)):
            brain.take(frame)
        else:
            await cascade.take(text)
        await outlet.make_room()


def _brain_frame(text: str) -> dict[str, Any] | None:
    try:
        frame = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):  # the latter for nesting without end
        return None
    if isinstance(frame, dict) and str(frame.get("type")).startswith(FRAME_FAMILY):
        return frame
    return None


async def _expire(websocket: WebSocket, outlet: _Outlet, session: RealtimeSession) -> None:
    reason = "session hit the maximum duration"
    outlet.send(session.complain(ClientMistake("session_expired", f"Your {reason} of 60 minutes.")).event)
    await outlet.flush()
    await websocket.close(GOING_AWAY, reason)


class _Outlet:
    """Sends events in order, one after another, from a queue."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._frames: deque[str] = deque()
        self._queued = 0
        self._gone = False
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    def send(self, event: dict[str, Any]) -> None:
        """Queue an event; without effect when the client is gone."""
        if self._gone:
            return
        frame = msgspec.json.encode(event).decode()
        self._frames.append(frame)
        self._queued += len(frame)
        self._filled.set()
        self._drained.clear()

    async def make_room(self) -> None:
        """Wait while too much is queued."""
        while self._queued > _MOST_QUEUED:
            await self._drained.wait()

    async def flush(self) -> None:
        """Wait until all is sent."""
        await self._drained.wait()

    async def write(self) -> None:
        """Send what is queued, until the client is gone."""
        try:
            while True:
                await self._filled.wait()
                while self._frames:
                    frame = self._frames.popleft()
                    await self._websocket.send_text(frame)
                    self._queued -= len(frame)
                self._filled.clear()
                self._drained.set()
        except (WebSocketDisconnect, RuntimeError, OSError):
            # The client left in the middle of it; the reading side sees that too and ends the session.
            self._gone = True
            self._queued = 0
            self._drained.set()


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(10)}"
