"""Who changed what, and when: a row for each change, written in the transaction that makes it.

Whoever carries out a request or a command says once for whom (`act_as`); every `changing` after it is theirs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec
from sqlalchemy import insert, select, update

from trunkline.store import schema
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.database import Database
from trunkline.store.identifiers import ulid

_LONGEST_NAME: Final = 200
_LONGEST_ADDRESS: Final = 64


class Actor(msgspec.Struct, frozen=True):
    """Who does something; ``address`` is that from which a request came.

    ``kind``: ``user``, ``gateway_token``, ``gateway_key``, ``console`` for whoever is at the machine of a gateway
    without accounts, ``command``, or ``gateway`` for what it does of itself.
    """

    kind: str
    name: str
    id: str = ""
    address: str = ""


class Change(msgspec.Struct):
    """One change: an action such as ``key.revoke``, on what, in which gateway (empty: in none). Holds no secret."""

    action: str
    target_kind: str
    target_id: str
    gateway: str = ""
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """A change as it is kept. ``at`` is Unix seconds; ``id`` a ULID."""

    id: str
    at: float
    actor_kind: str
    actor_id: str
    actor_name: str
    address: str
    action: str
    target_kind: str
    target_id: str
    gateway: str
    details: dict[str, Any]


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of the audit log; None is anything. ``action`` may end in ``*``, ``before`` is an id."""

    actor_id: str | None = None
    action: str | None = None
    target_kind: str | None = None
    target_id: str | None = None
    gateway: str | None = None
    since: float | None = None
    until: float | None = None
    before: str | None = None


_ITSELF: Final = Actor("gateway", "the gateway itself")
_actor: ContextVar[Actor] = ContextVar("actor", default=_ITSELF)


def act_as(actor: Actor) -> None:
    """Say for whom the present task acts from now on."""
    _actor.set(actor)


def present_actor() -> Actor:
    """Return for whom the present task acts."""
    return _actor.get()


@asynccontextmanager
async def changing(database: Database, change: Change) -> AsyncIterator[AsyncConnection]:
    """A transaction that changes the set-up: running gateways will see a new number, and the audit log a new row.

    What the transaction finds out may still be written into ``change``. Changes of several processes wait for each
    other, so that what one has checked stays true until it is committed.
    """
    state = schema.vault_state
    async with database.transaction() as connection:
        await connection.execute(update(state).values(number=state.c.number + 1))
        yield connection
        await connection.execute(insert(schema.users.audit_log).values(_row(_actor.get(), change)))


class AuditLog:
    """Reads and writes of the audit log. Nothing removes a row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, actor: Actor, change: Change) -> None:
        """Write down a change that was made elsewhere than in the set-up."""
        async with self._database.transaction() as connection:
            await connection.execute(insert(schema.users.audit_log).values(_row(actor, change)))

    async def list(self, wanted: AuditFilter, limit: int) -> list[AuditRow]:
        """Return rows, newest first."""
        table = schema.users.audit_log
        query = select(table).order_by(table.c.id.desc()).limit(limit)
        for column in ("actor_id", "target_kind", "target_id", "gateway"):
            value = getattr(wanted, column)
            if value is not None:
                query = query.where(table.c[column] == value)
        if wanted.action is not None:
            beginning = wanted.action.removesuffix("*")
            is_whole = beginning == wanted.action
            matches = table.c.action == beginning if is_whole else table.c.action.startswith(beginning, autoescape=True)
            query = query.where(matches)
        if wanted.since is not None:
            query = query.where(table.c.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(table.c.at < wanted.until)
        if wanted.before is not None:
            query = query.where(table.c.id < wanted.before)
        async with self._database.reading() as connection:
            return [AuditRow(**row._mapping) for row in await connection.execute(query)]


def _row(actor: Actor, change: Change) -> dict[str, Any]:
    return {
        "id": ulid(),
        "at": time.time(),
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "actor_name": actor.name[:_LONGEST_NAME],
        "address": actor.address[:_LONGEST_ADDRESS],
        "action": change.action,
        "target_kind": change.target_kind,
        "target_id": change.target_id[:_LONGEST_NAME],
        "gateway": change.gateway,
        "details": msgspec.to_builtins(change.details),
    }
