"""What was used by realtime sessions before this process began, so that a restart gives nobody a new budget."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Float, Integer, and_, cast, func, literal, select, union_all

from trunkline.policy.sessions import PastUsage
from trunkline.store import schema
from trunkline.store.database import Database

# No provider keeps a session open for longer: which bounds how far the index is read.
_LONGEST_SESSION: Final = 86400.0
# Sessions of one key that began, or ended, within this time are one row.
_STEP: Final = 60


async def usage_since(database: Database, since: float) -> list[PastUsage]:
    """Return what each key has used since a Unix time, oldest first, to the minute.

    A session counts when it began; its time, tokens and cost when it was last written.
    """
    table = schema.realtime_sessions
    until = func.coalesce(table.c.ended_at, table.c.written_at)
    began = (
        select(
            table.c.gateway,
            table.c.key_id,
            func.max(table.c.started_at).label("at"),
            func.count().label("sessions"),
            literal(0.0).label("minutes"),
            literal(0).label("tokens"),
            literal(0.0).label("cost"),
        )
        .where(table.c.started_at >= since)
        .group_by(table.c.gateway, table.c.key_id, cast(table.c.started_at / _STEP, Integer))
    )
    used = (
        select(
            table.c.gateway,
            table.c.key_id,
            func.max(until).label("at"),
            literal(0).label("sessions"),
            cast(func.sum(until - table.c.started_at) / 60, Float).label("minutes"),
            func.sum(table.c.tokens).label("tokens"),
            func.sum(table.c.cost).label("cost"),
        )
        .where(and_(table.c.started_at >= since - _LONGEST_SESSION, until >= since))
        .group_by(table.c.gateway, table.c.key_id, cast(until / _STEP, Integer))
    )
    both = union_all(began, used).subquery()
    async with database.reading() as connection:
        rows = await connection.execute(select(both).order_by(both.c.at))
        return [
            PastUsage(row.gateway, row.key_id, row.at, row.sessions, row.minutes, row.tokens, row.cost) for row in rows
        ]
