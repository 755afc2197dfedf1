"""The set-up in the database, for the commands that read or change it.

A running gateway sees a change within a second.
"""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from trunkline import settings
from trunkline.errors import SettingsError
from trunkline.policy.registry import GatewayRules
from trunkline.providers import Catalogue
from trunkline.settings import Settings

if TYPE_CHECKING:
    from trunkline.store import Configuration, Database

Result = TypeVar("Result")


def chosen_settings(data_dir: Path | None) -> Settings:
    """Return the settings that ``trunkline serve`` would use, without its conditions for listening."""
    return settings.load({"data_dir": data_dir, "host": "127.0.0.1"})


def with_configuration(chosen: Settings, act: Callable[[Configuration], Awaitable[Result]]) -> Result:
    """Open the database, act, close it. Raises `SettingsError`."""
    from trunkline.store import Configuration, Vault  # late, as below

    async def acting(database: Database) -> Result:
        vault = Vault.at(chosen.data_dir, chosen.master_key)
        configuration = Configuration(database, vault, GatewayRules(chosen.gateway, authenticated=False))
        await configuration.check()
        return await act(configuration)

    return with_database(chosen, acting)


def with_database(chosen: Settings, act: Callable[[Database], Awaitable[Result]]) -> Result:
    """Open the database, act, close it. Raises `SettingsError`.

    What is changed is written down as changed by the command's user.
    """
    from trunkline.store import Actor, Database, act_as  # late: commands that need no database start without it

    async def acting() -> Result:
        act_as(Actor("command", _user_name()))
        database = await Database.open(chosen.data_dir, chosen.database_url)
        try:
            return await act(database)
        finally:
            await database.close()

    return asyncio.run(acting())


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return f"user {os.getuid()}"


def provider_slug(chosen: Settings, name: str) -> str:
    """Return the slug of a provider's name or alias. Raises `SettingsError` naming where the list is."""
    provider = Catalogue.build(chosen.providers).find(name)
    if provider is None and name.startswith("custom-"):
        _, registry = with_configuration(chosen, lambda configuration: configuration.load())
        if name in registry.providers:
            return name
    if provider is None:
        raise SettingsError(f"There is no provider {name!r}; docs/providers.md lists them.")
    return provider.slug
