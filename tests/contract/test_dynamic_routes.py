"""Dynamic routes as they are kept and changed: over HTTP, by command, and as every process knows them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests import commands
from tests.commands import Done
from tests.contract.administration import administration, new_key
from tests.contract.test_administration_api import api
from tests.contract.test_dynamic_routes_realtime import element
from tests.contract.test_gateway_keys import eventually
from tests.running import data_directory, gateway, run
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.store import Configuration, Database, Vault
from trunkline.store.routes import Routes
from trunkline.store.schema.management import route_versions

TOKEN = "gateway-token-of-many-characters"
START = element("in", "start", {"next": "paid"})
PAID = element("paid", "conditional", {"true": "big", "false": "half"}, conditions={"metadata.plan": "paid"})
HALF = element("half", "percentage", {"50%": "big", "50.0%": "small"})
BIG = element("big", "model", {"success": "out", "fallback": "small"}, provider="openai", model="gpt-big")
SMALL = element("small", "model", {"success": "out"}, provider="local", model="default")
ROUTE = [START, PAID, HALF, BIG, SMALL, element("out", "end", {})]
SHORT = [element("in", "start", {"next": "small"}), SMALL, element("out", "end", {})]


def test_a_route_is_put_shown_deployed_again_and_deleted() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address, TOKEN) as client:
            made = await client.put("/gateways/default/routes/support", json={"elements": ROUTE})
            assert made.status_code == 200, made.text
            first = made.json()
            assert first["elements"] == ROUTE
            same = (await client.put("/gateways/default/routes/support", json={"elements": ROUTE})).json()
            assert same["version"] == first["version"]
            exported = {"name": "support", "elements": SHORT}
            second = (await client.put("/gateways/default/routes/support", json=exported)).json()
            assert second["id"] == first["id"]
            assert second["version"] != first["version"]

            (listed,) = (await client.get("/gateways/default/routes")).json()
            assert (listed["name"], listed["version"]) == ("support", second["version"])
            assert [one["deployed"] for one in listed["versions"]] == [True, False]
            older = await client.get("/gateways/default/routes/support", params={"version": first["version"]})
            assert older.json()["elements"] == ROUTE

            wish = {"version": first["version"]}
            again = await client.post("/gateways/default/routes/support/deploy", json=wish)
            assert (again.json()["version"], again.json()["elements"]) == (first["version"], ROUTE)
            assert (await client.delete("/gateways/default/routes/support")).status_code == 204
            assert (await client.get("/gateways/default/routes/support")).status_code == 404
            assert (await client.delete("/gateways/default/routes/support")).status_code == 404

    run(main())


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        ({"elements": SHORT[:2]}, 400, "leads to 'out', which is not there"),
        ({"elements": []}, 422, "elements"),
        ({"elements": SHORT, "name": "other"}, 400, "the path names 'support'"),
        (
            {"elements": [SHORT[0], {**SMALL, "properties": {"provider": "nobody", "model": "x"}}, SHORT[2]]},
            400,
            "nobody",
        ),
    ],
)
def test_what_is_no_route_is_refused_with_the_fault(body: dict[str, Any], status: int, fault: str) -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address, TOKEN) as client:
            refused = await client.put("/gateways/default/routes/support", json=body)
            assert refused.status_code == status
            assert fault in refused.text
            assert (await client.get("/gateways/default/routes")).json() == []
            unknown = await client.put("/gateways/nobody/routes/support", json={"elements": SHORT})
            assert unknown.status_code == 400

    run(main())


def test_a_simulation_says_where_a_request_goes_and_why() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address, TOKEN) as client:
            await client.put("/gateways/default/routes/support", json={"elements": ROUTE})

            async def simulated(**wish: Any) -> dict[str, Any]:
                answer = await client.post("/gateways/default/routes/simulate", json=wish)
                assert answer.status_code == 200, answer.text
                found: dict[str, Any] = answer.json()
                return found

            paid = await simulated(route="support", metadata={"plan": "paid"}, outcomes={"big": "failure"})
            assert [(line["element"], line["output"]) for line in paid["trace"]] == [
                ("in", "next"),
                ("paid", "true"),
                ("big", "fallback"),
                ("small", "success"),
                ("out", None),
            ]
            assert paid["trace"][1]["looked_at"] == 'metadata.plan is "paid"'
            assert paid["result"] == {
                "answered": True,
                "element": "small",
                "provider": "local",
                "model": "default",
                "step": 1,
            }
            for chance, element_ in ((0.49, "big"), (0.5, "small")):
                assert (await simulated(route="support", chance=chance))["result"]["element"] == element_
            nobody = await simulated(elements=SHORT, outcomes={"small": "failure"})
            assert nobody["result"]["answered"] is False
            assert nobody["trace"][-1]["output"] is None

            for wrong, fault in (
                ({}, "name a route"),
                ({"route": "support", "elements": SHORT}, "name a route"),
                ({"route": "support", "chance": 1}, "chance"),
                ({"route": "support", "outcomes": {"in": "failure"}}, "no model or quota 'in'"),
                ({"route": "nobody"}, "'nobody'"),
                ({"route": "support", "version": "x"}, "no version"),
            ):
                refused = await client.post("/gateways/default/routes/simulate", json=wrong)
                assert refused.status_code in (400, 404, 422)
                assert fault in refused.text

    run(main())


def test_looking_and_changing_need_their_scopes() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with administration(data) as configuration:
                await configuration.change_gateway("default", authenticated=True)
                await configuration.create_gateway(GatewayRules("team"))
                reader, _ = await new_key(configuration, scopes=[Scope.READ])
                caller, _ = await new_key(configuration, scopes=[Scope.RUN])
            async with gateway(data_dir=data) as address:
                paths = "/gateways/default/routes"
                wish = {"elements": SHORT}
                for key, read, edit in ((reader, 200, 403), (caller, 403, 403), ("", 401, 401)):
                    async with api(address, key) as client:
                        assert (await client.get(paths)).status_code == read
                        assert (await client.post(f"{paths}/simulate", json=wish)).status_code == read
                        assert (await client.put(f"{paths}/r", json=wish)).status_code == edit
                        assert (await client.delete(f"{paths}/r")).status_code == edit
                        assert (await client.post(f"{paths}/r/deploy", json={"version": "x"})).status_code == edit
                async with api(address, reader) as client:
                    assert (await client.get("/gateways/team/routes")).status_code == 403

    run(main())


async def of(database_url: str, data: Path) -> tuple[Database, Configuration]:
    database = await Database.open(data, database_url)
    vault = Vault.at(data)
    configuration = Configuration(database, vault, GatewayRules("default", authenticated=False))
    await configuration.check()
    return database, configuration


def test_the_set_up_has_the_deployed_version_of_every_route(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        database, configuration = await of(database_url, tmp_path)
        try:
            await configuration.ensure_gateway("default")
            stored = Routes(database)
            route = await stored.create("default", "support", ROUTE)
            number, registry = await configuration.load()
            deployed = registry.routes["default", "support"]
            assert (deployed.id, deployed.version) == (route.id, route.deployed.id)
            assert set(deployed.elements) == {one["id"] for one in ROUTE}

            added = await stored.add_version("default", route.id, SHORT)
            assert added is not None
            assert (await configuration.load())[1].routes["default", "support"].version == route.deployed.id
            await stored.deploy("default", route.id, added.versions[0].id)
            after, registry = await configuration.load()
            assert after > number
            assert set(registry.routes["default", "support"].elements) == {"in", "small", "out"}

            put, is_new = await stored.put("default", "support", ROUTE)
            assert (put.id, is_new) == (route.id, False)
            assert set((await configuration.load())[1].routes["default", "support"].elements) > {"big"}
            await stored.delete("default", route.id)
            assert (await configuration.load())[1].routes == {}
        finally:
            await database.close()

    run(main())


def test_a_route_that_can_no_longer_be_read_is_left_out_and_the_others_stay(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        database, configuration = await of(database_url, tmp_path)
        try:
            await configuration.ensure_gateway("default")
            stored = Routes(database)
            broken = await stored.create("default", "broken", SHORT)
            await stored.create("default", "sound", SHORT)
            async with database.transaction() as connection:
                change = update(route_versions).where(route_versions.c.id == broken.deployed.id)
                await connection.execute(change.values(elements=[{"type": "start"}]))
            assert set((await configuration.load())[1].routes) == {("default", "sound")}
        finally:
            await database.close()

    run(main())


def command(data: Path, *arguments: str, said: str = "") -> Done:
    """Carry out ``trunkline routes ARGUMENTS`` in this process."""
    return commands.command("routes", *arguments, given=said, environment={"TRUNKLINE_DATA_DIR": str(data)})


def complaint(data: Path, *arguments: str, said: str = "") -> str:
    """Carry out a command that is refused, and return why."""
    result = command(data, *arguments, said=said)
    assert result.returncode == 2, result.stderr
    return result.stderr


def test_a_route_of_a_command_is_known_to_a_running_gateway_within_a_moment() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with gateway(data_dir=data) as address, httpx.AsyncClient(base_url=address.http) as client:
                url = "/v1/local/default/compat/chat/completions"
                wanted = {"model": "dynamic/support", "messages": []}
                assert (await client.post(url, json=wanted)).status_code == 404
                clean = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "trunkline", "routes", "import", "support", "-"),
                    stdin=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env={**clean, "TRUNKLINE_DATA_DIR": str(data)},
                )
                empty = [element("in", "start", {"next": "out"}), element("out", "end", {})]
                _, said = await process.communicate(json.dumps({"elements": empty}).encode())
                assert process.returncode == 0, said

                async def is_known() -> bool:
                    return "No model is on the way" in (await client.post(url, json=wanted)).text

                await eventually(is_known)

    run(main(), 120)


def test_commands_keep_routes_in_versions(tmp_path: Path) -> None:
    made = command(tmp_path, "import", "support", "-", said=json.dumps({"elements": ROUTE}))
    assert made.returncode == 0, made.output
    file = tmp_path / "route.json"
    command(tmp_path, "export", "support", str(file))
    assert json.loads(file.read_text("utf-8")) == {"name": "support", "elements": ROUTE}
    command(tmp_path, "import", "support", "-", said=json.dumps(SHORT))
    (listed,) = json.loads(command(tmp_path, "list", "--json").stdout)
    newer, older = (one["id"] for one in listed["versions"])
    assert listed["version"] == newer
    assert newer in command(tmp_path, "list").stdout
    assert command(tmp_path, "deploy", "support", older).returncode == 0
    assert json.loads(command(tmp_path, "show", "support", "--json").stdout)["elements"] == ROUTE
    shown = command(tmp_path, "show", "support").stdout
    assert "gpt-big" in shown
    assert newer in shown
    assert command(tmp_path, "delete", "support").returncode == 0
    for arguments in (("show", "support"), ("simulate", "support"), ("deploy", "support", "x"), ("delete", "support")):
        assert "no dynamic route 'support'" in complaint(tmp_path, *arguments)


def test_a_command_simulates_a_request_and_says_why_it_goes_where(tmp_path: Path) -> None:
    command(tmp_path, "import", "support", "-", said=json.dumps(ROUTE))
    body = json.dumps({"model": "dynamic/support", "user": "ada"})
    tagged = ("--metadata", "plan=paid", "--fail", "big")
    answers = command(tmp_path, "simulate", "support", "--request", "-", *tagged, said=body)
    assert answers.returncode == 0
    assert 'metadata.plan is "paid"' in answers.stdout
    assert "local/default answers" in answers.stdout
    told = command(tmp_path, "simulate", "support", "--chance", "0.7", "--fail", "small", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["result"]["answered"] is False
    for arguments, fault in (
        (("--chance", "1"), "--chance: 1 is not from 0"),
        (("--metadata", "plan"), "'plan' is not NAME=VALUE"),
        (("--fail", "in"), "no model or quota 'in'"),
        (("--version", "x"), "no version 'x'"),
    ):
        assert fault in complaint(tmp_path, "simulate", "support", *arguments)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("{", "is no JSON"),
        ('{"name": "x"}', "is no route"),
        (json.dumps({"elements": SHORT[:2]}), "leads to 'out'"),
    ],
)
def test_a_command_says_what_is_wrong_with_a_file(said: str, fault: str, tmp_path: Path) -> None:
    assert fault in complaint(tmp_path, "import", "support", "-", said=said)
    assert command(tmp_path, "list", "--json").stdout == "[]\n"
