"""Queries of the log in every notation that programs use, and none that says something else than was meant."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cloudflare._qs import Querystring

from trunkline.errors import MalformedRequest
from trunkline.server.management.log_queries import log_filter, order_of

FILTERS: list[dict[str, Any]] = [
    {"key": "provider", "operator": "eq", "value": ["openai", "groq"]},
    {"key": "cost", "operator": "lt", "value": ["0.5"]},
    {"key": "cost", "operator": "gt", "value": ["0.1"]},
]
READ = [(one["key"], one["operator"], one["value"]) for one in FILTERS]


def conditions(parameters: list[tuple[str, str]]) -> list[Any]:
    return list(log_filter("default", parameters).conditions)


def test_filters_are_read_from_json() -> None:
    assert conditions([("filters", json.dumps(FILTERS))]) == READ
    assert conditions([("filters", json.dumps(FILTERS[0]))]) == READ[:1]
    with_null = [{"key": "feedback", "operator": "eq", "value": [None]}]
    assert conditions([("filters", json.dumps(with_null))]) == [("feedback", "eq", [None])]


NOTATIONS = [
    ("dots", "repeat"),
    ("dots", "indices"),
    ("brackets", "repeat"),
    ("brackets", "indices"),
    ("brackets", "brackets"),
]


@pytest.mark.parametrize(("nested", "array"), NOTATIONS)
@pytest.mark.parametrize(
    "parts", [("key", "operator", "value"), ("value", "operator", "key"), ("key", "value", "operator")]
)
def test_filters_are_read_as_cloudflares_clients_spread_them(nested: Any, array: Any, parts: tuple[str, ...]) -> None:
    sent = [{part: one[part] for part in parts} for one in FILTERS]
    query = Querystring(nested_format=nested, array_format=array).stringify({"filters": sent})
    assert conditions(parse_qsl(query)) == READ


def test_filters_that_come_kind_by_kind_are_paired_where_each_has_one_value() -> None:
    kinds = [
        ("filters.key", "provider"),
        ("filters.key", "cost"),
        ("filters.operator", "eq"),
        ("filters.operator", "lt"),
    ]
    paired = [*kinds, ("filters.value", "openai"), ("filters.value", "0.5")]
    assert conditions(paired) == [("provider", "eq", ["openai"]), ("cost", "lt", ["0.5"])]
    with pytest.raises(MalformedRequest, match="JSON array"):
        conditions([*paired, ("filters.value", "groq")])


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ([("filters", "provider")], "JSON"),
        ([("filters", "[" * 3000)], "JSON"),
        ([("filters", "[1]")], "object"),
        ([("filters", '[{"key": "provider", "operator": "eq", "value": "openai"}]')], "array"),
        ([("filters", '[{"key": "provider", "operator": "eq", "value": []}]')], "array"),
        ([("filters", '[{"key": "provider", "operator": "is", "value": ["x"]}]')], "eq, neq"),
        ([("filters", '[{"key": "provider", "operator": "eq", "value": ["x"], "or": 1}]')], "'or'"),
        ([("filters", "[]"), ("filters", "[]")], "once"),
        ([("filters", "[]"), ("filters[key]", "provider")], "one notation"),
        ([("filters.key", "provider"), ("filters.operator", "eq")], "array"),
        ([("filters.value", "x")], "needs a key"),
        ([("filters.name", "x")], "filters.name"),
        ([("filters[0][key]", "a"), ("filters[0][key]", "b")], "twice"),
        ([("min_cost", "cheap")], "min_cost"),
        ([("max_cost", "nan")], "max_cost"),
        ([("feedback", "good")], "feedback"),
        ([("provder", "openai")], "provder"),
    ],
)
def test_a_query_that_says_nothing_is_refused(parameters: list[tuple[str, str]], fault: str) -> None:
    with pytest.raises(MalformedRequest, match=fault.replace("[", r"\[")):
        log_filter("default", parameters)


def test_the_bounds_of_a_range_are_within_it() -> None:
    (low,), (high,) = (conditions([(name, "0.5")]) for name in ("min_cost", "max_cost"))
    assert low[:2] == ("cost", "gt")
    assert high[:2] == ("cost", "lt")
    assert low[2][0] < 0.5 < high[2][0]


def test_orders_are_newest_first_unless_told_otherwise() -> None:
    assert order_of([]) == ("created_at", True)
    assert order_of([("order_by", "cost"), ("order_by_direction", "asc")]) == ("cost", False)
    assert order_of([("direction", "asc")]) == ("created_at", False)
    with pytest.raises(MalformedRequest, match="asc or desc"):
        order_of([("order_by_direction", "up")])
