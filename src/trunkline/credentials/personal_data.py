"""Where a text holds personal data: e-mail addresses, telephone numbers, numbers of cards, bank accounts and people.

Each kind has a cheap pattern, and what it finds is judged by a library that knows the rules: ``python-stdnum`` and
``phonenumbers``. Both are large, and loaded when there is something to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

from trunkline.credentials.national_ids import COUNTRIES, Country, NationalIds
from trunkline.credentials.surroundings import FREE, has_one_of, spelt, words_around
from trunkline.credentials.telephones import judged_telephones, telephones


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
# for several times as fast. The letter of an escape of JSON, such as that of a line break, is none of a word.

_CARD: Final = re.compile(rb"[2-6]" + FREE + rb"(?:(?<=[3-6])|(?=[2-7]))(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_CARD_LENGTHS: Final = range(13, 20)
_IBAN: Final = re.compile(
    rb"[A-Z](?:(?<![A-Za-z0-9].)|(?<=\\[nrt].))"
    rb"[A-Z]\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])"
)
_SHORTEST_IBAN: Final = 15
_INDENTATION: Final = 256

# Numbers of US social security: as people write them, or anyhow with a word near that says so.
_SSN: Final = re.compile(rb"\d" + FREE + rb"\d\d([ -]?)\d\d\1\d{4}(?![\w-]|\.\d)")
_SSN_WORDS: Final = spelt(" ssn|social security|socialsecurity")
_IPV4: Final = re.compile(rb"\d" + FREE + rb"\d{0,2}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_IPV6: Final = re.compile(
    rb"[0-9A-Fa-f](?<![\w:.].)[0-9A-Fa-f]{0,3}"
    rb"(?:(?::[0-9A-Fa-f]{1,4}){7}|(?::[0-9A-Fa-f]{1,4}){0,5}::[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,5})(?![\w:])"
)

# The furthest that any of these reaches from where it begins.
LONGEST: Final = 700

PersonalKind = Literal["email", "phone", "card", "iban", "ssn", "national_id", "ip"]

# An address of the internet is also how a version is written: who cares for them has to ask.
USUAL: Final[frozenset[PersonalKind]] = frozenset({"email", "phone", "card", "iban", "ssn", "national_id"})

_Search = Callable[[bytes, int, int], Iterator[Found]]


def personal_data(text: bytes, start: int = 0, end: int | None = None) -> Iterator[Found]:
    """Yield what begins between ``start`` and ``end``, in no order; pieces may overlap.

    Of telephone numbers the form suffices: nothing is lost by replacing one too many.
    """
    end = len(text) if end is None else end
    for found in telephones(text, start, min(len(text), end + LONGEST)):
        yield Found(*found, REDACTED_PERSON)
    for _, piece in _KEPT_KINDS.search(text, start, end):
        yield piece


class PersonalData:
    """Finds personal data of some kinds.

    ``countries`` are those whose national ids are looked for, and ``regions`` those whose telephone numbers count
    without the international prefix as well (both ISO 3166-1).
    """

    def __init__(
        self,
        kinds: Collection[PersonalKind] = USUAL,
        *,
        countries: Collection[Country] = COUNTRIES,
        regions: Sequence[str] = (),
    ) -> None:
        self._searches: dict[PersonalKind, _Search] = {kind: _SEARCHES[kind] for kind in _SEARCHES if kind in kinds}
        if "phone" in kinds:
            self._searches["phone"] = partial(_telephones, tuple(regions))
        if "national_id" in kinds:
            self._searches["national_id"] = partial(_national_ids, NationalIds(countries))

    def search(self, text: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[PersonalKind, Found]]:
        """Yield what begins between ``start`` and ``end`` with its kind, in no order; pieces may overlap."""
        end = len(text) if end is None else end
        reach = min(len(text), end + LONGEST)
        for kind, search in self._searches.items():
            for found in search(text, start, reach):
                yield kind, found


def _emails(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _DOMAIN.finditer(text, start, reach):
        local = _LOCAL_PART.search(text, max(0, found.start() - _LONGEST_LOCAL_PART), found.start())
        if local is not None:
            yield Found(local.start(), found.end(), REDACTED_PERSON)


def _telephones(regions: Sequence[str], text: bytes, start: int, reach: int) -> Iterator[Found]:
    return (Found(*span, REDACTED_PERSON) for span in judged_telephones(text, start, reach, regions))


def _national_ids(ids: NationalIds, text: bytes, start: int, reach: int) -> Iterator[Found]:
    return (Found(*span, _instead_of_digits(text, *span)) for span in ids.search(text, start, reach))


def _cards(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _CARD.finditer(text, start, reach):
        if _is_card(found[0]):
            yield Found(*found.span(), _instead_of_digits(text, *found.span()))


def _ibans(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _IBAN.finditer(text, start, reach):
        length = _iban_length(found[0].decode())
        if length:
            yield Found(found.start(), found.start() + length, REDACTED_PERSON)


def _social_security(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _SSN.finditer(text, start, reach):
        is_likely = found[1] == b"-" or has_one_of(_SSN_WORDS, words_around(text, *found.span()))
        if is_likely and _is_social_security(found[0].decode()):
            yield Found(*found.span(), _instead_of_digits(text, *found.span()))


def _addresses(text: bytes, start: int, reach: int) -> Iterator[Found]:
    for found in _IPV4.finditer(text, start, reach):
        if all(int(part) <= 255 for part in found[0].split(b".")):
            yield Found(*found.span(), REDACTED_PERSON)
    for found in _IPV6.finditer(text, start, reach):
        yield Found(*found.span(), REDACTED_PERSON)


_SEARCHES: Final[Mapping[PersonalKind, _Search]] = {
    "email": _emails,
    "card": _cards,
    "iban": _ibans,
    "ssn": _social_security,
    "ip": _addresses,
}
# What is taken out of what is kept.
_KEPT_KINDS: Final = PersonalData(USUAL - {"phone"})


def _is_card(written: bytes) -> bool:
    """Whether digits have a card's length and check digit (ISO/IEC 7812-1, annex B)."""
    from stdnum import luhn

    digits = written.translate(None, b" -").decode()
    return len(digits) in _CARD_LENGTHS and luhn.checksum(digits) == 0


def _iban_length(written: str) -> int:
    """Return how much of a text is an IBAN by the rules of its country (ISO 13616-1); 0 for none.

    The next word may have been taken for a group of it.
    """
    from stdnum import iban

    while len(written) >= _SHORTEST_IBAN:
        if iban.is_valid(written):
            return len(written)
        written = written.rpartition(" ")[0]
    return 0


def _is_social_security(written: str) -> bool:
    """Whether a number of that form can have been given to somebody."""
    from stdnum.us import ssn

    return ssn.is_valid(written.replace(" ", "-"))


def _instead_of_digits(text: bytes, start: int, end: int) -> bytes:
    before = text[max(0, start - _INDENTATION) : start].rstrip()[-1:]
    behind = text[end : end + _INDENTATION].lstrip()[:1]
    is_bare = text[start:end].isdigit() and before in (b"", b":", b",", b"[") and behind in (b"", b",", b"}", b"]")
    return _NUMBER if is_bare else REDACTED_PERSON
