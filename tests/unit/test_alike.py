"""Heads that differ in the length of the body alone share what was worked out; no others do."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkline.server.application import Application
from trunkline.server.asgi import Alike
from trunkline.settings import Settings
from trunkline.wire.head import Head, Transport

Headers = list[tuple[bytes, bytes]]
HOST = (b"host", b"127.0.0.1")


def head(method: str = "POST", path: str = "/v1/a/b/c", query: str = "", headers: Headers | None = None) -> Head:
    return Head(Transport.HTTP, method, path, query, [HOST] if headers is None else headers)


def test_the_length_of_the_body_makes_no_difference() -> None:
    alike = Alike()
    heads = [head(headers=[HOST, (b"content-length", length), (b"x", b"1")]) for length in (b"1", b"20")]
    for one in heads:
        alike.recognise(one)
    assert heads[0].memo is heads[1].memo
    assert [one.header(b"content-length") for one in heads] == ["1", "20"]


@pytest.mark.parametrize(
    "other",
    [
        head("PUT"),
        head(path="/v1/a/b/d"),
        head(query="x=1"),
        head(headers=[]),
        head(headers=[(b"host", b"127.0.0.2")]),
        head(headers=[HOST, (b"authorization", b"Bearer k")]),
        head(headers=[HOST, HOST]),
    ],
)
def test_whatever_else_differs_makes_another_head(other: Head) -> None:
    alike, first = Alike(), head()
    alike.recognise(first)
    alike.recognise(other)
    assert other.memo is not first.memo


def test_the_order_of_headers_counts() -> None:
    alike = Alike()
    first, second = head(headers=[HOST, (b"a", b"1")]), head(headers=[(b"a", b"1"), HOST])
    alike.recognise(first)
    alike.recognise(second)
    assert first.memo is not second.memo


def test_heads_without_end_take_no_memory_without_end() -> None:
    alike, first = Alike(), head()
    alike.recognise(first)
    for number in range(3000):
        alike.recognise(head(query=str(number)))
    again = head()
    alike.recognise(again)
    assert again.memo is not first.memo  # the oldest went
    large = [head(headers=[(b"x", b"y" * 9000)]) for _ in range(2)]
    for one in large:
        alike.recognise(one)
    assert large[0].memo is not large[1].memo


def test_heads_are_forgotten_when_the_set_up_changes_for_their_memos_keep_all_of_it(tmp_path: Path) -> None:
    application = Application(Settings(data_dir=tmp_path))
    before, after = head(), head()
    application._alike.recognise(before)
    for listener in application.gateway.registry._listeners:
        listener()
    application._alike.recognise(after)
    assert after.memo is not before.memo


def test_of_more_heads_in_turn_than_fit_many_are_known_again() -> None:
    alike = Alike()
    for _ in range(5):
        known = 0
        for number in range(2000):
            one = head(query=str(number))
            own = one.memo
            alike.recognise(one)
            known += one.memo is not own
    assert known > 800
