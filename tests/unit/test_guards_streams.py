"""What is said in requests and answers of every API, and how a stream is held back until its words are known."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.errors import AnswerBlocked
from trunkline.policy.guards import GuardRule
from trunkline.policy.guards.guarding import GuardSet, search
from trunkline.policy.guards.streams import StreamReader, is_stream
from trunkline.policy.guards.window import StreamWindow
from trunkline.policy.guards.words import Words, answered, answered_by_event, asked
from trunkline.wire.aws_events import AwsEventParser, encoded_exception
from trunkline.wire.refusal import Dialect

SECRET = "sk-proj-0123456789abcdefABCDEF0123"
PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 300
FILE = "JVBERi0xLjQK" * 300


def said(words: Sequence[Words]) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in words]


REQUESTS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    (
        "chat completions",
        {
            "model": "gpt",
            "user": "someone",
            "messages": [
                {"role": "developer", "content": "be kind"},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PICTURE}}],
                },
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": "found"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "description": "does it"}}],
        },
        [("system", "be kind"), ("user", "look"), ("assistant", '{"a": 1}'), ("tool", "found"), ("system", "does it")],
    ),
    (
        "responses",
        {
            "model": "gpt",
            "instructions": "be kind",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "function_call_output", "call_id": "c", "output": "found"},
            ],
        },
        [("system", "be kind"), ("user", "hi"), ("tool", "found")],
    ),
    ("responses of one text", {"model": "gpt", "input": "hi"}, [("user", "hi")]),
    ("completions", {"model": "m", "prompt": ["a", "b"]}, [("user", "a"), ("user", "b")]),
    (
        "Anthropic",
        {
            "model": "claude",
            "system": [{"type": "text", "text": "be kind"}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "found"}]},
                        {
                            "type": "document",
                            "source": {"type": "text", "media_type": "text/plain", "data": "a letter"},
                        },
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": FILE}},
                    ],
                },
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"id": "42"}}]},
            ],
        },
        [("system", "be kind"), ("tool", "found"), ("user", "a letter"), ("assistant", "42")],
    ),
    (
        "Gemini",
        {
            "systemInstruction": {"parts": [{"text": "be kind"}]},
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": "hi"},
                        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                        {"inlineData": {"mimeType": "text/plain", "data": "aGVsbG8="}},
                    ],
                },
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"name": "x"}}}]},
                {"role": "function", "parts": [{"functionResponse": {"name": "f", "response": {"y": "found"}}}]},
            ],
        },
        [("system", "be kind"), ("user", "hi"), ("user", "hello"), ("assistant", "x"), ("tool", "found")],
    ),
    (
        "Bedrock's Converse",
        {
            "system": [{"text": "be kind"}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"text": "hi"},
                        {"toolResult": {"toolUseId": "t", "content": [{"json": {"a": "found"}}]}},
                    ],
                }
            ],
        },
        [("system", "be kind"), ("user", "hi"), ("tool", "found")],
    ),
    (
        "Cohere",
        {
            "message": "hi",
            "preamble": "be kind",
            "chat_history": [{"role": "CHATBOT", "message": "hello"}],
            "documents": [{"text": "found"}],
        },
        [("user", "hi"), ("system", "be kind"), ("assistant", "hello"), ("tool", "found")],
    ),
    ("embeddings", {"model": "m", "input": ["a", "b"]}, [("user", "a"), ("user", "b")]),
    ("embeddings of tokens", {"model": "m", "input": [[1, 2, 3]]}, []),
    ("Cohere's embeddings", {"model": "m", "texts": ["a"]}, [("user", "a")]),
    (
        "an API nobody knows",
        {"kind": {"of": "thing"}, "n": 4111111111111111},
        [("user", "thing"), ("user", "4111111111111111")],
    ),
]


@pytest.mark.parametrize(("body", "expected"), [one[1:] for one in REQUESTS], ids=[one[0] for one in REQUESTS])
def test_what_is_asked_is_read_with_who_said_it(body: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert sorted(said(asked("application/json", json.dumps(body).encode()))) == sorted(expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-8-sig"])
def test_a_request_is_read_in_every_encoding_that_json_may_have(encoding: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": SECRET}]}).encode(encoding)
    assert SECRET in "".join(one.text for one in asked("application/json", body))


def test_what_is_no_json_is_taken_as_it_is_and_a_form_by_its_fields() -> None:
    assert said(asked("text/plain", b"hello")) == [("user", "hello")]
    assert said(asked("application/json", b'{"a": "cut sho')) == [("user", '{"a": "cut sho')]
    form = (
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nhello\r\n'
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nSOUND\0\r\n'
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\ncontent-type: application/jsonl'
        b"\r\n\r\n{}\r\n--x--"
    )
    texts = [one.text for one in asked('multipart/form-data; boundary="x"', form)]
    assert "hello" in texts
    assert "{}" in texts
    assert "SOUND" not in "".join(texts)


def _turn(content: Any) -> bytes:
    return json.dumps({"role": "user", "content": content}).encode()


def _chat(content: Any) -> bytes:
    return b'{"messages": [' + _turn(content) + b"]}"


ORDER = "my key is AKIAIOSFODNN7EXAMPLE"
ESCAPED = "".join(f"\\u{ord(one):04x}" for one in ORDER)
HIDDEN = [
    ("behind a long word", "application/json", _chat("a" * 600 + f" {ORDER} " + "b" * 2000)),
    ("in short lines", "application/json", _chat("\n".join(["word"] * 600) + f"\n{ORDER}\n")),
    ("behind what begins as a picture", "application/json", _chat(f"data:image/png;base64,{ORDER}")),
    ("behind numbers", "application/json", _chat([1, 2, 3, 4, 5, 6, 7, 8, ORDER])),
    ("said before the same member", "application/json", b'{"messages": [%s], "messages": []}' % _turn(ORDER)),
    ("as JSON that is called a sound", "audio/wav", _chat(ORDER)),
    ("as JSON that is called a form", "multipart/form-data; boundary=x", _chat(ORDER)),
    ("as JSON that is called bytes", "application/octet-stream", _chat(ORDER)),
    ("escaped, with half a character", "application/json", b'{"messages": "%s", "x": "\xff"}' % ESCAPED.encode()),
    ("escaped, very deep", "application/json", b'{"a": "%s", "x": %s}' % (ESCAPED.encode(), b"[" * 5000 + b"]" * 5000)),
    (
        "in a field that names a file elsewhere",
        "multipart/form-data; boundary=x",
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\nx: filename\r\n\r\n%s\r\n--x--' % ORDER.encode(),
    ),
    (
        "in a form with short line ends",
        "multipart/form-data; boundary=x",
        b'--x\ncontent-disposition: form-data; name="prompt"\n\n%s\n--x--' % ORDER.encode(),
    ),
    ("in a form of another boundary", "multipart/form-data; boundary=y", b"--x\r\n\r\n%s\r\n--x--" % ORDER.encode()),
    (
        "in a form of two boundaries",
        "multipart/form-data; boundary=y; boundary=x",
        b"--x\r\nfilename\r\n\r\n\0\r\n--x\r\n\r\n%s\r\n--x--\r\n--y" % ORDER.encode(),
    ),
    (
        "in a form, before its first boundary",
        "multipart/form-data; boundary=y",
        b"--x\r\n\r\n%s\r\n--x--\r\n--y--" % ORDER.encode(),
    ),
    (
        "in base64 in a form",
        "multipart/form-data; boundary=x",
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n--x--'
        % base64.b64encode(ORDER.encode()),
    ),
    (
        "as quoted-printable in a form",
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%s\r\n--x--"
        % b"".join(b"=%02X" % byte for byte in ORDER.encode()),
    ),
    (
        "as a name in what a tool gave",
        "application/json",
        json.dumps(
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {"name": {ORDER: 1}}}}]}]}
        ).encode(),
    ),
    ("in a member of another name", "application/json", json.dumps({"messages": [], "extra_prompt": ORDER}).encode()),
]


@pytest.mark.parametrize(("content_type", "body"), [one[1:] for one in HIDDEN], ids=[one[0] for one in HIDDEN])
def test_what_a_provider_may_read_is_not_hidden_from_the_checks(content_type: str, body: bytes) -> None:
    guards = GuardSet([GuardRule(id="r", check="secrets")])
    assert search(guards.request, asked(content_type, body), "request")


def test_files_in_base64_are_left_out_of_the_text_around_them() -> None:
    file = base64.b64encode(bytes(range(256)) * 20).decode()
    assert [one.text for one in asked("application/json", _chat(f"see {file} here"))] == ["see   here"]
    picture = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{file[:80]}"}}]
    assert asked("application/json", _chat(picture)) == []


@settings(max_examples=200)
@given(
    st.binary(max_size=300), st.sampled_from(["application/json", "multipart/form-data; boundary=x", "audio/wav", ""])
)
def test_no_body_makes_the_reading_fail(body: bytes, content_type: str) -> None:
    asked(content_type, body)
    asked(content_type, b"--x\r\n" + body)


@pytest.mark.parametrize("depth", range(880, 1000, 8))
def test_no_depth_makes_the_reading_fail(depth: int) -> None:
    asked("application/json", b'{"messages": ' + b"[" * depth + b'"hi"' + b"]" * depth + b"}")


def test_depth_without_end_hides_nothing() -> None:
    body = b'{"messages":' + b"[" * 80 + json.dumps(SECRET).encode() + b"]" * 80 + b"}"
    assert SECRET in "".join(one.text for one in asked("application/json", body))
    body = b'{"messages":' + b"[" * 5000 + json.dumps(SECRET).encode() + b"]" * 5000 + b"}"
    assert SECRET in "".join(one.text for one in asked("application/json", body))


@given(st.binary(max_size=200), st.sampled_from(["application/json", "multipart/form-data; boundary=x", "", "audio/x"]))
def test_no_body_makes_reading_fail(body: bytes, kind: str) -> None:
    asked(kind, body)
    answered(body)
    answered_by_event(body)


EVENTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}}]}, ["hi"]),
    (
        {
            "choices": [
                {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}}
            ]
        },
        ["{"],
    ),
    ({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}, ["hm"]),
    ({"choices": [{"index": 0, "text": "hi"}]}, ["hi"]),
    ({"choices": [], "usage": {"total_tokens": 4111111111}}, []),
    ({"type": "response.output_text.delta", "item_id": "i", "delta": "hi"}, ["hi"]),
    ({"type": "response.function_call_arguments.delta", "item_id": "i", "delta": "{"}, ["{"]),
    ({"type": "response.created", "response": {"id": "r", "instructions": "be kind", "output": []}}, []),
    ({"type": "message_start", "message": {"id": "m", "role": "assistant", "model": "claude", "content": []}}, []),
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}, ["hi"]),
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}}, ["{"]),
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}, ["hm"]),
    ({"candidates": [{"content": {"parts": [{"text": "hi"}], "role": "model"}}], "modelVersion": "g"}, ["hi"]),
    ({"contentBlockIndex": 0, "delta": {"text": "hi"}, "p": "abc"}, ["hi"]),
    ({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "hi"}}}}, ["hi"]),
    ({"response": "hi"}, ["hi"]),
    ({"type": "ping"}, []),
]


@pytest.mark.parametrize(("event", "texts"), EVENTS)
def test_what_an_event_adds_is_read_in_every_dialect(event: dict[str, Any], texts: list[str]) -> None:
    assert [one.text for one in answered_by_event(json.dumps(event))] == texts


def test_texts_beside_each_other_are_told_apart() -> None:
    first, second = (
        answered_by_event(json.dumps({"choices": [{"index": number, "delta": {"content": "x"}}]}))[0]
        for number in (0, 1)
    )
    assert first.place != second.place


# The window


def window(*rules: GuardRule) -> StreamWindow:
    return StreamWindow(GuardSet(rules).response)


BLOCKS = GuardRule(id="keys", check="secrets", options={"window": 60})


def passed_of(gate: StreamWindow, pieces: Sequence[str]) -> tuple[bytes, bool]:
    """Stream some words, each an event; return what passed, and whether something was found."""
    out = b""
    for piece in pieces:
        gate.add(piece.encode(), [Words("assistant", piece, "0")])
        if gate.search():
            return out, True
        out += gate.release()
    if gate.search(at_end=True):
        return out, True
    return out + gate.release(at_end=True), False


def cut(text: str, places: Sequence[int]) -> list[str]:
    at = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[first:last] for first, last in pairwise(at)]


@given(st.lists(st.integers(0, 2000), max_size=60), st.integers(0, 400), st.integers(0, 400))
def test_no_way_to_cut_a_stream_lets_any_of_a_secret_pass(places: list[int], before: int, behind: int) -> None:
    lead = ("some words that may pass " * 20)[:before]
    out, found = passed_of(window(BLOCKS), cut(f"{lead} {SECRET} {'and more ' * (behind // 9)}", places))
    assert found
    assert "sk-" not in out.decode()
    assert lead.startswith(out.decode().rstrip()) or out.decode().rstrip() == lead.rstrip()


@given(st.lists(st.integers(0, 2000), max_size=60), st.text(max_size=800))
def test_what_breaks_no_rule_passes_whole_and_in_order(places: list[int], text: str) -> None:
    rule = GuardRule(id="t", check="topics", options={"topics": {"never": ["zzyzx"]}, "window": 60})
    plain = text.encode(errors="replace").decode()
    out, found = passed_of(window(rule), cut(plain, places))
    assert (out.decode(), found) == (plain, False)


def test_no_more_than_the_window_and_its_step_is_held_back() -> None:
    gate = window(BLOCKS)
    out = b""
    for number in range(200):
        gate.add(b"four", [Words("assistant", "four", "0")])
        assert gate.search() == []
        out += gate.release()
        assert (number + 1) * 4 - len(out) <= 60 + 16 + 4


def test_a_secret_that_is_longer_than_the_window_is_found_before_its_beginning_passes() -> None:
    out, found = passed_of(window(BLOCKS), ["the key: ", *cut("sk-" + "aB3x9Qw7" * 60, range(0, 480, 7))])
    assert found
    assert b"sk-" not in out


def test_a_number_that_is_still_growing_is_not_taken_for_a_shorter_one() -> None:
    rule = GuardRule(id="p", check="personal", options={"kinds": ["card"], "window": 60})
    digits = "4111111111111111" + "0" * 8  # the first sixteen alone would be a card
    out, found = passed_of(window(rule), ["x" * 100 + " ", *digits, " and on"])
    assert not found
    assert out.decode().endswith(f"{digits} and on")


def test_what_only_flags_holds_nothing_back_and_is_told_once() -> None:
    gate = window(GuardRule(id="p", check="personal", action="flag", options={"window": 60}))
    pieces = ["write to jo@", "example.com", " and to al@example.com", *[" and more words"] * 10]
    found = []
    for piece in pieces:
        gate.add(piece.encode(), [Words("assistant", piece, "0")])
        found += gate.search()
        assert gate.release() == piece.encode()
    found += gate.search(at_end=True)
    assert [one.kinds for one in found] == [("email",)]


def test_a_text_that_has_ended_does_not_hold_up_the_others() -> None:
    gate = window(BLOCKS)
    gate.add(b"A", [Words("assistant", "a thought", "thinking")])
    out = b""
    for _ in range(100):
        gate.add(b"b", [Words("assistant", "four", "text")])
        gate.search()
        out += gate.release()
    assert out.startswith(b"Ab")
    assert len(out) > 50


def test_events_without_words_wait_only_behind_others() -> None:
    gate = window(BLOCKS)
    gate.add(b"head", [])
    gate.search()
    assert gate.release() == b"head"
    gate.add(b"words", [Words("assistant", "words", "0")])
    gate.add(b"ping", [])
    gate.search()
    assert gate.release() == b""
    gate.search(at_end=True)
    assert gate.release(at_end=True) == b"wordsping"


def test_nothing_passes_a_judge_that_has_not_seen_it() -> None:
    judge = GuardRule(id="j", check="judge", options={"policy": "p", "stride": 50})
    gate = window(judge)
    for number in range(4):
        gate.add(b"%d" % number, [Words("assistant", "twenty characters...", "0")])
    assert gate.release() == b""
    assert gate.unjudged() == "twenty characters..." * 4
    gate.judged()
    gate.add(b"4", [Words("assistant", "more", "0")])
    assert gate.unjudged() is None
    assert gate.release() == b"0123"
    assert gate.unjudged(at_end=True) == "twenty characters..." * 4 + "more"


# Events, byte for byte


@given(st.lists(st.integers(0, 500), max_size=30), st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]))
def test_a_stream_is_cut_into_its_events_and_nothing_is_lost(places: list[int], end: str) -> None:
    event = json.dumps({"choices": [{"index": 0, "delta": {"content": "hi"}}]})
    stream = f": ping{end}data: {event}{end}event: x\ndata: {event}{end}data: [DONE]{end}rest"
    reader = StreamReader("text/event-stream; charset=utf-8", Dialect.OPENAI)
    found = [one for piece in cut(stream, places) for one in reader.feed(piece.encode())]
    last = reader.finish()
    assert last is not None
    assert b"".join(one.raw for one in [*found, last]).decode() == stream
    assert [word.text for one in found for word in one.words] == ["hi", "hi"]
    assert [one.is_last for one in found] == [False, False, False, True]


def aws(kind: str, document: dict[str, Any]) -> bytes:
    return encoded_exception(kind, json.dumps(document).encode())


def test_amazons_messages_are_read_and_end_with_an_exception() -> None:
    stream = aws("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hi"}}) + aws("messageStop", {})
    reader = StreamReader("application/vnd.amazon.eventstream", Dialect.OPENAI)
    found = [one for at in range(len(stream)) for one in reader.feed(stream[at : at + 1])]
    assert b"".join(one.raw for one in found) == stream
    assert [word.text for one in found for word in one.words] == ["hi"]
    assert found[-1].is_last
    (ended,) = AwsEventParser().feed(reader.ending(AnswerBlocked("Blocked.")))
    assert (ended.type, json.loads(ended.payload)) == ("validationException", {"message": "Blocked."})


def test_lines_of_json_end_with_a_line_that_is_an_error() -> None:
    reader = StreamReader("application/x-ndjson", Dialect.OPENAI)
    (line,) = reader.feed(b'{"message": {"role": "assistant", "content": "hi"}}\n{"mess')
    assert [one.text for one in line.words] == ["hi"]
    assert json.loads(reader.ending(AnswerBlocked("Blocked.")))["error"]["message"] == "Blocked."
    assert not is_stream("application/json")
