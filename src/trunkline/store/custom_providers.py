"""Custom providers in the database: added while the gateway runs, and known in every process at once."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from trunkline.errors import SettingsError
from trunkline.providers import custom_provider
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.audit import Change, changing
from trunkline.store.database import Database
from trunkline.store.schema import stored_keys
from trunkline.store.schema.management import custom_providers
from trunkline.store.vault import Unsealable, Vault

SLUG: Final = r"^[a-z0-9]([a-z0-9-]{0,54}[a-z0-9])?$"
# Of ``fields``, those that act. What is not there is as OpenAI has it.
PATHS: Final = ("chat_path", "models_path")
_PATH: Final = re.compile(r"[A-Za-z0-9._~@:-]+(/[A-Za-z0-9._~@:-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomProvider:
    """A provider of the administrator's, reached as ``custom-{slug}`` where ``enable``. Times are Unix seconds.

    ``headers`` go with every request to it and may hold credentials; ``fields`` is what is said of it to people, and
    its ``chat_path`` and ``models_path``, below ``base_url``.
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
    """Reads and writes of one database, with one vault. At ``private_hosts`` providers may be that are not public."""

    def __init__(self, database: Database, vault: Vault, private_hosts: Collection[str]) -> None:
        self._database = database
        self._vault = vault
        self._private_hosts = private_hosts

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
        """Add one. Raises `SettingsError` for what could not become a provider, and when the slug is taken.

        So it does when the vault holds a key for that name already, because it was stored for another host.
        """
        self._check(slug, name, base_url, fields, headers)
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
                await _require_no_keys(connection, slug, "so that it does not go to a host it was not stored for")
                await connection.execute(
                    insert(custom_providers).values(
                        **row, sealed=self._sealed(headers, made_id), created_at=now, modified_at=now
                    )
                )
        except IntegrityError as error:
            raise SettingsError(f"There is a custom provider {slug!r} already; choose another slug.") from error
        return CustomProvider(**row, headers=dict(headers), created_at=now, modified_at=now)

    async def change(self, id: str, **changes: Any) -> CustomProvider | None:
        """Change fields of a `CustomProvider`, but its slug; return it, or None when there is none.

        Credentials stay with the host that they were given for: raises `SettingsError` for a ``base_url`` at another
        host while ``headers`` are kept that are not set anew, or the vault holds a key for the provider.
        """
        values = {**changes, "modified_at": time.time()}
        if "headers" in values:
            values["sealed"] = self._sealed(values.pop("headers"), id)
        found = await self.get(id)
        if found is None:
            return None
        # One that is refused by now, because the settings say otherwise, can still be turned off.
        if changes.keys() - {"enable"} or changes.get("enable"):
            after = replace(found, **changes)
            self._check(after.slug, after.name, after.base_url, after.fields, after.headers)
        moves = not is_same_host(changes.get("base_url", found.base_url), found.base_url)
        if moves and found.headers and "headers" not in changes:
            raise SettingsError(
                "base_url: the headers that are kept were given for another host, and would go to the new one; send"
                ' headers anew along with it, or "{}" for none.'
            )
        change = Change(
            "custom_provider.change", "custom_provider", f"custom-{found.slug}", details={"fields": sorted(changes)}
        )
        async with changing(self._database, change) as connection:
            if moves:
                await _require_no_keys(connection, found.slug, "and store it again when the base_url is changed")
            await connection.execute(update(custom_providers).where(custom_providers.c.id == id).values(values))
        return await self.get(id)

    async def delete(self, id: str) -> CustomProvider | None:
        """Remove one with the keys that the vault holds for it; return it as it was, or None when there was none."""
        found = await self.get(id)
        if found is None:
            return None
        name = f"custom-{found.slug}"
        change = Change("custom_provider.delete", "custom_provider", name)
        async with changing(self._database, change) as connection:
            await connection.execute(delete(custom_providers).where(custom_providers.c.id == id))
            await connection.execute(delete(stored_keys).where(stored_keys.c.provider == name))
        return found

    async def find(self, slug: str) -> CustomProvider | None:
        """Return the one of a slug, if it is there."""
        return next((one for one in await self.all() if one.slug == slug), None)

    def _check(
        self, slug: str, name: str, base_url: str, fields: Mapping[str, Any], headers: Mapping[str, str]
    ) -> None:
        if not re.fullmatch(SLUG, slug):
            raise SettingsError("A provider's name has small letters, digits and hyphens within, at most 56.")
        for what, path in paths_of(fields).items():
            if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
                raise SettingsError(f"{what}: a path below base_url such as v1/chat/completions, without ? or #.")
        table = {"name": name, "base_url": base_url, "headers": dict(headers), **paths_of(fields)}
        custom_provider(f"custom-{slug}", table, self._private_hosts)

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


def paths_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return those of a custom provider's fields that say where its OpenAI-compatible surface is."""
    return {name: fields[name] for name in PATHS if fields.get(name) is not None}


def is_same_host(one: str, other: str) -> bool:
    """Whether what is sent to two addresses reaches the same server. Another port may be another's."""
    return _place(one) == _place(other)


def _place(base_url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(base_url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or {"https": 443, "http": 80}.get(parts.scheme)


async def _require_no_keys(connection: AsyncConnection, slug: str, why: str) -> None:
    asked = select(stored_keys.c.gateway, stored_keys.c.alias).where(stored_keys.c.provider == f"custom-{slug}")
    kept = (await connection.execute(asked)).all()
    if kept:
        places = ", ".join(sorted(f"{row.alias} of gateway {row.gateway}" for row in kept))
        raise SettingsError(
            f"The vault holds a key for custom-{slug} ({places}): remove it first (trunkline vault remove, or DELETE"
            f" /api/gateways/{{gateway}}/stored-keys/custom-{slug}/{{alias}}), {why}."
        )
