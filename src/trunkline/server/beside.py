"""Work that takes long for what is long: done beside everybody else's requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

LONG: Final = 256 * 1024
"""Bytes."""

_Result = TypeVar("_Result")


async def beside(size: int, work: Callable[[], _Result]) -> _Result:
    """Return what ``work`` makes of so many bytes: in a thread where they are more than `LONG`."""
    return await asyncio.to_thread(work) if size > LONG else work()
