"""People who sign in, and what was changed by whom."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, LargeBinary, String, Table, UniqueConstraint

from trunkline.store.schema.base import metadata

# ``folded`` is the name as it is compared. ``password`` is an argon2id hash; null for who was invited and has not come,
# and for who signs in elsewhere, known by ``oidc_issuer`` and ``oidc_subject``.
users = Table(
    "users",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("folded", String(400), nullable=False, unique=True),
    Column("password", String(300)),
    Column("role", String(16), nullable=False),
    Column("oidc_issuer", String(500)),
    Column("oidc_subject", String(255)),
    Column("created_at", Float, nullable=False),
    Column("disabled_at", Float),
    Column("last_login_at", Float),
    UniqueConstraint("oidc_issuer", "oidc_subject", name="uq_users_oidc"),
)

# A browser that is signed in, by the digest of its cookie.
sign_ins = Table(
    "sign_ins",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("last_seen_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

# Links that are good once. The one for the first account belongs to nobody yet.
login_tokens = Table(
    "login_tokens",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("purpose", String(16), nullable=False),
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
)

# Ids are ULIDs: they sort by time. Users are named as they were, since they may be gone when somebody reads it.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("at", Float, nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_id", String(32), nullable=False),
    Column("actor_name", String(200), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(40), nullable=False),
    Column("target_kind", String(24), nullable=False),
    Column("target_id", String(200), nullable=False),
    Column("gateway", String(64), nullable=False),
    Column("details", JSON, nullable=False),
    Index("ix_audit_log_actor_id", "actor_id", "id"),
    Index("ix_audit_log_gateway", "gateway", "id"),
)
