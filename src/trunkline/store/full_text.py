"""Words of a text as a full-text index takes them, the same on every engine: folded, and split where a reader would.

Folding takes away case, accents and the writing variants of one character. Characters of Chinese and Japanese are a
word each, since these languages put no blanks between words; a query finds them side by side.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

# PostgreSQL indexes no more than 1 MiB of a text.
MAX_SEARCHABLE: Final = 200_000
_MAX_WORD: Final = 64
_MAX_TERMS: Final = 12

_CJK: Final = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_CJK}]|[^\W_{_CJK}](?:[^\W_{_CJK}]|[\u0300-\u036f])*")
_ASCII_WORD: Final = re.compile("[a-z0-9]+")

Term = tuple[str, ...]
"""Folded words that stand side by side; the last one may be the beginning of a word."""

Span = tuple[int, int]
"""From and to which character of a text."""


def searchable(text: str) -> str:
    """Return the folded words of a text with a blank between them, of its first `MAX_SEARCHABLE` characters."""
    beginning = text[:MAX_SEARCHABLE]
    if beginning.isascii():  # the same, ten times as fast
        return " ".join([word[:_MAX_WORD] for word in _ASCII_WORD.findall(beginning.lower())])
    return " ".join(word for _, word in _words(beginning))[:MAX_SEARCHABLE]


def terms(query: str) -> list[Term]:
    """Return what a query asks for, all of which a text must hold. Whatever is no word counts as a blank."""
    found = [tuple(word for _, word in _words(piece[:1000])) for piece in query.split()]
    return [term for term in found if term][:_MAX_TERMS]


def spans(text: str, wanted: Sequence[Term]) -> list[Span]:
    """Return where a text holds any of the terms, in order and without overlaps."""
    places, words = [], []
    for place, word in _words(text[:MAX_SEARCHABLE]):
        places.append(place)
        words.append(word)
    found: list[Span] = []
    at = 0
    while at < len(words):
        length = max((len(term) for term in wanted if _stands_at(term, words, at)), default=0)
        if length:
            found.append((places[at][0], places[at + length - 1][1]))
        at += length or 1
    return found


def _stands_at(term: Term, words: Sequence[str], at: int) -> bool:
    *whole, last = term
    end = at + len(whole)
    return end < len(words) and list(words[at:end]) == whole and words[end].startswith(last)


def _words(text: str) -> Iterator[tuple[Span, str]]:
    for match in _WORD.finditer(text):
        word = match[0]
        # Folding may leave nothing, or a stroke between two numbers, as of a fraction. Most words need none of it.
        folded = word.lower() if word.isascii() else "".join(filter(str.isalnum, _folded(word)))
        if folded:
            yield match.span(), folded[:_MAX_WORD]


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
