"""The management API by hand: its envelopes, who may use it, and what never comes out of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from tests.contract.administration import administration, new_key
from tests.contract.raw_server import raw_server
from tests.contract.test_cloudflare_sdk import GATEWAY, OPENAI_ROWS, TOKEN, elements, rows, write_rows
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.test_gateway_keys import served
from tests.contract.test_universal import OK_JSON
from tests.contract.waiting import until
from tests.running import Address, data_directory, gateway, run
from trunkline.errors import SettingsError
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.server.gateway import Gateway
from trunkline.server.management import PREFIX, create_management_api
from trunkline.server.management.access import ManagementRoute
from trunkline.settings import Settings
from trunkline.store import Configuration, Database, Vault
from trunkline.store.custom_providers import CustomProviders
from trunkline.store.management import Management, ProviderConfig
from trunkline.store.routes import Routes

READER, EDITOR = frozenset({Scope.READ}), frozenset({Scope.READ, Scope.EDIT})
BEARER = {"authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def api(address: Address, headers: dict[str, str] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    base = f"{address.http}{PREFIX}/accounts/local/ai-gateway"
    async with httpx.AsyncClient(base_url=base, headers=BEARER if headers is None else headers) as client:
        yield client


async def answers(app: httpx.AsyncClient, url: str, wanted: bool) -> bool:
    return ((await app.post(url, json={})).status_code == 200) is wanted


def refusal(answer: httpx.Response) -> tuple[int, int]:
    """Return an error's status and number, once its envelope is looked at."""
    body = answer.json()
    assert (body["success"], body["result"], body["messages"]) == (False, None, [])
    assert all(problem["message"] for problem in body["errors"])
    return answer.status_code, body["errors"][0]["code"]


def test_every_answer_is_an_envelope() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            page = (await client.get("/gateways", params={"per_page": 5})).json()
            assert page.keys() == {"success", "errors", "messages", "result", "result_info"}
            assert page["result_info"] == {"page": 1, "per_page": 5, "count": 1, "total_count": 1, "total_pages": 1}
            assert (await client.get("/gateways", params={"page": 2})).json()["result"] == []

            unfinished = await client.post("/gateways", json={"id": "team", "cache_ttl": "planted-value"})
            assert refusal(unfinished) == (400, 7001)
            faults = {tuple(problem["path"]) for problem in unfinished.json()["errors"]}
            assert {("cache_ttl",), ("collect_logs",), ("rate_limiting_limit",)} <= faults
            assert "planted-value" not in unfinished.text
            misspelt = await client.post("/gateways", json={"id": "team", **GATEWAY, "autentication": True})
            assert refusal(misspelt) == (400, 7001)
            assert misspelt.json()["errors"][0]["path"] == ["autentication"]
            no_json = await client.post("/gateways", content=b"{", headers={"content-type": "application/json"})
            assert refusal(no_json) == (400, 7001)
            assert refusal(await client.get("/gateways", params={"per_page": 1000})) == (400, 7001)
            assert refusal(await client.get("/gateways/nowhere/logs")) == (404, 7003)
            assert refusal(await client.get("/nothing/of/that/kind")) == (404, 7003)
            assert refusal(await client.patch("/gateways")) == (405, 7003)
            assert refusal(await client.get(f"{address.http}{PREFIX}/accounts/other/ai-gateway/gateways")) == (
                404,
                7003,
            )
            no_provider = await client.post("/custom-providers", json={"name": "x"})
            assert refusal(no_provider) == (400, 1002)

    run(main())


def test_a_gateway_that_was_read_can_be_written_back_as_it_is() -> None:
    async def main() -> None:
        secret = {"url": "https://spans.example.com", "headers": {"x-api-key": "planted-secret"}}
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            made = await client.post("/gateways", json={"id": "team", **GATEWAY, "otel": [secret]})
            read = (await client.get("/gateways/team")).json()["result"]
            assert made.json()["result"] == read
            assert "planted-secret" not in json.dumps(read)
            written = await client.put("/gateways/team", json={**read, "zdr": True})
            assert written.status_code == 200, written.text
            after = written.json()["result"]
            assert {**after, "modified_at": None} == {**read, "zdr": True, "modified_at": None}
            moved = {**read, "otel": [{**read["otel"][0], "url": "https://evil.example.com"}]}
            refused = await client.put("/gateways/team", json=moved)  # a kept secret goes to no other place
            assert refusal(refused) == (400, 7001)

    run(main())


def test_switches_of_cloudflares_are_the_gateways_own() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            terms = {"log_management": 100, "log_management_strategy": "STOP_INSERTING"}
            made = (await client.post("/gateways", json={"id": "team", **GATEWAY, **terms})).json()["result"]
            assert (made["authentication"], made["log_payloads"]) == (True, True)
            quiet = {**GATEWAY, "collect_logs": False, "log_payloads": False}
            await client.put("/gateways/team", json=quiet)
            made = (await client.get("/gateways/team")).json()["result"]
            assert (made["collect_logs"], made["log_payloads"], made["log_management"]) == (False, False, 100)
            assert made["log_management_strategy"] == "STOP_INSERTING"
            # More than a database counts: it would take no row of that gateway any more.
            assert refusal(await client.put("/gateways/team", json={**GATEWAY, "log_management": 2**63})) == (400, 7001)
            for path in ("", "/team"):
                changed = await client.get(f"{address.http}/api/gateways")
                assert {one["id"] for one in changed.json()} == {"default", "team"}, path

    run(main())


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"x-auth-email": "me@example.com", "x-auth-key": TOKEN},
        {"x-auth-user-service-key": TOKEN},
        {"cf-aig-authorization": f"Bearer {TOKEN}"},
    ],
)
def test_a_key_is_read_as_cloudflares_programs_show_it(headers: dict[str, str]) -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address, headers) as client:
            assert (await client.get("/gateways")).status_code == 200

    run(main())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer someone-elses-token-000"},
        {"x-auth-email": "me@example.com", "x-auth-key": "wrong"},
    ],
)
def test_strangers_learn_nothing_of_an_authenticated_gateway(headers: dict[str, str]) -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address, headers) as client:
            for path in ("/gateways", "/gateways/nowhere", "/custom-providers", "/billing/credit-balance"):
                assert refusal(await client.get(path)) == (401, 10000)
            assert refusal(await client.post("/gateways", content=b"{")) == (401, 10000)
            other = f"{address.http}{PREFIX}/accounts/other/ai-gateway/gateways"
            assert refusal(await client.get(other)) == (401, 10000)

    run(main())


def test_a_gateways_key_is_good_for_its_gateway_and_its_scopes() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as configuration:
                await configuration.create_gateway(GatewayRules("team"))
                reader, _ = await new_key(configuration, "team", scopes=READER)
                editor, _ = await new_key(configuration, "team", scopes=EDITOR)
                runner, _ = await new_key(configuration, "team", scopes=[Scope.RUN])
            async with gateway(gateway_token=TOKEN, data_dir=data_dir) as address:
                async with api(address, {"authorization": f"Bearer {runner}"}) as client:
                    assert refusal(await client.get("/gateways")) == (403, 10000)
                async with api(address, {"authorization": f"Bearer {reader}"}) as client:
                    assert [one["id"] for one in (await client.get("/gateways")).json()["result"]] == ["team"]
                    assert (await client.get("/gateways/team/logs")).status_code == 200
                    assert refusal(await client.get("/gateways/default/logs")) == (403, 10000)
                    assert refusal(await client.delete("/gateways/team/logs")) == (403, 10000)
                async with api(address, {"authorization": f"Bearer {editor}"}) as client:
                    assert (await client.delete("/gateways/team/logs")).status_code == 200
                    assert (await client.put("/gateways/team", json=GATEWAY)).status_code == 200
                    opened = await client.put("/gateways/team", json={**GATEWAY, "authentication": False})
                    assert refusal(opened) == (403, 10000)
                    assert refusal(await client.delete("/gateways/default")) == (403, 10000)
                    assert refusal(await client.post("/gateways", json={"id": "mine", **GATEWAY})) == (403, 10000)
                    provider = {"name": "x", "slug": "x", "base_url": "https://api.example.com"}
                    assert refusal(await client.post("/custom-providers", json=provider)) == (403, 10000)
                    assert refusal(await client.delete("/billing/spending-limit")) == (403, 10000)

    run(main())


def test_a_cookie_opens_nothing_here_and_other_pages_are_refused() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address:
            own = {"origin": address.http, "x-trunkline-console": "1"}
            async with httpx.AsyncClient(base_url=address.http, headers=own) as page:
                session = await page.put("/api/session", json={"gateway_token": TOKEN})
                assert (session.status_code, len(page.cookies)) == (200, 1)
                answer = await page.get(f"{PREFIX}/accounts/local/ai-gateway/gateways")
                assert refusal(answer) == (401, 10000)
            async with api(address, {**BEARER, "origin": "https://evil.example.com"}) as client:
                assert refusal(await client.get("/gateways")) == (403, 10000)
        async with gateway() as address:
            async with api(address, {"host": "evil.example.com"}) as client:
                assert refusal(await client.get("/gateways")) == (403, 10000)
            async with api(address, {"origin": "https://evil.example.com"}) as client:
                assert refusal(await client.delete("/billing/spending-limit")) == (403, 10000)

    run(main())


def test_every_route_but_the_description_asks_who_comes() -> None:
    application = create_management_api(Gateway(Settings()))
    described = application.openapi()["paths"]
    assert len(described) >= 25
    for path, operations in described.items():
        assert path.startswith(f"{PREFIX}/accounts/{{account_id}}/ai-gateway/")
        for operation in operations.values():
            assert "account_id" in {one["name"] for one in operation["parameters"]}, path
    from trunkline.server import management

    for resource in management._RESOURCES:
        found = [route for route in resource.routes.routes if isinstance(route, APIRoute)]
        assert found
        assert all(type(route) is ManagementRoute for route in found)


def test_the_description_is_served_to_all() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, httpx.AsyncClient() as client:
            described = (await client.get(f"{address.http}{PREFIX}/openapi.json")).json()
            assert described["info"]["title"] == "Trunkline management API"

    run(main())


def test_another_process_knows_a_custom_provider_and_forgets_it() -> None:
    async def main() -> None:
        upstream = Recorder()
        with data_directory() as data_dir:
            terms: dict[str, Any] = {
                "data_dir": data_dir,
                "gateway_token": TOKEN,
                "custom_provider_hosts": ("127.0.0.1",),
            }
            async with (
                raw_server(upstream) as origin,
                gateway(**terms) as one,
                gateway(**terms) as other,
                api(one) as client,
                httpx.AsyncClient(headers=BEARER) as app,
            ):
                url = f"{other.http}{other.path('custom-mine/chat/completions')}"
                assert (await app.post(url, json={})).status_code == 400
                wanted = {"name": "Mine", "slug": "mine", "base_url": f"http://127.0.0.1:{origin.port}", "enable": True}
                made = (await client.post("/custom-providers", json=wanted)).json()["result"]
                await until(lambda: answers(app, url, True))
                universal = await app.post(
                    f"{other.http}/v1/local/default",
                    json=[{"provider": "custom-mine", "endpoint": "chat/completions", "headers": {}, "query": {}}],
                )
                assert universal.status_code == 200, universal.text
                await client.patch(f"/custom-providers/{made['id']}", json={"enable": False})
                await until(lambda: answers(app, url, False))

    run(main())


def test_an_exchange_is_in_the_log_with_its_bodies_once_it_is_answered() -> None:
    async def main() -> None:
        terms: dict[str, Any] = {"gateway_token": TOKEN, "custom_provider_hosts": ("127.0.0.1",)}
        async with raw_server(Recorder()) as origin, gateway(**terms) as address, api(address) as client:
            await client.post("/gateways", json={"id": "team", **GATEWAY})
            provider = {"name": "Mine", "slug": "mine", "base_url": f"http://127.0.0.1:{origin.port}", "enable": True}
            await client.post("/custom-providers", json=provider)
            url = f"{address.http}/v1/local/team/custom-mine/chat/completions"
            answer = await client.post(url, json={"model": "m-1", "messages": []})
            assert answer.status_code == 200
            rows = (await client.get("/gateways/team/logs", params={"model": "m-1"})).json()["result"]
            assert [row["id"] for row in rows] == [answer.headers["cf-aig-log-id"]]
            assert (rows[0]["provider"], rows[0]["success"]) == ("custom-mine", True)
            said = await client.get(f"/gateways/team/logs/{rows[0]['id']}/request")
            assert said.json() == {"model": "m-1", "messages": []}
            assert (await client.get("/gateways/default/logs")).json()["result"] == []

    run(main())


@pytest.mark.parametrize(
    "headers",
    [
        '{"host": "elsewhere"}',
        '{"Content-Length": "0"}',
        '{"transfer-encoding": "chunked"}',
        '{"authorization": "Bearer x"}',
        '{"x": "a\r\nb: c"}',
        '{"x": 1}',
        "[]",
        "{",
        '{"x": "********"}',
    ],
)
def test_headers_of_a_custom_provider_are_no_way_into_a_request(headers: str) -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            wanted = {"name": "Mine", "slug": "mine", "base_url": "https://api.example.com", "headers": headers}
            assert refusal(await client.post("/custom-providers", json=wanted)) == (400, 1002)

    run(main())


def test_the_settings_own_custom_provider_keeps_its_name() -> None:
    async def main() -> None:
        tables = {"custom-mine": {"base_url": "https://api.example.com"}}
        async with gateway(gateway_token=TOKEN, providers=tables) as address, api(address) as client:
            wanted = {"name": "Mine", "slug": "mine", "base_url": "https://other.example.com"}
            assert refusal(await client.post("/custom-providers", json=wanted)) == (409, 1003)

    run(main())


def test_nothing_secret_comes_back_or_is_kept_in_the_open() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with gateway(gateway_token=TOKEN, data_dir=data_dir) as address, api(address) as client:
                planted = {
                    "provider": "sk-planted-provider-0001",
                    "header": "planted-header-0002",
                    "otel": "planted-otel-0003",
                    "stripe": "planted-stripe-0004",
                }
                key = {"alias": "a", "default_config": True, "provider_slug": "openai", "secret": planted["provider"]}
                provider = {
                    "name": "x",
                    "slug": "x",
                    "base_url": "https://api.example.com",
                    "headers": json.dumps({"x-key": planted["header"]}),
                }
                secrets = {
                    "otel": [{"url": "https://o.example.com", "headers": {"k": planted["otel"]}}],
                    "stripe": {"authorization": planted["stripe"], "usage_events": []},
                }
                said = [
                    await client.post("/gateways/default/provider_configs", json=key),
                    await client.post("/custom-providers", json=provider),
                    await client.post("/gateways", json={"id": "team", **GATEWAY, **secrets}),
                    await client.put("/gateways/team", json={**GATEWAY, **secrets}),
                ]
                assert [answer.status_code for answer in said] == [200] * 4
                for path in ("/gateways", "/gateways/team", "/custom-providers", "/gateways/default/provider_configs"):
                    said.append(await client.get(path))
                rotten = {**provider, "slug": "y", "headers": json.dumps({"x key": planted["header"]})}
                said.append(await client.post("/custom-providers", json=rotten))
                assert refusal(said[-1]) == (400, 1002)
                answers = "".join(answer.text for answer in said)
                assert [value for value in planted.values() if value in answers] == []
            kept = b"".join(path.read_bytes() for path in data_dir.glob("*.db*"))
            assert kept
            assert [value for value in planted.values() if value.encode() in kept] == []

    run(main())


def test_every_change_is_in_the_audit_log_under_the_name_of_who_made_it() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await write_rows(data_dir, rows(2))
            async with administration(data_dir) as configuration:
                editor, key_id = await new_key(configuration, scopes=EDITOR)
            async with gateway(gateway_token=TOKEN, data_dir=data_dir) as address:
                async with api(address, {"authorization": f"Bearer {editor}"}) as client:
                    logged = (await client.get("/gateways/default/logs")).json()["result"]
                    route = await client.post(
                        "/gateways/default/routes", json={"name": "r", "elements": wire_elements()}
                    )
                    assert route.status_code == 200, route.text
                    dataset = {"name": "d", "enable": True, "filters": OPENAI_ROWS}
                    made = (await client.post("/gateways/default/datasets", json=dataset)).json()["result"]["id"]
                    evaluation = {"name": "e", "dataset_ids": [made], "evaluation_type_ids": ["cost"]}
                    assert (await client.post("/gateways/default/evaluations", json=evaluation)).status_code == 200
                    assert (await client.put("/gateways/default", json=GATEWAY)).status_code == 200
                    await client.patch(f"/gateways/default/logs/{logged[0]['id']}", json={"score": 5})
                    await client.delete("/gateways/default/logs")
                async with api(address) as client:
                    audit = (await client.get(f"{address.http}/api/audit")).json()
                    events = {row["action"]: row for row in audit["entries"]}
                    wanted = {"route.create", "dataset.create", "evaluation.create", "gateway.fields", "log.edit"}
                    assert {*wanted, "log.delete"} <= events.keys()
                    assert {events[action]["actor_id"] for action in wanted} == {key_id}
                    assert events["log.delete"]["details"]["count"] == 2

    run(main())


def wire_elements() -> list[dict[str, Any]]:
    """The elements of a route as they are sent, not as the client's programs write them."""
    found: list[dict[str, Any]] = json.loads(
        json.dumps(elements()).replace("element_id", "elementId").replace("limit_type", "limitType")
    )
    return found


def test_kept_bodies_are_never_a_page_for_a_browser() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            from msgspec.structs import replace

            hostile = replace(
                rows(1)[0], response=b"<script>alert(1)</script>", response_content_type="text/html; charset=utf-8"
            )
            without = replace(rows(3)[0], request=None, response=None)
            await write_rows(data_dir, [hostile, without])
            async with gateway(gateway_token=TOKEN, data_dir=data_dir) as address, api(address) as client:
                answer = await client.get(f"/gateways/default/logs/{hostile.id}/response")
                assert answer.content == hostile.response
                assert answer.headers["content-type"] == "text/plain; charset=utf-8"
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["content-security-policy"].startswith("sandbox")
                missing = await client.get(f"/gateways/default/logs/{without.id}/response")
                assert refusal(missing) == (404, 7003)

    run(main())


def test_a_stored_key_is_used_as_often_as_its_rate_limit_says() -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with (
            raw_server(upstream) as origin,
            served(**openai_at(origin)) as (address, _, _),
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            wanted = {
                "alias": "slow",
                "default_config": True,
                "provider_slug": "openai",
                "secret": "sk-slow-0123456789",
                "rate_limit": 2,
                "rate_limit_period": 3600,
            }
            path = f"{PREFIX}/accounts/local/ai-gateway/gateways/default/provider_configs"
            made = await client.post(path, json=wanted)
            assert made.status_code == 200, made.text
            url = "/v1/local/default/openai/chat/completions"
            answers = [await client.post(url, json={"model": "gpt-4o"}) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
            assert "stored-key.openai.slow" in answers[-1].text
            own = await client.post(url, json={"model": "gpt-4o"}, headers={"authorization": "Bearer sk-mine"})
            assert own.status_code == 200

    run(main())


def test_a_database_that_is_away_is_told_in_an_envelope() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with gateway(gateway_token=TOKEN, data_dir=data_dir) as address, api(address) as client:
                (path,) = data_dir.glob("*.db")
                writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                try:
                    # Beside the event loop: the gateway may be in a transaction, which ends on this very loop.
                    await asyncio.to_thread(writer.execute, "BEGIN IMMEDIATE")
                    answer = await client.delete("/billing/spending-limit", timeout=50)
                    assert refusal(answer) == (503, 7000)
                finally:
                    writer.close()
                assert (await client.delete("/billing/spending-limit")).status_code == 200

    run(main())


def test_a_dynamic_route_can_be_called_as_soon_as_it_is_made_and_no_more_when_it_is_gone() -> None:
    async def main() -> None:
        elements = [
            {"id": "in", "type": "start", "outputs": {"next": {"elementId": "out"}}},
            {"id": "out", "type": "end", "outputs": {}},
        ]
        async with (
            gateway(gateway_token=TOKEN) as address,
            api(address) as client,
            httpx.AsyncClient(headers={"cf-aig-authorization": f"Bearer {TOKEN}"}) as app,
        ):
            url = f"{address.http}/v1/local/default/compat/chat/completions"
            wanted = {"model": "dynamic/support", "messages": []}
            assert (await app.post(url, json=wanted)).status_code == 404
            made = await client.post("/gateways/default/routes", json={"name": "support", "elements": elements})
            answer = await app.post(url, json=wanted)
            assert answer.status_code == 502
            assert "No model is on the way" in answer.text
            await client.delete(f"/gateways/default/routes/{made.json()['result']['id']}")
            assert (await app.post(url, json=wanted)).status_code == 404

    run(main())


async def stores(url: str, data_dir: Path) -> tuple[Database, Configuration, Vault]:
    database = await Database.open(data_dir, url)
    vault = Vault.at(data_dir)
    return database, Configuration(database, vault, GatewayRules("default")), vault


def test_what_the_api_keeps_is_kept_on_both_engines(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        database, configuration, vault = await stores(database_url, tmp_path)
        try:
            management, routes = Management(database, vault), Routes(database)
            providers = CustomProviders(database, vault, ())
            await configuration.ensure_gateway("default")
            with pytest.raises(SettingsError, match="no gateway"):
                await configuration.ensure_gateway("nowhere")
            await management.set_fields("default", {"zdr": True, "otel": [{"url": "u", "headers": {}}]})
            assert (await management.gateways())["default"].fields == {
                "zdr": True,
                "otel": [{"url": "u", "headers": {}}],
            }

            for alias in ("a", "b"):
                await configuration.store_key("default", "openai", alias, f"sk-{alias}", alias)
                await management.set_terms(ProviderConfig("default", "openai", alias, "", 0, default_config=True))
            configs = await management.provider_configs("default")
            assert [(one.alias, one.default_config) for one in configs] == [("a", False), ("b", True)]
            _, registry = await configuration.load()
            assert registry.stored_keys("default", "openai") == {"a": "sk-a", "b": "sk-b", "default": "sk-b"}
            await configuration.forget_key("default", "openai", "b")
            _, registry = await configuration.load()
            assert registry.stored_keys("default", "openai") == {"a": "sk-a"}

            terms: dict[str, Any] = {"name": "Mine", "base_url": "https://m.example.com", "fields": {"beta": True}}
            made = await providers.create("mine", **terms, enable=True, headers={"k": "v"})
            with pytest.raises(SettingsError, match="already"):
                await providers.create("mine", **terms, enable=True, headers={})
            _, registry = await configuration.load()
            assert registry.providers["custom-mine"]["headers"] == {"k": "v"}
            changed = await providers.change(made.id, enable=False, headers={})
            assert changed is not None
            assert (changed.enable, changed.headers, changed.fields) == (False, {}, {"beta": True})
            _, registry = await configuration.load()
            assert registry.providers == {}
            assert await providers.delete("nothing") is None

            route = await routes.create("default", "support", [{"id": "1"}])
            with pytest.raises(SettingsError, match="already"):
                await routes.create("default", "support", [])
            number = await configuration.number()
            assert await routes.deploy("default", route.id, "nothing") is None
            assert await routes.rename("default", "nothing", "x") is None
            assert await configuration.number() == number  # nothing was changed
            newer = await routes.add_version("default", route.id, [{"id": "2"}])
            assert newer is not None
            assert newer.deployed.elements == [{"id": "1"}]
            deployed = await routes.deploy("default", route.id, newer.versions[0].id)
            assert deployed is not None
            assert (deployed.deployed.elements, len(deployed.deployments)) == ([{"id": "2"}], 2)

            dataset = await management.create_dataset("default", "d", True, [], most=1)
            with pytest.raises(SettingsError, match="at most 1"):
                await management.create_dataset("default", "e", True, [], most=1)
            assert await management.change_dataset("default", "nothing", "x", True, []) is None
            assert await management.dataset("other", dataset.id) is None
            await management.set_account_field("limit", {"amount": 1})
            await management.set_account_field("limit", {"amount": 2})
            assert await management.account_field("limit") == {"amount": 2}

            await configuration.create_gateway(GatewayRules("gone"))
            await routes.create("gone", "support", [])
            await configuration.delete_gateway("gone")
            assert await routes.all("gone") == []
        finally:
            await database.close()

    run(main())
