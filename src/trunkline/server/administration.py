"""The gateways' set-up over HTTP: what the commands do, for keys with the scopes 'read' and 'edit' and for the console.

The key is shown in any place in which the data plane takes one. A key bounds what it may look at and change to its own
gateway; the gateway token opens all of them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, cast

import msgspec
from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from trunkline.credentials import Caller, tail
from trunkline.errors import MalformedRequest, NotPermitted, SettingsError
from trunkline.policy.control import ControlRules
from trunkline.policy.key_limits import KeyLimit, KeyMeasure, own_rules
from trunkline.policy.keys import ID_DIGITS, VALUE_DIGITS, new_key
from trunkline.policy.limits import LimitRule
from trunkline.policy.logging import LoggingRules, Strategy
from trunkline.policy.registry import DEFAULT_ALIAS, ClientSecretMode, GatewayKey, GatewayRules, Scope
from trunkline.policy.roles import ADMINISTER
from trunkline.policy.sessions import NO_LIMITS, RealtimeRules, SessionLimits, checked_fallbacks
from trunkline.server.answers import REFERENCE, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
_Alias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Secret = Annotated[str, Field(min_length=1, max_length=8192, pattern=r"^[\x21-\x7e]+$")]
_Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/?#\s]+)$", max_length=300)]
_Texts = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=200)]


_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_CLEARED_BY_NULL: Final = frozenset({"max_rows", "max_age_days"})

# The rules are structs of the gateway's own, which check themselves; their schema is in the description of the API.
_CONTROL: Final = {"allOf": [{"$ref": REFERENCE.format(name=ControlRules.__name__)}]}
_Control = Annotated[dict[str, Any], WithJsonSchema(_CONTROL)]

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Quota = Annotated[str, Field(max_length=80, examples=["10/minute", "5/10m"])]


class Limits(BaseModel):
    """What each key may use of realtime; null is no limit.

    ``max_duration`` and ``idle`` are seconds of one session. Quotas are so much per time: of sessions opened, minutes
    they are open, tokens, and US dollars.
    """

    model_config = ConfigDict(extra="forbid")

    max_duration: _Seconds | None = None
    idle: _Seconds | None = None
    concurrent: Annotated[int, Field(ge=1)] | None = None
    sessions: _Quota | None = None
    minutes: _Quota | None = None
    tokens: _Quota | None = None
    budget: _Quota | None = None


class RealtimeView(BaseModel):
    """A gateway's switches for realtime sessions."""

    limits: Limits
    beta_bridge: bool
    resume: bool
    fallbacks: list[str]
    record: bool


class RealtimeChange(BaseModel):
    """Switches for realtime sessions to set; what is absent stays. A limit of null is cleared."""

    model_config = ConfigDict(extra="forbid")

    limits: Limits | None = None
    beta_bridge: bool | None = None
    resume: bool | None = None
    fallbacks: _Texts | None = None
    record: bool | None = None


class PricesView(BaseModel):
    """Prices in US dollars: of one token, or of a whole exchange."""

    model_config = ConfigDict(extra="forbid")

    per_token_in: _Price | None = None
    per_token_out: _Price | None = None
    per_cache_read_token: _Price | None = None
    per_cache_write_token: _Price | None = None
    total_cost: _Price | None = None


class ModelPriceView(BaseModel):
    """A price of the gateway's own for models of a name or pattern, of one provider or of any."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=200)] = "*"
    provider: Annotated[str, Field(max_length=100)] = ""
    prices: PricesView


class LoggingView(BaseModel):
    """A gateway's switches for its log; null is no bound."""

    collect: bool
    payloads: bool
    redact_pii: bool
    max_rows: int | None
    max_age_days: int | None
    strategy: Strategy
    usage_in_streams: bool
    custom_costs: list[ModelPriceView]


class LoggingChange(BaseModel):
    """Switches for the log to set; what is absent stays. A bound of null is cleared."""

    model_config = ConfigDict(extra="forbid")

    collect: bool | None = None
    payloads: bool | None = None
    redact_pii: bool | None = None
    max_rows: Annotated[int, Field(ge=1, le=2**53)] | None = None
    max_age_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    strategy: Strategy | None = None
    usage_in_streams: bool | None = None
    custom_costs: Annotated[list[ModelPriceView], Field(max_length=500)] | None = None


class GatewayView(BaseModel):
    """A gateway and its switches. ``control`` is what it does with requests besides passing them on, whole."""

    id: str
    authenticated: bool
    stored_key_wins: bool
    client_secrets: ClientSecretMode
    allowed_origins: list[str]
    realtime: RealtimeView
    logging: LoggingView
    control: _Control


class GatewayChange(BaseModel):
    """Switches to set; what is absent stays, or for a new gateway is the default.

    Of ``control``, fields within ``cache`` and ``attempts`` are set one by one; ``limits`` and ``guards`` are replaced
    whole, and a list without rules removes them.
    """

    model_config = ConfigDict(extra="forbid")

    authenticated: bool | None = None
    stored_key_wins: bool | None = None
    client_secrets: ClientSecretMode | None = None
    allowed_origins: Annotated[list[_Origin], Field(max_length=200)] | None = None
    realtime: RealtimeChange | None = None
    logging: LoggingChange | None = None
    control: _Control | None = None


class NewGateway(GatewayChange):
    """A gateway to make."""

    id: _Name


class KeyRule(BaseModel):
    """A limit of all that a key calls: so much within ``window`` seconds. ``concurrent`` has no window."""

    model_config = ConfigDict(extra="forbid")

    measure: KeyMeasure
    limit: Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
    window: Annotated[int, Field(ge=1, le=31_622_400)] = 60


_KeyRules = Annotated[list[KeyRule], Field(max_length=4)]


class KeyView(BaseModel):
    """A gateway key, without its value. Times are Unix seconds.

    ``rules`` are its own limits of all that it calls. ``limits`` are those of realtime sessions: what is set there
    stands instead of the gateway's.
    """

    id: str
    name: str
    gateway: str
    hint: str
    scopes: list[Scope]
    models: list[str]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    state: Literal["active", "revoked", "expired"]
    rules: list[KeyRule]
    limits: Limits


class NewKey(BaseModel):
    """A gateway key to make. ``models`` are names or patterns such as ``gpt-4o*``; none means all."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=200)] = "unnamed"
    scopes: list[Scope] = [Scope.RUN]
    models: _Texts = []
    expires_at: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    rules: _KeyRules = []
    limits: Limits = Limits()


class KeyChange(BaseModel):
    """A key's own limits to set; what is absent stays. ``rules`` are replaced whole.

    A limit of realtime sessions that is null is left to the gateway.
    """

    model_config = ConfigDict(extra="forbid")

    rules: _KeyRules | None = None
    limits: Limits = Limits()


class KeyRotation(BaseModel):
    """For how many seconds the old key goes on beside the new one."""

    model_config = ConfigDict(extra="forbid")

    overlap: Annotated[float, Field(ge=0, le=31_622_400, allow_inf_nan=False)] = 86_400


class MadeKey(KeyView):
    """A gateway key that was just made: ``value`` is shown this once."""

    value: str


class StoredKeyView(BaseModel):
    """A provider key in the vault, by its last characters."""

    provider: str
    alias: str
    hint: str
    changed_at: float


class NewStoredKey(BaseModel):
    """A provider key to store, or to put in the place of the one that is there."""

    model_config = ConfigDict(extra="forbid")

    key: _Secret


def administration_schemas() -> dict[str, Any]:
    """Return the JSON schemas of a gateway's rules, by name."""
    return schemas_of(ControlRules)


def create_administration_routes(gateway: Gateway) -> APIRouter:
    """Return the routes below ``/api/gateways``."""
    routes = APIRouter(prefix="/api/gateways", tags=["administration"])

    @routes.get("")
    async def gateways(request: Request) -> list[GatewayView]:
        """List the gateways that the caller may look at."""
        caller = require_scope(gateway, request, "read", None)
        known = await gateway.configuration.gateways()
        return [_gateway_view(rules) for rules in known if caller.gateway in (None, rules.id)]

    @routes.post("", status_code=201)
    async def create_gateway(request: Request, wanted: NewGateway) -> GatewayView:
        """Make a gateway: the gateway token alone may."""
        if ADMINISTER not in require_scope(gateway, request, "edit", None).scopes:
            raise NotPermitted("Only an administrator, or who has the gateway token, makes gateways.")
        logging = LoggingRules().changed(_logging_changes(wanted))
        rules = GatewayRules(
            wanted.id,
            realtime=_new_rules(gateway, wanted),
            logging=logging,
            control=_new_control(wanted),
            **_changes(wanted),
        )
        await done(gateway, gateway.configuration.create_gateway(rules))
        return _gateway_view(rules)

    @routes.get("/{name}")
    async def one_gateway(request: Request, name: _Name) -> GatewayView:
        """Return a gateway and its switches."""
        require_scope(gateway, request, "read", name)
        known = await gateway.configuration.gateways()
        return _gateway_view(next((rules for rules in known if rules.id == name), GatewayRules(name)))

    @routes.patch("/{name}")
    async def change_gateway(request: Request, name: _Name, wanted: GatewayChange) -> GatewayView:
        """Set switches of a gateway."""
        caller = require_scope(gateway, request, "edit", name)
        if wanted.authenticated is False and ADMINISTER not in caller.scopes:
            raise NotPermitted("Only an administrator, or who has the gateway token, opens a gateway to everybody.")
        realtime = _realtime_changes(gateway, wanted)
        if "limits" in realtime or "limits" in (wanted.control or {}):
            _free_of_limits(gateway, caller)
        logging = _logging_changes(wanted)
        change = gateway.configuration.change_gateway(
            name, realtime=realtime, logging=logging, control=wanted.control, **_changes(wanted)
        )
        return _gateway_view(await done(gateway, change))

    @routes.delete("/{name}", status_code=204)
    async def delete_gateway(request: Request, name: _Name) -> None:
        """Delete a gateway with its keys and stored provider keys."""
        require_scope(gateway, request, "edit", name)
        await done(gateway, gateway.configuration.delete_gateway(name))

    @routes.get("/{name}/keys")
    async def keys(request: Request, name: _Name) -> list[KeyView]:
        """List a gateway's keys, newest first."""
        require_scope(gateway, request, "read", name)
        rules = _limit_rules(gateway, name)
        return [KeyView(**_key_fields(key, rules)) for key in await gateway.configuration.keys(name)]

    @routes.post("/{name}/keys", status_code=201)
    async def create_key(request: Request, name: _Name, wanted: Annotated[NewKey, Body()]) -> MadeKey:
        """Make a key. Its value is in this answer and nowhere else."""
        caller = require_scope(gateway, request, "edit", name)
        _within(caller, wanted)
        _free_of_limits(gateway, caller)
        value, key = new_key(
            secrets.token_hex((VALUE_DIGITS + ID_DIGITS) // 2),
            gateway=name,
            name=wanted.name,
            scopes=wanted.scopes,
            models=wanted.models,
            now=time.time(),
            expires_at=wanted.expires_at,
            limits=_new_limits(wanted),
        )
        await done(gateway, gateway.configuration.add_key(key, _key_limits(wanted.rules)))
        return MadeKey(value=value, **_key_fields(key, _limit_rules(gateway, name)))

    @routes.post("/{name}/keys/{key_id}/rotate", status_code=201)
    async def rotate_key(request: Request, name: _Name, key_id: str, wanted: KeyRotation) -> MadeKey:
        """Make a key like another one, which ends when the time that both count is over.

        Both count together against the old one's limits. The new key's value is in this answer and nowhere else.
        """
        caller = require_scope(gateway, request, "edit", name)
        old = await _require_key(gateway, name, key_id)
        like = NewKey(name=old.name, scopes=list(old.scopes), models=list(old.models), expires_at=old.expires_at)
        _within(caller, like)
        _free_of_limits(gateway, caller)
        now = time.time()
        value, key = new_key(
            secrets.token_hex((VALUE_DIGITS + ID_DIGITS) // 2),
            gateway=name,
            name=old.name,
            scopes=old.scopes,
            models=old.models,
            now=now,
            expires_at=old.expires_at,
            limits=old.limits,
        )
        await done(gateway, gateway.configuration.rotate_key(old.id, key, now + wanted.overlap))
        return MadeKey(value=value, **_key_fields(key, _limit_rules(gateway, name)))

    @routes.patch("/{name}/keys/{key_id}")
    async def limit_key(request: Request, name: _Name, key_id: str, wanted: KeyChange) -> KeyView:
        """Set a key's own limits."""
        _free_of_limits(gateway, require_scope(gateway, request, "edit", name))
        await _require_key(gateway, name, key_id)
        limits = wanted.limits.model_dump(exclude_unset=True)
        rules = None if wanted.rules is None else _key_limits(wanted.rules)
        key = await done(gateway, gateway.configuration.limit_key(key_id, limits, rules))
        return KeyView(**_key_fields(key, _limit_rules(gateway, name)))

    @routes.delete("/{name}/keys/{key_id}")
    async def revoke_key(request: Request, name: _Name, key_id: str) -> KeyView:
        """Revoke a key: it opens nothing from now on, and open realtime sessions end."""
        require_scope(gateway, request, "edit", name)
        await _require_key(gateway, name, key_id)
        key = await done(gateway, gateway.configuration.revoke_key(key_id))
        return KeyView(**_key_fields(key, _limit_rules(gateway, name)))

    @routes.get("/{name}/stored-keys")
    async def stored_keys(request: Request, name: _Name) -> list[StoredKeyView]:
        """List the provider keys that a gateway keeps."""
        require_scope(gateway, request, "read", name)
        return [
            StoredKeyView(provider=key.provider, alias=key.alias, hint=key.hint, changed_at=key.changed_at)
            for key in await gateway.configuration.stored_keys(name)
        ]

    @routes.put("/{name}/stored-keys/{provider}/{alias}")
    async def store_key(
        request: Request, name: _Name, provider: str, wanted: NewStoredKey, alias: _Alias = DEFAULT_ALIAS
    ) -> StoredKeyView:
        """Store a provider key, or rotate it: it counts at once."""
        require_scope(gateway, request, "edit", name)
        slug = _provider(gateway, provider)
        hint = tail(wanted.key)
        await done(gateway, gateway.configuration.store_key(name, slug, alias, wanted.key, hint))
        return StoredKeyView(provider=slug, alias=alias, hint=hint, changed_at=time.time())

    @routes.delete("/{name}/stored-keys/{provider}/{alias}", status_code=204)
    async def forget_key(request: Request, name: _Name, provider: str, alias: _Alias) -> None:
        """Remove a provider key."""
        require_scope(gateway, request, "edit", name)
        # Also a key of a custom provider that is gone: it stands in the way of another of that name.
        slug = provider if provider.startswith("custom-") else _provider(gateway, provider)
        await done(gateway, gateway.configuration.forget_key(name, slug, alias))

    return routes


def _within(caller: Caller, wanted: NewKey) -> None:
    """Raise `NotPermitted` when a key would make another that may do more than itself."""
    if not {scope.value for scope in wanted.scopes} <= caller.scopes:
        raise NotPermitted("A key makes no key with scopes that it lacks itself.")
    if caller.models and not set(wanted.models or ["*"]) <= set(caller.models):
        raise NotPermitted("A key for some models makes keys for those models only.")
    if caller.expires_at is not None and (wanted.expires_at is None or wanted.expires_at > caller.expires_at):
        raise NotPermitted("A key makes no key that outlives it.")


def _free_of_limits(gateway: Gateway, caller: Caller) -> None:
    """Raise `NotPermitted` when a key has limits of its own: it could lift them, or make another key without."""
    own = gateway.registry.now.keys_by_id.get(caller.id)
    if own is not None and (own.limits != NO_LIMITS or own_rules(_limit_rules(gateway, own.gateway), own.id)):
        raise NotPermitted("A key with limits of its own makes no keys and sets no limits.")


async def _require_key(gateway: Gateway, name: str, key_id: str) -> GatewayKey:
    found = await gateway.configuration.key(name, key_id)
    if found is None:
        raise MalformedRequest(f"Gateway {name!r} has no key {key_id[:64]!r}.")
    return found


def _limit_rules(gateway: Gateway, name: str) -> Sequence[LimitRule]:
    rules = gateway.registry.rules(name)
    return rules.control.limits if rules is not None else ()


def _key_limits(wanted: Sequence[KeyRule]) -> list[KeyLimit]:
    return [KeyLimit(measure=one.measure, limit=one.limit, window=one.window) for one in wanted]


async def done(gateway: Gateway, change: Any) -> Any:
    """Carry a change out and see it at once. Raises `MalformedRequest` with the store's reason for refusing it."""
    try:
        result = await change
    except SettingsError as error:
        raise MalformedRequest(str(error)) from error
    await gateway.registry.refresh()
    return result


def _provider(gateway: Gateway, name: str) -> str:
    provider = gateway.catalogue.find(name)
    if provider is None:
        raise MalformedRequest(f"There is no provider {name[:64]!r}; docs/providers.md lists them.")
    return provider.slug


def _changes(wanted: GatewayChange) -> dict[str, Any]:
    told = wanted.model_dump(exclude={"id", "realtime", "logging", "control"})
    given = {name: value for name, value in told.items() if value is not None}
    if "allowed_origins" in given:
        origins: Sequence[str] = given["allowed_origins"]
        given["allowed_origins"] = tuple(origin.lower() for origin in origins)
    return given


def _realtime_changes(gateway: Gateway, wanted: GatewayChange) -> dict[str, Any]:
    """Return what `RealtimeRules.changed` takes. Raises `MalformedRequest` for a fallback that could serve nobody."""
    if wanted.realtime is None:
        return {}
    told = wanted.realtime.model_dump(exclude_unset=True)
    given = {name: value for name, value in told.items() if value is not None}
    if "fallbacks" in given:
        try:
            given["fallbacks"] = checked_fallbacks(given["fallbacks"], gateway.catalogue)
        except SettingsError as error:
            raise MalformedRequest(str(error)) from error
    return given


def _logging_changes(wanted: GatewayChange) -> dict[str, Any]:
    """Return what `LoggingRules.changed` takes: of what may be null only the bounds are."""
    if wanted.logging is None:
        return {}
    told = wanted.logging.model_dump(exclude_unset=True)
    return {name: value for name, value in told.items() if value is not None or name in _CLEARED_BY_NULL}


def _new_rules(gateway: Gateway, wanted: GatewayChange) -> RealtimeRules:
    try:
        return RealtimeRules().changed(_realtime_changes(gateway, wanted))
    except SettingsError as error:
        raise MalformedRequest(str(error)) from error


def _new_control(wanted: GatewayChange) -> ControlRules:
    try:
        return ControlRules().changed(wanted.control or {})
    except SettingsError as error:
        raise MalformedRequest(str(error)) from error


def _new_limits(wanted: NewKey) -> SessionLimits:
    try:
        return NO_LIMITS.changed(wanted.limits.model_dump(exclude_unset=True))
    except SettingsError as error:
        raise MalformedRequest(f"limits: {error}") from error


def _gateway_view(rules: GatewayRules) -> GatewayView:
    return GatewayView(
        id=rules.id,
        authenticated=rules.authenticated,
        stored_key_wins=rules.stored_key_wins,
        client_secrets=rules.client_secrets,
        allowed_origins=list(rules.allowed_origins),
        realtime=RealtimeView(**rules.realtime.document()),
        logging=_logging_view(rules.logging),
        control=rules.control.whole(),
    )


def _logging_view(rules: LoggingRules) -> LoggingView:
    return LoggingView(**{name: msgspec.to_builtins(getattr(rules, name)) for name in LoggingView.model_fields})


def _key_fields(key: GatewayKey, rules: Sequence[LimitRule]) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "gateway": key.gateway,
        "hint": key.hint,
        "scopes": sorted(key.scopes, key=lambda scope: scope.value),
        "models": list(key.models),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "state": key.state(time.time()),
        "rules": [
            KeyRule(measure=cast(KeyMeasure, rule.measure), limit=rule.limit, window=rule.window)
            for rule in own_rules(rules, key.id)
        ],
        "limits": Limits(**key.limits.document()),
    }
