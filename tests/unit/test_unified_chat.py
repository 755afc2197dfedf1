"""The hub of the unified API: how requests are read, and how answers are said."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from tests.unit.unified_exchanges import chunks, put_together
from trunkline.errors import MalformedRequest
from trunkline.unified import chat
from trunkline.unified.chat import ChatRequest, ChunkStream, EmbeddingsRequest

QUESTION = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, r"messages\[0\]\.role"),
        ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\]\.content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, r"messages\[0\]\.content\[0\]\.type"),
        ({"messages": [QUESTION, {"role": "tool", "content": "x"}]}, r"messages\[1\].*tool_call_id"),
        ({"messages": [QUESTION], "tools": [{"type": "web_search"}]}, r"tools\[0\]"),
        ({"messages": [QUESTION], "temperature": "hot"}, "temperature"),
        ({"messages": [QUESTION], "max_tokens": 0}, "max_completion_tokens"),
        ({"messages": [QUESTION], "functions": [{"name": "x"}]}, "functions"),
        ({"messages": [QUESTION], "response_format": {"type": "xml"}}, r"response_format\.type"),
    ],
)
def test_a_wrong_request_is_refused_at_the_field_at_fault(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(MalformedRequest, match=place) as refused:
        ChatRequest.read(fields)
    assert (refused.value.status, refused.value.code) == (400, 2019)


def test_members_that_mean_nothing_to_others_are_let_pass() -> None:
    request = ChatRequest.read({"messages": [{**QUESTION, "weird": 1}], "store": True, "metadata": {"a": "b"}})
    assert chat.text_of(request.messages[0].content) == "Hi"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        chat.read_object(body)


def test_a_data_url_is_read_and_an_address_is_left() -> None:
    held = chat.inline("data:image/SVG+xml;charset=utf-8;base64,aGk=")
    assert held is not None
    assert (held.media_type, held.data, held.decoded()) == ("image/svg+xml", "aGk=", b"hi")
    assert chat.inline("https://pictures.example/a.png") is None


@pytest.mark.parametrize("url", ["", "secret", "file:///secret", "data:image/png,secret", "data:;base64,secret"])
def test_any_other_address_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        chat.inline(url)
    assert "secret" not in refused.value.message


def test_a_data_url_that_is_not_base64_is_refused() -> None:
    held = chat.inline("data:text/plain;base64,not base64!")
    assert held is not None
    with pytest.raises(MalformedRequest, match="base64"):
        held.decoded()


def test_a_whole_answer_is_one_of_openais() -> None:
    call = chat.tool_call("c", "weather", '{"a":1}', extra_content={"x": 1})
    used = chat.usage(input=10, output=5, cached=3, cache_write=2, reasoning=4)
    said = chat.answer("abc", 7, "m", [chat.choice(chat.message(None, tool_calls=[call]), "tool_calls")], used)
    read = ChatCompletion.model_validate(said, strict=True)
    assert read.usage is not None
    assert read.usage.total_tokens == 15
    assert said["usage"]["prompt_tokens_details"] == {"cached_tokens": 3, "audio_tokens": 0, "cache_write_tokens": 2}


def test_a_stream_is_put_together_with_its_lists() -> None:
    stream = ChunkStream("abc", 7, "m", includes_usage=True)
    stream.reasoning("Well")
    stream.thinking_block({"type": "thinking", "thinking": "Well", "signature": "s"})
    stream.thinking_block({"type": "redacted_thinking", "data": "x"})
    stream.text("Hi ")
    stream.text("")
    stream.text("you")
    stream.image("data:image/png;base64,aGk=")
    stream.image("data:image/png;base64,aG8=")
    stream.tool_call(0, "c", "weather")
    stream.arguments(0, '{"a":')
    stream.arguments(0, "1}")
    stream.end("tool_calls")
    stream.done(chat.usage(input=1, output=2))
    body = stream.take()
    assert stream.take() == b""
    said = put_together(body)
    message = said.choices[0].message.model_dump()
    assert (message["content"], message["reasoning_content"]) == ("Hi you", "Well")
    assert [block["type"] for block in message["thinking_blocks"]] == ["thinking", "redacted_thinking"]
    assert len(message["images"]) == 2
    assert message["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    assert said.usage is not None
    assert said.usage.total_tokens == 3


def test_nothing_follows_the_end_or_a_failure() -> None:
    for ends in ("done", "fail"):
        stream = ChunkStream("abc", 7, "m", includes_usage=False)
        stream.text("Hi")
        if ends == "done":
            stream.done(None)
        else:
            stream.fail(chat.error_body("Broken.", status=502))
        first = stream.take()
        stream.text("more")
        stream.end("stop")
        stream.done(None)
        stream.fail(chat.error_body("Broken again."))
        assert stream.take() == b""
        last = chunks(first)[-1]
        assert last == "[DONE]" if ends == "done" else last["error"]["type"] == "server_error"


def test_embeddings_are_told_in_either_format() -> None:
    for wanted in (None, "float"):
        request = EmbeddingsRequest.read({"input": "a", "encoding_format": wanted})
        said = CreateEmbeddingResponse.model_validate(request.answer("m", [[1.0, 0.5]], 3))
        assert said.data[0].embedding == [1.0, 0.5]
        assert said.usage.total_tokens == 3
    packed = EmbeddingsRequest.read({"input": ["a"], "encoding_format": "base64"}).answer("m", [[1.0, 0.5]], 3)
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == (1.0, 0.5)


def test_an_error_has_the_type_of_its_status() -> None:
    types = {status: chat.error_body("x", status=status)["error"]["type"] for status in (400, 401, 404, 418, 429, 503)}
    assert types == {
        400: "invalid_request_error",
        401: "authentication_error",
        404: "not_found_error",
        418: "invalid_request_error",
        429: "rate_limit_error",
        503: "server_error",
    }


def test_json_keeps_its_letters() -> None:
    assert json.loads(chat.encode({"a": "世界 🌍"})) == {"a": "世界 🌍"}
    assert "世界" in chat.as_text(["世界"])
