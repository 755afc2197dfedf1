"""What of a secret may be seen, and by whom."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.credentials import PLACEMENTS, Carrier, fingerprint, redact_query, tail

SECRET = "sk-proj-0123456789abcdef"


def test_the_tail_is_the_last_four_characters_of_a_long_secret() -> None:
    assert tail(SECRET) == "cdef"


@pytest.mark.parametrize("secret", ["", "abcd", "fifteen-letters"])
def test_a_short_secret_has_no_tail_since_that_would_be_a_good_part_of_it(secret: str) -> None:
    assert tail(secret) == ""


def test_the_same_secret_has_the_same_fingerprint_and_another_has_another() -> None:
    assert fingerprint(SECRET) == fingerprint(SECRET)
    assert fingerprint(SECRET) != fingerprint(SECRET + "x")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=16))
def test_a_fingerprint_is_eight_hexadecimal_digits(secret: str) -> None:
    mark = fingerprint(secret)
    assert len(mark) == 8
    assert set(mark) <= set("0123456789abcdef")


@pytest.mark.parametrize("name", [place.name for place in PLACEMENTS if place.carrier is Carrier.QUERY])
def test_every_query_place_of_the_table_is_redacted(name: str) -> None:
    assert SECRET not in redact_query(f"model=m&{name}={SECRET}")


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "KEY",
        "apikey",
        "api-key",
        "xi-api-key",
        "access_token",
        "token",
        "client_secret",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "sig",
        "k%65y",
    ],
)
def test_a_parameter_whose_name_speaks_of_a_secret_is_redacted(name: str) -> None:
    redacted = redact_query(f"a=1&{name}={SECRET}&b=2")
    assert SECRET not in redacted
    assert [value for _, value in parse_qsl(redacted)] == ["1", "[redacted]", "2"]


@pytest.mark.parametrize("name", ["model", "keywords", "keyterm", "max_tokens", "monkey", "author", "intent"])
def test_other_parameters_stay_readable(name: str) -> None:
    assert redact_query(f"{name}=seen") == f"{name}=seen"


def test_nothing_stays_nothing() -> None:
    assert redact_query("") == ""


def test_a_parameter_without_a_value_keeps_its_name() -> None:
    assert redact_query("flag&model=m") == "flag=&model=m"


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_secret_is_redacted_whatever_stands_around_it(before: str, after: str) -> None:
    query = f"{quote(before)}&key={SECRET}&{quote(after)}"
    assert SECRET not in redact_query(query)


@given(st.text(max_size=100))
def test_any_text_is_redacted_without_an_error(query: str) -> None:
    try:
        query.encode()
    except UnicodeEncodeError:
        return
    redact_query(query)
