"""The universal endpoint on both transports, before callers whose keys are good for something and not everything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.contract.administration import new_key
from tests.contract.raw_server import raw_server
from tests.contract.test_client_secrets import mint, session
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.test_gateway_keys import eventually, served
from tests.contract.test_universal import OK_JSON, UNIVERSAL, at, step
from tests.contract.test_universal_socket import asked, create, heard
from tests.contract.test_voiceplane import close_of, dial
from tests.running import Address, gateway, run
from trunkline.policy.registry import GatewayRules

Ask = Callable[..., Awaitable[tuple[int, Any]]]


@asynccontextmanager
async def over_http(address: Address, key: str) -> AsyncIterator[Ask]:
    async with httpx.AsyncClient() as client:

        async def ask(provider: str = "openai", **more: Any) -> tuple[int, Any]:
            headers = {"cf-aig-authorization": f"Bearer {key}"}
            answer = await client.post(address.http + UNIVERSAL, json=[step(provider, **more)], headers=headers)
            return answer.status_code, answer.json() if "json" in answer.headers["content-type"] else answer.text

        yield ask


@asynccontextmanager
async def over_websocket(address: Address, key: str) -> AsyncIterator[Ask]:
    async with dial(address, UNIVERSAL, protocols=[f"cf-aig-authorization.{key}"], x_unrelated="1") as socket:

        async def ask(provider: str = "openai", **more: Any) -> tuple[int, Any]:
            said = await asked(socket, create("my-1", provider, **more))
            status: int = said["metadata"]["status"]
            if "response" in said:
                return status, said["response"]
            while said["type"] != "universal.done":
                said = await heard(socket)
            return status, None

        yield ask


both = pytest.mark.parametrize("transport", [over_http, over_websocket])


@both
def test_a_key_for_some_models_opens_those_and_no_step_with_another(transport: Any) -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with (
            raw_server(upstream) as origin,
            served(**openai_at(origin, api_key="sk-stored")) as (address, admin, _),
        ):
            key, _ = await new_key(admin, models=("gpt-4o*",))
            async with transport(address, key) as ask:

                async def is_known() -> bool:
                    return (await ask(query={"model": "o3"}))[0] == 403

                await eventually(is_known)
                del upstream.requests[:]  # before the key was known, an open gateway served whoever came
                assert await ask(query={"model": "gpt-4o-mini"}) == (200, {"ok": True})
                status, refusal = await ask(query={"model": "o3"})
                none, _ = await ask(query={})
            assert (status, none) == (403, 403)
            assert "'o3'" in refusal["error"][0]["message"]
        assert [json.loads(body)["model"] for _, _, body in upstream.requests] == ["gpt-4o-mini"]

    run(main())


def test_a_step_that_is_not_permitted_ends_the_request() -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            secret = (await mint(client, address, session("gpt-4o")))["value"]
            steps = [step("openai", query={"model": "o3"}), step("openai", query={"model": "gpt-4o"})]
            headers = {"authorization": f"Bearer {secret}"}
            answer = await client.post(address.http + UNIVERSAL, json=steps, headers=headers)
            turned = await client.post(address.http + UNIVERSAL, json=steps[::-1], headers=headers)
        assert (answer.status_code, answer.headers["cf-aig-step"]) == (403, "0")
        assert (turned.status_code, turned.headers["cf-aig-step"]) == (200, "0")
        assert len(upstream.requests) == 1

    run(main())


@both
def test_a_client_secret_is_good_for_its_provider_and_as_often_as_it_says(transport: Any) -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with (
            raw_server(upstream) as origin,
            gateway(**at(openai=f"http://127.0.0.1:{origin.port}/v1", groq=origin)) as address,
            httpx.AsyncClient() as client,
        ):
            asked_for = {**session("gpt-4o"), "trunkline": {"uses": 2}}
            secret = (await mint(client, address, asked_for, authorization="Bearer sk-brought"))["value"]
            async with transport(address, secret) as ask:
                other, _ = await ask("groq", query={"model": "gpt-4o"})
                statuses = [(await ask(query={"model": "gpt-4o"}))[0] for _ in range(3)]
        assert other == 403
        assert statuses == [200, 200, 401]
        assert [headers["authorization"] for _, headers, _ in upstream.requests] == [["Bearer sk-brought"]] * 2

    run(main())


@both
@pytest.mark.parametrize("stream", [False, True])
def test_a_spend_cap_counts_what_steps_cost(transport: Any, stream: bool) -> None:
    document = json.dumps({"model": "gpt-4o", "usage": {"prompt_tokens": 100_000, "completion_tokens": 0}}).encode()
    kind, body = b"application/json", document
    if stream:
        kind, body = b"text/event-stream", b"data: " + document + b"\n\ndata: [DONE]\n\n"
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(body), body)

    async def main() -> None:
        async with (
            raw_server(Recorder(answer)) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            # One of these answers costs 25 cents.
            asked_for = {**session("gpt-4o"), "trunkline": {"spend_cap": 0.3}}
            secret = (await mint(client, address, asked_for))["value"]
            query = {"model": "gpt-4o", "stream": stream, "stream_options": {"include_usage": True}}
            async with transport(address, secret) as ask:
                statuses = [(await ask(query=query))[0] for _ in range(3)]
        assert statuses == [200, 200, 401]

    run(main())


@both
def test_client_secrets_are_not_made_by_a_step(transport: Any) -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            transport(address, "anything") as ask,
        ):
            status, refusal = await ask(endpoint="/v1/realtime/client_secrets", query={})
        assert status == 400
        assert "/v1/local/default/openai/v1/realtime/client_secrets" in refusal["message"]
        assert upstream.requests == []

    run(main())


def test_a_gateways_own_list_of_origins_counts_at_its_universal_endpoint() -> None:
    async def main() -> None:
        asking = {"origin": "https://app.example", "access-control-request-method": "POST"}
        async with served() as (address, admin, _), httpx.AsyncClient() as client:
            await admin.create_gateway(GatewayRules("pages", allowed_origins=("https://app.example",)))
            url = f"{address.http}/v1/local/pages"

            async def is_open() -> bool:
                return (await client.options(url, headers=asking)).status_code == 204

            await eventually(is_open)
            assert (await client.options(address.http + UNIVERSAL, headers=asking)).status_code == 403
            async with dial(address, "/v1/local/pages", origin="https://app.example") as socket:
                said = await asked(socket, create("my-1"))
            async with dial(address, UNIVERSAL, origin="https://app.example") as socket:
                code, _ = await close_of(socket)
        assert said["metadata"]["status"] == 401  # the page may ask, and has no key
        assert code == 4003

    run(main())
