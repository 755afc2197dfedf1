"""Lists of words and phrases that are not to be spoken of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from trunkline.policy.guards.checking import Match
from trunkline.policy.guards.plain import disguised, plain
from trunkline.policy.guards.rules import TopicsOptions

_WORDS: Final = re.compile(r"[\w*?]+")
# Between the words of a phrase, and for a star, no more than this: patterns stay linear, whoever writes them.
_GAP: Final = r"[\W_]{1,5}"
_REST_OF_A_WORD: Final = r"\w{0,30}"
# Of scripts that put no spaces between words.
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class Topics:
    """Finds whole words, whatever their case and accents, also where digits and signs stand for letters."""

    def __init__(self, options: TopicsOptions) -> None:
        self._topics = [
            (name, re.compile(_any_of(terms, plain)), re.compile(_any_of(terms, lambda term: disguised(plain(term)))))
            for name, terms in options.topics.items()
        ]

    def search(self, text: str) -> Iterator[Match]:
        """Yield what is found, once for each topic and way of writing."""
        as_written = plain(text)
        as_seen = disguised(as_written)
        length = len(as_written)
        for name, pattern, in_disguise in self._topics:
            for found in pattern.finditer(as_written):
                yield Match(name, length - found.start(), length - found.end())
            for found in in_disguise.finditer(as_seen):
                if _is_disguise(as_written, found):
                    yield Match(name, length - found.start(), length - found.end())


def _is_disguise(as_written: str, found: re.Match[str]) -> bool:
    """Whether a word is one only when read so: ``l`` and ``i`` alone make a word another."""
    written = as_written[found.start() : found.end()]
    return written.replace("l", "i") != found[0]


def _any_of(terms: tuple[str, ...], read: Callable[[str], str]) -> str:
    return "|".join(filter(None, (_pattern(read(term)) for term in terms))) or r"(?!)"


def _pattern(term: str) -> str:
    words = _WORDS.findall(term)
    if not any(re.search(r"\w", word) for word in words):
        # Signs alone, such as an emoji: as they are.
        return re.escape(term.strip()) if not words else ""
    written = _GAP.join(
        "".join({"*": _REST_OF_A_WORD, "?": r"\w"}.get(one, re.escape(one)) for one in word) for word in words
    )
    return written if _UNSPACED.search(term) else rf"(?<!\w){written}(?!\w)"
