"""Providers over HTTP, below ``/api/providers``: what there is, and the custom ones that are added while it runs.

Reading takes the scope 'read'; whoever adds one chooses where the gateway connects to, so that is an administrator's.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field

from trunkline.errors import NotFound, NotPermitted, Taken
from trunkline.providers import Provider
from trunkline.server.administration import done
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.management.custom_providers import custom_providers_of
from trunkline.server.management.gateways import masked_headers, unmasked_headers
from trunkline.store.custom_providers import PATHS, SLUG, CustomProvider, is_same_host

_PREFIX: Final = "custom-"
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Address = Annotated[str, Field(min_length=1, max_length=500)]
_Path = Annotated[str, Field(min_length=1, max_length=200)]
_Headers = Annotated[
    dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=8192)]], Field(max_length=50)
]


class ProviderEntry(BaseModel):
    """A provider. ``base_url`` is empty where the path says which host it is; ``source`` is where it is set up."""

    slug: str
    name: str
    base_url: str
    source: Literal["builtin", "settings", "added"]
    enabled: bool


class CustomProviderView(BaseModel):
    """A custom provider that was added. Values of ``headers`` are shown as asterisks; times are Unix seconds."""

    slug: str
    name: str
    base_url: str
    enabled: bool
    headers: dict[str, str]
    chat_path: str | None
    models_path: str | None
    created_at: float
    modified_at: float


class CustomChange(BaseModel):
    """Fields to set; what is absent stays. ``headers`` go with every request to it: all of them are replaced.

    One that is moved to another host needs its headers sent anew.
    """

    model_config = ConfigDict(extra="forbid")

    name: _Name | None = None
    base_url: _Address | None = None
    enabled: bool | None = None
    headers: _Headers | None = None
    chat_path: _Path | None = None
    models_path: _Path | None = None


class NewCustom(CustomChange):
    """A custom provider to add; it is reached as ``custom-{slug}``."""

    slug: Annotated[str, Field(pattern=SLUG)]
    base_url: _Address
    enabled: bool = True


def create_provider_routes(gateway: Gateway) -> APIRouter:
    """Return the routes below ``/api/providers``."""
    routes = APIRouter(prefix="/api/providers", tags=["providers"])

    async def found(slug: str) -> CustomProvider:
        one = await custom_providers_of(gateway).find(slug.removeprefix(_PREFIX))
        if one is None:
            raise NotFound(f"No custom provider {slug[:64]!r} was added here.")
        return one

    @routes.get("")
    async def providers(request: Request) -> list[ProviderEntry]:
        """List every provider, with where it is set up."""
        require_scope(gateway, request, "read", None)
        added = {f"{_PREFIX}{one.slug}": one for one in await custom_providers_of(gateway).all()}
        known = [_entry(gateway, provider) for provider in gateway.catalogue.all() if provider.slug not in added]
        return known + [
            ProviderEntry(slug=slug, name=one.name, base_url=one.base_url, source="added", enabled=one.enable)
            for slug, one in added.items()
        ]

    @routes.get("/custom")
    async def custom(request: Request) -> list[CustomProviderView]:
        """List the custom providers that were added, oldest first."""
        require_scope(gateway, request, "read", None)
        return [_view(one) for one in await custom_providers_of(gateway).all()]

    @routes.post("/custom", status_code=201)
    async def add(request: Request, wanted: Annotated[NewCustom, Body()]) -> CustomProviderView:
        """Add a custom provider."""
        _require_administrator(gateway, request)
        stored = custom_providers_of(gateway)
        if await stored.find(wanted.slug) or gateway.catalogue.find(f"{_PREFIX}{wanted.slug}") is not None:
            raise Taken(f"There is a custom provider {wanted.slug!r} already; choose another slug.")
        made = stored.create(
            wanted.slug,
            name=wanted.name or wanted.slug,
            base_url=wanted.base_url,
            enable=wanted.enabled,
            fields=wanted.model_dump(include=set(PATHS), exclude_none=True),
            headers=unmasked_headers(wanted.headers or {}, {}, "headers"),
        )
        return _view(await done(gateway, made))

    @routes.patch("/custom/{slug}")
    async def change(request: Request, slug: str, wanted: Annotated[CustomChange, Body()]) -> CustomProviderView:
        """Change a custom provider."""
        _require_administrator(gateway, request)
        one = await found(slug)
        changes: dict[str, Any] = wanted.model_dump(include={"name", "base_url"}, exclude_none=True)
        if wanted.enabled is not None:
            changes["enable"] = wanted.enabled
        if wanted.headers is not None:
            stays = is_same_host(wanted.base_url or one.base_url, one.base_url)
            changes["headers"] = unmasked_headers(wanted.headers, one.headers if stays else {}, "headers")
        paths = wanted.model_dump(include=set(PATHS), exclude_unset=True)
        if paths:
            changes["fields"] = {**one.fields, **paths}
        changed = await done(gateway, custom_providers_of(gateway).change(one.id, **changes))
        return _view(changed or one)

    @routes.delete("/custom/{slug}", status_code=204)
    async def remove(request: Request, slug: str) -> None:
        """Remove a custom provider, with the keys that the vault holds for it."""
        _require_administrator(gateway, request)
        await done(gateway, custom_providers_of(gateway).delete((await found(slug)).id))

    return routes


def _require_administrator(gateway: Gateway, request: Request) -> None:
    if require_scope(gateway, request, "administer", None).gateway is not None:
        raise NotPermitted("The gateway refused this request: its key is for one gateway only.")


def _entry(gateway: Gateway, provider: Provider) -> ProviderEntry:
    names = {provider.slug, *provider.aliases}
    return ProviderEntry(
        slug=provider.slug,
        name=provider.name,
        base_url=provider.base_url,
        source="settings" if names & gateway.settings.providers.keys() else "builtin",
        enabled=True,
    )


def _view(one: CustomProvider) -> CustomProviderView:
    return CustomProviderView(
        slug=one.slug,
        name=one.name,
        base_url=one.base_url,
        enabled=one.enable,
        headers=masked_headers(one.headers),
        chat_path=one.fields.get("chat_path"),
        models_path=one.fields.get("models_path"),
        created_at=one.created_at,
        modified_at=one.modified_at,
    )
