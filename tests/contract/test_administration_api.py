"""The set-up over HTTP: the scopes 'read' and 'edit' of gateway keys, and what nobody else may do."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.contract.administration import administration, new_key
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.policy.sessions import NO_LIMITS

JSON = {"content-type": "application/json"}
TOKEN = "gateway-token-of-many-characters"
READER, EDITOR = frozenset({Scope.READ}), frozenset({Scope.READ, Scope.EDIT, Scope.RUN})


@asynccontextmanager
async def api(address: Address, key: str = "", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    shown = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=f"{address.http}/api", headers={**shown, **headers}) as client:
        yield client


def test_a_gateway_is_set_up_and_used_by_http_alone() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(gateway_token=TOKEN, **openai_at(origin)) as address,
            api(address, TOKEN) as client,
        ):
            made = await client.post("/gateways", json={"id": "team", "stored_key_wins": True})
            assert (made.status_code, made.json()["authenticated"]) == (201, True)
            stored = await client.put("/gateways/team/stored-keys/openai/default", json={"key": "sk-stored-0123456789"})
            assert stored.json()["hint"] == "6789"
            key = (await client.post("/gateways/team/keys", json={"name": "app", "models": ["gpt-4o*"]})).json()
            assert key["state"] == "active"

            url = f"{address.http}/v1/local/team/openai/chat/completions"
            bearer = {"authorization": f"Bearer {key['value']}", "content-type": "application/json"}
            async with httpx.AsyncClient() as app:
                answer = await app.post(url, content=b'{"model": "gpt-4o"}', headers=bearer)
                assert answer.status_code == 200
                assert upstream.requests[-1][1]["authorization"] == ["Bearer sk-stored-0123456789"]
                revoked = await client.delete(f"/gateways/team/keys/{key['id']}")
                assert revoked.json()["state"] == "revoked"
                refused = await app.post(url, content=b'{"model": "gpt-4o"}', headers=bearer)
                assert refused.status_code == 401

            everything = "".join(
                [(await client.get(f"/gateways{path}")).text for path in ("", "/team/keys", "/team/stored-keys")]
            )
            assert key["value"] not in everything
            assert "sk-stored" not in everything
            assert (await client.patch("/gateways/team", json={"authenticated": False})).json()[
                "stored_key_wins"
            ] is True
            assert (await client.delete("/gateways/team/stored-keys/openai/default")).status_code == 204
            assert (await client.delete("/gateways/team")).status_code == 204
            assert [one["id"] for one in (await client.get("/gateways")).json()] == ["default"]

    run(main())


@pytest.mark.parametrize(
    ("method", "path", "body", "reader", "editor"),
    [
        ("GET", "", None, 200, 200),
        ("GET", "/team/keys", None, 200, 200),
        ("GET", "/team/stored-keys", None, 200, 200),
        ("POST", "/team/keys", {}, 403, 201),
        ("PATCH", "/team", {"authenticated": True}, 403, 200),
        ("PATCH", "/team", {"authenticated": False}, 403, 403),
        ("PUT", "/team/stored-keys/openai/blue", {"key": "sk-other"}, 403, 200),
        ("DELETE", "/team/stored-keys/openai/default", None, 403, 204),
        ("PATCH", "/team", {"realtime": {"record": True}}, 403, 200),
        ("DELETE", "/team", None, 403, 204),
        ("POST", "", {"id": "another"}, 403, 403),
        ("GET", "/default/keys", None, 403, 403),
        ("POST", "/default/keys", {}, 403, 403),
    ],
)
def test_a_key_may_do_what_its_scopes_say_in_its_own_gateway(
    method: str, path: str, body: object, reader: int, editor: int
) -> None:
    async def main() -> None:
        for scopes, expected in ((READER, reader), (EDITOR, editor), (frozenset({Scope.RUN}), 403), (None, 401)):
            with data_directory() as data_dir:
                async with administration(data_dir) as admin:
                    await admin.create_gateway(GatewayRules("team"))
                    await admin.store_key("team", "openai", "default", "sk-stored", "")
                    key = "" if scopes is None else (await new_key(admin, "team", scopes=scopes))[0]
                    async with (
                        gateway(data_dir=data_dir, gateway_token=TOKEN) as address,
                        api(address, key) as client,
                    ):
                        answer = await client.request(method, f"/gateways{path}", json=body)
                        assert answer.status_code == expected, answer.text

    run(main())


def test_a_key_sees_its_own_gateway_alone() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin:
                await admin.create_gateway(GatewayRules("team"))
                key, _ = await new_key(admin, "team", scopes=READER)
                async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address, api(address, key) as client:
                    assert [one["id"] for one in (await client.get("/gateways")).json()] == ["team"]

    run(main())


def test_a_key_makes_no_key_that_may_do_more_or_lives_longer() -> None:
    async def main() -> None:
        end = time.time() + 3600
        with data_directory() as data_dir:
            async with administration(data_dir) as admin:
                terms = {"scopes": frozenset({Scope.EDIT}), "models": ("gpt-4o",), "expires_at": end}
                key, _ = await new_key(admin, **terms)
                async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address, api(address, key) as client:
                    fine = {"scopes": ["edit"], "models": ["gpt-4o"], "expires_at": end - 1}
                    for change, status in (
                        ({}, 201),
                        ({"scopes": ["run"]}, 403),
                        ({"models": []}, 403),
                        ({"models": ["gpt-4o", "o3"]}, 403),
                        ({"expires_at": None}, 403),
                        ({"expires_at": end + 1}, 403),
                        ({"expires_at": float("nan")}, 422),
                    ):
                        body = json.dumps({**fine, **change})
                        answer = await client.post("/gateways/default/keys", content=body, headers=JSON)
                        assert answer.status_code == status, change

    run(main())


def test_an_open_gateway_is_set_up_by_whoever_is_at_its_machine_and_by_no_page_of_a_stranger() -> None:
    async def main() -> None:
        async with gateway() as address:
            async with api(address) as client:
                assert (await client.get("/gateways")).status_code == 200
            async with api(address, origin="https://evil.example") as client:
                assert (await client.get("/gateways")).status_code == 403
                assert (await client.post("/gateways/default/keys", json={})).status_code == 403
            async with api(address, host="rebound.example") as client:
                assert (await client.get("/gateways")).status_code == 403

    run(main())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "", {"id": "no good"}),
        ("POST", "", {"id": "default"}),
        ("PATCH", "/default", {"allowed_origins": ["example.com"]}),
        ("PATCH", "/default", {"unknown": 1}),
        ("PATCH", "/nowhere", {"authenticated": True}),
        ("POST", "/default/keys", {"scopes": ["everything"]}),
        ("PUT", "/default/stored-keys/nobody/default", {"key": "sk-x"}),
        ("PUT", "/default/stored-keys/openai/a%20b", {"key": "sk-x"}),
        ("PUT", "/default/stored-keys/openai/default", {"key": "two words"}),
        ("DELETE", "/default/stored-keys/openai/default", None),
        ("DELETE", "/default/keys/key_nothing", None),
        ("DELETE", "/default", None),
        ("PATCH", "/default", {"realtime": {"limits": {"sessions": "ten"}}}),
        ("PATCH", "/default", {"realtime": {"limits": {"session": "1/day"}}}),
        ("PATCH", "/default", {"realtime": {"limits": {"idle": -1}}}),
        ("PATCH", "/default", {"realtime": {"fallbacks": ["anthropic/claude"]}}),
        ("POST", "", {"id": "team", "realtime": {"fallbacks": ["nobody/model"]}}),
        ("POST", "", {"id": "team", "realtime": {"limits": {"budget": "5/year"}}}),
        ("POST", "/default/keys", {"limits": {"tokens": "many"}}),
        ("PATCH", "/default/keys/key_nothing", {"limits": {}}),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(method: str, path: str, body: object) -> None:
    async def main() -> None:
        async with gateway() as address, api(address) as client:
            answer = await client.request(method, f"/gateways{path}", json=body)
            assert answer.status_code in (400, 422), answer.text
            assert "two words" not in answer.text

    run(main())


def test_limits_and_switches_of_realtime_are_set_by_http_and_what_is_not_named_stays() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address, TOKEN) as client:
            limits = {"concurrent": 2, "idle": 60, "sessions": "10 / minute"}
            made = await client.post("/gateways", json={"id": "team", "realtime": {"limits": limits, "record": True}})
            assert made.status_code == 201, made.text
            nothing = dict.fromkeys(("max_duration", "minutes", "tokens", "budget"))
            shown = {**nothing, "concurrent": 2, "idle": 60.0, "sessions": "10/minute"}
            rules = {"beta_bridge": True, "resume": True, "fallbacks": [], "record": True}
            assert made.json()["realtime"] == {**rules, "limits": shown}
            change = {"fallbacks": ["local/local"], "limits": {"idle": None, "budget": "5/day"}}
            changed = await client.patch("/gateways/team", json={"realtime": change})
            shown |= {"idle": None, "budget": "5/day"}
            assert changed.json()["realtime"] == {**rules, "fallbacks": ["local/local"], "limits": shown}
            untouched = await client.patch("/gateways/team", json={"stored_key_wins": True})
            assert untouched.json()["realtime"] == changed.json()["realtime"]

            key = (await client.post("/gateways/team/keys", json={"limits": {"tokens": "100/h", "idle": 5}})).json()
            none = dict.fromkeys(shown)
            assert key["limits"] == {**none, "tokens": "100/hour", "idle": 5.0}
            path = f"/gateways/team/keys/{key['id']}"
            limited = await client.patch(path, json={"limits": {"idle": None, "concurrent": 1}})
            assert limited.json()["limits"] == {**none, "tokens": "100/hour", "concurrent": 1}
            listed = (await client.get("/gateways/team/keys")).json()
            assert [one["limits"] for one in listed] == [limited.json()["limits"]]
            assert (await client.patch(path, json={"limits": {"idle": "soon"}})).status_code == 422
            assert (await client.patch(path, json={"limits": {"budget": "soon"}})).status_code == 400

    run(main())


def test_a_key_with_limits_of_its_own_lifts_none() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin:
                limits = NO_LIMITS.changed({"budget": "1/day"})
                key, key_id = await new_key(admin, scopes=EDITOR, limits=limits)
                async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address, api(address, key) as client:
                    for method, path, body, status in (
                        ("PATCH", f"/default/keys/{key_id}", {"limits": {"budget": None}}, 403),
                        ("POST", "/default/keys", {"scopes": ["run"]}, 403),
                        ("PATCH", "/default", {"realtime": {"limits": {"budget": "100/day"}}}, 403),
                        ("PATCH", "/default", {"realtime": {"record": True}}, 200),
                    ):
                        answer = await client.request(method, f"/gateways{path}", json=body)
                        assert answer.status_code == status, (path, answer.text)

    run(main())
