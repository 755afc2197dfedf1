"""Servers shared by the contract tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Postgres, postgres_server
from tests.running import Address, new_database, program

STRICT_KEY = "sk-strict-0123456789abcdef"


@pytest.fixture(scope="session")
def strict_upstream() -> Iterator[Address]:
    """The embedded provider alone: a real upstream that refuses a missing, wrong or doubled key."""
    with program("local", "--port", "0", environment={"TRUNKLINE_LOCAL_KEY": STRICT_KEY}) as running:
        yield running.address


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database with all its tables; a test that takes it runs on both engines."""
    if request.param == "sqlite":
        file = tmp_path / "fresh.db"
        file.touch(0o600)
        file.write_bytes(new_database())
        yield f"sqlite:///{file}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.fresh()
    yield url
    server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, on either engine."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.fresh("template0")
    return f"sqlite:///{tmp_path / 'empty.db'}"
