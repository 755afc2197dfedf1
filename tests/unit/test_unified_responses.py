"""OpenAI's Responses on models that only have a chat: what a request becomes, and what its answer is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.unit.unified_exchanges import EVENTS, JSON, answered, cuts, each_byte, events, told
from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.chat import ChatRequest
from trunkline.unified.responses import ResponsesSurface

ASKED = {"model": "anthropic/claude-sonnet-4-5", "input": "How warm is it?"}
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "description": "Of a place.", "parameters": SCHEMA, "strict": True}
NOW = {"type": "function", "name": "now", "parameters": None, "strict": None}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"}
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def surface(**fields: Any) -> ResponsesSurface:
    return ResponsesSurface(json.dumps({**ASKED, **fields}).encode(), now=1700000000, id="abc")


def chat(**fields: Any) -> Any:
    """Return the hub request, which has to be one."""
    made = surface(**fields).chat
    ChatRequest.read(made)
    return made


def turns(*items: Any) -> Any:
    return chat(input=list(items))["messages"]


def said(role: str, *parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}


def call(id: str, name: str = "weather", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": name, "arguments": arguments}


def result(id: str, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output}


def chunk(delta: Any = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "x", "object": "chat.completion.chunk", "model": "claude-4-5", "choices": choices, **fields}


def called(number: int, id: str = "", name: str = "", arguments: str = "") -> dict[str, Any]:
    of: dict[str, Any] = {"arguments": arguments} | ({"name": name} if name else {})
    return chunk({"tool_calls": [{"index": number, **({"id": id} if id else {}), "function": of}]})


USAGE = {
    "prompt_tokens": 15,
    "completion_tokens": 7,
    "total_tokens": 22,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
USED = {
    "input_tokens": 15,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 22,
}
DONE = b"data: [DONE]\n\n"
THINKING = {"type": "thinking", "thinking": "It is warm.", "signature": "sig="}
HIDDEN = {"type": "redacted_thinking", "data": "hidden"}
STREAM = (
    events(
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"reasoning_content": "It is "}),
        chunk({"reasoning_content": "warm."}),
        chunk({"thinking_blocks": [{"index": 0, **THINKING}]}),
        chunk({"thinking_blocks": [{"index": 1, **HIDDEN}]}),
        chunk({"content": "Grüß "}),
        chunk({"content": "Gott 🌞"}),
        called(0, "c1", "weather"),
        called(0, arguments='{"place": '),
        called(0, arguments='"Rome"}'),
        called(1, "c2", "now", "{}"),
        chunk({}, "tool_calls"),
        chunk(usage=USAGE),
    )
    + DONE
)


def whole(message: Any, finish: str = "stop", **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "claude-4-5",
        "choices": [choice],
        "usage": USAGE,
        **fields,
    }


def told_events(body: bytes) -> list[Any]:
    """Return the events of a stream, each checked as OpenAI's client knows it, numbered without a gap."""
    found = []
    for block in body.decode().split("\n\n"):
        if block:
            name, data = block.split("\n")
            value = json.loads(data.removeprefix("data: "))
            assert name == f"event: {value['type']}"
            EVENT.validate_python(value)
            found.append(value)
    assert [one["sequence_number"] for one in found] == list(range(len(found)))
    return found


def put_together(body: bytes) -> Any:
    """Return a streamed response, which OpenAI's client has to be able to put together."""
    found = told_events(body)
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for one in found:
        state.handle_event(EVENT.validate_python(one))
    assert [one["type"] for one in found[:2]] == ["response.created", "response.in_progress"]
    assert [one["item"] for one in found if one["type"] == "response.output_item.done"] == found[-1]["response"][
        "output"
    ]
    Response.model_validate(found[-1]["response"])
    return found[-1]["response"]


def response(answer: Any) -> Any:
    assert dict(answer.headers)[b"content-type"] == JSON
    Response.model_validate(answer.json)
    return answer.json


# What is asked


def test_a_question_is_a_chat_with_the_same_limits() -> None:
    made = chat(
        instructions="Be brief.",
        max_output_tokens=100,
        temperature=0.5,
        top_p=0.9,
        reasoning={"effort": "low", "summary": "auto"},
        user="u-1",
        store=True,
        truncation="auto",
        include=["reasoning.encrypted_content"],
        metadata={"a": "b"},
        stream=True,
    )
    assert made == {
        "model": "anthropic/claude-sonnet-4-5",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How warm is it?"}],
        "max_tokens": 100,
        "reasoning_effort": "low",
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u-1",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_messages_of_all_roles_and_parts_are_told() -> None:
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}
    told = turns(
        said("developer", {"type": "input_text", "text": "Be kind."}),
        {"role": "user", "content": "Hi"},
        said(
            "assistant",
            {"type": "output_text", "text": "Hello", "annotations": []},
            {"type": "refusal", "refusal": "No."},
        ),
        said("user", {"type": "input_text", "text": "Look:"}, {**PICTURE, "detail": "low"}, file),
    )
    assert told == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello\nNo."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
            ],
        },
    ]


def test_what_a_model_said_and_called_in_a_row_is_one_turn() -> None:
    told = turns(
        {"role": "user", "content": "How warm?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        said("assistant", {"type": "output_text", "text": "See:"}),
        call("c1", arguments='{"place":"Rome"}'),
        call("c2", "now"),
        result("c1", [{"type": "input_text", "text": "30"}, PICTURE]),
        result("c2", "12:00"),
        {"role": "user", "content": "Well?"},
    )
    assert told[1:] == [
        {
            "role": "assistant",
            "content": "See:",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Rome"}'}},
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "30"}, SHOWN]},
        {"role": "tool", "tool_call_id": "c2", "content": "12:00"},
        {"role": "user", "content": "Well?"},
    ]


def test_what_others_encrypted_is_left_out() -> None:
    told = turns(
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAB..."},
        {"role": "user", "content": "Hi"},
    )
    assert told == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("choice", "names", "told"),
    [
        (None, ["weather", "now"], None),
        ("auto", ["weather", "now"], "auto"),
        ("none", ["weather", "now"], "none"),
        ("required", ["weather", "now"], "required"),
        (
            {"type": "function", "name": "now"},
            ["weather", "now"],
            {"type": "function", "function": {"name": "now"}},
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "now"}]},
            ["now"],
            "required",
        ),
    ],
)
def test_tools_and_which_is_to_be_called(choice: Any, names: list[str], told: Any) -> None:
    made = chat(tools=[WEATHER, NOW], tool_choice=choice, parallel_tool_calls=False)
    assert [tool["function"]["name"] for tool in made["tools"]] == names
    assert made.get("tool_choice") == told
    assert made["parallel_tool_calls"] is False


def test_a_tool_keeps_its_schema() -> None:
    assert chat(tools=[WEATHER, NOW])["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Of a place.", "parameters": SCHEMA, "strict": True},
        },
        {"type": "function", "function": {"name": "now"}},
    ]


def test_an_answers_shape_is_told() -> None:
    form = {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}
    assert chat(text={"format": form, "verbosity": "low"})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": SCHEMA, "strict": True},
    }
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat(text={"format": {"type": "text"}})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": None}, "model: "),
        ({"input": None}, "input: "),
        ({"input": []}, "input: "),
        ({"input": [{"role": "robot", "content": "Hi"}]}, r"input\[0\].role: "),
        ({"input": [{"role": "user", "content": 5}]}, r"input\[0\].content: "),
        ({"input": [said("user", {"type": "input_text"})]}, r"input\[0\].content\[0\].text: "),
        ({"input": [said("user", {"type": "wild"})]}, r"input\[0\].content\[0\]: .* wild "),
        ({"input": [said("user", {"type": "input_image", "file_id": "f"})]}, r"input\[0\].content\[0\]: .*image_url"),
        ({"input": [said("user", {"type": "input_file", "file_url": "u"})]}, r"input\[0\].content\[0\]: .*file_data"),
        ({"input": [said("assistant", PICTURE)]}, r"input\[0\].content: "),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, r"input\[0\]: "),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, r"input\[0\]: .* web_search_call "),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "x"}]}, r"input\[0\].arguments: "),
        ({"tools": [{"type": "web_search"}]}, r"tools\[0\]: .* web_search "),
        ({"tools": [{"type": "function"}]}, r"tools\[0\].name: "),
        ({"tools": [WEATHER], "tool_choice": {"type": "file_search"}}, "tool_choice: .* file_search "),
        ({"tools": [WEATHER], "tool_choice": "wild"}, "tool_choice: "),
        ({"previous_response_id": "resp_1"}, "previous_response_id: .*as input"),
        ({"conversation": {"id": "conv_1"}}, "conversation: .*as input"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt: "),
        ({"background": True}, "background: "),
        ({"top_logprobs": 2}, "top_logprobs: "),
        ({"max_output_tokens": 0}, "max_output_tokens: .* from 1"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema: "),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"temperature": "hot"}, "temperature: "),
    ],
)
def test_what_a_chat_cannot_be_told_is_refused_with_its_place(fields: Any, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words) as refused:
        surface(**fields)
    assert refused.value.code == 2019


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"{}"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        ResponsesSurface(body, now=1, id="abc")


# What is answered


def test_a_whole_answer_is_a_response() -> None:
    found = response(told(surface(instructions="Be brief.", metadata={"a": "b"}), whole({"content": "Warm ☀"})))
    assert (found["id"], found["created_at"], found["status"]) == ("resp_abc", 1700000000, "completed")
    assert (found["model"], found["instructions"], found["metadata"]) == ("claude-4-5", "Be brief.", {"a": "b"})
    assert found["output"] == [
        {
            "type": "message",
            "id": "msg_abc_0",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Warm ☀", "annotations": [], "logprobs": []}],
        }
    ]
    assert found["usage"] == USED
    assert Response.model_validate(found).output_text == "Warm ☀"
    assert found["store"] is False


def test_a_whole_answer_tells_thinking_words_and_calls_in_order() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}},
        {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ]
    message = {"content": "See:", "reasoning_content": "Hm.", "tool_calls": calls}
    found = response(told(surface(tools=[WEATHER, NOW]), whole(message, "tool_calls")))
    assert [one["type"] for one in found["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert found["output"][0]["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert "encrypted_content" not in found["output"][0]
    assert found["output"][2] == {
        "type": "function_call",
        "id": "fc_abc_2",
        "status": "completed",
        "call_id": "c1",
        "name": "weather",
        "arguments": '{"place": "Rome"}',
    }
    assert found["tools"] == [WEATHER, NOW]


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_is_incomplete(finish: str, reason: str) -> None:
    found = response(told(surface(), whole({"content": "A"}, finish)))
    body = events(chunk({"content": "A"}), chunk({}, finish), chunk(usage=USAGE)) + DONE
    answer = answered(surface(stream=True), body, type=EVENTS).body
    assert told_events(answer)[-1]["type"] == "response.incomplete"
    for one in (found, put_together(answer)):
        assert (one["status"], one["incomplete_details"]) == ("incomplete", {"reason": reason})
        assert one["output"][0]["status"] == "incomplete"


def test_a_refusal_is_told_as_one() -> None:
    part = {"type": "refusal", "refusal": "No."}
    assert response(told(surface(), whole({"content": None, "refusal": "No."})))["output"][0]["content"] == [part]
    body = events(chunk({"refusal": "N"}), chunk({"refusal": "o."}), chunk({}, "stop")) + DONE
    assert put_together(answered(surface(stream=True), body, type=EVENTS).body)["output"][0]["content"] == [part]


def test_signed_thinking_comes_back_as_it_was() -> None:
    message = {"content": "C", "thinking_blocks": [THINKING, HIDDEN], "reasoning_content": "It is warm."}
    output = response(told(surface(), whole(message)))["output"]
    again = turns({"role": "user", "content": "Hi"}, *output, {"role": "user", "content": "And?"})
    assert again[1] == {
        "role": "assistant",
        "content": "C",
        "reasoning_content": "It is warm.",
        "thinking_blocks": [THINKING, HIDDEN],
    }


def test_an_error_keeps_its_status_and_its_object() -> None:
    for asks_for_stream in (False, True):
        error = {"error": {"message": "No.", "type": "rate_limit_error", "param": None, "code": "c"}}
        answer = told(surface(stream=asks_for_stream), error, status=429)
        assert (answer.status, answer.json) == (429, error)
    odd = answered(surface(), b'[{"error": {"code": 401, "message": "No."}}]', status=401)
    assert odd.json["error"] == {"message": "No.", "type": "authentication_error", "param": None, "code": None}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"{", b'{"choices": []}'])
def test_what_is_no_answer_is_not_told_as_one(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        answered(surface(), body)


def test_a_stream_is_told_in_events_that_openais_client_puts_together() -> None:
    answer = answered(surface(stream=True, tools=[WEATHER, NOW]), STREAM, type=EVENTS)
    assert dict(answer.headers)[b"content-type"] == b"text/event-stream; charset=utf-8"
    found = put_together(answer.body)
    assert found["status"] == "completed"
    assert [one["type"] for one in found["output"]] == [
        "reasoning",
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert found["output"][0]["content"][0]["text"] == "It is warm."
    assert found["output"][2]["content"][0]["text"] == "Grüß Gott 🌞"
    assert [(one["call_id"], one["arguments"]) for one in found["output"][3:]] == [
        ("c1", '{"place": "Rome"}'),
        ("c2", "{}"),
    ]
    assert found["usage"] == USED
    again = turns(*found["output"], result("c1", "30"), result("c2", "12:00"))
    assert again[0]["thinking_blocks"] == [THINKING, HIDDEN]


def test_the_events_of_a_message_come_in_openais_order() -> None:
    body = events(chunk({"content": "A"}), chunk({"content": "B"}), chunk({}, "stop")) + DONE
    found = told_events(answered(surface(stream=True), body, type=EVENTS).body)
    assert [one["type"].removeprefix("response.") for one in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [one["response"]["status"] for one in (found[0], found[1], found[-1])] == ["in_progress"] * 2 + ["completed"]
    assert found[2]["item"]["content"] == []


@given(cuts(STREAM))
def test_however_a_stream_is_cut_the_client_gets_the_same_bytes(pieces: list[bytes]) -> None:
    expected = answered(surface(stream=True), STREAM, type=EVENTS)
    assert answered(surface(stream=True), pieces, type=EVENTS) == expected


def test_a_stream_may_come_byte_by_byte() -> None:
    expected = answered(surface(stream=True), STREAM, type=EVENTS)
    assert answered(surface(stream=True), each_byte(STREAM), type=EVENTS) == expected


def test_a_client_that_asked_for_a_stream_gets_one_of_a_whole_answer() -> None:
    answer = told(surface(stream=True), whole({"content": "Warm"}))
    assert put_together(answer.body)["output"][0]["content"][0]["text"] == "Warm"


def test_a_stream_that_breaks_off_does_not_look_complete() -> None:
    one = surface(stream=True)
    one.begin(200, [(b"content-type", EVENTS)])
    said = one.feed(events(chunk({"content": "A"}), called(0, "c1", "now", "{}")))
    assert b"response.completed" not in said
    assert told_events(said)[-1]["type"] == "response.function_call_arguments.delta"
    with pytest.raises(UpstreamBroken):
        one.finish()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "No.", "type": "rate_limit_error"}, "rate_limit_exceeded"),
        ({"message": "No.", "code": 429}, "rate_limit_exceeded"),
        ({"message": "No.", "type": "server_error"}, "server_error"),
    ],
)
def test_an_error_within_a_stream_fails_the_response_and_nothing_follows(error: Any, code: str) -> None:
    body = events(chunk({"content": "A"}), {"error": error}, chunk({"content": "B"}, "stop")) + DONE
    last = told_events(answered(surface(stream=True), body, type=EVENTS).body)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": code, "message": "No."}
