"""Chat completions and embeddings as Cohere's: what is asked, and what is made of the answer."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from openai.types import CreateEmbeddingResponse

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
from trunkline.unified.cohere import CohereAdapter, CohereEmbeddings

QUESTION = {"role": "user", "content": "How warm is it in Rome?"}
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a place.", "parameters": PARAMETERS, "strict": True},
}
NOW = {"type": "function", "function": {"name": "now"}}
USAGE = {
    "billed_units": {"input_tokens": 9, "output_tokens": 7},
    "tokens": {"input_tokens": 79, "output_tokens": 8},
    "cached_tokens": 4,
}


def adapter(**fields: Any) -> CohereAdapter:
    fields.setdefault("messages", [QUESTION])
    return CohereAdapter(fields, "command-a", now=1700000000, id="abc")


def request(**fields: Any) -> Any:
    return asked(adapter(**fields))


def piece(kind: str, index: int = 0, **message: Any) -> dict[str, Any]:
    return {"type": kind, "index": index, "delta": {"message": message}}


def call(index: int, id: str, name: str, *arguments: str) -> list[dict[str, Any]]:
    begun = {"id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    return [
        piece("tool-call-start", index, tool_calls=begun),
        *(piece("tool-call-delta", index, tool_calls={"function": {"arguments": one}}) for one in arguments),
        {"type": "tool-call-end", "index": index},
    ]


def end(reason: str = "COMPLETE", **more: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": reason, "usage": USAGE, **more}}


BEGIN = {"id": "m1", **piece("message-start", role="assistant", content=[], tool_plan="", tool_calls=[], citations=[])}
WORDS = [
    piece("content-start", 0, content={"type": "thinking", "thinking": ""}),
    piece("content-delta", 0, content={"thinking": "It is "}),
    piece("content-delta", 0, content={"thinking": "warm."}),
    {"type": "content-end", "index": 0},
    piece("content-start", 1, content={"type": "text", "text": ""}),
    piece("content-delta", 1, content={"text": "Grüß "}),
    piece("citation-start", 0, citations={"start": 0, "end": 4, "text": "Grüß", "sources": []}),
    {"type": "citation-end", "index": 0},
    piece("content-delta", 1, content={"text": "Gott 🌞"}),
    {"type": "content-end", "index": 1},
]
CALLS = [
    piece("tool-plan-delta", tool_plan="I will "),
    piece("tool-plan-delta", tool_plan="look."),
    *call(0, "c1", "weather", '{"place": ', '"Rome"}'),
    *call(1, "c2", "now", "{}"),
]
STREAM = events(BEGIN, *WORDS, end(), named=True) + b"data: [DONE]\n\n"
TOOL_STREAM = events(BEGIN, *CALLS, end("TOOL_CALL"), named=True)


def whole(reason: str = "COMPLETE", **message: Any) -> dict[str, Any]:
    return {"id": "m1", "finish_reason": reason, "message": {"role": "assistant", **message}, "usage": USAGE}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


# What is asked


def test_a_question_goes_to_v2_chat_in_coheres_names() -> None:
    one = adapter(
        temperature=0.5, top_p=0.9, stop="END", max_completion_tokens=300, seed=0, frequency_penalty=0.1, stream=True
    )
    assert one.path == "v2/chat"
    assert asked(one) == {
        "model": "command-a",
        "messages": [QUESTION],
        "stream": True,
        "temperature": 0.5,
        "p": 0.9,
        "stop_sequences": ["END"],
        "max_tokens": 300,
        "seed": 0,
        "frequency_penalty": 0.1,
    }


def test_instructions_pictures_and_texts_keep_their_places() -> None:
    content = [
        {**text("Look:"), "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}},
    ]
    told = request(
        messages=[{"role": "developer", "content": [text("A"), text("B")]}, {"role": "user", "content": content}]
    )
    assert told["messages"] == [
        {"role": "system", "content": "A\nB"},
        {
            "role": "user",
            "content": [
                text("Look:"),
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}},
            ],
        },
    ]


def test_a_round_of_tools_is_told_with_its_plan() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Rome"}'}}]
    told = request(
        messages=[
            QUESTION,
            {"role": "assistant", "content": "I will look.", "tool_calls": calls, "reasoning_content": "Hm."},
            {"role": "tool", "tool_call_id": "c1", "content": [text("30"), text("degrees")]},
            {"role": "assistant", "content": "Warm."},
            {"role": "user", "content": "Thanks."},
        ]
    )
    assert told["messages"][1:] == [
        {"role": "assistant", "tool_calls": calls, "tool_plan": "I will look."},
        {"role": "tool", "tool_call_id": "c1", "content": "30\ndegrees"},
        {"role": "assistant", "content": "Warm."},
        {"role": "user", "content": "Thanks."},
    ]


@pytest.mark.parametrize(
    ("choice", "names", "told"),
    [
        (None, ["weather", "now"], None),
        ("auto", ["weather", "now"], None),
        ("none", ["weather", "now"], "NONE"),
        ("required", ["weather", "now"], "REQUIRED"),
        ({"type": "function", "function": {"name": "now"}}, ["now"], "REQUIRED"),
    ],
)
def test_tools_and_which_is_to_be_called(choice: Any, names: list[str], told: Any) -> None:
    body = request(tools=[WEATHER, NOW], tool_choice=choice)
    assert [tool["function"]["name"] for tool in body["tools"]] == names
    assert body.get("tool_choice") == told


def test_a_tool_is_told_without_what_is_only_openais() -> None:
    assert request(tools=[WEATHER])["tools"] == [
        {"type": "function", "function": {"name": "weather", "description": "Of a place.", "parameters": PARAMETERS}}
    ]


def test_an_answers_shape_is_told_as_json_with_a_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": PARAMETERS}}
    assert request(response_format=form)["response_format"] == {"type": "json_object", "json_schema": PARAMETERS}
    assert request(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    assert "response_format" not in request(response_format={"type": "text"})


def test_effort_is_told_as_room_for_thinking() -> None:
    assert request(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    assert request(reasoning_effort="high")["thinking"] == {"type": "enabled"}
    assert (
        request(reasoning_effort="low")["thinking"]["token_budget"]
        < (request(reasoning_effort="medium")["thinking"]["token_budget"])
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 2}, "n: "),
        ({"logprobs": True}, "logprobs: "),
        ({"logit_bias": {"5": 1}}, "logit_bias: "),
        ({"reasoning_effort": "wild"}, "reasoning_effort is one of none, minimal"),
        ({"tools": [WEATHER], "parallel_tool_calls": False}, "parallel_tool_calls: "),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice names"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "messages: Cohere takes text"),
    ],
)
def test_what_cannot_be_told_is_refused_by_its_name(fields: Any, words: str) -> None:
    with pytest.raises(MalformedRequest, match=f"^{words}"):
        adapter(**fields)


def test_pictures_as_results_of_tools_are_refused() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    with pytest.raises(MalformedRequest, match="results of tools"):
        adapter(messages=[QUESTION, {"role": "tool", "tool_call_id": "a", "content": [picture]}])


# What is answered


def test_a_whole_answer_is_a_chat_completion_with_usage_as_billed() -> None:
    answer = told(adapter(), whole(content=[{"type": "thinking", "thinking": "Hm."}, text("Warm"), text(" ☀")]))
    found = completion(answer)
    assert (found.id, found.created, found.model) == ("chatcmpl-abc", 1700000000, "command-a")
    assert found.choices[0].message.content == "Warm ☀"
    assert found.choices[0].finish_reason == "stop"
    assert answer.json["choices"][0]["message"]["reasoning_content"] == "Hm."
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (9, 7)
    assert found.usage.prompt_tokens_details is not None
    assert found.usage.prompt_tokens_details.cached_tokens == 4


def test_usage_that_is_not_billed_is_told_as_tokens() -> None:
    free = {
        **whole(content=[text("A")]),
        "usage": {"billed_units": {}, "tokens": {"input_tokens": 3, "output_tokens": 1}},
    }
    found = completion(told(adapter(), free)).usage
    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens) == (3, 1)


def test_a_whole_answer_tells_its_calls_and_their_plan() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}]
    said = completion(told(adapter(), whole("TOOL_CALL", tool_plan="I will look.", tool_calls=calls))).choices[0]
    assert said.finish_reason == "tool_calls"
    assert said.message.content == "I will look."
    assert [one.model_dump() for one in said.message.tool_calls or []] == calls
    assert completion(told(adapter(), whole("TOOL_CALL", tool_calls=calls))).choices[0].message.content is None


@pytest.mark.parametrize(
    ("theirs", "ours"), [("MAX_TOKENS", "length"), ("STOP_SEQUENCE", "stop"), ("ERROR_TOXIC", "content_filter")]
)
def test_why_an_answer_ended(theirs: str, ours: str) -> None:
    assert completion(told(adapter(), whole(theirs, content=[text("A")]))).choices[0].finish_reason == ours
    stream = answered(adapter(stream=True), events(BEGIN, *WORDS, end(theirs)), type=EVENTS)
    assert put_together(stream.body).choices[0].finish_reason == ours


def test_an_error_keeps_its_status_and_words() -> None:
    answer = told(adapter(), {"id": "e", "message": "invalid api token"}, status=401)
    assert answer.status == 401
    assert answer.json["error"]["message"] == "invalid api token"
    assert answer.json["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"finish_reason": "ERROR", "message": {"content": []}}'])
def test_what_is_no_answer_is_not_told_as_one(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        answered(adapter(), body)


def test_a_stream_of_text_is_told_in_chunks() -> None:
    one = adapter(stream=True, stream_options={"include_usage": True})
    body = answered(one, STREAM, type=EVENTS).body
    found = put_together(body)
    assert found.choices[0].message.content == "Grüß Gott 🌞"
    assert found.usage is not None
    assert found.usage.completion_tokens == 7
    assert "".join(one.get("reasoning_content", "") for one in deltas(body)) == "It is warm."


def test_a_stream_of_calls_is_told_in_chunks() -> None:
    found = put_together(answered(adapter(stream=True), TOOL_STREAM, type=EVENTS).body).choices[0]
    assert found.finish_reason == "tool_calls"
    assert found.message.content == "I will look."
    calls = [(one.id, one.function.name, one.function.arguments) for one in found.message.tool_calls or []]  # type: ignore[union-attr]
    assert calls == [("c1", "weather", '{"place": "Rome"}'), ("c2", "now", "{}")]


@given(cuts(STREAM))
def test_however_a_stream_is_cut_the_client_gets_the_same_bytes(pieces: list[bytes]) -> None:
    expected = answered(adapter(stream=True), STREAM, type=EVENTS)
    assert answered(adapter(stream=True), pieces, type=EVENTS) == expected


@pytest.mark.parametrize("stream", [STREAM, TOOL_STREAM])
def test_a_stream_may_come_byte_by_byte(stream: bytes) -> None:
    expected = answered(adapter(stream=True), stream, type=EVENTS)
    assert answered(adapter(stream=True), each_byte(stream), type=EVENTS) == expected


def test_a_stream_that_breaks_off_does_not_look_complete() -> None:
    one = adapter(stream=True)
    one.begin(200, [(b"content-type", EVENTS)])
    assert b"[DONE]" not in one.feed(events(BEGIN, *WORDS))
    with pytest.raises(UpstreamBroken):
        one.finish()


def test_an_error_at_the_end_of_a_stream_is_told_and_nothing_follows_it() -> None:
    found = chunks(answered(adapter(stream=True), events(BEGIN, end("ERROR", error="GPU on fire")), type=EVENTS).body)
    assert found[-1]["error"]["message"] == "GPU on fire"
    assert "[DONE]" not in found


# Embeddings


def embeddings(**fields: Any) -> CohereEmbeddings:
    return CohereEmbeddings(
        {"model": "cohere/embed-v4.0", "input": ["a", "b"], **fields}, "embed-v4.0", now=1, id="abc"
    )


VECTORS = {
    "id": "e1",
    "embeddings": {"float": [[0.5, -1.0], [0.25, 2]]},
    "texts": ["a", "b"],
    "meta": {"billed_units": {"input_tokens": 6}},
}


def test_texts_are_embedded_as_documents_unless_the_client_says_otherwise() -> None:
    one = embeddings(dimensions=256)
    assert one.path == "v2/embed"
    assert asked(one) == {
        "model": "embed-v4.0",
        "texts": ["a", "b"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 256,
    }
    assert asked(embeddings(input="a", input_type="search_query"))["input_type"] == "search_query"
    assert asked(embeddings(input="a"))["texts"] == ["a"]


def test_vectors_come_back_in_order_with_what_they_cost() -> None:
    answer = told(embeddings(), VECTORS)
    found = CreateEmbeddingResponse.model_validate(answer.json)
    assert [one.embedding for one in found.data] == [[0.5, -1.0], [0.25, 2.0]]
    assert [one.index for one in found.data] == [0, 1]
    assert (found.model, found.usage.prompt_tokens, found.usage.total_tokens) == ("embed-v4.0", 6, 6)


def test_vectors_come_as_base64_where_that_is_asked_for() -> None:
    data = told(embeddings(encoding_format="base64"), VECTORS).json["data"]
    assert struct.unpack("<2f", base64.b64decode(data[1]["embedding"])) == (0.25, 2.0)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"embeddings": [[1.0]]},
        {"embeddings": {"float": [[1.0]]}},
        {"embeddings": {"float": [[1.0], ["x"]]}},
        {"embeddings": {"float": [[1.0], None]}},
    ],
)
def test_an_answer_without_a_vector_for_each_text_is_not_told(answer: Any) -> None:
    with pytest.raises(UpstreamBroken):
        told(embeddings(), answer)


def test_an_error_about_embeddings_keeps_its_words() -> None:
    answer = told(embeddings(), {"message": "too many texts"}, status=400)
    assert (answer.status, answer.json["error"]["message"]) == (400, "too many texts")


@pytest.mark.parametrize(("input", "words"), [([], "input"), ([[1, 2]], "input"), (None, "input")])
def test_what_is_no_text_is_refused(input: Any, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words):
        embeddings(input=input)
