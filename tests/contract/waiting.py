"""Waiting for what happens beside a test, without saying how long it may take: the test as a whole is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

_LOOK_SECONDS = 0.02


async def until(look: Callable[[], Awaitable[Found | None]]) -> Found:
    """Look until something is found that counts as true; return it."""
    while True:
        found = await look()
        if found:
            return found
        await asyncio.sleep(_LOOK_SECONDS)
