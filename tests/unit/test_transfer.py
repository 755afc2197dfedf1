"""A row of an export as it is checked before it is written: whatever it is, it fits or its field is named."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import SettingsError
from trunkline.store import schema
from trunkline.store.transfer import Row, checked

KEY: dict[str, Any] = {
    "id": "key_1",
    "gateway": "default",
    "name": "app é",
    "digest": base64.b64encode(bytes(range(32))).decode(),
    "hint": "abcd",
    "scopes": ["run"],
    "models": [],
    "created_at": 1790000000,
    "expires_at": None,
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as refused:
        checked(schema.gateway_keys, Row("rows.jsonl:7", values))
    return str(refused.value)


def test_a_row_that_fits_is_taken_with_what_the_columns_want() -> None:
    taken = checked(schema.gateway_keys, Row("rows.jsonl:7", KEY))
    assert taken == KEY | {"digest": bytes(range(32)), "created_at": 1790000000.0}
    assert type(taken["created_at"]) is float
    assert "limits" not in taken  # older exports lack it, and the column has a default


@pytest.mark.parametrize(
    ("field", "bad", "said"),
    [
        ("created_at", "now", "the field created_at of gateway_keys is not a number but 'now'"),
        ("created_at", True, "the field created_at of gateway_keys is not a number but True"),
        ("created_at", float("nan"), "is not a number but nan"),
        ("name", "n" * 201, "the field name of gateway_keys has 201 characters, and at most 200 fit"),
        ("name", "a\0b", "is not text without NUL"),
        ("name", "\ud800", "is not text"),
        ("name", 5, "is not text without NUL but 5"),
        ("gateway", None, "the field gateway of gateway_keys is null, and must not be"),
        ("digest", "%%%", "the field digest of gateway_keys is not bytes in base64"),
        ("digest", 7, "is not bytes in base64"),
        ("mystery", 1, "gateway_keys has no field 'mystery'"),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_its_place(field: str, bad: object, said: str) -> None:
    told = refusal(KEY | {field: bad})
    assert told.startswith("rows.jsonl:7: ")
    assert said in told


def test_a_field_that_is_missing_is_named() -> None:
    told = refusal({name: value for name, value in KEY.items() if name != "hint"})
    assert told == "rows.jsonl:7: the field hint of gateway_keys is missing."


@pytest.mark.parametrize(("number", "fits"), [(2**15 - 1, True), (2**15, False), (-(2**15), True), (True, False)])
def test_a_whole_number_has_to_fit_its_column(number: int, fits: bool) -> None:
    row = Row("x:1", {"id": 1, "cube": number} | dict.fromkeys(_SERIES, "") | {"status": 200})
    if fits:
        assert checked(schema.analytics.rollup_series, row)["cube"] == number
    else:
        with pytest.raises(SettingsError, match="the field cube of rollup_series is not a whole number in range"):
            checked(schema.analytics.rollup_series, row)


_SERIES = ("gateway", "provider", "model", "key_id", "user", "name", "value")


@given(st.dictionaries(st.sampled_from([*KEY, "limits", "x"]), JSON_VALUES))
def test_whatever_a_row_holds_it_fits_or_is_refused(changes: dict[str, Any]) -> None:
    row = Row("rows.jsonl:7", KEY | changes)
    try:
        taken = checked(schema.gateway_keys, row)
    except SettingsError:
        return
    assert set(taken) == set(row.values)
