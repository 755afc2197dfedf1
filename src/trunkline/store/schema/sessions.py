"""Records of realtime sessions."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Integer, String, Table

from trunkline.store.schema.base import metadata

# A session is written every 30 s while it is open (``ended_at`` is null) and once more at its end.
realtime_sessions = Table(
    "realtime_sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("gateway", String(64), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("started_at", Float, nullable=False, index=True),
    Column("written_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("tokens", Integer, nullable=False),
    Column("cost", Float, nullable=False),
    Column("record", JSON, nullable=False),
)
