"""Dynamic routes in front of realtime sessions: who is dialled, who stands behind, and who may ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.clients.ga_upstream import GaUpstream, ga_upstream
from tests.contract.administration import administration, new_key
from tests.contract.test_gateway_keys import eventually
from tests.contract.test_resumption import ASK, heard, say, user
from tests.contract.test_voiceplane import refusal_of
from tests.running import Address, data_directory, gateway, run
from trunkline.store import Database
from trunkline.store.routes import Routes

FIRST_KEY, SECOND_KEY = "sk-first-0123456789", "sk-second-0123456789"
Elements = list[dict[str, Any]]


def element(id: str, kind: str, outputs: Mapping[str, str], **properties: Any) -> dict[str, Any]:
    there = {name: {"elementId": to} for name, to in outputs.items()}
    return {"id": id, "type": kind, "outputs": there, **({"properties": properties} if properties else {})}


START_AT_FIRST = element("in", "start", {"next": "first"})
FIRST = element("first", "model", {"success": "out", "fallback": "second"}, provider="openai", model="gpt-realtime")
SECOND = element("second", "model", {"success": "out"}, provider="grok", model="gpt-realtime-mini")
END = element("out", "end", {})
FALLING_BACK = [START_AT_FIRST, FIRST, SECOND, END]


@dataclass
class Stage:
    """A gateway with two providers and one dynamic route, ``voice``."""

    address: Address
    data: Path
    first: GaUpstream
    second: GaUpstream

    def dial(self, path: str = "compat/realtime?model=dynamic/voice", **headers: str) -> connect:
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        return connect(self.address.ws + self.address.path(path), additional_headers=shown, proxy=None)


@asynccontextmanager
async def stage(elements: Elements, *, second_key: str = SECOND_KEY, **rules: Any) -> AsyncIterator[Stage]:
    with data_directory() as data:
        async with administration(data) as configuration:
            await configuration.change_gateway("default", authenticated=False, **rules)
        database = await Database.open(data)
        try:
            await Routes(database).create("default", "voice", elements)
        finally:
            await database.close()
        async with ga_upstream(key=FIRST_KEY, pace=0) as first, ga_upstream(key=SECOND_KEY, pace=0) as second:
            providers = {
                "openai": {"base_url": first.http, "api_key": FIRST_KEY},
                "grok": {"base_url": second.http.removesuffix("/v1"), "api_key": second_key},
            }
            async with gateway(providers=providers, data_dir=data) as address:
                yield Stage(address, data, first, second)
            assert first.leaks + second.leaks == []


async def model_of(connection: connect) -> str:
    """Open a session and return the model that it has."""
    async with connection as socket:
        session = (await heard(socket, "session.created"))[-1]["session"]
        return str(session["model"])


def test_a_route_chooses_the_provider_and_the_model_on_any_path() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            for path in ("compat/realtime", "compat", "openai/realtime", "anthropic/v1/realtime"):
                assert await model_of(there.dial(f"{path}?model=dynamic/voice")) == "gpt-realtime"
            for seen in there.first.sessions:
                assert seen.query == {"model": "gpt-realtime"}
                assert seen.credentials == [FIRST_KEY]
            assert there.second.sessions == []

    run(main())


def test_a_condition_reads_the_metadata_of_the_handshake() -> None:
    async def main() -> None:
        plan = {"metadata.plan": {"$eq": "paid"}, "kind": "realtime"}
        elements = [
            element("in", "start", {"next": "paid"}),
            element("paid", "conditional", {"true": "first", "false": "second"}, conditions=plan),
            *(FIRST, SECOND, END),
        ]
        async with stage(elements) as there:
            assert await model_of(there.dial(cf_aig_metadata='{"plan": "paid"}')) == "gpt-realtime"
            assert await model_of(there.dial(cf_aig_metadata='{"plan": "free"}')) == "gpt-realtime-mini"
            assert await model_of(there.dial()) == "gpt-realtime-mini"

    run(main())


def test_a_provider_that_cannot_be_dialled_is_followed_by_the_fallback() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            there.first.refuse_new = True
            async with there.dial(user_agent="app/1", openai_organization="org-1") as socket:
                session = (await heard(socket, "session.created"))[-1]["session"]
                assert session["model"] == "gpt-realtime-mini"
                await say(socket, user("item_a", "Hello."), ASK)
                assert (await heard(socket, "response.done"))[-1]["response"]["status"] == "completed"
            (seen,) = there.second.sessions
            assert seen.credentials == [SECOND_KEY]
            # What a client says to one provider is not for another.
            assert "openai-organization" not in dict(seen.headers)
            await logged(there, ("grok", "gpt-realtime-mini"))

    run(main())


async def logged(there: Stage, expected: tuple[str, str]) -> None:
    """Wait for the log row of the session, which names the route with its version."""

    async def is_there() -> bool:
        async with httpx.AsyncClient(base_url=there.address.http) as client:
            rows = (await client.get("/api/logs")).json()["logs"]
        return [((row["provider"], row["model"]), row["route"][:6]) for row in rows] == [(expected, "voice@")]

    await eventually(is_there)


def test_a_provider_lost_in_the_middle_is_followed_by_the_fallback_too() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there, there.dial() as socket:
            await heard(socket, "session.created")
            there.first.refuse_new = True
            there.first.drop_all()
            await say(socket, user("item_a", "Hello."), ASK)
            assert (await heard(socket, "response.done"))[-1]["response"]["status"] == "completed"
            assert len(there.second.sessions) == 1

    run(main())


def test_a_provider_without_a_key_or_without_realtime_is_passed_over() -> None:
    async def main() -> None:
        no_voice = element(
            "text", "model", {"success": "out", "fallback": "first"}, provider="deepgram", model="nova-3"
        )
        no_key = element(
            "keyless", "model", {"success": "out", "fallback": "text"}, provider="grok", model="grok-voice"
        )
        elements = [
            element("in", "start", {"next": "keyless"}),
            no_key,
            no_voice,
            {**FIRST, "outputs": no_outputs()},
            END,
        ]
        async with stage(elements, second_key="") as there:
            assert await model_of(there.dial()) == "gpt-realtime"

    run(main())


def no_outputs() -> dict[str, Any]:
    return {"success": {"elementId": "out"}}


def test_a_quota_of_sessions_leads_to_the_fallback_and_else_ends_in_429s_words() -> None:
    async def main() -> None:
        quota = {"key": "metadata.user", "limit": 1, "limitType": "count", "window": 86400}
        elements = [
            element("in", "start", {"next": "once"}),
            element("once", "rate", {"success": "first", "fallback": "twice"}, **quota),
            element("twice", "rate", {"success": "second"}, **quota),
            *({**FIRST, "outputs": no_outputs()}, SECOND, END),
        ]
        async with stage(elements) as there:
            ada, bob = '{"user": "ada"}', '{"user": "bob"}'
            assert await model_of(there.dial(cf_aig_metadata=ada)) == "gpt-realtime"
            assert await model_of(there.dial(cf_aig_metadata=ada)) == "gpt-realtime-mini"
            assert await model_of(there.dial(cf_aig_metadata=bob)) == "gpt-realtime"
            async with there.dial(cf_aig_metadata=ada) as socket:
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("rate_limit_exceeded", 1013)

    run(main())


def test_a_quota_of_money_is_charged_with_what_a_session_cost() -> None:
    async def main() -> None:
        quota = {"key": "kind", "limit": 0.000001, "limitType": "cost", "window": 86400}
        elements = [
            element("in", "start", {"next": "money"}),
            element("money", "rate", {"success": "first", "fallback": "second"}, **quota),
            *({**FIRST, "outputs": no_outputs()}, SECOND, END),
        ]
        async with stage(elements) as there:
            async with there.dial() as socket:
                await say(socket, user("item_a", "Hello."), ASK)
                await heard(socket, "response.done")
            assert len(there.first.sessions) == 1
            assert await model_of(there.dial()) == "gpt-realtime-mini"

    run(main())


def test_when_every_provider_fails_the_client_is_told_what_became_of_each() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            there.first.refuse_new = there.second.refuse_new = True
            async with there.dial() as socket:
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("route_ended", 1013)
            assert "first (openai/gpt-realtime)" in error["message"]
            assert "second (grok/gpt-realtime-mini)" in error["message"]
            assert FIRST_KEY not in error["message"]

    run(main())


def test_a_route_that_is_not_there_is_refused_by_its_name() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            async with there.dial("compat/realtime?model=dynamic/nobody") as socket:
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("unknown_route", 4004)
            assert "'nobody'" in error["message"]

    run(main())


def test_the_path_compat_takes_a_model_with_its_provider() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            assert await model_of(there.dial("compat/realtime?model=grok/gpt-realtime-mini")) == "gpt-realtime-mini"
            assert there.second.sessions[-1].query == {"model": "gpt-realtime-mini"}
            async with there.dial("compat/realtime?model=gpt-realtime") as socket:
                error, code = await refusal_of(socket)
            assert code == 4000
            assert "?model=openai/gpt-realtime" in error["message"]
            async with there.dial("compat/realtime?model=nobody/x") as socket:
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("unknown_provider", 4000)

    run(main())


def test_who_calls_is_asked_for_and_a_browsers_one_slot_is_enough() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            async with administration(there.data) as configuration:
                await configuration.change_gateway("default", authenticated=True)
                key, _ = await new_key(configuration)
                narrow, _ = await new_key(configuration, models=("gpt-realtime-mini",))
                other, _ = await new_key(configuration, models=("gpt-4o*",))
                named, _ = await new_key(configuration, models=("dynamic/voice",))
            await seen(there)
            async with there.dial() as socket:
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("invalid_api_key", 3000)
            path = there.address.path("compat/realtime?model=dynamic/voice")
            protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{key}")]
            assert (
                await model_of(connect(there.address.ws + path, subprotocols=protocols, proxy=None)) == "gpt-realtime"
            )
            # A key for some models gets those, unless it is for the route as such.
            assert await model_of(there.dial(authorization=f"Bearer {narrow}")) == "gpt-realtime-mini"
            assert await model_of(there.dial(authorization=f"Bearer {named}")) == "gpt-realtime"
            async with there.dial(authorization=f"Bearer {other}") as socket:
                error, _ = await refusal_of(socket)
            assert error["code"] == "not_permitted"

    run(main())


async def seen(there: Stage) -> None:
    """Wait until the gateway knows what was changed: whoever shows nothing is refused."""
    while True:
        async with there.dial("local/realtime?model=dynamic/nobody") as socket:
            if json.loads(await socket.recv())["error"]["code"] == "invalid_api_key":
                return


def test_a_client_secret_for_a_route_opens_it() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there, httpx.AsyncClient() as app:
            url = f"{there.address.http}{there.address.path('openai/realtime/client_secrets')}"
            wanted = {"session": {"type": "realtime", "model": "dynamic/voice"}}
            secret = (await app.post(url, json=wanted)).json()["value"]
            there.first.refuse_new = True
            opened = there.dial("openai/realtime", authorization=f"Bearer {secret}")
            assert await model_of(opened) == "gpt-realtime-mini"

    run(main())
