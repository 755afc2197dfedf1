"""What of a secret may be seen, and by whom."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.credentials import PLACEMENTS, Carrier, fingerprint, redact_query, tail
from trunkline.credentials.redaction import REDACTED, Redactor, keys_in, redact, redact_key_shapes

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


# Texts of strangers

KEYS = [
    SECRET,
    "sk-ant-api03-AbCdEfGh1234-_x",
    "sk-****************cdef",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "gsk_abcdefgh12345678",
    "xai-abcdefgh12345678",
    "hf_abcdefghABCDEFGH12",
    "r8_abcdefghABCDEFGH12",
    "AKIAIOSFODNN7EXAMPLE",
    "ya29.a0AfH6SMBx1234567890",
    "ghp_abcdefghijklmnop1234",
    "github_pat_11ABCDEFG0abcdefghijkl",
    "xoxb-1234567890-abcdef",
    "tlk_0123456789abcdef0123456789abcdef",
    "ek_0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "text", ["{}", "Wrong key: {}.", '{{"message": "no: {}"}}', "a\\n{}", "\\u0022{}", "x%20{}", "k={}&b=1", "({})"]
)
def test_a_key_of_a_known_shape_is_found_wherever_it_stands(key: str, text: str) -> None:
    clean = redact(text.format(key))
    assert key not in clean
    assert REDACTED in clean


@pytest.mark.parametrize(
    "text",
    [
        "a key-value-store for risk-averse people, ask-me-anything, desk-bound sk-learners",
        "the bearer of bad news, token by token, basic questions",
        '{"token": "hello", "max_tokens": 7, "logprobs": [{"token": " a"}], "key": "Enter", "monkey": "x"}',
        '{"properties": {"password": {"type": "string"}, "api_key": null}, "required": ["api_key"]}',
        "commit 0123456789abcdef0123456789abcdef01234567",
        '{"a": "set key=", "b": "and secret:", "c": 1}',
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"api_key": "#"}',
        '{"apiKey" : "#"}',
        '{"X-API-Key":"#"}',
        '{"client_secret":"#"}',
        '{"openai_api_key":"#"}',
        '{"tool": "{\\"authorization\\": \\"#\\"}"}',
        '{"tool": "{\\"a\\": \\"{\\\\\\"password\\\\\\": \\\\\\"#\\\\\\"}\\"}"}',
        "{'password': '#'}",
        'api_key="#"',
        "x-api-key: #1",
        "Authorization: Bearer #1",
        "grant=x&client_secret=#1&more=2",
        '{"message": "sent Bearer #1 to them"}',
        "-----BEGIN RSA PRIVATE KEY-----\n#\n-----END RSA PRIVATE KEY-----",
        '{"k": "-----BEGIN PRIVATE KEY-----\\n#\\n-----END PRIVATE KEY-----\\n"}',
    ],
)
def test_what_is_named_as_a_secret_is_one(text: str) -> None:
    secret = "correct-horse-battery"
    assert secret not in redact(text.replace("#", secret))


def test_a_key_directly_behind_another_goes_with_it() -> None:
    """By itself it would be the end of a word; behind what was taken out it is a key."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    for text in (f"see AKIA0123456789ABCDEF{token} and", f"see known-secret{token}{token}"):
        clean = Redactor(["known-secret"]).redact(text.encode()).decode()
        assert keys_in(clean) == []
        assert keys_in(redact_key_shapes(text)) == []


@pytest.mark.parametrize("end", ["", "\n", "\\", "\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_breaks_off_within_json_leaves_it_json(end: str) -> None:
    document: Any = {"k": f"-----BEGIN PRIVATE KEY-----\nc2VjcmV0{end}", "l": 1}
    for _ in range(5):
        text = json.dumps(document)
        clean = redact(text)
        assert "c2VjcmV0" not in clean
        assert json.loads(clean).keys() == document.keys()
        document = {"arguments": text, "behind": [1]}


@pytest.mark.parametrize("secret", ['p/q+r s="tü\\', "0123456789", "plain-but-private"])
def test_a_known_secret_is_found_however_it_is_written(secret: str) -> None:
    raw = secret.encode()
    written = [
        raw,
        json.dumps(secret).encode(),
        json.dumps(json.dumps({"k": secret})).encode(),
        json.dumps({"k": secret}).replace("/", "\\/").encode(),
        quote(secret, safe="").encode(),
        quote_plus(secret).encode(),
        *(base64.b64encode(b"x" * before + raw + b"yyy") for before in range(4)),
        *(base64.urlsafe_b64encode(b"x" * before + raw + b"yyy") for before in range(4)),
    ]
    redactor = Redactor([secret])
    for text in written:
        assert REDACTED.encode() in redactor.redact(b"before " + text + b" behind"), text


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("write to jane.doe+x@mail.example.org today", "jane.doe"),
        ("call +49 (30) 123456-78 now", "123456"),
        ("call (555) 123-4567 now", "123-4567"),
        ("my card: 4111 1111 1111 1111.", "1111"),
        ('{"card": 4111111111111111}', "4111"),
        ("pay DE89 3704 0044 0532 0130 00 soon", "3704"),
        ("pay ES9121000418450200051332 paid", "2100"),
    ],
)
def test_personal_data_goes_where_that_is_asked_for(text: str, gone: str) -> None:
    assert redact(text) == text
    assert gone not in redact(text, personal=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"created": 1732456789, "big": 4111111111111112, "pi": 3.14159265358979323846}',
        "version 1.2.3, 2026-11-24 10:11:12, 192.168.100.200, 550e8400-e29b-41d4-a716-446655440000",
        "@decorator and a@b",
    ],
)
def test_other_numbers_are_no_personal_data(text: str) -> None:
    assert redact(text, personal=True) == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from([*KEYS, "api_key=", 'secret:"', "key='", "password=\\", "a@b.example", "4111111111111111"])
    | st.just(4111111111111111),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["api_key", "key", "password", "a", "x'"]) | st.text(max_size=5), inner, max_size=4
        )
        | inner.map(json.dumps)
    ),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_json_stays_json(document: Any, personal: bool) -> None:
    for text in (json.dumps(document), json.dumps(document, indent=1, ensure_ascii=False)):
        clean = Redactor([SECRET], personal=personal).redact(text.encode())
        json.loads(clean)
        assert SECRET.encode() not in clean


@given(st.binary() | st.text(alphabet="sk-_=:\"'\\ @.1AeyJ{}[],&%n", max_size=200).map(str.encode))
def test_any_bytes_are_read(text: bytes) -> None:
    redactor = Redactor([SECRET, "short"], personal=True)
    assert SECRET.encode() not in redactor.redact(text)


def test_a_text_without_secrets_is_the_same_object() -> None:
    text = b"nothing to see"
    assert Redactor([SECRET]).redact(text) is text
