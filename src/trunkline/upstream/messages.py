"""What comes from a provider over a WebSocket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A text message."""

    payload: str


@dataclass(frozen=True, slots=True)
class Binary:
    """A binary message."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The provider's close: its code and reason, 1005 where it sent none, 1006 where the connection broke."""

    code: int
    reason: str
