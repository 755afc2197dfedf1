"""What an administrator does to a gateway, for tests: through the store, as the commands do it."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from trunkline.policy.keys import new_key as make_key
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.store import Configuration, Database, Vault


@asynccontextmanager
async def administration(data_dir: Path, default: str = "default", url: str = "") -> AsyncIterator[Configuration]:
    """The set-up of a data directory, or a database by its URL, opened beside a gateway or before it starts."""
    database = await Database.open(data_dir, url)
    try:
        configuration = Configuration(database, Vault.at(data_dir), GatewayRules(default, authenticated=False))
        await configuration.check()
        yield configuration
    finally:
        await database.close()


async def new_key(configuration: Configuration, gateway: str = "default", **changes: Any) -> tuple[str, str]:
    """Make a gateway key; return its value and its id."""
    terms = {"scopes": [Scope.RUN], "models": (), "expires_at": None, **changes}
    value, key = make_key(secrets.token_hex(40), gateway=gateway, name="test", now=time.time(), **terms)
    await configuration.add_key(key)
    return value, key.id
