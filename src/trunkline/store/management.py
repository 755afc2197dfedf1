"""What Cloudflare's management API keeps beyond the set-up: further fields, terms of stored keys, datasets."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from trunkline.errors import SettingsError
from trunkline.store.audit import Change, changing
from trunkline.store.database import Database
from trunkline.store.schema import gateways, stored_keys
from trunkline.store.schema.management import account_fields, datasets, evaluations, gateway_fields, provider_configs
from trunkline.store.vault import Unsealable, Vault

# Of Cloudflare's gateway fields, those that may hold credentials of others.
SECRET_FIELDS: Final = ("otel", "stripe")


class GatewayFields(msgspec.Struct, frozen=True):
    """A gateway's further fields, by name. Times are Unix seconds."""

    gateway: str
    fields: Mapping[str, Any]
    created_at: float
    modified_at: float


class ProviderConfig(msgspec.Struct, frozen=True):
    """A stored key and its terms, without its value. Requests that name no alias get the default one's."""

    gateway: str
    provider: str
    alias: str
    hint: str
    changed_at: float
    default_config: bool = False
    rate_limit: float | None = None
    rate_limit_period: float | None = None


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a gateway's log, chosen by ``filters``: objects with ``key``, ``operator`` and an array ``value``."""

    id: str
    gateway: str
    name: str
    enable: bool
    filters: list[dict[str, Any]]
    created_at: float
    modified_at: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about the rows of datasets, which are kept with it as they were then."""

    id: str
    gateway: str
    name: str
    datasets: list[Dataset]
    results: list[dict[str, Any]]
    total_logs: int
    created_at: float


class Management:
    """Reads and writes of one database, with one vault. A gateway that is written about must have its row."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    # Gateways

    async def gateways(self) -> dict[str, GatewayFields]:
        """Return the further fields of every gateway that has a row, by its name."""
        table = gateway_fields
        asked = select(gateways.c.id, gateways.c.created_at, table.c.fields, table.c.sealed, table.c.modified_at)
        async with self._database.reading() as connection:
            rows = (await connection.execute(asked.outerjoin(table, table.c.gateway == gateways.c.id))).all()
        return {
            row.id: GatewayFields(
                row.id,
                {**(row.fields or {}), **self._opened(row.sealed, row.id)},
                row.created_at,
                row.modified_at or row.created_at,
            )
            for row in rows
        }

    async def set_fields(self, gateway: str, fields: Mapping[str, Any]) -> None:
        """Keep a gateway's further fields, all of them."""
        secret = {name: fields[name] for name in SECRET_FIELDS if fields.get(name) is not None}
        values = {
            "fields": {name: value for name, value in fields.items() if name not in SECRET_FIELDS},
            "sealed": self._vault.seal(json.dumps(secret), "gateway fields", gateway) if secret else None,
            "modified_at": time.time(),
        }
        change = Change("gateway.fields", "gateway", gateway, gateway, {"fields": sorted(fields)})
        async with changing(self._database, change) as connection:
            written = self._database.insert(gateway_fields).values(gateway=gateway, **values)
            await connection.execute(written.on_conflict_do_update(index_elements=["gateway"], set_=values))

    # Stored keys

    async def provider_configs(self, gateway: str) -> list[ProviderConfig]:
        """Return a gateway's stored keys with their terms."""
        key, term = stored_keys.c, provider_configs.c
        same = (term.gateway == key.gateway) & (term.provider == key.provider) & (term.alias == key.alias)
        asked = (
            select(
                *(key.gateway, key.provider, key.alias, key.hint, key.changed_at),
                *(term.default_config, term.rate_limit, term.rate_limit_period),
            )
            .outerjoin(provider_configs, same)
            .where(key.gateway == gateway)
            .order_by(key.provider, key.alias)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(asked)).all()
        return [ProviderConfig(**{**row._mapping, "default_config": bool(row.default_config)}) for row in rows]

    async def set_terms(self, config: ProviderConfig) -> None:
        """Keep the terms of a stored key that is there. A default one takes the place of the provider's other."""
        place = {"gateway": config.gateway, "provider": config.provider, "alias": config.alias}
        values = {
            "default_config": config.default_config,
            "rate_limit": config.rate_limit,
            "rate_limit_period": config.rate_limit_period,
        }
        change = Change(
            "stored_key.terms", "stored_key", f"{config.provider}/{config.alias}", config.gateway, dict(values)
        )
        async with changing(self._database, change) as connection:
            if config.default_config:
                others = update(provider_configs).filter_by(gateway=config.gateway, provider=config.provider)
                await connection.execute(others.values(default_config=False))
            written = self._database.insert(provider_configs).values(**place, **values)
            await connection.execute(written.on_conflict_do_update(index_elements=list(place), set_=values))

    # Datasets

    async def datasets(self, gateway: str) -> list[Dataset]:
        """Return a gateway's datasets, oldest first."""
        asked = select(datasets).where(datasets.c.gateway == gateway).order_by(datasets.c.created_at, datasets.c.id)
        async with self._database.reading() as connection:
            return [_dataset(row) for row in await connection.execute(asked)]

    async def dataset(self, gateway: str, id: str) -> Dataset | None:
        """Return a dataset, if there is one."""
        asked = select(datasets).filter_by(gateway=gateway, id=id)
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).one_or_none()
        return None if row is None else _dataset(row)

    async def create_dataset(
        self, gateway: str, name: str, enable: bool, filters: Sequence[Mapping[str, Any]], most: int
    ) -> Dataset:
        """Add a dataset. Raises `SettingsError` when there is one of that name, or ``most`` of them already."""
        now = time.time()
        made = Dataset(
            id=str(uuid.uuid4()),
            gateway=gateway,
            name=name,
            enable=enable,
            filters=[dict(one) for one in filters],
            created_at=now,
            modified_at=now,
        )
        change = Change("dataset.create", "dataset", made.id, gateway, {"name": name})
        async with changing(self._database, change) as connection:
            names = (await connection.execute(select(datasets.c.name).where(datasets.c.gateway == gateway))).scalars()
            known = set(names)
            if name in known:
                raise _name_taken("dataset", name)
            if len(known) >= most:
                raise SettingsError(f"A gateway has at most {most} datasets; delete one first.")
            await connection.execute(insert(datasets).values(msgspec.to_builtins(made)))
        return made

    async def change_dataset(
        self, gateway: str, id: str, name: str, enable: bool, filters: Sequence[Mapping[str, Any]]
    ) -> Dataset | None:
        """Replace what a dataset says; return it, or None when there is none. Raises as `create_dataset`."""
        values = {"name": name, "enable": enable, "filters": [dict(one) for one in filters], "modified_at": time.time()}
        change = Change("dataset.change", "dataset", id, gateway, {"name": name, "enable": enable})
        try:
            async with changing(self._database, change) as connection:
                changed = await connection.execute(update(datasets).filter_by(gateway=gateway, id=id).values(values))
                if not changed.rowcount:
                    raise _Absent
        except _Absent:
            return None
        except IntegrityError as error:
            raise _name_taken("dataset", name) from error
        return await self.dataset(gateway, id)

    async def delete_dataset(self, gateway: str, id: str) -> Dataset | None:
        """Remove a dataset; return it as it was, or None when there is none."""
        found = await self.dataset(gateway, id)
        if found is None:
            return None
        async with changing(self._database, Change("dataset.delete", "dataset", id, gateway)) as connection:
            await connection.execute(delete(datasets).filter_by(gateway=gateway, id=id))
        return found

    # Evaluations

    async def evaluations(self, gateway: str) -> list[Evaluation]:
        """Return a gateway's evaluations, newest first."""
        asked = select(evaluations).filter_by(gateway=gateway)
        async with self._database.reading() as connection:
            rows = await connection.execute(asked.order_by(evaluations.c.created_at.desc(), evaluations.c.id))
            return [_evaluation(row) for row in rows]

    async def add_evaluation(self, made: Evaluation) -> None:
        """Keep an evaluation."""
        change = Change("evaluation.create", "evaluation", made.id, made.gateway, {"name": made.name})
        async with changing(self._database, change) as connection:
            await connection.execute(insert(evaluations).values(msgspec.to_builtins(made)))

    async def delete_evaluation(self, gateway: str, id: str) -> Evaluation | None:
        """Remove an evaluation; return it as it was, or None when there is none."""
        found = next((one for one in await self.evaluations(gateway) if one.id == id), None)
        if found is None:
            return None
        async with changing(self._database, Change("evaluation.delete", "evaluation", id, gateway)) as connection:
            await connection.execute(delete(evaluations).filter_by(gateway=gateway, id=id))
        return found

    # The account

    async def account_field(self, name: str) -> dict[str, Any] | None:
        """Return what is kept under a name for all gateways together."""
        async with self._database.reading() as connection:
            value = await connection.scalar(select(account_fields.c.value).where(account_fields.c.name == name))
        return None if value is None else dict(value)

    async def set_account_field(self, name: str, value: Mapping[str, Any] | None) -> None:
        """Keep something for all gateways together; None removes it."""
        change = Change("account.change", "account", name, details=dict(value or {}))
        async with changing(self._database, change) as connection:
            await connection.execute(delete(account_fields).where(account_fields.c.name == name))
            if value is not None:
                await connection.execute(insert(account_fields).values(name=name, value=dict(value)))

    def _opened(self, sealed: bytes | None, gateway: str) -> dict[str, Any]:
        if sealed is None:
            return {}
        try:
            found: dict[str, Any] = json.loads(self._vault.open(sealed, "gateway fields", gateway))
        except Unsealable as error:
            raise SettingsError(
                f"The fields {', '.join(SECRET_FIELDS)} of the gateway {gateway!r} were sealed with another master key,"
                " or are damaged. Set them again."
            ) from error
        return found


class _Absent(Exception):
    """Ends a transaction that found nothing to change, so that nothing is written of it."""


def _name_taken(what: str, name: str) -> SettingsError:
    return SettingsError(f"There is a {what} {name!r} already; choose another name.")


def _dataset(row: Row[Any]) -> Dataset:
    return Dataset(**row._mapping)


def _evaluation(row: Row[Any]) -> Evaluation:
    return Evaluation(**{**row._mapping, "datasets": msgspec.convert(row.datasets, list[Dataset])})
