"""Servers shared by the contract tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Address, program

STRICT_KEY = "sk-strict-0123456789abcdef"


@pytest.fixture(scope="session")
def strict_upstream() -> Iterator[Address]:
    """The embedded provider alone: a real upstream that refuses a missing, wrong or doubled key."""
    with program("local", "--port", "0", environment={"TRUNKLINE_LOCAL_KEY": STRICT_KEY}) as running:
        yield running.address
