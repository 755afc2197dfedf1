"""Whether all is well, and what to do first: ``GET /api/overview``, for the console and for keys that may read."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from trunkline.server.answers import answers, json_answer, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.store import AWAY
from trunkline.store.first_steps import FirstSteps, first_steps

# A page that waits for longer tells less than one that says that the database is slow.
_DATABASE_SECONDS: Final = 2.0


class LogState(msgspec.Struct, frozen=True):
    """How the log of this process fares: ``waiting_bytes`` are on the disk and not in the database yet.

    ``held_up``: the last try to write into the database failed. ``lost`` counts exchanges since the start that are in
    no log: refused or dropped for want of room, or set aside as unreadable.
    """

    waiting_bytes: int
    held_up: bool
    lost: int


class Overview(msgspec.Struct, frozen=True):
    """``database``: it answers. ``steps`` is null while it does not."""

    database: bool
    log: LogState
    steps: FirstSteps | None


def overview_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the answers, by name."""
    return schemas_of(Overview)


def create_overview_routes(gateway: Gateway) -> APIRouter:
    """Return the route ``/api/overview``."""
    routes = APIRouter(prefix="/api/overview", tags=["overview"])

    @routes.get("", response_class=Response, responses=answers(Overview))
    async def overview(request: Request) -> Response:
        """Tell how the gateway is doing, and which first steps were done with it. A key is told of its own gateway."""
        caller = require_scope(gateway, request, "read", None)
        try:
            async with asyncio.timeout(_DATABASE_SECONDS):
                steps = await first_steps(gateway.database, caller.gateway)
        except (*AWAY, TimeoutError):
            steps = None
        journal = gateway.journal.stats()
        lost = journal.refused + journal.dropped + journal.set_aside
        state = LogState(journal.waiting_bytes, gateway.drain.is_held_up, lost)
        return json_answer(Overview(steps is not None, state, steps))

    return routes
