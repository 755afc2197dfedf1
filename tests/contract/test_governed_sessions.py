"""Realtime sessions held to their limits, kept and recorded: real gateways before a strict provider."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.clients.ga_upstream import GaUpstream, ga_upstream
from tests.contract.administration import administration, new_key
from tests.contract.test_gateway_keys import eventually
from tests.contract.test_resumption import ASK, KEY, REALTIME, TEXT, heard, say, user
from tests.contract.test_voiceplane import close_of, refusal_of
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.sessions import Quota, RealtimeRules, SessionLimits
from trunkline.server.recordings import StoredRecording, is_recorded
from trunkline.store import Database, RealtimeSessions, SessionFilter, StoredSession


@asynccontextmanager
async def governed(data: Path, rules: RealtimeRules, **options: Any) -> AsyncIterator[tuple[GaUpstream, Address]]:
    async with administration(data) as configuration:
        await configuration.change_gateway("default", realtime=rules.document(), logging={"payloads": True})
    async with ga_upstream(key=KEY, **options) as upstream:
        providers = {"openai": {"base_url": upstream.http, "api_key": KEY}}
        async with gateway(providers=providers, data_dir=data) as address:
            yield upstream, address


def dial(address: Address, key: str = "", path: str = REALTIME) -> connect:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return connect(address.ws + path, additional_headers=headers, max_size=None, proxy=None)


async def kept(data: Path) -> list[StoredSession]:
    """The sessions in the database, oldest first."""
    database = await Database.open(data)
    try:
        store = RealtimeSessions(database)
        found = [await store.get(summary.id) for summary in await store.list(SessionFilter(), 100)]
    finally:
        await database.close()
    return [one for one in reversed(found) if one is not None]


def limits(**given: Any) -> RealtimeRules:
    return RealtimeRules(limits=SessionLimits(**given))


async def turn(socket: ClientConnection, id: str = "item_a") -> None:
    await heard(socket, "session.created")
    await say(socket, TEXT, user(id, "Hello."), ASK)
    await heard(socket, "response.done")


def test_a_session_is_kept_with_what_was_said_used_and_who_closed_it() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules()) as (_, address), dial(address) as socket:
                await turn(socket)
            (session,) = await kept(data)
            report = session.report
            assert (session.gateway, session.provider, report.model) == ("default", "openai", "gpt-realtime")
            assert session.ended_at is not None
            assert [one.user for one in report.turns] == ["Hello."]
            assert report.turns[0].assistant
            assert report.tokens.total > 0
            assert report.cost.total is not None
            assert report.cost.total > 0
            assert report.connect_ms is not None
            assert report.close is not None
            assert (report.close.by, report.close.code) == ("client", 1000)

    run(main())


def test_a_spent_budget_ends_the_session_with_a_code_clients_stop_at_and_refuses_the_next_after_a_restart_too() -> None:
    async def main() -> None:
        with data_directory() as data:
            rules = limits(budget=Quota(0.000001, 86400))
            async with governed(data, rules) as (_, address):
                async with dial(address) as socket:
                    await turn(socket)
                    error, code = await refusal_of(socket)
                assert (error["code"], error["type"], code) == ("insufficient_quota", "insufficient_quota", 3000)
                async with dial(address) as socket:
                    error, _ = await refusal_of(socket)
                assert error["code"] == "insufficient_quota"
            async with governed(data, rules) as (upstream, address), dial(address) as socket:
                error, _ = await refusal_of(socket)
                assert error["code"] == "insufficient_quota"
                assert upstream.sessions == []

    run(main())


def test_a_model_without_a_price_has_no_sessions_under_a_budget() -> None:
    async def main() -> None:
        with data_directory() as data:
            path = "/v1/local/default/openai/realtime?model=nobody-knows-me"
            async with (
                governed(data, limits(budget=Quota(5, 86400))) as (_, address),
                dial(address, path=path) as socket,
            ):
                error, code = await refusal_of(socket)
            assert "no price is known" in error["message"]
            assert code == 4003

    run(main())


def test_what_has_no_price_ends_a_session_under_a_budget() -> None:
    """A transcription session names its model only when it is open."""

    async def main() -> None:
        with data_directory() as data:
            path = "/v1/local/default/openai/realtime?intent=transcription"
            async with (
                governed(data, limits(budget=Quota(5, 86400))) as (_, address),
                dial(address, path=path) as socket,
            ):
                await heard(socket, "session.created")
                listening = {"transcription": {"model": "nobody-knows-me"}, "turn_detection": None}
                await say(
                    socket,
                    {"type": "session.update", "session": {"type": "transcription", "audio": {"input": listening}}},
                )
                await heard(socket, "session.updated")
                await say(
                    socket, {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(48_000)).decode()}
                )
                await say(socket, {"type": "input_audio_buffer.commit"})
                events = await heard(socket, "error")
            assert "no price is known" in events[-1]["error"]["message"]

    run(main())


def test_a_caller_with_limits_gets_no_secret_of_the_providers_own() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with (
                governed(data, limits(budget=Quota(5, 86400))) as (upstream, address),
                httpx.AsyncClient() as client,
            ):
                refused = await client.post(
                    f"{address.http}/v1/local/default/openai/realtime/client_secrets",
                    json={},
                    headers={"x-trunkline-client-secrets": "relay"},
                )
            assert refused.status_code == 403
            assert upstream.requests == []

    run(main())


def test_each_key_has_its_own_open_sessions_and_a_keys_own_limit_counts() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, limits(concurrent=1)) as (_, address):
                async with administration(data) as configuration:
                    one, _ = await new_key(configuration)
                    two, _ = await new_key(configuration, limits=SessionLimits(concurrent=2))

                async def is_known() -> bool:
                    async with dial(address, two) as socket:
                        return bool(json.loads(await socket.recv())["type"] == "session.created")

                await eventually(is_known)
                async with dial(address, one) as first, dial(address, two) as second, dial(address, two) as third:
                    for socket in (first, second, third):
                        await heard(socket, "session.created")
                    for key in (one, two):
                        async with dial(address, key) as refused:
                            error, code = await refusal_of(refused)
                        assert (error["code"], code) == ("too_many_sessions", 1013)
                async with dial(address, one) as again:
                    await heard(again, "session.created")

    run(main())


def test_a_session_ends_when_it_was_open_as_long_as_it_may_be() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, limits(max_duration=0.5)) as (_, address), dial(address) as socket:
                events = await heard(socket, "error")
                assert events[-1]["error"]["code"] == "session_expired"
                assert await close_of(socket) == (1001, "session hit the maximum duration")
            (session,) = await kept(data)
            assert session.report.close is not None
            assert session.report.close.by == "gateway"

    run(main())


def test_an_open_microphone_is_no_activity() -> None:
    async def main() -> None:
        async def murmur(socket: ClientConnection) -> None:
            while True:
                await say(socket, {"type": "input_audio_buffer.append", "audio": "AAAA" * 100})
                await asyncio.sleep(0.05)

        with data_directory() as data:
            async with governed(data, limits(idle=0.6)) as (_, address), dial(address) as socket:
                await heard(socket, "session.created")
                murmuring = asyncio.create_task(murmur(socket))
                error, code = await refusal_of(socket)
                murmuring.cancel()
            assert (error["code"], code) == ("session_idle_timeout", 4008)

    run(main())


def test_limits_that_an_administrator_sets_count_in_open_sessions() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules()) as (_, address), dial(address) as socket:
                await heard(socket, "session.created")
                async with administration(data) as configuration:
                    await configuration.change_gateway("default", realtime=limits(max_duration=0.1).document())
                assert (await heard(socket, "error"))[-1]["error"]["code"] == "session_expired"

    run(main())


def test_resuming_can_be_switched_off() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules(resume=False)) as (upstream, address), dial(address) as socket:
                await heard(socket, "session.created")
                upstream.drop_all()
                assert await close_of(socket) == (1011, "upstream_broken")
                assert len(upstream.sessions) == 1

    run(main())


def test_translating_for_beta_clients_can_be_switched_off() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with (
                governed(data, RealtimeRules(beta_bridge=False)) as (_, address),
                connect(address.ws + REALTIME, additional_headers={"OpenAI-Beta": "realtime=v1"}, proxy=None) as socket,
            ):
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("beta_api_shape_disabled", 4000)

    run(main())


def test_the_conversation_goes_on_with_the_next_provider_of_the_plan() -> None:
    """The local models take over from a provider that stays away, with the settings and what was said."""

    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules(fallbacks=("local/local",))) as (upstream, address):
                async with dial(address) as socket:
                    await turn(socket)
                    upstream.refuse_new = True
                    upstream.drop_all()
                    await say(socket, user("item_b", "What is the capital of France?"), ASK)
                    done = (await heard(socket, "response.done"))[-1]["response"]
                    assert done["status"] == "completed"
                    assert "Paris" in json.dumps(done["output"])
                async with dial(address) as socket:
                    assert (await heard(socket, "session.created"))[-1]["session"]["model"] == "local"
            first, _ = await kept(data)
            assert (first.report.losses, first.report.resumes) == (1, 1)
            assert first.provider == "local"

    run(main(), 120)


def test_a_session_is_recorded_only_where_the_gateway_says_so() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules(record=True)) as (_, address), dial(address) as socket:
                await turn(socket)
            (session,) = await kept(data)

            async def is_complete() -> bool:
                return StoredRecording.find(data, session.id).session.state == "complete"

            await eventually(is_complete)
            said = [frame for _, frame in StoredRecording.find(data, session.id).frames()]
            assert json.loads(said[0])["type"] == "session.created"
            assert json.dumps(ASK) in said
            async with governed(data, RealtimeRules()) as (_, address), dial(address) as socket:
                await turn(socket)
            *_, other = await kept(data)
            assert not is_recorded(data, other.id)

    run(main())
