"""What every command prints alike: messages, tables, progress and sizes. Nothing depends on colour."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from types import TracebackType
from typing import Any, Final

import click

_GAP: Final = "  "
# A column is not folded to less.
_NARROWEST: Final = 20
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
    """Return the lines of a table; the columns named ``right`` hold numbers.

    Cells may be styled, and have several lines. Nothing is cut off: a terminal has the widest column folded where it
    has no room for it, and all else has room.
    """
    heads = [styled(column, bold=True) if column else "" for column in columns]
    return _aligned([heads, *_fitted([*rows], heads)], [column in right for column in columns])


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the lines of a list of names and what they are, as `table` does."""
    return _aligned(_fitted([(styled(name, dim=True), value) for name, value in pairs]), (False, False))


def _aligned(rows: Iterable[Sequence[str]], right: Sequence[bool]) -> str:
    lines = _lines(rows)
    widths = _widths(lines)
    return "\n".join(
        _GAP.join(_padded(*cell) for cell in zip(line, widths, right, strict=True)).rstrip() for line in lines
    )


def _fitted(rows: Sequence[Sequence[str]], *heads: Sequence[str]) -> Sequence[Sequence[str]]:
    widths = _widths(_lines([*heads, *rows]))
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - shutil.get_terminal_size().columns
    if excess <= 0 or max(widths) - excess < _NARROWEST or not sys.stdout.isatty():
        return rows
    widest = widths.index(max(widths))
    room = widths[widest] - excess
    return [[*row[:widest], _folded(row[widest], room), *row[widest + 1 :]] for row in rows]


def _folded(cell: str, width: int) -> str:
    folding = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return "\n".join("\n".join(folding.wrap(line)) for line in cell.split("\n"))


def _lines(rows: Iterable[Sequence[str]]) -> Sequence[Sequence[str]]:
    return [line for row in rows for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue="")]


def _widths(lines: Iterable[Sequence[str]]) -> Sequence[int]:
    return [max(map(_width, column)) for column in zip(*lines, strict=True)]


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
