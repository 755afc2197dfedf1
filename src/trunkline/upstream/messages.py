"""What comes over a WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec


class Text(msgspec.Struct, frozen=True):
    """A text message."""

    payload: str


class Binary(msgspec.Struct, frozen=True):
    """A binary message."""

    payload: bytes


class Closed(msgspec.Struct, frozen=True):
    """The other side's close: its code and reason, 1005 where it sent none, 1006 where the connection broke."""

    code: int
    reason: str


class Undone(Text, frozen=True):
    """What is left to do, in order, of a message that was taken in the moment it came; or the error that came of it."""

    work: Sequence[Any] = ()
    error: Exception | None = None


Take = Callable[[Text | Binary], Text | Binary | None]
"""Takes a message in the moment it comes. What it returns, the message itself or what is `Undone`, waits to be read."""
