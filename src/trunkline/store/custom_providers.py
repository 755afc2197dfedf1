"""Custom providers in the database: added while the gateway runs, and known in every process at once."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from trunkline.errors import SettingsError
from trunkline.store.audit import Change, changing
from trunkline.store.database import Database
from trunkline.store.schema.management import custom_providers
from trunkline.store.vault import Unsealable, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomProvider:
    """A provider of the administrator's, reached as ``custom-{slug}`` where ``enable``. Times are Unix seconds.

    ``headers`` go with every request to it and may hold credentials; ``fields`` is what is said of it to people.
    """

    id: str
    slug: str
    name: str
    base_url: str
    enable: bool
    fields: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)
    created_at: float
    modified_at: float


class CustomProviders:
    """Reads and writes of one database, with one vault."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def all(self) -> list[CustomProvider]:
        """Return all of them, oldest first."""
        asked = select(custom_providers).order_by(custom_providers.c.created_at, custom_providers.c.id)
        async with self._database.reading() as connection:
            rows = (await connection.execute(asked)).all()
        return [self._provider(row) for row in rows]

    async def get(self, id: str) -> CustomProvider | None:
        """Return one, if it is there."""
        return next((one for one in await self.all() if one.id == id), None)

    async def create(
        self,
        slug: str,
        *,
        name: str,
        base_url: str,
        enable: bool,
        fields: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> CustomProvider:
        """Add one. Raises `SettingsError` when the slug is taken."""
        made_id, now = str(uuid.uuid4()), time.time()
        row: dict[str, Any] = {
            "id": made_id,
            "slug": slug,
            "name": name,
            "base_url": base_url,
            "enable": enable,
            "fields": dict(fields),
        }
        change = Change(
            "custom_provider.create", "custom_provider", f"custom-{slug}", details={"base_url": base_url, "on": enable}
        )
        try:
            async with changing(self._database, change) as connection:
                await connection.execute(
                    insert(custom_providers).values(
                        **row, sealed=self._sealed(headers, made_id), created_at=now, modified_at=now
                    )
                )
        except IntegrityError as error:
            raise SettingsError(f"There is a custom provider {slug!r} already; choose another slug.") from error
        return CustomProvider(**row, headers=dict(headers), created_at=now, modified_at=now)

    async def change(self, id: str, **changes: Any) -> CustomProvider | None:
        """Change fields of a `CustomProvider`, but its slug; return it, or None when there is none."""
        values = {**changes, "modified_at": time.time()}
        if "headers" in values:
            values["sealed"] = self._sealed(values.pop("headers"), id)
        found = await self.get(id)
        if found is None:
            return None
        change = Change(
            "custom_provider.change", "custom_provider", f"custom-{found.slug}", details={"fields": sorted(changes)}
        )
        async with changing(self._database, change) as connection:
            await connection.execute(update(custom_providers).where(custom_providers.c.id == id).values(values))
        return await self.get(id)

    async def delete(self, id: str) -> CustomProvider | None:
        """Remove one; return it as it was, or None when there was none."""
        found = await self.get(id)
        if found is None:
            return None
        change = Change("custom_provider.delete", "custom_provider", f"custom-{found.slug}")
        async with changing(self._database, change) as connection:
            await connection.execute(delete(custom_providers).where(custom_providers.c.id == id))
        return found

    def _sealed(self, headers: Mapping[str, str], id: str) -> bytes | None:
        return self._vault.seal(json.dumps(dict(headers)), "custom provider", id) if headers else None

    def _provider(self, row: Row[Any]) -> CustomProvider:
        values = dict(row._mapping)
        sealed = values.pop("sealed")
        try:
            headers = json.loads(self._vault.open(sealed, "custom provider", row.id)) if sealed else {}
        except Unsealable as error:
            raise SettingsError(
                f"The headers of the custom provider {row.slug!r} were sealed with another master key, or are damaged."
                " Delete it and add it again."
            ) from error
        return CustomProvider(**values, headers=headers)
