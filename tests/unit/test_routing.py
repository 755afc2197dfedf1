"""The way of a request through a dynamic route: where it goes, why, and what it comes back with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from trunkline.errors import GatewayError, LimitReached, NotPermitted, RouteEnded, SettingsError, UpstreamTimeout
from trunkline.policy.facts import Facts
from trunkline.policy.limits import LimitRule
from trunkline.policy.routes import DeployedRoute
from trunkline.policy.routing import AskModel, Ended, TakeQuota, Walk, matches, simulate, simulated_facts
from trunkline.server.answer import Answer
from trunkline.server.routing import RoutePlan

FACTS = Facts("default", "", "dynamic/r", kind="chat", key="key_1", user="ada", metadata={"plan": "free", "tier": 2})
Elements = list[dict[str, Any]]


def start(to: str) -> dict[str, Any]:
    return {"id": "in", "type": "start", "outputs": {"next": {"elementId": to}}}


def end(id: str = "out") -> dict[str, Any]:
    return {"id": id, "type": "end", "outputs": {}}


def element(id: str, kind: str, outputs: Mapping[str, str], **properties: Any) -> dict[str, Any]:
    there = {name: {"elementId": to} for name, to in outputs.items()}
    return {"id": id, "type": kind, "outputs": there, **({"properties": properties} if properties else {})}


def model(id: str, fallback: str = "", success: str = "out", **properties: Any) -> dict[str, Any]:
    outputs = {"success": success, **({"fallback": fallback} if fallback else {})}
    return element(id, "model", outputs, **{"provider": "openai", "model": f"gpt-{id}", **properties})


def route(*elements: dict[str, Any]) -> DeployedRoute:
    return DeployedRoute.of("route-1", "v1", "r", elements)


def never() -> float:
    raise AssertionError("nothing here is by chance")


def walk(deployed: DeployedRoute, facts: Facts = FACTS, **body: Any) -> Walk:
    return Walk(deployed, facts, body, never)


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({}, True),
        ({"metadata.plan": "free"}, True),
        ({"metadata.plan": {"$eq": "paid"}}, False),
        ({"metadata.plan": {"$ne": "paid"}}, True),
        ({"metadata.plan": {"$in": ["trial", "free"]}}, True),
        ({"metadata.plan": {"$nin": ["trial", "free"]}}, False),
        ({"metadata.tier": {"$gt": 1, "$lte": 2}}, True),
        ({"metadata.tier": {"$gt": 2}}, False),
        ({"metadata.tier": {"$lt": 2}}, False),
        ({"metadata.tier": {"$gte": 2.0}}, True),
        # Of another type: neither equal nor in an order.
        ({"metadata.tier": "2"}, False),
        ({"metadata.tier": {"$gt": "1"}}, False),
        ({"stream": 0}, False),
        ({"stream": False}, True),
        # What is absent.
        ({"metadata.team": "a"}, False),
        ({"metadata.team": {"$gt": 0}}, False),
        ({"metadata.team": {"$ne": "a"}}, True),
        ({"metadata.team": {"$nin": ["a"]}}, True),
        ({"metadata.team": None}, True),
        ({"metadata.plan": {"$ne": None}}, True),
        ({"metadata.team": {"$ne": None}}, False),
        # All that is known of the caller, and of the body.
        ({"model": "dynamic/r", "user": "ada", "key": "key_1", "kind": "chat"}, True),
        ({"body.max_tokens": {"$lt": 100}}, True),
        ({"max_tokens": {"$lt": 10}}, False),
        ({"body.response_format.type": "json"}, True),
        ({"body.response_format.schema": {"$ne": None}}, False),
        ({"body.messages.role": "system"}, True),
        ({"body.messages.0.role": "system"}, True),
        ({"body.messages.1.role": "system"}, False),
        ({"body.messages.7.role": "system"}, False),
        ({"body.messages.role": {"$ne": "tool"}}, True),
        ({"body.stop": {"$in": ["b"]}}, True),
        ({"body.max_tokens.deeper": 1}, False),
        # Together.
        ({"metadata.plan": "free", "metadata.tier": 3}, False),
        ({"$and": [{"metadata.plan": "free"}, {"metadata.tier": 2}]}, True),
        ({"$or": [{"metadata.plan": "paid"}, {"$and": [{"metadata.tier": 2}, {"user": "ada"}]}]}, True),
        ({"$or": [{"metadata.plan": "paid"}, {"metadata.tier": 3}]}, False),
    ],
)
def test_conditions_hold_of_a_request_as_they_would_of_a_document(conditions: dict[str, Any], holds: bool) -> None:
    body = {
        "max_tokens": 50,
        "response_format": {"type": "json"},
        "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}],
        "stop": ["a", "b"],
    }
    assert matches(conditions, FACTS, body) is holds


def test_a_tag_whose_name_has_a_dot_is_found_by_it() -> None:
    facts = Facts("default", "", "m", metadata={"a.b": 1})
    assert matches({"metadata.a.b": 1}, facts, {})


def test_a_condition_goes_on_at_true_or_false_and_says_what_it_saw() -> None:
    deployed = route(
        start("paid?"),
        element("paid?", "conditional", {"true": "a", "false": "b"}, conditions={"metadata.plan": "paid", "user": "x"}),
        model("a"),
        model("b"),
        end(),
    )
    step = (way := walk(deployed)).next()
    assert isinstance(step, AskModel)
    assert step.element == "b"
    looked = way.trace[-1]
    assert (looked.element, looked.output) == ("paid?", "false")
    assert looked.looked_at == 'metadata.plan is "free", user is "ada"'


@pytest.mark.parametrize("spelling", ["condition", "conditions"])
def test_conditions_count_under_both_of_their_names(spelling: str) -> None:
    choice = element("c", "conditional", {"true": "a", "false": "b"}, **{spelling: {"metadata.plan": "paid"}})
    step = walk(route(start("c"), choice, model("a"), model("b"), end())).next()
    assert step.element == "b"


def test_under_either_name_they_are_checked() -> None:
    choice = element("c", "conditional", {"true": "out", "false": "out"}, condition={"$where": "1"})
    with pytest.raises(SettingsError, match=r"\$where"):
        route(start("c"), choice, end())


@pytest.mark.parametrize(
    ("drawn", "chosen"), [(0.0, "a"), (0.0999, "a"), (0.1, "b"), (0.3999, "b"), (0.4, "c"), (0.999999, "c")]
)
def test_shares_divide_what_is_drawn(drawn: float, chosen: str) -> None:
    shares = element("s", "percentage", {"10%": "a", "30%": "b", "60%": "c"})
    deployed = route(start("s"), shares, model("a"), model("b"), model("c"), end())
    assert Walk(deployed, FACTS, {}, lambda: drawn).next().element == chosen


def test_shares_that_fall_short_by_a_rounding_leave_nobody_out() -> None:
    shares = element("s", "percentage", {"33.3333%": "a", "66.6662%": "b"})
    assert Walk(route(start("s"), shares, model("a"), model("b"), end()), FACTS, {}, lambda: 0.9999999).next()


def test_a_model_that_fails_is_followed_by_its_fallback_and_the_end_knows_who_answered() -> None:
    deployed = route(start("a"), model("a", "b", timeout=1500.5, retries=2), model("b"), end())
    way = walk(deployed)
    assert way.next() == AskModel("a", "openai", "gpt-a", 1501, 2, 0)
    assert way.next() == way.next()
    way.tell(False, "it answered 503")
    assert way.next() == AskModel("b", "openai", "gpt-b", 0, 0, 1)
    way.tell(True)
    assert way.next() == Ended("out")
    assert way.answered is not None
    assert way.answered.element == "b"
    assert [(line.element, line.output, line.why) for line in way.trace] == [
        ("in", "next", ""),
        ("a", "fallback", "it answered 503"),
        ("b", "success", ""),
        ("out", None, ""),
    ]


def test_where_there_is_no_fallback_the_way_ends() -> None:
    way = walk(route(start("a"), model("a"), end()))
    way.next()
    way.tell(False, "it is down")
    assert way.next() == Ended("a")
    assert way.trace[-1].output is None


def test_nothing_can_be_told_of_a_way_that_has_ended() -> None:
    way = walk(route(start("out"), end()))
    assert way.next() == Ended("out")
    with pytest.raises(ValueError, match="no step"):
        way.tell(True)


def quota(**properties: Any) -> dict[str, Any]:
    told = {"key": "metadata.plan", "limit": 5, "limitType": "count", "window": 60, **properties}
    return element("q", "rate", {"success": "a", "fallback": "b"}, **told)


def taken(deployed: DeployedRoute, facts: Facts = FACTS, **body: Any) -> TakeQuota:
    step = walk(deployed, facts, **body).next()
    assert isinstance(step, TakeQuota)
    return step


def with_quota(**properties: Any) -> DeployedRoute:
    return route(start("q"), quota(**properties), model("a"), model("b"), end())


def test_a_quota_is_a_rule_that_counts_for_each_value_of_its_key() -> None:
    step = taken(with_quota())
    assert step.value == "free"
    assert step.rule == LimitRule(
        id="route.route-1.q", measure="requests", limit=5.0, window=60, per=("metadata.plan",)
    )
    money = taken(with_quota(limitType="cost", limit=0.5, window=0.2)).rule
    assert (money.measure, money.limit, money.window) == ("cost", 0.5, 1)


def test_a_key_that_no_rule_knows_has_a_rule_for_each_of_its_values() -> None:
    first, second = (taken(with_quota(key="body.session"), session=name).rule for name in ("x", "y"))
    assert first.per == ()
    assert first.id != second.id
    assert first.id == taken(with_quota(key="body.session"), session="x").rule.id


def test_the_id_of_a_rule_is_one_whatever_an_element_is_called() -> None:
    for name in ("a b", "x" * 100, "ü"):
        renamed = [{**one, "id": name} if one["id"] == "q" else one for one in [quota()]]
        way = walk(DeployedRoute.of("0" * 36, "v", "r", [start(name), *renamed, model("a"), model("b"), end()]))
        step = way.next()
        assert isinstance(step, TakeQuota)
        assert len(step.rule.id) <= 64
        assert step.rule.id.isascii()


def test_a_simulation_asks_nobody_and_ends_as_a_request_would() -> None:
    deployed = route(start("q"), quota(), model("a", "b"), model("b"), end())
    good = simulate(deployed, FACTS, {}, {}, 0.5).result
    assert (good.answered, good.element, good.step) == (True, "a", 0)
    fallen = simulate(deployed, FACTS, {}, {"a": "failure"}, 0.5).result
    assert (fallen.element, fallen.model, fallen.step) == ("b", "gpt-b", 1)
    nobody = simulate(deployed, FACTS, {}, {"q": "failure", "b": "failure"}, 0.5)
    assert not nobody.result.answered
    assert [line.element for line in nobody.trace] == ["in", "q", "b"]


def test_a_simulation_refuses_an_outcome_of_what_has_none() -> None:
    with pytest.raises(SettingsError, match="no model or quota 'in'"):
        simulate(route(start("a"), model("a"), end()), FACTS, {}, {"in": "failure"}, 0.5)


def test_a_simulation_knows_what_the_body_says() -> None:
    facts = simulated_facts("default", "r", {"stream": True, "user": "bob"}, {"plan": "free"})
    assert (facts.model, facts.stream, facts.user) == ("dynamic/r", True, "bob")
    assert simulated_facts("default", "r", {"user": ["x"]}, {}, user="eve").user == "eve"


# Carrying it out


@dataclass
class Provider:
    """What models answer by their names: a status, or an error of the gateway's; and what became of the answers."""

    answers: Mapping[str, int | GatewayError]
    asked: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    async def ask(self, step: AskModel) -> Answer:
        self.asked.append(step.model)
        given = self.answers[step.model]
        if isinstance(given, GatewayError):
            raise given

        async def body() -> AsyncIterator[bytes]:
            yield step.model.encode()

        async def close() -> None:
            self.closed.append(step.model)

        return Answer(given, [], body(), close, [(b"cf-aig-step", b"9"), (b"x-else", b"1")])


async def left(step: TakeQuota) -> bool:
    return True


async def used_up(step: TakeQuota) -> bool:
    return False


def carried_out(deployed: DeployedRoute, provider: Provider, take: Callable[[TakeQuota], Any] = left) -> Answer:
    return asyncio.run(RoutePlan(deployed, FACTS, {}, never).run(provider.ask, take))


TWO = (start("a"), model("a", "b"), model("b", provider="anthropic"), end())


def test_the_first_model_that_answers_is_named_in_the_answer() -> None:
    provider = Provider({"gpt-a": 500, "gpt-b": 200})
    answer = carried_out(route(*TWO), provider)
    assert answer.status == 200
    assert dict(answer.told) == {
        b"cf-aig-model": b"gpt-b",
        b"cf-aig-provider": b"anthropic",
        b"cf-aig-step": b"1",
        b"x-else": b"1",
    }
    assert provider.closed == ["gpt-a"]


def test_a_redirect_is_an_answer_and_any_refusal_is_none() -> None:
    assert carried_out(route(*TWO), Provider({"gpt-a": 302})).status == 302
    provider = Provider({"gpt-a": 400, "gpt-b": 201})
    assert carried_out(route(*TWO), provider).status == 201


def test_where_every_model_fails_the_last_ones_own_words_are_returned() -> None:
    provider = Provider({"gpt-a": UpstreamTimeout("Too slow."), "gpt-b": 429})
    answer = carried_out(route(*TWO), provider)
    assert answer.status == 429
    assert provider.closed == []


def test_where_there_is_no_answer_the_error_says_what_became_of_each() -> None:
    provider = Provider({"gpt-a": 503, "gpt-b": UpstreamTimeout("Too slow.\nSecond line.")})
    with pytest.raises(RouteEnded) as ended:
        carried_out(route(*TWO), provider)
    assert "a (openai/gpt-a): it answered 503; b (anthropic/gpt-b): Too slow.." in str(ended.value)
    assert provider.closed == ["gpt-a"]


def test_what_the_gateway_itself_refuses_at_last_stays_what_it_is() -> None:
    provider = Provider({"gpt-a": 503, "gpt-b": NotPermitted("Not for this key.")})
    with pytest.raises(NotPermitted):
        carried_out(route(*TWO), provider)


def test_a_quota_that_is_used_up_leads_to_the_fallback() -> None:
    provider = Provider({"gpt-a": 200, "gpt-b": 200})
    assert carried_out(with_quota(), provider, used_up).status == 200
    assert provider.asked == ["gpt-b"]


def test_a_quota_without_a_fallback_ends_the_way_with_429() -> None:
    one = quota()
    del one["outputs"]["fallback"]
    deployed = route(start("q"), one, model("a"), end())
    with pytest.raises(LimitReached) as ended:
        carried_out(deployed, Provider({}), used_up)
    assert (ended.value.status, ended.value.retry_after) == (429, 60)

    async def refused(step: TakeQuota) -> bool:
        raise LimitReached("Five requests in a minute.", retry_after=7)

    with pytest.raises(LimitReached) as ended:
        carried_out(deployed, Provider({}), refused)
    assert ended.value.retry_after == 7


def test_a_way_without_a_model_ends_in_an_error() -> None:
    with pytest.raises(RouteEnded, match="No model is on the way"):
        carried_out(route(start("out"), end()), Provider({}))


def test_an_answer_that_is_followed_by_another_model_is_kept_until_that_does_well() -> None:
    deployed = route(start("a"), model("a", success="b"), model("b", "out"), end())
    replaced = Provider({"gpt-a": 200, "gpt-b": 200})
    assert dict(carried_out(deployed, replaced).told)[b"cf-aig-model"] == b"gpt-b"
    assert replaced.closed == ["gpt-a"]
    kept = Provider({"gpt-a": 200, "gpt-b": 500})
    assert dict(carried_out(deployed, kept).told)[b"cf-aig-model"] == b"gpt-a"
    assert kept.closed == ["gpt-b"]


def test_whoever_goes_away_in_between_leaves_nothing_open() -> None:
    class GoneError(Exception):
        pass

    provider = Provider({"gpt-a": 200, "gpt-b": 200})

    async def ask(step: AskModel) -> Answer:
        if step.element == "b":
            raise GoneError
        return await provider.ask(step)

    deployed = route(start("a"), model("a", success="b"), model("b"), end())
    with pytest.raises(GoneError):
        asyncio.run(RoutePlan(deployed, FACTS, {}, never).run(ask, left))
    assert provider.closed == ["gpt-a"]


def test_a_model_name_that_no_header_can_hold_is_no_name() -> None:
    with pytest.raises(SettingsError, match="model"):
        route(start("a"), model("a", model="gpt\r\nx-evil: 1"), end())


def test_a_quota_of_requests_counts_whole_ones() -> None:
    with pytest.raises(SettingsError, match="whole number of requests"):
        with_quota(limit=0.5)


def test_halves_of_characters_in_a_body_do_no_harm() -> None:
    body = json.loads('{"session": "\\ud800"}')
    step = taken(with_quota(key="body.session"), **body)
    assert step.rule.id
    choice = element("c", "conditional", {"true": "a", "false": "b"}, conditions={"body.session": "x"})
    way = walk(route(start("c"), choice, model("a"), model("b"), end()), **body)
    way.next()
    assert way.trace[-1].looked_at.encode()
