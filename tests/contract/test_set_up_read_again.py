"""A change of the set-up is read without all that stayed as it was, on either engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_dynamic_routes import ROUTE, of
from tests.contract.test_store import configuration, gateway_key
from tests.running import run
from trunkline.policy.registry import GatewayRules
from trunkline.providers import Via
from trunkline.store import Configuration, readings, schema
from trunkline.store import configuration as store
from trunkline.store.configuration import key_row
from trunkline.store.custom_providers import CustomProviders
from trunkline.store.routes import Routes
from trunkline.store.transfer import Import, Row
from trunkline.store.vault import Vault

KEYS = 450


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the gateway keys that are read."""
    ids: list[str] = []
    original = readings.gateway_key

    def noted(row: Any) -> Any:
        ids.append(row.id)
        return original(row)

    monkeypatch.setattr(readings, "gateway_key", noted)
    return ids


async def fill(opened: Configuration) -> None:
    for number in range(KEYS):
        await opened.add_key(gateway_key(f"key_{number}"))
    await opened.create_gateway(GatewayRules("other"))


def test_of_many_keys_those_alone_are_read_that_changed(tmp_path: Path, database_url: str, read: list[str]) -> None:
    async def main() -> None:
        async with configuration(tmp_path, database_url) as opened, configuration(tmp_path, database_url) as admin:
            await fill(admin)
            _, first = await opened.load()
            assert len(first.keys) == len(first.keys_by_id) == KEYS
            assert len(read) == KEYS
            changes = (
                admin.add_key(gateway_key("key_new", "other")),
                admin.revoke_key("key_7"),
                admin.limit_key("key_8", {"concurrent": 2}),
                admin.rotate_key("key_9", gateway_key("key_next"), time.time() + 60),
            )
            for change in changes:
                read.clear()
                await change
                read.clear()  # what the administrator has read
                _, now = await opened.load()
                assert len(read) <= 3
            assert len(now.keys) == len(now.keys_by_id) == KEYS + 2
            assert now.keys_by_id["key_7"].revoked_at
            assert now.keys_by_id["key_8"].limits.concurrent == 2
            assert now.keys_by_id["key_9"].expires_at
            assert first.keys_by_id["key_7"].revoked_at is None, "a snapshot stays as it is"
            assert now.keys_by_id["key_1"] is first.keys_by_id["key_1"]
            assert all(now.keys[key.digest] is key for key in now.keys_by_id.values())

    run(main())


def test_to_rotate_a_key_reads_no_other(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with configuration(tmp_path, database_url) as opened:
            for number in range(9):
                await opened.add_key(gateway_key(f"key_{number}"))
            read: list[str] = []
            original = readings.gateway_key

            def noted(row: Any) -> Any:
                read.append(row.id)
                return original(row)

            monkeypatch.setattr(store, "gateway_key", noted)
            await opened.rotate_key("key_3", gateway_key("key_next"), time.time() + 60)
            found = await opened.key("default", "key_next")
            assert found is not None
            assert await opened.key("other", "key_next") is None
            assert read == ["key_3", "key_next"]

    run(main())


def test_keys_that_are_gone_or_were_imported_are_noticed(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with configuration(tmp_path, database_url) as opened, configuration(tmp_path, database_url) as admin:
            await admin.create_gateway(GatewayRules("gone"))
            await admin.add_key(gateway_key("key_1"))
            await admin.add_key(gateway_key("key_2", "gone"))
            await opened.load()
            await admin.delete_gateway("gone")
            await admin.add_key(gateway_key("key_3"))
            _, now = await opened.load()
            assert set(now.keys_by_id) == {"key_1", "key_3"}
            imported = Row("a file", {**key_row(gateway_key("key_4")), "scopes": ["run"], "models": []})
            await Import(admin._database, sums=True).add(schema.gateway_keys, [imported])
            _, now = await opened.load()
            assert set(now.keys_by_id) == {"key_1", "key_3", "key_4"}

    run(main())


def test_what_is_as_it_was_is_the_same_object(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        database, opened = await of(database_url, tmp_path)
        try:
            await opened.create_gateway(GatewayRules("prod"))
            await opened.store_key("prod", "openai", "default", "sk-stored", "")
            await opened.set_via("prod", "groq", Via("https://g.example/v1/a/b", "token", "header"))
            customs = CustomProviders(database, Vault.at(tmp_path), ["*"])
            for slug in ("one", "two"):
                await customs.create(
                    slug, name=slug, base_url="https://a.example", enable=True, fields={}, headers={"x": "y"}
                )
            await Routes(database).create("prod", "support", ROUTE)
            _, first = await opened.load()
            unsealed: list[tuple[str, ...]] = []
            original = Vault.open

            def noted(vault: Vault, sealed: bytes, *place: str) -> str:
                unsealed.append(place)
                return original(vault, sealed, *place)

            monkeypatch.setattr(Vault, "open", noted)
            two = await customs.find("two")
            assert two is not None
            await customs.change(two.id, name="Two")
            unsealed.clear()  # what the administrator has read
            _, now = await opened.load()
            assert unsealed == [("custom provider", two.id)]
            assert now.providers["custom-two"]["name"] == "Two"
            assert now.providers["custom-one"] is first.providers["custom-one"]
            assert now.gateways["prod"] is first.gateways["prod"]
            assert now.routes["prod", "support"] is first.routes["prod", "support"]
            assert now.vias == first.vias
            assert now.stored == first.stored
        finally:
            await database.close()

    run(main())
