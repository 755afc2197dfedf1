"""What the database knows of usage before a start, and what it counts for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from trunkline.errors import SessionRateReached
from trunkline.policy.sessions import NO_LIMITS, PastUsage
from trunkline.server.ledger import Ledger, caller_key
from trunkline.store import Database, schema
from trunkline.store.session_usage import usage_since

NOW = 1_700_000_000.0
DAY = 86400.0


def test_what_the_database_knows_of_earlier_sessions_is_read_by_key_within_the_time_asked_for(
    database_url: str,
) -> None:
    def session(id: str, began: float, written: float, ended: float | None, **given: Any) -> dict[str, Any]:
        row = {"id": id, "gateway": "team", "key_id": "key_1", "provider": "openai", "model": "m", "record": {}}
        return {
            **row,
            "started_at": began,
            "written_at": written,
            "ended_at": ended,
            "tokens": 10,
            "cost": 0.5,
            **given,
        }

    rows = [
        session("1", NOW - 600, NOW - 300, NOW - 300),
        session("2", NOW - 599, NOW - 299, NOW - 299),
        session("3", NOW - 120, NOW - 30, None),  # the process ended before it did
        session("4", NOW - 3 * DAY, NOW - 3 * DAY + 60, NOW - 3 * DAY + 60),  # too long ago
        session("5", NOW - DAY - 60, NOW - 60, NOW - 60, key_id=""),  # began too long ago, and was used since
    ]

    async def main() -> list[PastUsage]:
        database = await Database.open(Path("unused"), database_url)
        try:
            async with database.transaction() as connection:
                await connection.execute(insert(schema.realtime_sessions), rows)
            return await usage_since(database, NOW - DAY)
        finally:
            await database.close()

    found = asyncio.run(main())
    assert [usage.at for usage in found] == sorted(usage.at for usage in found)
    sums: dict[str, tuple[float, ...]] = {}
    for usage in found:
        key = caller_key(usage.gateway, usage.key_id)
        before = sums.get(key, (0, 0, 0, 0))
        now = (usage.sessions, usage.minutes, usage.tokens, usage.cost)
        sums[key] = tuple(one + other for one, other in zip(before, now, strict=True))
    assert sums["key_1"] == pytest.approx((3, 11.5, 30, 1.5))
    assert sums["team/no key"] == pytest.approx((0, 1440, 10, 0.5))
    assert len(found) < 7  # sessions of the same minute are one row

    allowed = NO_LIMITS.changed({"tokens": "30/hour"})
    with pytest.raises(SessionRateReached):
        Ledger(found).open("key_1", allowed, NOW)
