"""What every command prints alike: messages, tables and sizes. Nothing depends on colour."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    """Print an error for a person."""
    err.print(f"[bold red]error:[/bold red] {escape(message)}")


def day(moment: float) -> str:
    """Return a Unix time as people read it: ``2027-01-31 14:05 UTC``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def megabytes(size: int) -> str:
    """``98362432`` -> ``98.4 MB``."""
    return f"{size / 1e6:.1f} MB"
