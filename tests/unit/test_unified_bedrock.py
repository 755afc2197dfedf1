"""Chat completions as Bedrock's Converse: what is asked, and what is made of the answer, whole and in binary events."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given

from tests.unit.unified_exchanges import (
    answered,
    asked,
    chunks,
    completion,
    cuts,
    deltas,
    each_byte,
    put_together,
    told,
)
from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.bedrock import BedrockAdapter

MODEL = "us-east-1/amazon.nova-pro-v1:0"
CLAUDE = "eu-west-3/anthropic.claude-sonnet-4-5-20250929-v1:0"
AWS = b"application/vnd.amazon.eventstream"
QUESTION = {"role": "user", "content": "How warm is it in Rome?"}
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a place.", "parameters": PARAMETERS, "strict": True},
}


def adapter(model: str = MODEL, *, region: str = "", **fields: Any) -> BedrockAdapter:
    fields.setdefault("messages", [QUESTION])
    return BedrockAdapter(fields, model, now=1700000000, id="abc", region=region)


def request(model: str = MODEL, **fields: Any) -> Any:
    return asked(adapter(model, **fields))


def turns(*messages: Any) -> Any:
    return request(messages=list(messages))["messages"]


def frame(type: str, payload: Any, *, kind: str = "event") -> bytes:
    headers = b""
    for name, value in (
        (":error-code" if kind == "error" else f":{kind}-type", type),
        (":content-type", "application/json"),
        (":message-type", kind),
    ):
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    data = json.dumps(payload, ensure_ascii=False).encode() if payload is not None else b""
    prelude = struct.pack(">II", 16 + len(headers) + len(data), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + data
    return message + struct.pack(">I", zlib.crc32(message))


def start(index: int, **of: Any) -> bytes:
    return frame("contentBlockStart", {"start": of, "contentBlockIndex": index})


def delta(index: int, **of: Any) -> bytes:
    return frame("contentBlockDelta", {"delta": of, "contentBlockIndex": index, "p": "abc"})


def stop(index: int) -> bytes:
    return frame("contentBlockStop", {"contentBlockIndex": index})


USAGE = {"inputTokens": 10, "outputTokens": 7, "totalTokens": 22, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 1}
STREAM = b"".join(
    (
        frame("messageStart", {"role": "assistant"}),
        delta(0, reasoningContent={"text": "It is "}),
        delta(0, reasoningContent={"text": "warm."}),
        delta(0, reasoningContent={"signature": "sig="}),
        stop(0),
        delta(1, text="Grüß "),
        delta(1, text="Gott 🌞"),
        stop(1),
        start(2, toolUse={"toolUseId": "t1", "name": "weather"}),
        delta(2, toolUse={"input": '{"place": '}),
        delta(2, toolUse={"input": '"Rome"}'}),
        stop(2),
        start(3, toolUse={"toolUseId": "t2", "name": "weather"}),
        delta(3, toolUse={"input": '{"place": "Oslo"}'}),
        stop(3),
        frame("messageStop", {"stopReason": "tool_use"}),
        frame("metadata", {"usage": USAGE, "metrics": {"latencyMs": 100}}),
    )
)


def whole(*content: Any, stop: str = "end_turn", **fields: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": list(content)}
    return {"output": {"message": said}, "stopReason": stop, "usage": USAGE, "metrics": {"latencyMs": 1}, **fields}


# Where it goes


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (MODEL, "us-east-1/model/amazon.nova-pro-v1%3A0"),
        ("us-gov-west-1/meta.llama3-70b-instruct-v1:0", "us-gov-west-1/model/meta.llama3-70b-instruct-v1%3A0"),
        (
            "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc",
            "eu-central-1/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Aapplication-inference-profile%2Fabc",
        ),
    ],
)
def test_the_region_before_a_model_leads_to_its_host_and_the_model_is_in_the_path(model: str, path: str) -> None:
    assert adapter(model).path == f"bedrock-runtime/{path}/converse"
    assert adapter(model, stream=True).path == f"bedrock-runtime/{path}/converse-stream"


def test_a_region_of_the_settings_is_for_models_without_one() -> None:
    assert adapter("amazon.nova-lite-v1:0", region="us-west-2").path.startswith(
        "bedrock-runtime/us-west-2/model/amazon"
    )
    assert adapter(MODEL, region="us-west-2").path.startswith("bedrock-runtime/us-east-1/model/amazon")


@pytest.mark.parametrize("model", ["amazon.nova-pro-v1:0", "evil.example/amazon.nova", "us-east-1/", "us-east-1#/x"])
def test_a_model_without_a_region_is_refused_with_how_to_name_one(model: str) -> None:
    with pytest.raises(MalformedRequest, match="model: "):
        adapter(model)


@pytest.mark.parametrize("region", ["evil.example", "us-east-1.evil.example/x", "us-east-1@evil", "US"])
def test_no_region_leads_to_another_host(region: str) -> None:
    with pytest.raises(MalformedRequest, match="us-east-1"):
        adapter("amazon.nova-pro-v1:0", region=region)
    with pytest.raises(MalformedRequest, match="us-east-1"):
        adapter(f"arn:aws:bedrock:{region}:1:x/y")


# What is asked


def test_a_question_has_its_limits_in_inference_config() -> None:
    one = adapter(temperature=0.5, top_p=0.9, stop="END", max_completion_tokens=300, stream=True, user="u-1")
    assert asked(one) == {
        "messages": [{"role": "user", "content": [{"text": "How warm is it in Rome?"}]}],
        "inferenceConfig": {"maxTokens": 300, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    }
    assert (b"accept-encoding", b"identity") in one.headers
    assert request() == {"messages": [{"role": "user", "content": [{"text": "How warm is it in Rome?"}]}]}


def test_instructions_come_first_and_marks_of_what_to_cache_become_cache_points() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    told = request(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "Be brief.", **mark}]},
            {
                "role": "user",
                "content": [{"type": "text", "text": "A long story", **mark}, {"type": "text", "text": " "}],
            },
            {"role": "developer", "content": "Be kind."},
        ],
        tools=[{**WEATHER, **mark}],
    )
    point = {"cachePoint": {"type": "default"}}
    assert told["system"] == [{"text": "Be brief."}, point, {"text": "Be kind."}]
    assert told["messages"] == [{"role": "user", "content": [{"text": "A long story"}, point]}]
    assert told["toolConfig"]["tools"][1] == point


def test_pictures_and_documents_travel_within_the_request() -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,aGk="}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "my_report: v2.pdf"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "my report.v2.txt"}},
        {"type": "file", "file": {"file_data": "data:text/csv;base64,aGk="}},
        {"type": "file", "file": {"file_data": "data:text/csv;base64,aGk="}},
    ]
    told = turns({"role": "user", "content": content})[0]["content"]
    assert told[1] == {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}}
    assert told[2] == {"document": {"format": "pdf", "name": "my report v2", "source": {"bytes": "aGk="}}}
    assert [block["document"]["name"] for block in told[2:]] == [
        "my report v2",
        "my report v2 2",
        "document",
        "document 2",
    ]
    assert [block["document"]["format"] for block in told[2:]] == ["pdf", "txt", "csv", "csv"]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}, "image_url: .*data:image/png"),
        ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}}, "image_url: .*PNG"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file: .*file_data"),
        ({"type": "file", "file": {"file_data": "data:video/mp4;base64,aGk="}}, "file: .*application/pdf"),
        ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}, "input_audio: "),
    ],
)
def test_what_bedrock_cannot_see_is_refused_with_what_it_can(part: Any, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words) as refused:
        turns({"role": "user", "content": [part]})
    assert refused.value.code == 2019


def test_a_round_of_tools_is_told_with_results_in_one_turn() -> None:
    calls = [
        {"id": "call|1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Rome"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    told = turns(
        QUESTION,
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call|1", "content": "30 degrees"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": ""}, picture]},
        {"role": "tool", "tool_call_id": "call_3", "content": ""},
        {"role": "user", "content": "Well?"},
    )
    assert [turn["role"] for turn in told] == ["user", "assistant", "user"]
    assert told[1]["content"] == [
        {"text": "Let me see."},
        {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"place": "Rome"}}},
        {"toolUse": {"toolUseId": "call_2", "name": "now", "input": {}}},
    ]
    shown = {"image": {"format": "png", "source": {"bytes": "aGk="}}}
    assert told[2]["content"] == [
        {"toolResult": {"toolUseId": "call_1", "content": [{"text": "30 degrees"}]}},
        {"toolResult": {"toolUseId": "call_2", "content": [shown]}},
        {"toolResult": {"toolUseId": "call_3", "content": [{"text": "(nothing)"}]}},
        {"text": "Well?"},
    ]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, None),
        ("auto", None),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "weather"}}, {"tool": {"name": "weather"}}),
    ],
)
def test_tools_and_which_is_to_be_called(choice: Any, told: Any) -> None:
    config = request(tools=[WEATHER, {"type": "function", "function": {"name": "now"}}], tool_choice=choice)[
        "toolConfig"
    ]
    assert config["tools"] == [
        {"toolSpec": {"name": "weather", "description": "Of a place.", "inputSchema": {"json": PARAMETERS}}},
        {"toolSpec": {"name": "now", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
    ]
    assert config.get("toolChoice") == told


def test_no_tool_is_to_be_called_where_none_was_before() -> None:
    assert "toolConfig" not in request(tools=[WEATHER], tool_choice="none")
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    with pytest.raises(MalformedRequest, match="tool_choice"):
        request(
            tools=[WEATHER],
            tool_choice="none",
            messages=[
                QUESTION,
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "a", "content": "30"},
            ],
        )


def test_claude_alone_is_kept_to_one_call_at_a_time() -> None:
    told = request(CLAUDE, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)
    assert told["additionalModelRequestFields"] == {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    assert "toolChoice" not in told["toolConfig"]
    with pytest.raises(MalformedRequest, match="parallel_tool_calls"):
        request(tools=[WEATHER], parallel_tool_calls=False)


@pytest.mark.parametrize(
    ("model", "effort", "fields"),
    [
        (CLAUDE, "medium", {"thinking": {"type": "enabled", "budget_tokens": 8192}}),
        (CLAUDE, "none", None),
        ("us-east-1/openai.gpt-oss-120b-1:0", "low", {"reasoning_effort": "low"}),
        (
            "us-east-1/us.amazon.nova-2-lite-v1:0",
            "high",
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
        ),
        (MODEL, "none", None),
    ],
)
def test_effort_is_told_in_the_words_of_the_models_maker(model: str, effort: str, fields: Any) -> None:
    assert request(model, reasoning_effort=effort).get("additionalModelRequestFields") == fields


def test_claude_that_decides_how_much_to_think_is_told_an_effort() -> None:
    told = request("us-east-1/us.anthropic.claude-opus-4-7-v1:0", reasoning_effort="high")
    assert told["additionalModelRequestFields"]["thinking"]["type"] == "adaptive"
    assert told["additionalModelRequestFields"]["output_config"] == {"effort": "high"}


def test_signed_thinking_is_told_again_before_the_calls_that_came_of_it() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig="},
        {"type": "redacted_thinking", "data": "aGlkZGVu"},
        {"type": "thinking", "thinking": "not signed", "signature": ""},
    ]
    said = {"role": "assistant", "content": None, "tool_calls": [call], "thinking_blocks": blocks}
    told = turns(QUESTION, said, {"role": "tool", "tool_call_id": "a", "content": "30"})[1]["content"]
    assert told == [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig="}}},
        {"reasoningContent": {"redactedContent": "aGlkZGVu"}},
        {"toolUse": {"toolUseId": "a", "name": "weather", "input": {}}},
    ]


def test_an_answers_shape_is_told_as_a_schema_in_text() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": PARAMETERS, "strict": True}}
    told = request(response_format=form)["outputConfig"]["textFormat"]
    assert told["type"] == "json_schema"
    assert told["structure"]["jsonSchema"]["name"] == "city"
    assert json.loads(told["structure"]["jsonSchema"]["schema"]) == PARAMETERS
    closed = request(CLAUDE, response_format=form)["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]
    assert json.loads(closed)["additionalProperties"] is False
    assert "outputConfig" not in request(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 2}, "n: "),
        ({"seed": 0}, "seed: "),
        ({"logprobs": True}, "logprobs: "),
        ({"frequency_penalty": 0.5}, "frequency_penalty: "),
        ({"response_format": {"type": "json_object"}}, "response_format: "),
        ({"reasoning_effort": "low"}, "reasoning_effort: "),
        ({"top_k": 5}, "top_k: "),
    ],
)
def test_what_cannot_be_told_is_refused_by_its_name(fields: Any, words: str) -> None:
    with pytest.raises(MalformedRequest, match=f"^{words}"):
        adapter(**fields)


def test_what_asks_for_nothing_is_let_pass() -> None:
    assert "inferenceConfig" not in request(n=1, logprobs=False, presence_penalty=0)
    assert request(CLAUDE, top_k=5)["additionalModelRequestFields"] == {"top_k": 5}


# What is answered


def test_a_whole_answer_is_a_chat_completion_with_what_the_cache_read_among_its_input() -> None:
    found = completion(told(adapter(), whole({"text": "Warm"}, {"text": " ☀"})))
    assert found.id == "chatcmpl-abc"
    assert found.created == 1700000000
    assert found.model == "amazon.nova-pro-v1:0"
    assert found.choices[0].message.content == "Warm ☀"
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (15, 7, 22)
    assert found.usage.prompt_tokens_details is not None
    assert found.usage.prompt_tokens_details.cached_tokens == 4


def test_a_whole_answer_tells_calls_and_thinking() -> None:
    answer = told(
        adapter(CLAUDE),
        whole(
            {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig="}}},
            {"reasoningContent": {"redactedContent": "aGlkZGVu"}},
            {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"place": "Rome"}}},
            {"toolUse": {"toolUseId": "t2", "name": "now", "input": {}}},
            stop="tool_use",
        ),
    )
    said = completion(answer).choices[0]
    assert said.finish_reason == "tool_calls"
    assert said.message.content is None
    assert [call.model_dump() for call in said.message.tool_calls or []] == [
        {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Rome"}'}},
        {"id": "t2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ]
    message = answer.json["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm."
    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig="},
        {"type": "redacted_thinking", "data": "aGlkZGVu"},
    ]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("yet_unknown", "stop"),
    ],
)
def test_why_an_answer_ended(theirs: str, ours: str) -> None:
    assert completion(told(adapter(), whole({"text": "A"}, stop=theirs))).choices[0].finish_reason == ours
    stream = delta(0, text="A") + frame("messageStop", {"stopReason": theirs}) + frame("metadata", {"usage": USAGE})
    assert put_together(answered(adapter(stream=True), stream, type=AWS).body).choices[0].finish_reason == ours


def test_an_error_keeps_its_status_and_says_its_kind() -> None:
    kind = (b"x-amzn-ErrorType", b"ThrottlingException:http://internal.example/")
    answer = told(adapter(), {"message": "Too many requests"}, status=429, more=[kind])
    assert answer.status == 429
    assert answer.json["error"] == {
        "message": "Too many requests",
        "type": "rate_limit_error",
        "param": None,
        "code": "ThrottlingException",
    }
    assert told(adapter(), {"Message": "No."}, status=403).json["error"]["type"] == "permission_error"
    plain = answered(adapter(stream=True), b"<html>", status=502, type=b"text/html")
    assert (plain.status, plain.json["error"]["message"]) == (502, "<html>")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"{}", b'{"output": {"message": 5}}'])
def test_what_is_no_answer_is_not_told_as_one(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        answered(adapter(), body)


def test_a_stream_is_told_in_chunks_that_openais_client_puts_together() -> None:
    one = adapter(CLAUDE, stream=True, stream_options={"include_usage": True})
    answer = answered(one, STREAM, type=AWS)
    assert dict(answer.headers)[b"content-type"] == b"text/event-stream; charset=utf-8"
    found = put_together(answer.body)
    assert found.choices[0].message.content == "Grüß Gott 🌞"
    assert found.choices[0].finish_reason == "tool_calls"
    assert [(call.id, call.function.arguments) for call in found.choices[0].message.tool_calls or []] == [  # type: ignore[union-attr]
        ("t1", '{"place": "Rome"}'),
        ("t2", '{"place": "Oslo"}'),
    ]
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (15, 7)
    told = deltas(answer.body)
    assert "".join(one.get("reasoning_content", "") for one in told) == "It is warm."
    assert [one["thinking_blocks"] for one in told if "thinking_blocks" in one] == [
        [{"index": 0, "type": "thinking", "thinking": "It is warm.", "signature": "sig="}]
    ]


def test_what_was_used_is_told_only_where_it_was_asked_for() -> None:
    assert all("usage" not in one for one in chunks(answered(adapter(stream=True), STREAM, type=AWS).body)[:-1])


@given(cuts(STREAM))
def test_however_a_stream_is_cut_the_client_gets_the_same_bytes(pieces: list[bytes]) -> None:
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    expected = answered(adapter(CLAUDE, **fields), STREAM, type=AWS)
    assert answered(adapter(CLAUDE, **fields), pieces, type=AWS) == expected


def test_a_stream_may_come_byte_by_byte() -> None:
    expected = answered(adapter(stream=True), STREAM, type=AWS)
    assert answered(adapter(stream=True), each_byte(STREAM), type=AWS) == expected


def test_no_beginning_of_a_stream_looks_complete() -> None:
    lengths = [0, *(at for at in range(1, len(STREAM)) if at % 37 == 0), len(STREAM) - 1]
    for length in lengths:
        one = adapter(stream=True)
        one.begin(200, [(b"content-type", AWS)])
        said = one.feed(STREAM[:length])
        assert b"[DONE]" not in said
        with pytest.raises(UpstreamBroken):
            one.finish()


def test_a_damaged_frame_ends_the_stream_as_broken() -> None:
    damaged = bytearray(STREAM)
    damaged[len(STREAM) // 2] ^= 1
    with pytest.raises(UpstreamBroken):
        answered(adapter(stream=True), bytes(damaged), type=AWS)


@pytest.mark.parametrize(
    ("kind", "type"),
    [
        ("throttlingException", "rate_limit_error"),
        ("validationException", "invalid_request_error"),
        ("modelStreamErrorException", "server_error"),
    ],
)
def test_an_exception_within_a_stream_is_told_and_nothing_follows_it(kind: str, type: str) -> None:
    stream = delta(0, text="A") + frame(kind, {"message": "No more."}, kind="exception") + STREAM
    found = chunks(answered(adapter(stream=True), stream, type=AWS).body)
    assert found[-1]["error"] == {"message": "No more.", "type": type, "param": None, "code": kind}
    assert "[DONE]" not in found


def test_an_error_without_words_within_a_stream_is_told_by_its_code() -> None:
    stream = delta(0, text="A") + frame("InternalTrouble", None, kind="error") + STREAM
    found = chunks(answered(adapter(stream=True), stream, type=AWS).body)
    assert found[-1]["error"]["code"] == "InternalTrouble"
    assert "[DONE]" not in found


def test_what_was_used_does_not_end_an_answer_that_has_not_ended() -> None:
    with pytest.raises(UpstreamBroken):
        answered(adapter(stream=True), delta(0, text="A") + frame("metadata", {"usage": USAGE}), type=AWS)


def test_events_that_are_new_are_passed_over() -> None:
    stream = frame("yetUnknown", {"x": 1}) + STREAM
    assert answered(adapter(stream=True), stream, type=AWS) == answered(adapter(stream=True), STREAM, type=AWS)
