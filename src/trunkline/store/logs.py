"""The log of exchanges in the database: rows written in batches, named reads, and how long they are kept."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError

from trunkline.errors import MalformedRequest, first_line
from trunkline.policy.logging import LoggingRules
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.bulk import Insert, present
from trunkline.store.database import AWAY, Database
from trunkline.store.identifiers import first_ulid
from trunkline.store.log_filter import LogFilter, clauses_of, ordering
from trunkline.store.log_record import LogRecord
from trunkline.store.log_values import FIELDS, fit_text, fitting, fitting_ids, fitting_metadata
from trunkline.store.schema import log_payloads, logs

log = structlog.get_logger("trunkline.logs")

OnWritten = Callable[[AsyncConnection, Sequence[LogRecord]], Awaitable[None]]

# So many are made rows before the event loop gets its turn.
_RECORDS_AT_ONCE: Final = 100
_ROWS_A_DELETION: Final = 2000
# How long the number of a full gateway's rows is believed without counting them again.
_COUNT_SECONDS: Final = 60.0
_DAY_SECONDS: Final = 86_400.0

_COLUMNS: Final = logs.c
_FIELDS: Final = (*FIELDS, "has_payload", "written_at")

# What PostgreSQL says of values, and not of itself (classes of SQLSTATE): data, constraints, limits of the program.
_FAULTS_OF_VALUES: Final = ("21", "22", "23", "54")


class LogRow(LogRecord, frozen=True, kw_only=True, omit_defaults=True):
    """A record as it is listed. ``feedback`` is -1 or 1 and ``score`` 0 to 100, None where nobody gave any.

    ``written_at`` is when it became a row, in Unix time; 0 for one that was there before that was written down. Its
    bodies are not in it: `Logs.payload` has them, where ``has_payload``.
    """

    has_payload: bool = False
    written_at: float = 0.0
    feedback: int | None = None
    score: int | None = None


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What was said in an exchange; None where nothing was, or nothing was kept."""

    request: bytes | None
    response: bytes | None


class _Count(msgspec.Struct):
    rows: int
    at: float


class Logs:
    """The log in one database."""

    def __init__(
        self,
        database: Database,
        on_written: Sequence[OnWritten] = (),
        *,
        rules_of: Callable[[str], LoggingRules | None] = lambda gateway: None,
        on_rejected: Callable[[LogRecord], None] = lambda record: None,
    ) -> None:
        """Each of ``on_written`` is told, in the same transaction, which records have become rows for the first time.

        ``rules_of`` says how much of a gateway is kept. ``on_rejected`` gets a record that the database will not have.
        """
        self._database = database
        self._on_written = tuple(on_written)
        self._rules_of = rules_of
        self._on_rejected = on_rejected
        self._rows = Insert(logs, _FIELDS)
        self._payloads = Insert(log_payloads, ["id", "request", "response"])
        self._counts: dict[str, _Count] = {}
        self.rejected = 0
        self.not_kept: dict[str, int] = {}
        """How many records of a gateway were left out because it is full, since the start."""

    async def write(self, records: Sequence[LogRecord], *, gives_up: bool = False) -> int:
        """Keep records, and return how many have become rows. One that is there already is left as it is.

        A record that the database will not have is given to ``on_rejected``, and does not keep others out. Raises
        `trunkline.store.database.AWAY`, or anything else that is no record's fault: then it is not known which of them
        are kept, and to try again is right. With ``gives_up`` a record is taken to be at fault for anything else.
        """
        if not records:
            return 0
        try:
            return await self._write(records)
        except Exception as error:
            if not _is_about_values(error) and (isinstance(error, AWAY) or not gives_up):
                raise
            if len(records) == 1:
                self.rejected += 1
                log.error("the database will not have a record", id=records[0].id, why=first_line(error))
                self._on_rejected(records[0])
                return 0
        half = len(records) // 2
        first = await self.write(records[:half], gives_up=gives_up)
        return first + await self.write(records[half:], gives_up=gives_up)

    async def list(
        self,
        wanted: LogFilter,
        *,
        limit: int = 50,
        offset: int = 0,
        before: str | None = None,
        order: str = "created_at",
        descending: bool = True,
    ) -> list[LogRow]:
        """Return the rows that are wanted, newest first unless told otherwise.

        ``before`` is an id: rows with smaller ones, for walking through many. Raises `MalformedRequest` for a filter or
        an order that is none.
        """
        asked = self._selected(select(logs), wanted).order_by(*ordering(order, descending))
        if before is not None:
            asked = asked.where(_COLUMNS.id < fit_text(before))
        async with self._database.reading() as connection:
            rows = await connection.execute(asked.limit(limit).offset(offset))
            return [_row(row) for row in rows]

    async def written_since(
        self, wanted: LogFilter, since: float, known: Collection[str], limit: int
    ) -> builtins.list[LogRow] | None:
        """Return the rows that are wanted, were written since ``since`` (Unix time) and are not ``known`` by their ids.

        They come in the order in which they were written. Where there are more than ``limit``, the answer is None.
        """
        asked = self._selected(select(_COLUMNS.id), wanted).where(_COLUMNS.written_at >= since)
        asked = asked.order_by(_COLUMNS.written_at.desc()).limit(len(known) + limit + 1)
        async with self._database.reading() as connection:
            fresh = [one for one in (await connection.execute(asked)).scalars() if one not in known]
            if len(fresh) > limit:
                return None
            if not fresh:
                return []
            rows = await connection.execute(select(logs).where(_COLUMNS.id.in_(fresh)))
            return sorted(map(_row, rows), key=lambda row: (row.written_at, row.id))

    async def count(self, wanted: LogFilter) -> int:
        """Return how many rows are wanted. Raises as `list`."""
        asked = self._selected(select(func.count()).select_from(logs), wanted)
        async with self._database.reading() as connection:
            return int((await connection.execute(asked)).scalar_one())

    async def get(self, id: str, gateway: str | None = None) -> LogRow | None:
        """Return a row, if there is one; with ``gateway`` only if it is that one's."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_one(select(logs), id, gateway))).one_or_none()
        return None if row is None else _row(row)

    async def payload(self, id: str, gateway: str | None = None) -> Payload | None:
        """Return what was said, if it was kept."""
        asked = _one(select(log_payloads).join(logs, _COLUMNS.id == log_payloads.c.id), id, gateway)
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).one_or_none()
        return None if row is None else Payload(request=row.request, response=row.response)

    async def patch(
        self,
        id: str,
        *,
        feedback: int | msgspec.UnsetType | None = msgspec.UNSET,
        score: int | msgspec.UnsetType | None = msgspec.UNSET,
        metadata: Mapping[str, str | int | float | bool] | msgspec.UnsetType = msgspec.UNSET,
        gateway: str | None = None,
    ) -> LogRow | None:
        """Change what people say about a row, and return it as it is then, or None when it is not there.

        Raises `MalformedRequest` for a ``feedback`` that is not -1, 1 or None, or a ``score`` not of 0 to 100 or None.
        """
        changes: dict[str, Any] = {}
        if feedback is not msgspec.UNSET:
            if isinstance(feedback, bool) or feedback not in (-1, 1, None):
                raise MalformedRequest("feedback: expected -1, 1 or null.")
            changes["feedback"] = feedback
        if score is not msgspec.UNSET:
            if score is not None and (isinstance(score, bool) or not 0 <= score <= 100):
                raise MalformedRequest("score: expected a number from 0 to 100, or null.")
            changes["score"] = None if score is None else round(score)
        if metadata is not msgspec.UNSET:
            changes["metadata"] = fitting_metadata(metadata)
        async with self._database.transaction() as connection:
            if changes:
                its_own = _one(select(_COLUMNS.id), id, gateway).scalar_subquery()
                await connection.execute(update(logs).where(_COLUMNS.id == its_own).values(changes))
            row = (await connection.execute(_one(select(logs), id, gateway))).one_or_none()
        return None if row is None else _row(row)

    async def delete(
        self, wanted: LogFilter, *, limit: int | None = None, order: str = "created_at", descending: bool = False
    ) -> int:
        """Delete the rows that are wanted, at most ``limit``, in that order; return how many. Raises as `list`."""
        asked = self._selected(select(_COLUMNS.id, _COLUMNS.gateway), wanted).order_by(*ordering(order, descending))
        return await self._delete(asked, limit)

    async def enforce(self, gateway: str, rules: LoggingRules, now: float) -> int:
        """Delete a gateway's rows that are older, or more, than its rules allow; return how many. ``now``: Unix time.

        A row's age is that of its id.
        """
        own = select(_COLUMNS.id, _COLUMNS.gateway).where(_COLUMNS.gateway == gateway)
        deleted = 0
        if rules.max_age_days is not None:
            oldest = first_ulid(now - rules.max_age_days * _DAY_SECONDS)
            deleted += await self._delete(own.where(_COLUMNS.id < oldest).order_by(_COLUMNS.id), None)
        if rules.max_rows is not None and rules.strategy == "DELETE_OLDEST":
            beyond = own.order_by(_COLUMNS.id.desc()).limit(1).offset(rules.max_rows)
            async with self._database.reading() as connection:
                newest_beyond = (await connection.execute(beyond)).scalar()
            if newest_beyond is not None:
                deleted += await self._delete(own.where(_COLUMNS.id <= newest_beyond).order_by(_COLUMNS.id), None)
        return deleted

    async def _write(self, records: Sequence[LogRecord]) -> int:
        kept = unlike = _by_id(records)
        written: list[LogRecord] = []
        async with self._database.transaction() as connection:
            room = await self._room(connection, {record.gateway for record in records})
            if room:
                # What is there already takes no room, and is not left out.
                there = await present(connection, _COLUMNS.id, [*unlike])
                unlike = {key: record for key, record in unlike.items() if key not in there}
                kept = dict(_with_room(unlike, room))
            if kept:
                written = await self._insert(connection, kept)
            for listener in self._on_written:
                if written:
                    await listener(connection, written)
        if room:  # not before it is certain
            self._grew(room, written)
            for key, record in unlike.items():
                if key not in kept:
                    self.not_kept[record.gateway] = self.not_kept.get(record.gateway, 0) + 1
        return len(written)

    async def _insert(self, connection: AsyncConnection, kept: Mapping[str, LogRecord]) -> builtins.list[LogRecord]:
        """Add rows, each under its id; return the records whose rows were not there."""
        records = [*kept.values()]
        columns: list[list[Any]] = [[] for _ in _FIELDS]
        now = time.time()
        for start in range(0, len(records), _RECORDS_AT_ONCE):
            part = records[start : start + _RECORDS_AT_ONCE]
            has_payload = [record.request is not None or record.response is not None for record in part]
            for column, values in zip(columns, (*fitting(part), has_payload, [now] * len(part)), strict=True):
                column += values
            await asyncio.sleep(0)  # exchanges come first
        new = await self._rows.add_new(connection, columns)
        said = [
            (key, record.request, record.response)
            for key, record in kept.items()
            if key in new and (record.request is not None or record.response is not None)
        ]
        if said:
            await self._payloads.add(connection, [*zip(*said, strict=True)])
        return [record for key, record in kept.items() if key in new]

    async def _room(self, connection: AsyncConnection, gateways: set[str]) -> dict[str, int]:
        """Return how many rows more those gateways take that are to stop when they are full."""
        room: dict[str, int] = {}
        for gateway in sorted(gateways):
            rules = self._rules_of(gateway)
            if rules is None or rules.max_rows is None or rules.strategy != "STOP_INSERTING":
                continue
            count = self._counts.get(gateway)
            if count is None or time.monotonic() - count.at > _COUNT_SECONDS:
                # No further than matters: a log may be much longer than a bound that was set later.
                some = select(_COLUMNS.id).where(_COLUMNS.gateway == gateway).limit(rules.max_rows).subquery()
                rows = (await connection.execute(select(func.count()).select_from(some))).scalar_one()
                count = self._counts[gateway] = _Count(rows, time.monotonic())
            room[gateway] = max(0, rules.max_rows - count.rows)
        return room

    def _grew(self, room: Mapping[str, int], written: Sequence[LogRecord]) -> None:
        for record in written:
            count = self._counts.get(record.gateway)
            if count is not None and record.gateway in room:
                count.rows += 1

    async def _delete(self, asked: Select[Any], limit: int | None) -> int:
        deleted = 0
        # Another process may be deleting the same: what it holds is not waited for. SQLite has one writer anyway.
        asked = asked.with_for_update(skip_locked=True, of=logs)
        while limit is None or deleted < limit:
            most = _ROWS_A_DELETION if limit is None else min(_ROWS_A_DELETION, limit - deleted)
            async with self._database.transaction() as connection:
                found = (await connection.execute(asked.limit(most))).all()
                ids = [row.id for row in found]
                if ids:
                    await connection.execute(delete(log_payloads).where(log_payloads.c.id.in_(ids)))
                    await connection.execute(delete(logs).where(_COLUMNS.id.in_(ids)))
            for row in found:
                self._counts.pop(row.gateway, None)
            deleted += len(ids)
            if len(ids) < most:
                break
            await asyncio.sleep(0.01)  # whoever writes gets a turn
        return deleted

    def _selected(self, asked: Select[Any], wanted: LogFilter) -> Select[Any]:
        return asked.where(*clauses_of(wanted, self._database.dialect))


def _by_id(records: Sequence[LogRecord]) -> dict[str, LogRecord]:
    found: dict[str, LogRecord] = {}
    for key, record in zip(fitting_ids(records), records, strict=True):
        found.setdefault(key, record)
    return found


def _one(asked: Select[Any], id: str, gateway: str | None) -> Select[Any]:
    asked = asked.where(_COLUMNS.id == fit_text(id))
    return asked if gateway is None else asked.where(_COLUMNS.gateway == fit_text(gateway))


def _with_room(records: Mapping[str, LogRecord], room: Mapping[str, int]) -> Iterator[tuple[str, LogRecord]]:
    left = dict(room)
    for key, record in records.items():
        if record.gateway in left:
            if left[record.gateway] <= 0:
                continue
            left[record.gateway] -= 1
        yield key, record


def _row(row: Row[Any]) -> LogRow:
    return LogRow(**row._mapping)


def _is_about_values(error: Exception) -> bool:
    """Whether a record is at fault, rather than the database or the way to it."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return False
        state = getattr(error.orig, "sqlstate", None)
        if state is not None:
            return str(state).startswith(_FAULTS_OF_VALUES)
        if isinstance(error, IntegrityError | DataError):
            return True
        # A value that a driver could not encode.
        cause = error.orig.__cause__ if error.orig is not None else None
        return isinstance(cause, ValueError | TypeError | OverflowError) or (
            isinstance(error, InterfaceError) and cause is None
        )
    return not isinstance(error, AWAY) and isinstance(error, ValueError | TypeError | OverflowError)
