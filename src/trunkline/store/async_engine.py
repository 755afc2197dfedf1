"""SQLAlchemy's asynchronous engine without its ORM, which takes a twelfth of the gateway's start and of its memory.

The package that holds the engine loads the ORM for the sake of names that nobody here uses. Only the module is loaded,
below a stand-in for the package; who imports the package later gets all of it, with the same engine.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from typing import Final

_PACKAGE: Final = "sqlalchemy.ext.asyncio"


def _load_the_engine_alone() -> None:
    spec = find_spec(_PACKAGE)
    if spec is None or _PACKAGE in sys.modules:
        return
    sys.modules[_PACKAGE] = module_from_spec(spec)  # has the package's path, and has not run
    try:
        import sqlalchemy.ext.asyncio.engine  # noqa: F401
    finally:
        del sys.modules[_PACKAGE]


_load_the_engine_alone()

from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine, create_async_engine  # noqa: E402

__all__ = ("AsyncConnection", "AsyncEngine", "create_async_engine")
