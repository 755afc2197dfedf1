"""The set-up as it was read last: a change is read without all that stayed as it was.

Reading goes on in shares, between which the event loop gets its turn: requests come first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, Table, func, select, tuple_

from trunkline.policy.registry import GatewayKey, Scope
from trunkline.policy.sessions import NO_LIMITS
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.schema import gateway_keys

# So many rows are read before the event loop gets its turn.
_ROWS: Final = 50
_KEYS: Final = 200

_Read = TypeVar("_Read")


class Readings(Generic[_Read]):
    """What the rows of a table say, by ``read``; a row that is as it was is not read again.

    The columns of the table's primary key are its first.
    """

    def __init__(self, table: Table, read: Callable[[Row[Any]], _Read]) -> None:
        self._table = table
        self._key = len(table.primary_key)
        self._make = read
        self._known: dict[Any, tuple[Row[Any], _Read]] = {}

    async def of(self, connection: AsyncConnection, *where: ColumnElement[bool]) -> list[tuple[Row[Any], _Read]]:
        """Return the rows as they are now, each with what it says."""
        known: dict[Any, tuple[Row[Any], _Read]] = {}
        for number, row in enumerate(await connection.execute(select(self._table).where(*where)), 1):
            before = self._known.get(key := row[: self._key])
            known[key] = before if before is not None and before[0] == row else (row, self._make(row))
            if number % _ROWS == 0:
                await asyncio.sleep(0)
        self._known = known
        return [*known.values()]


class Keys(msgspec.Struct, frozen=True):
    """All gateway keys as they were at a ``number`` of the set-up."""

    number: int = -1
    by_digest: dict[bytes, GatewayKey] = msgspec.field(default_factory=dict)
    by_id: dict[str, GatewayKey] = msgspec.field(default_factory=dict)


class KeyReadings:
    """Reads gateway keys: those alone that were written since the last time, unless some are gone."""

    def __init__(self) -> None:
        self._known = Keys()

    async def of(self, connection: AsyncConnection, number: int) -> Keys:
        """Return all keys as they are now, at a ``number`` of the set-up."""
        newer = await self._with(connection, self._known, number)
        count = (await connection.execute(select(func.count()).select_from(gateway_keys))).scalar_one()
        if not len(newer.by_id) == len(newer.by_digest) == count:
            newer = await self._with(connection, Keys(), number)
        self._known = newer
        return newer

    async def _with(self, connection: AsyncConnection, known: Keys, number: int) -> Keys:
        """Return these and the keys that were written since, in place of those."""
        found = Keys(number, dict(known.by_digest), dict(known.by_id))
        place = tuple_(gateway_keys.c.changed, gateway_keys.c.id)
        asked = select(gateway_keys).order_by(gateway_keys.c.changed, gateway_keys.c.id).limit(_KEYS)
        # An import counts up after it has written, so that its keys have the number that was.
        last = (known.number, "")
        while rows := (await connection.execute(asked.where(place > last))).all():
            for row in rows:
                found.by_digest[row.digest] = found.by_id[row.id] = gateway_key(row)
            last = (rows[-1].changed, rows[-1].id)
        return found


def gateway_key(row: Row[Any]) -> GatewayKey:
    """Return the gateway key that a row keeps. Many have what others have too, and share it."""
    return GatewayKey(
        id=row.id,
        gateway=row.gateway,
        name=row.name,
        digest=row.digest,
        hint=row.hint,
        scopes=_scopes(tuple(row.scopes)),
        models=tuple(row.models),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        limits=NO_LIMITS.changed(row.limits) if row.limits else NO_LIMITS,
    )


@lru_cache(maxsize=64)
def _scopes(names: tuple[str, ...]) -> frozenset[Scope]:
    return frozenset(map(Scope, names))
