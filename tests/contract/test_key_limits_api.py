"""Limits of single keys, how they stand, and rotating a key: over HTTP, before a real provider and database."""

from __future__ import annotations

import time

import httpx

from tests.contract.raw_server import raw_server
from tests.contract.test_administration_api import EDITOR, TOKEN, api
from tests.contract.test_dataplane import Recorder, openai_at
from tests.running import gateway, run

CHAT = b'{"model": "gpt-4o", "max_tokens": 10, "messages": []}'


def test_a_key_has_limits_that_are_shown_as_they_are_used_and_that_its_successor_shares() -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder()) as origin,
            gateway(gateway_token=TOKEN, **openai_at(origin, api_key="sk-0123456789abcdef")) as address,
            api(address, TOKEN) as client,
        ):
            wanted = {
                "name": "app",
                "models": ["gpt-4o*"],
                "rules": [
                    {"measure": "requests", "limit": 2, "window": 3600},
                    {"measure": "cost", "limit": 5, "window": 86_400},
                ],
                "limits": {"minutes": "30/day", "concurrent": 2},
            }
            made = (await client.post("/gateways/default/keys", json=wanted)).json()
            assert [rule["measure"] for rule in made["rules"]] == ["requests", "cost"]

            async def ask(key: str) -> int:
                url = f"{address.http}/v1/local/default/openai/chat/completions"
                headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
                async with httpx.AsyncClient() as app:
                    return (await app.post(url, content=CHAT, headers=headers)).status_code

            async def uses() -> dict[str, list[tuple[object, ...]]]:
                keys = (await client.get("/gateways/default/key-limits")).json()["keys"]
                return {
                    key["id"]: [
                        (one["measure"], one["realtime"], one["used"], one["limit"]) for one in key["standings"]
                    ]
                    for key in keys
                }

            assert await ask(made["value"]) == 200
            used = await uses()
            assert used[made["id"]][0] == ("requests", False, 1, 2)
            assert ("concurrent", True, 0, 2) in used[made["id"]]
            assert ("minutes", True, 0, 30) in used[made["id"]]

            rotated = await client.post(f"/gateways/default/keys/{made['id']}/rotate", json={"overlap": 3600})
            new = rotated.json()
            assert rotated.status_code == 201
            told = ("name", "models", "scopes", "limits", "rules")
            assert [new[field] for field in told] == [made[field] for field in told]
            old = next(key for key in (await client.get("/gateways/default/keys")).json() if key["id"] == made["id"])
            assert 3500 < old["expires_at"] - time.time() <= 3600

            assert await ask(new["value"]) == 200  # the second of two
            assert await ask(new["value"]) == 429
            assert await ask(made["value"]) == 429
            assert (await uses())[new["id"]][0] == ("requests", False, 2, 2)

            raised = {"rules": [{"measure": "requests", "limit": 3, "window": 3600}]}
            assert (await client.patch(f"/gateways/default/keys/{new['id']}", json=raised)).status_code == 200
            assert await ask(made["value"]) == 200
            await client.delete(f"/gateways/default/keys/{made['id']}")
            await client.delete(f"/gateways/default/keys/{new['id']}")
            assert (await client.get("/gateways/default")).json()["control"]["limits"] == []

            entries = (await client.get("/audit", params={"action": "key.*"})).json()["entries"]
            assert [entry["action"] for entry in entries] == [
                "key.revoke",
                "key.revoke",
                "key.limit",
                "key.rotate",
                "key.create",
            ]
            assert entries[3]["target_id"] == made["id"]
            assert entries[3]["details"]["new"] == new["id"]
            assert new["value"] not in str(entries)

    run(main())


def test_a_rotation_ends_no_later_than_the_key_would_and_nothing_follows_a_dead_key_or_a_greater_one() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address, TOKEN) as client:

            async def make(**terms: object) -> dict[str, str]:
                made: dict[str, str] = (await client.post("/gateways/default/keys", json=terms)).json()
                return made

            soon = time.time() + 600
            short = await make(expires_at=soon)
            path = f"/gateways/default/keys/{short['id']}/rotate"
            new = (await client.post(path, json={"overlap": 86_400})).json()
            assert new["expires_at"] == soon
            keys = {key["id"]: key for key in (await client.get("/gateways/default/keys")).json()}
            assert keys[short["id"]]["expires_at"] == soon

            now = await client.post(f"/gateways/default/keys/{new['id']}/rotate", json={"overlap": 0})
            assert now.status_code == 201
            again = await client.post(f"/gateways/default/keys/{new['id']}/rotate", json={})
            assert again.status_code == 400
            assert "expired" in again.json()["error"]["message"]

            editor = await make(scopes=["edit"])
            runner = await make(scopes=["run"])
            async with api(address, editor["value"]) as other:
                refused = await other.post(f"/gateways/default/keys/{runner['id']}/rotate", json={})
                assert refused.status_code == 403
            limited = await make(scopes=[scope.value for scope in EDITOR], limits={"sessions": "5/day"})
            async with api(address, limited["value"]) as other:
                assert (await other.post(f"/gateways/default/keys/{runner['id']}/rotate", json={})).status_code == 403
            limited = await make(scopes=["edit", "run"], rules=[{"measure": "requests", "limit": 5}])
            async with api(address, limited["value"]) as other:
                free = await other.post("/gateways/default/keys", json={"scopes": ["run"]})
                assert free.status_code == 403

    run(main())
