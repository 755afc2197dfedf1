"""Which adapter an exchange gets, by what the client speaks and what the provider does."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from openai.types.responses import Response

from tests.unit.unified_exchanges import EVENTS, answered, asked, cuts, each_byte, events, told
from trunkline.errors import MalformedRequest, UnknownProvider, UpstreamBroken
from trunkline.providers import Catalogue, Provider
from trunkline.providers.resolution import resolve_http
from trunkline.unified.adapter import Adapter
from trunkline.unified.choosing import PassedThrough, Surface, adapt, with_model
from trunkline.unified.naming import wanted

CATALOGUE = Catalogue.build(
    {
        "aws-bedrock": {"parameters": {"region": "us-east-1"}},
        "azure-openai": {"parameters": {"resource": "mine"}},
        "google-vertex-ai": {"parameters": {"project": "p", "region": "europe-west4"}},
        "workers-ai": {"parameters": {"account": "a"}},
    }
)
TRANSLATED = {"anthropic", "aws-bedrock", "cohere", "google-vertex-ai"}
WITH_CHAT = [one for one in CATALOGUE.all() if one.unified_words != "none"]
WITHOUT_CHAT = [one for one in CATALOGUE.all() if one.unified_words == "none"]

CHAT: dict[str, Any] = {"model": "x/y", "messages": [{"role": "user", "content": "Hi"}]}
MESSAGES: dict[str, Any] = {**CHAT, "max_tokens": 10}
RESPONSES: dict[str, Any] = {"model": "x/y", "input": "Hi"}
EMBEDDINGS: dict[str, Any] = {"model": "x/y", "input": "Hi"}


def provider(name: str, **fields: Any) -> Provider:
    found = (Catalogue.build({name: fields}) if fields else CATALOGUE).find(name)
    assert found is not None
    return found


def chosen(surface: Surface, one: Provider | str, body: Any, model: str = "m-1") -> Adapter:
    told_body = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = provider(one) if isinstance(one, str) else one
    return adapt(surface, found, model, told_body, now=1700000000, id="abc")


# What is passed through


def test_a_body_keeps_every_byte_of_its_members_but_the_models() -> None:
    body = '{ "model" : "openai/gpt-5" ,"big":12345678901234567890123, "n":1.0e2,"ü":[1, {"a": "\\u00e4"}],"x":null}'
    changed = with_model(body.encode(), 'gpt"5')
    text = '"big":12345678901234567890123,"n":1.0e2,"ü":[1, {"a": "\\u00e4"}],"x":null'
    assert changed.decode() == f'{{"model":"gpt\\"5",{text}}}'


def test_a_body_without_a_model_gets_one() -> None:
    assert with_model(b'{"input":"a"}', "m") == b'{"input":"a","model":"m"}'


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":}', b"\xff"])
@pytest.mark.parametrize("surface", ["chat", "embeddings", "responses", "messages"])
@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_body_that_is_no_object_is_refused(name: str, surface: Surface, body: bytes) -> None:
    with pytest.raises((MalformedRequest, UnknownProvider)) as refused:
        chosen(surface, name, body)
    assert refused.value.status == 400


def test_what_both_speak_is_passed_through_with_its_answer() -> None:
    one = chosen("chat", "groq", {**CHAT, "weird": [1]})
    assert (one.path, one.headers) == ("chat/completions", [])
    assert asked(one) == {**CHAT, "model": "m-1", "weird": [1]}
    headers = [(b"content-type", b"text/event-stream"), (b"x-request-id", b"r"), (b"content-encoding", b"gzip")]
    assert one.begin(418, headers) == (418, headers)
    assert one.feed(b"\x1f\x8b anything") == b"\x1f\x8b anything"
    assert one.finish() == b""


@pytest.mark.parametrize(
    ("surface", "name", "path"),
    [
        ("responses", "openai", "responses"),
        ("responses", "groq", "responses"),
        ("responses", "grok", "v1/responses"),
        ("responses", "openrouter", "v1/responses"),
        ("messages", "anthropic", "v1/messages"),
        ("embeddings", "openai", "embeddings"),
        ("embeddings", "mistral", "v1/embeddings"),
        ("embeddings", "google-ai-studio", "v1beta/openai/embeddings"),
        ("chat", "google-ai-studio", "v1beta/openai/chat/completions"),
    ],
)
def test_a_providers_own_surface_of_the_kind_is_used(surface: Surface, name: str, path: str) -> None:
    one = chosen(surface, name, {**CHAT, "input": "Hi", "thinking": {"type": "adaptive"}})
    assert isinstance(one, PassedThrough)
    assert one.path == path
    assert asked(one)["thinking"] == {"type": "adaptive"}


# What is translated


@pytest.mark.parametrize("one", WITH_CHAT, ids=lambda one: one.slug)
@pytest.mark.parametrize(("surface", "body"), [("chat", CHAT), ("messages", MESSAGES), ("responses", RESPONSES)])
def test_every_provider_with_a_chat_is_asked_at_a_place_of_its_own(
    surface: Surface, body: dict[str, Any], one: Provider
) -> None:
    found = chosen(surface, one, body)
    path, _, _ = found.path.partition("?")
    assert resolve_http(one, path).url.startswith("http")
    if surface == "chat":
        assert isinstance(found, PassedThrough) is (one.slug not in TRANSLATED)
    if not isinstance(found, PassedThrough):
        assert (b"accept-encoding", b"identity") in found.headers


@pytest.mark.parametrize("one", WITHOUT_CHAT, ids=lambda one: one.slug)
@pytest.mark.parametrize(
    ("surface", "body"),
    [("chat", CHAT), ("messages", MESSAGES), ("responses", RESPONSES), ("embeddings", EMBEDDINGS)],
)
def test_a_provider_without_one_is_refused_by_its_name(surface: Surface, body: dict[str, Any], one: Provider) -> None:
    with pytest.raises(UnknownProvider, match=one.name) as refused:
        chosen(surface, one, body)
    assert refused.value.code == 2008


@pytest.mark.parametrize("name", ["anthropic", "aws-bedrock", "google-vertex-ai"])
def test_embeddings_where_there_are_none_are_refused(name: str) -> None:
    with pytest.raises(UnknownProvider, match="embeddings"):
        chosen("embeddings", name, EMBEDDINGS)


def test_settings_say_whose_words_a_provider_is_asked_in() -> None:
    studio = provider("google-ai-studio", unified="google")
    assert chosen("chat", studio, CHAT).path == "v1beta/models/m-1:generateContent"
    assert chosen("embeddings", studio, EMBEDDINGS).path == "v1beta/models/m-1:batchEmbedContents"
    claude = provider("anthropic", unified="openai")
    assert chosen("chat", claude, CHAT).path == "v1/chat/completions"
    mine = provider("custom-mine", base_url="https://claude.example", unified="anthropic")
    assert chosen("chat", mine, CHAT).path == "v1/messages"
    none = provider("openai", unified="none")
    with pytest.raises(UnknownProvider, match="unified API"):
        chosen("chat", none, CHAT)


def test_a_model_at_vertex_ai_has_its_place_in_the_settings_or_before_its_name() -> None:
    place = "v1/projects/p/locations/europe-west4/publishers/google/models/gemini-3-flash:generateContent"
    assert chosen("chat", "google-vertex-ai", CHAT, "google/gemini-3-flash").path == place
    bare = provider("google-vertex-ai", parameters={})
    other = chosen("chat", bare, CHAT, "q/us-east1/google/gemini-3-flash").path
    assert other == place.replace("/p/", "/q/").replace("europe-west4", "us-east1")
    with pytest.raises(MalformedRequest, match="project and a region"):
        chosen("chat", bare, CHAT, "gemini-3-flash")


def test_a_deployment_at_azure_has_its_resource_in_the_settings_or_before_its_name() -> None:
    one = chosen("chat", "azure", CHAT, "gpt-5")
    assert one.path == "mine/gpt-5/chat/completions?api-version=2024-10-21"
    assert asked(one)["model"] == "gpt-5"
    other = provider("azure-openai", parameters={"api_version": "2025-04-01-preview"})
    path = "yours/gpt-5/chat/completions?api-version=2025-04-01-preview"
    assert chosen("chat", other, CHAT, "yours/gpt-5").path == path
    assert chosen("messages", other, MESSAGES, "yours/gpt-5").path == path
    assert chosen("embeddings", other, EMBEDDINGS, "yours/e").path == path.replace(
        "gpt-5/chat/completions", "e/embeddings"
    )
    with pytest.raises(MalformedRequest, match="RESOURCE/DEPLOYMENT"):
        chosen("chat", other, CHAT, "gpt-5")


def test_a_place_before_a_models_name_cannot_lead_elsewhere() -> None:
    bare = provider("google-vertex-ai", parameters={})
    path = chosen("chat", bare, CHAT, "q/evil.example#/google/gemini").path
    with pytest.raises(MalformedRequest):
        resolve_http(bare, path)


# By way of the hub

CLAUDE_TALK = events(
    {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "🌍"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
    named=True,
)
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x"}
GPT_TALK = b"".join(
    [
        events({**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Grüße "}}]}),
        events({**CHUNK, "choices": [{"index": 0, "delta": {"content": "🌍"}, "finish_reason": None}]}),
        events({**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        events({**CHUNK, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}}),
        b"data: [DONE]\n\n",
    ]
)
# Who asks whom, and what the provider streams.
WAYS: list[tuple[Surface, str, dict[str, Any], bytes]] = [
    ("responses", "anthropic", RESPONSES, CLAUDE_TALK),
    ("responses", "mistral", RESPONSES, GPT_TALK),
    ("messages", "openai", MESSAGES, GPT_TALK),
]


def data_of(stream: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in stream.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def said_text(stream: bytes) -> str:
    """Return the text of a stream of Anthropic's or of OpenAI's Responses."""
    pieces = []
    for value in data_of(stream):
        if value["type"] == "response.output_text.delta":
            pieces.append(value["delta"])
        elif value["type"] == "content_block_delta" and value["delta"]["type"] == "text_delta":
            pieces.append(value["delta"]["text"])
    return "".join(pieces)


@pytest.mark.parametrize(("surface", "name", "body", "talk"), WAYS)
def test_a_stream_passes_through_the_hub(surface: Surface, name: str, body: dict[str, Any], talk: bytes) -> None:
    one = chosen(surface, name, {**body, "stream": True})
    assert (b"accept-encoding", b"identity") in one.headers
    assert asked(one)["model"] == "m-1"
    answer = answered(one, talk, type=EVENTS)
    assert dict(answer.headers)[b"content-type"].startswith(EVENTS)
    assert said_text(answer.body) == "Grüße 🌍"
    last = data_of(answer.body)[-1]
    assert last["type"] in ("message_stop", "response.completed")


@pytest.mark.parametrize(("surface", "name", "body", "talk"), WAYS)
def test_however_a_stream_is_cut_the_client_gets_the_same_through_the_hub(
    surface: Surface, name: str, body: dict[str, Any], talk: bytes
) -> None:
    def said(cut: list[bytes]) -> bytes:
        return answered(chosen(surface, name, {**body, "stream": True}), cut, type=EVENTS).body

    @given(cuts(talk))
    def is_the_same(pieces: list[bytes]) -> None:
        assert said(pieces) == whole

    whole = said([talk])
    assert said(each_byte(talk)) == whole
    is_the_same()


@pytest.mark.parametrize(("surface", "name", "body", "talk"), WAYS)
def test_a_stream_that_breaks_off_does_not_look_complete_through_the_hub(
    surface: Surface, name: str, body: dict[str, Any], talk: bytes
) -> None:
    one = chosen(surface, name, {**body, "stream": True})
    one.begin(200, [(b"content-type", EVENTS)])
    said = one.feed(talk[: talk.index("🌍".encode())])
    assert not {value["type"] for value in data_of(said)} & {"message_stop", "response.completed"}
    with pytest.raises(UpstreamBroken):
        one.finish()


def test_a_whole_answer_passes_through_the_hub() -> None:
    message = {
        "type": "message",
        "model": "claude-x",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 9},
    }
    said = Response.model_validate(told(chosen("responses", "anthropic", RESPONSES), message).json)
    assert said.output_text == "Hi"
    assert said.usage is not None
    assert said.usage.total_tokens == 12


def test_an_answer_that_comes_packed_all_the_same_passes_through_the_hub() -> None:
    one = chosen("messages", "openai", {**MESSAGES, "stream": True})
    answer = answered(one, each_byte(gzip.compress(GPT_TALK)), type=EVENTS, more=[(b"content-encoding", b"gzip")])
    assert said_text(answer.body) == "Grüße 🌍"
    assert b"content-encoding" not in dict(answer.headers)


def test_an_error_reaches_a_client_in_its_own_words() -> None:
    error = {"error": {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded"}}
    answer = told(chosen("messages", "openai", MESSAGES), error, status=429)
    assert answer.status == 429
    assert answer.json["type"] == "error"
    assert answer.json["error"]["type"] == "rate_limit_error"
    assert "Slow down." in answer.json["error"]["message"]


def test_calls_make_a_round_trip_from_a_client_of_anthropic_to_gemini() -> None:
    tools = [{"name": "weather", "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}}}]
    vertex = provider("google-vertex-ai")
    part = {"functionCall": {"name": "weather", "args": {"place": "Rome"}}, "thoughtSignature": "c2ln"}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    first = chosen("messages", vertex, {**MESSAGES, "tools": tools}, "gemini-3-flash")
    said = told(first, {"candidates": [candidate]}).json
    assert said["stop_reason"] == "tool_use"
    use = next(block for block in said["content"] if block["type"] == "tool_use")
    assert (use["name"], use["input"]) == ("weather", {"place": "Rome"})
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "20"}
    turns = [
        *MESSAGES["messages"],
        {"role": "assistant", "content": said["content"]},
        {"role": "user", "content": [result]},
    ]
    back = asked(chosen("messages", vertex, {**MESSAGES, "tools": tools, "messages": turns}, "gemini-3-flash"))
    assert back["contents"][1:] == [
        {"role": "model", "parts": [part]},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "20"}}}]},
    ]


@pytest.mark.parametrize("model", ["/gpt-4o", "/", "/dynamic/x"])
def test_a_model_with_nothing_before_its_slash_is_refused(model: str) -> None:
    with pytest.raises(MalformedRequest, match="provider/model"):
        wanted("chat/completions", json.dumps({"model": model}).encode(), "openai")
