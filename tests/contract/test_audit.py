"""The audit log: every change, by whom, through the API and by commands; never a secret."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.commands import command
from tests.contract.administration import administration, new_key
from tests.contract.people import PASSWORD, add, browser
from tests.running import data_directory, gateway, run
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.policy.roles import Role
from trunkline.providers import Via
from trunkline.store import Actor, AuditFilter, AuditLog, Change, Database, act_as, changing

TOKEN = "gateway-token-of-many-characters"


async def entries(page: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await page.get("/api/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def test_every_change_over_http_is_written_down_with_who_made_it_and_no_secret() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            ada = await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, browser(address, "ada") as page:
                secret = "sk-a-provider-key-0123456789"
                changes: list[tuple[str, str, object]] = [
                    ("POST", "/api/gateways", {"id": "team", "authenticated": True}),
                    ("PATCH", "/api/gateways/team", {"stored_key_wins": True, "realtime": {"record": True}}),
                    ("PUT", "/api/gateways/team/stored-keys/openai/blue", {"key": secret}),
                    ("DELETE", "/api/gateways/team/stored-keys/openai/blue", None),
                    ("POST", "/api/gateways/team/keys", {"name": "app"}),
                ]
                for method, path, body in changes:
                    answer = await page.request(method, path, json=body)
                    assert answer.is_success, answer.text
                key = answer.json()
                key_path = f"/api/gateways/team/keys/{key['id']}"
                await page.patch(key_path, json={"limits": {"idle": 60}})
                await page.delete(key_path)
                invited = (await page.post("/api/users", json={"name": "grace", "role": "viewer"})).json()
                user_path = f"/api/users/{invited['user']['id']}"
                await page.patch(user_path, json={"role": "editor", "disabled": True})
                await page.patch(user_path, json={"disabled": False})
                reset = (await page.post(f"{user_path}/reset")).json()
                await page.delete(user_path)
                await page.delete("/api/gateways/team")
                found = await entries(page)
                written = [entry["action"] for entry in reversed(found)]
                assert written == [
                    "user.add",
                    "sign_in",
                    "gateway.create",
                    "gateway.change",
                    "stored_key.set",
                    "stored_key.remove",
                    "key.create",
                    "key.limit",
                    "key.revoke",
                    "user.invite",
                    "user.role",
                    "user.disable",
                    "user.enable",
                    "user.reset",
                    "user.delete",
                    "gateway.delete",
                ]
                assert {(entry["actor_kind"], entry["actor_id"], entry["address"]) for entry in found[:-1]} == {
                    ("user", ada.id, "127.0.0.1")
                }
                by_action = {entry["action"]: entry for entry in found}
                assert by_action["gateway.change"]["details"] == {"stored_key_wins": True, "realtime": {"record": True}}
                assert by_action["user.role"]["details"] == {"name": "grace", "from": "viewer", "to": "editor"}
                assert by_action["key.revoke"]["gateway"] == "team"
                assert by_action["stored_key.set"]["target_id"] == "openai/blue"
                everything = (await page.get("/api/audit", params={"limit": 500})).text
                tokens = [link["link"].partition("#")[2] for link in (invited, reset)]
                for hidden in (secret, key["value"], PASSWORD, *tokens, *page.cookies.values()):
                    assert hidden not in everything

    run(main())


def test_the_log_is_paged_and_filtered() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address, browser(address, "ada") as page:
                program = {"authorization": f"Bearer {TOKEN}"}
                async with httpx.AsyncClient(base_url=address.http, headers=program) as client:
                    for name in ("one", "two", "three"):
                        assert (await client.post("/api/gateways", json={"id": name})).status_code == 201
                        assert (await page.post(f"/api/gateways/{name}/keys", json={})).status_code == 201
                first = (await page.get("/api/audit", params={"limit": 5})).json()
                rest = (await page.get("/api/audit", params={"limit": 5, "before": first["next"]})).json()
                ids = [entry["id"] for entry in first["entries"] + rest["entries"]]
                assert (len(ids), len(set(ids)), rest["next"]) == (8, 8, None)
                assert ids == sorted(ids, reverse=True)
                gateways = await entries(page, action="gateway.*")
                assert [entry["target_id"] for entry in gateways] == ["three", "two", "one"]
                assert {entry["actor_kind"] for entry in gateways} == {"gateway_token"}
                assert [entry["action"] for entry in await entries(page, gateway="two")] == [
                    "key.create",
                    "gateway.create",
                ]
                assert await entries(page, action="gateway") == []
                assert await entries(page, action="%*") == []
                ada = first["entries"][0]["actor_id"]
                assert len(await entries(page, actor=ada)) == 4
                assert await entries(page, since=first["entries"][0]["at"] + 1) == []
                assert len(await entries(page, target_kind="gateway", target="one")) == 1

    run(main())


def test_what_is_refused_is_no_change_and_not_written_down() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            await add(data_dir, "victor", Role.VIEWER)
            async with (
                gateway(data_dir=data_dir) as address,
                browser(address, "ada") as page,
                browser(address, "victor") as viewer,
            ):
                before = len(await entries(page))
                assert (await viewer.post("/api/gateways", json={"id": "team"})).status_code == 403
                assert (await page.delete("/api/gateways/nowhere")).status_code == 400
                assert (await page.delete("/api/gateways/default/keys/key_none")).status_code == 400
                assert (
                    await page.patch("/api/gateways/default", json={"realtime": {"limits": {"sessions": "x"}}})
                ).is_error
                assert len(await entries(page)) == before

    run(main())


def test_a_change_by_a_gateway_key_bears_the_keys_name() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with administration(data_dir) as admin:
                key, key_id = await new_key(admin, scopes=[Scope.EDIT])
            async with gateway(data_dir=data_dir) as address, browser(address, "ada") as page:
                async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as program:
                    answer = await program.patch(f"{address.http}/api/gateways/default", json={"stored_key_wins": True})
                    assert answer.status_code == 200
                newest = (await entries(page))[0]
                assert (newest["actor_kind"], newest["actor_id"], newest["actor_name"]) == (
                    "gateway_key",
                    key_id,
                    "test",
                )

    run(main())


def test_commands_are_written_down_as_their_users() -> None:
    with data_directory() as data_dir:

        def trunkline(*arguments: str, typed: str = "") -> str:
            done = command(*arguments, "--data-dir", str(data_dir), given=typed)
            assert done.returncode == 0, done.stderr
            return done.stdout

        trunkline("users", "add", "ada", "--role", "admin", typed=f"{PASSWORD}\n")
        key = trunkline("keys", "create", "app").strip()
        trunkline("vault", "set", "openai", typed="sk-kept-0123456789\n")
        trunkline("gateways", "create", "team")

        async def main() -> None:
            async with gateway(data_dir=data_dir) as address, browser(address, "ada") as page:
                found = (await entries(page))[1:]
                assert [entry["action"] for entry in found] == [
                    "gateway.create",
                    "stored_key.set",
                    "key.create",
                    "user.add",
                ]
                assert {(entry["actor_kind"], entry["actor_name"]) for entry in found} == {
                    ("command", getpass.getuser())
                }
                text = (await page.get("/api/audit")).text
                assert not [hidden for hidden in (key, "sk-kept", PASSWORD) if hidden in text]

        run(main())


def test_chaining_a_provider_is_written_down_without_its_token(tmp_path: Path) -> None:
    async def main() -> None:
        async with administration(tmp_path) as admin:
            await admin.set_via("default", "openai", Via("https://gateway.example.org/v1/a/g", "the-token-of-it"))
            await admin.remove_via("default", "openai")
        database = await Database.open(tmp_path)
        rows = await AuditLog(database).list(AuditFilter(action="via.*"), 10)
        await database.close()
        assert [(row.action, row.details) for row in rows] == [
            ("via.remove", {}),
            ("via.set", {"host": "gateway.example.org"}),
        ]

    run(main())


def test_a_change_and_its_row_are_written_together_or_not_at_all(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        database = await Database.open(tmp_path, database_url)
        log = AuditLog(database)
        try:
            act_as(Actor("user", "ada", "usr_1", "192.0.2.1"))
            with pytest.raises(RuntimeError):
                async with changing(database, Change("gateway.change", "gateway", "default")):
                    raise RuntimeError
            assert await log.list(AuditFilter(), 10) == []
            change = Change("gateway.change", "gateway", "default", details={"rules": GatewayRules("x").id, "on": True})
            async with changing(database, change):
                change.gateway = "default"
            await log.add(Actor("gateway_key", "app", "key_1"), Change("log.delete", "log", "01H", "team"))
            rows = await log.list(AuditFilter(), 10)
            assert [(row.actor_name, row.gateway) for row in rows] == [("app", "team"), ("ada", "default")]
            assert rows[1].details == {"rules": "x", "on": True}
            assert [row.id for row in await log.list(AuditFilter(gateway="team"), 10)] == [rows[0].id]
        finally:
            await database.close()

    run(main())
