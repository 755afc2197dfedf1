"""Targets: the unified API in all of its words, both ways, and what answers say of their usage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

from tests.fuzz.of_wire import compressed
from tests.fuzz.target import NotForThis, Target, body_of, cut, json_of, object_of, text_at
from trunkline.errors import MalformedRequest, UnknownProvider, UpstreamBroken
from trunkline.policy.balancing import with_model as with_members_model
from trunkline.policy.caching import cache_key, is_whole, kept_headers, pieces, question_of
from trunkline.policy.cost import cost_of_answer
from trunkline.policy.estimating import estimated_tokens
from trunkline.policy.models import models_in_request
from trunkline.policy.usage.reader import UsageReader
from trunkline.policy.usage.request import request_facts
from trunkline.policy.usage.streams import states_usage, with_usage
from trunkline.policy.usage.whole_chats import read_chat
from trunkline.providers import Catalogue, Provider
from trunkline.unified.adapter import Adapter
from trunkline.unified.choosing import PassedThrough, Surface, adapt, with_model
from trunkline.unified.naming import wanted
from trunkline.wire.aws_events import AwsEventParser, encoded_exception

SURFACES: tuple[Surface, ...] = get_args(Surface)
# Google's own words are spoken to Vertex AI, and to whom they are set for.
CATALOGUE = Catalogue.build({"custom-gemini": {"base_url": "https://gemini.example", "unified": "google"}})
PROVIDERS = {provider.slug: provider for provider in CATALOGUE.all()}
_MOST = 10**14
_AWS = "application/vnd.amazon.eventstream"
_SSE = "text/event-stream"


def _provider(told: dict[str, Any]) -> Provider:
    found = CATALOGUE.find(text_at(told, "provider", "openai"))
    if found is None:
        raise NotForThis
    return found


def _surface(told: dict[str, Any]) -> Surface:
    found = told.get("surface", "chat")
    if found not in SURFACES:
        raise NotForThis
    surface: Surface = found
    return surface


def unified_requests(data: bytes) -> None:
    """What a client asks becomes what a provider takes, or is refused with the field at fault."""
    told = object_of(data)
    surface, body = _surface(told), body_of(told.get("body", {}))
    asked = wanted({"chat": "chat/completions"}.get(surface, surface), body, "openai")
    assert asked.surface == surface
    json.loads(with_model(body, "other"))
    changed = with_members_model(body, "other")
    assert changed is None or json.loads(changed)["model"] == "other"
    # A body with half a character in its model's name is refused before.
    model = text_at(told, "model", "m").encode("utf-8", "replace").decode()
    adapter = adapt(surface, _provider(told), model, body, now=1_700_000_000, id="abc")
    assert adapter.path.isascii()
    assert not any(character in adapter.path for character in " \r\n\x00#")
    assert ".." not in adapter.path.partition("?")[0].split("/")
    assert all(b"\r" not in value and b"\n" not in value for _, value in adapter.headers)
    json.loads(adapter.body.decode())


def unified_answers(data: bytes) -> None:
    """However an answer comes in pieces, the client reads the same, in its own words."""
    told = object_of(data)
    surface, provider, kind = _surface(told), _provider(told), text_at(told, "type", "application/json")
    status = told.get("status", 200)
    if status not in (200, 400, 401, 429, 500, 529):
        raise NotForThis
    answer = _answer(told, kind)
    whole = _said(_asked(surface, provider, told), kind, status, [answer])
    assert _said(_asked(surface, provider, told), kind, status, cut(answer)) == whole
    status, content_type, body = whole
    if status == 0 or isinstance(_asked(surface, provider, told), PassedThrough):
        return
    if content_type.startswith("application/json"):
        json.loads(body.decode())
    elif content_type.startswith(_SSE):
        for line in body.decode().split("\n"):
            assert line.startswith(("event: ", "data: ")) or not line, line
            if line.startswith("data: ") and line != "data: [DONE]":
                json.loads(line.removeprefix("data: "))


def _asked(surface: Surface, provider: Provider, told: dict[str, Any]) -> Adapter:
    asked: dict[str, Any] = {"model": "m", "stream": told.get("stream") is True}
    match surface:
        case "embeddings":
            asked = {"model": "m", "input": ["a", "b"]}
        case "responses":
            asked["input"] = "hi"
        case _:
            asked |= {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
            if told.get("usage") is True and surface == "chat":
                asked["stream_options"] = {"include_usage": True}
    model = {"aws-bedrock": "us-east-1/amazon.nova-pro-v1:0", "google-vertex-ai": "p/europe-west4/google/gemini"}
    named = model.get(provider.slug, "res/m" if provider.unified_words == "azure" else "m")
    return adapt(surface, provider, named, json.dumps(asked).encode(), now=1_700_000_000, id="abc")


def _answer(told: dict[str, Any], kind: str) -> bytes:
    """Return the answer of a document: ``events`` in the framing of its type, or ``body``."""
    events = told.get("events")
    if not isinstance(events, list):
        return body_of(told.get("body", {}))
    if kind == _AWS:
        return b"".join(
            encoded_exception(str(one[0])[:60].encode("ascii", "replace").decode(), body_of(one[1]))
            for one in events
            if isinstance(one, list) and len(one) == 2
        )
    return b"".join(
        b"event: " + body_of(str(one.get("type")) if isinstance(one, dict) else "x").split(b"\n")[0]
        + b"\ndata: " + body_of(one) + b"\n\n"
        for one in events
    )  # fmt: skip


def _said(adapter: Adapter, kind: str, status: int, answer: list[bytes]) -> tuple[int, str, bytes]:
    headers = [(b"content-type", kind.encode("latin-1", "replace"))]
    try:
        status, told = adapter.begin(status, headers)
        said = b"".join([adapter.feed(piece) for piece in answer])
        said += adapter.finish()
    except UpstreamBroken as error:
        assert str(error)
        return 0, "", b""
    return status, dict(told).get(b"content-type", b"").decode("latin-1"), said


def usage(data: bytes) -> None:
    """What an answer states is counted, whatever it states, and the same however it comes."""
    told = object_of(data)
    provider, rest = _provider(told), text_at(told, "path", "chat/completions")
    kind, encoding = text_at(told, "type", "application/json"), text_at(told, "encoding")
    answer = _answer(told, kind)
    if encoding == "gzip":
        answer = compressed(answer)
    headers = [
        (b"content-type", kind.encode("latin-1", "replace")),
        (b"content-encoding", encoding.encode("latin-1", "replace")),
    ]
    found = []
    for parts in ([answer], cut(answer)):
        reader = UsageReader(provider, rest, "asked", characters=5)
        reader.begin(200, headers)
        for part in parts:
            reader.feed(part)
        found.append(reader.finish())
    assert found[0] == found[1] or (kind.startswith(_SSE) is False and len(answer) > 10_000)
    answered = found[0]
    for text in (answered.model, answered.error, answered.finish_reason):
        assert len(text) <= 1000
    if answered.usage is not None:
        counts = {name: value for name, value in answered.usage.counts().items() if name != "tier"}
        assert all(0 <= value < _MOST for value in counts.values())
        json.dumps(answered.usage.counts(), allow_nan=False)
    assert answered.stated_cost is None or (math.isfinite(answered.stated_cost) and answered.stated_cost >= 0)
    cost = cost_of_answer(provider.slug, answered)
    assert cost is None or (math.isfinite(cost) and cost >= 0)
    short = read_chat(answer, "asked")
    if short is not None and provider.slug == "openai" and rest == "chat/completions" and not encoding:
        reader = UsageReader(provider, rest, "asked")
        reader.begin(200, [(b"content-type", b"application/json")])
        reader.feed(answer)
        assert short == reader.finish()._replace(finish_reason="")  # which the short way leaves out
    is_whole(provider, rest, headers, answer)
    assert b"".join(pieces(kept_headers(headers), answer)) == answer


def request_bodies(data: bytes) -> None:
    """What is read of a body on its way to a provider, whichever that is."""
    for slug, rest in (
        ("openai", "chat/completions"),
        ("google-ai-studio", "v1beta/models/g:generateContent"),
        ("cohere", "v2/chat"),
    ):
        provider = PROVIDERS[slug]
        facts = request_facts(provider, rest, "application/json", data)
        facts.user.encode()
        facts.model.encode()
        assert facts.characters >= 0
        named = models_in_request(slug, rest, "application/json", data)
        assert {*_models_at_the_top(data)} <= {*named, *(f"models/{model}" for model in named)}
        form = "multipart/form-data; boundary=b"
        models_in_request(slug, rest, form, data)
        request_facts(provider, rest, form, data).model.encode()
        changed = with_usage(provider, rest, data)
        if changed is not None and data.isascii():
            assert json.loads(changed)["stream_options"]["include_usage"] is True
            assert with_usage(provider, rest, changed) is None
            assert states_usage(provider, rest, changed)
    given, made = estimated_tokens(data)
    assert 0 <= given < _MOST
    assert 0 <= made < _MOST
    question = question_of(data)
    if question is not None:
        question.text.encode("utf-8", "surrogatepass")
        json.loads(question.rest)
    document = json_of(data)
    if max(data.count(b"["), data.count(b"{")) < 100 and isinstance(document, dict):
        turned = dict(reversed(document.items()))
        with suppress(ValueError):  # a number that is none in JSON, or one beyond all numbers
            written = json.dumps(document, allow_nan=False)
            assert _key(written.encode()) == _key(json.dumps(turned, indent=1).encode())


def _models_at_the_top(body: bytes) -> Iterator[str]:
    """Yield the models that a parser finds to which capital and small letters are the same."""
    with suppress(NotForThis):
        document = json_of(body)
        for name, value in document.items() if isinstance(document, dict) else ():
            if name.lower() == "model" and isinstance(value, str):
                yield value


def _key(body: bytes) -> str:
    return cache_key(
        gateway="g",
        provider="openai",
        path="p",
        query="",
        model="m",
        identity="i",
        body=body,
        content_type="application/json",
    )


def aws_messages(data: bytes) -> None:
    """What was written as a message is read as one, with the same words."""
    told = object_of(data)
    kind = text_at(told, "type").encode("ascii", "replace").decode()[:200]
    payload = body_of(told.get("body", {}))
    (event,) = AwsEventParser().feed(encoded_exception(kind, payload))
    assert (event.type, event.payload) == (kind, payload)


TARGETS = [
    Target(
        "unified_requests",
        unified_requests,
        [
            "trunkline.unified.anthropic",
            "trunkline.unified.bedrock",
            "trunkline.unified.chat",
            "trunkline.unified.cohere",
            "trunkline.unified.google",
            "trunkline.unified.messages",
            "trunkline.unified.responses",
        ],
        (
            MalformedRequest,
            UnknownProvider,
        ),
    ),
    Target(
        "unified_answers",
        unified_answers,
        [
            "trunkline.unified.anthropic",
            "trunkline.unified.bedrock",
            "trunkline.unified.chat",
            "trunkline.unified.cohere",
            "trunkline.unified.google",
            "trunkline.unified.messages",
            "trunkline.unified.responses",
        ],
        (
            MalformedRequest,
            UnknownProvider,
        ),
    ),
    Target(
        "usage",
        usage,
        [
            "trunkline.policy.usage.anthropic",
            "trunkline.policy.usage.bedrock",
            "trunkline.policy.usage.cohere",
            "trunkline.policy.usage.document",
            "trunkline.policy.usage.google",
            "trunkline.policy.usage.openai",
            "trunkline.policy.usage.reader",
        ],
    ),
    Target(
        "request_bodies",
        request_bodies,
        [
            "trunkline.policy.usage.request",
            "trunkline.policy.models",
            "trunkline.policy.estimating",
            "trunkline.policy.caching",
        ],
    ),
    Target("aws_messages", aws_messages, []),
]
