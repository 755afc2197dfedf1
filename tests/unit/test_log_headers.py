"""What a request says of its own log row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.logging import LoggingRules
from trunkline.wire.head import Head, Transport
from trunkline.wire.log_headers import LoggingWish, event_id_of, ignored_headers, logging_wish, metadata_of


def head(**headers: str) -> Head:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Head(Transport.HTTP, "POST", "/v1/local/default/openai/x", "", pairs)


def metadata(value: Any) -> Any:
    return metadata_of(head(cf_aig_metadata=value if isinstance(value, str) else json.dumps(value)))


def test_headers_that_are_ignored_are_named() -> None:
    good = head(cf_aig_collect_log="false", cf_aig_metadata='{"team": "a"}', cf_aig_event_id="e1")
    bad = head(
        cf_aig_collect_log="perhaps",
        cf_aig_collect_log_payload="2",
        cf_aig_metadata='{"team": {"name": "a"}}',
        cf_aig_event_id="\u00e4",
    )
    assert ignored_headers(good) == []
    assert sorted(ignored_headers(bad)) == [
        "cf-aig-collect-log",
        "cf-aig-collect-log-payload",
        "cf-aig-event-id",
        "cf-aig-metadata",
    ]


def test_texts_numbers_and_booleans_are_tags() -> None:
    told = {"team": "blue", "n": 3, "share": 0.5, "paid": False, "ü": "é"}
    assert metadata(told) == told


def test_the_first_five_tags_are_kept() -> None:
    assert list(metadata({f"t{number}": number for number in range(7)})) == ["t0", "t1", "t2", "t3", "t4"]


def test_reserved_tags_are_left_out_and_take_no_place() -> None:
    told = {"cf.user_id": "x", "CF.other": "y", **{f"t{number}": number for number in range(5)}}
    assert list(metadata(told)) == ["t0", "t1", "t2", "t3", "t4"]


@pytest.mark.parametrize(
    "value",
    ["", "null", "[]", '"text"', "{", '{"a": null}', '{"a": {}}', '{"a": [1], "b": "x"}', '{"a": NaN}', "x" * 9000],
)
def test_a_header_that_is_no_flat_object_is_ignored_as_a_whole(value: str) -> None:
    assert metadata(value) == {}


def test_long_names_and_values_are_cut_and_nul_is_left_out() -> None:
    assert metadata({"n" * 300: "v" * 3000, "a\0b": "c\0d"}) == {"n" * 100: "v" * 1000, "ab": "cd"}


def test_a_number_that_no_database_holds_becomes_a_text() -> None:
    assert metadata({"n": 10**40}) == {"n": str(10**40)}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_header_is_read_or_ignored(value: str) -> None:
    found = metadata(value)
    assert isinstance(found, dict)
    json.dumps(found)


@pytest.mark.parametrize(
    ("headers", "wish"),
    [
        ({}, LoggingWish(None, True)),
        ({"cf_aig_collect_log": "true"}, LoggingWish(True, True)),
        ({"cf_aig_collect_log": " FALSE "}, LoggingWish(False, False)),
        ({"cf_aig_collect_log_payload": "false"}, LoggingWish(None, False)),
        ({"cf_aig_collect_log": "false", "cf_aig_collect_log_payload": "true"}, LoggingWish(False, False)),
        ({"cf_aig_collect_log": "maybe", "cf_aig_collect_log_payload": "2"}, LoggingWish(None, True)),
    ],
)
def test_a_wish_is_read(headers: dict[str, str], wish: LoggingWish) -> None:
    assert logging_wish(head(**headers)) == wish


@pytest.mark.parametrize("collect", [True, False])
@pytest.mark.parametrize("payloads", [True, False])
@pytest.mark.parametrize("wish", [LoggingWish(c, p) for c in (None, True, False) for p in (True, False)])
def test_bodies_are_kept_only_beside_a_row_and_where_both_want_them(
    collect: bool, payloads: bool, wish: LoggingWish
) -> None:
    row, bodies = LoggingRules(collect=collect, payloads=payloads).keeps(*wish)
    assert row is (collect if wish.collect is None else wish.collect)
    assert bodies is (row and payloads and wish.payloads)


def test_an_event_id_is_cut_and_must_be_fit_to_print() -> None:
    assert event_id_of(head(cf_aig_event_id=" my-event ")) == "my-event"
    assert event_id_of(head(cf_aig_event_id="x" * 500)) == "x" * 200
    assert event_id_of(head(cf_aig_event_id="a\tb")) == ""
    assert event_id_of(head()) == ""
