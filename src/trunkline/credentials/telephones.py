"""Telephone numbers: how they are written here, judged by ``phonenumbers`` where a wrong finding costs something."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from trunkline.credentials.surroundings import has_one_of, spelt, words_around

# With an international prefix (a group), or grouped as people write it: a bare run of digits is as likely a time or an
# id. A "+" before a date is that of a line in a patch.
_TELEPHONE: Final = re.compile(
    rb"[+(\d](?:(?<![\w+.-].)|(?<=\\[nrt].))(?:"
    rb"((?<=\+)(?!\d{4}-\d\d-\d\d)|(?<=0)0)[1-9][ .()/-]{0,2}(?:\d[ .()/-]{0,2}){6,13}\d"
    rb"|(?:(?<=\()\d|(?<=\d))\d\d\)?[ .-]\d{3}[ .-]\d{4}"
    rb"|(?<=0)\d{1,4}[ /]{1,3}\d(?:[ -]?\d){4,9}"
    rb")(?![\w-])"
)
# As in one country or another, but for dates, times, addresses of the internet and decimal numbers.
_NATIONAL: Final = re.compile(
    rb"[(\d](?<![\w+.,:/-].)(?<!\d [(\d])(?:(?<=\()\d|(?<=\d))(?!\d{0,3}([./-])\d\d?\1\d{1,4}(?![\d./-]))"
    rb"(?!\d{0,2}(?:\.\d{1,3}){3}(?![\d.]))(?!\d{0,3}\.\d+(?![\d.]))"
    rb"(?:[ .()/-]{0,2}\d){4,13}(?![\w-]|[.,:/]\d)"
)
_SEPARATOR: Final = re.compile(r"[ .()/-]+")
_LAST_GROUP: Final = re.compile(r"[ .()/-]+\d+\Z")
_SHORTEST: Final = 7
_NEAR: Final = spelt(
    "phone| tel | tél|telef|téléf| mobil| móvil| movil| handy|rufnummer| cell | call | fax|whatsapp| gsm | sms | тел"
    "|电话|電話|手机|전화|هاتف"
)

# After so many numbers of one text that were none the form is enough: a text made to be slow must not pass unseen.
_MOST_REFUSED: Final = 1000


def telephones(text: bytes, start: int, reach: int) -> Iterator[tuple[int, int]]:
    """Yield where what has the form of a telephone number begins and ends."""
    for found in _TELEPHONE.finditer(text, start, reach):
        yield found.span()


def judged_telephones(text: bytes, start: int, reach: int, regions: Sequence[str] = ()) -> Iterator[tuple[int, int]]:
    """Yield those that can be one by the rules of their country.

    ``regions`` are countries (ISO 3166-1) whose numbers count without the international prefix too: in groups, or as a
    run of digits with a word near it that speaks of telephones.
    """
    refused = 0
    found = _TELEPHONE.search(text, start, reach)
    while found is not None:
        length = len(found[0])
        if found[1] is not None and refused < _MOST_REFUSED:
            length = _international(found[0].decode())
            refused += not length
        if length:
            yield found.start(), found.start() + length
        found = _TELEPHONE.search(text, found.start() + max(length, 1), reach)
    if regions:
        yield from _nationals(text, start, reach, regions)


def knows_region(region: str) -> bool:
    """Whether the telephone numbers of a country (ISO 3166-1) are known."""
    import phonenumbers

    return region in phonenumbers.SUPPORTED_REGIONS


def _international(written: str) -> int:
    """Return how much of something is a number with its country's length; 0 for none.

    Without groups it has to be of a range that is in use: so many digits may be anything else.
    """
    import phonenumbers

    while sum(map(str.isdigit, written)) >= _SHORTEST:
        plain = written if written.startswith("+") else "+" + written.removeprefix("00")
        try:
            number = phonenumbers.parse(plain)
        except phonenumbers.NumberParseException:
            pass
        else:
            reason = phonenumbers.is_possible_number_with_reason(number)
            is_grouped = written.startswith("+") and _SEPARATOR.search(written) is not None
            if reason == phonenumbers.ValidationResult.IS_POSSIBLE and (
                is_grouped or phonenumbers.is_valid_number(number)
            ):
                return len(written)
        shorter = _LAST_GROUP.sub("", written)
        if shorter == written:
            break
        written = shorter
    return 0


def _nationals(text: bytes, start: int, reach: int, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    import phonenumbers

    refused = 0
    found = _NATIONAL.search(text, start, reach)
    while found is not None:
        written = found[0].decode()
        digits = _SEPARATOR.sub("", written)
        is_one = False
        if digits != written or has_one_of(_NEAR, words_around(text, *found.span())):
            for region in regions:
                if not _fits(region, digits):
                    continue
                try:
                    number = phonenumbers.parse(digits, region)
                except phonenumbers.NumberParseException:
                    continue
                is_one = refused >= _MOST_REFUSED or phonenumbers.is_valid_number(number)
                refused += not is_one
                if is_one:
                    break
        if is_one:
            yield found.span()
        found = _NATIONAL.search(text, found.end() if is_one else found.start() + 1, reach)


def _fits(region: str, digits: str) -> bool:
    """Whether digits begin and are as many as numbers within a country: most others are told apart by that."""
    prefix, lengths = _plan(region)
    if prefix == "0":
        return digits.startswith(prefix) and len(digits) - 1 in lengths
    if len(digits) in lengths:
        return True
    return prefix != "" and digits.startswith(prefix) and len(digits) - len(prefix) in lengths


@cache
def _plan(region: str) -> tuple[str, frozenset[int]]:
    """Return what is dialled before a number within a country, and how many digits such a number may have."""
    import phonenumbers

    plan = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if plan is None or plan.general_desc is None:
        return "", frozenset()
    return plan.national_prefix or "", frozenset(plan.general_desc.possible_length)
