"""Clients of Anthropic and of OpenAI's Responses that call tools with models of Bedrock and Cohere, there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.test_unified_bedrock import AWS
from tests.unit.test_unified_bedrock import STREAM as BEDROCK_STREAM
from tests.unit.test_unified_cohere import TOOL_STREAM as COHERE_STREAM
from tests.unit.test_unified_messages import put_together as message_of
from tests.unit.test_unified_responses import put_together as response_of
from tests.unit.unified_exchanges import EVENTS, answered, asked, each_byte
from trunkline.errors import UpstreamBroken
from trunkline.providers import Catalogue
from trunkline.unified.adapter import Adapter
from trunkline.unified.choosing import Surface, adapt

CATALOGUE = Catalogue.build({})
CLAUDE = "eu-west-3/anthropic.claude-sonnet-4-5-20250929-v1:0"
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
QUESTION = {"role": "user", "content": "How warm is it in Rome and Oslo?"}
MESSAGES = {"max_tokens": 4000, "stream": True, "tools": [{"name": "weather", "input_schema": SCHEMA}]}
RESPONSES = {"stream": True, "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}]}


def chosen(surface: Surface, slug: str, model: str, body: dict[str, Any]) -> Adapter:
    provider = CATALOGUE.find(slug)
    assert provider is not None
    return adapt(surface, provider, model, json.dumps({"model": f"{slug}/{model}", **body}).encode(), now=1, id="abc")


def test_claude_at_bedrock_gets_its_signed_thinking_back_from_a_client_of_anthropic() -> None:
    first = chosen("messages", "aws-bedrock", CLAUDE, {**MESSAGES, "messages": [QUESTION]})
    assert first.path == "bedrock-runtime/eu-west-3/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
    said = message_of(answered(first, each_byte(BEDROCK_STREAM), type=AWS).body)
    assert (said["stop_reason"], said["usage"]["cache_read_input_tokens"]) == ("tool_use", 4)
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "30"}
        for block in said["content"]
        if block["type"] == "tool_use"
    ]
    again = [QUESTION, {"role": "assistant", "content": said["content"]}, {"role": "user", "content": results}]
    told = asked(chosen("messages", "aws-bedrock", CLAUDE, {**MESSAGES, "messages": again}))
    assert told["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "It is warm.", "signature": "sig="}}},
                {"text": "Grüß Gott 🌞"},
                {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"place": "Rome"}}},
                {"toolUse": {"toolUseId": "t2", "name": "weather", "input": {"place": "Oslo"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "t1", "content": [{"text": "30"}]}},
                {"toolResult": {"toolUseId": "t2", "content": [{"text": "30"}]}},
            ],
        },
    ]


def test_cohere_gets_its_plan_back_from_a_client_of_responses() -> None:
    first = chosen("responses", "cohere", "command-a", {**RESPONSES, "input": [QUESTION]})
    assert first.path == "v2/chat"
    said = response_of(answered(first, each_byte(COHERE_STREAM), type=EVENTS).body)
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "30"}
        for item in said["output"]
        if item["type"] == "function_call"
    ]
    again = chosen("responses", "cohere", "command-a", {**RESPONSES, "input": [QUESTION, *said["output"], *results]})
    assert asked(again)["messages"] == [
        QUESTION,
        {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}},
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "30"},
        {"role": "tool", "tool_call_id": "c2", "content": "30"},
    ]


@pytest.mark.parametrize(
    ("slug", "model", "stream", "type"),
    [
        ("aws-bedrock", CLAUDE, BEDROCK_STREAM, AWS),
        ("cohere", "command-a", COHERE_STREAM, EVENTS),
    ],
)
@pytest.mark.parametrize("surface", ["messages", "responses"])
def test_a_stream_that_breaks_off_does_not_look_complete_to_any_client(
    surface: Surface, slug: str, model: str, stream: bytes, type: bytes
) -> None:
    body = {**MESSAGES, "messages": [QUESTION]} if surface == "messages" else {**RESPONSES, "input": [QUESTION]}
    one = chosen(surface, slug, model, body)
    one.begin(200, [(b"content-type", type)])
    said = one.feed(stream[: len(stream) * 3 // 4])
    assert said
    assert b"message_stop" not in said
    assert b"response.completed" not in said
    with pytest.raises(UpstreamBroken):
        one.finish()
