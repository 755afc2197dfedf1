"""What a check is: it searches a text, and says what it found and how far from the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Match(NamedTuple):
    """Something that was found.

    ``begins`` and ``left`` are how much of the text comes after its beginning and after its end, in characters or a
    little more. With ``left`` 0 it may not be all there yet, where a text still grows.
    """

    kind: str
    begins: int
    left: int


class Check(Protocol):
    """Looks for one sort of thing."""

    def search(self, text: str) -> Iterable[Match]:
        """Return what a text holds, in no order. Any text will do; the time grows with its length alone."""
        ...
