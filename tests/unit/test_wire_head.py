"""Heads: what of one goes on to a provider, and what of an answer comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.wire.head import (
    HOP_BY_HOP,
    Head,
    Transport,
    connection_options,
    forwarded_headers,
    once,
    returned_headers,
)


def head(*headers: tuple[bytes, bytes], query: str = "") -> Head:
    return Head(Transport.HTTP, "GET", "/v1/local/default/openai/models", query, headers)


def forwarded(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return list(forwarded_headers(headers))


def returned(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return list(returned_headers(headers))


# Reading


def test_a_header_is_its_first_value() -> None:
    asked = head((b"a", b"1"), (b"a", b"2"), (b"b", b"caf\xe9"))
    assert (asked.header(b"a"), asked.header(b"b"), asked.header(b"c")) == ("1", "café", None)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("model=gpt-realtime", "gpt-realtime"),
        ("a=1&model=%40cf%2Fdeepgram%2Fnova-3", "@cf/deepgram/nova-3"),
        ("model=first&model=second", "first"),
        ("model=", ""),
        ("model", ""),
        ("submodel=x", None),
        ("", None),
    ],
)
def test_a_query_value_is_the_first_of_its_name_decoded(query: str, value: str | None) -> None:
    assert head(query=query).query_value("model") == value


def test_the_representation_of_a_head_holds_nothing_that_may_be_secret() -> None:
    asked = Head(
        Transport.WEBSOCKET,
        "GET",
        "/v1/a/b/google",
        "key=sk-secret",
        [(b"authorization", b"Bearer sk-secret")],
        ["openai-insecure-api-key.sk-secret"],
    )
    assert "sk-secret" not in repr(asked)
    assert "/v1/a/b/google" in repr(asked)


# To the provider


def test_unknown_headers_go_on_as_they_came_in_order_and_as_often() -> None:
    headers = ((b"x-one", b"1"), (b"accept", b"*/*"), (b"x-one", b"2"), (b"accept-encoding", b"gzip"))
    assert forwarded(*headers) == list(headers)


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_a_header_of_one_hop_is_left_out_both_ways(name: bytes) -> None:
    assert forwarded((name, b"x"), (b"a", b"1")) == [(b"a", b"1")]
    assert returned((name.title(), b"x"), (b"a", b"1")) == [(b"a", b"1")]


@pytest.mark.parametrize("connection", [b"close, X-Hop , other", b"x-hop", b" X-HOP,keep-alive"])
def test_what_connection_nominates_is_left_out_both_ways(connection: bytes) -> None:
    headers = ((b"connection", connection), (b"x-hop", b"1"), (b"a", b"1"))
    assert forwarded(*headers) == [(b"a", b"1")]
    assert returned(*headers) == [(b"a", b"1")]


def test_the_options_of_several_connection_headers_count_together() -> None:
    assert connection_options([(b"Connection", b"A, b"), (b"connection", b"c")]) == {b"a", b"b", b"c"}
    assert connection_options([(b"a", b"connection")]) == frozenset()


@pytest.mark.parametrize(
    "name",
    [
        b"host",
        b"content-length",
        b"expect",
        b"cookie",
        b"origin",
        b"referer",
        b"forwarded",
        b"x-forwarded-for",
        b"sec-fetch-site",
        b"sec-websocket-protocol",
        b"cf-aig-authorization",
        b"cf-aig-metadata",
        b"cf-access-jwt-assertion",
        b"x-trunkline-brain",
    ],
)
def test_what_concerns_only_the_way_to_the_gateway_stays_here(name: bytes) -> None:
    assert forwarded((name, b"x")) == []


@pytest.mark.parametrize(
    "name",
    [
        b"content-type",
        b"openai-beta",
        b"openai-organization",
        b"anthropic-version",
        b"x-stainless-os",
        b"user-agent",
        b"x-fal-target-url",
        b"cartesia-version",
        b"x-amz-security-token",
    ],
)
def test_what_concerns_the_provider_goes_on(name: bytes) -> None:
    assert forwarded((name, b"x")) == [(name, b"x")]


# Back to the client


def test_an_answers_headers_come_back_with_small_names() -> None:
    assert returned((b"X-Request-ID", b"r"), (b"Retry-After", b"7"), (b"Content-Encoding", b"br")) == [
        (b"x-request-id", b"r"),
        (b"retry-after", b"7"),
        (b"content-encoding", b"br"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        b"Set-Cookie",
        b"Strict-Transport-Security",
        b"Alt-Svc",
        b"Clear-Site-Data",
        b"NEL",
        b"Report-To",
        b"Access-Control-Allow-Origin",
        b"access-control-expose-headers",
    ],
)
def test_what_a_browser_would_apply_to_the_gateways_own_host_stays_behind(name: bytes) -> None:
    assert returned((name, b"x"), (b"a", b"1")) == [(b"a", b"1")]


names = st.sampled_from([b"connection", b"x-a", b"x-b", b"te", b"host", b"cf-aig-x", b"set-cookie", b"accept"])
values = st.sampled_from([b"x-a", b"x-b, te", b"close", b"", b",", b"X-A"])


@given(st.lists(st.tuples(names, values), max_size=8))
def test_what_goes_on_is_a_part_of_what_came_in_the_same_order(headers: list[tuple[bytes, bytes]]) -> None:
    for kept in (list(forwarded_headers(headers)), list(returned_headers(headers))):
        remaining = iter(headers)
        assert all(pair in remaining for pair in kept)
        nominated = connection_options(headers)
        assert not {name for name, _ in kept} & (HOP_BY_HOP | nominated)


def test_a_header_is_found_by_its_first_value_and_by_all() -> None:
    asking = head((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    assert (asking.header(b"a"), asking.header(b"c")) == ("1", None)
    assert [*asking.header_values(b"a")] == ["1", "3"]
    assert [*asking.header_values(b"c")] == []
    assert asking.has_any((b"c", b"b"))
    assert not asking.has_any((b"c", b"d"))


def test_what_follows_from_a_head_is_worked_out_once_for_those_that_share_a_memo() -> None:
    asked: list[Head] = []

    @once
    def size(one: Head) -> int:
        asked.append(one)
        return len(one.headers)

    first, alike, other = (head((b"a", b"1")) for _ in range(3))
    alike.share(first.memo)
    assert [size(first), size(first), size(alike), size(other)] == [1, 1, 1, 1]
    assert [*map(id, asked)] == [id(first), id(other)]


def test_a_head_made_of_another_one_shares_nothing_with_it() -> None:
    asking = head((b"a", b"1"))
    asking.memo["x"] = 1
    changed = replace(asking, headers=[(b"a", b"2")])
    assert (changed.memo, changed.header(b"a")) == ({}, "2")
