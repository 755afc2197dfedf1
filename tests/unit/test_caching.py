from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from tests.running import run
from trunkline.credentials import Caller
from trunkline.errors import MalformedRequest, UpstreamBroken, UpstreamRefused
from trunkline.policy.caching import (
    CacheRules,
    CacheWish,
    cache_key,
    cache_wish,
    identity_of,
    is_cacheable,
    is_whole,
    key_name,
    pieces,
    query_without,
    question_of,
    variant_of,
)
from trunkline.policy.control import ControlRules
from trunkline.policy.facts import Facts
from trunkline.policy.registry import GatewayRules
from trunkline.policy.usage import request_facts
from trunkline.providers import Catalogue
from trunkline.server.admission import Admission, ProviderKey
from trunkline.server.answer import Answer, Asked
from trunkline.server.caching import Caching
from trunkline.server.similarity import Similarity
from trunkline.store.cache import CacheStore, LocalCache, MemoryCache
from trunkline.wire.head import Head, Transport

CATALOGUE = Catalogue.build({})
OPENAI = CATALOGUE.find("openai")
ANTHROPIC = CATALOGUE.find("anthropic")
assert OPENAI is not None
assert ANTHROPIC is not None

ON = CacheRules(ttl=600)
OFF = CacheRules()
JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}'
ANSWER = b'{"id":"a","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
EVENTS = [
    b'data: {"choices":[{"delta":{"content":"H"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"i"},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]


def head(*headers: tuple[str, str], query: str = "", method: str = "POST") -> Head:
    given = [(b"content-type", b"application/json"), *((name.encode(), value.encode()) for name, value in headers)]
    return Head(Transport.HTTP, method, "/v1/local/default/openai/chat/completions", query, given)


# What a request asks of the cache


def test_nothing_is_cached_unless_the_gateway_or_the_request_says_so() -> None:
    assert cache_wish(head(), OFF) is None
    assert cache_wish(head(("cf-aig-cache-ttl", "600")), OFF) is None
    assert cache_wish(head(), ON) == CacheWish(600)


def test_a_request_says_how_long_its_answer_is_kept() -> None:
    assert cache_wish(head(("cf-aig-cache-ttl", "60")), ON) == CacheWish(60)
    assert cache_wish(head(("cf-cache-ttl", "2592000")), ON) == CacheWish(2592000)
    assert cache_wish(head(("cf-cache-ttl", "61"), ("cf-aig-cache-ttl", "62")), ON) == CacheWish(62)


def test_a_key_of_the_callers_turns_the_cache_on_for_five_minutes_unless_somebody_says_how_long() -> None:
    key = ("cf-aig-cache-key", "weather")
    assert cache_wish(head(key), OFF) == CacheWish(300, "weather")
    assert cache_wish(head(key), ON) == CacheWish(600, "weather")
    assert cache_wish(head(key, ("cf-aig-cache-ttl", "90")), OFF) == CacheWish(90, "weather")


@pytest.mark.parametrize("name", ["cf-aig-skip-cache", "cf-skip-cache"])
def test_skipping_the_cache_wins_over_all_else(name: str) -> None:
    assert cache_wish(head((name, "True"), ("cf-aig-cache-key", "k"), ("cf-aig-cache-ttl", "90")), ON) is None
    assert cache_wish(head((name, "false")), ON) == CacheWish(600)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("cf-aig-skip-cache", "perhaps", "true or false"),
        ("cf-aig-cache-ttl", "59", "from 60 to 2592000"),
        ("cf-aig-cache-ttl", "0", "cf-aig-skip-cache: true"),
        ("cf-cache-ttl", "2592001", "from 60 to 2592000"),
        ("cf-aig-cache-ttl", "-60", "whole seconds"),
        ("cf-aig-cache-ttl", "60.5", "whole seconds"),
        ("cf-aig-cache-ttl", "9" * 5000, "whole seconds"),
        ("cf-aig-cache-key", "k" * 1025, "1 to 1024"),
    ],
)
def test_a_header_that_cannot_be_used_is_named_with_its_fault_and_what_it_takes(
    name: str, value: str, said: str
) -> None:
    with pytest.raises(MalformedRequest) as refused:
        cache_wish(head((name, value)), ON)
    assert name in refused.value.message
    assert said in refused.value.message
    assert len(refused.value.message) < 300


def facts_of(path: str, body: bytes = BODY) -> Facts:
    read = request_facts(OPENAI, path, "application/json", body)
    return Facts("default", "openai", read.model, kind=read.kind, path=path, stream=read.stream)


@pytest.mark.parametrize(
    "path",
    ["chat/completions", "completions", "responses", "embeddings", "images/generations", "moderations", "v1/rerank"],
)
def test_text_vectors_and_pictures_are_cached(path: str) -> None:
    assert is_cacheable(head(), facts_of(path), BODY, CacheWish(60))
    assert not is_cacheable(head(method="GET"), facts_of(path), BODY, CacheWish(60))


@pytest.mark.parametrize("path", ["audio/speech", "audio/transcriptions", "files", "batches", "realtime", "models"])
def test_sound_files_and_sessions_are_not_cached(path: str) -> None:
    assert not is_cacheable(head(), facts_of(path), BODY, CacheWish(60, "key"))


@pytest.mark.parametrize(
    "member",
    ['"background":true', '"previous_response_id":"resp_1"', '"conversation":"conv_1"', '"con\\u0074ainer":"c"'],
)
def test_what_depends_on_a_state_of_the_providers_is_not_cached(member: str) -> None:
    body = f'{{"model":"gpt-4o","input":"Hello",{member}}}'.encode()
    assert not is_cacheable(head(), facts_of("responses", body), body, CacheWish(60))
    plain = b'{"model":"gpt-4o","input":"the words background and conversation","background":false}'
    assert is_cacheable(head(), facts_of("responses", plain), plain, CacheWish(60))


def test_a_form_is_cached_only_under_a_key_of_the_callers() -> None:
    form = Head(Transport.HTTP, "POST", "/", "", [(b"content-type", b"multipart/form-data; boundary=x")])
    assert not is_cacheable(form, facts_of("images/edits"), b"--x", CacheWish(60))
    assert is_cacheable(form, facts_of("images/edits"), b"--x", CacheWish(60, "mine"))


def test_a_body_that_was_not_read_is_cached_only_under_a_key_of_the_callers() -> None:
    assert not is_cacheable(head(), facts_of("images/edits"), b"", CacheWish(60))
    assert is_cacheable(head(), facts_of("images/edits"), b"", CacheWish(60, "mine"))


# What tells two requests apart


def key_of(body: bytes = BODY, **changed: Any) -> str:
    told: dict[str, Any] = {
        "gateway": "default",
        "provider": "openai",
        "path": "chat/completions",
        "query": "",
        "model": "gpt-4o",
        "identity": "somebody",
        "content_type": "application/json",
    }
    return cache_key(**{**told, **changed}, body=body)


def test_bodies_that_say_the_same_have_the_same_key() -> None:
    spaced = b' {"messages" : [ {"content":"H\\u0065llo", "role":"user"} ], "model":"gpt-4o"}\n'
    assert key_of(spaced) == key_of()
    assert key_of(content_type="application/json; charset=utf-8") == key_of(content_type="")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1}', b'{"a":2}'),
        (b'{"a":1}', b'{"a":"1"}'),
        (b'{"a":1}', b'{"a":1.0}'),
        (b'{"a":0.1}', b'{"a":0.1000000000000000055}'),
        (b'{"a":12345678901234567890123}', b'{"a":12345678901234567890124}'),
        (b'{"a":[1,2]}', b'{"a":[2,1]}'),
        (b'{"a":1,"a":2}', b'{"a":2}'),
        (b'{"a":1,"a":2}', b'{"a":2,"a":1}'),
        (b'{"a":null}', b"{}"),
        (b'{"a":{"#":"1"}}', b'{"a":1}'),
        (b'{"a":{}}', b'{"a":[]}'),
        (b'{"a":NaN}', b'{"a":null}'),
        (b"not json", b"not  json"),
        (b'{"a":"\\ud800"}', b'{"a":"?"}'),
        (b"[" * 100_000, b"[" * 100_001),
        (b"\xff", b"\xfe"),
    ],
)
def test_bodies_that_differ_have_different_keys(one: bytes, other: bytes) -> None:
    assert key_of(one) != key_of(other)
    assert key_of(one) == key_of(one)


def test_a_long_body_is_told_apart_by_its_bytes_and_not_read() -> None:
    long = b'{"a": [' + b"{}," * 2_000_000 + b"{}]}"
    # Read, it would take the test longer than it may run, and everybody else's requests meanwhile.
    assert key_of(long) == key_of(bytes(bytearray(long)))
    assert key_of(long) != key_of(long + b" ")
    assert question_of(BODY + b" " * 200_000) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"gateway": "other"},
        {"provider": "groq"},
        {"path": "responses"},
        {"query": "x"},
        {"model": "gpt-4o-mini"},
        {"identity": "somebody else"},
        {"stream": True},
        {"variant": ["anthropic-version: 2023-06-01"]},
        {"key": "mine"},
    ],
)
def test_requests_that_differ_elsewhere_have_different_keys(changed: dict[str, Any]) -> None:
    assert key_of(**changed) != key_of()


@pytest.mark.parametrize(
    "changed", [{"gateway": "other"}, {"provider": "groq"}, {"path": "responses"}, {"stream": True}]
)
def test_a_callers_key_stands_for_the_body_and_for_nothing_else(changed: dict[str, Any]) -> None:
    mine = key_of(key="mine")
    assert key_of(b"{}", key="mine", model="other", query="x") == mine
    assert key_of(key="mine", **changed) != mine
    assert key_of(key="mine", identity="somebody else") != mine
    assert key_of(key="yours") != mine


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40)
@given(_json, _json)
def test_any_two_documents_share_a_key_only_when_they_are_written_alike(one: Any, other: Any) -> None:
    said, again = json.dumps(one), json.dumps(one, indent=2, sort_keys=True, ensure_ascii=False)
    assert key_of(said.encode()) == key_of(again.encode("utf-8", "surrogatepass"))
    alike = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (key_of(json.dumps(other).encode()) == key_of(said.encode())) == alike


def test_who_asks_is_told_by_the_key_that_is_shown_and_by_where_it_is_shown() -> None:
    mine = identity_of(OPENAI, "sk-mine", "caller")
    assert "sk-mine" not in mine
    assert identity_of(OPENAI, "sk-mine", "stored") == mine
    assert identity_of(OPENAI, "sk-yours", "caller") != mine
    assert identity_of(OPENAI.at("https://elsewhere.example"), "sk-mine", "caller") != mine
    assert identity_of(OPENAI, "sk-mine", "caller", "https://other.gateway token") != mine


def test_the_embedded_provider_takes_everybody_for_the_same_in_every_process() -> None:
    local = CATALOGUE.find("local")
    assert local is not None
    assert identity_of(local.at("http://127.0.0.1:1"), "one", "local") == identity_of(local, "other", "local")


def test_headers_by_which_a_provider_answers_differently_tell_requests_apart() -> None:
    assert variant_of(head(("anthropic-version", "2023-06-01"))) != variant_of(head())
    assert variant_of(head(("openai-organization", "org-1"))) != variant_of(head(("openai-organization", "org-2")))
    assert variant_of(head(("accept-encoding", "gzip, br"))) != variant_of(head(("accept-encoding", "br")))
    assert variant_of(head(("user-agent", "curl"), ("x-request-id", "1"))) == variant_of(head())


def test_of_a_provider_that_nobody_knows_any_header_may_tell_requests_apart() -> None:
    red, blue = head(("x-tenant", "red")), head(("x-tenant", "blue"))
    assert variant_of(red, is_known=False) != variant_of(blue, is_known=False)
    assert variant_of(red) == variant_of(blue)
    way = head(("traceparent", "00-1"), ("x-request-id", "1"), ("authorization", "Bearer x"), ("user-agent", "curl"))
    assert variant_of(way, is_known=False) == variant_of(head(), is_known=False)


def test_a_key_in_the_query_is_no_part_of_what_is_asked() -> None:
    assert query_without("key=secret&alt=sse", frozenset({"key"})) == query_without("alt=sse", frozenset({"key"}))
    assert query_without("alt=sse", frozenset()) != query_without("alt=json", frozenset())


# Which answers are kept


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (ANSWER, True),
        (b"", False),
        (ANSWER[:-1], False),
        (b'{"error":{"message":"overloaded"}}', False),
        (b'{"status":"in_progress","output":[]}', False),
        (b'{"status":"failed","error":{"message":"no"}}', False),
        (b'{"status":"completed","error":null,"output":[]}', True),
        (b'{"status":{"code":200},"output":[]}', True),
        (b"[[0.1,0.2]]", True),
    ],
)
def test_an_answer_counts_only_when_it_is_one(body: bytes, good: bool) -> None:
    assert is_whole(OPENAI, "chat/completions", JSON, body) is good


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (b"".join(EVENTS), True),
        (b"".join(EVENTS[:2]), True),
        (EVENTS[0], False),
        (EVENTS[0] + b'data: {"error":{"message":"overloaded"}}\n\ndata: [DONE]\n\n', False),
    ],
)
def test_a_stream_counts_only_when_its_end_was_there_and_no_error_in_it(body: bytes, good: bool) -> None:
    assert is_whole(OPENAI, "chat/completions", SSE, body) is good


def test_anthropics_stream_ends_with_its_own_last_event() -> None:
    first = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":1}}}\n\n'
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    last = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    assert is_whole(ANTHROPIC, "v1/messages", SSE, first + last)
    assert not is_whole(ANTHROPIC, "v1/messages", SSE, first)
    assert not is_whole(ANTHROPIC, "v1/messages", SSE, first + error)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_a_stream_is_given_again_in_pieces_that_end_where_events_end(end: bytes) -> None:
    events = [b"data: " + b"x" * size + end for size in (1, 4000, 10, 200, 9000, 5)]
    found = pieces(SSE, b"".join(events) + b": the end")
    assert b"".join(found) == b"".join(events) + b": the end"
    assert len(found) > 2
    assert all(piece.endswith(end) for piece in found[:-1])


@given(st.binary(max_size=300))
def test_no_body_is_changed_by_cutting_it(body: bytes) -> None:
    assert b"".join(pieces(SSE, body)) == body
    assert b"".join(pieces(JSON, body)) == body


# Questions that are alike


def test_a_question_is_the_last_thing_a_user_says() -> None:
    asked = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": " Why? "}],
    }
    question = question_of(json.dumps(asked).encode())
    assert question is not None
    assert question.text == "Why?"
    parts = {
        **asked,
        "messages": [asked["messages"][0], {"role": "user", "content": [{"type": "text", "text": "Why?"}]}],
    }
    other = question_of(json.dumps(parts).encode())
    assert other is not None
    assert other.rest == question.rest


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "other"},
        {"temperature": 1},
        {"tools": [{"type": "function"}]},
        {"stream": True},
        {"messages": [{"role": "system", "content": "Be rude"}, {"role": "user", "content": "Is 7 a prime?"}]},
        {"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Is 8 a prime?"}]},
    ],
)
def test_questions_are_compared_only_where_all_else_and_their_numbers_are_the_same(changed: dict[str, Any]) -> None:
    asked = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Is 7 a prime?"}],
    }
    one, other = question_of(json.dumps(asked).encode()), question_of(json.dumps({**asked, **changed}).encode())
    assert one is not None
    assert other is not None
    assert one.rest != other.rest


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b'{"messages":[]}',
        b'{"messages":[{"role":"assistant","content":"Hello"}]}',
        b'{"messages":[{"role":"tool","content":"42"}]}',
        b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}',
        b'{"messages":[{"role":"user","content":"one"}],"model":"a","model":"b"}',
    ],
)
def test_what_is_more_than_a_text_of_the_users_is_no_question(body: bytes) -> None:
    assert question_of(body) is None


# The cache at work


class Seen:
    """What the log is told of an exchange."""

    def __init__(self) -> None:
        self.is_cached = False

    def from_cache(self) -> None:
        self.is_cached = True


def asked(
    *headers: tuple[str, str],
    rules: CacheRules = ON,
    body: bytes = BODY,
    key: str = "sk-mine",
    gateway: str = "default",
    path: str = "chat/completions",
) -> Asked:
    admission = Admission(
        provider=OPENAI,
        rest=path,
        account="local",
        gateway=gateway,
        rules=GatewayRules(gateway, control=ControlRules(cache=rules)),
        caller=None,
        key=ProviderKey(key, "caller"),
    )
    facts = msgspec.structs.replace(facts_of(path, body), gateway=gateway)
    return Asked(head(*headers), admission, body, facts, cast(Any, Seen()))


class Provider:
    """Answers as it is told, and counts who asked and who hung up."""

    def __init__(
        self,
        *chunks: bytes,
        status: int = 200,
        headers: list[tuple[bytes, bytes]] = JSON,
        breaks: bool = False,
    ) -> None:
        self.chunks = list(chunks) or [ANSWER]
        self.status = status
        self.headers = headers
        self.breaks = breaks
        self.asked = self.closed = self.sent = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def fetch(self) -> Answer:
        self.asked += 1
        await self.answers.wait()
        number = self.asked

        async def close() -> None:
            self.closed = max(self.closed, number)

        extra = [*self.headers, (b"set-cookie", b"who=me"), (b"x-request-id", b"%d" % number)]
        return Answer(self.status, extra, self._body(), close)

    async def _body(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.sent += 1
            yield chunk
            await self.goes_on.wait()
        if self.breaks:
            raise UpstreamBroken("cut off")


class Refusing:
    """A provider that cannot be reached the first so many times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.provider = Provider()
        self.asked = 0

    async def fetch(self) -> Answer:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.left:
            self.left -= 1
            raise UpstreamRefused("no")
        return await self.provider.fetch()


def cached(main: Callable[[Caching], Awaitable[None]], **parts: Any) -> None:
    async def running() -> None:
        caching = Caching(parts.pop("store", None) or store(), **parts)
        await caching.start()
        try:
            await main(caching)
        finally:
            await caching.close()

    run(running())


def store() -> CacheStore:
    return LocalCache(MemoryCache(1 << 20), None)


async def read(answer: Answer) -> bytes:
    try:
        return b"".join([chunk async for chunk in answer.body])
    finally:
        await answer.aclose()


async def through(caching: Caching, request: Asked, provider: Provider) -> tuple[str, bytes]:
    answer = await caching.through(request, provider.fetch)
    said = dict(answer.told).get(b"cf-aig-cache-status", b"").decode()
    body = await read(answer)
    await settle()  # it is kept beside the answer, and not before its end goes out
    return said, body


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_an_answer_is_given_again_without_asking_the_provider() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider()
        assert await through(caching, asked(), provider) == ("MISS", ANSWER)
        again = asked(body=BODY.replace(b",", b" , "))
        assert await through(caching, again, provider) == ("HIT", ANSWER)
        assert provider.asked == provider.closed == 1
        assert cast(Any, again.entry).is_cached
        stats = await caching.stats("default")
        assert (stats.entries, stats.hits, stats.misses) == (1, 1, 1)
        assert stats.bytes >= len(ANSWER)

    cached(main)


def test_a_kept_answer_has_the_headers_of_its_body_and_none_of_the_exchange_it_came_in() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider()
        await through(caching, asked(), provider)
        answer = await caching.through(asked(), provider.fetch)
        assert answer.headers == [*JSON, (b"content-length", str(len(ANSWER)).encode())]
        assert answer.told == [(b"cf-aig-cache-status", b"HIT")]
        await answer.aclose()

    cached(main)


def test_a_request_that_is_not_cached_goes_on_and_says_nothing_of_the_cache() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider()
        for request in (asked(rules=OFF), asked(("cf-aig-skip-cache", "true")), asked(path="audio/speech")):
            assert await through(caching, request, provider) == ("", ANSWER)
        assert await through(caching, asked(), provider) == ("MISS", ANSWER)
        assert provider.asked == 4

    cached(main)


def test_callers_with_different_provider_keys_or_gateways_share_nothing() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider()
        explicit = ("cf-aig-cache-key", "same")
        for request in (
            asked(),
            asked(key="sk-yours"),
            asked(gateway="other"),
            asked(explicit),
            asked(explicit, key="x"),
        ):
            assert (await through(caching, request, provider))[0] == "MISS"
        assert provider.asked == 5

    cached(main)


def test_who_may_use_some_models_only_finds_no_other_models_answer_under_a_name() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider()
        explicit = ("cf-aig-cache-key", "same")

        def asking(model: str, *models: str) -> Asked:
            request = asked(explicit, body=BODY.replace(b"gpt-4o", model.encode()))
            caller = Caller("gateway_key", "app", models=models)
            return replace(request, admission=replace(request.admission, caller=caller))

        assert (await through(caching, asking("gpt-5"), provider))[0] == "MISS"
        assert (await through(caching, asking("gpt-4o-mini"), provider))[0] == "HIT"
        assert (await through(caching, asking("gpt-4o-mini", "gpt-4o-mini"), provider))[0] == "MISS"
        assert (await through(caching, asking("gpt-4o-mini", "gpt-4o-mini", "o3"), provider))[0] == "HIT"
        assert (await through(caching, asking("o3", "gpt-4o-mini", "o3"), provider))[0] == "MISS"

    cached(main)


def test_whoever_waits_for_the_same_whole_answer_is_given_the_same_bytes() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider(ANSWER[:20], ANSWER[20:])
        provider.answers.clear()
        waiting = [asyncio.create_task(caching.through(asked(), provider.fetch)) for _ in range(3)]
        await asyncio.sleep(0)
        provider.answers.set()
        leader, *others = await asyncio.gather(*waiting)
        bodies = [[piece async for piece in answer.body] for answer in others]
        assert [len(body) for body in bodies] == [1, 1]
        assert bodies[0][0] is bodies[1][0]
        for answer in (leader, *others):
            await answer.aclose()

    cached(main)


def test_an_entry_expires_when_its_time_has_passed() -> None:
    clock = SimpleNamespace(now=1000.0)

    async def main(caching: Caching) -> None:
        provider = Provider()
        short = ("cf-aig-cache-ttl", "60")
        await through(caching, asked(short), provider)
        clock.now += 59.9
        assert (await through(caching, asked(), provider))[0] == "HIT"
        clock.now += 0.2
        assert (await through(caching, asked(), provider))[0] == "MISS"

    now = lambda: clock.now  # noqa: E731
    cached(main, store=LocalCache(MemoryCache(1 << 20), None, now), now=now)


def test_errors_broken_answers_and_answers_that_are_too_large_are_not_kept() -> None:
    async def main(caching: Caching) -> None:
        small = CacheRules(ttl=600, max_bytes=1024)
        large = b'{"choices":[],"text":"' + b"x" * 1024 + b'"}'
        for provider in (
            Provider(b'{"error":{"message":"busy"}}', status=429),
            Provider(b'{"error":{"message":"busy"}}'),
            Provider(ANSWER[:20]),
            Provider(EVENTS[0], headers=SSE),
            Provider(large),
            Provider(large, headers=[*JSON, (b"content-length", str(len(large)).encode())]),
        ):
            for _ in range(2):
                assert await through(caching, asked(rules=small), provider) == ("MISS", provider.chunks[0])
            assert provider.asked == provider.closed == 2
        breaking = Provider(ANSWER, breaks=True)
        for _ in range(2):
            with pytest.raises(UpstreamBroken):
                await through(caching, asked(rules=small), breaking)
        assert breaking.asked == breaking.closed == 2
        assert (await caching.stats("default")).entries == 0

    cached(main)


def test_a_stream_is_given_again_as_a_stream() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider(*EVENTS, headers=SSE)
        streaming = BODY.replace(b"{", b'{"stream":true,', 1)
        await through(caching, asked(body=streaming), provider)
        answer = await caching.through(asked(body=streaming), provider.fetch)
        assert answer.headers == [(b"content-type", b"text/event-stream; charset=utf-8")]
        assert await read(answer) == b"".join(EVENTS)
        assert (await through(caching, asked(), Provider()))[0] == "MISS"

    cached(main)


def test_an_answer_whose_client_goes_away_is_given_up_and_not_kept() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider(*EVENTS, headers=SSE)
        provider.goes_on.clear()
        answer = await caching.through(asked(), provider.fetch)
        assert await anext(answer.body) == EVENTS[0]
        await answer.aclose()
        assert provider.closed == 1
        assert provider.sent == 1
        provider.goes_on.set()
        assert (await through(caching, asked(), provider))[0] == "MISS"

    cached(main)


def test_the_provider_is_read_no_farther_than_a_little_ahead_of_a_slow_client() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider(*[b"x" * 16384] * 100)
        answer = await caching.through(asked(), provider.fetch)
        for _ in range(50):
            await asyncio.sleep(0)
        assert provider.sent < 10
        assert len(await read(answer)) == 100 * 16384

    cached(main)


# Identical requests at the same time


def test_of_identical_requests_at_the_same_time_one_is_sent() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider()
        provider.answers.clear()
        requests = [asyncio.create_task(through(caching, asked(), provider)) for _ in range(10)]
        await settle()
        provider.answers.set()
        found = await asyncio.gather(*requests)
        assert sorted(found) == [("HIT", ANSWER)] * 9 + [("MISS", ANSWER)]
        assert provider.asked == provider.closed == 1

    cached(main)


def test_a_stream_reaches_those_who_wait_for_it_as_it_comes_and_those_who_come_later_from_its_beginning() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider(*EVENTS, headers=SSE)
        provider.goes_on.clear()
        first = await caching.through(asked(), provider.fetch)
        later = await caching.through(asked(), provider.fetch)
        assert await anext(later.body) == EVENTS[0]  # the first client has read nothing yet
        provider.goes_on.set()
        assert await read(later) == b"".join(EVENTS[1:])
        last = await caching.through(asked(), provider.fetch)
        assert [await read(last), await read(first)] == [b"".join(EVENTS)] * 2
        assert provider.asked == provider.closed == 1

    cached(main)


def test_a_stream_goes_on_for_the_others_when_the_first_client_leaves() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider(*EVENTS, headers=SSE)
        provider.goes_on.clear()
        first = await caching.through(asked(), provider.fetch)
        other = await caching.through(asked(), provider.fetch)
        await first.aclose()
        assert provider.closed == 0
        provider.goes_on.set()
        assert await read(other) == b"".join(EVENTS)
        assert provider.closed == 1
        assert (await through(caching, asked(), provider))[0] == "HIT"
        assert provider.asked == 1

    cached(main)


def test_when_the_first_client_leaves_before_the_answer_the_next_one_takes_over() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider()
        provider.answers.clear()
        first, *others = [asyncio.create_task(through(caching, asked(), provider)) for _ in range(5)]
        await settle()
        first.cancel()
        await settle()
        assert provider.asked == 2
        provider.answers.set()
        found = await asyncio.gather(*others)
        assert sorted(found) == [("HIT", ANSWER)] * 3 + [("MISS", ANSWER)]
        assert provider.asked == 2

    cached(main)


def test_a_failure_is_not_shared_and_the_next_one_takes_over() -> None:
    async def main(caching: Caching) -> None:
        provider = Refusing(1)
        requests = [through(caching, asked(), cast(Any, provider)) for _ in range(6)]
        found = await asyncio.gather(*requests, return_exceptions=True)
        assert sum(isinstance(one, UpstreamRefused) for one in found) == 1
        assert [one for one in found if not isinstance(one, Exception)].count(("HIT", ANSWER)) == 4
        assert provider.asked == 2

    cached(main)


def test_nobody_waits_for_more_than_two_failures_of_others() -> None:
    async def main(caching: Caching) -> None:
        provider = Refusing(1000)
        found = await asyncio.gather(
            *(through(caching, asked(), cast(Any, provider)) for _ in range(8)), return_exceptions=True
        )
        assert all(isinstance(one, UpstreamRefused) for one in found)
        assert provider.asked == 8

    cached(main)


def test_an_error_status_is_answered_to_whoever_asked_and_the_others_try_themselves() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider(b'{"error":{}}', status=500)
        provider.answers.clear()
        requests = [asyncio.create_task(through(caching, asked(), provider)) for _ in range(4)]
        await settle()
        provider.answers.set()
        assert await asyncio.gather(*requests) == [("MISS", b'{"error":{}}')] * 4
        assert provider.asked == 4

    cached(main)


def test_whoever_waits_for_a_whole_answer_that_breaks_off_takes_over() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider(ANSWER, breaks=True)
        provider.goes_on.clear()
        first = asyncio.create_task(through(caching, asked(), provider))
        other = asyncio.create_task(through(caching, asked(), provider))
        await settle()
        assert provider.asked == 1
        provider.goes_on.set()
        for request in (first, other):
            with pytest.raises(UpstreamBroken):
                await request
        assert provider.asked == provider.closed == 2

    cached(main)


def test_an_answer_that_grows_too_large_goes_on_for_its_readers_and_to_nobody_else() -> None:
    async def main(caching: Caching) -> None:
        rules = CacheRules(ttl=600, max_bytes=40_000)
        chunks = [b"data: %05d " % number + b"x" * 10_000 + b"\n\n" for number in range(20)]
        provider = Provider(*chunks, headers=SSE)
        provider.goes_on.clear()
        first = await caching.through(asked(rules=rules), provider.fetch)
        second = await caching.through(asked(rules=rules), provider.fetch)
        provider.goes_on.set()
        bodies = asyncio.gather(read(first), read(second))
        await asyncio.sleep(0.01)
        assert await bodies == [b"".join(chunks)] * 2
        assert provider.asked == 1
        assert (await through(caching, asked(rules=rules), provider))[0] == "MISS"

    cached(main)


def test_a_client_that_reads_nothing_does_not_hold_the_others() -> None:
    async def main(caching: Caching) -> None:
        chunks = [b"data: " + b"x" * 30_000 + b"\n\n" for _ in range(20)] + EVENTS
        provider = Provider(*chunks, headers=SSE)
        stalled = await caching.through(asked(), provider.fetch)
        reading = await caching.through(asked(), provider.fetch)
        assert await read(reading) == b"".join(chunks)
        assert (await through(caching, asked(), provider))[0] == "HIT"
        assert await read(stalled) == b"".join(chunks)
        assert provider.asked == 1

    cached(main)


# Emptying it


def test_a_purge_removes_what_fits_and_nothing_of_other_gateways() -> None:
    async def main(caching: Caching) -> None:
        provider = Provider()
        explicit, other = ("cf-aig-cache-key", "mine"), BODY.replace(b"gpt-4o", b"gpt-5")
        requests = [lambda: asked(), lambda: asked(body=other), lambda: asked(explicit), lambda: asked(gateway="team")]

        async def fill() -> list[str]:
            return [(await through(caching, request(), provider))[0] for request in requests]

        assert await fill() == ["MISS"] * 4
        assert await fill() == ["HIT"] * 4
        assert await caching.purge("default", key="mine") == 1
        assert await fill() == ["HIT", "HIT", "MISS", "HIT"]
        assert await caching.purge("default", model="gpt-5") == 1
        assert await fill() == ["HIT", "MISS", "HIT", "HIT"]
        assert await caching.purge("default", provider="groq") == 0
        assert await caching.purge("default") == 3
        assert await fill() == ["MISS", "MISS", "MISS", "HIT"]

    cached(main)


def test_an_answer_that_was_on_its_way_during_a_purge_is_neither_kept_nor_shared_with_who_comes_after_it() -> None:
    async def main(caching: Caching) -> None:
        provider, anew = Provider(*EVENTS, headers=SSE), Provider(*EVENTS, headers=SSE)
        provider.goes_on.clear()
        answer = await caching.through(asked(), provider.fetch)
        before = await caching.through(asked(), provider.fetch)
        await caching.purge("default", provider="openai")
        after = await caching.through(asked(), anew.fetch)
        await after.aclose()
        provider.goes_on.set()
        assert await read(answer) == await read(before) == b"".join(EVENTS)
        await settle()
        assert (provider.asked, anew.asked) == (1, 1)
        assert (await through(caching, asked(), anew))[0] == "MISS"

    cached(main)


class Watched:
    """The set-up, as far as the cache looks at it."""

    def __init__(self, *rules: GatewayRules) -> None:
        self.listeners: list[Callable[[], None]] = []
        self.set(*rules)

    def on_change(self, listener: Callable[[], None]) -> None:
        self.listeners.append(listener)

    def set(self, *rules: GatewayRules) -> None:
        self.now = SimpleNamespace(gateways={one.id: one for one in rules})
        for listener in self.listeners:
            listener()


@pytest.mark.parametrize("empties", [True, False])
def test_a_change_of_a_gateway_empties_its_cache_where_it_is_to(empties: bool) -> None:
    rules = CacheRules(ttl=600, invalidate_on_update=empties)
    gateway = GatewayRules("default", control=ControlRules(cache=rules))
    watched = Watched(gateway, GatewayRules("other"))

    async def main(caching: Caching) -> None:
        await through(caching, asked(rules=rules), Provider())
        watched.set(gateway, GatewayRules("other", stored_key_wins=True))
        await settle()
        assert (await caching.stats("default")).entries == 1
        watched.set(msgspec.structs.replace(gateway, stored_key_wins=True))
        await settle()
        assert (await caching.stats("default")).entries == (0 if empties else 1)

    cached(main, registry=watched)


def test_what_was_kept_before_a_change_is_not_found_after_it_even_where_nobody_was_told() -> None:
    rules = CacheRules(ttl=600, invalidate_on_update=True)

    async def main(caching: Caching) -> None:
        provider = Provider()
        request = asked(rules=rules)
        await through(caching, request, provider)
        assert (await through(caching, asked(rules=rules), provider))[0] == "HIT"
        changed = replace(
            request.admission, rules=msgspec.structs.replace(request.admission.rules, stored_key_wins=True)
        )
        assert (await through(caching, replace(request, admission=changed), provider))[0] == "MISS"

    cached(main)


# The semantic cache


class Meanings:
    """Knows the meaning of some questions."""

    def __init__(self, **known: tuple[float, float]) -> None:
        self.known = known
        self.is_there = True

    async def __call__(self, text: str) -> Sequence[float] | None:
        return self.known[text] if self.is_there else None

    async def close(self) -> None:
        pass


def question(text: str) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}).encode()


ALIKE = CacheRules(ttl=600, semantic=0.95)


def test_a_question_in_other_words_gets_the_kept_answer_and_a_header_says_so() -> None:
    meanings = Meanings(Why=(2.0, 0.0), Wherefore=(1.0, 0.1), Whereto=(0.0, 1.0))

    async def main(caching: Caching) -> None:
        provider = Provider()
        assert (await through(caching, asked(rules=ALIKE, body=question("Why")), provider))[0] == "MISS"
        answer = await caching.through(asked(rules=ALIKE, body=question("Wherefore")), provider.fetch)
        assert answer.told == [
            (b"cf-aig-cache-status", b"HIT"),
            (b"x-trunkline-cache", b"semantic; similarity=0.995"),
        ]
        assert await read(answer) == ANSWER
        assert (await through(caching, asked(rules=ALIKE, body=question("Whereto")), provider))[0] == "MISS"
        exact = await caching.through(asked(rules=ALIKE, body=question("Why")), provider.fetch)
        assert exact.told == [(b"cf-aig-cache-status", b"HIT")]
        assert provider.asked == 2

    cached(main, similarity=Similarity(meanings))


def test_questions_are_not_compared_without_a_threshold_across_callers_or_after_a_purge() -> None:
    meanings = Meanings(Why=(1.0, 0.0), Wherefore=(1.0, 0.0))

    async def main(caching: Caching) -> None:
        provider = Provider()
        other = question("Wherefore")
        await through(caching, asked(rules=ALIKE, body=question("Why")), provider)
        assert (
            await through(
                caching,
                asked(
                    body=other,
                ),
                provider,
            )
        )[0] == "MISS"
        await caching.purge("default", model="nothing")
        assert (await through(caching, asked(rules=ALIKE, body=other, key="sk-yours"), provider))[0] == "MISS"
        await caching.purge("default")
        assert (await through(caching, asked(rules=ALIKE, body=other), provider))[0] == "MISS"

    cached(main, similarity=Similarity(meanings))


def test_without_the_model_of_meanings_the_cache_is_an_exact_one() -> None:
    meanings = Meanings()
    meanings.is_there = False

    async def main(caching: Caching) -> None:
        provider = Provider()
        assert (await through(caching, asked(rules=ALIKE), provider))[0] == "MISS"
        assert (await through(caching, asked(rules=ALIKE), provider))[0] == "HIT"

    cached(main, similarity=Similarity(meanings))


def test_a_name_of_an_entry_does_not_tell_the_callers_key() -> None:
    assert "weather" not in key_name("default", "weather")
    assert key_name("default", "weather") != key_name("other", "weather")
    assert key_name("default", "") == ""
