"""The graph of a dynamic route: what is one, and what is wrong with those that are none."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.errors import SettingsError
from trunkline.policy.routes import Model, Start, parse_route

PROVIDERS = {"openai"}


def start(to: str = "out") -> dict[str, Any]:
    return {"id": "in", "type": "start", "outputs": {"next": {"elementId": to}}}


def end(id: str = "out") -> dict[str, Any]:
    return {"id": id, "type": "end", "outputs": {}}


def element(kind: str, outputs: dict[str, str], **properties: Any) -> dict[str, Any]:
    there = {name: {"elementId": to} for name, to in outputs.items()}
    return {"id": "x", "type": kind, "outputs": there, **({"properties": properties} if properties else {})}


def route(middle: dict[str, Any]) -> list[dict[str, Any]]:
    return [start("x"), middle, end()]


MODEL = {"provider": "openai", "model": "gpt-4o", "timeout": 1000, "retries": 2}


def test_a_route_is_read_into_its_elements() -> None:
    first, second, _ = parse_route(route(element("model", {"success": "out"}, **MODEL)), PROVIDERS)
    assert isinstance(first, Start)
    assert first.outputs["next"].element_id == "x"
    assert isinstance(second, Model)
    assert second.properties.model == "gpt-4o"


@pytest.mark.parametrize(
    "middle",
    [
        element("model", {"success": "out", "fallback": "out"}, **MODEL),
        element("conditional", {"true": "out", "false": "out"}, conditions={"metadata.plan": "free"}),
        element(
            "conditional",
            {"true": "out", "false": "out"},
            conditions={"$or": [{"metadata.a": {"$in": [1, 2]}}, {"$and": [{"b": {"$ne": None, "$lt": 3}}]}]},
        ),
        element("percentage", {"33.3%": "out", "66.7%": "out"}),
        element("rate", {"success": "out"}, key="metadata.user", limit=5, limitType="cost", window=60),
    ],
)
def test_every_kind_of_element_has_its_place(middle: dict[str, Any]) -> None:
    assert len(parse_route(route(middle), PROVIDERS)) == 3


@pytest.mark.parametrize(
    ("elements", "fault"),
    [
        ([], "one element of the type 'start', not 0"),
        ([end()], "one element of the type 'start', not 0"),
        ([start(), start(), end()], "two of them have the id 'in'"),
        ([start("nowhere"), end()], "leads to 'nowhere'"),
        ([start(), end(), end("island")], "no way leads to 'island'"),
        ([{"id": "in", "type": "start", "outputs": {}}, end()], "outputs of 'in' are next"),
        ([{"id": "in", "type": "begin", "outputs": {}}], "elements: "),
        ([{"type": "start"}], "elements: "),
        (route(element("model", {"success": "out"}, **{**MODEL, "provider": "nobody"})), "no provider: 'nobody'"),
        (
            route(element("model", {"success": "out", "failure": "out"}, **MODEL)),
            "outputs of 'x' are fallback, success",
        ),
        (route(element("model", {"success": "x"}, **MODEL)), "leads back"),
        (route(element("model", {"success": "in"}, **MODEL)), "leads back"),
        (route(element("percentage", {"10%": "out", "80%": "out"})), "make 100 %"),
        (route(element("percentage", {"all": "out"})), "make 100 %"),
        (route(element("percentage", {})), "make 100 %"),
        (route(element("conditional", {"true": "out"}, conditions={})), "outputs of 'x' are false, true"),
        (route(element("conditional", {"true": "out", "false": "out"}, conditions={"$where": "1"})), "'$where'"),
        (route(element("conditional", {"true": "out", "false": "out"}, conditions={"a": {"$regex": ""}})), "'$regex'"),
        (route(element("conditional", {"true": "out", "false": "out"}, conditions={"a": {"$in": 1}})), "an array"),
        (route(element("conditional", {"true": "out", "false": "out"}, conditions={"$or": []})), "an array"),
        (route(element("rate", {"success": "out"}, key="k", limit=0, limitType="count", window=1)), "elements: "),
    ],
)
def test_what_is_no_route_is_refused_with_the_element_at_fault(elements: list[dict[str, Any]], fault: str) -> None:
    with pytest.raises(SettingsError, match=r"^elements: ") as refused:
        parse_route(elements, PROVIDERS)
    assert fault in str(refused.value)


def test_conditions_that_are_nested_without_end_are_refused() -> None:
    conditions: dict[str, Any] = {"a": 1}
    for _ in range(100):
        conditions = {"$and": [conditions]}
    with pytest.raises(SettingsError, match="deep"):
        parse_route(route(element("conditional", {"true": "out", "false": "out"}, conditions=conditions)), PROVIDERS)


def test_many_ways_to_one_end_are_walked_once() -> None:
    ladder = [start("0a")]
    for step in range(60):
        for side in "ab":
            to = {"true": f"{step + 1}a", "false": f"{step + 1}b"} if step < 59 else {"true": "out", "false": "out"}
            ladder.append({**element("conditional", to, conditions={}), "id": f"{step}{side}"})
    reached = [one for one in ladder if one["id"] != "0b"]
    assert len(parse_route([*reached, end()], PROVIDERS)) == 121
