"""Conversations of the console."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables."""
