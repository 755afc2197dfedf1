"""Plain chats and kept answers go a short way, which nobody can tell from the general one."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.contract.administration import administration
from tests.contract.log_rows import ANSWER, LoggedGateway, http_answer, json_answer, logged, stream_of
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at, read_request
from tests.contract.test_gateway_keys import eventually
from tests.contract.test_limits_over_http import limit
from tests.running import run
from trunkline.server.asgi import Whole
from trunkline.server.dataplane import DataPlane
from trunkline.server.express import Begun, Express, Left
from trunkline.store import LogRow
from trunkline.wire.head import Head

CHAT = "/v1/local/default/openai/chat/completions"
KEY = {"authorization": "Bearer sk-caller-12345678", "cf-aig-metadata": '{"team": "blue"}', "user-agent": "test/1"}
ASKED: dict[str, Any] = {"model": "gpt-4o", "user": "u-7", "messages": [{"role": "user", "content": "Hello"}]}
# What differs between two requests that are alike.
ITS_OWN = frozenset(
    {"id", "created_at", "duration_ms", "connect_ms", "first_byte_ms", "written_at"}
    | {"inter_token_p50_ms", "inter_token_p99_ms"}
)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The way that each request went: short, general, or begun on the short one."""
    gone: list[str] = []
    serve, give_again, relay = Express.serve, Express.give_again, DataPlane.__call__

    async def served(self: Express, whole: Whole) -> Left | None:
        left = await serve(self, whole)
        if left is None:
            gone.append("short")
        return left

    def gave_again(self: Express, whole: Whole) -> bool:
        is_given = give_again(self, whole)
        if is_given:
            gone.append("short")
        return is_given

    async def relayed(self: DataPlane, head: Head, *asgi: Any, begun: Begun | None = None) -> None:
        gone.append("general" if begun is None else "begun")
        await relay(self, head, *asgi, begun=begun)

    monkeypatch.setattr(Express, "serve", served)
    monkeypatch.setattr(Express, "give_again", gave_again)
    monkeypatch.setattr(DataPlane, "__call__", relayed)
    return gone


def alike(one: LogRow, other: LogRow) -> bool:
    told = [name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)]
    return ITS_OWN.issuperset(told)


def shown(answer: httpx.Response) -> tuple[int, bytes, set[str]]:
    return answer.status_code, answer.content, {name.lower() for name in answer.headers}


async def chat(client: httpx.AsyncClient, gateway: LoggedGateway, body: Any = ASKED, **more: str) -> httpx.Response:
    return await client.post(gateway.http + CHAT, headers={**KEY, **more}, json=body)


DETAILED = {
    **ANSWER,
    "service_tier": "default",
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 2},
        "completion_tokens_details": {
            "reasoning_tokens": 3,
            "audio_tokens": 1,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
}


@pytest.mark.parametrize("document", [ANSWER, DETAILED], ids=["cached", "every detail"])
def test_what_is_answered_and_written_is_the_same_on_both_ways(ways: list[str], document: dict[str, Any]) -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(document, "200 OK", "x-request-id: r", "ratelimit-limit: 5", "set-cookie: a=b"))
        async with (
            raw_server(upstream) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            first, second = [await chat(client, gateway) for _ in range(2)]
            longer = await chat(client, gateway, {**ASKED, "messages": [{"role": "user", "content": "Hello again."}]})
        assert ways == ["general", "short", "short"]
        assert shown(first) == shown(second) == shown(longer)
        assert first.headers["x-request-id"] == "r"
        assert "set-cookie" not in second.headers
        assert alike(gateway.rows[0], gateway.rows[1])
        assert [row.id for row in gateway.rows] == [one.headers["cf-aig-log-id"] for one in (first, second, longer)]
        assert gateway.rows[2].request_size > gateway.rows[1].request_size
        assert gateway.rows[1].cost == gateway.rows[0].cost != 0
        received = [(line, headers, body) for line, headers, body in upstream.requests[:2]]
        assert received[0] == received[1]

    run(main())


@pytest.mark.parametrize(
    "answers",
    [
        http_answer(gzip.compress(json.dumps(ANSWER).encode()), "application/json", "200 OK", "content-encoding: gzip"),
        json_answer({"error": {"message": "No such model."}}, "404 Not Found"),
        json_answer({**ANSWER, "usage": None}),
        json_answer({**ANSWER, "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}}),
        json_answer({**ANSWER, "usage": {**ANSWER["usage"], "cost": 0.5}}),
        http_answer(b"ok", "text/plain"),
        b"".join(stream_of("a", "b")),
        http_answer(b"", "application/json"),
    ],
    ids=["packed", "refused", "no usage", "odd sum", "states its cost", "no JSON", "a stream", "empty"],
)
def test_an_answer_that_is_not_plain_is_given_and_written_as_ever(ways: list[str], answers: bytes) -> None:
    async def exchanged(*, prepared: bool) -> tuple[tuple[int, bytes, set[str]], LogRow]:
        pieces = [json_answer(ANSWER), answers] if prepared else [answers]

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_request(reader)
                writer.write(pieces.pop(0))

        async with (
            raw_server(upstream) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            for _ in range(len(pieces)):
                answer = await chat(client, gateway)
        return shown(answer), gateway.rows[-1]

    async def main() -> None:
        general, row = await exchanged(prepared=False)
        begun, other = await exchanged(prepared=True)
        assert ways == ["general", "general", "begun"]
        assert begun == general
        assert alike(row, other)

    run(main())


@pytest.mark.parametrize(
    "asks",
    [
        {"json": {**ASKED, "stream": True}, "headers": KEY},
        {"json": ASKED, "headers": {**KEY, "cf-aig-event-id": "mine"}},
        {"json": ASKED, "headers": {**KEY, "cf-aig-max-attempts": "2"}},
        {"json": ASKED, "headers": {**KEY, "cf-aig-custom-cost": '{"total_cost": 1}'}},
        {"json": ASKED, "headers": {**KEY, "origin": "http://127.0.0.1:3000"}},
        {"content": json.dumps(ASKED), "headers": {**KEY, "content-type": "text/plain"}},
    ],
    ids=["a stream", "event id", "attempts", "own price", "a page", "no JSON"],
)
def test_requests_that_want_more_go_the_general_way(ways: list[str], asks: dict[str, Any]) -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            for _ in range(3):
                assert (await client.post(gateway.http + CHAT, **asks)).status_code == 200
        assert ways == ["general"] * 3
        assert len(gateway.rows) == 3

    run(main())


@asynccontextmanager
async def caching(origin: str, **rules: Any) -> AsyncIterator[LoggedGateway]:
    async with logged(**openai_at(origin)) as running:
        async with administration(running.directory) as configuration:
            await configuration.change_gateway("default", control={"cache": {"ttl": 600}, **rules})

        async def keeps() -> bool:
            async with httpx.AsyncClient() as client:
                answer = await client.post(running.http + CHAT, headers={"authorization": "Bearer sk-o"}, json=ASKED)
            return answer.headers.get("cf-aig-cache-status") == "HIT"

        await eventually(keeps)
        yield running


@pytest.mark.parametrize("streams", [False, True])
def test_a_kept_answer_is_given_and_written_the_same_on_both_ways(ways: list[str], streams: bool) -> None:
    async def main() -> None:
        answer = b"".join(stream_of("Hel", "lo")) if streams else json_answer(ANSWER)
        asked = {**ASKED, "stream": streams}
        async with (
            raw_server(Recorder(answer)) as origin,
            caching(origin) as gateway,
            httpx.AsyncClient() as client,
        ):
            ways.clear()
            answers = [await chat(client, gateway, asked) for _ in range(4)]
            other = await chat(client, gateway, {**asked, "user": "u-8"})
            stats = (await client.get(f"{gateway.http}/api/gateways/default/cache")).json()
        assert ways == ["general", "general", "short", "short", "general"]
        assert [one.headers["cf-aig-cache-status"] for one in (*answers, other)] == ["MISS", *["HIT"] * 3, "MISS"]
        assert shown(answers[1]) == shown(answers[2]) == shown(answers[3])
        rows = gateway.rows[-5:]
        assert [row.id for row in rows] == [one.headers["cf-aig-log-id"] for one in (*answers, other)]
        assert alike(rows[1], rows[2])
        assert (rows[2].cached, rows[2].cost, rows[2].tokens_out, rows[2].user) == (True, 0, 0, "u-7")
        assert stats["hits"] >= 3

    run(main())


def test_what_is_purged_or_asked_otherwise_is_not_given_on_the_short_way(ways: list[str]) -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        async with raw_server(upstream) as origin, caching(origin) as gateway, httpx.AsyncClient() as client:

            async def ask(body: Any = ASKED, **more: str) -> tuple[str, str]:
                answer = await chat(client, gateway, body, **more)
                return answer.headers.get("cf-aig-cache-status", ""), ways[-1]

            async def is_kept() -> bool:
                return await ask() == ("HIT", "short")

            await eventually(is_kept)
            assert await ask(authorization="Bearer sk-another-12345678") == ("MISS", "general")
            assert await ask(**{"cf-aig-skip-cache": "true"}) == ("", "general")
            assert await ask({**ASKED, "n": 2}) == ("MISS", "general")
            asked_before = len(upstream.requests)
            assert await ask() == ("HIT", "short")
            assert len(upstream.requests) == asked_before
            await client.delete(f"{gateway.http}/api/gateways/default/cache")
            assert await ask() == ("MISS", "general")
            await eventually(is_kept)
            async with administration(gateway.directory) as configuration:
                await configuration.change_gateway("default", control={"cache": {"ttl": 0}})

            async def keeps_nothing() -> bool:
                return await ask() == ("", "general")

            await eventually(keeps_nothing)

    run(main())


def test_a_limit_counts_kept_answers_on_the_short_way(ways: list[str]) -> None:
    async def main() -> None:
        rules = [limit("few", "requests", 9, per=["key"])]
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            caching(origin, limits=rules) as gateway,
            httpx.AsyncClient() as client,
        ):
            answers = [await chat(client, gateway) for _ in range(10)]
        left = [int(one.headers["ratelimit-remaining"]) for one in answers]
        given = left[0] + 1
        assert left == [*range(given - 1, -1, -1), *[0] * (10 - given)]
        assert [one.status_code for one in answers] == [200] * given + [429] * (10 - given)
        assert ways[-10:] == ["general", "general", *["short"] * (given - 2), *["general"] * (10 - given)]

    run(main())


def test_a_body_that_comes_in_pieces_is_sent_on_whole(ways: list[str]) -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        body = json.dumps(ASKED).encode()
        async with raw_server(upstream) as origin, logged(**openai_at(origin)) as gateway:
            reader, writer = await asyncio.open_connection(gateway.address.host, gateway.address.port)
            for pause in (0.0, 0.0, 0.05):
                head = f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-caller-1\r\n"
                writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode())
                if pause:
                    writer.write(body[:20])
                    await writer.drain()
                    await asyncio.sleep(pause)
                    writer.write(body[20:])
                else:
                    writer.write(body)
                told = await reader.readuntil(b"\r\n\r\n")
                assert told.startswith(b"HTTP/1.1 200")
                await reader.readexactly(int(told.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            writer.close()
        assert ways[:2] == ["general", "short"]
        assert [received[2] for received in upstream.requests] == [body] * 3

    run(main())


def test_limits_are_kept_and_counted_alike(ways: list[str]) -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            httpx.AsyncClient() as client,
            logged(**openai_at(origin)) as gateway,
        ):
            async with administration(gateway.directory) as configuration:
                rules = [limit("few", "requests", 3, per=["key"])]
                await configuration.change_gateway("default", control={"limits": rules})

            async def counts() -> bool:
                return "ratelimit-limit" in (await chat(client, gateway)).headers

            await eventually(counts)
            answers = [await chat(client, gateway) for _ in range(4)]
        assert [one.status_code for one in answers] == [200, 200, 429, 429]
        assert [one.headers["ratelimit-remaining"] for one in answers] == ["1", "0", "0", "0"]
        assert ways[-4:] == ["short", "short", "general", "general"]

    run(main())


def test_limits_of_other_keys_leave_a_chat_on_the_short_way(ways: list[str]) -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            httpx.AsyncClient() as client,
            logged(**openai_at(origin)) as gateway,
        ):
            async with administration(gateway.directory) as configuration:
                own = [limit(f"own-{one}", "tokens", 1, where={"key": [one]}) for one in ("key_1", "key_2")]
                rules = [limit("many", "requests", 1000, per=["key"]), *own]
                await configuration.change_gateway("default", control={"limits": rules})

            async def counts() -> bool:
                return "ratelimit-limit" in (await chat(client, gateway)).headers

            await eventually(counts)
            await chat(client, gateway)
        assert ways[-1] == "short"

    run(main())


def test_a_change_of_the_set_up_counts_at_once(ways: list[str]) -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            httpx.AsyncClient() as client,
            logged(**openai_at(origin)) as gateway,
        ):
            for _ in range(2):
                await chat(client, gateway)
            async with administration(gateway.directory) as configuration:
                await configuration.change_gateway("default", authenticated=True)

            async def refused() -> bool:
                return (await chat(client, gateway)).status_code == 401

            await eventually(refused)
        assert ways[:2] == ["general", "short"]
        assert ways[-1] == "general"

    run(main())


def test_a_client_that_leaves_is_written_down_and_its_request_given_up(ways: list[str]) -> None:
    async def main() -> None:
        left = asyncio.Event()
        asked = 0

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            while True:
                await read_request(reader)
                asked += 1
                if asked == 2:
                    await reader.read()  # until the gateway closes
                    left.set()
                    return
                writer.write(json_answer(ANSWER))

        async with (
            raw_server(upstream) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            await chat(client, gateway)
            with pytest.raises(httpx.ReadTimeout):
                await client.post(gateway.http + CHAT, headers=KEY, json=ASKED, timeout=0.3)
            async with asyncio.timeout(30):
                await left.wait()

            async def is_over() -> bool:
                return len(ways) == 2

            await eventually(is_over)
        assert ways == ["general", "begun"]
        assert [(row.end_reason, row.status) for row in gateway.rows] == [("complete", 200), ("client_gone", 0)]

    run(main())


def test_a_provider_that_breaks_off_is_told_as_ever(ways: list[str]) -> None:
    async def main() -> None:
        answers = [json_answer(ANSWER), b"", json_answer(ANSWER)[:-10]]

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_request(reader)
                said = answers.pop(0)
                writer.write(said)
                if not said.endswith(b"}"):
                    return

        async with (
            raw_server(upstream) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            await chat(client, gateway)
            refused = await chat(client, gateway)
            with pytest.raises(httpx.RemoteProtocolError):
                await chat(client, gateway)
        assert ways == ["general", "begun", "begun"]
        assert (refused.status_code, refused.headers["cf-aig-error-code"] != "") == (502, True)
        assert [row.end_reason for row in gateway.rows] == ["complete", "upstream_error", "upstream_broken"]

    run(main())
