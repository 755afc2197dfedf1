"""Limits: which rules count a request, how windows count, what is taken, settled and told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.errors import LimitReached, SettingsError, SpendLimitReached
from trunkline.policy.buckets import SLOTS, Slots, shape_of
from trunkline.policy.control import ControlRules
from trunkline.policy.facts import Facts
from trunkline.policy.limits import LimitRule, buckets, concerning, from_cloudflare, prefix_of, to_cloudflare, values_in
from trunkline.policy.prices import CustomCost
from trunkline.server.limiting import Lease, Limiter
from trunkline.store import counters as counting
from trunkline.store.counters import MemoryCounters

# Divisible by every window below: fixed windows begin here.
START = 1_800_000_000.0
ASKED = Facts(
    gateway="default",
    provider="openai",
    model="gpt-4o-mini",
    kind="chat",
    key="key_1",
    user="ann",
    metadata={"team": "red", "level": 3, "trial": True, "share": 1.0},
    tokens_in=100,
    tokens_out=400,
)
PRICE = CustomCost(per_token_in=0.001, per_token_out=0.001)


def rule(id: str = "r", measure: Any = "requests", limit: float = 2, **given: Any) -> LimitRule:
    return msgspec.convert({"id": id, "measure": measure, "limit": limit, **given}, LimitRule)


def asked(**changes: Any) -> Facts:
    return Facts(**{name: getattr(ASKED, name) for name in Facts.__slots__} | changes)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def limiter(clock: Clock) -> Limiter:
    return Limiter(MemoryCounters(clock))


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def refused(limiter: Limiter, *rules: LimitRule, facts: Facts = ASKED, **given: Any) -> LimitReached:
    with pytest.raises(LimitReached) as raised:
        await limiter.take(rules, facts, set(), **given)
    return raised.value


# Which rules count a request


@pytest.mark.parametrize(
    ("where", "counts"),
    [
        ({}, True),
        ({"model": ["gpt-4o*"]}, True),
        ({"model": ["openai/*"]}, True),
        ({"model": ["claude-*", "gpt-4o-mini"]}, True),
        ({"model": ["gpt-4o"]}, False),
        ({"model": ["anthropic/*"]}, False),
        ({"provider": ["openai"]}, True),
        ({"provider": ["open*"]}, False),  # a pattern of models only
        ({"key": ["key_1", "key_2"]}, True),
        ({"key": ["key_2"]}, False),
        ({"user": ["ann"], "metadata.team": ["red"]}, True),
        ({"user": ["ann"], "metadata.team": ["blue"]}, False),
        ({"metadata.level": ["3"], "metadata.trial": ["true"], "metadata.share": ["1"]}, True),
        ({"metadata.absent": ["x"]}, False),
        ({"metadata.absent": [""]}, True),
    ],
)
def test_a_rule_counts_what_fits_all_of_its_conditions(where: dict[str, list[str]], counts: bool) -> None:
    assert bool(buckets([rule(where=where)], ASKED)) is counts


def test_a_rule_that_is_switched_off_counts_nothing() -> None:
    assert buckets([rule(enabled=False)], ASKED) == []


def test_each_value_has_a_bucket_of_its_own_and_a_missing_tag_has_one_too() -> None:
    each = rule(per=["key", "metadata.team"])
    names = {
        buckets([each], facts)[0].name
        for facts in (ASKED, asked(key="key_2"), asked(metadata={"team": "blue"}), asked(metadata={}), asked(user="b"))
    }
    assert len(names) == 4  # the user is not asked about
    assert buckets([each], asked(metadata={}))[0].values == ("key_1", "")


def test_values_cannot_run_together_to_the_same_bucket() -> None:
    each = rule(per=["metadata.a", "metadata.b"])

    def name(a: str, b: str) -> str:
        return buckets([each], asked(metadata={"a": a, "b": b}))[0].name

    assert len({name("x,y", ""), name("x", "y"), name("", "x,y"), name("x%2Cy", "")}) == 4
    long = "v" * 200
    assert len({name(long, "1"), name(long + "1", ""), name(long, "2")}) == 3


@pytest.mark.parametrize("value", ["red", "a/b, c~d", "~", "müller \N{GRINNING FACE}", "", "%2F", "\ud800"])
def test_a_buckets_name_tells_whom_it_counts(value: str) -> None:
    each = rule(per=["metadata.team", "user"])
    (bucket,) = buckets([each], asked(metadata={"team": value}))
    assert bucket.name.startswith(prefix_of(each))
    assert "/" not in bucket.name.removeprefix(prefix_of(each))
    told = values_in(each, bucket.name)
    assert told == {"metadata.team": value.encode(errors="replace").decode(), "user": "ann"}


def test_a_value_that_is_too_long_for_a_name_is_shown_as_a_digest() -> None:
    each = rule(per=["user"])
    (bucket,) = buckets([each], asked(user="x" * 1000))
    assert len(bucket.name) < 200
    assert values_in(each, bucket.name)["user"].startswith("sha256:")


def test_a_rule_that_measures_anew_does_not_read_the_old_count() -> None:
    names = {
        buckets([changed], ASKED)[0].name
        for changed in (rule(), rule(window=61), rule(technique="sliding"), rule(measure="tokens"))
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("limit", {"limit": -1}),
        ("limit", {"limit": 1.5}),
        ("limit", {"measure": "concurrent", "limit": 0.5}),
        ("measure", {"measure": "queries"}),
        ("window", {"window": 0}),
        ("technique", {"technique": "leaky"}),
        ("per", {"per": ["colour"]}),
        ("per", {"per": ["metadata."]}),
        ("per", {"per": ["key", "key"]}),
        ("where", {"where": {"colour": ["red"]}}),
        ("where.model", {"where": {"model": []}}),
        ("warn_at", {"warn_at": 0}),
        ("webhook", {"webhook": "http://example.org/hook"}),
        ("webhook", {"webhook": "https://user:word@example.org/"}),
        ("webhook", {"webhook": "ftp://127.0.0.1/"}),
        ("id", {"id": "no blanks"}),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(field: str, given: dict[str, Any]) -> None:
    whole = {"id": "r", "measure": "requests", "limit": 1, **given}
    with pytest.raises(SettingsError, match=field.replace(".", r"\.")):
        ControlRules().changed({"limits": [whole]})


def test_webhooks_are_https_or_on_this_machine() -> None:
    for url in ("https://example.org/hook?token=x", "http://127.0.0.1:9/", "http://localhost/"):
        assert rule(webhook=url).webhook == url


# Windows


def test_a_fixed_window_is_aligned_to_the_clock() -> None:
    slots = Slots(shape_of(60, "fixed"))
    slots.add(slots.place(START + 59), 5, START + 59)
    assert slots.used(START + 59.999) == 5
    assert slots.resets_in(START + 59) == pytest.approx(1)
    assert slots.used(START + 60) == 0


def test_a_sliding_window_never_forgets_too_early_and_at_most_a_slot_too_late() -> None:
    slots = Slots(shape_of(60, "sliding"))
    at = START + 17.03
    slots.add(slots.place(at), 5, at)
    assert slots.used(at + 59.999) == 5
    assert slots.used(at + 60 + 60 / SLOTS) == 0


def test_the_wait_is_until_there_is_room() -> None:
    now = START + 45
    for amount in (1, 2, 3, 6):
        slots = Slots(shape_of(60, "sliding"))
        for second in (0, 20, 40):
            slots.add(slots.place(START + second), 2, START + second)
        wait = slots.wait(amount, 6, now)
        assert slots.used(now + wait - 0.4) + amount > 6
        assert slots.used(now + wait) + amount <= 6
    slots.add(slots.place(now + 90), 6, now + 90)
    assert slots.wait(7, 6, now + 90) == pytest.approx(60, abs=0.6)  # there never is: until all is forgotten


@settings(max_examples=200, deadline=None)
@given(
    technique=st.sampled_from(["fixed", "sliding"]),
    limit=st.integers(1, 12),
    window=st.sampled_from([1, 7, 60, 3600]),
    steps=st.lists(st.floats(0, 0.6), min_size=1, max_size=120),
)
def test_no_window_ever_holds_more_than_the_limit(technique: Any, limit: int, window: int, steps: list[float]) -> None:
    slots = Slots(shape_of(window, technique))
    now, granted = START + 0.123, []
    for step in steps:
        now += step * window
        if slots.used(now) + 1 <= limit:
            slots.add(slots.place(now), 1, now)
            granted.append(now)
    for at in granted:
        if technique == "sliding":
            assert sum(1 for other in granted if at <= other < at + window) <= limit
        else:
            assert sum(1 for other in granted if other // window == at // window) <= limit


@pytest.mark.parametrize("technique", ["fixed", "sliding"])
@pytest.mark.parametrize("limit", [1, 10, 1000])
def test_under_load_at_least_99_percent_of_the_limit_pass(technique: Any, limit: int) -> None:
    slots = Slots(shape_of(60, technique))
    windows, passed, now = 20, 0, START
    tries = 60 * windows * 50
    for number in range(tries):
        now = START + number / 50
        while slots.used(now) + 1 <= limit and passed < limit * windows:
            slots.add(slots.place(now), 1, now)
            passed += 1
    assert passed >= 0.99 * limit * windows


def test_what_was_used_before_a_clock_is_set_back_counts_for_a_window_from_then_on() -> None:
    slots = Slots(shape_of(60, "sliding"))
    slots.add(slots.place(START + 7230), 5, START + 7230)
    assert slots.used(START) == 5
    slots.add(slots.place(START + 1), 1, START + 1)
    assert slots.used(START + 59) == 6
    assert slots.used(START + 60.5) == 1
    assert slots.used(START + 61.5) == 0


def test_what_is_settled_after_a_clock_was_set_back_counts_as_of_now() -> None:
    slots = Slots(shape_of(60, "fixed"))
    place = slots.place(START + 7230)
    slots.add(place, 5, START + 7230)
    slots.add(place, -2, START)
    assert slots.used(START) == 3
    assert slots.used(START + 60) == 0


# Taking and settling


def test_requests_beyond_the_limit_are_refused_until_the_window_ends() -> None:
    async def main() -> None:
        clock = Clock()
        held = limiter(clock)
        clock.now += 15
        for _ in range(2):
            await held.take([rule()], ASKED, set())
        error = await refused(held, rule())
        assert (error.status, error.code, error.retry_after) == (429, 2003, 45)
        assert "'r'" in error.message
        assert "2 requests in 1m" in error.message
        assert dict(error.headers) == {
            b"ratelimit-limit": b"2",
            b"ratelimit-remaining": b"0",
            b"ratelimit-reset": b"45",
            b"ratelimit-policy": b'"r";q=2;w=60',
        }
        clock.now += error.retry_after or 0
        await held.take([rule()], ASKED, set())

    run(main())


def test_a_refusal_by_one_rule_takes_nothing_of_another() -> None:
    async def main() -> None:
        held = limiter(Clock())
        wide, narrow = rule("wide", limit=3), rule("narrow", limit=1)
        await held.take([wide, narrow], ASKED, set())
        for _ in range(5):
            assert "'narrow'" in (await refused(held, wide, narrow)).message
        for _ in range(2):
            await held.take([wide], ASKED, set())
        await refused(held, wide)

    run(main())


def test_of_several_refusals_the_longest_wait_is_told() -> None:
    async def main() -> None:
        held = limiter(Clock())
        rules = [rule("minute", limit=1), rule("hour", limit=1, window=3600)]
        await held.take(rules, ASKED, set())
        error = await refused(held, *rules)
        assert error.retry_after == 3600
        assert (b"x-should-retry", b"false") in error.headers  # no SDK waits for an hour

    run(main())


def test_a_request_that_is_tried_at_several_providers_counts_once() -> None:
    async def main() -> None:
        held = limiter(Clock())
        rules = [rule(limit=2), rule("each", limit=1, per=["provider"]), rule("at-once", "concurrent", 1)]
        charged: set[str] = set()
        first = await held.take(rules, ASKED, charged)
        await first.settle(None, None)
        second = await held.take(rules, asked(provider="groq"), charged)
        assert dict(second.headers())[b"ratelimit-limit"] == b"1"
        await refused(held, rules[2])  # the second try holds the place that the first gave back
        await second.settle(None, None)
        await (await held.take([rules[0], rules[2]], ASKED, set())).settle(None, None)
        await refused(held, rules[0])

    run(main())


def test_what_was_not_sent_is_given_back_once() -> None:
    async def main() -> None:
        held = limiter(Clock())
        rules = [rule(limit=1), rule("t", "tokens", 500), rule("c", "concurrent", 1)]
        charged: set[str] = set()
        for _ in range(3):
            lease = await held.take(rules, ASKED, charged)
            await lease.release()
            await lease.release()
            await lease.settle(10, None)
            assert charged == set()
        await held.take(rules, ASKED, charged)
        await refused(held, *rules)

    run(main())


def test_tokens_are_estimated_and_then_settled_up_or_down_or_left() -> None:
    async def main() -> None:
        held = limiter(Clock())
        limit = rule("t", "tokens", 1200)

        async def left() -> int:
            lease = await held.take([limit], asked(tokens_in=1, tokens_out=0), set())
            headers = dict(lease.headers())
            await lease.release()
            return int(headers[b"ratelimit-remaining"]) + 1

        lease = await held.take([limit], ASKED, set())
        assert await left() == 700
        await lease.settle(50, None)
        assert await left() == 1150
        await lease.settle(1000, None)  # a second time
        assert await left() == 1150
        lease = await held.take([limit], ASKED, set())
        await lease.settle(1100, None)  # more than was reserved
        assert await left() == 50
        lease = await held.take([limit], asked(tokens_in=50, tokens_out=0), set())
        await lease.settle(None, None)
        await refused(held, limit, facts=asked(tokens_in=0, tokens_out=0))

    run(main())


def test_a_request_larger_than_the_limit_is_told_so() -> None:
    async def main() -> None:
        error = await refused(limiter(Clock()), rule("t", "tokens", 499))
        assert "500 tokens" in error.message
        assert "max_tokens" in error.message
        assert (b"x-should-retry", b"false") in error.headers

    run(main())


def test_what_is_settled_in_a_window_that_has_passed_is_gone_with_it() -> None:
    async def main() -> None:
        clock = Clock()
        held = limiter(clock)
        limit = rule("t", "tokens", 500)
        lease = await held.take([limit], ASKED, set())
        clock.now += 60
        await lease.settle(5000, None)
        await held.take([limit], ASKED, set())

    run(main())


def test_money_is_reserved_before_and_settled_after() -> None:
    async def main() -> None:
        held = limiter(Clock())
        budget = rule("b", "cost", 1.2, window=86400)  # a request is estimated at half a dollar
        first = await held.take([budget], ASKED, set(), custom=PRICE)
        await held.take([budget], ASKED, set(), custom=PRICE)
        error = await refused(held, budget, custom=PRICE)
        assert isinstance(error, SpendLimitReached)
        assert error.code == 2041
        assert "1.2 US dollars in 1d" in error.message
        await first.settle(100, 0.1)
        await held.take([budget], ASKED, set(), custom=PRICE)
        assert first.headers() == []

    run(main())


def test_a_price_that_nobody_knows_needs_only_that_something_is_left() -> None:
    async def main() -> None:
        held = limiter(Clock())
        budget, unknown = rule("b", "cost", 0.3, window=86400), asked(model="nobody-knows-me")
        lease = await held.take([budget], unknown, set())
        other = await held.take([budget], unknown, set())
        await lease.settle(10, 0.3)
        await refused(held, budget, facts=unknown)
        await other.settle(10, None)

    run(main())


def test_what_costs_nothing_passes_when_all_is_spent() -> None:
    async def main() -> None:
        held = limiter(Clock())
        budget = rule("b", "cost", 0)
        await refused(held, budget)
        await held.take([budget], asked(provider="local", model="local"), set())
        await held.take([budget], ASKED, set(), custom=CustomCost(total_cost=0.0))

    run(main())


def test_tenths_add_up_to_the_whole() -> None:
    async def main() -> None:
        held = limiter(Clock())
        budget = rule("b", "cost", 0.3)
        price = CustomCost(total_cost=0.1)
        for _ in range(3):
            await held.take([budget], ASKED, set(), custom=price)
        await refused(held, budget, custom=price)

    run(main())


def test_so_many_at_once_and_no_more() -> None:
    async def main() -> None:
        held = limiter(Clock())
        at_once = rule("c", "concurrent", 2)
        leases = [await held.take([at_once], ASKED, set()) for _ in range(2)]
        error = await refused(held, at_once)
        assert error.retry_after == 1
        assert "2 requests at once" in error.message
        await leases[0].settle(None, None)
        await leases[0].settle(None, None)
        await held.take([at_once], ASKED, set())
        await refused(held, at_once)

    run(main())


def test_many_at_the_same_time_take_no_more_than_there_is() -> None:
    async def main() -> None:
        held = limiter(Clock())

        async def one() -> Lease | None:
            try:
                return await held.take([rule(limit=37, technique="sliding")], ASKED, set())
            except LimitReached:
                return None

        taken = await asyncio.gather(*(one() for _ in range(200)))
        assert sum(lease is not None for lease in taken) == 37

    run(main())


def test_values_made_up_for_one_rule_take_nothing_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(counting, "_MOST_BUCKETS", 10)
        held = limiter(Clock())
        budget, tags = rule("keys", limit=1, per=["key"]), rule("tags", limit=1000, per=["metadata.team"])
        await held.take([budget], ASKED, set())
        for number in range(50):
            await held.take([tags], asked(key="key_2", metadata={"team": str(number)}), set())
        await refused(held, budget)
        assert len((await held.standing("default", [tags]))["tags"]) == 10

    run(main())


def test_the_answer_tells_of_the_limit_that_is_nearest() -> None:
    async def main() -> None:
        held = limiter(Clock())
        rules = [rule("far", limit=100), rule("near", "tokens", 600), rule("b", "cost", 100)]
        lease = await held.take(rules, ASKED, set())
        told = dict(lease.headers())
        assert told[b"ratelimit-policy"] == b'"near";q=600;w=60'
        assert told[b"ratelimit-remaining"] == b"100"
        assert (await held.take([], ASKED, set())).headers() == []

    run(main())


# Sessions


def test_a_session_counts_as_a_request_and_uses_minutes_as_they_pass() -> None:
    async def main() -> None:
        clock = Clock()
        held = limiter(clock)
        rules = [rule("open", limit=2), rule("at-once", "concurrent", 1), rule("m", "minutes", 2, window=3600)]
        session = await held.open_session(rules, ASKED)
        with pytest.raises(LimitReached, match="at-once"):
            await held.open_session(rules, ASKED)
        await session.tick(60)
        await session.tick(58)
        assert session.look_in == pytest.approx(2)
        with pytest.raises(LimitReached, match="2 minutes of sessions"):
            await session.tick(2)
        await session.close()
        await session.close()
        with pytest.raises(LimitReached, match="'m'"):
            await held.open_session(rules, ASKED)
        clock.now += 3600
        await held.open_session(rules, ASKED)

    run(main())


def test_sessions_spend_what_requests_spend() -> None:
    async def main() -> None:
        held = limiter(Clock())
        rules = [rule("t", "tokens", 1000), rule("b", "cost", 1)]
        session = await held.open_session(rules, ASKED)
        await session.tick(5, tokens=400, cost=0.9)
        await refused(held, rules[1], custom=PRICE)
        with pytest.raises(SpendLimitReached):
            await session.tick(5, tokens=0, cost=0.2)
        await session.close()

    run(main())


def test_a_session_without_limits_needs_no_looking_at_until_there_are_some() -> None:
    async def main() -> None:
        held = limiter(Clock())
        session = await held.open_session([rule()], ASKED)
        assert not session.is_limited
        await session.tick(600)
        session.rules = [rule("m", "minutes", 1)]
        assert session.look_in is not None
        with pytest.raises(LimitReached):
            await session.tick(60)

    run(main())


# Cloudflare's form


def test_cloudflares_rate_limit_is_one_rule() -> None:
    fields = {"rate_limiting_interval": 60, "rate_limiting_limit": 50, "rate_limiting_technique": "sliding"}
    rules = from_cloudflare(fields)
    assert rules == (rule("rate", limit=50, window=60, technique="sliding"),)
    assert to_cloudflare(rules) == fields
    assert from_cloudflare({"rate_limiting_limit": 70}, rules) == (
        rule("rate", limit=70, window=60, technique="sliding"),
    )
    assert from_cloudflare({"rate_limiting_limit": 0}, rules) == ()
    assert from_cloudflare({"rate_limiting_interval": None}, rules) == ()
    assert from_cloudflare({"cache_ttl": 5}, rules) == rules
    off = to_cloudflare(())
    assert (off["rate_limiting_interval"], off["rate_limiting_limit"]) == (None, None)


def test_cloudflares_spend_limits_are_rules_of_cost_and_come_back_as_they_went() -> None:
    told = {
        "enabled": True,
        "rules": [
            {
                "id": "team",
                "enabled": True,
                "limit": 5.5,
                "limitType": "cost",
                "window": 86400,
                "technique": "sliding",
                "metadata": {"team": {"mode": "partition"}, "plan": {"mode": "filter", "values": ["free", "pro"]}},
                "model": {"mode": "filter", "values": ["gpt-4o"]},
            },
            {
                "id": "off",
                "enabled": False,
                "limit": 1.0,
                "limitType": "cost",
                "window": 60,
                "technique": "fixed",
                "provider": {"mode": "filter", "values": ["openai"]},
            },
        ],
    }
    rules = from_cloudflare({"spend_limits": told})
    assert rules[0] == rule(
        "team",
        "cost",
        5.5,
        window=86400,
        technique="sliding",
        per=["metadata.team"],
        where={"metadata.plan": ["free", "pro"], "model": ["gpt-4o"]},
    )
    assert not rules[1].enabled
    assert to_cloudflare(rules)["spend_limits"] == told


def test_rules_that_cloudflare_has_no_words_for_stay_when_its_fields_change() -> None:
    ours = (rule("keys", "cost", 3, per=["key"]), rule("t", "tokens", 5))
    hooked = rule("team", "cost", 1, webhook="https://example.org/")
    both = from_cloudflare(
        {
            "spend_limits": {"rules": [{"id": "team", "limit": 2, "window": 60}, {"limit": 4, "window": 60}]},
            "rate_limiting_limit": 9,
            "rate_limiting_interval": 1,
        },
        (*ours, hooked),
    )
    assert both[0] == rule("rate", limit=9, window=1)
    assert both[1:3] == ours
    assert (both[3].limit, both[3].webhook) == (2, "https://example.org/")
    assert both[4].id == "spend.1"
    assert from_cloudflare({"spend_limits": None}, both) == both[:3]
    switched_off = from_cloudflare({"spend_limits": {"enabled": False, "rules": [{"limit": 4, "window": 60}]}})
    assert [one.enabled for one in switched_off] == [False]


def test_of_many_keys_rules_those_alone_concern_a_key_that_can_apply_to_it() -> None:
    everybody = LimitRule(id="all", measure="requests", limit=5.0, per=("key",))
    off = LimitRule(id="off", measure="requests", limit=5.0, enabled=False)
    gpt = LimitRule(id="gpt", measure="requests", limit=5.0, where={"model": ("gpt-*",)})
    own = [LimitRule(id=f"own-{one}", measure="tokens", limit=5.0, where={"key": (one,)}) for one in ("a", "b")]
    nobody = LimitRule(id="nobody", measure="requests", limit=5.0, where={"key": ("",)})
    rules = (everybody, off, gpt, *own, nobody)
    assert concerning(rules, "a") == (everybody, gpt, own[0])
    assert concerning(rules, "c") == (everybody, gpt)
    assert concerning(rules, "") == (everybody, gpt, nobody)
    for key in ("", "a", "b", "c"):
        facts = Facts(gateway="default", provider="openai", model="gpt-5", key=key)
        assert buckets(concerning(rules, key), facts) == buckets(rules, facts)
