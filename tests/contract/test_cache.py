"""The cache of a running gateway: over HTTP, on streams, by its API and command, and shared through Valkey."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import commands
from tests.contract.administration import administration, new_key
from tests.contract.log_rows import ANSWER, LoggedGateway, json_answer, rows_in, stream_of
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at, read_request
from tests.running import Address, data_directory, gateway, run
from tests.valkeys import valkey_server
from trunkline.policy.registry import Scope
from trunkline.store import Configuration

CHAT = "/v1/local/default/openai/chat/completions"
KEY = {"authorization": "Bearer sk-caller-12345678"}
ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
CACHED = {"cache": {"ttl": 600}}
TOKEN = "gateway-token-of-many-characters"


@asynccontextmanager
async def caching(
    control: dict[str, Any] | None = None,
    prepare: Callable[[Configuration], Awaitable[None]] | None = None,
    **settings: Any,
) -> AsyncIterator[LoggedGateway]:
    """A gateway with rules; its log can be read once it was left."""
    with data_directory() as directory:
        async with administration(directory) as configuration:
            await configuration.change_gateway("default", control=CACHED if control is None else control)
            if prepare is not None:
                await prepare(configuration)
        async with gateway(data_dir=directory, **settings) as address:
            found = LoggedGateway(address, directory)
            yield found
        found.rows = await rows_in(directory)


def status_of(answer: httpx.Response) -> str:
    return answer.headers.get("cf-aig-cache-status", "")


class Streaming(Recorder):
    """An upstream that streams, and waits in the middle until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.requests.append(await read_request(reader))
            head, first, *others = stream_of("Hel", "lo")
            writer.write(head + first)
            await writer.drain()
            await self.goes_on.wait()
            writer.write(b"".join(others))
            await writer.drain()


def test_a_second_request_is_answered_from_the_cache_and_costs_nothing() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER, "200 OK", "x-request-id: first", "set-cookie: a=b"))
        async with (
            raw_server(upstream) as origin,
            caching(**openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
        ):
            first = await client.post(CHAT, json=ASKED)
            again = await client.post(CHAT, content=json.dumps(dict(reversed(ASKED.items())), indent=1))
            other = await client.post(CHAT, json=ASKED, headers={"authorization": "Bearer sk-another-12345678"})
            skipped = await client.post(CHAT, json=ASKED, headers={"cf-aig-skip-cache": "true"})
        assert [status_of(answer) for answer in (first, again, other, skipped)] == ["MISS", "HIT", "MISS", ""]
        assert [answer.json() for answer in (first, again, other, skipped)] == [ANSWER] * 4
        assert first.headers["x-request-id"] == "first"
        assert "x-request-id" not in again.headers
        assert again.headers["content-type"] == "application/json"
        assert again.headers["cf-aig-log-id"] != first.headers["cf-aig-log-id"]
        assert len(upstream.requests) == 3
        rows = {row.id: row for row in running.rows}
        paid, free = (rows[answer.headers["cf-aig-log-id"]] for answer in (first, again))
        assert (paid.cached, paid.tokens_in, paid.tokens_out) == (False, 11, 3)
        assert paid.cost
        assert (free.cached, free.tokens_in, free.tokens_out, free.cost) == (True, 0, 0, 0.0)
        assert (free.status, free.success, free.model, free.response_size) == (200, True, "gpt-4o", len(again.content))

    run(main())


def test_a_stream_is_recorded_and_given_again_as_one() -> None:
    async def main() -> None:
        upstream = Streaming()
        upstream.goes_on.set()
        async with (
            raw_server(upstream) as origin,
            caching(**openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
        ):
            streaming = {**ASKED, "stream": True}
            first = await client.post(CHAT, json=streaming)
            again = await client.post(CHAT, json=streaming)
        assert [status_of(first), status_of(again)] == ["MISS", "HIT"]
        assert again.content == first.content
        assert again.content.endswith(b"data: [DONE]\n\n")
        assert again.headers["content-type"] == "text/event-stream"
        assert len(upstream.requests) == 1
        assert [(row.cached, row.cost) for row in running.rows][1] == (True, 0.0)

    run(main())


def test_identical_streams_at_the_same_time_are_one_request_whose_events_reach_all_as_they_come() -> None:
    async def main() -> None:
        upstream = Streaming()
        async with (
            raw_server(upstream) as origin,
            caching(**openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
        ):
            streaming = {**ASKED, "stream": True}
            async with (
                client.stream("POST", CHAT, json=streaming) as first,
                client.stream("POST", CHAT, json=streaming) as second,
            ):
                pieces = [one.aiter_raw() for one in (first, second)]
                begun = [await anext(one) for one in pieces]
                assert begun[0] == begun[1]
                assert not upstream.goes_on.is_set()
                upstream.goes_on.set()
                whole = [
                    b"".join([start, *[piece async for piece in one]]) for start, one in zip(begun, pieces, strict=True)
                ]
        assert whole[0] == whole[1]
        assert whole[0].endswith(b"data: [DONE]\n\n")
        assert len(upstream.requests) == 1
        assert sorted([status_of(first), status_of(second)]) == ["HIT", "MISS"]

    run(main())


def test_who_leaves_in_the_middle_takes_nothing_from_those_who_wait_for_the_same() -> None:
    async def main() -> None:
        upstream = Streaming()
        async with (
            raw_server(upstream) as origin,
            caching(**openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as leaving,
        ):
            streaming = {**ASKED, "stream": True}
            async with leaving.stream("POST", CHAT, json=streaming) as first:
                await anext(first.aiter_raw())
                staying = asyncio.create_task(client.post(CHAT, json=streaming))
                while (await client.get("/api/gateways/default/cache")).json()["hits"] == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            upstream.goes_on.set()
            answer = await staying
        assert answer.content.endswith(b"data: [DONE]\n\n")
        assert len(upstream.requests) == 1

    run(main())


def test_a_stream_that_breaks_off_is_not_kept() -> None:
    async def main() -> None:
        class Breaking(Recorder):
            async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                self.requests.append(await read_request(reader))
                writer.write(b"".join(stream_of("Hel", "lo")[:2]))
                await writer.drain()

        upstream = Breaking()
        async with (
            raw_server(upstream) as origin,
            caching(**openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
        ):
            for _ in range(2):
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.post(CHAT, json={**ASKED, "stream": True})
            assert (await client.get("/api/gateways/default/cache")).json()["entries"] == 0
        assert len(upstream.requests) == 2

    run(main())


def test_a_wrong_header_is_refused_before_anybody_is_asked() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        async with (
            raw_server(upstream) as origin,
            caching({}, **openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
        ):
            refused = await client.post(CHAT, json=ASKED, headers={"cf-aig-cache-ttl": "30"})
            opted_in = [
                await client.post(CHAT, json=body, headers={"cf-aig-cache-key": "mine"})
                for body in (ASKED, {**ASKED, "temperature": 1})
            ]
        assert refused.status_code == 400
        assert "cf-aig-cache-ttl" in refused.text
        assert "60 to 2592000" in refused.text
        assert [status_of(answer) for answer in opted_in] == ["MISS", "HIT"]
        assert len(upstream.requests) == 1

    run(main())


def test_a_hit_passes_no_limit_on_models_or_keys() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        keys: list[str] = []

        async def prepare(configuration: Configuration) -> None:
            allowed, _ = await new_key(configuration)
            restricted, _ = await new_key(configuration, models=("gpt-4o-mini",))
            revoked, key_id = await new_key(configuration)
            await configuration.revoke_key(key_id)
            keys.extend((allowed, allowed, restricted, revoked))

        async with (
            raw_server(upstream) as origin,
            caching(prepare=prepare, **openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
        ):
            answers = [await client.post(CHAT, json=ASKED, headers={"cf-aig-authorization": key}) for key in keys]
        assert [(answer.status_code, status_of(answer)) for answer in answers] == [
            (200, "MISS"),
            (200, "HIT"),
            (403, ""),
            (401, ""),
        ]

    run(main())


def test_kept_answers_outlive_a_restart_and_no_key_is_in_their_file() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        with data_directory() as directory:
            async with administration(directory) as configuration:
                await configuration.change_gateway("default", control=CACHED)
            async with raw_server(upstream) as origin:
                for expected in ("MISS", "HIT"):
                    async with gateway(data_dir=directory, **openai_at(origin)) as address:
                        async with httpx.AsyncClient(base_url=address.http, headers=KEY) as client:
                            answer = await client.post(CHAT, json=ASKED, headers={"cf-aig-cache-key": "my words"})
                        assert status_of(answer) == expected
            kept = b"".join(file.read_bytes() for file in directory.glob("cache.db*"))
            assert kept
            assert KEY["authorization"].removeprefix("Bearer ").encode() not in kept
            assert b"my words" not in kept

    run(main())


async def purge(client: httpx.AsyncClient, shown: str, **query: str) -> httpx.Response:
    return await client.delete(
        "/api/gateways/default/cache", params=query, headers={"authorization": f"Bearer {shown}"}
    )


def test_the_cache_is_read_and_purged_over_http_by_who_may() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        keys: list[str] = []

        async def prepare(configuration: Configuration) -> None:
            keys.extend([(await new_key(configuration, scopes=[scope]))[0] for scope in (Scope.READ, Scope.EDIT)])

        async with (
            raw_server(upstream) as origin,
            caching(None, prepare, gateway_token=TOKEN, **openai_at(origin)) as it,
        ):
            reader, editor = keys
            async with httpx.AsyncClient(base_url=it.http) as client:

                async def ask(**body: Any) -> str:
                    headers = {**KEY, "cf-aig-authorization": TOKEN}
                    return status_of(await client.post(CHAT, json={**ASKED, **body}, headers=headers))

                assert [await ask(), await ask(), await ask(model="gpt-5")] == ["MISS", "HIT", "MISS"]
                path = "/api/gateways/default/cache"
                told = (await client.get(path, headers={"authorization": f"Bearer {reader}"})).json()
                assert {**told, "bytes": 0} == {"entries": 2, "bytes": 0, "hits": 1, "misses": 2}
                assert told["bytes"] > 2 * len(json.dumps(ANSWER)) / 2
                assert (await purge(client, reader)).status_code == 403
                assert (await client.delete(path)).status_code == 401
                assert (await purge(client, editor, key="")).status_code == 422
                assert (await purge(client, editor, model="gpt-5", provider="openai")).json() == {"purged": 1}
                assert [await ask(), await ask(model="gpt-5")] == ["HIT", "MISS"]
                assert (await purge(client, editor)).json() == {"purged": 2}
                assert await ask() == "MISS"
                assert (await purge(client, TOKEN)).json() == {"purged": 1}
                nowhere = await client.delete(
                    "/api/gateways/nowhere/cache", headers={"authorization": f"Bearer {TOKEN}"}
                )
                assert nowhere.status_code == 400

    run(main())


def test_a_change_of_the_gateway_empties_its_cache_where_it_is_to() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        control = {"cache": {"ttl": 600, "invalidate_on_update": True}}
        async with (
            raw_server(upstream) as origin,
            caching(control, **openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
        ):
            assert [status_of(await client.post(CHAT, json=ASKED)) for _ in range(2)] == ["MISS", "HIT"]
            changed = await client.patch("/api/gateways/default", json={"control": {"cache": {"ttl": 900}}})
            assert changed.status_code == 200
            assert status_of(await client.post(CHAT, json=ASKED)) == "MISS"

    run(main())


def test_two_gateways_share_answers_and_purges_through_valkey() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        with valkey_server() as valkey:
            async with (
                raw_server(upstream) as origin,
                caching(valkey_url=valkey.url, **openai_at(origin)) as one,
                caching(valkey_url=valkey.url, **openai_at(origin)) as other,
                httpx.AsyncClient(headers=KEY) as client,
            ):

                async def ask(running: LoggedGateway) -> str:
                    return status_of(await client.post(running.http + CHAT, json=ASKED))

                assert [await ask(one), await ask(other), await ask(one)] == ["MISS", "HIT", "HIT"]
                purged = await client.delete(f"{other.http}/api/gateways/default/cache")
                assert purged.json() == {"purged": 1}
                assert await ask(one) == "MISS"
                valkey.stop()
                assert await ask(other) == "MISS"
                # What is being kept is given to whoever asks meanwhile, unless it is purged.
                assert (await client.delete(f"{one.http}/api/gateways/default/cache")).status_code == 503
                assert await ask(one) == "MISS"
            assert len(upstream.requests) == 4
            for running in (one, other):
                assert not list(running.directory.glob("cache.db*"))

    run(main())


def command(address: Address, directory: Path, *arguments: str) -> str:
    chosen = {"TRUNKLINE_DATA_DIR": str(directory), "TRUNKLINE_URL": address.http}
    done = commands.command("cache", *arguments, environment=chosen)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_command_shows_and_empties_the_cache_of_a_running_gateway() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        async with (
            raw_server(upstream) as origin,
            caching(**openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY) as client,
        ):

            async def say(*arguments: str) -> str:
                return await asyncio.to_thread(command, running.address, running.directory, *arguments)

            for _ in range(4):
                await client.post(CHAT, json=ASKED)
            shown = await say("stats")
            assert "3 of 4 (75%)" in shown
            assert json.loads(await say("stats", "--json"))["entries"] == 1
            assert await say("purge", "--gateway", "default", "--model", "another") == "removed 0 kept answers\n"
            assert await say("purge") == "removed 1 kept answers\n"
            assert status_of(await client.post(CHAT, json=ASKED)) == "MISS"

    run(main())


def test_a_question_in_other_words_is_answered_from_the_cache_by_the_local_models_and_says_so() -> None:
    async def main() -> None:
        upstream = Recorder(json_answer(ANSWER))
        control = {"cache": {"ttl": 600, "semantic": 0.9}}
        async with (
            raw_server(upstream) as origin,
            caching(control, **openai_at(origin)) as running,
            httpx.AsyncClient(base_url=running.http, headers=KEY, timeout=60) as client,
        ):

            async def ask(text: str) -> httpx.Response:
                return await client.post(CHAT, json={**ASKED, "messages": [{"role": "user", "content": text}]})

            # The worker is started by the first question, which does not wait for it; its own endpoint does.
            assert status_of(await ask("Hello")) == "MISS"
            ready = await client.post(
                "/v1/local/default/local/embeddings",
                json={"model": "local", "input": "x"},
                headers={"authorization": ""},
            )
            assert ready.status_code == 200
            assert status_of(await ask("How do I reset my password?")) == "MISS"
            alike = await ask("How can I reset my password?")
            assert status_of(alike) == "HIT"
            kind, _, similarity = alike.headers["x-trunkline-cache"].partition("; similarity=")
            assert kind == "semantic"
            assert 0.9 <= float(similarity) < 1
            assert status_of(await ask("How do I bake bread?")) == "MISS"
            exact = await ask("How do I bake bread?")
            assert status_of(exact) == "HIT"
            assert "x-trunkline-cache" not in exact.headers
        assert len(upstream.requests) == 3

    run(main(), 120)
