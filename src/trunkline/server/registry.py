"""The administrator's set-up as the running gateway sees it: one snapshot, made anew when somebody changes it.

Commands and other processes write to the database; a number there tells that something changed. It is asked for every
second, so that a key revoked by anybody stops working at once everywhere, in open sessions too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from hmac import compare_digest
from typing import Final

import structlog
from msgspec.structs import replace

from trunkline.credentials import Caller
from trunkline.errors import first_line
from trunkline.policy.client_secrets import PREFIX
from trunkline.policy.keys import digest_of
from trunkline.policy.registry import KEY_PREFIX, GatewayKey, GatewayRules, Registry
from trunkline.policy.roles import SCOPES, USER_PREFIX, Role
from trunkline.policy.sessions import NO_LIMITS, SessionLimits, merged
from trunkline.server.accounts import Accounts
from trunkline.server.broker import Broker
from trunkline.settings import Settings
from trunkline.store import Configuration, Database, Vault

log = structlog.get_logger("trunkline.registry")

_POLL_SECONDS: Final = 1.0
# How all keys begin that are made here; the settings' token is whatever its writer chose.
_OUR_PREFIXES: Final = (KEY_PREFIX, PREFIX)


class LiveRegistry:
    """The present `Registry`, and who a value belongs to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._default = GatewayRules(settings.gateway, authenticated=False)
        self._admin = digest_of(settings.gateway_token) if settings.gateway_token else None
        self._admin_length = len(settings.gateway_token) or -1
        self.database: Database | None = None
        self.vault: Vault | None = None
        self._polling: asyncio.Task[None] | None = None
        self._refreshing = asyncio.Lock()
        self._number = -1
        self._listeners: list[Callable[[], None]] = []
        self.broker = Broker()
        self.accounts = Accounts(settings)
        self.configuration: Configuration | None = None
        self._take(Registry({settings.gateway: self._default}))

    async def start(self) -> None:
        """Open the database and read it. Raises `SettingsError`."""
        self.database = await Database.open(self._settings.data_dir, self._settings.database_url)
        self.vault = Vault.at(self._settings.data_dir, self._settings.master_key)
        self.configuration = Configuration(self.database, self.vault, self._default)
        await self.configuration.check()
        self._number, registry = await self.configuration.load()
        self._take(registry)
        self.broker.start(self.configuration, await self.configuration.secrets())
        await self.accounts.start(self.database, self.vault)
        self._polling = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        """Stop watching and close the database."""
        if self._polling is not None:
            self._polling.cancel()
        await self.broker.stop()
        if self.database is not None:
            await self.database.close()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change."""
        self._listeners.append(listener)

    def rules(self, gateway: str) -> GatewayRules | None:
        """Return a gateway's switches, or None when there is no such gateway.

        A token in the settings, or a listener that others can reach, makes every gateway authenticated.
        """
        return self._rules.get(gateway)

    def recognise(self, value: str) -> Caller | None:
        """Return whose key a value is, if it is one of the gateway's own, dead ones included."""
        if not value.startswith(_OUR_PREFIXES) and len(value) != self._admin_length:
            return None  # most headers: not worth a digest
        digest = digest_of(value)
        if self._admin is not None and compare_digest(digest, self._admin):
            return _ADMINISTRATOR
        holder = self._holders.get(digest) or self._holder(digest)
        if holder is not None:
            return holder
        secret = self.broker.recognise(digest, time.time(), self._is_alive)
        if secret is not None:
            return secret
        # A deleted gateway's key, or a client secret long gone: not to be taken for a provider's and sent on.
        return next((stranger for prefix, stranger in _STRANGERS.items() if value.startswith(prefix)), None)

    def _holder(self, digest: bytes) -> Caller | None:
        """Return who holds a gateway key. Of one that never ends he is known until the set-up changes."""
        key = self.now.keys.get(digest)
        if key is None:
            return None
        holder = _holder_of(key, time.time())
        if key.expires_at is None and key.revoked_at is None:
            self._holders[digest] = holder
        return holder

    def why_dead(self, caller: Caller) -> str:
        """Return why a caller admitted earlier counts no more, in words that complete "the key that opened it"."""
        key = caller.key_id
        return self._why_key_dead(key) if key else ""

    def limits(self, gateway: str, key_id: str) -> SessionLimits:
        """Return what sessions of a gateway may use that depend on a gateway key, or on none."""
        key = self.now.keys_by_id.get(key_id)
        if key is not None and key.limits != NO_LIMITS and key.gateway in self._rules:
            return merged(self._rules[key.gateway].realtime.limits, key.limits)
        rules = self._rules.get(gateway)
        return rules.realtime.limits if rules is not None else NO_LIMITS

    def expiry(self, caller: Caller) -> float | None:
        """Return when a caller's sessions end, in Unix seconds, or None when no end is set."""
        key = self.now.keys_by_id.get(caller.key_id)
        return key.expires_at if key is not None else None

    async def refresh(self) -> None:
        """Read the set-up again if it changed."""
        assert self.configuration is not None
        async with self._refreshing:
            if await self.configuration.number() == self._number:
                return
            number, registry = await self.configuration.load()
            await self.accounts.load()
            self._number = number
            self._take(registry)
            log.info("set-up changed", number=self._number)
            for listener in self._listeners:
                listener()

    def _take(self, registry: Registry) -> None:
        self.now = registry
        self._holders: dict[bytes, Caller] = {}
        self._rules = {name: self._in_force(rules) for name, rules in registry.gateways.items()}

    def _in_force(self, rules: GatewayRules) -> GatewayRules:
        demanded = self._admin is not None and rules.id == self._settings.gateway
        if rules.authenticated or (self._settings.is_loopback and not demanded):
            return rules
        return replace(rules, authenticated=True)

    def _why_key_dead(self, id: str) -> str:
        if id.startswith(USER_PREFIX):
            return self.accounts.why_dead(id)
        key = self.now.keys_by_id.get(id)
        return "is not known here" if key is None else _REFUSALS[key.why_dead(time.time())]

    def _is_alive(self, key_id: str) -> bool:
        """Whether the gateway key that a client secret was made with still counts, if it was made with one."""
        return not key_id or not self._why_key_dead(key_id)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                await self.refresh()
                await self.accounts.note_seen()
            except Exception as error:
                # The last set-up stays in force: a database that is away for a moment must not open or close anything,
                # and nothing may end the watch.
                log.error("the set-up cannot be read", why=first_line(error))


_STRANGERS: Final = {
    KEY_PREFIX: Caller("gateway_key", "unknown gateway key", refusal="is not known here"),
    PREFIX: Caller("client_secret", "unknown client secret", refusal="is not known here, or expired long ago"),
}
_ADMINISTRATOR: Final = Caller("gateway_token", "gateway token", scopes=SCOPES[Role.ADMIN])


_REFUSALS: Final = {"": "", "revoked": "was revoked", "expired": "has expired"}


def _holder_of(key: GatewayKey, now: float) -> Caller:
    return Caller(
        kind="gateway_key",
        name=key.name,
        id=key.id,
        gateway=key.gateway,
        models=key.models,
        scopes=frozenset(scope.value for scope in key.scopes),
        expires_at=key.expires_at,
        refusal=_REFUSALS[key.why_dead(now)],
    )
