"""Chat completions and embeddings as Gemini's: what is asked, and what is made of the answer."""

from __future__ import annotations

import base64
import json
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
from trunkline.unified.google import GoogleAdapter, GoogleEmbeddings

MODEL = "gemini-2.5-flash"
LATER = "gemini-3.8-flash"
QUESTION = {"role": "user", "content": "How warm is it in Rome?"}
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "additionalProperties": False}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA}}
VERTEX = "v1/projects/p/locations/europe-west4"


def adapter(model: str = MODEL, at: str = "v1beta", **fields: Any) -> GoogleAdapter:
    fields.setdefault("messages", [QUESTION])
    return GoogleAdapter(fields, model, now=1700000000, id="abc", at=at)


def request(model: str = MODEL, at: str = "v1beta", **fields: Any) -> Any:
    return asked(adapter(model, at, **fields))


def config(model: str = MODEL, **fields: Any) -> Any:
    return request(model, **fields)["generationConfig"]


def user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def content(*parts: Any, reason: str | None = "STOP", **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **fields}
    if reason is not None:
        candidate["finishReason"] = reason
    return candidate


def generated(*candidates: Any, **fields: Any) -> dict[str, Any]:
    used = {"promptTokenCount": 10, "candidatesTokenCount": 7, "totalTokenCount": 17}
    return {"candidates": list(candidates), "usageMetadata": used, "modelVersion": "gemini-2.5-flash-001", **fields}


# What is asked


def test_a_question_becomes_contents_and_a_config() -> None:
    one = adapter(
        temperature=1.5, top_p=0.9, top_k=4, stop="END", max_tokens=300, n=2, seed=7,
        presence_penalty=0.5, frequency_penalty=-0.5, logprobs=True, top_logprobs=3,
    )  # fmt: skip
    assert one.path == "v1beta/models/gemini-2.5-flash:generateContent"
    assert (b"accept-encoding", b"identity") in one.headers
    assert asked(one) == {
        "contents": [{"role": "user", "parts": [{"text": "How warm is it in Rome?"}]}],
        "generationConfig": {
            "temperature": 1.5,
            "topP": 0.9,
            "topK": 4,
            "maxOutputTokens": 300,
            "stopSequences": ["END"],
            "candidateCount": 2,
            "seed": 7,
            "presencePenalty": 0.5,
            "frequencyPenalty": -0.5,
            "responseLogprobs": True,
            "logprobs": 3,
        },
    }


@pytest.mark.parametrize(
    ("model", "at", "path"),
    [
        (MODEL, "v1beta", "v1beta/models/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "v1beta", "v1beta/models/gemini-2.5-flash"),
        ("tunedModels/mine", "v1beta", "v1beta/tunedModels/mine"),
        ("a?b/../c", "v1beta", "v1beta/a%3Fb/..%2Fc"),
        (MODEL, VERTEX, f"{VERTEX}/publishers/google/models/gemini-2.5-flash"),
        ("google/gemini-2.5-flash", VERTEX, f"{VERTEX}/publishers/google/models/gemini-2.5-flash"),
        ("publishers/google/models/gemini-2.5-flash", VERTEX, f"{VERTEX}/publishers/google/models/gemini-2.5-flash"),
    ],
)
def test_a_model_is_asked_at_its_path(model: str, at: str, path: str) -> None:
    assert adapter(model, at).path == f"{path}:generateContent"
    assert adapter(model, at, stream=True).path == f"{path}:streamGenerateContent?alt=sse"


def test_models_of_others_at_vertex_ai_are_refused() -> None:
    with pytest.raises(MalformedRequest, match="google/MODEL"):
        adapter("anthropic/claude", VERTEX)


def test_turns_and_instructions_keep_their_order() -> None:
    whole = request(
        messages=[
            {"role": "system", "content": "Be brief."},
            QUESTION,
            {"role": "assistant", "content": "Warm."},
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "Oslo?"}]},
        ]
    )
    assert whole["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert whole["contents"] == [
        {"role": "user", "parts": [{"text": "How warm is it in Rome?"}]},
        {"role": "model", "parts": [{"text": "Warm."}]},
        {"role": "user", "parts": [{"text": "And"}, {"text": "Oslo?"}]},
    ]


def test_pictures_sound_and_documents_travel_within_or_by_their_address() -> None:
    whole = request(
        **user(
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            {"type": "image_url", "image_url": {"url": "https://pictures.example/a.JPG?size=2"}},
            {"type": "image_url", "image_url": {"url": "https://pictures.example/a"}},
            {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}},
            {"type": "file", "file": {"file_id": "https://files.example/v1beta/files/x"}},
        )
    )
    assert whole["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"fileData": {"fileUri": "https://pictures.example/a.JPG?size=2", "mimeType": "image/jpeg"}},
        {"fileData": {"fileUri": "https://pictures.example/a"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "aGk="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
        {"fileData": {"fileUri": "https://files.example/v1beta/files/x"}},
    ]


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        (None, None),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "weather"}}, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_tools_and_which_is_to_be_called_are_told(choice: Any, calling: Any) -> None:
    bare = {"type": "function", "function": {"name": "now"}}
    whole = request(tools=[WEATHER, bare], tool_choice=choice)
    assert whole["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "The weather.", "parametersJsonSchema": SCHEMA},
                {"name": "now"},
            ]
        }
    ]
    assert whole.get("toolConfig") == (None if calling is None else {"functionCallingConfig": calling})


def test_empty_texts_are_left_out() -> None:
    messages = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}, QUESTION]
    assert request(messages=messages)["contents"] == [{"role": "user", "parts": [{"text": "How warm is it in Rome?"}]}]


def test_results_of_calls_side_by_side_are_one_turn_and_have_their_names() -> None:
    def call(id: str, name: str) -> Any:
        return {"id": id, "type": "function", "function": {"name": name, "arguments": '{"place": "Rome"}'}}

    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    messages = [
        QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call("call_1", "weather"), call("g2", "now")]},
        {"role": "tool", "tool_call_id": "g2", "content": '{"hour": 7}'},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "20"}, picture]},
    ]
    args = {"place": "Rome"}
    assert request(messages=messages)["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "weather", "args": args}},
                {"functionCall": {"id": "g2", "name": "now", "args": args}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "g2", "name": "now", "response": {"hour": 7}}},
                {"functionResponse": {"name": "weather", "response": {"result": "20"}}},
                {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
            ],
        },
    ]
    at_vertex = request(at=VERTEX, messages=messages)["contents"]
    assert at_vertex[1]["parts"][1] == {"functionCall": {"name": "now", "args": args}}


def test_a_result_without_its_call_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="tool_call_id"):
        request(messages=[QUESTION, {"role": "tool", "tool_call_id": "x", "content": "20"}])


def test_calls_without_their_signature_say_so_to_models_that_look() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [QUESTION, {"role": "assistant", "tool_calls": [call, call]}]
    first, second = request(LATER, messages=messages)["contents"][1]["parts"]
    assert first["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in second
    assert "thoughtSignature" not in request(MODEL, messages=messages)["contents"][1]["parts"][0]


def test_the_form_of_an_answer_is_told() -> None:
    shaped = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    assert config(response_format=shaped) == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    assert "generationConfig" not in request(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        (MODEL, "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        (MODEL, "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        (MODEL, "none", {"thinkingBudget": 0}),
        (LATER, "high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (LATER, "xhigh", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (LATER, "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-flash-latest", "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
    ],
)
def test_an_effort_is_told_as_the_model_takes_it(model: str, effort: str, thinking: Any) -> None:
    assert config(model, reasoning_effort=effort) == {"thinkingConfig": thinking}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"n": 9}, "n: "),
        ({"tools": [WEATHER], "parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (user({"type": "file", "file": {"file_id": "file-1"}}), "file_id"),
    ],
)
def test_what_cannot_be_told_is_refused_by_its_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(MalformedRequest, match=named) as refused:
        adapter(**fields)
    assert refused.value.code == 2019


# What is answered


def test_generated_content_becomes_a_chat_completion() -> None:
    thought = {"text": "Rome, then.", "thought": True}
    used = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 2,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 5,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 6}],
    }
    answer = told(adapter(), generated(content(thought, {"text": "20 "}, {"text": "°C"}), usageMetadata=used))
    said = completion(answer)
    assert said.id == "chatcmpl-abc"
    assert said.model == "gemini-2.5-flash-001"
    assert said.choices[0].message.content == "20 °C"
    assert said.choices[0].finish_reason == "stop"
    assert answer.json["choices"][0]["message"]["reasoning_content"] == "Rome, then."
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens, said.usage.total_tokens) == (12, 12, 24)
    assert answer.json["usage"]["prompt_tokens_details"] == {"cached_tokens": 4, "audio_tokens": 6}
    assert answer.json["usage"]["completion_tokens_details"] == {"reasoning_tokens": 5, "audio_tokens": 0}


@pytest.mark.parametrize(
    ("reason", "told_as"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter")],
)
def test_why_content_ended_is_said_in_openais_words(reason: str, told_as: str) -> None:
    whole = generated(content({"text": "x"}, reason=reason))
    assert completion(told(adapter(), whole)).choices[0].finish_reason == told_as
    said = put_together(answered(adapter(stream=True), events(whole), type=EVENTS).body)
    assert said.choices[0].finish_reason == told_as


def test_a_prompt_that_is_blocked_is_a_refusal() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    said = completion(told(adapter(), blocked)).choices[0]
    assert (said.finish_reason, said.message.content) == ("content_filter", None)
    assert "SAFETY" in (said.message.refusal or "")
    streamed = put_together(answered(adapter(stream=True), events(blocked), type=EVENTS).body).choices[0]
    assert streamed.finish_reason == "content_filter"
    assert streamed.message.refusal == said.message.refusal


def test_several_answers_and_their_likelihoods_are_told() -> None:
    chosen = [{"token": "Hi", "logProbability": -0.1}]
    top = [{"candidates": [{"token": "Hi", "logProbability": -0.1}, {"token": "Ü", "logProbability": -3}]}]
    first = content({"text": "Hi"}, logprobsResult={"chosenCandidates": chosen, "topCandidates": top})
    said = completion(told(adapter(n=2), generated(first, content({"text": "Ho"}) | {"index": 1})))
    assert [(one.index, one.message.content) for one in said.choices] == [(0, "Hi"), (1, "Ho")]
    assert said.choices[0].logprobs is not None
    tokens = said.choices[0].logprobs.content or []
    assert [(one.token, one.logprob, one.bytes) for one in tokens] == [("Hi", -0.1, [72, 105])]
    assert [(one.token, one.logprob) for one in tokens[0].top_logprobs] == [("Hi", -0.1), ("Ü", -3.0)]
    assert said.choices[1].logprobs is None


def test_pictures_that_a_model_makes_are_told() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    one = adapter(modalities=["text", "image"])
    assert asked(one)["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert told(one, generated(content(part))).json["choices"][0]["message"]["images"] == [picture]
    stream = answered(adapter(stream=True), events(generated(content(part))), type=EVENTS).body
    assert [delta["images"] for delta in deltas(stream) if "images" in delta] == [[{"index": 0, **picture}]]
    put_together(stream)


def test_calls_make_a_round_trip_with_ids_and_signature() -> None:
    calls = [
        {"functionCall": {"name": "weather", "args": {"place": "Rome"}, "id": "g1"}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "now", "args": {}}},
    ]
    answer = told(adapter(LATER, tools=[WEATHER]), generated(content({"text": "I look."}, *calls)))
    assert completion(answer).choices[0].finish_reason == "tool_calls"
    said = answer.json["choices"][0]["message"]
    ids = [call["id"] for call in said["tool_calls"]]
    assert ids == ["g1", "call_abc_0_1"]
    results = [{"role": "tool", "tool_call_id": one_id, "content": "20"} for one_id in ids]
    back = request(LATER, messages=[QUESTION, said, *results])["contents"]
    assert back[1] == {"role": "model", "parts": [{"text": "I look."}, *calls]}
    assert [part["functionResponse"] for part in back[2]["parts"]] == [
        {"id": "g1", "name": "weather", "response": {"result": "20"}},
        {"name": "now", "response": {"result": "20"}},
    ]


@pytest.mark.parametrize(
    ("status", "kind", "type"),
    [
        (400, "INVALID_ARGUMENT", "invalid_request_error"),
        (403, "PERMISSION_DENIED", "permission_error"),
        (429, "RESOURCE_EXHAUSTED", "rate_limit_error"),
        (503, "UNAVAILABLE", "server_error"),
    ],
)
@pytest.mark.parametrize("is_list", [False, True])
def test_an_error_keeps_its_status_and_is_told_as_openais(status: int, kind: str, type: str, is_list: bool) -> None:
    error: Any = {"error": {"code": status, "message": "No.", "status": kind}}
    answer = told(adapter(stream=True), [error] if is_list else error, status=status)
    assert answer.status == status
    assert answer.json == {"error": {"message": "No.", "type": type, "param": None, "code": kind.lower()}}


@pytest.mark.parametrize(
    "whole", [{}, {"candidates": []}, generated(content(reason="MALFORMED_FUNCTION_CALL", finishMessage="x"))]
)
def test_a_success_without_an_answer_does_not_look_like_one(whole: Any) -> None:
    with pytest.raises(UpstreamBroken):
        told(adapter(), whole)


# What is streamed

TALK = events(
    generated(content({"text": "Grüße", "thought": True}, reason=None)),
    generated(content({"text": "Es ist 世界 "}, reason=None)),
    generated(content({"text": "warm 🌍."}, reason=None)),
    generated(
        content(
            {"functionCall": {"name": "weather", "args": {"place": "Romä"}}, "thoughtSignature": "c2ln"}, reason=None
        )
    ),
    generated(
        content({"functionCall": {"name": "now", "args": {}}}),
        usageMetadata={"promptTokenCount": 10, "candidatesTokenCount": 25, "thoughtsTokenCount": 5},
    ),
).replace(b"\n\n", b"\r\n\r\n")


def test_a_stream_is_put_together_by_openais_client() -> None:
    answer = answered(adapter(stream=True, stream_options={"include_usage": True}), TALK, type=EVENTS)
    said = put_together(answer.body)
    choice = said.choices[0]
    assert said.model == "gemini-2.5-flash-001"
    assert choice.message.content == "Es ist 世界 warm 🌍."
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == [  # type: ignore[union-attr]
        ("call_abc_0_0", "weather", {"place": "Romä"}),
        ("call_abc_0_1", "now", {}),
    ]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas(answer.body)) == "Grüße"
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (10, 30)


def said_of(cut: list[bytes]) -> bytes:
    return answered(adapter(stream=True), cut, type=EVENTS).body


@given(cuts(TALK))
def test_however_a_stream_is_cut_the_client_gets_the_same(pieces: list[bytes]) -> None:
    assert said_of(pieces) == said_of([TALK])


def test_a_stream_that_comes_byte_by_byte_gives_the_client_the_same() -> None:
    assert said_of(each_byte(TALK)) == said_of([TALK])


def test_a_stream_states_what_it_used_only_where_that_was_asked_for() -> None:
    assert not any("usage" in one for one in chunks(answered(adapter(stream=True), TALK, type=EVENTS).body))
    found = chunks(answered(adapter(stream=True, stream_options={"include_usage": True}), TALK, type=EVENTS).body)
    assert found[-2]["choices"] == []
    assert found[-2]["usage"]["completion_tokens"] == 30


def test_several_answers_are_streamed_each_to_its_end() -> None:
    stream = events(
        generated(content({"text": "a"}, reason=None), content({"text": "b"}) | {"index": 1}),
        generated(content({"text": "c"})),
    )
    said = put_together(answered(adapter(n=2, stream=True), stream, type=EVENTS).body)
    assert [(one.index, one.message.content, one.finish_reason) for one in said.choices] == [
        (0, "ac", "stop"),
        (1, "b", "stop"),
    ]


@pytest.mark.parametrize(
    "failure",
    [
        {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}},
        generated(content(reason="MALFORMED_FUNCTION_CALL")),
    ],
)
def test_an_error_within_a_stream_is_told_and_nothing_follows(failure: Any) -> None:
    stream = events(generated(content({"text": "Hi"}, reason=None)), failure, generated(content({"text": "Ho"})))
    found = chunks(answered(adapter(stream=True), stream, type=EVENTS).body)
    assert found[-1]["error"]["type"] == "server_error"
    assert found[-1]["error"]["message"]
    assert all(one["choices"][0]["finish_reason"] is None for one in found[:-1])


def test_a_stream_that_breaks_off_does_not_look_complete() -> None:
    for end in (0, 40, TALK.index(b"warm"), TALK.rindex(b"data: ") + 20):
        one = adapter(stream=True, stream_options={"include_usage": True})
        one.begin(200, [(b"content-type", EVENTS)])
        said = one.feed(TALK[:end])
        assert b"[DONE]" not in said
        assert b'"finish_reason":"' not in said
        with pytest.raises(UpstreamBroken):
            one.finish()


def test_one_of_several_answers_that_is_missing_makes_the_stream_incomplete() -> None:
    with pytest.raises(UpstreamBroken):
        answered(adapter(n=2, stream=True), events(generated(content({"text": "a"}))), type=EVENTS)


# Embeddings


def embeddings(**fields: Any) -> GoogleEmbeddings:
    return GoogleEmbeddings(fields, "gemini-embedding-001", now=1700000000, id="abc")


def test_texts_are_embedded_in_one_batch() -> None:
    one = embeddings(input=["a", "b"], dimensions=256)
    assert one.path == "v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert asked(one) == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 256,
            }
            for text in ("a", "b")
        ]
    }
    answer = told(one, {"embeddings": [{"values": [1, 0.5]}, {"values": [0.25, -1]}]})
    said = CreateEmbeddingResponse.model_validate(answer.json)
    assert [(item.index, item.embedding) for item in said.data] == [(0, [1.0, 0.5]), (1, [0.25, -1.0])]


def test_vectors_come_as_base64_where_that_was_asked_for() -> None:
    answer = told(embeddings(input="a", encoding_format="base64"), {"embeddings": [{"values": [1, 0.5]}]})
    encoded = answer.json["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(encoded)) == (1.0, 0.5)


@pytest.mark.parametrize(
    "whole", [{}, {"embeddings": []}, {"embeddings": [{"values": ["x"]}]}, {"embeddings": [{"values": [1]}] * 2}]
)
def test_what_are_no_embeddings_do_not_look_like_some(whole: Any) -> None:
    with pytest.raises(UpstreamBroken):
        told(embeddings(input="a"), whole)


@pytest.mark.parametrize(
    "fields",
    [{}, {"input": []}, {"input": [1]}, {"input": "a", "dimensions": 0}, {"input": "a", "encoding_format": "hex"}],
)
def test_a_wrong_request_for_embeddings_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedRequest):
        embeddings(**fields)
