"""Strings from strangers, bounded and made fit for a database."""

from __future__ import annotations

from typing import Final

from trunkline.credentials.redaction import redact_message

WORDS_KEPT: Final = 4_000
"""Characters of each side's words in a turn, and of a function call's arguments."""
MESSAGE_KEPT: Final = 300
NAME_KEPT: Final = 200
KINDS_KEPT: Final = 16
"""Of things that are few in any honest session: audio formats, models that transcribe, rate limits."""


def joined(before: str, more: str, *, piece: bool = False) -> str:
    """Return words with more behind them: on a line of their own, or as a ``piece`` of the same one."""
    if not more or len(before) >= WORDS_KEPT:
        return before
    return clipped(before + more if piece or not before else f"{before}\n{more}", WORDS_KEPT)


def clipped(text: str, length: int) -> str:
    """Return a text that a database takes: cut, with nothing in it that is no character."""
    if len(text) > length:
        text = text[: length - 1] + "…"
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode(errors="replace").decode()


def shown(message: str) -> str:
    """Return somebody's message without what could be a key in it."""
    return clipped(redact_message(message[: 4 * MESSAGE_KEPT]), MESSAGE_KEPT)
