"""Text that is still being written, cut into passages that can be spoken."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

# Text without punctuation is spoken as one piece, whose cost grows faster than its length.
_MAX_WORDS: Final = 40
# The first passage may end within a sentence, so that the first sound comes early; shorter clauses sound chopped.
_MIN_FIRST_CLAUSE_WORDS: Final = 4

# A mark counts only once what follows it is there: the full stop in "3." may be the point of 3.14.
_POSSIBLE_END: Final = re.compile(
    r"""(?P<sentence>[.!?…]+["'”’)\]*_]*(?=\s)|[。！？])|(?P<line>\n)|(?P<clause>[,;:—–]["'”’)*_]*(?=\s))"""
    r"""|(?P<turn>(?<=\w)(?=\s(?:because|but|that|when|where|which|while|who)\s))"""
)
_LAST_WORD: Final = re.compile(r"(\S+?)[.!?…]+\S*$")
_LIST_NUMBER: Final = re.compile(r"\s*\d+\.$")
_INITIALS: Final = re.compile(r"\W*([A-Za-z]\.)*[A-Za-z]$")
_TITLES: Final = ("mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "mt")
_SHORT_FORMS: Final = ("vs", "etc", "e.g", "i.e", "inc", "ltd", "co", "corp", "dept", "approx", "vol", "fig")
_ABBREVIATIONS: Final = frozenset((*_TITLES, *_SHORT_FORMS))

_FENCE: Final = re.compile(r"\s*(```|~~~)")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_ADDRESS: Final = re.compile(r"<?(https?://[^\s>)]+)>?")
_LINE_MARK: Final = re.compile(r"^\s*(#{1,6}\s+|[-*+•]\s+|>\s*)+", re.MULTILINE)
_RULE: Final = re.compile(r"^[\s|:*_=-]+$", re.MULTILINE)
_EMPHASIS: Final = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|~~|`+)(?=\S)(.+?)(?<=\S)\1")
_STRAY_MARKS: Final = re.compile(r"[*`|~]+|(?<!\w)_+|_+(?!\w)")


class Passage(msgspec.Struct, frozen=True):
    """A piece of text as it was written, and what is said for it: "" for what cannot be said, as code."""

    text: str
    speech: str


class PassageCutter:
    """Cuts text into passages of at most 40 words that end where a speaker would pause.

    The passages' texts joined are the text. Numbers, initials and usual abbreviations are never cut.
    """

    def __init__(self) -> None:
        self._rest = ""
        self._is_first = True
        self._in_code = False

    def feed(self, text: str) -> list[Passage]:
        """Take more text; return the passages it completes."""
        self._rest += text
        passages = []
        while (end := self._find_end()) is not None:
            passages.append(self._passage(end))
        return passages

    def finish(self) -> list[Passage]:
        """Return what is left."""
        if not self._rest:
            return []
        return [self._passage(len(self._rest))]

    def _find_end(self) -> int | None:
        for mark in _POSSIBLE_END.finditer(self._rest):
            before = self._rest[: mark.end()]
            if _too_long(before):
                break
            if before.strip() and self._is_end(mark, before):
                return mark.start() if mark["line"] else mark.end()
        return _last_pause(self._rest) if _too_long(self._rest) else None

    def _is_end(self, mark: re.Match[str], before: str) -> bool:
        if mark["line"]:
            return True
        if self._in_code:
            return False
        if mark["clause"] is not None or mark["turn"] is not None:
            return self._is_first and len(before.split()) >= _MIN_FIRST_CLAUSE_WORDS
        return not _is_within_sentence(before)

    def _passage(self, end: int) -> Passage:
        text, self._rest = self._rest[:end], self._rest[end:]
        if _FENCE.match(text):
            self._in_code = not self._in_code
            return Passage(text, "")
        speech = "" if self._in_code else speakable(text)
        if self._rest and speech[-1:].isalnum() and not self._rest.startswith("\n"):
            speech += ","  # the voice is to stay up: the sentence goes on
        self._is_first = self._is_first and not speech
        return Passage(text, speech)


def speakable(text: str) -> str:
    """Return what is said for a piece of markdown: no marks, links by their text, bare addresses by their host."""
    text = _LINK.sub(r"\1", text)
    text = _ADDRESS.sub(lambda address: urlsplit(address[1]).hostname or "", text)
    text = _RULE.sub("", text)
    text = _LINE_MARK.sub("", text)
    # Twice: emphasis may hold another.
    text = _EMPHASIS.sub(r"\2", _EMPHASIS.sub(r"\2", text))
    return " ".join(_STRAY_MARKS.sub(" ", text).split())


def _is_within_sentence(before: str) -> bool:
    if _LIST_NUMBER.match(before):
        return True
    word = _LAST_WORD.search(before)
    if word is None or not before.endswith("."):
        return False
    return word[1].lower().strip("\"'“‘(*_") in _ABBREVIATIONS or _INITIALS.match(word[1]) is not None


def _too_long(text: str) -> bool:
    return len(text.split()) > _MAX_WORDS


def _last_pause(text: str) -> int:
    """Return where to cut text of too many words: behind its last clause in reach, else behind its last word."""
    words = list(re.finditer(r"\S+", text))[:_MAX_WORDS]
    reach = words[-1].end()
    clauses = [mark.end() for mark in _POSSIBLE_END.finditer(text, 0, reach) if mark["clause"]]
    return clauses[-1] if clauses else reach
