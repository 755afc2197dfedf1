"""What a gateway does with requests besides passing them on, and what was used of its limits."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add columns to gateways and logs, and the table of counts."""
    op.add_column("gateways", sa.Column("control", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("logs", sa.Column("route", sa.String(200), nullable=False, server_default=sa.text("''")))
    op.add_column("logs", sa.Column("findings", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "limit_counts",
        sa.Column("bucket", sa.String(300), primary_key=True),
        sa.Column("start", sa.BigInteger(), primary_key=True),
        sa.Column("amount", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False, index=True),
    )
