"""Numbers that states give to people: how they are written here, judged by ``python-stdnum``.

A check digit alone proves little: of any ten order numbers one has the right one. So a number counts by itself only if
its form is nobody else's (its letters, its punctuation, a date and two check digits); any other needs a word near it
that says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Final, Literal, NamedTuple, get_args

from trunkline.credentials.surroundings import FREE, has_one_of, spelt, words_around

# ISO 3166-1. The United States are here for taxpayers' numbers (ITIN): those of social security are another kind.
# fmt: off
Country = Literal[
    "AR", "AT", "AU", "BE", "BG", "BR", "CA", "CH", "CL", "CN", "CZ", "DE", "DK", "EE", "ES", "FI",
    "FR", "GB", "GR", "HR", "ID", "IE", "IL", "IN", "IS", "IT", "JP", "KR", "LT", "LV", "MX", "MY",
    "NL", "NO", "NZ", "PK", "PL", "PT", "RO", "SE", "SK", "TH", "TR", "UA", "US", "ZA",
]
# fmt: on
COUNTRIES: Final[frozenset[Country]] = frozenset(get_args(Country))

# What somebody may write near such a number in any country.
_ANYWHERE: Final = spelt(
    " national id|nationalid|national identi|identity number|identity card|identity document| id card|idcard"
    "| personal id|personal identi| citizen id|citizenid|social security|socialsecurity| tax id | taxid |taxpayer"
    "|tax identification"
)
_SPANISH: Final = " dni | nif |documento nacional|identidad"
# How Czechs and Slovaks name the number in the register of births.
_BORN: Final = "rodné č|rodného č|rodne c|rodneho c|rodné čí|rč "

# After so many numbers of one text that were none the form is enough: a text made to be slow must not pass unseen.
_MOST_REFUSED: Final = 2000


class _Number(NamedTuple):
    """``module`` of ``stdnum`` judges it; where there is no check digit, the form has to do.

    ``words``: one of them has to be near; none: the form suffices. ``as_written``: its punctuation is part of it.
    """

    country: Country
    module: str
    words: tuple[str, ...] = ()
    as_written: bool = False


def _named(country: Country, module: str, words: str, *, as_written: bool = False) -> _Number:
    return _Number(country, module, (*spelt(words), *_ANYWHERE), as_written)


# The forms, each behind its first character, and whose they are.
_DIGITS_FIRST: Final[Mapping[str, tuple[bytes, tuple[_Number, ...]]]] = {
    # The form suffices.
    "fr": (
        rb"(?:(?<=[12378]) \d\d \d\d \d[\dAB] \d{3} \d{3} \d\d|(?<=[12])\d\d(?:0[1-9]|1[0-2])\d[\dAB]\d{6} ?\d\d)",
        (_Number("FR", "fr.nir"),),
    ),
    "ch": (rb"(?<=7)56(?:\.\d{4}\.\d{4}\.\d\d|\d{10})", (_Number("CH", "ch.ssn"),)),
    "br": (rb"\d\d\.\d{3}\.\d{3}-\d\d", (_Number("BR", "br.cpf"),)),
    "be": (rb"\d\.\d\d\.\d\d-\d{3}\.\d\d", (_Number("BE", "be.nn"),)),
    "cl": (rb"\d?\.\d{3}\.\d{3}-[\dKk]", (_Number("CL", "cl.rut"), _named("ES", "es.dni", _SPANISH))),
    "us": (rb"(?<=9)\d\d-\d\d-\d{4}", (_Number("US", "us.itin"),)),
    "kr": (rb"\d{5}-\d{7}", (_Number("KR", "kr.rrn"),)),
    "my": (rb"\d{5}-\d\d-\d{4}", (_Number("MY", "my.nric"),)),
    "th": (rb"[ -]\d{4}[ -]\d{5}[ -]\d\d[ -]\d", (_Number("TH", "th.pin"),)),
    "pk": (rb"\d{4}-\d{7}-\d", (_Number("PK", "pk.cnic"),)),
    "ar": (rb"(?<=2)[0347]-\d{8}-\d", (_Number("AR", "ar.cuit"),)),
    "cz": (rb"\d{5}/\d{3,4}", (_Number("CZ", "cz.rc"), _Number("SK", "sk.rc"))),
    "fi": (
        rb"\d{5}(?:[-+]\d{3}[A-FHJ-NPR-Y]|[A-FU-Y]\d{3}[\dA-FHJ-NPR-Y])",
        (_Number("FI", "fi.hetu", as_written=True),),
    ),
    "cn": (rb"\d{16}[\dXx]", (_Number("CN", "cn.ric"),)),
    # A word has to be near.
    "es": (
        rb"\d(?:\d{6}|\.\d{3}\.\d{3})[ -]?[A-Z]",
        (_named("ES", "es.dni", _SPANISH),),
    ),
    "ie": (rb"\d{6}[A-W][A-W]?", (_named("IE", "ie.pps", " pps |ppsn|public service n"),)),
    "pt": (rb"\d{7} ?\d ?[A-Z]{2}\d", (_named("PT", "pt.cc", "cartão de cidad|cartao de cidad|cidadão|cidadao"),)),
    "run": (rb"\d{6,7}-[\dKk]", (_named("CL", "cl.rut", " rut | run |cédula|cedula"),)),
    "eight": (
        rb"\d-?\d{3}-?\d{3}",
        (_named("NZ", "nz.ird", " ird |inland revenue"), _named("NL", "nl.bsn", " bsn |burgerservice|sofinummer")),
    ),
    "nine": (
        rb"\d\d(?:\d{6}|[ .-]\d{3}[ .-]\d{3})",
        (
            _named("CA", "ca.sin", " SIN |social insurance|assurance sociale"),
            _named("AU", "au.tfn", " tfn |tax file"),
            _named("NL", "nl.bsn", " bsn |burgerservice|sofinummer"),
            _named("PT", "pt.nif", " nif |contribuinte"),
            _named("NZ", "nz.ird", " ird |inland revenue"),
            _named("IL", "il.idnr", "teudat zehut|תעודת זהות|מספר זהות|ת.ז"),
            _named("US", "us.itin", " itin "),
            _named("CZ", "cz.rc", _BORN),
            _named("SK", "sk.rc", _BORN),
        ),
    ),
    "ten": (
        rb"(?:\d{9}|\d\d[ -]\d{3}[ -]\d{4}|\d{3} \d{6}|\d{5}[ +-]\d{4})",
        (
            _named("GB", "gb.nhs", " nhs "),
            _named("AT", "at.vnr", "sozialversicherung|versicherungsnummer| svnr | sv nummer| sv nr "),
            _named("SE", "se.personnummer", "personnummer|samordningsnummer|personnr"),
            _named("DK", "dk.cpr", " cpr |cprnummer|personnummer"),
            _named("FI", "fi.hetu", "henkilötunnus|henkilotunnus| hetu |personbeteckning", as_written=True),
            _named("IS", "is_.kennitala", "kennital"),
            _named("BG", "bg.egn", "егн| egn "),
            _named("UA", "ua.rntrc", "рнокпп| ипн | іпн |rntrc"),
            _named("CZ", "cz.rc", _BORN),
            _named("SK", "sk.rc", _BORN),
        ),
    ),
    "eleven": (
        rb"(?:\d{10}|\d \d{3} \d{3} \d{3}|\d{5}[ -]\d{5}|\d \d\d \d\d \d{3} \d\d)",
        (
            _named(
                "DE", "de.idnr", "steuer id|steuerid|steuerlich|steuernummer|steuernr|steueridentifikation| idnr | TIN "
            ),
            _named("NO", "no.fodselsnummer", "fødselsnummer|fodselsnummer|personnummer"),
            _named("PL", "pl.pesel", "pesel"),
            _named("BE", "be.nn", "rijksregister|registre national|numéro national|numero national| insz | niss "),
            _named("TR", "tr.tckimlik", "kimlik| tckn "),
            _named("HR", "hr.oib", " oib |osobni"),
            _named("EE", "ee.ik", "isikukood"),
            _named("LT", "lt.asmens", "asmens kod"),
            _named("LV", "lv.pvn", "personas kod"),
            _named("GR", "gr.amka", "αμκα| amka "),
            _named("BR", "br.cpf", " cpf "),
            _named("AR", "ar.cuit", " cuit | cuil "),
        ),
    ),
    "twelve": (
        rb"(?:\d{3}[ -]?\d{4}[ -]?\d{4}|\d{7}[+-]\d{4})",
        (
            _named("IN", "in_.aadhaar", "aadhaar|aadhar|uidai|आधार"),
            _named("JP", "jp.in_", "マイナンバー|個人番号|my number|mynumber"),
            _named("SE", "se.personnummer", "personnummer|samordningsnummer|personnr"),
            _named("MY", "my.nric", " nric |mykad|kad pengenalan"),
        ),
    ),
    "thirteen": (
        rb"(?:\d{12}|\d{5} \d{4} \d{3})",
        (
            _named("ZA", "za.idnr", " id number| id no |identity|identiteit|south africa"),
            _named("RO", "ro.cnp", " cnp |cod numeric"),
            _named("TH", "th.pin", "บัตรประชาชน|ประจำตัวประชาชน|thai id"),
            _named("KR", "kr.rrn", "주민등록|resident registration"),
            _named("PK", "pk.cnic", " cnic | nadra "),
        ),
    ),
    "fifteen": (
        rb"\d{4}\d[\dAB]\d{6} ?\d\d",
        (_named("FR", "fr.nir", "curité sociale|curite sociale| nir |carte vitale|numéro de sécu"),),
    ),
    "sixteen": (rb"\d{15}", (_named("ID", "id.nik", " nik | ktp |kependudukan"),)),
}
_INSURED: Final = rb"(?<=[A-CEGHJ-PR-TW-Z])[A-CEGHJ-NPR-TW-Z](?<!BG|GB|KN|NK|NT|TN|ZZ)"
_LETTERS_FIRST: Final[Mapping[str, tuple[bytes, tuple[_Number, ...]]]] = {
    "it": (
        rb"[A-Z]{5}[\dLMNP-V]{2}[A-EHLMPRST][\dLMNP-V]{2}[A-Z][\dLMNP-V]{3}[A-Z]",
        (_Number("IT", "it.codicefiscale"),),
    ),
    "mx": (rb"[A-Z]{3}\d{6}[HMX][A-Z]{5}[A-Z\d]\d", (_Number("MX", "mx.curp"),)),
    # The fourth letter of a person's is P.
    "in": (rb"[A-Z]{2}P[A-Z]\d{4}[A-Z]", (_Number("IN", "in_.pan"),)),
    "nie": (rb"(?<=[XYZ])[ -]?\d{7}[ -]?[A-Z]", (_named("ES", "es.nie", " nie | dni | nif |extranjer|identidad"),)),
    # National insurance numbers have no check digit, and the library does not know them.
    "gb": (_INSURED + rb" \d\d \d\d \d\d [A-D]", (_Number("GB", ""),)),
    "ni": (_INSURED + rb"\d{6} ?[A-D]", (_named("GB", "", "national insurance| nino | NI number| NI no "),)),
}

# Of digits alone, which most candidates are, the number of digits says which forms come into question.
_BARE: Final[Mapping[int, tuple[str, ...]]] = {
    8: ("eight",),
    9: ("nine",),
    10: ("ten",),
    11: ("eleven",),
    12: ("twelve",),
    13: ("ch", "thirteen"),
    16: ("sixteen",),
    18: ("cn",),
}


def _alternatives(forms: Mapping[str, tuple[bytes, tuple[_Number, ...]]]) -> bytes:
    return b"|".join(b"(?P<%s>%s)" % (name.encode(), form) for name, (form, _) in forms.items())


_PUNCTUATION: Final = re.compile(r"[ ./-]")


class NationalIds:
    """Finds the numbers of people of some countries."""

    def __init__(self, countries: Collection[Country] = COUNTRIES) -> None:
        self._numbers = {
            form: tuple(number for number in numbers if number.country in countries)
            for form, (_, numbers) in (*_DIGITS_FIRST.items(), *_LETTERS_FIRST.items())
        }
        self._bare = {
            length: tuple(number for form in forms for number in self._numbers[form]) for length, forms in _BARE.items()
        }

    def search(self, text: bytes, start: int, reach: int) -> Iterator[tuple[int, int]]:
        """Yield where those between two places begin and end."""
        refused = 0
        candidate = _candidate()
        found = candidate.search(text, start, reach)
        while found is not None:
            is_one = False
            numbers = self._meant(text, found)
            if numbers:
                written = found[0].decode()
                is_one = refused >= _MOST_REFUSED or any(_is_right(number, written) for number in numbers)
                refused += not is_one
            if is_one:
                yield found.span()
            found = candidate.search(text, found.end() if is_one else found.start() + 1, reach)

    def _meant(self, text: bytes, found: re.Match[bytes]) -> list[_Number]:
        """Return what something of a known form can be, by that form or by the words near it."""
        form = found.lastgroup or ""
        numbers = self._bare.get(len(found[0]), ()) if form == "bare" else self._numbers[form]
        around: str | None = None
        meant: list[_Number] = []
        for number in numbers:
            if number.words:
                around = words_around(text, *found.span()) if around is None else around
                if not around:
                    break
                if not has_one_of(number.words, around):
                    continue
            meant.append(number)
        return meant


def _is_right(number: _Number, written: str) -> bool:
    if not number.module:
        return True
    try:
        return _judge(number.module)(written if number.as_written else _PUNCTUATION.sub("", written))
    except (LookupError, ValueError):
        return False  # of places that it has no name for, the library raises instead of saying no


@cache
def _judge(module: str) -> Callable[[str], bool]:
    """Return the library's judgement on a kind of number. It is large, and loaded when there is something to judge."""
    judge: Callable[[str], bool] = import_module(f"stdnum.{module}").is_valid
    return judge


@cache
def _candidate() -> re.Pattern[bytes]:
    """Return the pattern of all forms. It is large, and made when a text is first searched.

    It begins with one character of a set, for which a text is searched quickly; what follows it ends most searches.
    """
    return re.compile(
        rb"[\dA-Z]" + FREE + rb"(?:"
        rb"(?<=\d)(?=[\d ./-]{5})(?:(?P<bare>\d{7,12}|\d{15}|\d{17})(?![ /]?[\dA-Z])|"
        + _alternatives(_DIGITS_FIRST)
        + rb")|(?<=[A-Z])(?=[A-Z\d -])(?:"
        + _alternatives(_LETTERS_FIRST)
        + rb"))(?![\w-]|\.\d)"
    )
