"""What the management API keeps."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables."""
