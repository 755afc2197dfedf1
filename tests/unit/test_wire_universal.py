"""Steps and frames of the universal endpoint: what is understood, what is refused, and in which words."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.wire.head import Transport
from trunkline.wire.universal import (
    MAX_STEPS,
    Cancel,
    Create,
    Metadata,
    Step,
    Unreadable,
    answer_frame,
    chunk_frame,
    done_frame,
    error_frame,
    parse_frame,
    parse_steps,
    stream_begun_frame,
)

SECRET = "sk-secret-0123456789"
JSON_TYPE = (b"content-type", b"application/json")
META = Metadata(event_id="my-1", log_id="01J0000000000000000000000A")


def told(**fields: Any) -> dict[str, Any]:
    return {"provider": "openai", "endpoint": "chat/completions", "headers": {}, "query": {"model": "m"}, **fields}


def body(*steps: Any) -> bytes:
    return json.dumps(list(steps)).encode()


def only(document: bytes) -> Step:
    (step,) = parse_steps(document)
    return step


def headers_of(**headers: Any) -> dict[bytes, bytes]:
    return dict(only(body(told(headers={name.replace("_", "-"): value for name, value in headers.items()}))).headers)


def refusal(document: bytes) -> str:
    with pytest.raises(MalformedRequest) as refused:
        parse_steps(document)
    return refused.value.message


def frame(**fields: Any) -> str:
    return json.dumps({"type": "universal.create", "request": {"eventId": "my-1", **told(**fields)}})


def unreadable(text: str | bytes) -> Unreadable:
    read = parse_frame(text)
    assert isinstance(read, Unreadable)
    return read


def created(text: str | bytes) -> Create:
    read = parse_frame(text)
    assert isinstance(read, Create)
    return read


# Steps


def test_an_array_of_steps_is_read_in_order() -> None:
    steps = parse_steps(body(told(provider="openai"), told(provider="groq"), told(provider="custom-mine_2.x")))
    assert [step.provider for step in steps] == ["openai", "groq", "custom-mine_2.x"]


@pytest.mark.parametrize("space", ["", " ", "\r\n\t "])
def test_one_bare_step_is_a_list_of_one(space: str) -> None:
    assert parse_steps(f"{space}{json.dumps(told())}{space}".encode()) == parse_steps(body(told()))


@pytest.mark.parametrize(
    ("endpoint", "path", "query"),
    [
        ("chat/completions", "chat/completions", ""),
        ("/chat/completions", "chat/completions", ""),
        ("//chat/completions", "chat/completions", ""),
        ("v1/chat/completions", "v1/chat/completions", ""),
        ("/v1/responses", "v1/responses", ""),
        ("v1/messages", "v1/messages", ""),
        ("@cf/meta/llama-3.1-8b-instruct", "@cf/meta/llama-3.1-8b-instruct", ""),
        ("run/@cf/meta/llama", "run/@cf/meta/llama", ""),
        ("res/dep/chat/completions?api-version=2024-10-21", "res/dep/chat/completions", "api-version=2024-10-21"),
        ("v1beta/models/gemini:generateContent?key=K&alt=sse", "v1beta/models/gemini:generateContent", "key=K&alt=sse"),
        ("bedrock-runtime/us-east-1/model/a.b-v1:0/invoke", "bedrock-runtime/us-east-1/model/a.b-v1:0/invoke", ""),
        ("files/a%2Fb", "files/a%2Fb", ""),
        ("models/über größe", "models/%C3%BCber%20gr%C3%B6%C3%9Fe", ""),
        ("models/a#b?c=d e\n", "models/a%23b", "c=d%20e%0A"),
        ("a?b=c?d", "a", "b=c?d"),
        ("", "", ""),
    ],
)
def test_every_spelling_of_an_endpoint_is_a_path_and_a_query(endpoint: str, path: str, query: str) -> None:
    step = only(body(told(endpoint=endpoint)))
    assert (step.path, step.query) == (path, query)


@pytest.mark.parametrize("query", ['{"n": 1.0, "big":123456789012345678901234567890}', '"ü"', "[ ]", "null", "7"])
def test_the_query_is_the_body_byte_for_byte(query: str) -> None:
    document = f'{{"provider":"openai","endpoint":"x","query": {query} ,"headers":{{}}}}'
    assert only(document.encode()).body == query.encode()


def test_headers_may_be_left_out_and_the_body_is_json_by_default() -> None:
    assert list(only(b'{"provider":"openai","endpoint":"x","query":{}}').headers) == [JSON_TYPE]


@pytest.mark.parametrize(
    ("value", "travels_as"),
    [
        ("Bearer sk-1", b"Bearer sk-1"),
        ("  spaced\t", b"spaced"),
        ("", b""),
        ("größe", "größe".encode("latin-1")),
        (1000, b"1000"),
        (0.5, b"0.5"),
        (-3, b"-3"),
        (True, b"true"),
        (False, b"false"),
    ],
)
def test_a_headers_value_is_a_string_a_number_or_a_switch(value: Any, travels_as: bytes) -> None:
    assert headers_of(X_Test=value)[b"x-test"] == travels_as


def test_cloudflares_own_headers_may_be_objects_and_belong_to_the_step() -> None:
    headers = headers_of(**{"cf-aig-metadata": {"user": "Zoë", "n": 1}, "CF-AIG-Skip-Cache": True})
    assert headers[b"cf-aig-metadata"] == b'{"user":"Zo\\u00eb","n":1}'
    assert headers[b"cf-aig-skip-cache"] == b"true"


def test_the_old_spelling_of_authorization_is_the_header_and_the_header_wins() -> None:
    assert (b"authorization", b"Bearer old") in only(body(told(authorization="Bearer old"))).headers
    both = only(body(told(authorization="Bearer old", headers={"Authorization": "Bearer new"})))
    assert [pair for pair in both.headers if pair[0] == b"authorization"] == [(b"authorization", b"Bearer new")]


def test_header_names_that_differ_in_case_are_one_header() -> None:
    step = only(b'{"provider":"p","endpoint":"e","query":1,"headers":{"X-A":"1","x-a":"2"}}')
    assert list(step.headers) == [JSON_TYPE, (b"x-a", b"2")]


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"])
def test_a_step_may_name_its_kind_of_json(kind: str) -> None:
    assert headers_of(Content_Type=kind)[b"content-type"] == kind.encode()


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Connection",
        "Transfer-Encoding",
        "Upgrade",
        "TE",
        "Proxy-Authorization",
        "Expect",
        "Cookie",
        "Origin",
        "Referer",
        "Sec-Fetch-Site",
        "sec-websocket-key",
        "X-Forwarded-For",
        "x-trunkline-brain",
    ],
)
def test_a_step_sets_no_header_of_the_connection_or_the_browser(name: str) -> None:
    said = refusal(body(told(), told(headers={name: SECRET})))
    assert f"{name!r} in step 1" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (told(headers={"X-A": f"{SECRET}\r\nX-B: 1"}), "the header 'X-A' in step 1 holds a line break"),
        (told(headers={"X-A": f"{SECRET}\n"}), "the header 'X-A' in step 1 holds a line break"),
        (told(headers={"X-A": f"{SECRET}\x00"}), "the header 'X-A' in step 1"),
        (told(headers={"X-A": f"{SECRET}世"}), "the header 'X-A' in step 1"),
        (told(authorization=f"{SECRET}\n"), "authorization in step 1"),
        (told(headers={"X-A": None}), "the header 'X-A' in step 1 is not a string or a number"),
        (told(headers={"X-A": [SECRET]}), "the header 'X-A' in step 1 is not a string or a number"),
        (told(headers={"X-A": {"k": SECRET}}), "the header 'X-A' in step 1 is not a string or a number"),
        (told(headers={f"Authorization: {SECRET}": ""}), "header in step 1 holds a character after 'Authorization'"),
        (told(headers={f" {SECRET}": ""}), "header in step 1 holds a character that none can hold"),
        (told(headers={"": SECRET}), "header in step 1"),
        (told(headers={"Content-Type": f"multipart/form-data; boundary={SECRET}"}), "content-type in step 1"),
        (told(headers=[SECRET]), "step 1: Expected `object`, got `array` - at `$.headers`"),
        (told(authorization=[SECRET]), "step 1: Expected `str | null`, got `array` - at `$.authorization`"),
        (told(provider=f"openai/{SECRET}"), "The provider in step 1 is no provider's name"),
        (told(provider=""), "The provider in step 1 is no provider's name"),
        (told(provider="a?b"), "The provider in step 1 is no provider's name"),
        (told(provider=None), "step 1: Expected `str`, got `null` - at `$.provider`"),
        (told(endpoint=5), "step 1: Expected `str`, got `int` - at `$.endpoint`"),
        (told(config={"key": SECRET}), "step 1: Object contains unknown field `config`"),
        ({"provider": "openai", "query": {}}, "step 1: Object missing required field `endpoint`"),
        ({"provider": "openai", "endpoint": "x"}, "step 1: Object missing required field `query`"),
        (SECRET, "step 1: Expected `object`, got `str`"),
        ([told()], "step 1: Expected `object`, got `array`"),
        (None, "step 1: Expected `object`, got `null`"),
    ],
)
def test_a_refusal_names_step_and_field_and_never_a_value(step: Any, words: str) -> None:
    said = refusal(body(told(), step))
    assert words in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b" ",
        b"nonsense",
        b"[]",
        b"{}",
        b"5",
        b'"text"',
        b"null",
        b"[",
        b"[1",
        b'{"provider":',
        b"\xff\xfe",
        b"[] []",
        b'\xef\xbb\xbf{"provider":"p"}',
        b"[NaN]",
        b'{"model":"gpt","messages":[]}',
    ],
)
def test_what_is_no_list_of_steps_is_answered_with_the_form(document: bytes) -> None:
    assert '"provider": "openai", "endpoint": "chat/completions"' in refusal(document)


def test_nesting_without_end_is_refused() -> None:
    assert "nested too deeply" in refusal(b"[" * 100_000)
    deep = b'{"provider":"p","endpoint":"e","query":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert "nested too deeply" in refusal(deep)


def test_the_number_of_steps_is_bounded() -> None:
    assert len(parse_steps(body(*[told()] * MAX_STEPS))) == MAX_STEPS
    assert str(MAX_STEPS + 1) in refusal(body(*[told()] * (MAX_STEPS + 1)))


def test_a_step_shows_no_secret_when_it_is_printed() -> None:
    step = only(body(told(endpoint=f"x?key={SECRET}", headers={"Authorization": SECRET}, query=SECRET)))
    assert SECRET not in repr(step)


# From a step to a head


def test_a_step_becomes_the_head_of_a_provider_native_request() -> None:
    step = only(body(told(endpoint="/v1/chat/completions?a=b", headers={"X-B": "step"})))
    inherited = [(b"x-a", b"request"), (b"x-b", b"request"), (b"content-length", b"9"), (b"content-encoding", b"gzip")]
    for path in ("/v1/acct/gw", "/v1/acct/gw/"):
        head = step.head(path, inherited)
        assert (head.transport, head.method) == (Transport.HTTP, "POST")
        assert head.path == "/v1/acct/gw/openai/v1/chat/completions"
        assert head.query == "a=b"
        assert list(head.headers) == [(b"x-a", b"request"), JSON_TYPE, (b"x-b", b"step")]
        assert head.subprotocols == ()


# Frames


def test_a_create_frame_is_a_step_with_an_event_id_and_asks_for_an_answer_that_is_not_compressed() -> None:
    read = created(frame(headers={"Accept-Encoding": "br", "X-A": "1"}))
    assert read.event_id == "my-1"
    assert (read.step.provider, read.step.path) == ("openai", "chat/completions")
    assert list(read.step.headers) == [JSON_TYPE, (b"x-a", b"1"), (b"accept-encoding", b"identity")]


def test_a_frame_may_be_binary_and_an_event_id_may_be_missing() -> None:
    text = json.dumps({"type": "universal.create", "request": told()})
    assert created(text.encode()).event_id is None
    assert created(text).event_id is None


def test_a_cancel_frame_names_what_it_cancels() -> None:
    assert parse_frame('{"type":"universal.cancel","eventId":"my-1"}') == Cancel("my-1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "5",
        "{}",
        '{"type":5}',
        '{"type":"universal.create"}',
        '{"type":"universal.cancel"}',
        '{"type":"universal.cancel","eventId":""}',
        '{"type":"universal.cancel","eventId":"x","more":1}',
        '{"type":"universal.created"}',
        '"\ud800"',
        b"\xff",
        b"",
        '{"type":"session.update","session":{}}',
    ],
)
def test_any_other_frame_is_answered_with_the_forms_that_there_are(text: str | bytes) -> None:
    read = unreadable(text)
    assert read.event_id is None
    assert '"universal.create"' in read.error.message
    assert '"universal.cancel"' in read.error.message
    assert "/v1/{account}/{gateway}/{provider}/realtime" in read.error.message


@pytest.mark.parametrize(
    ("request_fields", "words"),
    [
        ({"provider": 5}, "`$.provider`"),
        ({"headers": {"Host": SECRET}}, "'Host' in the request"),
        ({"headers": {"X-A": f"{SECRET}\n"}}, "the header 'X-A' in the request"),
        ({"steps": []}, "unknown field `steps`"),
        ({"provider": "a/b"}, "The provider in the request"),
    ],
)
def test_a_create_frame_at_fault_keeps_its_event_id(request_fields: dict[str, Any], words: str) -> None:
    read = unreadable(frame(**request_fields))
    assert read.event_id == "my-1"
    assert words in read.error.message
    assert SECRET not in read.error.message


@pytest.mark.parametrize("event_id", ["", "x" * 257, 5, ["x"]])
def test_an_event_id_is_a_string_of_reasonable_length(event_id: Any) -> None:
    assert "`$.eventId`" in unreadable(frame(eventId=event_id)).error.message


@pytest.mark.parametrize(
    ("kind", "answered", "response"),
    [
        ("application/json", b'{"a":  1.0}', b'{"a":  1.0}'),
        ("application/problem+json; charset=utf-8", b"[1]", b"[1]"),
        ("application/json", b"{broken", b'"{broken"'),
        ("text/plain", b'{"a":1}', b'"{\\"a\\":1}"'),
        ("text/html", "<b>Zoë</b>".encode(), '"<b>Zoë</b>"'.encode()),
        ("application/json", b"", b"null"),
        ("", b"text", b'"text"'),
    ],
)
def test_an_answer_is_json_as_it_came_or_text(kind: str, answered: bytes, response: bytes) -> None:
    text = answer_frame(msgspec.structs.replace(META, content_type=kind, status=200), answered)
    assert text.encode().endswith(b',"response":' + response + b"}")
    said = json.loads(text)
    assert said["type"] == "universal.created"
    assert said["metadata"] == {
        "cacheStatus": "MISS",
        "eventId": "my-1",
        "logId": META.log_id,
        "step": "0",
        "contentType": kind,
        "status": 200,
    }


def test_an_answer_that_is_no_text_is_base64_and_says_so() -> None:
    said = json.loads(answer_frame(msgspec.structs.replace(META, content_type="audio/mpeg"), b"\xff\xfb\x90"))
    assert base64.b64decode(said["response"]) == b"\xff\xfb\x90"
    assert said["metadata"]["encoding"] == "base64"


def test_the_frames_of_a_stream_are_cloudflares() -> None:
    about = msgspec.structs.replace(META, content_type="text/event-stream")
    begun = json.loads(stream_begun_frame(about))
    assert begun["type"] == "universal.created"
    assert "response" not in begun
    assert json.loads(chunk_frame("my-1", '{"choices":\n[]}')) == {
        "type": "universal.stream",
        "metadata": {"eventId": "my-1"},
        "response": {"choices": []},
    }
    for text in ("no json", "", '{"n":NaN}', "[1"):
        assert json.loads(chunk_frame("my-1", text))["response"] == text
    assert json.loads(chunk_frame("my-1", '{"half":"\\ud83d"}'))["response"] == {"half": "\ud83d"}
    done = json.loads(done_frame(about))
    assert (done["type"], done["metadata"]) == ("universal.done", begun["metadata"])


def test_an_error_frame_says_what_was_wrong_and_of_which_request() -> None:
    assert json.loads(error_frame(MalformedRequest("No.")))["metadata"] == {}
    assert json.loads(error_frame(MalformedRequest("No."), event_id="my-1"))["metadata"] == {"eventId": "my-1"}
    said = json.loads(error_frame(UpstreamBroken("It broke."), META))
    assert said["metadata"]["logId"] == META.log_id
    assert said["error"] == {
        "message": "It broke.",
        "type": "server_error",
        "param": None,
        "code": "upstream_broken",
    }


# Arbitrary input

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["provider", "endpoint", "headers", "query", "authorization", "eventId", "x"])
STEP_LIKE = st.dictionaries(NAMES, JSON, max_size=7) | st.fixed_dictionaries(
    {"provider": st.text(max_size=8), "endpoint": st.text(), "query": JSON},
    optional={"headers": st.dictionaries(st.text(), JSON, max_size=3), "authorization": st.text()},
)


@given(STEP_LIKE | st.lists(STEP_LIKE, max_size=3) | JSON)
def test_any_json_is_steps_or_is_refused(document: Any) -> None:
    try:
        steps = parse_steps(json.dumps(document).encode())
    except MalformedRequest:
        return
    for step in steps:
        head = step.head("/v1/a/g", [])
        assert head.path.isascii()
        assert head.query.isascii()
        assert head.path.startswith(f"/v1/a/g/{step.provider}/")
        for name, value in head.headers:
            assert name == name.lower()
            assert not {b"\r", b"\n", b"\x00"} & {bytes([byte]) for byte in name + value}


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_steps_or_are_refused(document: bytes) -> None:
    with suppress(MalformedRequest):
        parse_steps(document)


@given(
    st.binary()
    | st.text()
    | JSON.map(json.dumps)
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["universal.create", "universal.cancel", "x"])},
        optional={"request": STEP_LIKE, "eventId": JSON},
    ).map(json.dumps)
)
def test_any_frame_is_read_or_is_said_to_be_unreadable(text: str | bytes) -> None:
    assert isinstance(parse_frame(text), Create | Cancel | Unreadable)


@given(st.text(), st.binary(), st.text())
def test_whatever_a_provider_says_becomes_a_frame_of_json(kind: str, answered: bytes, data: str) -> None:
    json.loads(answer_frame(msgspec.structs.replace(META, content_type=kind), answered))
    assert json.loads(chunk_frame("my-1", data))["type"] == "universal.stream"
