"""The realtime sessions that are open in this process, for whoever operates the gateway."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from trunkline.errors import GatewayError
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.report import Report, TalkState


class LiveSession(Protocol):
    """What an open session tells of itself. ``caller`` and ``user_agent`` are words, never a secret."""

    @property
    def id(self) -> str:
        """A ULID: sorts by the time at which the session began."""

    @property
    def gateway(self) -> str:
        """The gateway that was asked."""

    @property
    def key_id(self) -> str:
        """The gateway key behind the session; empty where it was opened without one."""

    @property
    def caller(self) -> str:
        """Who opened it."""

    @property
    def provider(self) -> str:
        """The slug of the provider that serves at present."""

    @property
    def model(self) -> str:
        """The model that serves at present."""

    @property
    def started_at(self) -> float:
        """Unix time."""

    @property
    def user_agent(self) -> str:
        """What the client says it is."""

    @property
    def record(self) -> SessionRecord:
        """What happened so far."""

    def elapsed(self) -> float:
        """Seconds since the start: the clock of the record."""

    def fit_to_keep(self, report: Report) -> Report:
        """Return a report as it may be kept: with what was said only if the gateway keeps that."""

    def judge(self) -> None:
        """End the session if its key counts no more, or a limit is reached."""

    def end(self, error: GatewayError) -> None:
        """End the session; its client is told why, in band."""


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """An open session at one moment.

    ``started_at`` is Unix time, ``seconds`` how long it has been open, ``tokens`` those of all responses, ``cost`` in
    US dollars or null while nothing has a known price; ``turns``, ``interruptions`` and ``errors`` are counts.
    """

    id: str
    gateway: str
    key_id: str
    caller: str
    provider: str
    model: str
    state: TalkState
    started_at: float
    seconds: float
    turns: int
    tokens: int
    cost: float | None
    interruptions: int
    errors: int
    user_agent: str


def view(session: LiveSession) -> OpenSession:
    """Return how a session stands now."""
    record = session.record
    return OpenSession(
        id=session.id,
        gateway=session.gateway,
        key_id=session.key_id,
        caller=session.caller,
        provider=session.provider,
        model=session.model or record.model,
        state=record.state,
        started_at=session.started_at,
        seconds=round(session.elapsed(), 3),
        turns=record.turn_count,
        tokens=record.tokens.total,
        cost=record.cost,
        interruptions=record.interruptions,
        errors=record.error_count,
        user_agent=session.user_agent,
    )


class LiveSessions:
    """The open sessions by id, and the end of watching them when the process is about to stop."""

    def __init__(self) -> None:
        self._sessions: dict[str, LiveSession] = {}
        self._closed = asyncio.Event()

    def add(self, session: LiveSession) -> None:
        """Count a session as open."""
        self._sessions[session.id] = session

    def remove(self, session: LiveSession) -> None:
        """Count it no more."""
        self._sessions.pop(session.id, None)

    def find(self, id: str) -> LiveSession | None:
        """Return the open session of an id."""
        return self._sessions.get(id)

    def all(self, gateway: str | None = None) -> list[LiveSession]:
        """Return the open sessions, of one gateway or of all of them, newest first."""
        found = [session for session in self._sessions.values() if gateway in (None, session.gateway)]
        return sorted(found, key=lambda session: session.id, reverse=True)

    def close(self) -> None:
        """Send everybody away who watches: a stream that goes on would hold up the end of the process."""
        self._closed.set()

    async def closed_within(self, seconds: float) -> bool:
        """Wait; return whether watching is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return False
        return True
