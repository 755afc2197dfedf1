"""People with accounts, and their browsers, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.running import Address
from trunkline.policy.roles import Role
from trunkline.store import Database, User, Users
from trunkline.store.passwords import hash_password

PASSWORD = "a horse that staples batteries"
CONSOLE = {"x-trunkline-console": "1", "sec-fetch-site": "same-origin"}

_hashes: dict[str, str] = {}


async def add(data_dir: Path, name: str, role: Role = Role.ADMIN, password: str = PASSWORD) -> User:
    """Make an account, as `trunkline users add` does."""
    if password not in _hashes:
        _hashes[password] = hash_password(password)
    database = await Database.open(data_dir)
    try:
        return await Users(database).add(name, role, _hashes[password])
    finally:
        await database.close()


@asynccontextmanager
async def browser(address: Address, name: str = "", password: str = PASSWORD) -> AsyncIterator[httpx.AsyncClient]:
    """A page of the console in a browser of its own; signed in when a name is given."""
    async with httpx.AsyncClient(base_url=address.http, headers=CONSOLE, timeout=60) as client:
        if name:
            answer = await client.post("/api/account/sign-in", json={"name": name, "password": password})
            assert answer.status_code == 200, answer.text
        yield client
