"""Records of realtime sessions, and the switches and limits for them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of sessions, and a column each to gateways and their keys."""
    op.add_column("gateways", sa.Column("realtime", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("gateway_keys", sa.Column("limits", sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "realtime_sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("written_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
    )
    op.create_index("ix_realtime_sessions_started_at", "realtime_sessions", ["started_at"])
