"""Targets: the unified API in all of its words, both ways, and what answers say of their usage."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

from tests.fuzz.of_wire import CATALOGUE, compressed
from tests.fuzz.target import NotForThis, Target, body_of, cut, json_of, object_of, seed, text_at
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
from trunkline.providers import Provider
from trunkline.unified.adapter import Adapter
from trunkline.unified.choosing import PassedThrough, Surface, adapt, with_model
from trunkline.unified.naming import wanted
from trunkline.wire.aws_events import AwsEventParser, encoded_exception

SURFACES: tuple[Surface, ...] = get_args(Surface)
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
    status, type, body = whole
    if status == 0 or isinstance(_asked(surface, provider, told), PassedThrough):
        return
    if type.startswith("application/json"):
        json.loads(body.decode())
    elif type.startswith(_SSE):
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
    assert found[0] == found[1] or kind.startswith(_SSE) is False and len(answer) > 10_000
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
    for slug, rest in (("openai", "chat/completions"), ("google-ai-studio", "v1beta/models/g:generateContent"), ("cohere", "v2/chat")):
        provider = PROVIDERS[slug]
        facts = request_facts(provider, rest, "application/json", data)
        facts.user.encode()
        facts.model.encode()
        assert facts.characters >= 0
        for model in models_in_request(slug, rest, "application/json", data):
            assert isinstance(model, str)
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
    is_canonical = max(data.count(b"["), data.count(b"{")) < 100 and b"NaN" not in data and b"Infinity" not in data
    if is_canonical and isinstance(document, dict):
        turned = dict(reversed(document.items()))
        assert _key(json.dumps(document).encode()) == _key(json.dumps(turned, indent=1).encode())


def _key(body: bytes) -> str:
    return cache_key(
        gateway="g", provider="openai", path="p", query="", model="m", identity="i", body=body, content_type="application/json"
    )


def aws_messages(data: bytes) -> None:
    """What was written as a message is read as one, with the same words."""
    told = object_of(data)
    kind = text_at(told, "type").encode("ascii", "replace").decode()[:200]
    payload = body_of(told.get("body", {}))
    (event,) = AwsEventParser().feed(encoded_exception(kind, payload))
    assert (event.type, event.payload) == (kind, payload)


_WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}, "strict": True}}
_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}
_CHAT = {
    "model": "openai/gpt-5",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "How warm is it?"}, _PICTURE]},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"place\":\"Rome\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21"},
        {"role": "user", "content": "Thank you.", "name": "jo"},
    ],
    "tools": [_WEATHER],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "temperature": 0.5,
    "top_p": 0.9,
    "max_completion_tokens": 100,
    "stop": ["END"],
    "n": 1,
    "seed": 7,
    "stream": True,
    "stream_options": {"include_usage": True},
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
    "user": "someone",
    "metadata": {"a": "b"},
}  # fmt: skip
_MESSAGES = {
    "model": "openai/gpt-5",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "See."}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}, {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}, {"type": "tool_use", "id": "t1", "name": "weather", "input": {"place": "Rome"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": False, "content": [{"type": "text", "text": "21"}]}]},
    ],
    "tools": [{"name": "weather", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "stop_sequences": ["END"],
    "top_k": 5,
    "stream": True,
    "metadata": {"user_id": "u"},
}  # fmt: skip
_RESPONSES = {
    "model": "anthropic/claude-sonnet-4-5",
    "instructions": "Be kind.",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "See."}, {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"}, {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}]},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "e"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "21"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "It is 21.", "annotations": []}]},
        {"role": "user", "content": "Thank you."},
    ],
    "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": "auto",
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "max_output_tokens": 100,
    "stream": True,
    "store": False,
    "include": ["reasoning.encrypted_content"],
}  # fmt: skip
_EMBEDDINGS = {"model": "cohere/embed", "input": ["a", "b"], "dimensions": 256, "encoding_format": "base64"}
_WORDS = (
    ("openai", "gpt-5"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google-ai-studio", "gemini-2.5-flash"),
    ("google-vertex-ai", "p/europe-west4/google/gemini-2.5-pro"),
    ("aws-bedrock", "us-east-1/amazon.nova-pro-v1:0"),
    ("cohere", "command-a"),
    ("azure-openai", "res/dep"),
    ("mistral", "mistral-small"),
)
_CLAUDE_STREAM = [
    {"type": "message_start", "message": {"id": "m", "model": "claude-sonnet-4-5", "role": "assistant", "content": [], "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Grüß"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":1}"}},
    {"type": "content_block_stop", "index": 2},
    {"type": "ping"},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]  # fmt: skip
_CLAUDE = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Hi", "citations": None}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}], "stop_reason": "tool_use", "usage": {"input_tokens": 5, "output_tokens": 9, "cache_creation": {"ephemeral_5m_input_tokens": 1}, "server_tool_use": {"web_search_requests": 1}}}
_GEMINI = {"candidates": [{"content": {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "Hi", "thoughtSignature": "c2ln"}, {"functionCall": {"name": "f", "args": {"a": 1}}}]}, "finishReason": "STOP", "index": 0}], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 2, "totalTokenCount": 14, "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 3}], "cachedContentTokenCount": 1}, "modelVersion": "gemini-2.5-flash", "promptFeedback": {}}
_NOVA = {"output": {"message": {"role": "assistant", "content": [{"text": "Hi"}, {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}, {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}]}}, "stopReason": "tool_use", "usage": {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12, "cacheReadInputTokens": 1}, "metrics": {"latencyMs": 5}}
_NOVA_STREAM = [
    ["messageStart", {"role": "assistant"}],
    ["contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}],
    ["contentBlockStop", {"contentBlockIndex": 0}],
    ["contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}],
    ["contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}],
    ["contentBlockStop", {"contentBlockIndex": 1}],
    ["messageStop", {"stopReason": "tool_use"}],
    ["metadata", {"usage": {"inputTokens": 5, "outputTokens": 7}, "metrics": {"latencyMs": 5}}],
]  # fmt: skip
_COMMAND = {"id": "m", "finish_reason": "COMPLETE", "message": {"role": "assistant", "tool_plan": "hm", "content": [{"type": "text", "text": "Hi"}, {"type": "thinking", "thinking": "hm"}], "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}], "citations": [{"start": 0, "end": 2, "text": "Hi", "sources": []}]}, "usage": {"billed_units": {"input_tokens": 9, "output_tokens": 7, "search_units": 1}, "tokens": {"input_tokens": 79, "output_tokens": 8}}}
_COMMAND_STREAM = [
    {"id": "m", "type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}},
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "hm"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
    {"type": "content-end", "index": 0},
    {"type": "tool-call-start", "index": 1, "delta": {"message": {"tool_calls": {"id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}}}},
    {"type": "tool-call-delta", "index": 1, "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}}},
    {"type": "tool-call-end", "index": 1},
    {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {"tokens": {"input_tokens": 1, "output_tokens": 2}}}},
]  # fmt: skip
_GPT = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5", "service_tier": "default", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": None, "reasoning_content": "hm", "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}], "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "x"}}}]}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2}, "cost": 0.5}}
_GPT_STREAM = [
    {"id": "c", "object": "chat.completion.chunk", "model": "gpt-5", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": None}]},
    {"id": "c", "object": "chat.completion.chunk", "model": "gpt-5", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{"}}]}}]},
    {"id": "c", "object": "chat.completion.chunk", "model": "gpt-5", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}}]},
    {"id": "c", "object": "chat.completion.chunk", "model": "gpt-5", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"id": "c", "object": "chat.completion.chunk", "model": "gpt-5", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}},
    "[DONE]",
]  # fmt: skip
_ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy.", "code": 529, "status": "UNAVAILABLE", "param": None}}
_ANSWERS = [
    {"provider": "anthropic", "body": _CLAUDE},
    {"provider": "anthropic", "type": _SSE, "events": _CLAUDE_STREAM, "stream": True, "usage": True},
    {"provider": "google-ai-studio", "body": _GEMINI},
    {"provider": "google-ai-studio", "type": _SSE, "events": [_GEMINI, _GEMINI], "stream": True},
    {"provider": "aws-bedrock", "body": _NOVA},
    {"provider": "aws-bedrock", "type": _AWS, "events": _NOVA_STREAM, "stream": True},
    {"provider": "cohere", "body": _COMMAND},
    {"provider": "cohere", "type": _SSE, "events": _COMMAND_STREAM, "stream": True, "usage": True},
    {"provider": "anthropic", "status": 529, "body": _ERROR},
    {"provider": "anthropic", "type": _SSE, "events": [*_CLAUDE_STREAM[:7], _ERROR], "stream": True},
    {"provider": "google-ai-studio", "status": 429, "body": [_ERROR]},
    *({"surface": surface, "provider": "mistral", "body": _GPT} for surface in ("messages", "responses")),
    *(
        {"surface": surface, "provider": "mistral", "type": _SSE, "events": _GPT_STREAM, "stream": True}
        for surface in ("messages", "responses")
    ),
    *(
        {"surface": surface, "provider": "aws-bedrock", "type": _AWS, "events": _NOVA_STREAM, "stream": True}
        for surface in ("messages", "responses")
    ),
    {"surface": "messages", "provider": "google-ai-studio", "type": _SSE, "events": [_GEMINI], "stream": True},
    {"surface": "responses", "provider": "anthropic", "type": _SSE, "events": _CLAUDE_STREAM, "stream": True},
    {"surface": "messages", "provider": "mistral", "status": 400, "body": _ERROR},
    {"surface": "embeddings", "provider": "google-ai-studio", "body": {"embeddings": [{"values": [0.5, 1]}, {"values": [0.25, 2]}]}},
    {"surface": "embeddings", "provider": "cohere", "body": {"embeddings": {"float": [[0.5], [1.0]]}, "meta": {"billed_units": {"input_tokens": 3}}}},
]  # fmt: skip
_PATHS = {
    "anthropic": "v1/messages",
    "google-ai-studio": "v1beta/models/gemini-2.5-flash:generateContent",
    "aws-bedrock": "bedrock-runtime/us-east-1/model/amazon.nova-pro-v1:0/converse",
    "cohere": "v2/chat",
    "mistral": "v1/chat/completions",
}
_USAGES = [
    *({"path": _PATHS[str(one["provider"])], **one} for one in _ANSWERS[:12]),
    {"provider": "openai", "path": "chat/completions", "body": _GPT},
    {"provider": "openai", "path": "chat/completions", "type": _SSE, "events": _GPT_STREAM},
    {"provider": "openai", "path": "chat/completions", "encoding": "gzip", "body": _GPT},
    {"provider": "openai", "path": "responses", "type": _SSE, "events": [{"type": "response.completed", "response": {"model": "gpt-5", "status": "completed", "usage": {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12, "input_tokens_details": {"cached_tokens": 1}}}}]},
    {"provider": "openai", "path": "audio/transcriptions", "body": {"text": "hi", "duration": 1.5, "usage": {"type": "tokens", "input_tokens": 5, "input_token_details": {"audio_tokens": 5}, "output_tokens": 3}}},
    {"provider": "openai", "path": "images/generations", "body": {"data": [{"b64_json": "aGk="}], "usage": {"input_tokens": 5, "output_tokens": 7, "input_tokens_details": {"image_tokens": 2}}}},
    {"provider": "google-vertex-ai", "path": "v1/projects/p/locations/l/publishers/google/models/g:predict", "body": {"predictions": [{}], "metadata": {"tokenMetadata": {"inputTokenCount": {"totalTokens": 5}}}}},
    {"provider": "perplexity-ai", "path": "chat/completions", "body": {"model": "sonar", "usage": {"prompt_tokens": 5, "completion_tokens": 7, "cost": {"total_cost": 0.01}, "num_search_queries": 1}, "choices": []}},
]  # fmt: skip
_UNIFIED = [f"trunkline.unified.{name}" for name in ("anthropic", "bedrock", "chat", "cohere", "google", "messages", "responses")]
_USAGE = [f"trunkline.policy.usage.{name}" for name in ("anthropic", "bedrock", "cohere", "document", "google", "openai", "reader")]

TARGETS = [
    Target(
        "unified_requests",
        unified_requests,
        [
            *(seed({"surface": "chat", "provider": slug, "model": model, "body": _CHAT}) for slug, model in _WORDS),
            *(
                seed({"surface": surface, "provider": slug, "model": model, "body": body})
                for surface, body in (("messages", _MESSAGES), ("responses", _RESPONSES), ("embeddings", _EMBEDDINGS))
                for slug, model in _WORDS
            ),
        ],
        _UNIFIED,
        (MalformedRequest, UnknownProvider),
    ),
    Target(
        "unified_answers",
        unified_answers,
        [seed(one) for one in _ANSWERS],
        _UNIFIED,
        (MalformedRequest, UnknownProvider),
    ),
    Target("usage", usage, [seed(one) for one in _USAGES], _USAGE),
    Target(
        "request_bodies",
        request_bodies,
        [seed(_CHAT), seed(_MESSAGES), seed(_RESPONSES), seed(_EMBEDDINGS), seed({"contents": [{"role": "user", "parts": [{"text": "Is 7 prime?"}]}]})],
        ["trunkline.policy.usage.request", "trunkline.policy.models", "trunkline.policy.estimating", "trunkline.policy.caching"],
    ),
    Target("aws_messages", aws_messages, [seed({"type": "throttlingException", "body": {"message": "x"}})], []),
]  # fmt: skip
