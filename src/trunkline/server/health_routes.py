"""How providers are doing: ``GET /api/health/providers``, for the console and for keys with the scope 'read'.

A gateway key sees its own gateway alone. Each process answers for itself.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from trunkline.server.answers import answers, json_answer, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.health import ProviderHealth


class ProviderHealthList(msgspec.Struct, frozen=True):
    """Every place that was asked since the process started, by gateway, provider and key."""

    providers: list[ProviderHealth]


def health_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the answers, by name."""
    return schemas_of(ProviderHealthList)


def create_health_routes(gateway: Gateway) -> APIRouter:
    """Return the routes below ``/api/health``."""
    routes = APIRouter(prefix="/api/health", tags=["health"])

    @routes.get("/providers", response_class=Response, responses=answers(ProviderHealthList))
    async def providers(
        request: Request, gateway_: Annotated[str | None, Query(alias="gateway", max_length=64)] = None
    ) -> Response:
        """Show how the providers are doing, as this process sees it: who rests, who is busy, how soon they answer."""
        caller = require_scope(gateway, request, "read", gateway_)
        return json_answer(ProviderHealthList(gateway.health.snapshot(gateway_ or caller.gateway)))

    return routes
