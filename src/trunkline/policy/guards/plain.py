"""Text as it sounds rather than as it is written: without case, accents, invisible characters and look-alikes."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Characters that nobody sees: of width zero, of direction, soft hyphens, tags and selectors.
INVISIBLE: Final = frozenset(
    (
        *(0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
        *range(0xE0000, 0xE0200),
    )
)
_NOTHING: Final = dict.fromkeys(INVISIBLE)

# What stands for another letter. ``l`` and ``i`` are one: both are written 1.
_LOOKS: Final = str.maketrans(
    {
        **dict(zip("013457@$!|+€", "oieastasiite", strict=True)),
        "l": "i",
        **dict(zip("авеіјкмнорсту", "abeijkmhopcty", strict=True)),
        **dict(zip("αειοκνρτυχ", "aeiokvptux", strict=True)),
    }
)
# These are letters only within a word.
_ENDS: Final = re.compile(r"[!|+](?!\w)")


def plain(text: str) -> str:
    """Return a text in lower case, without accents and invisible characters, wide and fancy letters made plain."""
    if text.isascii():
        return text.lower()
    seen = text.translate(_NOTHING).casefold()
    parts = unicodedata.normalize("NFKD", seen)
    return unicodedata.normalize("NFC", "".join(one for one in parts if unicodedata.category(one) != "Mn"))


def disguised(text: str) -> str:
    """Return a plain text with digits, signs and letters of other scripts read as the letters they look like.

    It is as long as before, character for character.
    """
    return _ENDS.sub(" ", text).translate(_LOOKS)
