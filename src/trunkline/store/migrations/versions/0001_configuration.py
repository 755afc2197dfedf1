"""Gateways, their keys, stored provider keys, chained gateways and client secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "gateways",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("authenticated", sa.Boolean(), nullable=False),
        sa.Column("stored_key_wins", sa.Boolean(), nullable=False),
        sa.Column("client_secrets", sa.String(16), nullable=False),
        sa.Column("allowed_origins", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "gateway_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("gateway", sa.String(64), sa.ForeignKey("gateways.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float()),
        sa.Column("revoked_at", sa.Float()),
    )
    op.create_index("ix_gateway_keys_gateway", "gateway_keys", ["gateway"])
    op.create_table(
        "stored_keys",
        sa.Column("gateway", sa.String(64), sa.ForeignKey("gateways.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("provider", sa.String(64), primary_key=True),
        sa.Column("alias", sa.String(64), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "vias",
        sa.Column("gateway", sa.String(64), sa.ForeignKey("gateways.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("provider", sa.String(64), primary_key=True),
        sa.Column("base_url", sa.String(500), nullable=False),
        sa.Column("sealed_token", sa.LargeBinary()),
        sa.Column("realtime_key", sa.String(16), nullable=False),
    )
    op.create_table(
        "client_secrets",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("grant", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("spent", sa.Float(), nullable=False),
    )
    op.create_index("ix_client_secrets_expires_at", "client_secrets", ["expires_at"])
    state = op.create_table(
        "vault_state",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key_check", sa.LargeBinary()),
    )
    op.bulk_insert(state, [{"id": 1, "number": 0, "key_check": None}])
