"""How often a provider is asked, how long is waited, and which of several keys is shown."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import MalformedRequest, SettingsError
from trunkline.policy.attempts import (
    AttemptRules,
    Backoff,
    Member,
    Pool,
    attempt_rules,
    delay_ms,
    is_hedgeable,
    is_retryable,
    is_to_be_repeated,
    seconds_said,
)
from trunkline.policy.balancing import (
    Standing,
    backend_of,
    choose,
    may_be_repeated,
    path_at,
    pool_for,
    with_model,
)
from trunkline.policy.control import ControlRules
from trunkline.policy.usage import kind_of
from trunkline.providers import Catalogue
from trunkline.wire.head import Head, Transport

CATALOGUE = Catalogue.build({"custom-mine": {"base_url": "https://mine.example/v1"}})


def provider(name: str) -> Any:
    found = CATALOGUE.find(name)
    assert found is not None
    return found


def head(**headers: str) -> Head:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Head(Transport.HTTP, "POST", "/v1/a/g/openai/chat/completions", "", named)


# What headers say


def test_headers_stand_over_the_gateways_rules_each_for_itself() -> None:
    rules = AttemptRules(max_attempts=2, delay=100, breaker=7)
    assert attempt_rules(head(), rules) is rules
    said = attempt_rules(head(cf_aig_max_attempts=" 5 ", cf_aig_backoff="Exponential"), rules)
    assert said == AttemptRules(max_attempts=5, delay=100, breaker=7, backoff="exponential")
    said = attempt_rules(head(cf_aig_request_timeout="600000", cf_aig_retry_delay="0"), rules)
    assert said == AttemptRules(max_attempts=2, delay=0, breaker=7, timeout=600_000)


@pytest.mark.parametrize(
    ("name", "value", "fault", "allowed"),
    [
        ("cf-aig-max-attempts", "0", "out of range", "from 1 to 5."),
        ("cf-aig-max-attempts", "6", "out of range", "from 1 to 5."),
        ("cf-aig-max-attempts", "many", "no whole number", "from 1 to 5."),
        ("cf-aig-max-attempts", "²", "no whole number", "from 1 to 5."),
        ("cf-aig-max-attempts", "", "empty", "from 1 to 5."),
        ("cf-aig-request-timeout", "0", "out of range", "from 1 to 600000 milliseconds."),
        ("cf-aig-request-timeout", "600001", "out of range", "from 1 to 600000 milliseconds."),
        ("cf-aig-request-timeout", "1.5", "no whole number", "from 1 to 600000 milliseconds."),
        ("cf-aig-request-timeout", "9" * 5000, "out of range", "from 1 to 600000 milliseconds."),
        ("cf-aig-retry-delay", "-1", "no whole number", "from 0 to 60000 milliseconds."),
        ("cf-aig-retry-delay", "60001", "out of range", "from 0 to 60000 milliseconds."),
        ("cf-aig-backoff", "quadratic", "'quadratic'", "constant, linear and exponential."),
    ],
)
def test_a_wrong_header_is_refused_with_its_name_its_fault_and_the_range(
    name: str, value: str, fault: str, allowed: str
) -> None:
    with pytest.raises(MalformedRequest) as refused:
        attempt_rules(head(**{name.replace("-", "_"): value}), AttemptRules())
    assert name in refused.value.message
    assert fault in refused.value.message
    assert refused.value.message.endswith(allowed)
    assert len(refused.value.message) < 250


@given(st.text())
def test_any_text_in_a_header_is_a_number_in_range_or_refused(value: str) -> None:
    try:
        said = attempt_rules(
            Head(Transport.HTTP, "POST", "/", "", [(b"cf-aig-max-attempts", value.encode("latin-1", "replace"))]),
            AttemptRules(),
        )
    except MalformedRequest:
        return
    assert 1 <= said.max_attempts <= 5


@pytest.mark.parametrize(
    ("attempts", "field"),
    [
        ({"max_attempts": 6}, "max_attempts"),
        ({"rest": 0}, "rest"),
        ({"pools": [{"provider": "openai", "members": []}]}, "members"),
        ({"pools": [{"provider": "openai", "members": [{"alias": "a", "weight": 0}]}]}, "weight"),
        ({"pools": [{"provider": "openai", "members": [{"path": "a/../b"}]}]}, "path"),
        ({"pools": [{"provider": "openai", "members": [{"path": "/a"}]}]}, "path"),
    ],
)
def test_a_gateways_wrong_rule_is_refused_with_its_field(attempts: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingsError, match=field):
        ControlRules().changed({"attempts": attempts})


# How long is waited


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [("constant", [100, 100, 100, 100]), ("linear", [100, 200, 300, 400]), ("exponential", [100, 200, 400, 800])],
)
def test_the_delay_grows_as_the_backoff_says(backoff: Backoff, delays: list[float]) -> None:
    rules = AttemptRules(delay=100, backoff=backoff)
    assert [delay_ms(rules, attempt, 0.5, None) for attempt in range(1, 5)] == delays


def test_a_quarter_of_the_delay_is_left_to_chance() -> None:
    rules = AttemptRules(delay=1000)
    assert delay_ms(rules, 1, 0.0, None) == 750
    assert delay_ms(rules, 1, 1.0, None) == 1250


def test_a_provider_that_says_when_to_come_back_is_not_asked_earlier() -> None:
    rules = AttemptRules(delay=100)
    assert delay_ms(rules, 1, 1.0, 2.5) == 2500
    assert delay_ms(rules, 1, 0.5, 0.01) == 100
    assert delay_ms(AttemptRules(), 1, 0.5, None) == 0


def test_nobody_waits_for_longer_than_a_minute() -> None:
    rules = AttemptRules(delay=60_000, backoff="exponential")
    assert delay_ms(rules, 4, 1.0, None) == 60_000
    assert delay_ms(rules, 1, 0.0, 60.0) == 60_000
    assert delay_ms(rules, 1, 0.0, 60.1) == math.inf


def test_a_pause_is_read_in_seconds_and_in_milliseconds() -> None:
    assert seconds_said({b"retry-after": "7"}) == 7
    assert seconds_said({b"retry-after": " 0.5 "}) == 0.5
    assert seconds_said({b"retry-after": "7", b"retry-after-ms": "250"}) == 0.25
    for nonsense in ("", ".", "-3", "soon", "1e9", "٣", "1.2.3", "9" * 400, "Fri, 31 Dec 1999 23:59:59 GMT"):
        assert seconds_said({b"retry-after": nonsense}) is None


# What is repeated


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 522, 529])
def test_what_may_go_better_is_repeated(status: int) -> None:
    assert is_retryable(status)


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 404, 413, 422, 501, 505])
def test_what_will_be_the_same_again_is_not(status: int) -> None:
    assert not is_retryable(status)


def test_a_provider_may_say_itself_whether_to_come_back() -> None:
    assert is_to_be_repeated(400, {b"x-should-retry": "true"})
    assert not is_to_be_repeated(429, {b"x-should-retry": "false"})
    assert is_to_be_repeated(429, {b"x-should-retry": "maybe"})
    assert not is_to_be_repeated(200, {b"x-should-retry": "true"})


@pytest.mark.parametrize(
    ("path", "body", "may"),
    [
        ("v1/chat/completions", {"model": "m"}, True),
        ("v1/chat/completions", {"model": "m", "store": False}, True),
        ("v1/chat/completions", {"model": "m", "store": True}, False),
        ("v1/chat/completions", {"model": "m", "store": "perhaps"}, False),
        ("v1/embeddings", {"model": "m"}, True),
        ("v1/responses", {"model": "m"}, False),
        ("v1/responses", {"model": "m", "store": False}, True),
        ("v1beta/interactions", {"model": "m"}, False),
        ("v1/images/generations", {"model": "m"}, False),
        ("v1/files", {}, False),
    ],
)
def test_only_what_leaves_nothing_behind_is_asked_twice_at_once(path: str, body: dict[str, Any], may: bool) -> None:
    assert is_hedgeable("POST", kind_of(path), path, json.dumps(body).encode()) is may
    assert not is_hedgeable("GET", kind_of(path), path, json.dumps(body).encode())
    assert not is_hedgeable("POST", kind_of(path), path, b"no json")


# Who is asked


def pool(strategy: Any = "weighted", *weights: float, **more: Any) -> Pool:
    members = tuple(Member(alias=str(index), weight=weight) for index, weight in enumerate(weights))
    return Pool(provider="openai", strategy=strategy, members=members, **more)


def shares(shared: Pool, standings: list[Standing], draws: int = 1000) -> list[float]:
    counts = Counter(choose(shared, standings, draw / draws) for draw in range(draws))
    return [counts[index] / draws for index in range(len(standings))]


def test_weights_are_shares() -> None:
    assert shares(pool("weighted", 1, 3, 6), [Standing()] * 3) == pytest.approx([0.1, 0.3, 0.6], abs=0.002)


def test_the_least_busy_one_is_asked_and_a_larger_one_takes_more() -> None:
    assert choose(pool("least-busy", 1, 1, 1), [Standing(open=2), Standing(open=1), Standing(open=3)], 0.5) == 1
    assert choose(pool("least-busy", 1, 4), [Standing(open=1), Standing(open=5)], 0.5) == 1
    assert shares(pool("least-busy", 1, 1), [Standing(), Standing()]) == pytest.approx([0.5, 0.5])


def test_the_quickest_one_is_asked_unless_it_is_busy() -> None:
    quick, slow = Standing(latency=100), Standing(latency=250)
    assert choose(pool("latency", 1, 1), [slow, quick], 0.5) == 1
    assert choose(pool("latency", 1, 1), [slow, quick._replace(open=3)], 0.5) == 0


def test_the_slower_ones_are_asked_now_and_then_to_learn_whether_they_are_still_slow() -> None:
    found = shares(pool("latency", 1, 1), [Standing(latency=900), Standing(latency=100)])
    assert found == pytest.approx([0.025, 0.975])


def test_one_that_was_never_measured_is_measured_next() -> None:
    assert (
        choose(pool("latency", 1, 1, 1), [Standing(latency=100, open=1), Standing(), Standing(latency=150)], 0.5) == 1
    )
    assert choose(pool("latency", 1, 1), [Standing(), Standing(latency=1)], 0.99) == 0
    assert choose(pool("latency", 1, 1), [Standing(), Standing()], 0.99) == 1


@pytest.mark.parametrize("strategy", ["weighted", "least-busy", "latency"])
@pytest.mark.parametrize("chance", [0.0, 0.03, 0.5, 0.999])
def test_whoever_rests_or_was_asked_already_comes_last(strategy: str, chance: float) -> None:
    three = pool(strategy, 1, 1, 1)
    assert choose(three, [Standing(rests=5), Standing(tries=1), Standing()], chance) == 2
    assert choose(three, [Standing(rests=5), Standing(tries=1), Standing(tries=2)], chance) == 1
    assert choose(three, [Standing(rests=5), Standing(tries=1), Standing(is_out=True)], chance) == 1


def test_when_all_rest_the_one_that_rests_shortest_is_asked_anyway() -> None:
    three = pool("weighted", 1, 1, 1)
    assert choose(three, [Standing(rests=5), Standing(rests=2, tries=3), Standing(rests=9)], 0.9) == 1
    assert choose(three, [Standing(rests=5), Standing(is_out=True), Standing(rests=9)], 0.9) == 0
    assert choose(three, [Standing(is_out=True)] * 3, 0.9) is None


@given(
    st.sampled_from(["weighted", "least-busy", "latency"]),
    st.lists(
        st.builds(
            Standing,
            st.integers(0, 5),
            st.integers(0, 9),
            st.none() | st.floats(0, 1e6),
            st.sampled_from([0.0, 0.0, 3.0]),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_somebody_is_chosen_whenever_anybody_can_be(strategy: Any, standings: list[Standing], chance: float) -> None:
    chosen = choose(pool(strategy, *[1.0] * len(standings)), standings, chance)
    if all(standing.is_out for standing in standings):
        assert chosen is None
    else:
        assert chosen is not None
        assert not standings[chosen].is_out


def test_a_pool_is_found_by_provider_and_model() -> None:
    rules = AttemptRules(pools=(pool("weighted", 1, model="gpt-4o*"), pool("latency", 1)))
    assert pool_for(rules, provider("openai"), "gpt-4o-mini") is rules.pools[0]
    assert pool_for(rules, provider("openai"), "o3") is rules.pools[1]
    assert pool_for(rules, provider("openai"), "") is rules.pools[1]
    assert pool_for(rules, provider("groq"), "gpt-4o-mini") is None
    by_alias = AttemptRules(pools=(msgspec.structs.replace(pool("weighted", 1), provider="azure"),))
    assert pool_for(by_alias, provider("azure-openai"), "x") is by_alias.pools[0]


def test_bodies_are_read_whole_only_where_they_may_be_sent_again() -> None:
    assert not may_be_repeated(AttemptRules(timeout=5, breaker=5), provider("openai"))
    assert may_be_repeated(AttemptRules(max_attempts=2), provider("openai"))
    assert may_be_repeated(AttemptRules(hedge=100), provider("openai"))
    assert may_be_repeated(AttemptRules(pools=(pool("weighted", 1),)), provider("openai"))
    assert not may_be_repeated(AttemptRules(pools=(pool("weighted", 1),)), provider("groq"))


# What becomes of the request


@pytest.mark.parametrize(
    ("asked", "path", "other", "member", "becomes"),
    [
        ("openai", "chat/completions", "openai", Member(alias="b"), "chat/completions"),
        ("openai", "v1/files/file-1", "openai", Member(alias="b"), "v1/files/file-1"),
        ("openai", "chat/completions", "groq", Member(), "chat/completions"),
        ("openai", "v1/chat/completions", "mistral", Member(), "v1/chat/completions"),
        ("openai", "v1/embeddings", "google-ai-studio", Member(), "v1beta/openai/embeddings"),
        ("google-ai-studio", "v1beta/openai/chat/completions", "openai", Member(), "chat/completions"),
        ("mistral", "chat/completions", "openai", Member(), "chat/completions"),
        ("openai", "v1/responses", "custom-mine", Member(), "responses"),
        ("openai", "files", "groq", Member(), None),
        ("anthropic", "v1/messages", "openai", Member(), None),
        ("openai", "chat/completions", "azure-openai", Member(path="res/gpt"), None),
        (
            "azure-openai",
            "east/gpt-4o/chat/completions",
            "azure-openai",
            Member(path="west/gpt-4o-2"),
            "west/gpt-4o-2/chat/completions",
        ),
        (
            "azure-openai",
            "gpt-4o/gpt-4o/chat/completions",
            "azure-openai",
            Member(model="o3"),
            "gpt-4o/o3/chat/completions",
        ),
        (
            "aws-bedrock",
            "bedrock-runtime/us-east-1/model/a.b-v1:0/converse",
            "aws-bedrock",
            Member(path="bedrock-runtime/eu-west-1", model="eu.a.b-v1:0"),
            "bedrock-runtime/eu-west-1/model/eu.a.b-v1:0/converse",
        ),
        (
            "google-ai-studio",
            "v1beta/models/gemini-2.5-pro:generateContent",
            "google-ai-studio",
            Member(model="gemini-2.5-flash"),
            "v1beta/models/gemini-2.5-flash:generateContent",
        ),
    ],
)
def test_a_path_is_written_as_the_member_has_it(
    asked: str, path: str, other: str, member: Member, becomes: str | None
) -> None:
    assert path_at(provider(asked), provider(other), member, path) == becomes


def test_another_model_is_named_and_the_rest_of_the_body_stays_byte_for_byte() -> None:
    body = b'{"n": 1.0, "model" : "a", "messages":[{"content":"\xc3\xbc  \\u00fc"}]}'
    changed = with_model(body, 'b"')
    assert changed is not None
    assert b'"messages":[{"content":"\xc3\xbc  \\u00fc"}]' in changed
    assert b"1.0" in changed
    assert json.loads(changed) == {**json.loads(body), "model": 'b"'}
    assert json.loads(with_model(b'{"model":"a","model":"c"}', "b") or b"") == {"model": "b"}
    assert with_model(b"--boundary", "b") is None
    assert with_model(b"[1]", "b") is None


def test_the_hosts_of_one_provider_are_told_apart_by_the_path() -> None:
    assert backend_of(provider("azure-openai"), "east/gpt-4o/chat/completions") == "east/gpt-4o"
    assert (
        backend_of(provider("aws-bedrock"), "bedrock-runtime/eu-west-1/model/x/converse") == "bedrock-runtime/eu-west-1"
    )
    assert backend_of(provider("openai"), "chat/completions") == ""
    assert backend_of(provider("azure-openai"), "east") == ""
