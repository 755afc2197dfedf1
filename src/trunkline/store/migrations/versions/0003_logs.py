"""A row for each exchange, and the switches for them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables of logs, and a column to gateways."""
    op.add_column("gateways", sa.Column("logging", sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "logs",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("model_type", sa.String(16), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("path", sa.String(500), nullable=False),
        sa.Column("request_type", sa.String(16), nullable=False),
        sa.Column("request_content_type", sa.String(100), nullable=False),
        sa.Column("response_content_type", sa.String(100), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger()),
        sa.Column("tokens_out", sa.BigInteger()),
        sa.Column("tokens_cached", sa.BigInteger()),
        sa.Column("tokens_audio", sa.BigInteger()),
        sa.Column("usage", sa.JSON(), nullable=False),
        sa.Column("cost", sa.Float()),
        sa.Column("custom_cost", sa.Boolean(), nullable=False),
        sa.Column("connect_ms", sa.Float()),
        sa.Column("first_byte_ms", sa.Float()),
        sa.Column("inter_token_p50_ms", sa.Float()),
        sa.Column("inter_token_p99_ms", sa.Float()),
        sa.Column("end_reason", sa.String(24), nullable=False),
        sa.Column("error_code", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(500), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("caller", sa.String(200), nullable=False),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("key_source", sa.String(16), nullable=False),
        sa.Column("session_id", sa.String(32), nullable=False),
        sa.Column("event_id", sa.String(200), nullable=False),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.Column("parent_span_id", sa.String(16), nullable=False),
        sa.Column("user_agent", sa.String(200), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("request_size", sa.BigInteger(), nullable=False),
        sa.Column("response_size", sa.BigInteger(), nullable=False),
        sa.Column("has_payload", sa.Boolean(), nullable=False),
        sa.Column("feedback", sa.SmallInteger()),
        sa.Column("score", sa.SmallInteger()),
    )
    op.create_index("ix_logs_gateway_id", "logs", ["gateway", "id"])
    op.create_index("ix_logs_session_id", "logs", ["session_id"])
    op.create_table(
        "log_payloads",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("request", sa.LargeBinary()),
        sa.Column("response", sa.LargeBinary()),
    )
