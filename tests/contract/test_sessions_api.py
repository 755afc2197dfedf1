"""Realtime sessions as operators see them: the live list, the end of one, and the records, on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection

from tests.contract.administration import administration, new_key
from tests.contract.test_dataplane import openai_at
from tests.contract.test_voiceplane import dial, echo, refusal_of, upstream_of
from tests.contract.waiting import until
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.wire.sse import SseParser

TOKEN = "gateway-token-of-many-characters"
JSON = {"accept": "application/json"}
SESSIONS, RECORDS = "/api/realtime/sessions", "/api/realtime/records"
AGENT = "test-agent/1.0"


@asynccontextmanager
async def api(address: Address, key: str = "") -> AsyncIterator[httpx.AsyncClient]:
    shown = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=address.http, headers={**JSON, **shown}, timeout=30) as client:
        yield client


async def told(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    parser = SseParser()
    async for piece in response.aiter_raw():
        for event in parser.feed(piece):
            yield event.event, json.loads(event.data)


async def one_open(client: httpx.AsyncClient) -> dict[str, Any]:
    """Wait until one session is open, and return it."""
    (session,) = await until(lambda: open_now(client))
    return session


async def open_now(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    sessions: list[dict[str, Any]] = (await client.get(SESSIONS)).json()["sessions"]
    return sessions


async def kept(client: httpx.AsyncClient, count: int = 1, **wanted: str) -> list[dict[str, Any]]:
    """Wait until so many sessions are kept that are wanted, and return them."""

    async def look() -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = (await client.get(RECORDS, params=wanted)).json()["records"]
        return records if len(records) >= count else []

    return await until(look)


def test_a_session_is_seen_live_and_kept_when_it_ended() -> None:
    async def main() -> None:
        async with (
            upstream_of(answering) as origin,
            gateway(**openai_at(origin)) as address,
            api(address) as client,
        ):
            async with dial(address, authorization="Bearer sk-caller-1234", user_agent=AGENT) as socket:
                await socket.send(json.dumps({"type": "response.create"}))
                assert [json.loads(await socket.recv())["type"] for _ in range(2)] == [
                    "response.created",
                    "response.done",
                ]
                session = await one_open(client)
                assert session["provider"] == "openai"
                assert session["model"] == "gpt-realtime"
                assert session["gateway"] == "default"
                assert session["turns"] == 1
                assert session["tokens"] == 30
                assert session["cost"] > 0
                assert "sk-caller" not in json.dumps(session)

            (summary,) = await kept(client, open="false")
            assert summary["id"] == session["id"]
            assert summary["closed_by"] == "client"
            assert summary["tokens"] == 30
            assert (await client.get(SESSIONS)).json() == {"sessions": []}
            whole = (await client.get(f"{RECORDS}/{session['id']}")).json()
            assert [turn["ending"] for turn in whole["report"]["turns"]] == ["completed"]
            assert whole["report"]["tokens"] == {"input_text": 10, "output_text": 20}
            assert "sk-caller" not in json.dumps(whole)

    run(main())


def test_the_stream_tells_the_whole_list_at_once_and_again_with_every_change() -> None:
    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            gateway(**openai_at(origin)) as address,
            api(address) as client,
            client.stream("GET", SESSIONS, headers={"accept": "text/event-stream"}) as stream,
        ):
            assert stream.headers["content-type"].startswith("text/event-stream")
            events = told(stream)
            assert await anext(events) == ("sessions", {"sessions": []})
            async with dial(address):
                name, change = await anext(events)
                assert (name, len(change["sessions"])) == ("sessions", 1)
            seen = [change["sessions"]]
            while seen[-1]:
                seen.append((await anext(events))[1]["sessions"])

    run(main())


def test_a_killed_session_ends_in_band_with_a_close_that_is_final() -> None:
    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            gateway(**openai_at(origin)) as address,
            api(address) as client,
            dial(address) as socket,
        ):
            session = await one_open(client)
            assert (await client.delete(f"{SESSIONS}/{session['id']}")).status_code == 204
            error, code = await refusal_of(socket)
            assert (error["code"], error["type"], code) == ("session_terminated", "account_deactivated", 4000)
            (summary,) = await kept(client, open="false")
            assert (summary["closed_by"], summary["close_code"]) == ("gateway", 4000)
            again = await client.delete(f"{SESSIONS}/{session['id']}")
            assert (again.status_code, again.json()["error"]["code"]) == (404, "unknown_session")

    run(main())


def test_a_key_sees_and_ends_sessions_of_its_own_gateway_alone() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as set_up:
                await set_up.create_gateway(GatewayRules("team", authenticated=False))
                reader, _ = await new_key(set_up, scopes=[Scope.READ])
                editor, _ = await new_key(set_up, scopes=[Scope.READ, Scope.EDIT])
                stranger, _ = await new_key(set_up, "team", scopes=[Scope.READ, Scope.EDIT])
                caller, _ = await new_key(set_up, scopes=[Scope.RUN])
            async with (
                upstream_of(echo) as origin,
                gateway(data_dir=data_dir, gateway_token=TOKEN, **openai_at(origin)) as address,
                api(address, TOKEN) as administrator,
            ):
                async with dial(address, authorization="Bearer sk-caller-1234", cf_aig_authorization=f"Bearer {TOKEN}"):
                    session = (await one_open(administrator))["id"]
                    for key, seen, ended in (("", 401, 401), (caller, 403, 403), (reader, 200, 403)):
                        async with api(address, key) as client:
                            assert (await client.get(SESSIONS)).status_code == seen
                            assert (await client.delete(f"{SESSIONS}/{session}")).status_code == ended
                    async with api(address, stranger) as client:
                        assert (await client.get(SESSIONS)).json() == {"sessions": []}
                        assert (await client.delete(f"{SESSIONS}/{session}")).status_code == 404
                    async with api(address, editor) as client:
                        assert (await client.delete(f"{SESSIONS}/{session}")).status_code == 204
                await kept(administrator, open="false")
                async with api(address, stranger) as client:
                    assert (await client.get(RECORDS)).json() == {"records": [], "next": None}
                    assert (await client.get(RECORDS, params={"gateway": "default"})).status_code == 403
                    assert (await client.get(f"{RECORDS}/{session}")).status_code == 404
                async with api(address, reader) as client:
                    assert (await client.get(f"{RECORDS}/{session}")).json()["caller"] == "gateway token"

    run(main())


def test_the_stream_ends_when_the_key_that_opened_it_is_revoked() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as set_up:
                key, key_id = await new_key(set_up, scopes=[Scope.READ])
                async with (
                    gateway(data_dir=data_dir, gateway_token=TOKEN) as address,
                    api(address, key) as client,
                    client.stream("GET", SESSIONS, headers={"accept": "text/event-stream"}) as stream,
                ):
                    events = told(stream)
                    await anext(events)
                    await set_up.revoke_key(key_id)
                    name, refusal = await anext(events)
                    assert (name, refusal["code"]) == ("refused", "invalid_api_key")
                    with pytest.raises(StopAsyncIteration):
                        await anext(events)

    run(main())


def test_a_stream_does_not_hold_up_the_end_of_the_gateway() -> None:
    async def main() -> None:
        async with api_of_a_gateway_that_ends() as (client, end):
            async with client.stream("GET", SESSIONS, headers={"accept": "text/event-stream"}) as stream:
                events = told(stream)
                await anext(events)
                ending = asyncio.create_task(end())
                assert [event async for event in events] == []  # closed properly, not cut
            await ending

    run(main())


def test_a_client_that_leaves_takes_its_stream_along() -> None:
    async def main() -> None:
        async with gateway() as address, api(address) as client:
            assert (await client.get(SESSIONS)).status_code == 200
            before = len(asyncio.all_tasks())
            async with client.stream("GET", SESSIONS, headers={"accept": "text/event-stream"}) as stream:
                await anext(told(stream))
                assert len(asyncio.all_tasks()) > before

            async def is_gone() -> bool:
                return len(asyncio.all_tasks()) <= before

            await until(is_gone)

    run(main())


@asynccontextmanager
async def api_of_a_gateway_that_ends() -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    running = gateway()
    address = await running.__aenter__()

    async def end() -> None:
        await running.__aexit__(None, None, None)

    async with api(address) as client:
        yield client, end


def test_a_foreign_page_neither_watches_nor_ends() -> None:
    async def main() -> None:
        async with gateway() as address, api(address) as client:
            for origin in ("https://elsewhere.example", "null"):
                assert (await client.get(SESSIONS, headers={"origin": origin})).status_code == 403
                assert (await client.delete(f"{SESSIONS}/X", headers={"origin": origin})).status_code == 403

    run(main())


def test_records_come_in_pages_and_only_those_wanted() -> None:
    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            gateway(**openai_at(origin)) as address,
            api(address) as client,
        ):
            for number in range(3):
                async with dial(address) as socket:
                    await socket.send("hello")
                    await socket.recv()
                await kept(client, number + 1, open="false")
            page = (await client.get(RECORDS, params={"limit": "2"})).json()
            ids = [one["id"] for one in page["records"]]
            assert ids == sorted(ids, reverse=True)
            rest = (await client.get(RECORDS, params={"before": page["next"]})).json()
            assert (len(ids), len(rest["records"]), rest["next"]) == (2, 1, None)
            for wanted in ({"open": "true"}, {"provider": "xai"}, {"key": "k"}, {"since": "4e9"}, {"gateway": "no"}):
                assert (await client.get(RECORDS, params=wanted)).json()["records"] == []

    run(main())


async def answering(socket: ServerConnection) -> None:
    """Answer each request for a response with one that used 10 tokens of text and made 20."""
    usage = {
        "total_tokens": 30,
        "input_tokens": 10,
        "output_tokens": 20,
        "input_token_details": {"text_tokens": 10, "audio_tokens": 0},
        "output_token_details": {"text_tokens": 20, "audio_tokens": 0},
    }
    async for _ in socket:
        response = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
        await socket.send(json.dumps({"type": "response.created", "response": response}))
        done = {**response, "status": "completed", "usage": usage}
        await socket.send(json.dumps({"type": "response.done", "response": done}))
