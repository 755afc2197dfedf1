"""When a gateway key was written last, by the number of the set-up: a change is read without all other keys."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column and its index."""
    op.add_column("gateway_keys", sa.Column("changed", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_gateway_keys_changed_id", "gateway_keys", ["changed", "id"])
