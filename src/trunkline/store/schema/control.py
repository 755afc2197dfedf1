"""What was used of limits whose window is long, so that a restart does not forget it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, String, Table

from trunkline.store.schema.base import metadata

# ``bucket`` names a rule and whom it counts for; ``start`` is when the counted time began, in Unix seconds.
limit_counts = Table(
    "limit_counts",
    metadata,
    Column("bucket", String(300), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("amount", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
)
