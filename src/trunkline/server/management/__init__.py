"""Cloudflare's management API below ``/client/v4``: their own programs manage this gateway with another base URL."""

from __future__ import annotations

from fastapi import Depends, FastAPI

import trunkline
from trunkline.server.gateway import Gateway
from trunkline.server.management import (
    billing,
    custom_providers,
    datasets,
    dynamic_routing,
    evaluations,
    gateways,
    logs,
    provider_configs,
    urls,
)
from trunkline.server.management.envelope import Refused, answer_errors

PREFIX = "/client/v4"

_RESOURCES = (
    gateways,
    logs,
    provider_configs,
    custom_providers,
    dynamic_routing,
    datasets,
    evaluations,
    urls,
    billing,
)


def create_management_api(gateway: Gateway) -> FastAPI:
    """Return the application that serves ``/client/v4``."""
    api = FastAPI(
        title="Trunkline management API",
        version=trunkline.__version__,
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        responses={status: {"model": Refused} for status in (400, 401, 403, 404)},
    )
    api.state.gateway = gateway
    answer_errors(api)
    for resource in _RESOURCES:
        api.include_router(
            resource.routes, prefix=f"{PREFIX}/accounts/{{account_id}}/ai-gateway", dependencies=[Depends(_account)]
        )
    return api


async def _account(account_id: str) -> None:
    """Name the account of the path, which `ManagementRoute` has checked."""
