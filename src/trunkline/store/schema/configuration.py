"""The set-up: gateways, their keys, what the vault holds, and client secrets."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Table, select

from trunkline.store.schema.base import metadata

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
    Column("logging", JSON, nullable=False, server_default="{}"),
    Column("control", JSON, nullable=False, server_default="{}"),
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

_NUMBER: Final = select(vault_state.c.number).scalar_subquery()

# ``changed`` is the number of the set-up when the row was written last: a change is read without all other keys.
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
    Column("changed", Integer, nullable=False, server_default="0", default=_NUMBER, onupdate=_NUMBER),
    Index("ix_gateway_keys_changed_id", "changed", "id"),
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
