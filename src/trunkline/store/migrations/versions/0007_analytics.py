"""Sums of the log for charts."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


_STEPS = {1: (60, 3600, 86400), 2: (60, 3600, 86400), 3: (3600, 86400), 4: (3600, 86400), 5: (86400,), 6: (86400,)}


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "rollup_series",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("cube", sa.SmallInteger(), nullable=False),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("value", sa.String(200), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_sums",
        sa.Column("cube", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("step", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("series", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("cached", sa.BigInteger(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger(), nullable=False),
        sa.Column("tokens_out", sa.BigInteger(), nullable=False),
        sa.Column("tokens_cached", sa.BigInteger(), nullable=False),
        sa.Column("tokens_audio", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("unpriced", sa.BigInteger(), nullable=False),
        sa.Column("sessions", sa.BigInteger(), nullable=False),
        sa.Column("session_seconds", sa.Float(), nullable=False),
        sqlite_with_rowid=False,
        postgresql_partition_by="LIST (cube)",
    )
    op.create_table(
        "rollup_latencies",
        sa.Column("cube", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("step", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("timing", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("series", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("block", sa.SmallInteger(), primary_key=True, autoincrement=False),
        *(sa.Column(f"slot_{slot}", sa.Integer(), nullable=False) for slot in range(16)),
        sqlite_with_rowid=False,
        postgresql_partition_by="LIST (cube)",
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in ("rollup_sums", "rollup_latencies"):
            _divide(table)


def _divide(table: str) -> None:
    for cube, steps in _STEPS.items():
        op.execute(f"CREATE TABLE {table}_{cube} PARTITION OF {table} FOR VALUES IN ({cube}) PARTITION BY LIST (step)")
        for step in steps:
            op.execute(f"CREATE TABLE {table}_{cube}_{step} PARTITION OF {table}_{cube} FOR VALUES IN ({step})")
        op.execute(f"CREATE TABLE {table}_{cube}_rest PARTITION OF {table}_{cube} DEFAULT")
    op.execute(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")
