"""Gateways: Cloudflare's fields, of which those that this gateway acts on are its own switches by other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from trunkline.errors import MalformedRequest, NotPermitted, Taken
from trunkline.policy.caching import LONGEST_TTL
from trunkline.policy.control import ControlRules
from trunkline.policy.logging import LoggingRules
from trunkline.policy.registry import GatewayRules
from trunkline.policy.roles import ADMINISTER
from trunkline.server.gateway import Gateway
from trunkline.server.management.access import ManagementRoute, TheCaller, TheGateway, rules_of
from trunkline.server.management.acting import acting_fields, control_changes, named
from trunkline.server.management.envelope import Envelope, Listing, Paging, matches, moment
from trunkline.store.management import GatewayFields, Management

# Of a limit: 366 days, in seconds.
LONGEST_WINDOW: Final = 31_622_400
# What is shown instead of a credential; who sends it back keeps what is there.
MASK: Final = "********"

GatewayId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
_Texts = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=200)]
_Action = Literal["FLAG", "BLOCK"]
_Secret = Annotated[str, Field(max_length=8192)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DlpRule(_Strict):
    """One rule for everything that passes."""

    action: _Action
    enabled: bool
    profiles: _Texts


class DlpPolicy(_Strict):
    """One of several rules."""

    id: Annotated[str, Field(max_length=64)]
    action: _Action
    check: list[Literal["REQUEST", "RESPONSE"]]
    enabled: bool
    profiles: _Texts


class DlpPolicies(_Strict):
    """Several rules."""

    enabled: bool
    policies: Annotated[list[DlpPolicy], Field(max_length=100)]


class Hazards(_Strict):
    """What is done about each kind of harm."""

    P1: _Action | None = None
    S1: _Action | None = None
    S2: _Action | None = None
    S3: _Action | None = None
    S4: _Action | None = None
    S5: _Action | None = None
    S6: _Action | None = None
    S7: _Action | None = None
    S8: _Action | None = None
    S9: _Action | None = None
    S10: _Action | None = None
    S11: _Action | None = None
    S12: _Action | None = None
    S13: _Action | None = None


class Guardrails(_Strict):
    """What is done about harm in prompts and in answers."""

    prompt: Hazards
    response: Hazards


class OtelExporter(_Strict):
    """Where spans go. Credentials are shown as asterisks."""

    url: Annotated[str, Field(pattern=r"^https?://", max_length=500)]
    headers: Annotated[dict[str, _Secret], Field(max_length=50)]
    authorization: _Secret | None = None
    content_type: Literal["json", "protobuf"] | None = None


class AnyOf(_Strict):
    """Only what is one of these."""

    mode: Literal["filter"]
    values: _Texts


class EachOf(_Strict):
    """Each value by itself."""

    mode: Literal["partition"]


class SpendRule(_Strict):
    """So many US dollars in ``window`` seconds."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    enabled: bool | None = None
    limit: Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
    limitType: Literal["cost"]  # noqa: N815 - Cloudflare's name
    window: Annotated[int, Field(ge=1, le=LONGEST_WINDOW)]
    technique: Literal["fixed", "sliding"] | None = None
    metadata: dict[str, EachOf | AnyOf] | None = None
    model: EachOf | AnyOf | None = None
    provider: EachOf | AnyOf | None = None


class SpendLimits(_Strict):
    """Limits of what may be spent."""

    enabled: bool | None = None
    rules: Annotated[list[SpendRule], Field(max_length=20)] | None = None


class StripeEvent(_Strict):
    """One event to report."""

    payload: Annotated[str, Field(max_length=8192)]


class Stripe(_Strict):
    """Where usage is reported for bills. The credential is shown as asterisks."""

    authorization: _Secret
    usage_events: Annotated[list[StripeEvent], Field(max_length=100)]


class GatewaySettings(BaseModel):
    """The fields of a gateway that can be set; what is absent stays as it is.

    ``log_payloads`` is ours: whether bodies are kept too. In a new gateway it follows ``collect_logs``.
    """

    model_config = ConfigDict(extra="forbid")

    cache_invalidate_on_update: bool
    cache_ttl: Annotated[int, Field(ge=0, le=LONGEST_TTL)] | None
    collect_logs: bool
    rate_limiting_interval: Annotated[int, Field(ge=0, le=LONGEST_WINDOW)] | None
    rate_limiting_limit: Annotated[int, Field(ge=0, le=10**15)] | None
    rate_limiting_technique: Literal["fixed", "sliding"] | None = None
    authentication: bool | None = None
    byok_only: bool | None = None
    dlp: DlpPolicies | DlpRule | None = None
    guardrails: Guardrails | None = None
    log_classification: bool | None = None
    log_management: Annotated[int, Field(ge=1, le=2**53)] | None = None
    log_management_strategy: Literal["STOP_INSERTING", "DELETE_OLDEST"] | None = None
    log_payloads: bool | None = None
    logpush: bool | None = None
    logpush_public_key: Annotated[str, Field(max_length=8192)] | None = None
    otel: Annotated[list[OtelExporter], Field(max_length=10)] | None = None
    retry_backoff: Literal["constant", "linear", "exponential"] | None = None
    retry_delay: Annotated[int, Field(ge=0, le=60_000)] | None = None
    retry_max_attempts: Annotated[int, Field(ge=1, le=5)] | None = None
    spend_limits: SpendLimits | None = None
    store_id: Annotated[str, Field(max_length=64)] | None = None
    stripe: Stripe | None = None
    workers_ai_billing_mode: Literal["postpaid", "unified"] | None = None
    zdr: bool | None = None
    # Sent back by who changes what was read; they cannot be set.
    is_default: bool | None = None
    created_at: datetime | None = None
    modified_at: datetime | None = None


class NewGateway(GatewaySettings):
    """A gateway to make."""

    id: GatewayId


class GatewayUpdate(GatewaySettings):
    """What a gateway is to be. An ``id`` that is sent along is that of the path."""

    id: str | None = None


class GatewayObject(BaseModel):
    """A gateway."""

    model_config = ConfigDict(extra="allow")

    id: str
    is_default: bool
    created_at: datetime
    modified_at: datetime
    authentication: bool
    collect_logs: bool
    log_payloads: bool
    log_management: int | None
    log_management_strategy: Literal["STOP_INSERTING", "DELETE_OLDEST"]
    cache_invalidate_on_update: bool
    cache_ttl: int | None
    rate_limiting_interval: int | None
    rate_limiting_limit: int | None


# What is kept as it was given. The rest are our own switches, or cannot be set.
_SWITCHES: Final = ("authentication", "collect_logs", "log_payloads", "log_management", "log_management_strategy")
_READ_ONLY: Final = ("id", "is_default", "created_at", "modified_at")

routes = APIRouter(tags=["gateways"], route_class=ManagementRoute)
_Search = Annotated[str | None, Query(max_length=200)]


@routes.get("/gateways")
async def list_gateways(
    gateway: TheGateway, caller: TheCaller, paging: Annotated[Paging, Depends()], search: _Search = None
) -> Listing[GatewayObject]:
    """List the gateways that the caller may look at, the settings' own first."""
    known = await _known(gateway)
    found = [
        _view(gateway, rules, known[rules.id])
        for rules in await gateway.configuration.gateways()
        if caller.gateway in (None, rules.id) and matches(search, rules.id)
    ]
    return paging.cut(found)


@routes.post("/gateways")
async def create_gateway(gateway: TheGateway, wanted: NewGateway) -> Envelope[GatewayObject]:
    """Make a gateway. It demands a key of its callers, unless ``authentication`` is false."""
    given = wanted.model_dump(exclude_unset=True)
    control = ControlRules().changed(control_changes(given, {}, ControlRules()))
    payloads = wanted.collect_logs if wanted.log_payloads is None else wanted.log_payloads
    logging = LoggingRules().changed(_logging(given) | {"payloads": payloads})
    rules = GatewayRules(wanted.id, authenticated=wanted.authentication is not False, logging=logging, control=control)
    fields = named(_kept(given, {}), control)
    if gateway.registry.rules(wanted.id) is not None:
        raise Taken(f"There is a gateway {wanted.id!r} already; choose another id.")
    await gateway.configuration.create_gateway(rules)
    return await _changed(gateway, wanted.id, fields)


@routes.get("/gateways/{gateway_id}")
async def get_gateway(gateway: TheGateway, gateway_id: str) -> Envelope[GatewayObject]:
    """Return a gateway."""
    return await _one(gateway, gateway_id)


@routes.put("/gateways/{gateway_id}")
async def update_gateway(
    gateway: TheGateway, caller: TheCaller, gateway_id: str, wanted: GatewayUpdate
) -> Envelope[GatewayObject]:
    """Change a gateway: what is sent is set, null clears it, and what is absent stays."""
    given = wanted.model_dump(exclude_unset=True)
    rules = await _stored(gateway, gateway_id)
    opens = wanted.authentication is False and rules_of(gateway, gateway_id).authenticated
    if opens and ADMINISTER not in caller.scopes:
        raise NotPermitted("Only an administrator opens a gateway to everybody; the gateway token is one.")
    before = (await _known(gateway))[gateway_id].fields
    kept = _kept(given, before)
    changes: dict[str, Any] = {} if wanted.authentication is None else {"authenticated": wanted.authentication}
    changed = await gateway.configuration.change_gateway(
        gateway_id, logging=_logging(given), control=control_changes(given, before, rules.control), **changes
    )
    return await _changed(gateway, gateway_id, {**before, **named(kept, changed.control)})


@routes.delete("/gateways/{gateway_id}")
async def delete_gateway(gateway: TheGateway, gateway_id: str) -> Envelope[GatewayObject]:
    """Remove a gateway with all that is its own, and return it as it was. Its log stays until it is deleted too."""
    gone = await _one(gateway, gateway_id)
    await gateway.configuration.delete_gateway(gateway_id)
    await gateway.registry.refresh()
    return gone


def management_of(gateway: Gateway) -> Management:
    """Return what is kept of gateways beyond their switches."""
    return Management(gateway.database, gateway.vault)


async def _known(gateway: Gateway) -> dict[str, GatewayFields]:
    await gateway.configuration.ensure_gateway(gateway.settings.gateway)
    return await management_of(gateway).gateways()


async def _one(gateway: Gateway, name: str) -> Envelope[GatewayObject]:
    rules = await _stored(gateway, name)
    return Envelope(result=_view(gateway, rules, (await _known(gateway))[name]))


async def _stored(gateway: Gateway, name: str) -> GatewayRules:
    """Return a gateway's switches as they are kept, which may be newer than those in force."""
    stored = {rules.id: rules for rules in await gateway.configuration.gateways()}
    return stored.get(name) or rules_of(gateway, name)


async def _changed(gateway: Gateway, name: str, fields: Mapping[str, Any]) -> Envelope[GatewayObject]:
    await management_of(gateway).set_fields(name, fields)
    await gateway.registry.refresh()
    return await _one(gateway, name)


def _view(gateway: Gateway, rules: GatewayRules, known: GatewayFields) -> GatewayObject:
    return GatewayObject(
        **{**_masked(known.fields), **acting_fields(rules.control, known.fields)},
        id=rules.id,
        is_default=rules.id == gateway.settings.gateway,
        created_at=moment(known.created_at),
        modified_at=moment(known.modified_at),
        authentication=rules.authenticated,
        collect_logs=rules.logging.collect,
        log_payloads=rules.logging.payloads,
        log_management=rules.logging.max_rows,
        log_management_strategy=rules.logging.strategy,
    )


def _logging(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `LoggingRules.changed` takes."""
    changes: dict[str, Any] = {"collect": given["collect_logs"]}
    if given.get("log_payloads") is not None:
        changes["payloads"] = given["log_payloads"]
    if "log_management" in given:
        changes["max_rows"] = given["log_management"]
    if given.get("log_management_strategy") is not None:
        changes["strategy"] = given["log_management_strategy"]
    return changes


def _kept(given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are kept as they were given, with credentials that were shown as asterisks put back."""
    fields = {name: value for name, value in given.items() if name not in (*_SWITCHES, *_READ_ONLY)}
    if fields.get("otel"):
        known = {one["url"]: one for one in before.get("otel") or ()}
        fields["otel"] = [_unmasked_exporter(one, known.get(one["url"], {})) for one in fields["otel"]]
    if fields.get("stripe"):
        old = (before.get("stripe") or {}).get("authorization")
        fields["stripe"] = {
            **fields["stripe"],
            "authorization": unmasked(fields["stripe"]["authorization"], old, "stripe.authorization"),
        }
    return fields


def _unmasked_exporter(given: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    headers = unmasked_headers(given["headers"], old.get("headers", {}), "otel.headers")
    authorization = given.get("authorization")
    if authorization is not None:
        authorization = unmasked(authorization, old.get("authorization"), "otel.authorization")
    return {**given, "headers": headers, "authorization": authorization}


def unmasked_headers(given: Mapping[str, str], old: Mapping[str, str], where: str) -> dict[str, str]:
    """Return headers with the values of those that were sent back as they were shown."""
    return {name: unmasked(value, old.get(name), f"{where}.{name}") for name, value in given.items()}


def unmasked(given: str, old: str | None, where: str) -> str:
    """Return a credential, or the one that is kept where asterisks were sent back. Raises `MalformedRequest`."""
    if given != MASK:
        return given
    if old is None:
        raise MalformedRequest(
            f"{where}: asterisks stand for a value that is kept, and none is for this address; send the value."
        )
    return old


def masked_headers(headers: Iterable[str]) -> dict[str, str]:
    """Return headers as they may be shown: any value may be a credential."""
    return dict.fromkeys(headers, MASK)


def _masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(fields)
    if shown.get("otel"):
        shown["otel"] = [
            {
                **one,
                "headers": masked_headers(one["headers"]),
                "authorization": MASK if one.get("authorization") else None,
            }
            for one in shown["otel"]
        ]
    if shown.get("stripe"):
        shown["stripe"] = {**shown["stripe"], "authorization": MASK}
    return shown
