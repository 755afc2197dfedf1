"""A stream is asked for its usage on behalf of a caller who did not ask, who then never sees it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.usage import UsageStripper, states_usage, with_usage
from trunkline.providers.catalogue import Catalogue

PROVIDERS = {provider.slug: provider for provider in Catalogue.build().all()}
CHAT = "v1/chat/completions"


def asking(body: bytes, provider: str = "openai", rest: str = CHAT) -> bytes | None:
    return with_usage(PROVIDERS[provider], rest, body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"model":"gpt-4o", "stream" : true,"messages":[]}',
            b'{"stream_options":{"include_usage":true},"model":"gpt-4o", "stream" : true,"messages":[]}',
        ),
        (
            b' \n{ "stream": true, "n": 1e2}\n',
            b' \n{"stream_options":{"include_usage":true}, "stream": true, "n": 1e2}\n',
        ),
        (
            b'{"stream":true,"stream_options": null ,"seed":7.0}',
            b'{"stream":true,"stream_options": {"include_usage":true} ,"seed":7.0}',
        ),
        (
            b'{"stream_options" :\n{}, "stream":true}',
            b'{"stream_options" :\n{"include_usage":true}, "stream":true}',
        ),
        (
            b'{"stream":true,"stream_options":{"include_usage": false, "include_obfuscation": false}}',
            b'{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}',
        ),
        # What somebody wrote into a message is not the option.
        (
            json.dumps({"messages": '"stream_options": {}', "stream": True, "stream_options": {}}).encode(),
            b'{"messages": "\\"stream_options\\": {}", "stream": true, "stream_options": {"include_usage":true}}',
        ),
    ],
)
def test_the_option_is_set_and_all_else_stays_byte_for_byte(body: bytes, expected: bytes) -> None:
    assert asking(body) == expected
    assert json.loads(expected)["stream_options"]["include_usage"] is True
    assert asking(expected) is None
    assert states_usage(PROVIDERS["openai"], CHAT, expected)
    assert not states_usage(PROVIDERS["openai"], CHAT, body)


@pytest.mark.parametrize(
    ("body", "provider", "rest"),
    [
        (b'{"stream":true,"stream_options":{"include_usage":true}}', "openai", CHAT),
        (b'{"stream":false}', "openai", CHAT),
        (b'{"model":"gpt-4o"}', "openai", CHAT),
        (b'{"stream":true}', "openai", "responses"),
        (b'{"stream":true}', "openai", "embeddings"),
        (b'{"stream":true}', "anthropic", "v1/messages"),
        (b'{"stream":true}', "mistral", CHAT),
        (b'{"stream":true}', "perplexity-ai", "chat/completions"),
        (b'["stream",true]', "openai", CHAT),
        (b'{"stream":true', "openai", CHAT),
        (b"", "openai", CHAT),
        (b'{"stream":' + b"[" * 100_000, "openai", CHAT),
    ],
)
def test_what_states_its_usage_or_is_no_streamed_chat_is_left_alone(body: bytes, provider: str, rest: str) -> None:
    assert asking(body, provider, rest) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream":true,"stream_options":"yes"}',
        b'{"stream":true,"stream_options":[]}',
        b'{"stream":true,"x":{"stream_options":{}},"stream_options":{}}',
    ],
)
def test_options_that_cannot_be_told_for_sure_are_left_alone_but_state_no_usage(body: bytes) -> None:
    assert asking(body) is None
    assert not states_usage(PROVIDERS["openai"], CHAT, body)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=4), st.sampled_from([None, 1, 2]), st.booleans())
def test_what_is_sent_on_means_the_same_but_for_the_option(
    more: dict[str, Any], indent: int | None, has_options: bool
) -> None:
    asked = {**more, "stream": True, **({"stream_options": {"kept": 1}} if has_options else {"messages": []})}
    body = json.dumps(asked, indent=indent, ensure_ascii=bool(indent)).encode()
    sent = asking(body)
    if sent is None:
        return
    options = asked.get("stream_options") or {}
    assert json.loads(sent) == {**asked, "stream_options": {**options, "include_usage": True}}  # type: ignore[dict-item]


USAGE = '{"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'
TEXT = '{"id":"c","choices":[{"delta":{"content":"\\"choices\\":[],\\"usage\\":{}"}}],"usage":null}'
FILTERED = '{"choices":[],"prompt_filter_results":[],"usage":null}'

# What a stream holds: an event's bytes, and whether it goes on to the client.
EVENTS: list[tuple[bytes, bool]] = [
    (f"data: {TEXT}\n\n".encode(), True),
    (f"data: {USAGE}\n\n".encode(), False),
    (f"data:{USAGE}\r\n\r\n".encode(), False),
    (f"data: {USAGE}\r\r".encode(), False),
    (f": ping\nid: 7\ndata: {USAGE[:20]}\ndata: {USAGE[20:]}\n\n".encode(), False),
    (b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":1}}\n\n', False),
    (f"data: {FILTERED}\n\n".encode(), True),
    (b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}\n\n', True),
    (b'data: {"choices": [], "usage": {', True),
    (b": keep-alive\n\n", True),
    (b"event: error\r\ndata: {}\r\n\r\n", True),
    (b"data: [DONE]\n\n", True),
    (b"\n", True),
    ("data: \u00fc\U0001f30d\u2028 \n\n".encode(), True),
    (b"data: \xff\xfe\n\n", True),
    (b"data: " + b"x" * 70_000 + b"\n\n", True),
]


def stripped(pieces: list[bytes]) -> bytes:
    stripper = UsageStripper()
    return b"".join([*(stripper.feed(piece) for piece in pieces), stripper.finish()])


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(ends)]


# An event that has no end swallows the one behind it.
WHOLE = [event for event in EVENTS if event[0].endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))]


@given(st.lists(st.sampled_from(WHOLE), max_size=6), st.lists(st.integers(0, 10**6), max_size=12))
def test_only_the_usage_goes_whatever_the_pieces(chosen: list[tuple[bytes, bool]], places: list[int]) -> None:
    stream = b"".join(event for event, _ in chosen)
    assert stripped(cut(stream, places)) == b"".join(event for event, stays in chosen if stays)


def test_only_the_usage_goes_byte_by_byte() -> None:
    for event, stays in EVENTS:
        stream = b"data: 1\n\n" + event
        passed = stripped([stream[at : at + 1] for at in range(len(stream))])
        assert passed == b"data: 1\n\n" + (event if stays else b"")


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\n", b"\r", b"data: ", USAGE.encode()]), max_size=20))
def test_any_bytes_without_a_chunk_of_usage_pass_as_they_came(pieces: list[bytes]) -> None:
    stream = b"".join(pieces).replace(b'"usage"', b'"usagE"')
    assert stripped([stream]) == stream
    assert stripped([stream[at : at + 1] for at in range(len(stream))]) == stream


def test_an_event_goes_on_as_soon_as_it_is_whole() -> None:
    stripper = UsageStripper()
    for event, stays in EVENTS:
        if event.endswith(b"\n\n") and len(event) < 10_000:
            assert stripper.feed(event[:-1]) == b""
            assert stripper.feed(event[-1:]) == (event if stays else b"")
    assert stripper.finish() == b""


def test_an_event_that_is_long_is_not_held_back() -> None:
    stripper = UsageStripper()
    passed = b"".join(stripper.feed(b"data: " + b"x" * 1000) for _ in range(100))
    assert len(passed) > 100_000 - 3
    rest = stripper.feed(b"\n\n" + EVENTS[1][0] + EVENTS[0][0])
    assert (passed + rest).endswith(b"x\n\n" + EVENTS[0][0])


def test_a_last_chunk_of_usage_without_its_end_goes_too() -> None:
    assert stripped([b"data: [DONE]\n\ndata: ", USAGE.encode()]) == b"data: [DONE]\n\n"
