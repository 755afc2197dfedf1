"""Where a text holds personal data: e-mail addresses, telephone numbers, numbers of cards, bank accounts and people."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, Literal, NamedTuple


class Found(NamedTuple):
    """A piece of a text, and what is to stand there instead."""

    start: int
    end: int
    instead: bytes


REDACTED_PERSON: Final = b"[personal data]"
# Stands where JSON has a number, so that it stays JSON.
_NUMBER: Final = b"0"

_DOMAIN: Final = re.compile(rb"@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])")
_LOCAL_PART: Final = re.compile(rb"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}\Z")
_LONGEST_LOCAL_PART: Final = 64

# Where a pattern looks back it does so behind its first character: one that begins with a set of characters is searched
# for several times as fast.

# With an international prefix, or grouped as people write it: a bare run of digits is as likely a time or an id.
_TELEPHONE_BEGINS: Final = re.compile(rb"[+(\d](?<![\w+.-].)")
_TELEPHONE: Final = re.compile(
    rb"(?:"
    rb"(?:\+|00)[1-9][ .()/-]{0,2}(?:\d[ .()/-]{0,2}){6,13}\d"
    rb"|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}"
    rb"|0\d{1,4}[ /]{1,3}\d(?:[ -]?\d){4,9}"
    rb")(?![\w-])"
)
_CARD: Final = re.compile(rb"[2-6](?<![\w.-].)(?:(?<=[3-6])|(?=[2-7]))(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_CARD_LENGTHS: Final = range(13, 20)
_IBAN: Final = re.compile(
    rb"[A-Z](?<![A-Za-z0-9].)[A-Z]\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])"
)
_SHORTEST_IBAN: Final = 15
_INDENTATION: Final = 256

# A number of US social security as people write it; those that were never given out are none.
_SSN: Final = re.compile(rb"[0-8](?<![\w.-].)\d{2}(?<!000)(?<!666)-(?!00)\d{2}-(?!0000)\d{4}(?![\w-]|\.\d)")
_IPV4: Final = re.compile(rb"\d(?<![\w.-].)\d{0,2}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_IPV6: Final = re.compile(
    rb"[0-9A-Fa-f](?<![\w:.].)[0-9A-Fa-f]{0,3}"
    rb"(?:(?::[0-9A-Fa-f]{1,4}){7}|(?::[0-9A-Fa-f]{1,4}){0,5}::[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,5})(?![\w:])"
)

# The furthest that any of these reaches from where it begins.
LONGEST: Final = 700

PersonalKind = Literal["email", "phone", "card", "iban", "ssn", "ip"]

# An address of the internet is also how a version is written: who cares for them has to ask.
USUAL: Final[frozenset[PersonalKind]] = frozenset({"email", "phone", "card", "iban", "ssn"})


def personal_data(text: bytes, start: int = 0, end: int | None = None) -> Iterator[Found]:
    """Yield what begins between ``start`` and ``end``, in no order; pieces may overlap."""
    return (found for _, found in personal_data_of(USUAL, text, start, end))


def personal_data_of(
    kinds: Collection[PersonalKind], text: bytes, start: int = 0, end: int | None = None
) -> Iterator[tuple[PersonalKind, Found]]:
    """Yield such data of some kinds, each with its kind."""
    end = len(text) if end is None else end
    reach = min(len(text), end + LONGEST)
    for kind, search in _SEARCHES.items():
        if kind in kinds:
            for found in search(text, start, reach):
                yield kind, found


def _emails(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _DOMAIN.finditer(text, start, reach):
        local = _LOCAL_PART.search(text, max(0, found.start() - _LONGEST_LOCAL_PART), found.start())
        if local is not None:
            yield Found(local.start(), found.end(), REDACTED_PERSON)


def _telephones(text: bytes, start: int, reach: int) -> Iterator[Found]:
    reached = start
    for begin in _TELEPHONE_BEGINS.finditer(text, start, reach):
        found = _TELEPHONE.match(text, begin.start(), reach) if begin.start() >= reached else None
        if found is not None:
            reached = found.end()
            yield Found(found.start(), found.end(), REDACTED_PERSON)


def _cards(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _CARD.finditer(text, start, reach):
        if _is_card(found[0]):
            yield Found(found.start(), found.end(), _instead_of_digits(text, found))


def _ibans(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _IBAN.finditer(text, start, reach):
        length = _iban_length(found[0])
        if length:
            yield Found(found.start(), found.start() + length, REDACTED_PERSON)


def _social_security(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _SSN.finditer(text, start, reach):
        yield Found(found.start(), found.end(), REDACTED_PERSON)


def _addresses(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _IPV4.finditer(text, start, reach):
        if all(int(part) <= 255 for part in found[0].split(b".")):
            yield Found(found.start(), found.end(), REDACTED_PERSON)
    for found in _IPV6.finditer(text, start, reach):
        yield Found(found.start(), found.end(), REDACTED_PERSON)


_SEARCHES: Final[Mapping[PersonalKind, Callable[[bytes, int, int], Iterator[Found]]]] = {
    "email": _emails,
    "phone": _telephones,
    "card": _cards,
    "iban": _ibans,
    "ssn": _social_security,
    "ip": _addresses,
}


def _is_card(written: bytes) -> bool:
    """Whether digits have a card's length and check digit (ISO/IEC 7812-1, annex B)."""
    digits = [byte - 48 for byte in written if 48 <= byte <= 57]
    doubled = [2 * digit - 9 if digit > 4 else 2 * digit for digit in digits[-2::-2]]
    return len(digits) in _CARD_LENGTHS and (sum(doubled) + sum(digits[::-2])) % 10 == 0


def _iban_length(written: bytes) -> int:
    """Return how much of a text is an IBAN whose check digits are right (ISO 13616-1); 0 for none.

    The next word may have been taken for a group of it.
    """
    while True:
        plain = written.replace(b" ", b"").decode().upper()
        if len(plain) < _SHORTEST_IBAN:
            return 0
        if int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1:
            return len(written)
        written = written.rpartition(b" ")[0]


def _instead_of_digits(text: bytes, found: re.Match[bytes]) -> bytes:
    before = text[max(0, found.start() - _INDENTATION) : found.start()].rstrip()[-1:]
    behind = text[found.end() : found.end() + _INDENTATION].lstrip()[:1]
    is_bare = found[0].isdigit() and before in (b"", b":", b",", b"[") and behind in (b"", b",", b"}", b"]")
    return _NUMBER if is_bare else REDACTED_PERSON
