"""Where programs send requests for a provider through a gateway."""

from __future__ import annotations

from fastapi import APIRouter, Request

from trunkline.errors import NotFound
from trunkline.server.management.access import ManagementRoute, TheGateway
from trunkline.server.management.envelope import Envelope

routes = APIRouter(tags=["urls"], route_class=ManagementRoute)


@routes.get("/gateways/{gateway_id}/url/{provider}")
async def get_url(request: Request, gateway: TheGateway, gateway_id: str, provider: str) -> Envelope[str]:
    """Return the base URL of a provider at a gateway, by the name under which this gateway was asked."""
    found = gateway.catalogue.find(provider)
    if found is None:
        raise NotFound(f"There is no provider {provider[:64]!r} here; docs/providers.md lists them.")
    root = f"{request.url.scheme}://{request.url.netloc}"
    return Envelope(result=f"{root}/v1/{gateway.settings.account}/{gateway_id}/{found.slug}")
