"""The set-up in a real database of either engine, written by one process and read by others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.databases import everything
from tests.running import run
from trunkline.errors import SettingsError
from trunkline.policy.client_secrets import ClientSecret
from trunkline.policy.control import ControlRules
from trunkline.policy.registry import ClientSecretMode, GatewayKey, GatewayRules, Scope
from trunkline.policy.sessions import Quota, RealtimeRules, SessionLimits
from trunkline.providers import Via
from trunkline.store import Configuration, Database, Vault

SECRETS = ("sk-stored-0123456789", "cf-token-0123456789", "sk-brought-0123456789")


@asynccontextmanager
async def configuration(data_dir: Path, url: str, master_key: str = "") -> AsyncIterator[Configuration]:
    database = await Database.open(data_dir, url)
    try:
        opened = Configuration(database, Vault.at(data_dir, master_key), GatewayRules("default", authenticated=False))
        await opened.check()
        yield opened
    finally:
        await database.close()


def gateway_key(id: str = "key_1", gateway: str = "default") -> GatewayKey:
    scopes = frozenset({Scope.RUN, Scope.READ})
    return GatewayKey(id, gateway, "app", id.encode().ljust(32), "abcd", scopes, ("gpt-*",), time.time(), None, None)


def test_what_is_set_up_is_there_after_a_restart(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        limits = SessionLimits(idle=60.0, concurrent=2, budget=Quota(5, 86400))
        realtime = RealtimeRules(limits, beta_bridge=False, resume=False, fallbacks=("local/local",), record=True)
        rules = GatewayRules("prod", True, True, ClientSecretMode.RELAY, ("https://app.example",), realtime)
        async with configuration(tmp_path, database_url) as first:
            await first.create_gateway(rules)
            await first.add_key(replace(gateway_key(gateway="prod"), limits=limits))
            assert not await first.store_key("prod", "openai", "default", SECRETS[0], "6789")
            await first.set_via("default", "groq", Via("https://g.example/v1/a/b", SECRETS[1], "header"))
        async with configuration(tmp_path, database_url) as second:
            _, registry = await second.load()
        assert registry.gateways["prod"] == rules
        assert set(registry.gateways) == {"prod", "default"}
        assert [(key.models, key.limits) for key in registry.keys.values()] == [(("gpt-*",), limits)]
        assert registry.stored_keys("prod", "openai") == {"default": SECRETS[0]}
        assert registry.stored_keys("default", "openai") == {}
        assert registry.vias["default", "groq"].token == SECRETS[1]

    run(main())


def test_no_key_is_in_the_files_or_in_what_is_listed(tmp_path: Path, empty_database_url: str) -> None:
    async def main() -> None:
        async with configuration(tmp_path, empty_database_url) as opened:
            await opened.store_key("default", "openai", "default", SECRETS[0], "6789")
            await opened.set_via("default", "groq", Via("https://g.example/v1/a/b", SECRETS[1]))
            secret = ClientSecret("sec_1", "default", "openai", "m", time.time() + 60, provider_key=SECRETS[2])
            await opened.keep_secret(b"d" * 32, secret)
            listed = repr(await opened.stored_keys()) + repr(await opened.load()) + repr(await opened.secrets())
            kept()
        assert not [value for value in SECRETS if value in listed]
        rows = await everything(empty_database_url)
        assert "stored_keys" in rows
        assert not [value for value in SECRETS if value in rows]

    def kept() -> None:
        files = list(tmp_path.iterdir())
        assert (tmp_path / "empty.db" in files) == empty_database_url.startswith("sqlite")
        written = b"".join(path.read_bytes() for path in files)
        assert not [value for value in SECRETS if value.encode() in written]
        assert not [path for path in files if path.stat().st_mode & 0o077]

    run(main())


def test_limits_that_are_added_at_once_are_all_there(tmp_path: Path, database_url: str) -> None:
    def adding(number: int) -> Callable[[ControlRules], dict[str, Any]]:
        rule = {"id": f"limit-{number}", "measure": "requests", "limit": 100, "window": 60}
        return lambda present: {"limits": [*msgspec.to_builtins(present.limits), rule]}

    async def main() -> None:
        async with configuration(tmp_path, database_url) as one, configuration(tmp_path, database_url) as other:
            await asyncio.gather(
                *(at.change_gateway("default", control=adding(number)) for number, at in enumerate([one, other] * 4))
            )
            (rules,) = await one.gateways()
            assert {rule.id for rule in rules.control.limits} == {f"limit-{number}" for number in range(8)}

    run(main())


def test_a_stored_key_is_rotated_in_place_and_can_be_removed(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with configuration(tmp_path, database_url) as opened:
            await opened.store_key("default", "openai", "default", "old", "")
            before = await opened.number()
            assert await opened.store_key("default", "openai", "default", "new", "")
            assert await opened.number() > before
            _, registry = await opened.load()
            assert registry.stored_keys("default", "openai") == {"default": "new"}
            await opened.forget_key("default", "openai", "default")
            with pytest.raises(SettingsError, match="holds no key"):
                await opened.forget_key("default", "openai", "default")

    run(main())


def test_a_key_is_revoked_once_and_for_all(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with configuration(tmp_path, database_url) as opened:
            await opened.add_key(gateway_key())
            first = await opened.revoke_key("key_1")
            again = await opened.revoke_key("key_1")
            assert first.revoked_at == again.revoked_at is not None
            with pytest.raises(SettingsError, match="keys list"):
                await opened.revoke_key("key_9")

    run(main())


def test_a_deleted_gateway_takes_its_keys_with_it(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with configuration(tmp_path, database_url) as opened:
            await opened.create_gateway(GatewayRules("gone"))
            await opened.add_key(gateway_key(gateway="gone"))
            await opened.store_key("gone", "openai", "default", SECRETS[0], "")
            await opened.delete_gateway("gone")
            _, registry = await opened.load()
            assert (registry.keys, registry.stored, set(registry.gateways)) == ({}, {}, {"default"})
            for act in (opened.delete_gateway("gone"), opened.add_key(gateway_key(gateway="gone"))):
                with pytest.raises(SettingsError, match="no gateway 'gone'"):
                    await act
            with pytest.raises(SettingsError, match="always there"):
                await opened.delete_gateway("default")

    run(main())


def test_a_client_secret_survives_with_its_counts_until_it_expires(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        now = time.time()
        terms = {"session": {"type": "realtime"}, "max_uses": 2, "spend_cap": 0.5, "provider_key": "sk-own"}
        lasting = ClientSecret("sec_1", "default", "openai", "m", now + 60, **terms)
        over = ClientSecret("sec_2", "default", "openai", "m", now - 1)
        async with configuration(tmp_path, database_url) as opened:
            await opened.keep_secret(b"1" * 32, lasting)
            await opened.keep_secret(b"2" * 32, over)
            lasting.uses, lasting.spent = 1, 0.25
            await opened.count_secret(lasting)
        async with configuration(tmp_path, database_url) as opened:
            assert await opened.secrets() == {b"1" * 32: lasting}

    run(main())


def test_another_master_key_is_noticed_before_anything_is_written_with_it(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with configuration(tmp_path, database_url) as opened:
            await opened.store_key("default", "openai", "default", SECRETS[0], "")
        with pytest.raises(SettingsError, match="master key is not the one"):
            async with configuration(tmp_path, database_url, master_key="ab" * 32):
                pass

    run(main())


def test_a_file_that_is_no_database_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "trunkline.db").write_bytes(b"not a database at all" * 100)

    async def main() -> None:
        with pytest.raises(SettingsError, match=r"trunkline\.db"):
            await Database.open(tmp_path)

    run(main())


def test_processes_that_start_on_an_empty_database_together_all_succeed(
    tmp_path: Path, empty_database_url: str
) -> None:
    command = [sys.executable, "-m", "trunkline", "keys", "create", "--data-dir", str(tmp_path)]
    variables = {**os.environ, "TRUNKLINE_DATABASE_URL": empty_database_url}
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdout=pipe, stderr=pipe, env=variables) for _ in range(6)]
    for process in started:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint.decode()

    async def main() -> None:
        async with configuration(tmp_path, empty_database_url) as opened:
            assert len(await opened.keys()) == 6

    run(main())


def test_writers_at_once_lose_nothing(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with configuration(tmp_path, database_url) as one, configuration(tmp_path, database_url) as other:
            await asyncio.gather(
                *((one, other)[number % 2].add_key(gateway_key(f"key_{number}")) for number in range(40))
            )
            assert len(await one.keys()) == 40
            assert await other.number() == 40

    run(main())
