"""Anthropic's Messages on any model: what a client's request becomes, and what its answer is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from tests.unit.unified_exchanges import EVENTS, JSON, answered, cuts, each_byte, events, told
from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.chat import ChatRequest
from trunkline.unified.messages import MessagesSurface
from trunkline.unified.plain_chat import plain_chat

ASKED = {"model": "openai/gpt-5", "max_tokens": 100, "messages": [{"role": "user", "content": "How warm is it?"}]}
MARK = {"cache_control": {"type": "ephemeral"}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "Of a place.", "input_schema": SCHEMA}


def surface(**fields: Any) -> MessagesSurface:
    return MessagesSurface(json.dumps({**ASKED, **fields}).encode(), now=1700000000, id="abc")


def chat(**fields: Any) -> Any:
    """Return the hub request, which has to be one."""
    made = surface(**fields).chat
    ChatRequest.read(made)
    return made


def turns(*messages: Any) -> Any:
    return chat(messages=list(messages))["messages"]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def chunk(delta: Any = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "x", "object": "chat.completion.chunk", "model": "gpt-5-2026", "choices": choices, **fields}


def call(
    number: int, id: str | None = None, name: str | None = None, arguments: str = "", **more: Any
) -> dict[str, Any]:
    of: dict[str, Any] = {"arguments": arguments} | ({"name": name} if name else {})
    return chunk({"tool_calls": [{"index": number, **({"id": id} if id else {}), "function": of, **more}]})


USAGE = {
    "prompt_tokens": 15,
    "completion_tokens": 7,
    "total_tokens": 22,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
}
DONE = b"data: [DONE]\n\n"
STREAM = (
    events(
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"reasoning_content": "It is "}),
        chunk({"reasoning_content": "warm."}),
        chunk({"thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "It is warm.", "signature": "sig="}]}),
        chunk({"thinking_blocks": [{"index": 1, "type": "redacted_thinking", "data": "hidden"}]}),
        chunk({"content": "Grüß "}),
        chunk({"content": "Gott 🌞"}),
        call(0, "c1", "weather"),
        call(0, arguments='{"place": '),
        call(0, arguments='"Rome"}'),
        call(1, "c2", "now"),
        call(1, arguments="{}"),
        chunk({}, "tool_calls"),
        chunk(usage=USAGE),
    )
    + DONE
)


def told_events(body: bytes) -> list[Any]:
    """Return the events of a stream, each under the name that it says itself."""
    found = []
    for block in body.decode().split("\n\n"):
        if block:
            name, data = block.split("\n")
            value = json.loads(data.removeprefix("data: "))
            assert name == f"event: {value['type']}"
            found.append(value)
    return found


def put_together(body: bytes) -> Any:
    """Return a streamed message as Anthropic's client puts it together; blocks follow each other, each one closed."""
    begin, *rest, last = told_events(body)
    assert begin["type"] == "message_start"
    assert last == {"type": "message_stop"}
    message = begin["message"]
    assert message["content"] == []
    open_block: Any = None
    for one in rest:
        match one["type"]:
            case "content_block_start":
                assert open_block is None
                assert one["index"] == len(message["content"])
                open_block = dict(one["content_block"])
                pieces: list[str] = []
                message["content"].append(open_block)
            case "content_block_delta":
                assert one["index"] == len(message["content"]) - 1
                delta = one["delta"]
                match (delta["type"], open_block["type"]):
                    case ("text_delta", "text"):
                        open_block["text"] += delta["text"]
                    case ("thinking_delta", "thinking"):
                        open_block["thinking"] += delta["thinking"]
                    case ("signature_delta", "thinking"):
                        open_block["signature"] += delta["signature"]
                    case ("input_json_delta", "tool_use"):
                        pieces.append(delta["partial_json"])
                    case wrong:
                        raise AssertionError(wrong)
            case "content_block_stop":
                if open_block["type"] == "tool_use":
                    open_block["input"] = json.loads("".join(pieces) or "{}")
                open_block = None
            case "message_delta":
                assert open_block is None
                message |= one["delta"]
                message["usage"] |= one["usage"]
            case wrong:
                raise AssertionError(wrong)
    return message


def stream(*chunks: Any, **fields: Any) -> Any:
    return put_together(answered(surface(stream=True, **fields), events(*chunks) + DONE, type=EVENTS).body)


def whole(message: Any, finish: str = "stop", **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "gpt-5-2026",
        "choices": [choice],
        "usage": USAGE,
        **fields,
    }


# What is asked


def test_a_question_is_a_chat_with_the_same_limits() -> None:
    made = chat(
        system="Be brief.",
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        service_tier="auto",
        stream=True,
    )
    assert made == {
        "model": "openai/gpt-5",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How warm is it?"}],
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "user": "u-1",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_long_name_of_a_caller_is_told_as_one_that_every_provider_takes() -> None:
    long = chat(metadata={"user_id": "user_" + "a" * 100})["user"]
    assert len(long) == 64
    assert long != chat(metadata={"user_id": "user_" + "b" * 100})["user"]


def test_instructions_in_blocks_are_one_text_unless_something_is_to_be_cached() -> None:
    assert chat(system=[text("A"), text("B")])["messages"][0]["content"] == "A\nB"
    marked = [text("A"), {**text("B"), **MARK}]
    assert chat(system=marked)["messages"][0]["content"] == marked


def test_what_a_person_shows_is_told_in_order() -> None:
    content = [
        text("Look:"),
        PICTURE,
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}},
        {
            "type": "document",
            "title": "report.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
        },
        {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain", "data": "Hi."}},
        {"type": "document", "source": {"type": "content", "content": [text("One"), text("Two")]}},
        {"type": "search_result", "source": "https://a.example", "title": "A", "content": [text("Found")]},
    ]
    assert turns({"role": "user", "content": content})[0]["content"] == [
        text("Look:"),
        SHOWN,
        {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}},
        {"type": "file", "file": {"filename": "report.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        text("Notes\n\nHi."),
        text("One\nTwo"),
        text("A\nhttps://a.example\n\nFound"),
    ]


def test_a_round_of_tools_is_told_with_results_before_what_the_user_says() -> None:
    told = turns(
        ASKED["messages"][0],  # type: ignore[index]
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "sig="},
                {"type": "redacted_thinking", "data": "hidden"},
                text("Let me see."),
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"place": "Rome"}},
                {"type": "tool_use", "id": "c2", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [text("30"), PICTURE]},
                {"type": "tool_result", "tool_use_id": "c2", "content": "no clock", "is_error": True},
                {"type": "tool_result", "tool_use_id": "c3"},
                text("Well?"),
            ],
        },
    )
    thinking = [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig="},
        {"type": "redacted_thinking", "data": "hidden"},
    ]
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Rome"}'}},
        {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ]
    assert told[1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "Hm.",
            "thinking_blocks": thinking,
            "tool_calls": calls,
        },
        {"role": "tool", "tool_call_id": "c1", "content": [text("30"), SHOWN]},
        {"role": "tool", "tool_call_id": "c2", "content": "Error:\nno clock"},
        {"role": "tool", "tool_call_id": "c3", "content": ""},
        {"role": "user", "content": "Well?"},
    ]


def test_thinking_that_nobody_signed_is_told_as_words_alone() -> None:
    content = [{"type": "thinking", "thinking": "Hm.", "signature": ""}, text("Warm.")]
    said = turns({"role": "assistant", "content": content})[0]
    assert said == {"role": "assistant", "content": "Warm.", "reasoning_content": "Hm."}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tools_and_which_is_to_be_called(choice: Any, told: Any) -> None:
    made = chat(tools=[{**WEATHER, **MARK}, {"type": "custom", "name": "now"}], tool_choice=choice)
    assert made["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Of a place.", "parameters": SCHEMA},
            **MARK,
        },
        {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}},
    ]
    assert made["tool_choice"] == told
    assert "parallel_tool_calls" not in made
    alone = chat(tools=[WEATHER], tool_choice={**choice, "disable_parallel_tool_use": True})
    assert alone["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "xhigh"),
        ({"output_config": {"effort": "medium"}}, "medium"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, None),
        ({}, None),
    ],
)
def test_how_much_to_think_is_told_as_an_effort(fields: Any, effort: str | None) -> None:
    assert chat(**fields).get("reasoning_effort") == effort


def test_an_answers_shape_is_told_as_a_schema() -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    assert chat(output_config={"format": form})["response_format"] == wanted
    assert chat(output_format=form)["response_format"] == wanted


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": ""}, "model: "),
        ({"max_tokens": None}, "max_tokens: "),
        ({"max_tokens": 0}, "max_tokens: .* from 1"),
        ({"messages": []}, "messages: "),
        ({"messages": "Hi"}, "messages: it is a list"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, r"messages\[0\].role: "),
        ({"messages": [{"role": "user", "content": 5}]}, r"messages\[0\].content: "),
        ({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, r"messages\[0\].content\[0\].type: "),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, r"messages\[0\].content\[0\].text: "),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            r"messages\[0\].content\[0\].source.type: .*base64",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}]}]},
            "server_tool_use",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, r"tools\[0\]: .*web_search_20250305"),
        ({"tools": [{"input_schema": {}}]}, r"tools\[0\].name: "),
        ({"tools": [WEATHER], "tool_choice": {"type": "wild"}}, "tool_choice.type: "),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: "),
        ({"thinking": {"type": "wild"}}, "thinking.type: "),
        ({"output_config": {"effort": "wild"}}, "output_config.effort: .*low, medium"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format: "),
        ({"mcp_servers": [{"url": "https://a.example"}]}, "mcp_servers: "),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(fields: Any, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words) as refused:
        surface(**fields)
    assert refused.value.code == 2019


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        MessagesSurface(body, now=1, id="abc")


# What an OpenAI-compatible endpoint is told of it


def test_an_endpoint_is_told_no_words_but_openais() -> None:
    made = chat(
        system=[{**text("A"), **MARK}, text("B")],
        tools=[{**WEATHER, **MARK}],
        metadata={"user_id": "u-1"},
        messages=[
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "sig="},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [text("30"), PICTURE]}],
            },
        ],
    )
    calls = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
    told = plain_chat(made, "openai")
    assert told == {
        "model": "openai/gpt-5",
        "messages": [
            {"role": "system", "content": "A\nB"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "30"},
            {"role": "user", "content": [text("What the tool call c1 gave back:"), SHOWN]},
        ],
        "max_completion_tokens": 100,
        "tools": [
            {"type": "function", "function": {"name": "weather", "description": "Of a place.", "parameters": SCHEMA}}
        ],
        "user": "u-1",
    }
    elsewhere = plain_chat(made, "mistral")
    assert elsewhere["max_tokens"] == 100
    assert "user" not in elsewhere
    assert plain_chat(made, "deepseek")["messages"][1]["reasoning_content"] == "Hm."


def test_mistral_is_not_asked_for_what_it_states_anyway() -> None:
    made = chat(stream=True)
    assert "stream_options" not in plain_chat(made, "mistral")
    assert plain_chat(made, "openai")["stream_options"] == {"include_usage": True}


# What is answered


def test_a_whole_answer_is_a_message() -> None:
    answer = told(surface(), whole({"content": "Warm ☀"}))
    assert answer.status == 200
    assert dict(answer.headers)[b"content-type"] == JSON
    assert answer.json == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "gpt-5-2026",
        "content": [text("Warm ☀")],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 1,
            "cache_read_input_tokens": 4,
            "output_tokens": 7,
        },
    }


def test_a_whole_answer_tells_thinking_words_and_calls_in_order() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}},
        {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    answer = told(
        surface(), whole({"content": "See:", "reasoning_content": "Hm.", "tool_calls": calls}, "tool_calls")
    ).json
    assert answer["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        text("See:"),
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"place": "Rome"}},
        {"type": "tool_use", "id": "c2", "name": "now", "input": {}},
    ]
    assert answer["stop_reason"] == "tool_use"


def test_signed_thinking_is_told_block_by_block() -> None:
    blocks = [
        {"type": "thinking", "thinking": "A", "signature": "s1"},
        {"type": "thinking", "thinking": "B", "signature": "s2"},
        {"type": "redacted_thinking", "data": "hidden"},
    ]
    message = {"content": "C", "reasoning_content": "AB", "thinking_blocks": blocks}
    assert told(surface(), whole(message)).json["content"] == [*blocks, text("C")]


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"content": "A"}, "length", "max_tokens"),
        ({"content": "A"}, "content_filter", "refusal"),
        ({"content": None, "refusal": "No."}, "stop", "refusal"),
        ({"content": "A"}, "yet_unknown", "end_turn"),
        (
            {"tool_calls": [{"id": "c", "function": {"name": "now", "arguments": "{}"}}]},
            "stop",
            "tool_use",
        ),
    ],
)
def test_why_an_answer_ended(message: Any, finish: str, reason: str) -> None:
    assert told(surface(), whole(message, finish)).json["stop_reason"] == reason
    calls = [{**one, "index": 0} for one in message.get("tool_calls", [])]
    assert stream(chunk({**message, "tool_calls": calls}), chunk({}, finish))["stop_reason"] == reason


def test_arguments_that_are_no_object_are_not_told_as_none() -> None:
    def message(arguments: str) -> Any:
        return {"tool_calls": [{"id": "c", "function": {"name": "weather", "arguments": arguments}}]}

    with pytest.raises(UpstreamBroken, match="weather"):
        told(surface(), whole(message('{"place"'), "tool_calls"))
    cut = told(surface(), whole(message('{"place"'), "length")).json
    assert (cut["stop_reason"], cut["content"][0]["input"]) == ("max_tokens", {})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
def test_an_error_keeps_its_status_and_has_anthropics_type(status: int, kind: str) -> None:
    for asks_for_stream in (False, True):
        error = {"error": {"message": "No.", "type": "whatever", "code": "c"}}
        answer = told(surface(stream=asks_for_stream), error, status=status)
        assert answer.status == status
        assert dict(answer.headers)[b"content-type"] == JSON
        assert answer.json == {"type": "error", "error": {"type": kind, "message": "No."}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'[{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}]', "No."),
        (b'{"error": "No."}', "No."),
        (b'{"message": "No."}', "No."),
        (b'{"detail": "No."}', "No."),
        (b"<html>No.</html>", "<html>No.</html>"),
        (b"", "The provider answered with 418."),
    ],
)
def test_an_error_of_any_shape_keeps_its_words(body: bytes, words: str) -> None:
    assert answered(surface(), body, status=418).json["error"]["message"] == words


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"{", b'{"choices": []}', b'{"error": {"message": "No."}}'])
def test_what_is_no_answer_is_not_told_as_one(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        answered(surface(), body)


def test_a_stream_is_told_in_events_that_anthropics_client_puts_together() -> None:
    answer = answered(surface(stream=True), STREAM, type=EVENTS)
    assert dict(answer.headers)[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert put_together(answer.body) == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "gpt-5-2026",
        "content": [
            {"type": "thinking", "thinking": "It is warm.", "signature": "sig="},
            {"type": "redacted_thinking", "data": "hidden"},
            text("Grüß Gott 🌞"),
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"place": "Rome"}},
            {"type": "tool_use", "id": "c2", "name": "now", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 1,
            "cache_read_input_tokens": 4,
            "output_tokens": 7,
        },
    }


def test_pieces_are_told_as_they_come() -> None:
    one = surface(stream=True)
    one.begin(200, [(b"content-type", EVENTS)])
    said = [told_events(one.feed(events(each))) for each in (chunk({"content": "A"}), chunk({"content": "B"}))]
    assert said[0][-1]["delta"] == {"type": "text_delta", "text": "A"}
    assert [each["delta"] for each in said[1]] == [{"type": "text_delta", "text": "B"}]


@given(cuts(STREAM))
def test_however_a_stream_is_cut_the_client_gets_the_same_bytes(pieces: list[bytes]) -> None:
    expected = answered(surface(stream=True), STREAM, type=EVENTS)
    assert answered(surface(stream=True), pieces, type=EVENTS) == expected


def test_a_stream_may_come_byte_by_byte() -> None:
    expected = answered(surface(stream=True), STREAM, type=EVENTS)
    assert answered(surface(stream=True), each_byte(STREAM), type=EVENTS) == expected


def test_calls_whose_pieces_are_mixed_are_told_one_after_the_other() -> None:
    content = stream(
        call(0, "c1", "weather"),
        call(1, "c2", "weather"),
        call(0, arguments='{"place": '),
        call(1, arguments='{"place": "Os'),
        call(0, arguments='"Rome"}'),
        call(1, arguments='lo"}'),
        chunk({}, "tool_calls"),
    )["content"]
    assert [(block["id"], block["input"]["place"]) for block in content] == [("c1", "Rome"), ("c2", "Oslo")]


def test_calls_that_are_all_counted_as_the_first_are_several() -> None:
    content = stream(
        call(0, "c1", "weather", '{"place": "Rome"}'), call(0, "c2", "weather", '{"place": "Oslo"}'), chunk({}, "stop")
    )["content"]
    assert [(block["id"], block["input"]["place"]) for block in content] == [("c1", "Rome"), ("c2", "Oslo")]


def test_calls_without_ids_get_some() -> None:
    content = stream(
        chunk({"tool_calls": [{"function": {"name": "now", "arguments": {"zone": "UTC"}}}]}), chunk({}, "tool_calls")
    )["content"]
    assert content[0]["input"] == {"zone": "UTC"}
    assert content[0]["id"].startswith("call_abc_")


def test_what_a_provider_wants_back_with_a_call_goes_through_the_client() -> None:
    extra = {"google": {"thought_signature": "abc/+=="}}
    content = stream(call(0, "c1", "now", "{}", extra_content=extra), chunk({}, "tool_calls"))["content"]
    result = {"type": "tool_result", "tool_use_id": content[0]["id"], "content": "12:00"}
    again = turns({"role": "assistant", "content": content}, {"role": "user", "content": [result]})
    assert again[0]["tool_calls"][0]["id"] == "c1"
    assert again[0]["tool_calls"][0]["extra_content"] == extra
    assert again[1]["tool_call_id"] == "c1"
    told = plain_chat({"messages": again}, "google-ai-studio")["messages"][0]["tool_calls"][0]
    assert told["extra_content"] == extra
    assert "extra_content" not in plain_chat({"messages": again}, "openai")["messages"][0]["tool_calls"][0]


def test_mistrals_lists_of_words_and_thinking_are_read() -> None:
    content = stream(
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}),
        chunk({"content": [{"type": "text", "text": "Warm."}]}),
        chunk({}, "stop"),
    )["content"]
    assert content == [{"type": "thinking", "thinking": "Hm.", "signature": ""}, text("Warm.")]


def test_signed_thinking_that_follows_other_is_a_block_of_its_own() -> None:
    def signed(number: int, words: str) -> Any:
        block = {"index": number, "type": "thinking", "thinking": words, "signature": f"s{number}"}
        return chunk({"thinking_blocks": [block]})

    content = stream(
        chunk({"reasoning_content": "A"}),
        signed(0, "A"),
        chunk({"reasoning_content": "B"}),
        signed(1, "B"),
        signed(2, "C"),
        chunk({}, "stop"),
    )["content"]
    assert [(block["thinking"], block["signature"]) for block in content] == [("A", "s0"), ("B", "s1"), ("C", "s2")]


def test_an_empty_answer_is_a_message_without_content() -> None:
    assert stream(chunk({"role": "assistant"}), chunk({}, "stop"))["content"] == []


def test_a_client_that_asked_for_a_stream_gets_one_of_a_whole_answer() -> None:
    answer = told(surface(stream=True), whole({"content": "Warm"}))
    assert put_together(answer.body)["content"] == [text("Warm")]


def test_a_stream_without_the_mark_of_its_end_is_whole_once_it_says_why_it_ended() -> None:
    answer = answered(surface(stream=True), events(chunk({"content": "A"}), chunk({}, "stop")), type=EVENTS)
    assert put_together(answer.body)["stop_reason"] == "end_turn"


def test_a_stream_that_breaks_off_does_not_look_complete() -> None:
    one = surface(stream=True)
    one.begin(200, [(b"content-type", EVENTS)])
    said = one.feed(events(chunk({"content": "A"}), call(0, "c1", "now", "{}")))
    assert b"message_stop" not in said
    assert b"message_delta" not in said
    with pytest.raises(UpstreamBroken):
        one.finish()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "No.", "type": "rate_limit_error", "code": None}, "rate_limit_error"),
        ({"message": "No.", "type": "insufficient_quota"}, "billing_error"),
        ({"message": "No.", "type": "server_error"}, "api_error"),
        ({"message": "No.", "code": 429}, "rate_limit_error"),
        ("No.", "api_error"),
    ],
)
def test_an_error_within_a_stream_is_told_and_nothing_follows_it(error: Any, kind: str) -> None:
    body = events(chunk({"content": "A"}), {"error": error}, chunk({"content": "B"}, "stop")) + DONE
    found = told_events(answered(surface(stream=True), body, type=EVENTS).body)
    assert found[-1] == {"type": "error", "error": {"type": kind, "message": "No."}}
    assert all(one["type"] not in ("message_delta", "message_stop") for one in found)


def test_an_event_that_is_not_json_breaks_the_stream() -> None:
    with pytest.raises(UpstreamBroken):
        answered(surface(stream=True), events(chunk({"content": "A"})) + b"data: oops\n\n" + STREAM, type=EVENTS)
