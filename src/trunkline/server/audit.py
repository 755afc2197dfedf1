"""Writing down who did what over HTTP.

A change of the set-up or of users writes its own row (`trunkline.store.audit.changing`), for whoever `require_scope` or
a sign-in has found to ask. What changes something else calls `record`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.requests import Request

from trunkline.credentials import Caller
from trunkline.server.gateway import Gateway
from trunkline.store import Actor, AuditLog, Change, act_as, present_actor


class Target(NamedTuple):
    """What was changed: a kind such as ``session``, its id, and the gateway it belongs to, where it does to one."""

    kind: str
    id: str
    gateway: str = ""


async def record(
    gateway: Gateway, caller: Caller, action: str, target: Target, details: Mapping[str, Any] | None = None
) -> None:
    """Write down one change. ``action`` is written as ``log.delete``; ``details`` are JSON and hold no secret."""
    change = Change(action, target.kind, target.id, target.gateway, details or {})
    await AuditLog(gateway.database).add(_actor(caller, present_actor().address), change)


def act_for(caller: Caller, request: Request) -> None:
    """Say that what the present request changes, this caller changes."""
    act_as(_actor(caller, request.client.host if request.client else ""))


def _actor(caller: Caller, address: str) -> Actor:
    return Actor(caller.kind, caller.name, caller.id, address)
