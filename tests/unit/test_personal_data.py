"""What is found of people's data by form, check digits and the words near it, and what is left alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.credentials import national_ids
from trunkline.credentials.national_ids import COUNTRIES
from trunkline.credentials.redaction import redact
from trunkline.errors import SettingsError
from trunkline.policy.control import ControlRules
from trunkline.policy.guards.data import Personal
from trunkline.policy.guards.rules import PersonalOptions

REGIONS = ("US", "DE", "ES", "FR", "GB", "DK")


def found(text: str, **options: Any) -> set[str]:
    return {match.kind for match in Personal(PersonalOptions(**options)).search(text)}


# Nobody's: the examples of the libraries' and the states' own documentation. First those whose form suffices.
BY_FORM = {
    "AR": "20-05536168-2",
    "BE": "85.07.30-033.28",
    "BR": "390.533.447-05",
    "CH": "756.9217.0769.85",
    "CL": "12.531.909-2",
    "CN": "360426199101010071",
    "CZ": "710319/2745",
    "FI": "131052-308T",
    "FR": "2 95 10 99 126 111 93",
    "GB": "AB 12 34 56 C",
    "IN": "ACUPP7085R",
    "IT": "RCCMNL83S18D969H",
    "KR": "971013-9019902",
    "MX": "BOXW310820HNERXN09",
    "MY": "770305-02-1234",
    "PK": "34201-0891231-8",
    "TH": "1-2345-45678-78-1",
    "US": "912-90-3456",
}
BY_WORDS = [
    ("AT", "Meine SVNR ist", "1237 010180"),
    ("AU", "Tax file number:", "123 456 782"),
    ("BE", "Rijksregisternummer", "85073003328"),
    ("BG", "ЕГН:", "8032056031"),
    ("BR", "CPF", "39053344705"),
    ("CA", "SIN:", "123 456 782"),
    ("CL", "RUT", "12531909-2"),
    ("DE", "Steuer-ID:", "36 574 261 809"),
    ("DE", "die Steueridentifikationsnummer lautet", "36574261809"),
    ("DK", "CPR-nr.", "211062-5629"),
    ("EE", "isikukood", "36805280109"),
    ("ES", "mi DNI es", "54362315K"),
    ("ES", "DNI", "54.362.315-K"),
    ("ES", "su NIE:", "X2482300W"),
    ("FR", "numéro de sécurité sociale :", "700107510811160"),
    ("GB", "my NHS number is", "943 476 5870"),
    ("GB", "National Insurance:", "AB123456C"),
    ("GR", "ΑΜΚΑ", "01013099997"),
    ("HR", "OIB:", "33392005961"),
    ("ID", "NIK", "3171011708450001"),
    ("IE", "PPSN", "6433435F"),
    ("IL", "מספר זהות", "039337423"),
    ("IN", "Aadhaar", "2341 2341 2346"),
    ("IS", "kennitala", "120174-3399"),
    ("JP", "マイナンバーは", "6214 9832 0257"),
    ("KR", "주민등록번호", "9710139019902"),
    ("LT", "asmens kodas", "33309240064"),
    ("LV", "personas kods", "161175-19997"),
    ("NL", "BSN", "111222333"),
    ("NO", "fødselsnummer", "151086 95088"),
    ("NZ", "IRD number", "49-091-850"),
    ("PL", "PESEL", "44051401359"),
    ("PT", "contribuinte, NIF", "501964843"),
    ("PT", "cartão de cidadão", "00000000 0 ZZ4"),
    ("RO", "CNP", "1630615123457"),
    ("SE", "personnummer", "880320-0016"),
    ("SK", "rodné číslo", "7103192745"),
    ("TH", "บัตรประชาชน", "3100600445635"),
    ("TR", "TC Kimlik No:", "17291716060"),
    ("UA", "РНОКПП", "1759013776"),
    ("ZA", "ID number", "7503305044089"),
]
# What other texts are full of. None of it is anybody's.
OTHERS = [
    "order 44051401359 was shipped as 36574261809",
    "invoice 880320-0016, part AB123456C, article 54362315K",
    "123456782 rows, 9434765870 bytes",
    "2026-11-24 10:11:12 2026/11/24 24.11.2026 20261124101112 2026-11-24T10:11:12.123456Z",
    "1732456789 and 1732456789123 and 1732456789123456",
    "550e8400-e29b-41d4-a716-446655440000 and 0123456789abcdef0123456789abcdef01234567",
    "versions 1.2.3, 10.20.30.400 and 2024.11.24.1 of 192.168.100.200:8080",
    "$12,345,678.90, 1.234.567,89 EUR, 1 234 567 kr",
    "ISBN 978-3-16-148410-0, EAN 4006381333931, tracking 1Z999AA10123456784, snowflake 175928847299117063",
    "ticket 1234-5678-9012, 3.14159265358979, lat 52.520008, lon 13.404954",
    "businesses sin midnight 123456782, the sin of 123456782",
]


@pytest.mark.parametrize(("country", "number"), BY_FORM.items())
def test_a_national_id_with_a_form_of_its_own_is_found_without_more_words(country: Any, number: str) -> None:
    assert "national_id" in found(f"It is {number}, she said.")
    assert "national_id" in found(f"It is {number}.", kinds=("national_id",), countries=(country,))
    assert not found(f"It is {number}x", kinds=("national_id",))


@pytest.mark.parametrize(("country", "words", "number"), BY_WORDS)
def test_a_national_id_that_could_be_any_number_is_found_by_a_word_near_it(
    country: Any, words: str, number: str
) -> None:
    only = {"kinds": ("national_id",), "countries": (country,)}
    assert found(f"{words} {number}.", **only) == {"national_id"}
    assert found(f"{number} ({words})", **only) == {"national_id"}
    assert found(f"Order {number}.", **only) == set()
    assert found(f"{words} {'and so on ' * 20} {number}", **only) == set()


@pytest.mark.parametrize(
    "text",
    [
        "PESEL 44051401358",
        "Steuer-ID 36574261890",
        "710319/2746",
        "131052-308U",
        "390.533.447-06",
        "2 95 10 99 126 111 99",
        "RCCMNL83S18D969A",
        "mi DNI es 54362315Z",
        "BG 12 34 56 C",
        "IBAN BE68 5390 0754 7035",
        "DE00370400440532013000",
        "ZZ89370400440532013000",
        "078-05-1120",
        "SSN 000456789",
    ],
)
def test_a_wrong_check_digit_makes_it_none(text: str) -> None:
    assert found(text) == set()


def test_every_country_has_an_example_here_and_a_judge_in_the_library() -> None:
    assert {*BY_FORM, *(country for country, _, _ in BY_WORDS)} == COUNTRIES
    for forms in (national_ids._DIGITS_FIRST, national_ids._LETTERS_FIRST):
        for _, numbers in forms.values():
            for number in numbers:
                assert not number.module or callable(import_module(f"stdnum.{number.module}").is_valid)


def test_only_the_countries_that_were_named_are_looked_for() -> None:
    text = "PESEL 44051401359 and 131052-308T"
    assert found(text, countries=("PL",)) == found(text, countries=("FI",)) == {"national_id"}
    assert found(text, countries=("DE", "US")) == set()


@pytest.mark.parametrize("text", OTHERS)
def test_what_other_texts_are_full_of_is_left_alone(text: str) -> None:
    assert found(text, regions=REGIONS) == set()
    assert redact(text, personal=True) == text


def test_added_lines_of_a_patch_are_no_telephone_numbers() -> None:
    assert found("@@ -1,7 +1,7 @@\n+1732456789\n+2024-11-24 10:11\n+20241124\n", regions=REGIONS) == set()


def test_of_numbers_without_a_word_near_them_hardly_any_is_taken_for_an_id() -> None:
    dice = random.Random(7)
    numbers = [str(dice.randrange(10 ** (size - 1), 10**size)) for size in range(7, 20) for _ in range(1000)]
    wrong = [number for number in numbers if found(f"Order {number}, paid.", kinds=("national_id", "ssn", "phone"))]
    assert len(wrong) <= 2


@pytest.mark.parametrize(
    "text", ['{"national_id": "44051401359"}', "nationalId=44051401359", "number of her ID card:\n44051401359"]
)
def test_a_name_of_a_field_is_a_word_near_too(text: str) -> None:
    assert found(text) == {"national_id"}


def test_a_number_of_social_security_without_hyphens_needs_its_word() -> None:
    assert found("SSN: 123456789") == found("social security 123 45 6789") == found("it is 123-45-6789") == {"ssn"}
    assert found("123456789 and 123 45 6789", kinds=("ssn",)) == set()


@pytest.mark.parametrize(
    "number",
    [
        *("+49 30 1234567", "+1 (212) 555-0123", "+1 555 123 4567", "0049 30 1234567", "+491712345678"),
        *("+7 912 345-67-89", "+91 98765 43210", "+33 6 12 34 56 78 or so", "+49 1512 3456789 12 34"),
        *("+86 138 0013 8000", "(212) 555-0123", "030 1234567"),
    ],
)
def test_a_telephone_number_with_its_country_or_in_usual_groups_is_found_anywhere(number: str) -> None:
    assert found(f"call {number}") == {"phone"}
    assert found(f"tel:{number}") == {"phone"}


@pytest.mark.parametrize("number", ["+999 12 345 678", "+1 23 456 789", "00123456789", "+1234567890123", "+49 12"])
def test_digits_that_no_country_would_give_out_are_no_telephone_number(number: str) -> None:
    assert found(f"call {number}") == set()


@pytest.mark.parametrize(
    ("region", "text"),
    [
        ("US", "call 2125550123"),
        ("US", "1 212 555 0123"),
        ("DE", "0171/234 5678"),
        ("DE", "Handy 01712345678"),
        ("ES", "612 34 56 78"),
        ("FR", "06.12.34.56.78"),
        ("DK", "32 12 34 56"),
    ],
)
def test_a_number_as_it_is_dialled_within_a_country_is_found_where_that_is_named(region: str, text: str) -> None:
    assert found(text, kinds=("phone",), regions=(region,)) == {"phone"}
    assert found(f"id {text.split()[-1].replace('.', '')}x", kinds=("phone",), regions=(region,)) == set()


def test_without_regions_and_without_a_word_near_it_a_run_of_digits_is_no_telephone_number() -> None:
    assert found("call 2125550123", kinds=("phone",)) == set()
    assert found("item 2125550123", kinds=("phone",), regions=("US",)) == set()


def test_numbers_are_found_as_word_processors_print_them() -> None:
    assert found("4111\u00a01111\u00a01111\u00a01111") == {"card"}
    assert found("it is 123\u201145\u20116789") == {"ssn"}
    assert found("+49\u202f30\u202f1234567") == {"phone"}


def test_a_text_of_nothing_but_wrong_numbers_does_not_pass_unseen() -> None:
    assert found("+999 12 345 678, " * 100) == set()
    assert found("+999 12 345 678, " * 1200) == {"phone"}
    assert found("PESEL 44051401358, " * 100, countries=("PL",)) == set()
    assert found("PESEL 44051401358, " * 2200, countries=("PL",)) == {"national_id"}


def test_what_is_kept_loses_national_ids_and_stays_json() -> None:
    document = {"pesel": 44051401359, "text": "SSN\n123456789", "card": "Card:\n4111 1111 1111 1111", "id": 44051401359}
    kept = redact(json.dumps(document), personal=True)
    assert json.loads(kept)["pesel"] == 0
    assert "44051401359" not in redact("PESEL 44051401359", personal=True)
    assert "123456789" not in kept
    assert "4111" not in kept


def test_a_number_of_a_place_that_the_library_has_no_name_for_is_none() -> None:
    assert found("318250435011082636") == set()


@given(
    st.text(max_size=200)
    | st.text(alphabet="0123456789 .-/+()ABDEXZ,:\u00a0", max_size=200)
    | st.from_regex(r"(?:ID card |PESEL |)[A-Z]{0,2}[0-9]{8,20}[A-Z]?", fullmatch=True)
    | st.from_regex(r"\+[1-9][0-9 ()-]{6,18}", fullmatch=True)
)
def test_any_text_is_searched(text: str) -> None:
    length = len(text.encode(errors="replace"))
    for match in Personal(PersonalOptions(regions=REGIONS)).search(text):
        assert length >= match.begins > match.left >= 0


def test_the_libraries_are_loaded_when_there_is_something_to_judge() -> None:
    code = """
import sys
import trunkline.cli
from trunkline.policy.guards.data import Personal
from trunkline.policy.guards.rules import PersonalOptions

def loaded():
    return sorted({name.split(".")[0] for name in sys.modules} & {"stdnum", "phonenumbers"})

check = Personal(PersonalOptions())
assert not [*check.search("Nothing of anybody, but 12 words of 2024.")]
assert loaded() == [], loaded()
assert {match.kind for match in check.search("4111 1111 1111 1111 and +49 30 1234567")} == {"card", "phone"}
assert loaded() == ["phonenumbers", "stdnum"], loaded()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"countries": ["XX"]}, "expected AR, AT"),
        ({"countries": []}, "countries"),
        ({"kinds": ["name"]}, "national_id"),
        ({"regions": ["DEU"]}, "such as US or DE"),
        ({"regions": ["US"] * 11}, "length <= 10"),
    ],
)
def test_a_wrong_option_is_refused_with_what_it_may_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match="guards") as refused:
        ControlRules().changed({"guards": [{"id": "pii", "check": "personal", "options": options}]})
    assert says in str(refused.value)
