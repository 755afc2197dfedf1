"""The administrator's set-up in the database: named reads and writes, each one transaction."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Row, delete, func, insert, or_, select, update

from trunkline.errors import SettingsError
from trunkline.policy.client_secrets import ClientSecret
from trunkline.policy.control import ControlRules
from trunkline.policy.key_limits import KeyLimit, with_key_limits, with_successor, without_key
from trunkline.policy.limits import LimitRule, stored_key_rule
from trunkline.policy.logging import LoggingRules
from trunkline.policy.registry import DEFAULT_ALIAS, ClientSecretMode, GatewayKey, GatewayRules, Registry
from trunkline.policy.routes import DeployedRoute
from trunkline.policy.sessions import RealtimeRules
from trunkline.providers import Via
from trunkline.store import schema
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.audit import Change, changing
from trunkline.store.custom_providers import paths_of
from trunkline.store.database import Database
from trunkline.store.readings import KeyReadings, Readings, gateway_key
from trunkline.store.routes import deployed_routes
from trunkline.store.vault import Unsealable, Vault

_CHECK_WORD: Final = "trunkline"


class StoredKey(msgspec.Struct, frozen=True):
    """A provider key in the vault, as it may be listed: its last characters, never its value."""

    gateway: str
    provider: str
    alias: str
    hint: str
    changed_at: float


class Configuration:
    """Reads and writes of one database, with one vault. ``default`` is the gateway that always exists."""

    def __init__(self, database: Database, vault: Vault, default: GatewayRules) -> None:
        self._database = database
        self._vault = vault
        self._default = default
        self._gateways = Readings(schema.gateways, _rules)
        self._keys = KeyReadings()
        self._stored = Readings(schema.stored_keys, self._stored_key)
        self._vias = Readings(schema.vias, self._via)
        self._customs = Readings(schema.management.custom_providers, self._custom_provider)
        self._routes: Mapping[tuple[str, str], DeployedRoute] = {}

    async def check(self) -> None:
        """Make sure that the vault's master key is the one this database was used with. Raises `SettingsError`."""
        table = schema.vault_state
        async with self._database.reading() as connection:
            sealed = (await connection.execute(select(table.c.key_check))).scalar_one()
        if sealed is None:
            mark = self._vault.seal(_CHECK_WORD, "check")
            async with self._database.transaction() as connection:
                await connection.execute(update(table).where(table.c.key_check.is_(None)).values(key_check=mark))
                sealed = (await connection.execute(select(table.c.key_check))).scalar_one()
        try:
            self._vault.open(sealed, "check")
        except Unsealable as error:
            raise SettingsError(
                "The master key is not the one with which this data directory's provider keys were sealed. Give back"
                " that key (TRUNKLINE_MASTER_KEY, or the file master.key), or start with another data_dir."
            ) from error

    async def number(self) -> int:
        """Return the number of the present set-up: it grows with every change, by whatever process."""
        async with self._database.reading() as connection:
            found: int = (await connection.execute(select(schema.vault_state.c.number))).scalar_one()
            return found

    async def load(self) -> tuple[int, Registry]:
        """Return the present set-up and its number. Raises `SettingsError` when a sealed value does not open.

        What is as it was the last time is the same object, and costs little.
        """
        configs, customs = schema.management.provider_configs, schema.management.custom_providers
        async with self._database.reading() as connection:
            number = (await connection.execute(select(schema.vault_state.c.number))).scalar_one()
            gateways = {row.id: rules for row, rules in await self._gateways.of(connection)}
            keys = await self._keys.of(connection, number)
            stored: dict[tuple[str, str], dict[str, str]] = {}
            for row, value in await self._stored.of(connection):
                stored.setdefault((row.gateway, row.provider), {})[row.alias] = value
            vias = {(row.gateway, row.provider): via for row, via in await self._vias.of(connection)}
            key_limits: dict[tuple[str, str, str], LimitRule] = {}
            for row in await connection.execute(select(configs)):
                rule = stored_key_rule(row.provider, row.alias, row.rate_limit, row.rate_limit_period)
                if rule is not None:
                    key_limits[row.gateway, row.provider, row.alias] = rule
                if row.default_config:
                    held = stored[row.gateway, row.provider]
                    held[DEFAULT_ALIAS] = held[row.alias]
                    if rule is not None:
                        key_limits[row.gateway, row.provider, DEFAULT_ALIAS] = rule
            found = await self._customs.of(connection, customs.c.enable)
            providers = {f"custom-{row.slug}": provider for row, provider in found}
            routes = self._routes = await deployed_routes(connection, self._routes)
        gateways.setdefault(self._default.id, self._default)
        return number, Registry(
            gateways, keys.by_digest, stored, vias, providers, routes, key_limits, keys_by_id=keys.by_id
        )

    def _stored_key(self, row: Row[Any]) -> str:
        return self._opened(row.sealed, "stored key", row.gateway, row.provider, row.alias)

    def _via(self, row: Row[Any]) -> Via:
        token = self._opened(row.sealed_token, "via", row.gateway, row.provider) if row.sealed_token else ""
        return Via(row.base_url, token, row.realtime_key)

    def _custom_provider(self, row: Row[Any]) -> dict[str, Any]:
        return {
            "name": row.name,
            "base_url": row.base_url,
            "headers": json.loads(self._opened(row.sealed, "custom provider", row.id)) if row.sealed else {},
            **paths_of(row.fields),
        }

    # Gateways

    async def gateways(self) -> list[GatewayRules]:
        """Return every gateway, the default one first."""
        async with self._database.reading() as connection:
            known = {row.id: _rules(row) for row in await connection.execute(select(schema.gateways))}
        known.setdefault(self._default.id, self._default)
        return sorted(known.values(), key=lambda one: (one.id != self._default.id, one.id))

    async def ensure_gateway(self, name: str) -> None:
        """Give the default gateway its row if it has none yet. Raises `SettingsError` for a gateway that is not there.

        Nothing is changed by it: what other tables say of a gateway needs that row.
        """
        async with self._database.reading() as connection:
            if await _exists(connection, name):
                return
        async with self._database.transaction() as connection:
            await self._require(connection, name)

    async def create_gateway(self, rules: GatewayRules) -> None:
        """Add a gateway. Raises `SettingsError` when there is one of that name."""
        change = Change("gateway.create", "gateway", rules.id, rules.id, _document(rules))
        async with changing(self._database, change) as connection:
            if rules.id == self._default.id or await _exists(connection, rules.id):
                raise SettingsError(
                    f"There is a gateway {rules.id!r} already; change it with `trunkline gateways set`."
                )
            await connection.execute(insert(schema.gateways).values(_gateway_row(rules)))

    async def change_gateway(
        self,
        name: str,
        *,
        realtime: Mapping[str, Any] | None = None,
        logging: Mapping[str, Any] | None = None,
        control: Mapping[str, Any] | Callable[[ControlRules], Mapping[str, Any]] | None = None,
        **changes: Any,
    ) -> GatewayRules:
        """Change fields of a gateway's `GatewayRules`; return the result.

        ``realtime``, ``logging`` and ``control`` are what `RealtimeRules.changed`, `LoggingRules.changed` and
        `ControlRules.changed` take: what they do not name stays. ``control`` may make it of the rules that are there,
        so that nobody else changes them meanwhile. Raises `SettingsError`.
        """
        change = Change("gateway.change", "gateway", name, name)
        async with changing(self._database, change) as connection:
            await self._require(connection, name)
            row = (await connection.execute(select(schema.gateways).where(schema.gateways.c.id == name))).one()
            rules = _rules(row)
            control = control(rules.control) if callable(control) else control
            parts = {"realtime": realtime, "logging": logging, "control": control}
            change.details = {**changes, **{part: told for part, told in parts.items() if told}}
            changed = msgspec.structs.replace(
                rules,
                realtime=rules.realtime.changed(realtime or {}),
                logging=rules.logging.changed(logging or {}),
                control=rules.control.changed(control or {}),
                **changes,
            )
            values = {key: value for key, value in _gateway_row(changed).items() if key != "created_at"}
            await connection.execute(update(schema.gateways).where(schema.gateways.c.id == name).values(values))
            return changed

    async def delete_gateway(self, name: str) -> None:
        """Remove a gateway with its keys, stored keys and chained gateways."""
        if name == self._default.id:
            raise SettingsError(f"{name!r} is the gateway of the settings, which is always there.")
        async with changing(self._database, Change("gateway.delete", "gateway", name, name)) as connection:
            await self._require(connection, name)
            await connection.execute(delete(schema.gateways).where(schema.gateways.c.id == name))

    # Gateway keys

    async def add_key(self, key: GatewayKey, rules: Sequence[KeyLimit] = ()) -> None:
        """Keep a new gateway key, and limits of all that it calls. Raises `SettingsError`."""
        told = {**_key_document(key), **({"rules": rules} if rules else {})}
        async with changing(
            self._database, Change("key.create", "gateway key", key.id, key.gateway, told)
        ) as connection:
            await self._require(connection, key.gateway)
            await connection.execute(insert(schema.gateway_keys).values(key_row(key)))
            if rules:
                await self._limit(connection, key.gateway, lambda known: with_key_limits(known, key.id, rules))

    async def rotate_key(self, old: str, key: GatewayKey, ends_at: float) -> None:
        """Keep a key that follows another one, which ends at a Unix time, if not before.

        Whatever rule of the gateway names the old key names the new one too. Raises `SettingsError`.
        """
        table = schema.gateway_keys
        change = Change("key.rotate", "gateway key", old, key.gateway, {"new": key.id, "name": key.name})
        async with changing(self._database, change) as connection:
            row = (await connection.execute(select(table).filter_by(id=old, gateway=key.gateway))).one_or_none()
            if row is None:
                raise _no_key(old)
            known = gateway_key(row)
            why_dead = known.why_dead(key.created_at)
            if why_dead:
                raise SettingsError(f"The key {old} is {why_dead}: make a new one.")
            ends_at = min(ends_at, known.expires_at or ends_at)
            change.details = {**change.details, "ends_at": ends_at}
            await connection.execute(update(table).where(table.c.id == old).values(expires_at=ends_at))
            await connection.execute(insert(table).values(key_row(key)))
            has_ended = or_(table.c.revoked_at <= key.created_at, table.c.expires_at <= key.created_at)
            ended = select(table.c.id).where(table.c.gateway == key.gateway, has_ended)
            dead = {*await connection.scalars(ended)}
            await self._limit(connection, key.gateway, lambda rules: with_successor(rules, old, key.id, dead))

    async def keys(self, gateway: str | None = None) -> list[GatewayKey]:
        """Return the gateway keys, newest first."""
        wanted = select(schema.gateway_keys).order_by(schema.gateway_keys.c.created_at.desc())
        if gateway is not None:
            wanted = wanted.where(schema.gateway_keys.c.gateway == gateway)
        async with self._database.reading() as connection:
            return [gateway_key(row) for row in await connection.execute(wanted)]

    async def key(self, gateway: str, id: str) -> GatewayKey | None:
        """Return one of a gateway's keys by its id, if it is there."""
        asked = select(schema.gateway_keys).filter_by(gateway=gateway, id=id)
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).one_or_none()
        return gateway_key(row) if row is not None else None

    async def revoke_key(self, id: str) -> GatewayKey:
        """Revoke a gateway key by its id; a second time changes nothing. Raises `SettingsError` for an unknown id."""
        table = schema.gateway_keys
        change = Change("key.revoke", "gateway key", id)
        async with changing(self._database, change) as connection:
            await connection.execute(
                update(table).where(table.c.id == id, table.c.revoked_at.is_(None)).values(revoked_at=time.time())
            )
            row = (await connection.execute(select(table).where(table.c.id == id))).one_or_none()
            if row is None:
                raise _no_key(id)
            change.gateway, change.details = row.gateway, {"name": row.name}
            await self._limit(connection, row.gateway, lambda rules: without_key(rules, id))
        return gateway_key(row)

    async def limit_key(
        self, id: str, changes: Mapping[str, Any], rules: Sequence[KeyLimit] | None = None
    ) -> GatewayKey:
        """Change limits of a gateway key, as `SessionLimits.changed` takes them; what is not named stays.

        ``rules``, if given, replace the limits of all that it calls. Raises `SettingsError`, also for an unknown id.
        """
        table = schema.gateway_keys
        told = {**changes, **({"rules": rules} if rules is not None else {})}
        change = Change("key.limit", "gateway key", id, details=told)
        async with changing(self._database, change) as connection:
            row = (await connection.execute(select(table).where(table.c.id == id))).one_or_none()
            if row is None:
                raise _no_key(id)
            change.gateway = row.gateway
            key = gateway_key(row)
            limits = key.limits.changed(changes)
            await connection.execute(update(table).where(table.c.id == id).values(limits=limits.document()))
            if rules is not None:
                await self._limit(connection, key.gateway, lambda known: with_key_limits(known, id, rules))
            return dataclasses.replace(key, limits=limits)

    async def _limit(
        self,
        connection: AsyncConnection,
        gateway: str,
        change: Callable[[Sequence[LimitRule]], Sequence[LimitRule]],
    ) -> None:
        """Change a gateway's rules of limits. Raises `SettingsError` for what they cannot be."""
        table = schema.gateways
        await self._require(connection, gateway)
        row = (await connection.execute(select(table).where(table.c.id == gateway))).one()
        known = _rules(row).control
        try:
            limits = change(known.limits)
        except ValueError as error:
            raise SettingsError(f"rules: {error}.") from error
        if tuple(limits) == known.limits:
            return
        control = known.changed({"limits": msgspec.to_builtins(limits)})
        await connection.execute(update(table).where(table.c.id == gateway).values(control=control.document()))

    # Stored provider keys

    async def store_key(self, gateway: str, provider: str, alias: str, value: str, hint: str) -> bool:
        """Keep a provider key, sealed; return whether it replaced one. It counts at once."""
        now = time.time()
        sealed = self._vault.seal(value, "stored key", gateway, provider, alias)
        place = {"gateway": gateway, "provider": provider, "alias": alias}
        change = Change("stored_key.set", "stored key", f"{provider}/{alias}", gateway)
        async with changing(self._database, change) as connection:
            await self._require(connection, gateway)
            existing = await connection.scalar(select(func.count()).select_from(schema.stored_keys).filter_by(**place))
            changes = {"sealed": sealed, "hint": hint, "changed_at": now}
            written = self._database.insert(schema.stored_keys).values(**place, **changes, created_at=now)
            await connection.execute(written.on_conflict_do_update(index_elements=list(place), set_=changes))
        return bool(existing)

    async def stored_keys(self, gateway: str | None = None) -> list[StoredKey]:
        """Return the provider keys in the vault, without their values."""
        table = schema.stored_keys
        wanted = select(table).order_by(table.c.gateway, table.c.provider, table.c.alias)
        if gateway is not None:
            wanted = wanted.where(table.c.gateway == gateway)
        async with self._database.reading() as connection:
            rows = await connection.execute(wanted)
            return [StoredKey(row.gateway, row.provider, row.alias, row.hint, row.changed_at) for row in rows]

    async def forget_key(self, gateway: str, provider: str, alias: str) -> None:
        """Remove a provider key. Raises `SettingsError` when there is none."""
        place = {"gateway": gateway, "provider": provider, "alias": alias}
        change = Change("stored_key.remove", "stored key", f"{provider}/{alias}", gateway)
        async with changing(self._database, change) as connection:
            gone = await connection.execute(delete(schema.stored_keys).filter_by(**place))
            if not gone.rowcount:
                raise SettingsError(f"Gateway {gateway!r} holds no key {alias!r} for {provider}.")

    # Chained gateways

    async def set_via(self, gateway: str, provider: str, via: Via) -> None:
        """Send one provider of one gateway through a Cloudflare AI Gateway."""
        place = {"gateway": gateway, "provider": provider}
        values = {
            "base_url": via.base_url,
            "sealed_token": self._vault.seal(via.token, "via", gateway, provider) if via.token else None,
            "realtime_key": via.realtime_key,
        }
        change = Change("via.set", "provider", provider, gateway, {"host": urlsplit(via.base_url).hostname or ""})
        async with changing(self._database, change) as connection:
            await self._require(connection, gateway)
            written = self._database.insert(schema.vias).values(**place, **values)
            await connection.execute(written.on_conflict_do_update(index_elements=list(place), set_=values))

    async def remove_via(self, gateway: str, provider: str) -> None:
        """Reach a provider directly again. Raises `SettingsError` when it was."""
        change = Change("via.remove", "provider", provider, gateway)
        async with changing(self._database, change) as connection:
            gone = await connection.execute(delete(schema.vias).filter_by(gateway=gateway, provider=provider))
            if not gone.rowcount:
                raise SettingsError(f"Gateway {gateway!r} reaches {provider} directly already.")

    # Client secrets

    async def keep_secret(self, digest: bytes, secret: ClientSecret) -> None:
        """Keep a client secret, so that a restart does not end it; expired ones are removed."""
        table = schema.client_secrets
        held = json.dumps({"provider_key": secret.provider_key, "session": secret.session})
        async with self._database.transaction() as connection:
            await connection.execute(delete(table).where(table.c.expires_at < time.time()))
            await connection.execute(
                insert(table).values(
                    id=secret.id,
                    digest=digest,
                    gateway=secret.gateway,
                    grant=secret.grant(),
                    sealed=self._vault.seal(held, "client secret", secret.id),
                    expires_at=secret.expires_at,
                    uses=0,
                    spent=0.0,
                )
            )

    async def count_secret(self, secret: ClientSecret) -> None:
        """Write down how often a client secret was used and what was spent with it."""
        table = schema.client_secrets
        async with self._database.transaction() as connection:
            await connection.execute(
                update(table).where(table.c.id == secret.id).values(uses=secret.uses, spent=secret.spent)
            )

    async def secrets(self) -> dict[bytes, ClientSecret]:
        """Return the client secrets that have not expired, by digest."""
        table = schema.client_secrets
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(table).where(table.c.expires_at >= time.time()))).all()
        found = {}
        for row in rows:
            held = json.loads(self._opened(row.sealed, "client secret", row.id))
            found[row.digest] = ClientSecret.from_grant(
                row.grant, id=row.id, gateway=row.gateway, expires_at=row.expires_at, **held
            )
            found[row.digest].uses, found[row.digest].spent = row.uses, row.spent
        return found

    async def _require(self, connection: AsyncConnection, name: str) -> None:
        """Make sure that a gateway has its row; the default one gets it when first it is needed."""
        if await _exists(connection, name):
            return
        if name != self._default.id:
            raise SettingsError(f"There is no gateway {name!r}; make it with `trunkline gateways create {name}`.")
        await connection.execute(insert(schema.gateways).values(_gateway_row(self._default)))

    def _opened(self, sealed: bytes, kind: str, *place: str) -> str:
        try:
            return self._vault.open(sealed, kind, *place)
        except Unsealable as error:
            raise SettingsError(
                f"The {kind} of {' / '.join(place)} was sealed with another master key, or is damaged. Store it again."
            ) from error


async def _exists(connection: AsyncConnection, gateway: str) -> bool:
    found = await connection.scalar(select(schema.gateways.c.id).where(schema.gateways.c.id == gateway))
    return found is not None


def _no_key(id: str) -> SettingsError:
    return SettingsError(f"There is no gateway key with the id {id!r}; see `trunkline keys list`.")


def _rules(row: Row[Any]) -> GatewayRules:
    return GatewayRules(
        id=row.id,
        authenticated=row.authenticated,
        stored_key_wins=row.stored_key_wins,
        client_secrets=ClientSecretMode(row.client_secrets),
        allowed_origins=tuple(row.allowed_origins),
        realtime=RealtimeRules().changed(row.realtime),
        logging=LoggingRules().changed(row.logging),
        control=ControlRules().changed(row.control),
    )


def _gateway_row(rules: GatewayRules) -> Mapping[str, Any]:
    return {
        "id": rules.id,
        "authenticated": rules.authenticated,
        "stored_key_wins": rules.stored_key_wins,
        "client_secrets": rules.client_secrets.value,
        "allowed_origins": list(rules.allowed_origins),
        "created_at": time.time(),
        "realtime": rules.realtime.document(),
        "logging": rules.logging.document(),
        "control": rules.control.document(),
    }


def _document(rules: GatewayRules) -> dict[str, Any]:
    return {name: value for name, value in _gateway_row(rules).items() if name not in ("id", "created_at")}


def key_row(key: GatewayKey) -> Mapping[str, Any]:
    """Return the row in which a gateway key is kept."""
    return {
        "id": key.id,
        "gateway": key.gateway,
        "name": key.name,
        "digest": key.digest,
        "hint": key.hint,
        "scopes": sorted(scope.value for scope in key.scopes),
        "models": list(key.models),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "limits": key.limits.document(),
    }


def _key_document(key: GatewayKey) -> dict[str, Any]:
    scopes = sorted(scope.value for scope in key.scopes)
    return {"name": key.name, "scopes": scopes, "models": key.models, "expires_at": key.expires_at}
