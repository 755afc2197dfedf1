"""One row for each finished exchange, what was said in it where a gateway keeps that, and sums for the charts."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    text,
)

from trunkline.store.schema.base import metadata

# A row is a `trunkline.store.log_record.LogRecord`, which says what each column holds.
logs = Table(
    "logs",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("gateway", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("model_type", String(16), nullable=False),
    Column("method", String(16), nullable=False),
    Column("path", String(500), nullable=False),
    Column("request_type", String(16), nullable=False),
    Column("request_content_type", String(100), nullable=False),
    Column("response_content_type", String(100), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("success", Boolean, nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("tokens_in", BigInteger),
    Column("tokens_out", BigInteger),
    Column("tokens_cached", BigInteger),
    Column("tokens_audio", BigInteger),
    Column("usage", JSON, nullable=False),
    Column("cost", Float),
    Column("custom_cost", Boolean, nullable=False),
    Column("connect_ms", Float),
    Column("first_byte_ms", Float),
    Column("inter_token_p50_ms", Float),
    Column("inter_token_p99_ms", Float),
    Column("end_reason", String(24), nullable=False),
    Column("error_code", Integer, nullable=False),
    Column("error", String(500), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("caller", String(200), nullable=False),
    Column("user", String(200), nullable=False),
    Column("key_source", String(16), nullable=False),
    Column("session_id", String(32), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("trace_id", String(32), nullable=False),
    Column("parent_span_id", String(16), nullable=False),
    Column("user_agent", String(200), nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("route", String(200), nullable=False, server_default=text("''")),
    Column("findings", JSON, nullable=False, server_default="[]"),
    Column("request_size", BigInteger, nullable=False),
    Column("response_size", BigInteger, nullable=False),
    Column("has_payload", Boolean, nullable=False),
    Column("feedback", SmallInteger),
    Column("score", SmallInteger),
    # When it became a row, in Unix time; ids tell when the exchange began. 0: before this was written down.
    Column("written_at", Float, nullable=False, server_default=text("0")),
    # Ids are ULIDs: they sort by time, so one index serves both a gateway's list and its oldest rows.
    Index("ix_logs_gateway_id", "gateway", "id"),
    Index("ix_logs_session_id", "session_id"),
    Index("ix_logs_written_at", "written_at"),
)

# Bodies as they may be kept: redacted, and null where there was none. Apart from the rows, so that lists stay quick.
log_payloads = Table(
    "log_payloads",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("request", LargeBinary),
    Column("response", LargeBinary),
)
