"""Heads are known again by their bytes, but for the digits of the content-length; whatever else differs is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trunkline.server.application import Application
from trunkline.server.known_heads import KnownHead, KnownHeads, cut
from trunkline.settings import Settings

LINE = b"POST /v1/a/b/c?q=1 HTTP/1.1"
HEADERS = [(b"host", b"127.0.0.1"), (b"content-length", b"2"), (b"x", b"1")]


def request(line: bytes = LINE, headers: list[tuple[bytes, bytes]] = HEADERS, body: bytes = b"ok") -> bytes:
    return line + b"".join(b"\r\n%b: %b" % pair for pair in headers) + b"\r\n\r\n" + body


def scope(headers: list[tuple[bytes, bytes]] = HEADERS) -> dict[str, Any]:
    names = {"type": "http", "asgi": {}, "http_version": "1.1", "method": "POST", "root_path": ""}
    paths = {"path": "/v1/a/b/c", "raw_path": b"/v1/a/b/c", "query_string": b"q=1"}
    return {**names, **paths, "headers": headers, "client": ("127.0.0.1", 1), "state": {}}


def learn(heads: KnownHeads, data: bytes, headers: list[tuple[bytes, bytes]] = HEADERS) -> KnownHead | None:
    found = cut(data)
    assert found is not None
    return heads.learn(found, scope(headers))


def find(heads: KnownHeads, data: bytes) -> KnownHead | None:
    found = cut(data)
    return None if found is None else heads.find(found)


def with_length(length: bytes) -> list[tuple[bytes, bytes]]:
    return [HEADERS[0], (b"content-length", length), HEADERS[2]]


def test_the_length_of_the_body_makes_no_difference_and_is_that_of_the_request() -> None:
    heads = KnownHeads()
    learnt = learn(heads, request())
    found = find(heads, request(headers=with_length(b"40"), body=b"longer"))
    assert found is learnt is not None
    assert found.headers(b"40") == with_length(b"40")
    assert found.scope["raw_path"] == b"/v1/a/b/c"
    assert "client" not in found.scope
    assert "headers" not in found.scope


@pytest.mark.parametrize(
    "other",
    [
        request(LINE.replace(b"POST", b"PUT")),
        request(LINE.replace(b"/c", b"/d")),
        request(LINE.replace(b"q=1", b"q=2")),
        request(LINE.replace(b"1.1", b"1.0")),
        request(headers=[(b"Host", b"127.0.0.1"), *HEADERS[1:]]),
        request(headers=[*HEADERS, (b"authorization", b"Bearer k")]),
        request(headers=HEADERS[1:]),
        request(headers=[HEADERS[2], HEADERS[1], HEADERS[0]]),
        request(headers=[HEADERS[0], HEADERS[2], HEADERS[1]]),
        request(headers=[HEADERS[0], (b"Content-Length", b"2"), HEADERS[2]]),
        request(headers=[HEADERS[0], *HEADERS[1:2] * 2, HEADERS[2]]),
        request(headers=[*HEADERS, (b"transfer-encoding", b"chunked")]),
    ],
)
def test_whatever_else_differs_makes_another_head(other: bytes) -> None:
    heads = KnownHeads()
    learn(heads, request())
    assert find(heads, request()) is not None
    assert find(heads, other) is None


@pytest.mark.parametrize("digits", [b"", b"+2", b"-2", b"2 ", b" 2", b"0x2", b"2,2", b"2\n", b"\xb2", b"1" * 13])
def test_a_length_that_is_not_a_plain_number_is_left_to_the_parser(digits: bytes) -> None:
    assert cut(request(headers=with_length(digits))) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        request()[:40],
        request(headers=[HEADERS[0]]),
        request().replace(b"\r\n", b"\n"),
        request(headers=[(b"x", b"content-length: 2")]),
    ],
)
def test_what_is_no_whole_head_with_a_length_is_left_to_the_parser(data: bytes) -> None:
    assert cut(data) is None


@pytest.mark.parametrize(
    "headers",
    [
        [*HEADERS, (b"content-length", b"2")],
        [*HEADERS, (b"transfer-encoding", b"identity")],
        [*HEADERS, (b"expect", b"100-continue")],
        [*HEADERS, (b"upgrade", b"h2c")],
        with_length(b"3"),
        [HEADERS[0]],
    ],
    ids=["two lengths", "transfer-encoding", "expect", "upgrade", "another length", "no length"],
)
def test_heads_that_frame_their_bodies_otherwise_are_never_known(headers: list[tuple[bytes, bytes]]) -> None:
    heads = KnownHeads()
    assert learn(heads, request(), headers) is None
    assert find(heads, request()) is None


def numbered(number: int) -> bytes:
    return request(headers=[*HEADERS, (b"n", str(number).encode())])


def test_heads_without_end_take_no_memory_without_end() -> None:
    heads = KnownHeads()
    learn(heads, request())
    for number in range(3000):
        learn(heads, numbered(number))
    assert find(heads, request()) is None  # the oldest went
    assert learn(heads, request(headers=[*HEADERS, (b"y", b"y" * 9000)])) is None


def test_of_more_heads_in_turn_than_fit_many_are_known_again() -> None:
    heads = KnownHeads()
    for _ in range(5):
        known = 0
        for number in range(2000):
            if find(heads, numbered(number)) is not None:
                known += 1
            else:
                learn(heads, numbered(number))
    assert known > 800


def test_heads_are_forgotten_when_the_set_up_changes_for_their_memos_keep_all_of_it(tmp_path: Path) -> None:
    application = Application(Settings(data_dir=tmp_path))
    learn(application._known_heads, request())
    for listener in application.gateway.registry._listeners:
        listener()
    assert find(application._known_heads, request()) is None
