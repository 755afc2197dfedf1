"""SQLAlchemy's engine is loaded without its ORM, and whoever wants the ORM besides still gets it."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import sys
from trunkline.store.async_engine import AsyncConnection, create_async_engine
print("sqlalchemy.orm" in sys.modules)

import asyncio
from sqlalchemy import text
from sqlalchemy.ext import asyncio as package

async def ask():
    engine = create_async_engine("sqlite+aiosqlite://")
    async with package.AsyncSession(engine) as session:
        print((await session.execute(text("SELECT 7"))).scalar(), type(await session.connection()) is AsyncConnection)
    await engine.dispose()

asyncio.run(ask())
"""


def test_the_engine_comes_alone_and_the_rest_when_it_is_asked_for() -> None:
    shown = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n7 True\n"
