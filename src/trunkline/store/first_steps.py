"""What has been done with a gateway already, for whoever begins with it."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Table, exists, select

from trunkline.store.database import Database
from trunkline.store.schema import gateway_keys, logs, realtime_sessions, stored_keys

# Every browser says so, for reasons of history; programs do not. The last one is the auth matrix.
_NO_PROGRAM: Final = ("Mozilla/%", "trunkline-probe/%")


class FirstSteps(msgspec.Struct, frozen=True, kw_only=True):
    """Which steps were done, as far as rows tell: deleted ones tell nothing.

    ``answered``: a model answered. ``spoken``: there was a realtime session. ``provider_key``: a provider's key is in
    the vault. ``gateway_key``: there is a key of the gateway's own. ``program``: a model answered a caller that is no
    browser.
    """

    answered: bool
    spoken: bool
    provider_key: bool
    gateway_key: bool
    program: bool


async def first_steps(database: Database, gateway: str | None) -> FirstSteps:
    """Return what was done with a gateway, or with any."""

    def there_is(table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        mine = () if gateway is None else (table.c.gateway == gateway,)
        return exists(select(1).select_from(table).where(*mine, *conditions))

    # A list of models is no answer of one.
    answered = (logs.c.success, logs.c.model != "", logs.c.request_type != "realtime")
    asked = {
        "answered": there_is(logs, *answered),
        "spoken": there_is(realtime_sessions),
        "provider_key": there_is(stored_keys),
        "gateway_key": there_is(gateway_keys, gateway_keys.c.revoked_at.is_(None)),
        "program": there_is(logs, *answered, *(logs.c.user_agent.not_like(name) for name in _NO_PROGRAM)),
    }
    async with database.reading() as connection:
        row = (await connection.execute(select(*(question.label(name) for name, question in asked.items())))).one()
    return FirstSteps(**{name: bool(row._mapping[name]) for name in asked})
