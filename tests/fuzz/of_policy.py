"""Targets: rules that people set up, and what is judged by them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tests.fuzz.of_wire import CATALOGUE, SECRET
from tests.fuzz.target import NotForThis, Target, body_of, cut, object_of, text_at
from trunkline.errors import MalformedRequest, SettingsError
from trunkline.policy.balancing import Standing, choose, pool_for
from trunkline.policy.control import ControlRules
from trunkline.policy.cost import cost_of_tokens
from trunkline.policy.facts import Facts
from trunkline.policy.guards.guarding import GuardSet, search
from trunkline.policy.guards.judging import NoVerdict, messages, verdict
from trunkline.policy.guards.rules import GuardRule, JudgeOptions
from trunkline.policy.guards.streams import StreamReader
from trunkline.policy.guards.window import StreamWindow
from trunkline.policy.guards.words import answered, answered_by_event, asked, is_last_event
from trunkline.policy.limits import buckets, from_cloudflare, to_cloudflare, values_in, window_in
from trunkline.policy.logging import LoggingRules
from trunkline.policy.price_list import find_offer, use_price_list
from trunkline.policy.routes import DeployedRoute
from trunkline.policy.routing import simulate, simulated_facts
from trunkline.policy.sessions import RealtimeRules, SessionLimits
from trunkline.policy.usage.tokens import TokenUsage
from trunkline.providers.catalogue import custom_provider
from trunkline.server.client_secrets import Surface
from trunkline.server.client_secrets import _read as read_secret_request
from trunkline.wire.aws_events import encoded_exception
from trunkline.wire.refusal import Dialect

OPENAI = CATALOGUE.find("openai")
assert OPENAI is not None


def routes(data: bytes) -> None:
    """A route is refused when it is read, or leads every request to an end, and says by which way."""
    told = object_of(data)
    elements, request = told.get("elements"), told.get("request", {})
    if not isinstance(elements, list) or not isinstance(request, dict):
        raise NotForThis
    route = DeployedRoute.of("id", "1", "mine", elements, {"openai", "anthropic", "local"})
    metadata = {name: one for name, one in told.items() if isinstance(one, str | int | float)}
    for chance in (0.0, 0.1, 0.5, 0.999999):
        facts = simulated_facts("default", "mine", request, metadata, key="k", user=text_at(told, "user"))
        failing = [one.id for one in route.elements.values() if type(one).__name__ in ("Model", "Rate")]
        for outcomes in ({}, dict.fromkeys(failing, "failure"), dict.fromkeys(failing[:1], "failure")):
            found = simulate(route, facts, request, outcomes, chance)
            msgspec.json.encode(found)
            passed = [line.element for line in found.trace]
            assert len(set(passed)) == len(passed)
            assert passed[0] == route.start.id
            assert found.trace[-1].output is None
            if found.result.answered:
                assert found.result.element in passed


def control_rules(data: bytes) -> None:
    """What an administrator sends becomes rules that say the same again, or is refused with the field at fault."""
    told = object_of(data)
    given = told.get("control", {})
    if isinstance(given, dict):
        _control(given)
    for name, none in (("logging", LoggingRules()), ("realtime", RealtimeRules()), ("limits", SessionLimits())):
        changes = told.get(name, {})
        if isinstance(changes, dict):
            changed = none.changed(changes)
            document = json.loads(json.dumps(changed.document()))
            assert none.changed(document) == changed


def _control(given: dict[str, Any]) -> None:
    rules = ControlRules().changed(given)
    whole = json.loads(json.dumps(rules.whole()))
    assert ControlRules().changed(whole) == rules
    assert msgspec.convert(json.loads(json.dumps(rules.document())), ControlRules) == rules
    facts = Facts("default", "openai", "gpt-5", "chat", key="k", user="u", metadata={"team": "blue"}, tokens_in=5)
    for bucket in buckets(rules.limits, facts):
        assert bucket.window >= 1
        window_in(bucket.name)
        assert set(values_in(bucket.rule, bucket.name)) == set(bucket.rule.per)
    shown = to_cloudflare(rules.limits)
    again = from_cloudflare(json.loads(json.dumps(shown)), rules.limits)
    assert to_cloudflare(again) == shown
    pool = pool_for(rules.attempts, OPENAI, "gpt-5")
    if pool is not None:
        place = choose(pool, [Standing()] * len(pool.members), 0.5)
        assert place is None or 0 <= place < len(pool.members)
    guards = GuardSet(rules.guards)
    search(guards.request, asked("application/json", b'{"messages":[{"role":"user","content":"hi"}]}'), "request")


def guard_words(data: bytes) -> None:
    """Whatever a body is, what it says is found, and a key in it with it."""
    guards = GuardSet([GuardRule(id="s", check="secrets"), *_ALL_CHECKS])
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
        said = asked(kind, data)
        search(guards.request, said, "request")
    heard = answered(data)
    found = search(guards.response, heard, "response")
    assert all(one.kinds for one in found)
    answered_by_event(data)
    is_last_event(data)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict) and len(data) < 4000:
        text = json.dumps({**document, "messages": [{"role": "user", "content": f"my key is {SECRET} ."}]}).encode()
        assert search(guards.request, asked("application/json", text), "request")


_ALL_CHECKS = [
    GuardRule(
        id="p", check="personal", action="flag", options={"kinds": ["card", "email", "phone", "iban", "national_id"]}
    ),
    GuardRule(id="i", check="injection", action="flag"),
    GuardRule(id="t", check="topics", action="flag", options={"topics": {"a": ["zz*zy", "b?d"], "c": ["secret plan"]}}),
]


def guard_streams(data: bytes) -> None:
    """However a stream comes, it passes as it was or ends, and what is held back is no more than what is unknown."""
    told = object_of(data)
    kind = text_at(told, "type", "text/event-stream")
    events = told.get("events", [])
    if kind not in ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream"):
        raise NotForThis
    if not isinstance(events, list):
        raise NotForThis
    bodies = [body_of(one) for one in events[:40]]
    if kind.endswith("eventstream"):
        stream = b"".join(encoded_exception("chunk", body) for body in bodies)
    elif kind.endswith("ndjson"):
        stream = b"\n".join(bodies)
    else:
        stream = b"".join(b"data: " + body + b"\n\n" for body in bodies)
    window = {"window": 60}
    for guards in (
        GuardSet([GuardRule(id="s", check="secrets", options=window)]),
        GuardSet([GuardRule(id="t", check="topics", options={"topics": {"a": ["forbidden"]}} | window), *_ALL_CHECKS]),
    ):
        _stream(stream, kind, guards)


def _stream(stream: bytes, kind: str, guards: GuardSet) -> None:
    reader, gate = StreamReader(kind, Dialect.OPENAI), StreamWindow(guards.response)
    out, read, is_blocked = b"", b"", False
    for piece in cut(stream):
        for event in reader.feed(piece):
            read += event.raw
            gate.add(event.raw, event.words)
            if any(finding.blocks for finding in gate.search()):
                is_blocked = True
                break
            out += gate.release()
        if is_blocked:
            break
    if not is_blocked:
        last = reader.finish()
        if last is not None:
            read += last.raw
            gate.add(last.raw, last.words)
        is_blocked = any(finding.blocks for finding in gate.search(at_end=True))
        if not is_blocked:
            out += gate.release(at_end=True)
            assert out == read == stream
    assert stream.startswith(out)


def judges(data: bytes) -> None:
    options = JudgeOptions(categories={"hate": "Hate.", "S1": "Harm."})
    text = data.decode("utf-8", "replace")
    json.dumps(messages(options, "request", text, "fence"))
    assert set(verdict(options, text)) <= {"hate", "S1", "policy"}


def price_lists(data: bytes) -> None:
    """A list of prices is refused when it is read, or tells prices of whatever is asked about."""
    try:
        use_price_list(data)
        for seller, model in (("openai", "gpt-5"), ("x", "gpt-4o-20250131"), ("", "")):
            find_offer(seller, model)
            for tier in ("", "flex"):
                usage = TokenUsage(input=10, output=5, cached=2, tier=tier)
                cost = cost_of_tokens(seller, model, usage)
                assert cost is None or cost >= 0
    finally:
        use_price_list(None)


def custom_providers(data: bytes) -> None:
    """A table that came over the network makes a provider at a public address, or is refused."""
    table = object_of(data)
    if "slug" in table:  # no caller can set it
        raise NotForThis
    provider = custom_provider("custom-mine", table, frozenset())
    assert provider.public_only
    assert provider.slug == "custom-mine"
    addresses = [url for url in (provider.base_url, *(route.base_url for route in provider.routes)) if url]
    assert addresses
    assert all(url.lower().startswith(("https://", "wss://")) for url in addresses)


def client_secret_requests(data: bytes) -> None:
    """What a client asks a secret for is read, or refused with the field at fault."""
    for surface in Surface:
        try:
            json.dumps(read_secret_request(surface, data).session)
        except MalformedRequest:
            continue


TARGETS = [
    Target("routes", routes, ["trunkline.policy.routes", "trunkline.policy.routing"], (SettingsError,)),
    Target(
        "control_rules",
        control_rules,
        [
            "trunkline.policy.control",
            "trunkline.policy.limits",
            "trunkline.policy.attempts",
            "trunkline.policy.guards.rules",
            "trunkline.policy.sessions",
            "trunkline.policy.logging",
        ],
        (SettingsError,),
    ),
    Target("guard_words", guard_words, ["trunkline.policy.guards.words"]),
    Target("guard_streams", guard_streams, ["trunkline.policy.guards.words", "trunkline.policy.guards.streams"]),
    Target("judges", judges, ["trunkline.policy.guards.judging"], (NoVerdict,)),
    Target("price_lists", price_lists, ["trunkline.policy.price_list", "trunkline.policy.cost"], (ValueError,)),
    Target(
        "custom_providers",
        custom_providers,
        ["trunkline.providers.schema", "trunkline.providers.catalogue"],
        (SettingsError,),
    ),
    Target("client_secret_requests", client_secret_requests, ["trunkline.server.client_secrets"]),
]
