"""What became of realtime sessions, in the database: named reads and writes, each one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row, select, update

from trunkline.realtime.closing import ABNORMAL
from trunkline.realtime.report import Close, Report
from trunkline.store.database import Database
from trunkline.store.schema import realtime_sessions

# A session is written twice as often; what was not has nobody left who would.
ABANDONED_SECONDS: Final = 60.0
PROCESS_ENDED: Final = "process ended"
_MAX_NAME: Final = 200

_TABLE: Final = realtime_sessions
_COLUMNS: Final = _TABLE.c


class StoredSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is kept. Times are Unix seconds; ``ended_at`` is null while it is open.

    ``caller`` and ``user_agent`` are words, never a secret; ``key_id`` is empty where no gateway key was behind it.
    """

    id: str
    gateway: str
    key_id: str
    provider: str
    model: str
    started_at: float
    written_at: float
    ended_at: float | None
    caller: str
    user_agent: str
    report: Report


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A session in a list: as `StoredSession`, with the report's sums alone.

    ``seconds`` is how long it lasted, ``cost`` in US dollars or null where nothing has a known price; ``turns``,
    ``interruptions`` and ``errors`` are counts; ``closed_by`` is null while it is open.
    """

    id: str
    gateway: str
    key_id: str
    provider: str
    model: str
    started_at: float
    written_at: float
    ended_at: float | None
    caller: str
    seconds: float
    turns: int
    tokens: int
    cost: float | None
    interruptions: int
    errors: int
    closed_by: str | None
    close_code: int | None


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions: ``since`` is the Unix time at which they began at the earliest, ``open`` whether they still are.

    None stands for all. ``before`` is an id: those that began earlier.
    """

    gateway: str | None = None
    key_id: str | None = None
    provider: str | None = None
    since: float | None = None
    open: bool | None = None
    before: str | None = None


class RealtimeSessions:
    """Reads and writes of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        written = database.insert(_TABLE)
        others = {column.name: written.excluded[column.name] for column in _COLUMNS if not column.primary_key}
        self._upsert = written.on_conflict_do_update(index_elements=["id"], set_=others)

    async def write(self, sessions: Sequence[StoredSession]) -> None:
        """Keep how sessions stand, in place of what was kept of them before. All of them are written, or none."""
        async with self._database.transaction() as connection:
            for session in sessions:  # one by one, so that the event loop gets its turn in between
                await connection.execute(self._upsert, _row(session))

    async def list(self, wanted: SessionFilter, limit: int) -> list[SessionSummary]:
        """Return the sessions that are wanted, newest first, at most ``limit``."""
        asked = select(*_SUMMARY).order_by(_COLUMNS.id.desc()).limit(limit)
        for column in ("gateway", "key_id", "provider"):
            value = getattr(wanted, column)
            if value is not None:
                asked = asked.where(_COLUMNS[column] == value)
        if wanted.since is not None:
            asked = asked.where(_COLUMNS.started_at >= wanted.since)
        if wanted.open is not None:
            asked = asked.where(_COLUMNS.ended_at.is_(None) if wanted.open else _COLUMNS.ended_at.is_not(None))
        if wanted.before is not None:
            asked = asked.where(_COLUMNS.id < wanted.before)
        async with self._database.reading() as connection:
            return [_summary(row) for row in await connection.execute(asked)]

    async def get(self, id: str) -> StoredSession | None:
        """Return all that is kept of a session."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(_TABLE).where(_COLUMNS.id == id))).one_or_none()
        return None if row is None else _session(row)

    async def close_abandoned(self, now: float) -> int:
        """Mark as ended what a process left open that ended without a word; return how many that were.

        Such a session ended, as far as is known, when it was last written. Another process may share the database: what
        it has open is written often enough, and one that was only slow opens its session again with the next write.
        """
        left = _COLUMNS.ended_at.is_(None) & (_COLUMNS.written_at < now - ABANDONED_SECONDS)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(select(_TABLE).where(left).with_for_update())).all()
            for row in rows:
                session = _session(row)
                close = Close(by="gateway", code=ABNORMAL, reason=PROCESS_ENDED)
                report = msgspec.structs.replace(session.report, state="closed", close=close)
                ended = msgspec.structs.replace(session, ended_at=row.written_at, report=report)
                await connection.execute(update(_TABLE).where(_COLUMNS.id == row.id).values(_row(ended)))
        return len(rows)


_REPORT: Final = _COLUMNS.record
_SUMMARY: Final = [
    *(column for column in _COLUMNS if column.name not in ("record", "cost")),
    _REPORT["caller"].as_string().label("caller"),
    _REPORT["report", "duration_ms"].as_float().label("duration_ms"),
    _REPORT["report", "turn_count"].as_integer().label("turns"),
    _REPORT["report", "cost", "total"].as_float().label("cost"),
    _REPORT["report", "interruptions"].as_integer().label("interruptions"),
    _REPORT["report", "error_count"].as_integer().label("errors"),
    _REPORT["report", "close", "by"].as_string().label("closed_by"),
    _REPORT["report", "close", "code"].as_integer().label("close_code"),
]


def _summary(row: Row[Any]) -> SessionSummary:
    fields = dict(row._mapping)
    return SessionSummary(seconds=fields.pop("duration_ms") / 1000, **fields)


def _row(session: StoredSession) -> dict[str, Any]:
    return {
        "id": session.id,
        "gateway": session.gateway,
        "key_id": session.key_id,
        "provider": session.provider,
        "model": session.model[:_MAX_NAME],
        "started_at": session.started_at,
        "written_at": session.written_at,
        "ended_at": session.ended_at,
        "tokens": session.report.tokens.total,
        "cost": session.report.cost.total or 0.0,
        "record": {
            "caller": session.caller[:_MAX_NAME],
            "user_agent": session.user_agent[:_MAX_NAME],
            "report": msgspec.to_builtins(session.report),
        },
    }


def _session(row: Row[Any]) -> StoredSession:
    return StoredSession(
        id=row.id,
        gateway=row.gateway,
        key_id=row.key_id,
        provider=row.provider,
        model=row.model,
        started_at=row.started_at,
        written_at=row.written_at,
        ended_at=row.ended_at,
        caller=row.record["caller"],
        user_agent=row.record["user_agent"],
        report=msgspec.convert(row.record["report"], Report),
    )
