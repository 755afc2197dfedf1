"""What every command prints alike: messages, tables and sizes. Nothing depends on colour."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.markup import escape

# Where no person looks, a table has room: what is cut off or wrapped there is lost to whatever reads it.
_PIPED_WIDTH: Final = 1000

_is_fitted = sys.stdout.isatty() or "COLUMNS" in os.environ

out = Console(highlight=False, soft_wrap=True, width=None if _is_fitted else _PIPED_WIDTH)
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


def plain(text: str, *, lines: bool = False) -> str:
    """Return what a stranger said without what would steer a terminal; ``lines``: with its line breaks."""
    kept = "\n" if lines else ""
    return "".join(char if char.isprintable() or char in kept else "\N{REPLACEMENT CHARACTER}" for char in text)
