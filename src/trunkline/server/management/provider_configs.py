"""Provider keys that a gateway keeps: they are stored here, and their values never come back."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field

from trunkline.credentials import tail
from trunkline.errors import MalformedRequest, NotFound, Taken
from trunkline.policy.registry import DEFAULT_ALIAS
from trunkline.server.gateway import Gateway
from trunkline.server.management.access import ManagementRoute, TheGateway
from trunkline.server.management.envelope import Envelope, Listing, Paging, moment
from trunkline.server.management.gateways import management_of
from trunkline.store.management import ProviderConfig

# Ids are made from what they name, so that keys stored by command have theirs too.
_NAMESPACE: Final = uuid.UUID("0f2a6c1e-6f0d-5f7b-9a63-6d1f4f4f0d5e")
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class NewProviderConfig(BaseModel):
    """A provider key to keep. Requests that name no alias are served with the one that is ``default_config``."""

    model_config = ConfigDict(extra="forbid")

    alias: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    default_config: bool
    provider_slug: Annotated[str, Field(max_length=64)]
    secret: Annotated[str, Field(min_length=1, max_length=8192, pattern=r"^[\x21-\x7e]+$")] | None = None
    secret_id: Annotated[str, Field(max_length=300)] | None = None
    rate_limit: _NotNegative | None = None
    rate_limit_period: _NotNegative | None = None


class ProviderConfigObject(BaseModel):
    """A provider key that is kept. ``secret_preview`` has its last characters."""

    id: str
    alias: str
    default_config: bool
    gateway_id: str
    modified_at: datetime
    provider_slug: str
    secret_id: str
    secret_preview: str
    rate_limit: float | None
    rate_limit_period: float | None


routes = APIRouter(tags=["provider configs"], route_class=ManagementRoute)


@routes.get("/gateways/{gateway_id}/provider_configs")
async def list_provider_configs(
    gateway: TheGateway, gateway_id: str, paging: Annotated[Paging, Depends()]
) -> Listing[ProviderConfigObject]:
    """List the provider keys that a gateway keeps."""
    return paging.cut([_view(config) for config in await _all(gateway, gateway_id)])


@routes.post("/gateways/{gateway_id}/provider_configs")
async def create_provider_config(
    gateway: TheGateway, gateway_id: str, wanted: NewProviderConfig
) -> Envelope[ProviderConfigObject]:
    """Keep a provider key, sealed."""
    provider = gateway.catalogue.find(wanted.provider_slug)
    if provider is None:
        raise MalformedRequest(
            f"provider_slug: there is no provider {wanted.provider_slug!r}; docs/providers.md lists them."
        )
    if wanted.secret is None:
        raise MalformedRequest("secret: send the key itself; this gateway keeps it, and has no other store of secrets.")
    if wanted.alias in gateway.registry.now.stored_keys(gateway_id, provider.slug) and any(
        config.alias == wanted.alias and config.provider == provider.slug for config in await _all(gateway, gateway_id)
    ):
        raise Taken(
            f"There is a key {wanted.alias!r} for {provider.slug} already; delete it first, or rotate it with"
            " PUT /api/gateways/{gateway}/stored-keys."
        )
    hint = tail(wanted.secret)
    await gateway.configuration.store_key(gateway_id, provider.slug, wanted.alias, wanted.secret, hint)
    config = ProviderConfig(
        gateway_id,
        provider.slug,
        wanted.alias,
        hint,
        0.0,
        wanted.default_config,
        wanted.rate_limit,
        wanted.rate_limit_period,
    )
    await management_of(gateway).set_terms(config)
    await gateway.registry.refresh()
    return Envelope(result=_view(await _found(gateway, gateway_id, _id(config))))


@routes.delete("/gateways/{gateway_id}/provider_configs/{id}")
async def delete_provider_config(gateway: TheGateway, gateway_id: str, id: str) -> Envelope[ProviderConfigObject]:
    """Forget a provider key: callers who depended on it are refused at once."""
    config = await _found(gateway, gateway_id, id)
    await gateway.configuration.forget_key(gateway_id, config.provider, config.alias)
    await gateway.registry.refresh()
    return Envelope(result=_view(config))


async def _all(gateway: Gateway, name: str) -> list[ProviderConfig]:
    """Return a gateway's keys. Of a provider's that has none marked, the one called ``default`` is the default one."""
    configs = await management_of(gateway).provider_configs(name)
    marked = {config.provider for config in configs if config.default_config}
    return [
        replace(config, default_config=True)
        if config.alias == DEFAULT_ALIAS and config.provider not in marked
        else config
        for config in configs
    ]


async def _found(gateway: Gateway, name: str, id: str) -> ProviderConfig:
    for config in await _all(gateway, name):
        if _id(config) == id:
            return config
    raise NotFound(f"The gateway {name!r} keeps no provider key with the id {id[:64]!r}.")


def _id(config: ProviderConfig) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{config.gateway}/{config.provider}/{config.alias}"))


def _view(config: ProviderConfig) -> ProviderConfigObject:
    return ProviderConfigObject(
        id=_id(config),
        alias=config.alias,
        default_config=config.default_config,
        gateway_id=config.gateway,
        modified_at=moment(config.changed_at),
        provider_slug=config.provider,
        secret_id=f"{config.gateway}_{config.provider}_{config.alias}",
        secret_preview=f"...{config.hint}",
        rate_limit=config.rate_limit,
        rate_limit_period=config.rate_limit_period,
    )
