"""Realtime sessions over HTTP, below ``/api/realtime``: watch those that are open, end one, read what became of others.

For gateway keys with the scopes 'read' and, to end a session, 'edit', for the gateway token and for the console. A key
sees the sessions of its own gateway, and those of others as if they did not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from trunkline.credentials import Caller
from trunkline.errors import GatewayError, NotPermitted, SessionTerminated, SettingsError, UnknownSession
from trunkline.server import audit
from trunkline.server.answers import NO_STORE, answers, json_answer, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.listening import Mix
from trunkline.server.live_sessions import LiveSessions, OpenSession, view
from trunkline.server.recordings import StoredRecording, is_recorded
from trunkline.store import SessionFilter, SessionSummary, StoredSession

# At most twice a second, however much is said.
_LOOK_SECONDS: Final = 0.5
_LOOKS_UNTIL_COMMENT: Final = 30
_PAGE: Final = 50
_MAX_PAGE: Final = 500

_Id = Annotated[str, Query(max_length=64)]


class SessionList(msgspec.Struct, frozen=True):
    """The open sessions, newest first."""

    sessions: list[OpenSession]


class RecordPage(msgspec.Struct, frozen=True):
    """Sessions as they are kept, newest first. ``next``: show it as ``before`` to get more; null at the end."""

    records: list[SessionSummary]
    next: str | None


class RecordedSession(StoredSession, frozen=True, kw_only=True):
    """All that is kept of a session; ``is_recorded``: its sound too."""

    is_recorded: bool


_WAV: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
}


class _EventStream(StreamingResponse):
    media_type = "text/event-stream"


def session_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the answers, by name."""
    schemas = schemas_of(SessionList, RecordPage, RecordedSession)
    for count in schemas["Tokens"]["properties"].values():  # a count of none is left out of the answer
        del count["default"]
    return schemas


def create_session_routes(gateway: Gateway) -> APIRouter:
    """Return the routes below ``/api/realtime``."""
    routes = APIRouter(prefix="/api/realtime", tags=["realtime"])

    @routes.get("/sessions", response_class=_EventStream, responses=answers(SessionList, "text/event-stream"))
    async def sessions(request: Request) -> Response:
        """Show the open sessions: as server-sent events named ``sessions``, or once for ``Accept: application/json``.

        Each event holds the whole list. One comes at once, and another whenever something changed, at most twice a
        second; that time passes is no change. The stream ends when the key that opened it counts no more.
        """

        def look() -> list[OpenSession]:
            caller = require_scope(gateway, request, "read", None)
            return [view(session) for session in gateway.live.all(caller.gateway)]

        first = look()
        if _wants_json(request):
            return json_answer(SessionList(first))
        watcher = _Watcher(gateway.live, first)
        return _EventStream(watcher.events(look), headers={"cache-control": "no-store", "x-accel-buffering": "no"})

    @routes.delete("/sessions/{id}", status_code=204)
    async def end_session(request: Request, id: str) -> None:
        """End an open session: its client reads why, and that it must not come back by itself."""
        caller = require_scope(gateway, request, "edit", None)
        session = gateway.live.find(id)
        if session is None or not _may_see(caller, session.gateway):
            raise UnknownSession(f"There is no open session {id[:64]!r} here; it may have ended already.")
        session.end(SessionTerminated("The gateway ended this session: its operator asked for that."))
        await audit.record(gateway, caller, "session.end", audit.Target("session", id, session.gateway))

    @routes.get("/records", response_class=Response, responses=answers(RecordPage))
    async def records(
        request: Request,
        gateway_: Annotated[str | None, Query(alias="gateway", max_length=64)] = None,
        key: _Id | None = None,
        provider: _Id | None = None,
        since: Annotated[float | None, Query(description="Unix time.", allow_inf_nan=False)] = None,
        open_: Annotated[bool | None, Query(alias="open")] = None,
        before: _Id | None = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
    ) -> Response:
        """List sessions as they are kept: those that ended, and open ones as they stood some seconds ago."""
        caller = require_scope(gateway, request, "read", None)
        if gateway_ is not None and not _may_see(caller, gateway_):
            raise NotPermitted("The gateway refused this request: its key belongs to another gateway.")
        wanted = SessionFilter(
            gateway=gateway_ or caller.gateway, key_id=key, provider=provider, since=since, open=open_, before=before
        )
        found = await gateway.keeper.stored.list(wanted, limit + 1)
        page = found[:limit]
        return json_answer(RecordPage(page, page[-1].id if len(found) > limit else None))

    @routes.get("/records/{id}", response_class=Response, responses=answers(RecordedSession))
    async def record(request: Request, id: str) -> Response:
        """Show all that is kept of a session."""
        caller = require_scope(gateway, request, "read", None)
        found = await gateway.keeper.stored.get(id)
        if found is None or not _may_see(caller, found.gateway):
            raise UnknownSession(f"There is no record of a session {id[:64]!r} here.")
        kept = {name: getattr(found, name) for name in found.__struct_fields__}
        return json_answer(RecordedSession(**kept, is_recorded=is_recorded(gateway.settings.data_dir, found.id)))

    @routes.get("/records/{id}/audio", response_class=StreamingResponse, responses=_WAV)
    async def audio(request: Request, id: str) -> Response:
        """Give a recorded session as one WAV, the user on the left and the assistant on the right, as it was heard."""
        caller = require_scope(gateway, request, "read", None)
        found = await gateway.keeper.stored.get(id)
        if found is None or not _may_see(caller, found.gateway):
            raise UnknownSession(f"There is no record of a session {id[:64]!r} here.")
        try:
            mix = await asyncio.to_thread(lambda: Mix(StoredRecording.find(gateway.settings.data_dir, found.id)))
        except SettingsError as error:
            raise UnknownSession(f"There is no recording of the session {id[:64]!r} that can be played.") from error
        headers = {**NO_STORE, "content-disposition": f'inline; filename="{found.id}.wav"'}
        return StreamingResponse(mix.pieces(), media_type="audio/wav", headers=headers)

    return routes


class _Watcher:
    """One client of the stream. It is told what is new since it was told last, so a slow one only gets less."""

    def __init__(self, live: LiveSessions, first: list[OpenSession]) -> None:
        self._live = live
        self._told = first

    async def events(self, look: Callable[[], list[OpenSession]]) -> AsyncIterator[bytes]:
        """Yield events until the process stops or ``look`` refuses. Nobody needs to tell when the client leaves."""
        yield _event("sessions", SessionList(self._told))
        silent = 0
        while not await self._live.closed_within(_LOOK_SECONDS):
            try:
                now = look()
            except GatewayError as error:
                yield _event("refused", {"message": error.message, "code": error.reason})
                return
            silent += 1
            if _timeless(now) != _timeless(self._told):
                silent = 0
                self._told = now
                yield _event("sessions", SessionList(now))
            elif silent >= _LOOKS_UNTIL_COMMENT:
                silent = 0
                yield b": still here\n\n"


def _timeless(sessions: list[OpenSession]) -> list[OpenSession]:
    return [msgspec.structs.replace(session, seconds=0.0) for session in sessions]


def _event(name: str, data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/event-stream" not in accepted


def _may_see(caller: Caller, gateway: str) -> bool:
    return caller.gateway in (None, gateway)
