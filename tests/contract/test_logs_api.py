"""The log over HTTP and on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import commands
from tests.commands import Done
from tests.contract.administration import administration, new_key
from tests.contract.log_rows import ANSWER, json_answer
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.running import data_directory, gateway, run
from trunkline.policy.registry import GatewayRules, Scope

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
PROVIDER_KEY = {"authorization": "Bearer sk-caller-12345678"}
TOKEN = "the-gateway-token-0123456789"
AS_OPERATOR = {"authorization": f"Bearer {TOKEN}"}


class Stage:
    """A gateway with rows in its log, and clients that ask about them."""

    def __init__(self, client: httpx.AsyncClient, directory: Path, keys: dict[str, str]) -> None:
        self.client = client
        self.directory = directory
        self.keys = keys

    async def chat(self, name: str = "default", **headers: str) -> str:
        """Have one exchange; return the id of its row."""
        ours = {"cf-aig-authorization": TOKEN, **{one.replace("_", "-"): value for one, value in headers.items()}}
        path = f"/v1/local/{name}/openai/chat/completions"
        answer = await self.client.post(path, headers={**PROVIDER_KEY, **ours}, json=ASKED)
        return answer.headers["cf-aig-log-id"]

    async def get(self, path: str, headers: dict[str, str] | None = None, **params: Any) -> Any:
        answer = await self.client.get(path, headers=headers or AS_OPERATOR, params=params)
        return answer.raise_for_status().json()

    async def ids(self, headers: dict[str, str] | None = None, **params: Any) -> list[str]:
        return [row["id"] for row in (await self.get("/api/logs", headers, **params))["logs"]]

    def shows(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[key]}"}


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    with data_directory() as directory:
        keys: dict[str, str] = {}
        async with administration(directory) as configuration:
            await configuration.create_gateway(GatewayRules("other"))
            await configuration.change_gateway("default", logging={"payloads": True})
            for scope in (Scope.READ, Scope.EDIT, Scope.RUN):
                keys[scope.value], _ = await new_key(configuration, scopes=[scope])
            keys["other"], _ = await new_key(configuration, "other", scopes=[Scope.READ, Scope.EDIT])
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            gateway(data_dir=directory, gateway_token=TOKEN, **openai_at(origin)) as address,
            httpx.AsyncClient(base_url=address.http, timeout=30) as client,
        ):
            yield Stage(client, directory, keys)


def test_what_was_answered_is_listed_at_once_newest_first_and_by_pages() -> None:
    async def main() -> None:
        async with stage() as on:
            made = [await on.chat() for _ in range(3)]
            assert await on.ids() == made[::-1]
            page = await on.get("/api/logs", limit=2)
            assert [row["id"] for row in page["logs"]] == made[:0:-1]
            assert await on.ids(before=page["next"]) == made[:1]
            assert await on.ids(after=made[0]) == made[:0:-1]

    run(main())


def test_a_row_is_shown_with_every_field_and_what_was_said() -> None:
    async def main() -> None:
        async with stage() as on:
            made = await on.chat()
            row = await on.get(f"/api/logs/{made}")
            assert (row["id"], row["status"], row["success"], row["cached"]) == (made, 200, True, False)
            assert row["feedback"] is None
            assert "request" not in row
            said = await on.get(f"/api/logs/{made}/payload")
            assert json.loads(said["request"]) == ASKED
            assert json.loads(said["response"]) == ANSWER

    run(main())


def test_rows_are_found_by_what_is_told_of_them() -> None:
    async def main() -> None:
        async with stage() as on:
            blue = await on.chat(cf_aig_metadata='{"team": "blue"}')
            red = await on.chat("other", cf_aig_metadata='{"team": "red"}')
            assert await on.ids(gateway="other") == [red]
            assert await on.ids(metadata="team=blue") == [blue]
            assert await on.ids(model="gpt-4o", provider="openai", success="true", status=200) == [red, blue]
            assert await on.ids(model="another") == []
            assert await on.ids(search="red") == [red]
            assert await on.ids(since=9e9) == []
            answer = await on.client.get("/api/logs", headers=AS_OPERATOR, params={"metadata": "blue"})
            assert answer.status_code == 400

    run(main())


def test_a_key_sees_the_log_of_its_own_gateway_alone() -> None:
    async def main() -> None:
        async with stage() as on:
            mine, theirs = await on.chat(), await on.chat("other")
            assert await on.ids(on.shows("read")) == [mine]
            assert await on.ids(on.shows("other")) == [theirs]
            for path in (f"/api/logs/{mine}", f"/api/logs/{mine}/payload"):
                answer = await on.client.get(path, headers=on.shows("other"))
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_log")
            answer = await on.client.get("/api/logs", headers=on.shows("read"), params={"gateway": "other"})
            assert answer.status_code == 403

    run(main())


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/{id}"), ("GET", "/{id}/payload"), ("PATCH", "/{id}"), ("DELETE", "/{id}")],
)
def test_a_key_needs_the_scope_for_what_it_does(method: str, path: str) -> None:
    async def main() -> None:
        async with stage() as on:
            where = "/api/logs" + path.format(id=await on.chat())
            refused = ["run", "edit"] if method == "GET" else ["run", "read"]
            for key in refused:
                answer = await on.client.request(method, where, headers=on.shows(key), json={})
                assert answer.status_code == 403, key
            assert (await on.client.request(method, where, json={})).status_code == 401

    run(main())


def test_people_say_what_they_think_of_an_exchange() -> None:
    async def main() -> None:
        async with stage() as on:
            made = await on.chat()
            path, edit = f"/api/logs/{made}", on.shows("edit")
            told = {"feedback": 1, "score": 80.0, "metadata": {"judged": True}}
            answer = await on.client.patch(path, headers=edit, json=told)
            row = answer.raise_for_status().json()
            assert (row["feedback"], row["score"], row["metadata"]) == (1, 80, {"judged": True})
            row = (await on.client.patch(path, headers=edit, json={"feedback": None})).json()
            assert (row["feedback"], row["score"]) == (None, 80)
            for wrong in ({"feedback": 2}, {"score": 101}, {"unknown": 1}, {"score": "x"}):
                assert (await on.client.patch(path, headers=edit, json=wrong)).status_code == 400

    run(main())


def test_rows_are_deleted_with_what_was_said() -> None:
    async def main() -> None:
        async with stage() as on:
            first, second, theirs = await on.chat(), await on.chat(), await on.chat("other")
            answer = await on.client.delete(f"/api/logs/{first}", headers=on.shows("edit"))
            assert answer.status_code == 204
            assert await on.ids() == [theirs, second]
            old = {"gateway": "default", "until": 9e9}
            deleted = await on.client.delete("/api/logs", headers=AS_OPERATOR, params=old)
            assert deleted.json() == {"deleted": 1}
            assert await on.ids() == [theirs]
            assert (await on.client.delete("/api/logs", headers=AS_OPERATOR)).status_code == 422

    run(main())


def test_the_switches_of_the_log_are_set_over_http() -> None:
    async def main() -> None:
        async with stage() as on:
            price = {"model": "gpt-4o*", "provider": "", "prices": {"total_cost": 0.5}}
            wanted = {"collect": True, "payloads": False, "max_rows": 10, "strategy": "STOP_INSERTING"}
            logging = {**wanted, "custom_costs": [price]}
            answer = await on.client.patch("/api/gateways/default", headers=AS_OPERATOR, json={"logging": logging})
            shown = answer.raise_for_status().json()["logging"]
            assert {name: shown[name] for name in wanted} == wanted
            assert shown["custom_costs"][0]["prices"]["total_cost"] == 0.5
            made = await on.chat()
            row = await on.get(f"/api/logs/{made}")
            assert (row["cost"], row["custom_cost"], row["has_payload"]) == (0.5, True, False)
            cleared = {"logging": {"max_rows": None}}
            answer = await on.client.patch("/api/gateways/default", headers=AS_OPERATOR, json=cleared)
            assert answer.json()["logging"]["max_rows"] is None
            wrong = {"logging": {"max_rows": 0}}
            assert (await on.client.patch("/api/gateways/default", headers=AS_OPERATOR, json=wrong)).status_code == 422

    run(main())


def command(directory: Path, *arguments: str) -> Done:
    return commands.command(*arguments, "--data-dir", str(directory))


def test_the_log_is_read_on_the_command_line() -> None:
    made: list[str] = []

    async def main() -> None:
        async with stage() as on:
            made.append(await on.chat(cf_aig_metadata='{"team": "blue"}'))
            await on.ids()
            listed = await asyncio.to_thread(command, on.directory, "logs", "list", "--metadata", "team=blue", "--json")
            assert [row["id"] for row in json.loads(listed.stdout)] == made
            table = await asyncio.to_thread(command, on.directory, "logs", "list")
            assert made[0] in table.stdout
            assert "gpt-4o" in table.stdout
            nothing = await asyncio.to_thread(command, on.directory, "logs", "list", "--failed")
            assert nothing.stdout == ""
            shown = await asyncio.to_thread(command, on.directory, "logs", "show", made[0])
            assert "team=blue" in shown.stdout
            said = await asyncio.to_thread(command, on.directory, "logs", "payload", made[0])
            assert json.loads(said.stdout) == ANSWER
            asked = await asyncio.to_thread(command, on.directory, "logs", "payload", made[0], "--request")
            assert json.loads(asked.stdout) == ASKED

    run(main())


def test_the_switches_of_the_log_are_set_on_the_command_line(tmp_path: Path) -> None:
    flags = ["--log-payloads", "--log-redact-pii", "--log-max-rows", "10", "--log-max-age", "30d"]
    command(tmp_path, "gateways", "create", "x", *flags, "--log-strategy", "stop", "--usage-in-streams")
    listed = command(tmp_path, "gateways", "list").stdout
    words = (
        "payloads kept",
        "without personal data",
        "log of 10 rows",
        "stops when full",
        "30 days",
        "usage asked for",
    )
    for word in words:
        assert word in listed
    command(tmp_path, "gateways", "set", "x", "--no-log-payloads", "--log-max-rows", "none", "--log-max-age", "none")
    assert "log of" not in command(tmp_path, "gateways", "list").stdout
    for wrong in (["--log-max-rows", "0"], ["--log-max-age", "soon"], ["--log-strategy", "x"]):
        assert command(tmp_path, "gateways", "set", "x", *wrong).returncode != 0
