"""Sums of the log for charts."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables."""
