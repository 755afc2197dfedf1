"""Chat completions as Anthropic's Messages: what is asked, and what is made of the answer."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import given

from tests.unit.unified_exchanges import (
    EVENTS,
    answered,
    asked,
    chunks,
    completion,
    cuts,
    deltas,
    each_byte,
    events,
    put_together,
    told,
)
from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.anthropic import AnthropicAdapter, version_of

MODEL = "claude-sonnet-4-5"
ADAPTIVE = "claude-opus-4-7"
OLD = "claude-3-5-sonnet-20241022"
QUESTION = {"role": "user", "content": "How warm is it in Rome?"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        "strict": True,
    },
}
SHAPE = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}, "near": {"type": "array", "items": {"type": "object"}}},
}


BROKEN_CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{"}}


def user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def adapter(model: str = MODEL, **fields: Any) -> AnthropicAdapter:
    fields.setdefault("messages", [QUESTION])
    return AnthropicAdapter(fields, model, now=1700000000, id="abc")


def request(model: str = MODEL, **fields: Any) -> Any:
    return asked(adapter(model, **fields))


def whole(*content: Any, stop: str = "end_turn", **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 7},
        **fields,
    }


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


# What is asked


def test_a_question_goes_to_messages_with_its_version_and_a_limit() -> None:
    one = adapter(temperature=0.5, top_p=0.9, stop=["END"], user="u-1", max_completion_tokens=300, stream=True)
    assert one.path == "v1/messages"
    assert (b"anthropic-version", b"2023-06-01") in one.headers
    assert (b"accept-encoding", b"identity") in one.headers
    assert asked(one) == {
        "model": MODEL,
        "max_tokens": 300,
        "messages": [{"role": "user", "content": [text("How warm is it in Rome?")]}],
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
        "metadata": {"user_id": "u-1"},
        "stream": True,
    }


@pytest.mark.parametrize(
    ("model", "most"), [(MODEL, 32_000), ("claude-opus-4-1", 32_000), (OLD, 4096), ("claude-3-haiku-20240307", 4096)]
)
def test_without_a_limit_the_answer_may_be_as_long_as_every_model_of_the_kind_can(model: str, most: int) -> None:
    assert request(model)["max_tokens"] == most
    assert request(model, max_tokens=5)["max_tokens"] == 5


def test_instructions_of_both_names_and_from_any_place_become_the_system() -> None:
    told = request(
        messages=[
            {"role": "system", "content": "Be brief."},
            QUESTION,
            {"role": "developer", "content": [{**text("Be kind."), "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": "Warm."},
            {"role": "user", "content": [text("And"), text("Oslo?")]},
        ]
    )
    assert told["system"] == [text("Be brief."), {**text("Be kind."), "cache_control": {"type": "ephemeral"}}]
    assert told["messages"] == [
        {"role": "user", "content": [text("How warm is it in Rome?")]},
        {"role": "assistant", "content": [text("Warm.")]},
        {"role": "user", "content": [text("And"), text("Oslo?")]},
    ]


def test_pictures_and_documents_travel_within_or_by_their_address() -> None:
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,aGk=", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": f"data:text/plain;base64,{base64.b64encode('Ü'.encode()).decode()}"}},
    ]
    assert request(messages=[{"role": "user", "content": content}])["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Ü"}},
    ]


def test_empty_texts_which_anthropic_refuses_are_left_out() -> None:
    messages = [{"role": "user", "content": [text(""), text("Hi")]}, {"role": "assistant", "content": ""}, QUESTION]
    assert request(messages=messages)["messages"] == [
        {"role": "user", "content": [text("Hi"), text("How warm is it in Rome?")]}
    ]


def test_tools_are_told_with_their_schemas() -> None:
    bare = {"type": "function", "function": {"name": "now"}, "cache_control": {"type": "ephemeral"}}
    assert request(tools=[WEATHER, bare])["tools"] == [
        {
            "name": "weather",
            "description": "The weather of a place.",
            "input_schema": WEATHER["function"]["parameters"],  # type: ignore[index]
        },
        {
            "name": "now",
            "input_schema": {"type": "object", "properties": {}},
            "cache_control": {"type": "ephemeral"},
        },
    ]


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            {"type": "tool", "name": "weather"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_which_tool_is_to_be_called_is_told(fields: dict[str, Any], choice: Any) -> None:
    assert request(tools=[WEATHER], **fields).get("tool_choice") == choice


def test_a_choice_without_tools_is_left_out() -> None:
    assert "tool_choice" not in request(tool_choice="auto", parallel_tool_calls=False)


def test_results_of_calls_side_by_side_are_one_turn_with_what_is_said_after_them() -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}
    told = request(
        messages=[
            QUESTION,
            {"role": "assistant", "content": "Let me see.", "tool_calls": [{"id": "a/1", **call}, {"id": "b", **call}]},
            {"role": "tool", "tool_call_id": "a/1", "content": "20"},
            {
                "role": "tool",
                "tool_call_id": "b",
                "content": [text("21"), {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
            },
            {"role": "user", "content": "Well?"},
        ]
    )
    use = {"type": "tool_use", "name": "weather", "input": {"place": "Rome"}}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    assert told["messages"][1:] == [
        {"role": "assistant", "content": [text("Let me see."), {**use, "id": "a_1"}, {**use, "id": "b"}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a_1", "content": [text("20")]},
                {"type": "tool_result", "tool_use_id": "b", "content": [text("21"), picture]},
                text("Well?"),
            ],
        },
    ]


def test_a_schema_is_told_as_structured_outputs_take_it() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SHAPE, "strict": True}}
    told = request(response_format=form)
    assert told["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "(minLength: 1)"},
                "near": {"type": "array", "items": {"type": "object", "additionalProperties": False}},
            },
            "additionalProperties": False,
        },
    }
    assert "tools" not in told


def test_a_property_that_is_called_like_a_limit_stays_in_the_schema() -> None:
    schema = {"type": "object", "properties": {"minimum": {"type": "integer"}}, "required": ["minimum"]}
    form = {"type": "json_schema", "json_schema": {"name": "range", "schema": schema}}
    assert request(response_format=form)["output_config"]["format"]["schema"]["properties"] == {
        "minimum": {"type": "integer"}
    }


def test_an_older_model_gives_a_shaped_answer_as_the_arguments_of_a_tool() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SHAPE}}
    one = adapter(OLD, response_format=form)
    assert asked(one)["tools"][0]["input_schema"] == SHAPE
    assert asked(one)["tool_choice"] == {"type": "tool", "name": asked(one)["tools"][0]["name"]}
    use = {"type": "tool_use", "id": "t", "name": asked(one)["tools"][0]["name"], "input": {"city": "Rome"}}
    said = completion(told(one, whole(use, stop="tool_use"))).choices[0]
    assert json.loads(said.message.content or "") == {"city": "Rome"}
    assert said.message.tool_calls is None
    assert said.finish_reason == "stop"


def test_an_older_model_streams_a_shaped_answer_as_text() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SHAPE}}
    one = adapter(OLD, response_format=form, stream=True)
    name = asked(one)["tools"][0]["name"]
    stream = streamed(
        started({"type": "tool_use", "id": "t", "name": name, "input": {}}),
        more({"type": "input_json_delta", "partial_json": '{"city":'}),
        more({"type": "input_json_delta", "partial_json": ' "Rome"}'}),
        stopped(),
        stop="tool_use",
    )
    said = put_together(answered(one, stream, type=EVENTS).body).choices[0]
    assert said.message.content == '{"city": "Rome"}'
    assert not said.message.tool_calls
    assert said.finish_reason == "stop"


def test_any_json_is_asked_for_in_words() -> None:
    told = request(response_format={"type": "json_object"}, messages=[{"role": "system", "content": "Hi"}, QUESTION])
    assert told["system"][0] == text("Hi")
    assert "JSON object" in told["system"][1]["text"]


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output"),
    [
        (ADAPTIVE, "minimal", {"type": "adaptive", "display": "summarized"}, {"effort": "low"}),
        (ADAPTIVE, "xhigh", {"type": "adaptive", "display": "summarized"}, {"effort": "xhigh"}),
        ("claude-opus-4-6", "xhigh", {"type": "adaptive", "display": "summarized"}, {"effort": "high"}),
        (ADAPTIVE, "none", {"type": "disabled"}, None),
        (MODEL, "minimal", {"type": "enabled", "budget_tokens": 1024}, None),
        (MODEL, "high", {"type": "enabled", "budget_tokens": 16_384}, None),
        (MODEL, "none", None, None),
        (OLD, "none", None, None),
    ],
)
def test_an_effort_is_told_as_the_model_takes_it(model: str, effort: str, thinking: Any, output: Any) -> None:
    told = request(model, reasoning_effort=effort)
    assert told.get("thinking") == thinking
    assert told.get("output_config") == output


def test_a_budget_leaves_room_for_the_answer() -> None:
    assert request(reasoning_effort="high", max_tokens=4000)["thinking"]["budget_tokens"] == 3000
    assert "thinking" not in request(reasoning_effort="high", max_tokens=1000)


def test_thinking_is_left_off_where_a_call_is_forced() -> None:
    assert "thinking" not in request(reasoning_effort="low", tools=[WEATHER], tool_choice="required")
    told = request(ADAPTIVE, reasoning_effort="low", tools=[WEATHER], tool_choice="required")
    assert "thinking" not in told
    assert told["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("blocks", "thinks"), [(None, False), ([{"type": "thinking", "thinking": "", "signature": "s"}], True)]
)
def test_with_results_of_tools_a_budget_needs_the_thinking_that_led_to_them(blocks: Any, thinks: bool) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]} | (
        {"thinking_blocks": blocks} if blocks else {}
    )
    result = {"role": "tool", "tool_call_id": "a", "content": "20"}
    told = request(reasoning_effort="low", tools=[WEATHER], messages=[QUESTION, said, result])
    assert ("thinking" in told) is thinks
    later = request(reasoning_effort="low", tools=[WEATHER], messages=[QUESTION, said, result, QUESTION])
    assert "thinking" in later


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n": 2}, "n"),
        ({"seed": 0}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"frequency_penalty": 0.1}, "frequency_penalty"),
        ({"presence_penalty": -1}, "presence_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"temperature": 1.5}, "temperature"),
        ({"stop": ["\n"]}, "stop"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (user({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}), "input_audio"),
        (user({"type": "file", "file": {"file_id": "f"}}), "file"),
        (user({"type": "image_url", "image_url": {"url": "ftp://secret"}}), "image_url"),
        ({"messages": [{"role": "assistant", "tool_calls": [BROKEN_CALL]}]}, "arguments"),
    ],
)
def test_what_cannot_be_told_is_refused_by_its_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(MalformedRequest, match=named) as refused:
        adapter(**fields)
    assert refused.value.code == 2019
    assert "secret" not in refused.value.message


def test_what_asks_for_nothing_is_let_pass() -> None:
    told = request(n=1, logprobs=False, frequency_penalty=0, presence_penalty=0, logit_bias={}, modalities=["text"])
    assert set(told) == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("claude-sonnet-4-5-20250929", (4, 5)),
        ("claude-opus-4-20250514", (4, 0)),
        ("claude-opus-4.1", (4, 1)),
        ("claude-3-7-sonnet-latest", (3, 7)),
        ("claude-3-opus-20240229", (3, 0)),
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", (4, 5)),
        ("claude-sonnet-5", (5, 0)),
    ],
)
def test_a_models_version_is_read_from_its_name(model: str, version: tuple[int, int]) -> None:
    assert version_of(model) == version


# What is answered


def test_a_message_becomes_a_chat_completion() -> None:
    answer = told(
        adapter(),
        whole(text("20 °C"), text(" and sunny.")),
        more=[(b"request-id", b"req_1"), (b"content-length", b"999"), (b"Content-Encoding", b"identity")],
    )
    assert answer.status == 200
    assert (b"request-id", b"req_1") in answer.headers
    assert not {b"content-length", b"content-encoding"} & {name.lower() for name, _ in answer.headers}
    said = completion(answer)
    assert said.id == "chatcmpl-abc"
    assert said.created == 1700000000
    assert said.model == "claude-sonnet-4-5-20250929"
    assert said.choices[0].message.content == "20 °C and sunny."
    assert said.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
    ],
)
def test_why_a_message_ended_is_said_in_openais_words(stop: str, reason: str) -> None:
    assert completion(told(adapter(), whole(text("x"), stop=stop))).choices[0].finish_reason == reason
    stream = streamed(started(text("")), more({"type": "text_delta", "text": "x"}), stopped(), stop=stop)
    said = put_together(answered(adapter(stream=True), stream, type=EVENTS).body)
    assert said.choices[0].finish_reason == reason


def test_a_refusal_says_why() -> None:
    refused = whole(stop="refusal", stop_details={"type": "refusal", "explanation": "This is about poison."})
    said = completion(told(adapter(), refused)).choices[0].message
    assert (said.content, said.refusal) == (None, "This is about poison.")


def test_what_was_used_counts_what_the_cache_read_and_wrote() -> None:
    used = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 5},
    }
    said = completion(told(adapter(), whole(text("x"), usage=used))).usage
    assert said is not None
    assert (said.prompt_tokens, said.completion_tokens, said.total_tokens) == (140, 7, 147)
    assert said.prompt_tokens_details is not None
    assert said.prompt_tokens_details.cached_tokens == 100
    assert said.completion_tokens_details is not None
    assert said.completion_tokens_details.reasoning_tokens == 5


def test_calls_and_their_thinking_make_a_round_trip() -> None:
    thinking = {"type": "thinking", "thinking": "Rome, then.", "signature": "sig"}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    uses = [
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Rome"}},
        {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
    ]
    answer = told(adapter(tools=[WEATHER]), whole(thinking, hidden, text("I look."), *uses, stop="tool_use"))
    choice = completion(answer).choices[0]
    assert choice.finish_reason == "tool_calls"
    said = answer.json["choices"][0]["message"]
    assert said["reasoning_content"] == "Rome, then."
    assert [json.loads(call["function"]["arguments"]) for call in said["tool_calls"]] == [{"place": "Rome"}, {}]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "20"} for call in said["tool_calls"]]
    back = request(tools=[WEATHER], reasoning_effort="low", messages=[QUESTION, said, *results])
    assert back["messages"][1] == {"role": "assistant", "content": [thinking, hidden, text("I look."), *uses]}
    assert [block["tool_use_id"] for block in back["messages"][2]["content"]] == ["toolu_1", "toolu_2"]
    assert back["thinking"]["type"] == "enabled"


@pytest.mark.parametrize(
    ("status", "kind", "type"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "authentication_error", "authentication_error"),
        (404, "not_found_error", "not_found_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (500, "api_error", "server_error"),
        (529, "overloaded_error", "server_error"),
    ],
)
def test_an_error_keeps_its_status_and_is_told_as_openais(status: int, kind: str, type: str) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "No."}, "request_id": "r"}
    answer = told(adapter(stream=True), error, status=status, more=[(b"retry-after", b"7")])
    assert answer.status == status
    assert (b"retry-after", b"7") in answer.headers
    assert answer.json == {"error": {"message": "No.", "type": type, "param": None, "code": kind}}


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"[1]", b'"no"', b"\xff\xfe"])
def test_an_error_of_any_other_kind_is_told_as_text(body: bytes) -> None:
    answer = answered(adapter(), body, status=502, type=b"text/html")
    assert answer.status == 502
    assert answer.json["error"]["type"] == "server_error"
    assert answer.json["error"]["message"]
    assert dict(answer.headers)[b"content-type"] == b"application/json"


def test_an_answer_that_comes_packed_all_the_same_is_unpacked() -> None:
    packed = gzip.compress(json.dumps(whole(text("Hi"))).encode())
    answer = answered(adapter(), each_byte(packed), more=[(b"content-encoding", b"gzip")])
    assert completion(answer).choices[0].message.content == "Hi"
    with pytest.raises(UpstreamBroken):
        answered(adapter(), b"packed", more=[(b"content-encoding", b"zstd")])


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"type":"message"}', b'{"type":"error","error":{}}'])
def test_a_success_that_is_no_message_does_not_look_like_one(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        answered(adapter(), body)


# What is streamed


def started(block: Any, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(delta: Any, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stopped(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def begun() -> dict[str, Any]:
    used = {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 1}
    return {"type": "message_start", "message": whole(stop="", usage=used) | {"stop_reason": None}}


def ended(stop: str) -> list[dict[str, Any]]:
    delta = {"stop_reason": stop, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 25}},
        {"type": "message_stop"},
    ]


def streamed(*between: Any, stop: str = "end_turn") -> bytes:
    return events(begun(), {"type": "ping"}, *between, *ended(stop), named=True)


TALK = streamed(
    started({"type": "thinking", "thinking": "", "signature": ""}),
    more({"type": "thinking_delta", "thinking": "Grüße"}),
    more({"type": "thinking_delta", "thinking": " 🌍"}),
    more({"type": "signature_delta", "signature": "sig"}),
    stopped(),
    started({"type": "redacted_thinking", "data": "xyz"}, 1),
    stopped(1),
    started(text(""), 2),
    more({"type": "text_delta", "text": "Es ist "}, 2),
    more({"type": "text_delta", "text": "世界 warm."}, 2),
    stopped(2),
    started({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}, 3),
    more({"type": "input_json_delta", "partial_json": ""}, 3),
    more({"type": "input_json_delta", "partial_json": '{"place": '}, 3),
    more({"type": "input_json_delta", "partial_json": '"Rom\\u00e4"}'}, 3),
    stopped(3),
    started({"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}, 4),
    stopped(4),
    stop="tool_use",
)


def test_a_stream_is_put_together_by_openais_client() -> None:
    answer = answered(adapter(stream=True, stream_options={"include_usage": True}), TALK, type=EVENTS)
    assert dict(answer.headers)[b"content-type"].startswith(b"text/event-stream")
    said = put_together(answer.body)
    choice = said.choices[0]
    assert said.id == "chatcmpl-abc"
    assert said.model == "claude-sonnet-4-5-20250929"
    assert choice.message.role == "assistant"
    assert choice.message.content == "Es ist 世界 warm."
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == [  # type: ignore[union-attr]
        ("toolu_1", "weather", {"place": "Romä"}),
        ("toolu_2", "now", {}),
    ]
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (14, 25)


def test_thinking_is_streamed_as_reasoning_and_its_blocks_once_whole() -> None:
    found = deltas(answered(adapter(stream=True), TALK, type=EVENTS).body)
    assert "".join(delta.get("reasoning_content", "") for delta in found) == "Grüße 🌍"
    assert [block for delta in found for block in delta.get("thinking_blocks", ())] == [
        {"index": 0, "type": "thinking", "thinking": "Grüße 🌍", "signature": "sig"},
        {"index": 1, "type": "redacted_thinking", "data": "xyz"},
    ]
    message = put_together(answered(adapter(stream=True), TALK, type=EVENTS).body).choices[0].message.model_dump()
    back = request(messages=[QUESTION, {name: value for name, value in message.items() if value is not None}])
    assert back["messages"][1]["content"][:2] == [
        {"type": "thinking", "thinking": "Grüße 🌍", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
    ]


def said_of(cut: list[bytes]) -> bytes:
    return answered(adapter(stream=True), cut, type=EVENTS).body


@given(cuts(TALK))
def test_however_a_stream_is_cut_the_client_gets_the_same(pieces: list[bytes]) -> None:
    assert said_of(pieces) == said_of([TALK])


def test_a_stream_that_comes_byte_by_byte_gives_the_client_the_same() -> None:
    assert said_of(each_byte(TALK)) == said_of([TALK])


def test_each_event_is_told_as_it_comes() -> None:
    one = adapter(stream=True)
    one.begin(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
    assert b'"role":"assistant"' in one.feed(events(begun(), named=True))
    assert one.feed(events(started(text("")), named=True)) == b""
    assert b'"content":"Hi"' in one.feed(events(more({"type": "text_delta", "text": "Hi"}), named=True))


@pytest.mark.parametrize(("options", "stated"), [({}, False), ({"stream_options": {"include_usage": True}}, True)])
def test_a_stream_states_what_it_used_only_where_that_was_asked_for(options: dict[str, Any], stated: bool) -> None:
    found = chunks(answered(adapter(stream=True, **options), TALK, type=EVENTS).body)
    assert found[-1] == "[DONE]"
    last = found[-2]
    assert (last["choices"] == []) is stated
    assert all(("usage" in one) is stated for one in found[:-1])
    assert all(one["usage"] is None for one in found[:-2] if stated)


def test_an_error_within_a_stream_is_told_and_nothing_follows() -> None:
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    stream = events(begun(), started(text("")), more({"type": "text_delta", "text": "Hi"}), failed, named=True)
    found = chunks(answered(adapter(stream=True), stream + events(*ended("end_turn"), named=True), type=EVENTS).body)
    assert found[-1] == {
        "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded_error"}
    }
    assert all(one["choices"][0]["finish_reason"] is None for one in found[:-1])


def test_a_stream_that_breaks_off_anywhere_does_not_look_complete() -> None:
    last = TALK.index(b"event: message_stop")
    for end in (0, 40, TALK.index(b"warm"), last, len(TALK) - 1):
        one = adapter(stream=True, stream_options={"include_usage": True})
        one.begin(200, [(b"content-type", EVENTS)])
        said = one.feed(TALK[:end])
        assert b"[DONE]" not in said
        assert b'"finish_reason":"' not in said
        with pytest.raises(UpstreamBroken):
            one.finish()


def test_an_event_that_is_not_json_breaks_the_stream() -> None:
    one = adapter(stream=True)
    one.begin(200, [(b"content-type", EVENTS)])
    with pytest.raises(UpstreamBroken):
        one.feed(b"data: {nonsense\n\n")
