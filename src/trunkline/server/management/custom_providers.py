"""Custom providers: made over HTTP, and reached as ``custom-{slug}`` in every process at once when enabled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from trunkline.errors import MalformedRequest, NotFound, Taken
from trunkline.server.gateway import Gateway
from trunkline.server.management.access import ManagementRoute, TheGateway
from trunkline.server.management.envelope import (
    PROVIDER_NOT_FOUND,
    PROVIDER_TAKEN,
    Envelope,
    Listing,
    Paging,
    matches,
    moment,
)
from trunkline.server.management.gateways import masked_headers, unmasked_headers
from trunkline.store.custom_providers import PATHS, SLUG, CustomProvider, CustomProviders, is_same_host

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Address = Annotated[str, Field(min_length=1, max_length=500)]
_Example = Annotated[str, Field(max_length=8192)]
# What is said to people, and kept as it is.
_FIELDS: Final = ("description", "link", "beta", "curl_example", "js_example", "position")


class UnknownCustomProvider(NotFound):
    """No custom provider of that id."""

    reason = "custom_provider_not_found"
    code = PROVIDER_NOT_FOUND


class SlugTaken(Taken):
    """A custom provider has that slug."""

    reason = "custom_provider_taken"
    code = PROVIDER_TAKEN


class CustomProviderChange(BaseModel):
    """Fields to set; what is absent stays. ``headers`` is a JSON object in a text, sent with every request to it."""

    model_config = ConfigDict(extra="forbid")

    name: _Name | None = None
    base_url: _Address | None = None
    enable: bool | None = None
    headers: Annotated[str, Field(max_length=8192)] | None = None
    description: Annotated[str, Field(max_length=2000)] | None = None
    link: Annotated[str, Field(max_length=500)] | None = None
    beta: bool | None = None
    curl_example: _Example | None = None
    js_example: _Example | None = None
    position: int | None = None


class NewCustomProvider(CustomProviderChange):
    """A custom provider to make. It is reached only when it is enabled."""

    name: _Name
    base_url: _Address
    slug: Annotated[str, Field(pattern=SLUG)]
    enable: bool = False


class CustomProviderObject(BaseModel):
    """A custom provider. Values of ``headers`` are shown as asterisks."""

    id: str
    slug: str
    name: str
    base_url: str
    enable: bool
    headers: str | None
    created_at: datetime
    modified_at: datetime
    description: str | None = None
    link: str | None = None
    beta: bool | None = None
    curl_example: str | None = None
    js_example: str | None = None
    position: int | None = None


routes = APIRouter(prefix="/custom-providers", tags=["custom providers"], route_class=ManagementRoute)


@routes.get("")
async def list_custom_providers(
    gateway: TheGateway,
    paging: Annotated[Paging, Depends()],
    beta: bool | None = None,
    enable: bool | None = None,
    search: Annotated[str | None, Query(max_length=200)] = None,
) -> Listing[CustomProviderObject]:
    """List the custom providers."""
    found = [
        _view(one)
        for one in await custom_providers_of(gateway).all()
        if enable in (None, one.enable)
        and beta in (None, bool(one.fields.get("beta")))
        and matches(search, one.id, one.name, one.slug)
    ]
    return paging.cut(found)


@routes.post("")
async def create_custom_provider(gateway: TheGateway, wanted: NewCustomProvider) -> Envelope[CustomProviderObject]:
    """Make a custom provider, which the settings must not have under that name."""
    headers = _headers(wanted.headers, {})
    stored = custom_providers_of(gateway)
    if await stored.find(wanted.slug) or gateway.catalogue.find(f"custom-{wanted.slug}") is not None:
        raise SlugTaken(f"There is a custom provider {wanted.slug!r} already; choose another slug.")
    made = await stored.create(
        wanted.slug,
        name=wanted.name,
        base_url=wanted.base_url,
        enable=wanted.enable,
        fields=_fields(wanted),
        headers=headers,
    )
    await gateway.registry.refresh()
    return Envelope(result=_view(made))


@routes.get("/{id}")
async def get_custom_provider(gateway: TheGateway, id: str) -> Envelope[CustomProviderObject]:
    """Return a custom provider."""
    return Envelope(result=_view(await _found(gateway, id)))


@routes.patch("/{id}")
async def change_custom_provider(
    gateway: TheGateway, id: str, wanted: CustomProviderChange
) -> Envelope[CustomProviderObject]:
    """Change a custom provider: what is sent is set, and what is absent stays.

    Who moves it to another host sends its headers anew: those that are kept were given for the old one.
    """
    found = await _found(gateway, id)
    given = {
        name: value
        for name, value in wanted.model_dump(include={"name", "base_url", "enable"}).items()
        if value is not None
    }
    changes: dict[str, Any] = {**given, "fields": {**found.fields, **_fields(wanted)}}
    if wanted.headers is not None:
        stays = is_same_host(given.get("base_url", found.base_url), found.base_url)
        changes["headers"] = _headers(wanted.headers, found.headers if stays else {})
    changed = await custom_providers_of(gateway).change(id, **changes)
    await gateway.registry.refresh()
    if changed is None:
        raise _unknown(id)
    return Envelope(result=_view(changed))


@routes.delete("/{id}")
async def delete_custom_provider(gateway: TheGateway, id: str) -> Envelope[CustomProviderObject]:
    """Remove a custom provider: requests for it are refused at once."""
    gone = await custom_providers_of(gateway).delete(id)
    if gone is None:
        raise _unknown(id)
    await gateway.registry.refresh()
    return Envelope(result=_view(gone))


def custom_providers_of(gateway: Gateway) -> CustomProviders:
    """Return the custom providers in the database."""
    return CustomProviders(gateway.database, gateway.vault, gateway.settings.custom_provider_hosts)


async def _found(gateway: Gateway, id: str) -> CustomProvider:
    found = await custom_providers_of(gateway).get(id)
    if found is None:
        raise _unknown(id)
    return found


def _unknown(id: str) -> UnknownCustomProvider:
    return UnknownCustomProvider(f"There is no custom provider with the id {id[:64]!r}.")


def _headers(text: str | None, old: Mapping[str, str]) -> dict[str, str]:
    if not text or not text.strip():
        return {}
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("headers: expected a JSON object in a text.") from error
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise MalformedRequest("headers: expected a JSON object whose values are texts.")
    return unmasked_headers(given, old, "headers")


def _fields(wanted: CustomProviderChange) -> dict[str, Any]:
    return wanted.model_dump(include=set(_FIELDS), exclude_unset=True)


def _view(one: CustomProvider) -> CustomProviderObject:
    return CustomProviderObject(
        id=one.id,
        slug=one.slug,
        name=one.name,
        base_url=one.base_url,
        enable=one.enable,
        headers=json.dumps(masked_headers(one.headers)) if one.headers else None,
        created_at=moment(one.created_at),
        modified_at=moment(one.modified_at),
        **{name: value for name, value in one.fields.items() if name not in PATHS},
    )
