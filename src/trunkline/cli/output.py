"""What every command prints alike: messages, tables, progress and sizes. Nothing depends on colour."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import click

_GAP: Final = "  "
_CLEAR_LINE: Final = "\r\x1b[K"


def out(text: str) -> None:
    """Print what was asked for. Colours are left out where no terminal shows them."""
    click.echo(text)


def err(text: str) -> None:
    """Print a message for a person, on standard error."""
    click.echo(text, err=True)


def styled(text: str, **style: Any) -> str:
    """Return a text as `click.style` does, or as it is for who wants no colours (https://no-color.org)."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **style)


def complain(message: str) -> None:
    """Print an error for a person."""
    err(f"{styled('error:', fg='red', bold=True)} {message}")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Return the lines of a table, each as long as it must be; the columns named ``right`` have numbers.

    Cells are one line each, and may be styled.
    """
    heads = [styled(column, bold=True) for column in columns]
    return _aligned([heads, *rows], [column in right for column in columns])


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the lines of a list of names and what they are."""
    return _aligned([(styled(name, dim=True), value) for name, value in pairs], (False, False))


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        _GAP.join(_padded(*cell) for cell in zip(row, widths, right, strict=True)).rstrip() for row in rows
    )


def _padded(cell: str, width: int, is_right: bool) -> str:
    blanks = " " * (width - _width(cell))
    return blanks + cell if is_right else cell + blanks


def _width(text: str) -> int:
    """Return how many places of a terminal a text takes."""
    shown = click.unstyle(text)
    return len(shown) if shown.isascii() else sum(map(_places, shown))


def _places(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):  # stand over the one before
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Progress:
    """How far something is: a line on standard error that changes, and is gone at the end. No terminal, no line."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.show("")

    def show(self, text: str) -> None:
        """Put a text into the line."""
        if self._is_shown:
            sys.stderr.write(f"{_CLEAR_LINE}{text}")
            sys.stderr.flush()

    def say(self, text: str) -> None:
        """Print a message that stays, wherever standard error goes."""
        self.show("")
        err(text)


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
