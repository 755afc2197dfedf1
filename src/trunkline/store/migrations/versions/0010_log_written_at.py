"""When an exchange became a row of the log: by that the log is followed as it grows."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column and its index."""
    op.add_column("logs", sa.Column("written_at", sa.Float(), nullable=False, server_default=sa.text("0")))
    op.create_index("ix_logs_written_at", "logs", ["written_at"])
