"""A gateway's cache over HTTP, at ``/api/gateways/{name}/cache``: what it holds and did, and emptying it.

For gateway keys with the scopes 'read' and 'edit', for the gateway token and for the console.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from trunkline.errors import UnknownGateway
from trunkline.server import audit
from trunkline.server.answers import answers, json_answer, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway

_Word = Annotated[str, Query(min_length=1, max_length=1024)]


class CacheView(msgspec.Struct, frozen=True):
    """What a gateway's cache holds, and how often an answer was there or not, in this process since its start."""

    entries: int
    bytes: int
    hits: int
    misses: int


class Purged(msgspec.Struct, frozen=True):
    """How many kept answers were removed."""

    purged: int


def cache_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the answers, by name."""
    return schemas_of(CacheView, Purged)


def create_cache_routes(gateway: Gateway) -> APIRouter:
    """Return the routes at ``/api/gateways/{name}/cache``."""
    routes = APIRouter(prefix="/api/gateways/{name}/cache", tags=["cache"])

    def known(name: str) -> str:
        if gateway.registry.rules(name) is None:
            raise UnknownGateway(f"There is no gateway {name[:64]!r} here.")
        return name

    @routes.get("", response_class=Response, responses=answers(CacheView))
    async def stats(request: Request, name: str) -> Response:
        """Tell what is kept, and how often it was of use."""
        require_scope(gateway, request, "read", name)
        return json_answer(CacheView(*await gateway.caching.stats(known(name))))

    @routes.delete("", response_class=Response, responses=answers(Purged))
    async def purge(
        request: Request,
        name: str,
        key: Annotated[_Word | None, Query(description="As callers name it in cf-aig-cache-key.")] = None,
        model: _Word | None = None,
        provider: _Word | None = None,
    ) -> Response:
        """Remove what is kept: all of it, or what fits all that is said."""
        caller = require_scope(gateway, request, "edit", name)
        found = gateway.catalogue.find(provider) if provider is not None else None
        slug = found.slug if found is not None else provider
        removed = await gateway.caching.purge(known(name), key=key, model=model, provider=slug)
        told = {"model": model, "provider": slug, "by_key": key is not None, "purged": removed}
        details = {name: value for name, value in told.items() if value not in (None, False)}
        await audit.record(gateway, caller, "cache.purge", audit.Target("gateway", name, name), details)
        return json_answer(Purged(removed))

    return routes
