"""What comes from a provider over a WebSocket."""

from __future__ import annotations

import msgspec


class Text(msgspec.Struct, frozen=True):
    """A text message."""

    payload: str


class Binary(msgspec.Struct, frozen=True):
    """A binary message."""

    payload: bytes


class Closed(msgspec.Struct, frozen=True):
    """The provider's close: its code and reason, 1005 where it sent none, 1006 where the connection broke."""

    code: int
    reason: str
