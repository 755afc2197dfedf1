"""What a gateway does with requests: set over HTTP, by Cloudflare's fields and by command, in force everywhere."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import commands
from tests.commands import Done
from tests.contract.administration import administration, new_key
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.waiting import until
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.control import ControlRules
from trunkline.policy.registry import Scope
from trunkline.server.registry import LiveRegistry
from trunkline.settings import Settings
from trunkline.store import Database

TOKEN = "gateway-token-of-many-characters"
MASTER_KEY = "0123456789abcdef" * 4
# By contract a change is in force on every machine within so many seconds.
IN_FORCE_SECONDS = 5
CLOSED: dict[str, Any] = {"id": "closed", "measure": "requests", "limit": 0, "window": 3600}
CLOUDFLARE: dict[str, Any] = {
    "cache_invalidate_on_update": False,
    "cache_ttl": None,
    "collect_logs": True,
    "rate_limiting_interval": None,
    "rate_limiting_limit": None,
}


@asynccontextmanager
async def api(address: Address, key: str = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=address.http, headers=headers) as client:
        yield client


async def control_of(client: httpx.AsyncClient, name: str = "default") -> dict[str, Any]:
    answer = await client.get(f"/api/gateways/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["control"]
    return found


# In force everywhere


def test_a_change_by_one_process_is_in_force_in_another(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        registries = []
        for name in ("one", "other"):
            folder = tmp_path / name
            folder.mkdir()
            settings = Settings(data_dir=folder, database_url=database_url, master_key=MASTER_KEY)
            registries.append(LiveRegistry(settings))
        one, other = registries
        await one.start()
        await other.start()
        try:
            assert one.configuration is not None
            for ttl in (600, 60):
                await one.configuration.change_gateway("default", control={"cache": {"ttl": ttl}, "limits": [CLOSED]})

                async def is_known(ttl: int = ttl) -> bool:
                    rules = other.rules("default")
                    return rules is not None and rules.control.cache.ttl == ttl and bool(rules.control.limits)

                async with asyncio.timeout(IN_FORCE_SECONDS):
                    await until(is_known)
        finally:
            await one.stop()
            await other.stop()

    run(main())


def test_a_limit_that_is_set_at_one_gateway_refuses_at_the_other_without_a_restart(database_url: str) -> None:
    async def main() -> None:
        upstream = Recorder()
        async with raw_server(upstream) as origin:
            terms: dict[str, Any] = {
                "gateway_token": TOKEN,
                "database_url": database_url,
                "master_key": MASTER_KEY,
                **openai_at(origin),
            }
            async with gateway(**terms) as one, gateway(**terms) as other, api(one) as admin, api(other) as app:

                async def answers(status: int) -> bool:
                    body = {"model": "gpt-4o", "messages": []}
                    headers = {"cf-aig-authorization": TOKEN, "authorization": "Bearer sk-callers-own"}
                    answer = await app.post(other.path("openai/chat/completions"), json=body, headers=headers)
                    return answer.status_code == status

                assert await answers(200)
                for limits, status in (([CLOSED], 429), ([], 200)):
                    change = await admin.patch("/api/gateways/default", json={"control": {"limits": limits}})
                    assert change.status_code == 200, change.text

                    async def is_in_force(status: int = status) -> bool:
                        return await answers(status)

                    async with asyncio.timeout(IN_FORCE_SECONDS):
                        await until(is_in_force)

    run(main())


# Over HTTP


def test_rules_are_read_whole_and_set_part_by_part() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            assert await control_of(client) == ControlRules().whole()
            made = await client.post("/api/gateways", json={"id": "team", "control": {"cache": {"ttl": 600}}})
            assert (made.status_code, made.json()["control"]["cache"]["ttl"]) == (201, 600)
            wanted = {
                "cache": {"max_bytes": 4096},
                "attempts": {"max_attempts": 3, "backoff": "exponential"},
                "limits": [CLOSED],
                "guards": [{"id": "keys", "check": "secrets", "action": "flag"}],
            }
            changed = await client.patch("/api/gateways/team", json={"control": wanted})
            assert changed.status_code == 200, changed.text
            control = await control_of(client, "team")
            assert (control["cache"]["ttl"], control["cache"]["max_bytes"]) == (600, 4096)
            assert (control["attempts"]["max_attempts"], control["attempts"]["delay"]) == (3, 0)
            assert [rule["id"] for rule in control["limits"]] == ["closed"]
            assert [(rule["id"], rule["action"]) for rule in control["guards"]] == [("keys", "flag")]
            # What was read can be sent back as it is.
            same = await client.patch("/api/gateways/team", json={"control": control})
            assert same.json()["control"] == control
            await client.patch("/api/gateways/team", json={"control": {"limits": []}})
            control = await control_of(client, "team")
            assert (control["limits"], len(control["guards"])) == ([], 1)

    run(main())


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ({"cache": {"ttl": -1}}, ("cache.ttl", ">= 0")),
        ({"cache": {"ttl": 2_592_001}}, ("cache.ttl", "<= 2592000")),
        ({"cache": {"tttl": 1}}, ("cache", "tttl")),
        ({"attempts": {"max_attempts": 6}}, ("attempts.max_attempts", "<= 5")),
        ({"attempts": {"backoff": "fast"}}, ("attempts.backoff", "constant, exponential, linear")),
        ({"attempts": None}, ("attempts", "object")),
        ({"limits": [{**CLOSED, "measure": "wishes"}]}, ("limits[0].measure", "requests")),
        ({"limits": [CLOSED, CLOSED]}, ("same id",)),
        ({"limits": [{"id": "x"}]}, ("limits[0]", "measure")),
        ({"guards": [{"id": "x", "check": "weather"}]}, ("guards[0].check", "secrets")),
        ({"nonsense": {}}, ("nonsense",)),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place_and_what_is_allowed(control: Any, said: tuple[str, ...]) -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            for answer in (
                await client.patch("/api/gateways/default", json={"control": control}),
                await client.post("/api/gateways", json={"id": "team", "control": control}),
            ):
                assert answer.status_code == 400
                message = answer.json()["error"]["message"]
                assert [word for word in said if word not in message] == []
            assert await control_of(client) == ControlRules().whole()
            assert (await client.get("/api/gateways/team")).status_code == 400  # it was not made

    run(main())


def test_the_description_of_the_api_knows_the_rules() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            schemas = (await client.get("/api/openapi.json")).json()["components"]["schemas"]
            reference = {"allOf": [{"$ref": "#/components/schemas/ControlRules"}]}
            assert reference in schemas["GatewayChange"]["properties"]["control"]["anyOf"]
            assert schemas["GatewayView"]["properties"]["control"].items() >= reference.items()
            assert schemas["CacheRules"]["properties"]["ttl"]["maximum"] == 2_592_000
            assert {"LimitRule", "AttemptRules", "GuardRule", "Pool", "Member"} <= set(schemas)

    run(main())


def test_who_may_only_look_or_is_limited_sets_no_rules() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as configuration:
                reader, _ = await new_key(configuration, scopes=[Scope.READ])
                limited, key_id = await new_key(configuration, scopes=[Scope.READ, Scope.EDIT])
                await configuration.limit_key(key_id, {"concurrent": 1})
            async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address:
                wanted = {"control": {"limits": []}}
                async with api(address, reader) as client:
                    assert (await client.get("/api/gateways/default")).status_code == 200
                    assert (await client.patch("/api/gateways/default", json=wanted)).status_code == 403
                async with api(address, limited) as client:
                    assert (await client.patch("/api/gateways/default", json=wanted)).status_code == 403
                    cache = {"control": {"cache": {"ttl": 60}}}
                    assert (await client.patch("/api/gateways/default", json=cache)).status_code == 200

    run(main())


# Cloudflare's fields

Put = Callable[..., Awaitable[dict[str, Any]]]


@asynccontextmanager
async def cloudflare() -> AsyncIterator[tuple[httpx.AsyncClient, Put]]:
    async with gateway(gateway_token=TOKEN) as address, api(address) as client:

        async def put(**fields: Any) -> dict[str, Any]:
            url = "/client/v4/accounts/local/ai-gateway/gateways/default"
            answer = await client.put(url, json={**CLOUDFLARE, **fields})
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()["result"]
            assert (await client.get(url)).json()["result"] == found
            return found

        yield client, put


def test_cloudflares_fields_are_views_of_the_rules_that_act() -> None:
    async def main() -> None:
        async with cloudflare() as (client, put):
            shown = await put(
                cache_ttl=300,
                cache_invalidate_on_update=True,
                rate_limiting_limit=50,
                rate_limiting_interval=60,
                rate_limiting_technique="sliding",
                retry_max_attempts=3,
                retry_delay=200,
                retry_backoff="linear",
            )
            assert (shown["cache_ttl"], shown["retry_max_attempts"], shown["retry_delay"]) == (300, 3, 200)
            control = await control_of(client)
            assert (control["cache"]["ttl"], control["cache"]["invalidate_on_update"]) == (300, True)
            (rate,) = control["limits"]
            assert (rate["id"], rate["measure"], rate["limit"], rate["window"]) == ("rate", "requests", 50, 60)
            assert rate["technique"] == "sliding"
            tries = control["attempts"]
            assert (tries["max_attempts"], tries["delay"], tries["backoff"]) == (3, 200, "linear")

            # And what is changed by ours is shown there.
            ours = {"cache": {"ttl": 900}, "attempts": {"max_attempts": 5}, "limits": [{**rate, "limit": 70}]}
            await client.patch("/api/gateways/default", json={"control": ours})
            seen = (await client.get("/client/v4/accounts/local/ai-gateway/gateways/default")).json()["result"]
            assert (seen["cache_ttl"], seen["retry_max_attempts"], seen["rate_limiting_limit"]) == (900, 5, 70)
            assert (seen["retry_backoff"], seen["rate_limiting_technique"]) == ("linear", "sliding")

            cleared = await put(retry_max_attempts=None)
            assert (cleared["cache_ttl"], cleared["rate_limiting_limit"]) == (None, None)
            control = await control_of(client)
            assert (control["cache"]["ttl"], control["limits"]) == (0, [])
            assert (control["attempts"]["max_attempts"], control["attempts"]["backoff"]) == (1, "linear")

    run(main())


def test_spending_limits_are_rules_and_leave_other_rules_alone() -> None:
    async def main() -> None:
        async with cloudflare() as (client, put):
            own = {"id": "busy", "measure": "concurrent", "limit": 3, "per": ["key"]}
            await client.patch("/api/gateways/default", json={"control": {"limits": [own]}})
            rules = [
                {"limit": 5, "limitType": "cost", "window": 3600, "metadata": {"user": {"mode": "partition"}}},
                {
                    "id": "big",
                    "limit": 1,
                    "limitType": "cost",
                    "window": 60,
                    "technique": "sliding",
                    "model": {"mode": "filter", "values": ["gpt-4o"]},
                },
            ]
            shown = await put(spend_limits={"enabled": True, "rules": rules})
            assert [rule["id"] for rule in shown["spend_limits"]["rules"]] == ["spend.1", "big"]
            limits = {rule["id"]: rule for rule in (await control_of(client))["limits"]}
            assert sorted(limits) == ["big", "busy", "spend.1"]
            assert (limits["spend.1"]["measure"], limits["spend.1"]["per"]) == ("cost", ["metadata.user"])
            assert limits["big"]["where"] == {"model": ["gpt-4o"]}
            # Turned off as a whole, and on again, each rule is what it was.
            off = await put(spend_limits={**shown["spend_limits"], "enabled": False})
            assert off["spend_limits"]["enabled"] is False
            assert [rule.get("enabled") for rule in off["spend_limits"]["rules"]] == [None, None]
            assert not any(rule["enabled"] for rule in (await control_of(client))["limits"] if rule["id"] != "busy")
            await put(spend_limits=None)
            assert [rule["id"] for rule in (await control_of(client))["limits"]] == ["busy"]

    run(main())


def test_more_than_twenty_spending_limits_are_refused() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            rules = [{"limit": 5, "limitType": "cost", "window": 60}] * 21
            wanted = {**CLOUDFLARE, "spend_limits": {"rules": rules}}
            answer = await client.put("/client/v4/accounts/local/ai-gateway/gateways/default", json=wanted)
            assert (answer.status_code, "spend_limits" in answer.text) == (400, True)

    run(main())


def test_guardrails_and_dlp_are_checks_for_as_long_as_they_are_set() -> None:
    async def main() -> None:
        async with cloudflare() as (client, put):
            own = {"id": "own", "check": "secrets"}
            await client.patch("/api/gateways/default", json={"control": {"guards": [own]}})
            said: dict[str, Any] = {
                "guardrails": {"prompt": {"P1": "BLOCK", "S1": "FLAG"}, "response": {}},
                "dlp": {"enabled": True, "action": "BLOCK", "profiles": ["credit cards"]},
            }
            shown = await put(**said)
            assert (shown["guardrails"]["prompt"]["P1"], shown["dlp"]["action"]) == ("BLOCK", "BLOCK")
            checks = [(rule["check"], rule["action"]) for rule in (await control_of(client))["guards"]]
            assert checks[0] == ("secrets", "block")
            assert sorted(checks[1:]) == [("injection", "block"), ("judge", "flag"), ("personal", "block")]

            await put(dlp=None)
            left = (await control_of(client))["guards"]
            assert "personal" not in [rule["check"] for rule in left]
            # Once the checks are others, the old words would not be true.
            await client.patch("/api/gateways/default", json={"control": {"guards": left[:1]}})
            seen = (await client.get("/client/v4/accounts/local/ai-gateway/gateways/default")).json()["result"]
            assert seen["guardrails"] is None

    run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"cache_ttl": -1},
        {"cache_ttl": 2_592_001},
        {"retry_max_attempts": 6},
        {"rate_limiting_interval": 31_622_401, "rate_limiting_limit": 1},
        {"spend_limits": {"rules": [{"limit": -1, "limitType": "cost", "window": 60}]}},
        {"spend_limits": {"rules": [{"id": "a b", "limit": 1, "limitType": "cost", "window": 60}]}},
        {
            "spend_limits": {
                "rules": [{"limit": 1, "limitType": "cost", "window": 60, "model": {"mode": "filter", "values": []}}]
            }
        },
        {"dlp": {"enabled": True, "action": "FLAG", "profiles": ["the weather"]}},
    ],
)
def test_a_field_that_could_not_act_is_refused_by_name(wrong: dict[str, Any]) -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            url = "/client/v4/accounts/local/ai-gateway/gateways/default"
            answer = await client.put(url, json={**CLOUDFLARE, **wrong})
            assert answer.status_code == 400
            assert next(iter(wrong)) in answer.text
            assert await control_of(client) == ControlRules().whole()

    run(main())


def test_fields_that_were_kept_before_they_acted_act_after_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "trunkline.db"

    async def main() -> None:
        await (await Database.open(tmp_path)).close()
        with sqlite3.connect(path) as before:
            # Back to what there was before the rules.
            before.executescript(
                "ALTER TABLE gateways DROP COLUMN control; ALTER TABLE logs DROP COLUMN route;"
                " ALTER TABLE logs DROP COLUMN findings; DROP TABLE limit_counts;"
                " ALTER TABLE conversations DROP COLUMN tags; DROP INDEX ix_logs_written_at;"
                " ALTER TABLE logs DROP COLUMN written_at; DROP INDEX ix_gateway_keys_changed_id;"
                " ALTER TABLE gateway_keys DROP COLUMN changed;"
                " UPDATE alembic_version SET version_num = '0007';"
                " INSERT INTO gateways"
                " (id, authenticated, stored_key_wins, client_secrets, allowed_origins, created_at)"
                " VALUES ('default', 1, 0, 'brokered', '[]', 1.0);"
            )
            kept = {
                "cache_ttl": 9_999_999,
                "cache_invalidate_on_update": True,
                "rate_limiting_limit": 5,
                "rate_limiting_interval": 60,
                "retry_max_attempts": 2,
                "retry_backoff": None,
                "spend_limits": {
                    "rules": [
                        {
                            "limit": 3,
                            "limitType": "cost",
                            "window": 60,
                            "provider": {"mode": "filter", "values": ["openai"]},
                        }
                    ]
                },
                "zdr": True,
            }
            before.execute("INSERT INTO gateway_fields VALUES ('default', ?, NULL, 1.0)", [json.dumps(kept)])
        before.close()
        async with administration(tmp_path) as configuration:
            _, registry = await configuration.load()
        control = registry.gateways["default"].control
        assert (control.cache.ttl, control.cache.invalidate_on_update) == (2_592_000, True)
        assert (control.attempts.max_attempts, control.attempts.backoff) == (2, "constant")
        rate, spend = control.limits
        assert (rate.id, rate.limit, rate.window) == ("rate", 5, 60)
        assert (spend.measure, spend.limit, spend.where) == ("cost", 3, {"provider": ("openai",)})

    run(main())


# By command


def command(data_dir: Path, *arguments: str, input: str = "") -> Done:
    return commands.command(*arguments, "--data-dir", str(data_dir), given=input)


def test_rules_are_set_by_flags_and_as_a_document(tmp_path: Path) -> None:
    flags = "--cache-ttl 10m --retries 3 --retry-delay 200 --backoff exponential --timeout 20s --breaker 5 --hedge 800"
    assert command(tmp_path, "gateways", "set", "default", *flags.split()).returncode == 0
    shown = json.loads(command(tmp_path, "gateways", "control", "default").stdout)
    assert shown["cache"]["ttl"] == 600
    tries = shown["attempts"]
    assert (tries["max_attempts"], tries["delay"], tries["backoff"]) == (4, 200, "exponential")
    assert (tries["timeout"], tries["breaker"], tries["hedge"]) == (20_000, 5, 800)

    merged = command(tmp_path, "gateways", "control", "default", "--set", "-", input='{"cache": {"semantic": 0.9}}')
    assert json.loads(merged.stdout)["cache"]["ttl"] == 600
    file = tmp_path / "rules.json"
    file.write_text('{"cache": {"ttl": 60}}')
    replaced = command(tmp_path, "gateways", "control", "default", "--set", str(file), "--replace")
    assert json.loads(replaced.stdout) == ControlRules().changed({"cache": {"ttl": 60}}).whole()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("gateways set default --retries 5", ("--retries", "0 to 4")),
        ("gateways set default --cache-ttl 99w", ("--cache-ttl", "2592000")),
        ("gateways set default --timeout soon", ("--timeout", "20s")),
        ("gateways set default --backoff fast", ("--backoff", "exponential")),
        ("limits add default --measure wishes --limit 1", ("measure", "requests")),
        ("limits add default --measure requests --limit 1 --per moon", ("per", "moon")),
        ("limits add nowhere --measure requests --limit 1", ("nowhere",)),
        ("limits remove default nothing", ("nothing",)),
        ("gateways control nowhere", ("nowhere",)),
    ],
)
def test_a_wrong_flag_is_refused_by_its_name(arguments: str, said: tuple[str, ...], tmp_path: Path) -> None:
    done = command(tmp_path, *arguments.split())
    assert done.returncode == 2
    assert [word for word in said if word not in done.stderr] == []


def test_limits_are_added_listed_and_removed_by_command(tmp_path: Path) -> None:
    wanted = "--measure requests --limit 100 --window 1m --per key --where model=openai/gpt-* --technique sliding"
    assert command(tmp_path, "limits", "add", "default", *wanted.split()).returncode == 0
    assert (
        command(tmp_path, "limits", "add", "default", "--measure", "cost", "--limit", "5", "--id", "money").returncode
        == 0
    )
    shown = json.loads(command(tmp_path, "gateways", "control", "default").stdout)["limits"]
    first = shown[0]
    assert (first["limit"], first["window"], first["per"], first["technique"]) == (100, 60, ["key"], "sliding")
    assert first["where"] == {"model": ["openai/gpt-*"]}
    listed = command(tmp_path, "limits", "list").stdout
    assert first["id"] in listed
    assert "money" in listed
    assert command(tmp_path, "limits", "remove", "default", first["id"]).returncode == 0
    left = json.loads(command(tmp_path, "gateways", "control", "default").stdout)["limits"]
    assert [rule["id"] for rule in left] == ["money"]
