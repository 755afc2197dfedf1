"""What is around a piece of a text: whether it stands free, and what words are near.

By these one tells a number of a person from one of an order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# That the character before this stands free: it is no part of a word or of a longer number. The letter of an escape of
# JSON, such as that of a line break, is none of a word.
FREE: Final = rb"(?:(?<![\w.-].)|(?<=\\[nrt].))"

_BEFORE: Final = 80
_BEHIND: Final = 40
_NO_WORD: Final = re.compile(r"[\W\d_]+")
_NO_LETTERS: Final = bytes(byte for byte in range(128) if not chr(byte).isalpha())


def words_around(text: bytes, start: int, end: int) -> str:
    """Return the words near a piece, each between spaces, as they are written and then in small letters.

    Empty where there are none. A word that `spelt` made stands in it if it does in the text; one in capitals only if it
    is written so.
    """
    first = max(0, start - _BEFORE)
    if not text[first : end + _BEHIND].translate(None, _NO_LETTERS):
        return ""
    before, behind = text[first:start], text[end : end + _BEHIND]
    written = _NO_WORD.sub(" ", f"{before.decode(errors='ignore')} {behind.decode(errors='ignore')}")
    return f" {written} {written.lower()} "


def spelt(words: str) -> tuple[str, ...]:
    """Return words between ``|``, as `words_around` has them. A space stands where a word has to begin or end."""
    return tuple(_NO_WORD.sub(" ", word) for word in words.split("|"))


def has_one_of(words: Iterable[str], around: str) -> bool:
    """Whether one of the words is among those around a piece."""
    return any(word in around for word in words)
