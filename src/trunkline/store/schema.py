"""The tables. A change here needs a migration beside it; a test compares the two.

Times are Unix seconds. Keys of the gateway are kept as SHA-256 digests, keys of providers sealed
(`trunkline.store.vault`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

# The newest migration. Known here, so that a start need not load the migration tool to see that all is up to date.
HEAD: Final = "0002"

metadata = MetaData()

gateways = Table(
    "gateways",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("authenticated", Boolean, nullable=False),
    Column("stored_key_wins", Boolean, nullable=False),
    Column("client_secrets", String(16), nullable=False),
    Column("allowed_origins", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("realtime", JSON, nullable=False, server_default="{}"),
)

gateway_keys = Table(
    "gateway_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("gateway", ForeignKey("gateways.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("limits", JSON, nullable=False, server_default="{}"),
)

stored_keys = Table(
    "stored_keys",
    metadata,
    Column("gateway", ForeignKey("gateways.id", ondelete="CASCADE"), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("hint", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
)

# Providers that one gateway reaches through a Cloudflare AI Gateway.
vias = Table(
    "vias",
    metadata,
    Column("gateway", ForeignKey("gateways.id", ondelete="CASCADE"), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("base_url", String(500), nullable=False),
    Column("sealed_token", LargeBinary),
    Column("realtime_key", String(16), nullable=False),
)

client_secrets = Table(
    "client_secrets",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("gateway", String(64), nullable=False),
    Column("grant", JSON, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("uses", Integer, nullable=False),
    Column("spent", Float, nullable=False),
)

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

# One row. ``number`` grows with every change of the set-up, so that a running gateway sees it; ``key_check`` is a known
# word sealed with the master key, so that another master key is noticed before anything is written with it.
vault_state = Table(
    "vault_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("key_check", LargeBinary),
)
