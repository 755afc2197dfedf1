"""Sums of the log for charts, which stay when rows of the log go.

`trunkline.store.rollups` says what is summed by what. A cell is one series in one step of time: ``start`` is the Unix
second at which the step begins, ``step`` how many seconds it has.

A chart reads cells of one cube and step in the order of time. SQLite stores them so; on PostgreSQL each cube and step
has a partition of its own, or the few that are wanted would lie scattered among all others.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Integer, SmallInteger, String, Table

from trunkline.store.schema.base import metadata

# Counts of a histogram are kept in rows of so many slots: most series are in few of them.
BLOCK: Final = 16

# How the names of partitions begin: on PostgreSQL the last two tables have one for each cube, made by the migration.
PARTITIONS: Final = ("rollup_sums_", "rollup_latencies_")

# What a series is of. The id is a digest of the rest, so that writers need not agree on one. What a cube does not tell
# apart is empty; ``status`` is then 0.
rollup_series = Table(
    "rollup_series",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("cube", SmallInteger, nullable=False),
    Column("gateway", String(64), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("user", String(200), nullable=False),
    Column("name", String(100), nullable=False),
    Column("value", String(200), nullable=False),
    sqlite_with_rowid=False,
)

rollup_sums = Table(
    "rollup_sums",
    metadata,
    Column("cube", SmallInteger, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("series", BigInteger, primary_key=True, autoincrement=False),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("tokens_cached", BigInteger, nullable=False),
    Column("tokens_audio", BigInteger, nullable=False),
    Column("cost", Float, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("sessions", BigInteger, nullable=False),
    Column("session_seconds", Float, nullable=False),
    sqlite_with_rowid=False,
)

# Histograms (`trunkline.policy.histogram`). ``slot_5`` of block 2 is slot 37.
rollup_latencies = Table(
    "rollup_latencies",
    metadata,
    Column("cube", SmallInteger, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("timing", SmallInteger, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("series", BigInteger, primary_key=True, autoincrement=False),
    Column("block", SmallInteger, primary_key=True, autoincrement=False),
    *(Column(f"slot_{slot}", Integer, nullable=False) for slot in range(BLOCK)),
    sqlite_with_rowid=False,
)
