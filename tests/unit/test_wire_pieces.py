"""JSON arrays and lines, Amazon's event stream and compressed bodies: the same however the bytes are cut."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.wire.aws_events import AwsEvent, AwsEventParser
from trunkline.wire.encodings import Unpacker, readable_encodings
from trunkline.wire.json_stream import JsonArrayParser, LineParser
from trunkline.wire.sse import SseParser

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(max_size=5) | st.sampled_from(['"', "\\", "[", "}"]), JSON_VALUES, max_size=3)
SIZES = st.integers(1, 9)


def fed(parser: Any, stream: bytes, size: int) -> list[Any]:
    return [one for at in range(0, len(stream), size) for one in parser.feed(stream[at : at + size])]


@given(st.lists(OBJECTS, max_size=4), st.sampled_from([None, 1]), st.booleans(), SIZES)
def test_an_array_gives_its_objects(objects: list[Any], indent: int | None, ascii_only: bool, size: int) -> None:
    stream = json.dumps(objects, indent=indent, ensure_ascii=ascii_only).encode()
    found = fed(JsonArrayParser(10_000), stream, size)
    assert [json.loads(one) for one in found] == objects
    assert fed(JsonArrayParser(10_000), stream, len(stream)) == found


def test_an_element_is_given_as_soon_as_it_is_whole() -> None:
    parser = JsonArrayParser(100)
    assert parser.feed(b'[{"a":"}]"') == []
    assert parser.feed(b"}") == [b'{"a":"}]"}']
    assert parser.feed(b',\n{"b":[{}]},{') == [b'{"b":[{}]}']


def test_an_element_that_is_too_long_is_left_out_and_the_next_is_not() -> None:
    stream = b'[{"a":"' + b"x" * 200 + b'"},{"b":1}]'
    for size in (1, 50, len(stream)):
        assert fed(JsonArrayParser(100), stream, size) == [b'{"b":1}']


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b"[{"])), SIZES)
def test_no_bytes_make_an_array_fail_or_differ_by_how_they_are_cut(pieces: list[bytes], size: int) -> None:
    stream = b"".join(pieces)
    assert fed(JsonArrayParser(64), stream, size) == fed(JsonArrayParser(64), stream, len(stream) or 1)


@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"\r\n", b'{"a":1}'])), SIZES)
def test_lines_are_the_same_however_they_are_cut(pieces: list[bytes], size: int) -> None:
    stream = b"".join(pieces)
    parser = LineParser(30)
    found = [*fed(parser, stream, size), parser.finish()]
    lines = [line.strip() if len(line) <= 30 else b"" for line in stream.split(b"\n")]
    assert [one for one in found if one] == [one for one in lines if one]


def aws_message(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def text_header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


# One header of each other type: they are passed over.
OTHERS = b"".join(
    bytes([1]) + b"x" + bytes([kind]) + value
    for kind, value in enumerate(
        [b"", b"", b"1", b"12", b"1234", b"12345678", b"\x00\x03abc", b"\x00\x00", b"12345678", bytes(16)]
    )
)
MESSAGES = (
    aws_message(text_header(":event-type", "metadata"), b'{"usage":{}}')
    + aws_message(OTHERS + text_header(":exception-type", "throttlingException"), b"")
    + aws_message(b"", b"x" * 300)
    + aws_message(text_header(":error-code", "InternalError"), b"y")
)
EVENTS = [
    AwsEvent("metadata", b'{"usage":{}}'),
    AwsEvent("throttlingException", b""),
    AwsEvent("", b"x" * 300),
    AwsEvent("InternalError", b"y"),
]


@pytest.mark.parametrize("size", [1, 5, 100, len(MESSAGES)])
def test_amazons_messages_are_the_same_however_they_are_cut(size: int) -> None:
    assert fed(AwsEventParser(), MESSAGES, size) == EVENTS


@pytest.mark.parametrize("at", range(0, len(MESSAGES), 3))
def test_behind_a_damaged_message_nothing_is_read(at: int) -> None:
    damaged = MESSAGES[:at] + bytes([MESSAGES[at] ^ 0x55]) + MESSAGES[at + 1 :]
    found = fed(AwsEventParser(), damaged, len(damaged))
    assert len(found) < len(EVENTS)
    assert found == EVENTS[: len(found)]


@given(st.lists(st.binary(max_size=40) | st.just(MESSAGES)), SIZES)
def test_no_bytes_make_reading_messages_fail(pieces: list[bytes], size: int) -> None:
    stream = b"".join(pieces)
    assert fed(AwsEventParser(), stream, size) == fed(AwsEventParser(), stream, len(stream) or 1)


@given(st.binary(max_size=60))
def test_no_headers_make_reading_messages_fail(headers: bytes) -> None:
    assert [event.payload for event in AwsEventParser().feed(aws_message(headers, b"payload"))] == [b"payload"]


PACKED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "": bytes,
}


@given(st.binary(max_size=500), st.sampled_from(sorted(PACKED)), SIZES)
def test_a_body_is_unpacked_however_it_is_cut(body: bytes, encoding: str, size: int) -> None:
    packed = PACKED[encoding](body)
    unpacker = Unpacker(encoding, 10_000)
    assert b"".join(unpacker.feed(packed[at : at + size]) for at in range(0, len(packed), size)) == body


@given(st.binary(max_size=100), st.sampled_from(["gzip", "deflate", "br"]), SIZES)
def test_what_is_no_such_body_unpacks_to_little_and_does_not_fail(body: bytes, encoding: str, size: int) -> None:
    unpacker = Unpacker(encoding, 50)
    found = b"".join(unpacker.feed(body[at : at + size]) for at in range(0, len(body), size))
    assert len(found) <= 50


def test_a_body_that_unpacks_to_more_than_there_is_room_for_ends_there() -> None:
    unpacker = Unpacker("gzip", 1_000_000)
    packed = gzip.compress(b"\0" * 50_000_000)
    found = [len(unpacker.feed(packed[at : at + 1000])) for at in range(0, len(packed), 1000)]
    assert sum(found) <= 1_000_000


@pytest.mark.parametrize(
    ("accepted", "readable"),
    [
        ("gzip, deflate, br, zstd", "gzip, deflate"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip;q=0.8"),
        ("br, zstd", "identity"),
        ("identity", "identity"),
        ("*", "identity"),
        ("", "identity"),
        ("GZIP", "GZIP"),
    ],
)
def test_only_encodings_that_can_be_read_are_asked_for(accepted: str, readable: str) -> None:
    assert readable_encodings(accepted) == readable


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_event_that_is_too_long_is_left_out_and_the_next_is_not(size: int) -> None:
    stream = (
        b"data: " + b"x" * 95 + b"\n\n"  # 101 characters
        b"data: " + b"y" * 94 + b"\n\n"
        b"data: " + b"x" * 50 + b"\r\ndata: " + b"x" * 50 + b"\r\n\r\n"
        b"event: kept\ndata: z\n\n"
    )
    assert [event.data for event in fed(SseParser(longest=100), stream, size)] == ["y" * 94, "z"]


def test_a_line_without_an_end_is_not_held() -> None:
    parser = SseParser(longest=100)
    for _ in range(100):
        assert parser.feed(b"data: " + b"x" * 50) == []
    assert sum(map(len, parser._pending)) <= 100
