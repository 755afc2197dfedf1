"""Server-sent events: the same events however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.wire.sse import ServerSentEvent, SseParser


def whole(stream: bytes) -> list[tuple[str, str]]:
    return in_pieces([stream])


def in_pieces(pieces: list[bytes]) -> list[tuple[str, str]]:
    parser = SseParser()
    return [(event.event, event.data) for piece in pieces for event in parser.feed(piece)]


def byte_by_byte(stream: bytes) -> list[tuple[str, str]]:
    return in_pieces([stream[at : at + 1] for at in range(len(stream))])


STREAMS: list[tuple[bytes, list[tuple[str, str]]]] = [
    (b"data: hello\n\n", [("message", "hello")]),
    (b"data:hello\n\n", [("message", "hello")]),
    (b"data:  two spaces\n\n", [("message", " two spaces")]),
    (b"data: one\r\n\r\ndata: two\r\n\r\n", [("message", "one"), ("message", "two")]),
    (b"data: one\r\rdata: two\r\r", [("message", "one"), ("message", "two")]),
    (b"data: a\r\ndata: b\n\r\n", [("message", "a\nb")]),
    (b"data: a\ndata:\ndata: b\n\n", [("message", "a\n\nb")]),
    (b"data\n\n", [("message", "")]),
    (b"event: error\ndata: {}\n\n", [("error", "{}")]),
    (b"event: first\ndata: 1\n\ndata: 2\n\n", [("first", "1"), ("message", "2")]),
    (b"event: no data\n\ndata: 1\n\n", [("message", "1")]),
    (b": a comment\n\n:\ndata: 1\n: another\n\n", [("message", "1")]),
    (b"id: 7\nretry: 100\nunknown: x\ndata: 1\n\n", [("message", "1")]),
    (b"data: a: b: c\n\n", [("message", "a: b: c")]),
    (b"DATA: 1\n data: 2\n\n", []),
    (b"\n\n\r\n\r\n\r\r", []),
    (b"\xef\xbb\xbfdata: after a byte order mark\n\n", [("message", "after a byte order mark")]),
    ("data: Grüße, 世界 🌍\n\n".encode(), [("message", "Grüße, 世界 🌍")]),
    ("data: a\u2028b\u0085c\x0bd\n\n".encode(), [("message", "a\u2028b\u0085c\x0bd")]),
    (b"data: \xff\xfe broken\n\n", [("message", "\ufffd\ufffd broken")]),
    (b"data: never ended", []),
    (b"data: never ended\n", []),
    (b'data: {"choices":[]}\n\ndata: [DONE]\n\n', [("message", '{"choices":[]}'), ("message", "[DONE]")]),
]


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_a_stream_gives_its_events_whole_and_byte_by_byte(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert whole(stream) == events
    assert byte_by_byte(stream) == events


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    parser = SseParser()
    assert parser.feed(b"data: 1\n") == []
    assert parser.feed(b"\nda") == [ServerSentEvent("message", "1")]
    assert parser.feed(b"ta: 2\n\n") == [ServerSentEvent("message", "2")]


def test_an_event_whose_lines_end_with_carriage_returns_does_not_wait_for_the_next() -> None:
    parser = SseParser()
    assert parser.feed(b"data: 1\r\n\r") == [ServerSentEvent("message", "1")]
    assert parser.feed(b"\ndata: 2\r\n\r\n") == [ServerSentEvent("message", "2")]


def test_an_empty_chunk_changes_nothing() -> None:
    assert in_pieces([b"", b"data: 1\r", b"", b"\n", b"", b"\r", b"", b"\n", b""]) == [("message", "1")]


lines = st.sampled_from(
    [
        b"data: x",
        b"data:",
        b"data",
        b"event: e",
        b"event",
        b": c",
        b"id: 1",
        b"\xff",
        "data: ü🌍".encode(),
        b"\xef\xbb\xbf",
    ]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
streams = st.lists(st.one_of(lines, ends), max_size=30).map(b"".join) | st.binary(max_size=80)


@given(streams, st.data())
def test_however_a_stream_is_cut_its_events_are_the_same(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert in_pieces(pieces) == whole(stream) == byte_by_byte(stream)


@given(st.binary(max_size=200))
def test_garbage_never_raises(garbage: bytes) -> None:
    byte_by_byte(garbage)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20), max_size=6))
def test_what_was_written_is_read(payloads: list[str]) -> None:
    stream = "".join(f"event: delta\ndata: {payload}\n\n" for payload in payloads).encode()
    assert whole(stream) == [("delta", payload) for payload in payloads]


usual_events = st.sampled_from(
    [
        b"data: a\n\n",
        b"data:\n\n",
        b"event: e\ndata: b\n\n",
        b"data: a\ndata: b\n\n",
        b": c\n\n",
        b"\n",
        b"event: e\n\n",
    ]
)
any_bytes = st.binary(max_size=3)


@given(st.lists(st.one_of(usual_events, any_bytes), max_size=8), st.lists(usual_events, max_size=4))
@example([b"\xc2"], [b"data: a\n\n"])  # half a character
def test_events_that_are_counted_without_being_read_are_those_that_reading_finds(
    before: list[bytes], chunk: list[bytes]
) -> None:
    counting, reading = SseParser(), SseParser()
    for piece in before:
        counting.feed(piece)
        reading.feed(piece)
    counted = counting.count(b"".join(chunk))
    found = reading.feed(b"".join(chunk))
    assert counted in (0, len(found))
    if counted:  # they need not be fed: what comes next is read alike
        rest = b"data: next\n\n"
        assert counting.feed(rest) == reading.feed(rest)


@pytest.mark.parametrize(
    ("chunk", "events"),
    [
        (b"data: a\n\n", 1),
        (b"data: a\n\ndata: b\n\n", 2),
        (b"event: x\ndata: a\n\nevent: y\ndata: b\n\n", 2),
        (b"data: a\n\ndata: b\n", 0),
        (b"data: a\r\n\r\n", 0),
        (b": comment\n\n", 0),
    ],
)
def test_only_whole_events_of_the_usual_forms_are_counted(chunk: bytes, events: int) -> None:
    assert SseParser().count(chunk) == events
