"""Asking again, elsewhere, or twice at once: a gateway's parts before real servers that fail in every way."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import read_request
from tests.contract.test_gateway_keys import eventually, served
from tests.running import run
from trunkline.errors import (
    GatewayError,
    NoProviderKey,
    UnknownAlias,
    UpstreamBroken,
    UpstreamLate,
    UpstreamRefused,
    UpstreamResting,
    UpstreamTimeout,
)
from trunkline.policy.attempts import AttemptRules, attempt_rules
from trunkline.policy.facts import Facts
from trunkline.policy.keys import new_key
from trunkline.policy.registry import GatewayKey, GatewayRules, Registry, Scope
from trunkline.policy.usage import request_facts
from trunkline.server.admission import Admission
from trunkline.server.answer import Asked
from trunkline.server.gateway import Gateway
from trunkline.server.health import ProviderHealth
from trunkline.server.health_routes import create_health_routes
from trunkline.settings import Settings
from trunkline.upstream.address import Origin
from trunkline.upstream.http import HttpPool, Request, Response
from trunkline.wire.head import Head, Transport, chained_headers

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nonly this"
HANG = b""
CHAT = b'{"model": "gpt-4o", "messages": []}'
Script = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Said\r\ncontent-length: 2\r\n{lines}\r\nno".encode()


class Upstream:
    """A provider that answers each request as the next line of its script says, and then always as the last.

    ``requests`` are path, key and body of each; ``left`` is how many clients closed their connection on it.
    """

    def __init__(self, *script: bytes, every: dict[str, bytes] | None = None) -> None:
        self._script = list(script)
        self._every = every or {}
        self.requests: list[tuple[str, str, bytes]] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            try:
                line, headers, body = await read_request(reader)
            except asyncio.IncompleteReadError:
                self.left.set()
                return
            key = headers.get("authorization", ["Bearer "])[0].removeprefix("Bearer ")
            self.requests.append((line.split()[1], key, body))
            self.arrived.set()
            said = self._every.get(key)
            if said is None:
                said = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            if said == HANG:
                await reader.read()
                self.left.set()
                return
            writer.write(said)
            await writer.drain()
            if said == CUT:
                return

    @property
    def keys(self) -> list[str]:
        return [key for _, key, _ in self.requests]


@dataclass
class Counted:
    """The entry of a log, as far as tries see it."""

    count: int = 0

    def sent(self) -> None:
        self.count += 1


@dataclass
class Stage:
    """A gateway that was started, without its server."""

    gateway: Gateway
    prepared: list[Admission] = field(default_factory=list)
    counted: Counted = field(default_factory=Counted)

    def set_up(self, keys: dict[str, str] | None = None, *callers: GatewayKey, **attempts: Any) -> None:
        """Change the gateway's rules, and store OpenAI keys by alias, or those of others by ``provider:alias``."""
        registry = self.gateway.registry
        control = registry.now.gateways["default"].control.changed({"attempts": attempts})
        stored = {pair: dict(found) for pair, found in registry.now.stored.items()}
        for name, value in (keys or {}).items():
            provider, _, alias = name.rpartition(":")
            stored.setdefault(("default", provider or "openai"), {})[alias] = value
        rules = GatewayRules("default", authenticated=False, control=control)
        registry._take(Registry({"default": rules}, {key.digest: key for key in callers}, stored))

    def asked(self, path: str = "openai/chat/completions", body: bytes = CHAT, **headers: Any) -> Asked:
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        head = Head(Transport.HTTP, "POST", f"/v1/local/default/{path}", "", [(b"host", b"127.0.0.1:8787"), *named])
        admission = self.gateway.doorkeeper.admit(head)
        said = request_facts(admission.provider, admission.rest, "application/json", body)
        facts = Facts(admission.gateway, admission.provider.slug, said.model, said.kind, admission.rest)
        entry: Any = self.counted
        return Asked(head, admission, body, facts, entry)

    async def send(self, *, is_last: bool = True, **request: Any) -> tuple[Response, Admission]:
        asked = self.asked(**request)

        async def prepare(admission: Admission) -> Request:
            self.prepared.append(admission)
            outgoing = await self.gateway.outgoing_request(asked.head, admission)
            outgoing.body = asked.body
            return outgoing

        rules = attempt_rules(asked.head, asked.admission.rules.control.attempts)
        return await self.gateway.attempts.send(asked, rules, prepare, is_last=is_last)

    async def status(self, **request: Any) -> int:
        """Send, read the answer, and return its status."""
        response, _ = await self.send(**request)
        try:
            async for _ in response:
                pass
        finally:
            await response.aclose()
        return response.status

    def health(self, member: str = "default", provider: str = "openai") -> ProviderHealth:
        return next(
            found for found in self.gateway.health.snapshot() if (found.provider, found.member) == (provider, member)
        )


@asynccontextmanager
async def staged(*upstreams: Upstream, names: tuple[str, ...] = ("openai",), **more: Any) -> AsyncIterator[Stage]:
    """A gateway whose providers of these names are the upstreams, in turn. It has no database: none is asked here."""
    async with AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(raw_server(upstream)) for upstream in upstreams]
        providers = {
            name: {"base_url": f"http://127.0.0.1:{origin.port}/v1"}
            for name, origin in zip(names, origins, strict=True)
        }
        gateway = Gateway(Settings(**{"port": 8787, "providers": providers, **more}))
        try:
            yield Stage(gateway)
        finally:
            await gateway.http.aclose()


OWN = {"default": "sk-own-0000"}


# Tries


def test_a_failing_provider_is_asked_until_it_answers_and_the_body_is_sent_whole_each_time() -> None:
    async def main() -> None:
        upstream = Upstream(BUSY, answer(429), OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=3)
            response, admission = await stage.send()
            assert response.status == 200
            assert b"".join([chunk async for chunk in response]) == b"ok"
        assert [body for _, _, body in upstream.requests] == [CHAT] * 3
        assert upstream.connections == 1  # short answers that are not used leave their connection to the next
        assert stage.counted.count == len(stage.prepared) == 3
        assert admission.key is not None
        assert admission.key.value == "sk-own-0000"

    run(main())


def test_the_last_answer_is_returned_as_it_is_when_the_tries_are_used_up() -> None:
    async def main() -> None:
        upstream = Upstream(answer(500), BUSY)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=2)
            response, _ = await stage.send()
            assert (response.status, [chunk async for chunk in response]) == (503, [b"busy"])
        assert len(upstream.requests) == 2

    run(main())


@pytest.mark.parametrize("status", [200, 400, 401, 404, 501])
def test_what_another_try_would_not_change_is_returned_at_once(status: int) -> None:
    async def main() -> None:
        upstream = Upstream(answer(status), OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=5)
            assert await stage.status() == status
        assert len(upstream.requests) == 1

    run(main())


def test_a_request_says_itself_how_often_it_is_to_be_tried() -> None:
    async def main() -> None:
        upstream = Upstream(BUSY)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=5)
            assert await stage.status(cf_aig_max_attempts="2") == 503
            assert len(upstream.requests) == 2
            assert await stage.status(cf_aig_max_attempts="1") == 503
            assert len(upstream.requests) == 3

    run(main())


def test_a_broken_answer_is_no_answer_before_its_head_and_is_never_repeated_after_it() -> None:
    async def main() -> None:
        garbage, cut = Upstream(b"SSH-2.0\r\n\r\n", OK), Upstream(CUT, OK)
        async with staged(garbage, cut, names=("openai", "groq")) as stage:
            stage.set_up({**OWN, "groq:default": "gsk-own"}, max_attempts=3)
            assert await stage.status() == 200
            response, _ = await stage.send(path="groq/chat/completions")
            with pytest.raises(UpstreamBroken):
                async for _ in response:
                    pass
        assert (len(garbage.requests), len(cut.requests)) == (2, 1)

    run(main())


def test_a_provider_that_cannot_be_reached_is_tried_again_and_its_error_is_the_last_ones() -> None:
    async def main() -> None:
        async with staged(providers={"openai": {"base_url": "http://127.0.0.1:9/v1"}}, names=()) as stage:
            stage.set_up(OWN, max_attempts=3)
            with pytest.raises(UpstreamRefused):
                await stage.send()
        assert stage.counted.count == 3

    run(main())


def test_a_long_answer_that_is_not_used_is_not_read_to_its_end() -> None:
    async def main() -> None:
        long = b"HTTP/1.1 503 Busy\r\ncontent-length: 900000\r\n\r\n" + b"x" * 900_000
        upstream = Upstream(long, OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=2)
            assert await stage.status() == 200
        assert upstream.connections == 2

    run(main())


def test_a_body_that_is_streamed_is_sent_once() -> None:
    async def main() -> None:
        upstream = Upstream(BUSY, OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=5)
            asked = stage.asked(body=b"")

            async def file() -> AsyncIterator[bytes]:
                yield b"a large "
                yield b"file"

            body = file()

            async def prepare(admission: Admission) -> Request:
                request = await stage.gateway.outgoing_request(asked.head, admission)
                request.body = body
                return request

            response, _ = await stage.gateway.attempts.send(asked, AttemptRules(max_attempts=5), prepare)
            await response.aclose()
            assert response.status == 503
        assert [body for _, _, body in upstream.requests] == [b"a large file"]

    run(main())


def test_a_gateway_behind_this_one_is_not_told_to_try_as_well() -> None:
    async def main() -> None:
        tries: dict[str, Any] = {"cf_aig_max_attempts": "2", "cf_aig_retry_delay": "0", "cf_aig_backoff": "linear"}
        async with staged(names=()) as stage:
            stage.set_up(OWN)
            sent = stage.asked(cf_aig_metadata="{}", **tries).head.headers
        names = [name for name, _ in chained_headers(sent, key_is_there=False)]
        assert names == [b"cf-aig-metadata"]

    run(main())


# Pauses


def test_the_pause_a_provider_asks_for_is_kept_before_it_is_asked_again() -> None:
    async def main() -> None:
        upstream = Upstream(answer(429, retry_after_ms="300"), OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=2)
            started = time.monotonic()
            assert await stage.status() == 200
        assert time.monotonic() - started >= 0.3

    run(main())


@pytest.mark.parametrize("pause", ["61", "date"])
def test_a_pause_that_is_too_long_ends_the_tries_with_the_answer_that_asked_for_it(pause: str) -> None:
    async def main() -> None:
        said = formatdate(time.time() + 3600, usegmt=True) if pause == "date" else pause
        upstream = Upstream(answer(429, retry_after=said), OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=5)
            response, _ = await stage.send()
            assert response.status == 429
            assert (b"retry-after", said.encode()) in response.headers
            assert [chunk async for chunk in response] == [b"no"]
        assert len(upstream.requests) == 1

    run(main())


def test_a_client_that_leaves_during_a_pause_ends_the_tries() -> None:
    async def main() -> None:
        upstream = Upstream(BUSY)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=5, delay=60_000)
            task = asyncio.create_task(stage.send())
            await upstream.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert stage.health().open_exchanges == 0
        assert len(upstream.requests) == 1

    run(main())


# Time to the first byte


def test_a_try_that_is_late_makes_room_for_the_next_and_the_last_of_several_is_not_cut() -> None:
    async def main() -> None:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            await asyncio.sleep(0.25)
            writer.write(OK)
            await reader.read()

        async with raw_server(slow) as origin, staged(providers=at(origin), names=()) as stage:
            stage.set_up(OWN, max_attempts=3)
            assert await stage.status(cf_aig_request_timeout="50") == 200
            assert stage.counted.count == 3
            with pytest.raises(UpstreamLate):  # somebody else is asked after it
                await stage.send(cf_aig_request_timeout="50", is_last=False)
            assert stage.counted.count == 6

    run(main())


def test_a_request_that_is_sent_once_ends_with_its_timeout_and_says_why() -> None:
    async def main() -> None:
        upstream = Upstream(HANG)
        async with staged(upstream) as stage:
            stage.set_up(OWN)
            with pytest.raises(UpstreamTimeout, match="50 ms of cf-aig-request-timeout") as late:
                await stage.send(cf_aig_request_timeout="50")
            assert late.value.status == 504
            await upstream.left.wait()

    run(main())


def test_the_timeout_counts_to_the_first_byte_and_not_to_the_last() -> None:
    async def main() -> None:
        async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
            for byte in (b"o", b"k"):
                await asyncio.sleep(0.25)
                writer.write(byte)

        async with raw_server(drips) as origin, staged(providers=at(origin), names=()) as stage:
            stage.set_up(OWN, timeout=200)
            assert await stage.status() == 200

    run(main())


def test_a_connection_that_does_not_come_about_is_cut_by_the_same_timeout() -> None:
    async def main() -> None:
        full = Upstream(HANG)
        async with raw_server(full) as origin:
            pool = HttpPool(max_connections_per_origin=1)
            first = asyncio.create_task(pool.send(Request(b"GET", origin, b"/", [])))
            await full.arrived.wait()
            with pytest.raises(UpstreamLate):
                await pool.send(Request(b"GET", origin, b"/", [], first_byte_timeout=0.05))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await pool.aclose()

    run(main())


def test_an_answer_that_was_read_no_longer_holds_the_connection_that_others_use_now() -> None:
    async def main() -> None:
        async def second_waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(OK)
            await read_request(reader)
            arrived.set()
            await closed.wait()
            writer.write(OK)
            await reader.read()

        arrived, closed = asyncio.Event(), asyncio.Event()
        async with raw_server(second_waits) as origin:
            pool = HttpPool()
            first = await pool.send(Request(b"POST", origin, b"/", [], b"{}"))
            assert [chunk async for chunk in first] == [b"ok"]
            sending = asyncio.create_task(pool.send(Request(b"POST", origin, b"/", [], b"{}")))
            await arrived.wait()
            await first.aclose()
            closed.set()
            assert (await sending).status == 200
            await pool.aclose()

    run(main())


# The breaker


def test_a_provider_that_fails_rests_and_is_asked_again_when_it_has_rested() -> None:
    async def main() -> None:
        upstream = Upstream(BUSY, BUSY, OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, max_attempts=5, breaker=2, rest=1)
            assert await stage.status() == 503  # the second failure opens it: no third try
            assert len(upstream.requests) == 2
            with pytest.raises(UpstreamResting, match="rests after 2 failures") as refused:
                await stage.send()
            assert refused.value.retry_after == 1
            assert len(upstream.requests) == 2
            assert stage.health().state == "open"
            while stage.health().state == "open":  # noqa: ASYNC110 - only time ends it
                await asyncio.sleep(0.05)
            assert await stage.status() == 200
            assert (stage.health().state, stage.health().failures) == ("closed", 0)

    run(main())


def test_a_caller_that_waits_for_too_short_a_time_opens_no_breaker_and_the_gateways_own_timeout_does() -> None:
    async def main() -> None:
        async with staged(Upstream(HANG)) as stage:
            stage.set_up(OWN, breaker=2, timeout=100)
            for _ in range(3):
                with pytest.raises(UpstreamLate):
                    await stage.send(cf_aig_request_timeout="1")
            assert stage.health().state == "closed"
            for _ in range(2):
                with pytest.raises(UpstreamLate):
                    await stage.send()
            assert stage.health().state == "open"

    run(main())


def test_callers_keys_have_a_breaker_of_their_own() -> None:
    async def main() -> None:
        upstream = Upstream(every={"sk-callers": BUSY, "sk-own-0000": OK})
        async with staged(upstream) as stage:
            stage.set_up(OWN, breaker=1)
            assert await stage.status(authorization="Bearer sk-callers") == 503
            assert stage.health(member="").state == "open"
            assert await stage.status() == 200

    run(main())


# Pools


def test_a_key_that_is_refused_or_used_up_rests_and_the_others_go_on() -> None:
    async def main() -> None:
        upstream = Upstream(
            every={"sk-a": answer(401), "sk-b": answer(429, retry_after="50"), "sk-c": OK},
        )
        async with staged(upstream) as stage:
            stage.set_up({"a": "sk-a", "b": "sk-b", "c": "sk-c"}, max_attempts=3, pools=[shared("a", "b", "c")])
            for _ in range(20):
                assert await stage.status() == 200
            assert sorted(set(upstream.keys)) == ["sk-a", "sk-b", "sk-c"]
            assert upstream.keys.count("sk-a") == upstream.keys.count("sk-b") == 1
            assert upstream.keys.count("sk-c") == 20
            assert stage.health("a").state == stage.health("b").state == "resting"
            assert 20 < stage.health("a").rests_seconds <= 30 < stage.health("b").rests_seconds <= 50

    run(main())


def test_when_all_keys_rest_the_one_that_rests_shortest_is_shown_and_its_pause_is_kept_to() -> None:
    async def main() -> None:
        upstream = Upstream(every={"sk-a": answer(429, retry_after="900"), "sk-b": answer(429, retry_after="100")})
        async with staged(upstream) as stage:
            stage.set_up({"a": "sk-a", "b": "sk-b"}, max_attempts=2, pools=[shared("a", "b")])
            assert await stage.status() == 429
            assert sorted(upstream.keys) == ["sk-a", "sk-b"]
            assert await stage.status() == 429
            assert upstream.keys[2:] == ["sk-b"]

    run(main())


def test_a_pool_needs_no_default_key_and_a_caller_with_a_key_is_not_shared_out() -> None:
    async def main() -> None:
        upstream = Upstream(OK)
        async with staged(upstream) as stage:
            stage.set_up({"a": "sk-a", "b": "sk-b"}, pools=[shared("a", model="gpt-4o*")])
            response, admission = await stage.send()
            await response.aclose()
            assert (admission.alias, upstream.keys.pop()) == ("a", "sk-a")
            assert await stage.status(authorization="Bearer sk-callers") == 200
            assert await stage.status(cf_aig_byok_alias="b") == 200
            assert upstream.keys[-2:] == ["sk-callers", "sk-b"]
            with pytest.raises(NoProviderKey):
                await stage.send(body=b'{"model": "o3"}')

    run(main())


def test_a_pool_whose_keys_are_not_there_says_so_and_shows_no_other() -> None:
    async def main() -> None:
        upstream = Upstream(OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, pools=[shared("gone", "default")])
            for _ in range(10):
                assert await stage.status() == 200
            stage.set_up(pools=[shared("gone")])
            with pytest.raises(UnknownAlias, match="'gone'"):
                await stage.send()
        assert set(upstream.keys) == {"sk-own-0000"}

    run(main())


def test_another_provider_takes_over_with_its_own_key_path_and_model() -> None:
    async def main() -> None:
        openai, mine = Upstream(BUSY), Upstream(OK)
        async with staged(openai, mine, names=("openai", "custom-mine")) as stage:
            members = [
                {"alias": "default", "weight": 1000},
                {"provider": "custom-mine", "alias": "spare", "model": "llama-3", "weight": 0.001},
            ]
            keys = {**OWN, "custom-mine:spare": "sk-mine"}
            stage.set_up(keys, max_attempts=2, pools=[{"provider": "openai", "members": members}])
            response, admission = await stage.send(path="openai/v1/chat/completions")
            assert response.status == 200
            await response.aclose()
        assert admission.provider.slug == "custom-mine"
        assert openai.keys == ["sk-own-0000"]
        (path, key, body), *others = mine.requests
        assert (path, key, others) == ("/v1/chat/completions", "sk-mine", [])
        assert json.loads(body) == {"model": "llama-3", "messages": []}

    run(main())


def test_a_caller_for_some_models_is_not_given_another_by_a_pool() -> None:
    async def main() -> None:
        upstream = Upstream(BUSY)
        async with staged(upstream) as stage:
            value, key = made_key([Scope.RUN], models=("gpt-4o*",))
            members = [{"alias": "default"}, {"alias": "b", "model": "o3"}]
            pools = [{"provider": "openai", "members": members}]
            stage.set_up({**OWN, "b": "sk-b"}, key, max_attempts=3, pools=pools)
            assert await stage.status(cf_aig_authorization=f"Bearer {value}") == 503
            assert upstream.keys == ["sk-own-0000"] * 3

    run(main())


def test_the_least_busy_key_is_chosen_by_the_exchanges_under_way() -> None:
    async def main() -> None:
        upstream = Upstream(OK)
        async with staged(upstream) as stage:
            keys = {alias: f"sk-{alias}" for alias in "abc"}
            stage.set_up(keys, pools=[shared("a", "b", "c", strategy="least-busy")])
            open_ones = [(await stage.send())[0] for _ in range(6)]
            assert sorted(upstream.keys) == ["sk-a", "sk-a", "sk-b", "sk-b", "sk-c", "sk-c"]
            busy = upstream.keys[0]
            await open_ones[0].aclose()
            (await stage.send())[0]
            assert upstream.keys[-1] == busy

    run(main())


def test_the_quickest_key_is_chosen_by_the_first_bytes_that_were_seen() -> None:
    async def main() -> None:
        async def one_is_slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                _, headers, _ = await read_request(reader)
                keys.append(headers["authorization"][0])
                if keys[-1] == "Bearer sk-slow":
                    await asyncio.sleep(0.1)
                writer.write(OK)

        keys: list[str] = []
        async with raw_server(one_is_slow) as origin, staged(providers=at(origin), names=()) as stage:
            stage.gateway.attempts.chance = lambda: 0.5
            stored = {"slow": "sk-slow", "quick": "sk-quick"}
            stage.set_up(stored, pools=[shared("slow", "quick", strategy="latency")])
            for _ in range(10):
                assert await stage.status() == 200
        assert keys.count("Bearer sk-slow") == 1

    run(main())


# Twice at once


def test_a_second_request_overtakes_one_that_hangs_which_is_then_given_up() -> None:
    async def main() -> None:
        upstream = Upstream(HANG, OK)
        async with staged(upstream) as stage:
            stage.set_up(OWN, hedge=50)
            assert await stage.status() == 200
            await upstream.left.wait()
            assert stage.health().open_exchanges == 0
        assert len(upstream.requests) == stage.counted.count == 2

    run(main())


def test_the_second_request_goes_to_another_key_where_there_is_one() -> None:
    async def main() -> None:
        upstream = Upstream(every={"sk-a": HANG, "sk-b": OK})
        async with staged(upstream) as stage:
            stage.set_up({"a": "sk-a", "b": "sk-b"}, hedge=50, pools=[shared("a", "b")])
            stage.gateway.attempts.chance = lambda: 0.0
            response, admission = await stage.send()
            await response.aclose()
        assert (admission.alias, upstream.keys) == ("b", ["sk-a", "sk-b"])

    run(main())


def test_an_error_does_not_win_over_an_answer_that_is_still_to_come() -> None:
    async def main() -> None:
        requests = 0

        async def first_is_slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal requests
            await read_request(reader)
            requests += 1
            if requests == 1:
                await overtaken.wait()
                await asyncio.sleep(0.1)
                writer.write(OK)
            else:
                writer.write(BUSY)
                overtaken.set()
            await reader.read()

        overtaken = asyncio.Event()
        async with raw_server(first_is_slow) as origin, staged(providers=at(origin), names=()) as stage:
            stage.set_up(OWN, hedge=50)
            assert await stage.status() == 200
        assert requests == 2

    run(main())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("openai/images/generations", CHAT),
        ("openai/responses", CHAT),
        ("openai/chat/completions", b'{"model": "gpt-4o", "store": true}'),
    ],
)
def test_what_leaves_something_behind_is_not_asked_twice_at_once(path: str, body: bytes) -> None:
    async def main() -> None:
        requests = 0

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal requests
            await read_request(reader)
            requests += 1
            await asyncio.sleep(0.2)
            writer.write(OK)
            await reader.read()

        async with raw_server(slow) as origin, staged(providers=at(origin), names=()) as stage:
            stage.set_up(OWN, hedge=20)
            assert await stage.status(path=path, body=body) == 200
        assert requests == 1

    run(main())


def test_a_client_that_leaves_ends_both() -> None:
    async def main() -> None:
        upstream = Upstream(HANG)
        async with staged(upstream) as stage:
            stage.set_up(OWN, hedge=20)
            task = asyncio.create_task(stage.send())
            while len(upstream.requests) < 2:  # noqa: ASYNC110 - in a server of the test's own
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await upstream.left.wait()
            assert stage.health().open_exchanges == 0

    run(main())


# Through the front door


def test_a_client_gets_what_the_tries_came_to_and_the_log_says_how_many_there_were() -> None:
    async def main() -> None:
        upstream = Upstream(BUSY, BUSY, OK)
        async with (
            raw_server(upstream) as origin,
            served(providers=at(origin)) as (address, _, _),
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            headers = {"authorization": "Bearer sk-callers", "content-type": "application/json"}
            url = "/v1/local/default/openai/chat/completions"
            wrong = await client.post(url, content=CHAT, headers={**headers, "cf-aig-max-attempts": "many"})
            assert wrong.status_code == 400
            assert "cf-aig-max-attempts" in wrong.text
            assert "from 1 to 5" in wrong.text
            assert upstream.requests == []
            good = await client.post(url, content=CHAT, headers={**headers, "cf-aig-max-attempts": "3"})
            assert (good.status_code, good.text) == (200, "ok")
            row = (await client.get(f"/api/logs/{good.headers['cf-aig-log-id']}")).json()
            assert row["attempts"] == 3

    run(main())


def test_keys_that_are_stored_are_shared_out_as_soon_as_the_gateway_is_told_to() -> None:
    async def main() -> None:
        upstream = Upstream(every={"sk-one-0000": answer(401), "sk-two-0000": OK})
        async with (
            raw_server(upstream) as origin,
            served(providers=at(origin)) as (address, admin, _),
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            for alias, key in (("one", "sk-one-0000"), ("two", "sk-two-0000")):
                await admin.store_key("default", "openai", alias, key, key[-4:])
            control = {"attempts": {"max_attempts": 2, "pools": [shared("one", "two")]}}
            await admin.change_gateway("default", control=control)

            async def is_served() -> bool:
                url = "/v1/local/default/openai/chat/completions"
                headers = {"content-type": "application/json"}
                return (await client.post(url, content=CHAT, headers=headers)).status_code == 200

            await eventually(is_served)
            for _ in range(10):
                assert await is_served()
        assert upstream.keys.count("sk-one-0000") <= 1

    run(main())


def test_a_client_that_hangs_up_ends_the_request_at_the_provider() -> None:
    async def main() -> None:
        upstream = Upstream(HANG)
        async with (
            raw_server(upstream) as origin,
            served(providers=at(origin)) as (address, _, _),
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            headers = {"authorization": "Bearer sk-callers", "cf-aig-max-attempts": "5"}
            url = "/v1/local/default/openai/chat/completions"
            task = asyncio.create_task(client.post(url, json={"model": "gpt-4o", "messages": []}, headers=headers))
            await upstream.arrived.wait()
            task.cancel()
            await upstream.left.wait()
        assert len(upstream.requests) == 1

    run(main())


# Health over HTTP


def test_health_is_shown_by_gateway_provider_and_key_to_whoever_may_read() -> None:
    async def main() -> None:
        upstream = Upstream(every={"sk-a": answer(401), "sk-b": OK})
        async with staged(upstream, gateway_token="token-of-many-characters") as stage:
            (reader, reads), (runner, runs) = made_key([Scope.READ]), made_key([Scope.RUN])
            stage.set_up({"a": "sk-a", "b": "sk-b"}, reads, runs, max_attempts=2, pools=[shared("a", "b")])
            stage.gateway.attempts.chance = lambda: 0.0
            assert await stage.status(cf_aig_authorization="Bearer token-of-many-characters") == 200
            transport = httpx.ASGITransport(create_api(stage.gateway))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8787") as client:
                url = "/api/health/providers"
                shown = await client.get(url, headers={"authorization": f"Bearer {reader}"})
                refused = await client.get(url, headers={"authorization": f"Bearer {runner}"})
                stranger = await client.get(url)
            first, second = shown.json()["providers"]
        place = (first["gateway"], first["provider"], first["member"], first["state"])
        assert place == ("default", "openai", "a", "resting")
        assert (second["member"], second["state"], second["failures"]) == ("b", "closed", 0)
        assert second["latency_ms"] > 0
        assert (refused.status_code, stranger.status_code) == (403, 401)
        assert "sk-" not in shown.text

    run(main())


def create_api(gateway: Gateway) -> FastAPI:
    """The routes alone, with refusals as the console's API has them."""
    api = FastAPI()
    api.include_router(create_health_routes(gateway))

    @api.exception_handler(GatewayError)
    async def refuse(request: object, error: Exception) -> JSONResponse:
        assert isinstance(error, GatewayError)
        return JSONResponse({"error": error.reason}, status_code=error.status)

    return api


def made_key(scopes: list[Scope], models: tuple[str, ...] = ()) -> tuple[str, GatewayKey]:
    return new_key(
        secrets.token_hex(40),
        gateway="default",
        name="test",
        now=time.time(),
        scopes=scopes,
        models=models,
        expires_at=None,
    )


def at(origin: Origin) -> dict[str, Any]:
    return {"openai": {"base_url": f"http://127.0.0.1:{origin.port}/v1"}}


def shared(*aliases: str, strategy: str = "weighted", **more: Any) -> dict[str, Any]:
    return {"provider": "openai", "strategy": strategy, "members": [{"alias": alias} for alias in aliases], **more}
