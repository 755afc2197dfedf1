"""Tags of conversations."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column: a list of words."""
    op.add_column("conversations", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
