"""The models that a caller of the unified API can name: those of all providers the gateway holds a key for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any, Final

import structlog

from trunkline.credentials.inheritance import inherit
from trunkline.errors import GatewayError
from trunkline.policy.models import is_allowed
from trunkline.policy.routes import ROUTE_PREFIX
from trunkline.providers import Provider
from trunkline.server.admission import Admission
from trunkline.server.gateway import Gateway
from trunkline.server.logbook import Entry
from trunkline.wire.documents import json_object
from trunkline.wire.head import Head

log = structlog.get_logger("trunkline.models")

# A provider that takes longer than this is left out.
_PATIENCE_SECONDS: Final = 5.0
# The embedded one may have to start first.
_LOCAL_SECONDS: Final = 60.0
_MAX_LIST: Final = 4 * 1024 * 1024
_OK: Final = 200


async def model_list(gateway: Gateway, head: Head, entry: Entry) -> dict[str, Any]:
    """Return a list in OpenAI's form, of names as the unified API takes them; dynamic routes are among them.

    ``head`` is on the path of a gateway. A provider that does not answer in time is left out. Raises what admission
    does.
    """
    # A key of some provider is not to be shown to all of them.
    head = replace(head, headers=inherit(head, gateway.doorkeeper.is_ours).common)
    admission = gateway.doorkeeper.admit(replace(head, path=f"{head.path.rstrip('/')}/local"))
    entry.admitted(admission)
    known = [provider for provider in gateway.catalogue.all() if provider.models_path is not None]
    lists = await asyncio.gather(*(_models_of(gateway, head, provider) for provider in known))
    routes = [name for owner, name in gateway.registry.now.routes if owner == admission.gateway]
    created = int(time.time())
    models = [
        {"id": f"{provider.slug}/{model}", "object": "model", "created": created, "owned_by": provider.slug}
        for provider, names in zip(known, lists, strict=True)
        for model in names
        if _may_use(admission, provider, model)
    ]
    models += [
        {"id": f"{ROUTE_PREFIX}{name}", "object": "model", "created": created, "owned_by": "trunkline"}
        for name in sorted(routes)
    ]
    return {"object": "list", "data": models}


def _may_use(admission: Admission, provider: Provider, model: str) -> bool:
    caller = admission.caller
    if caller is None:
        return True
    return caller.model in ("", model) and is_allowed(model, caller.models, provider.slug)


async def _models_of(gateway: Gateway, head: Head, provider: Provider) -> list[str]:
    """Return the models of one provider: none where the gateway has no key for it, or it does not say."""
    asked = replace(
        head, method="GET", path=f"{head.path.rstrip('/')}/{provider.slug}/{provider.models_path}", query=""
    )
    try:
        admission = gateway.doorkeeper.admit(asked)
        if admission.key is None:
            return []
        async with asyncio.timeout(_LOCAL_SECONDS if provider.slug == "local" else _PATIENCE_SECONDS):
            return await _asked(gateway, asked, admission)
    except (GatewayError, TimeoutError) as error:
        log.info("a provider lists no models", provider=provider.slug, why=str(error)[:200])
        return []


async def _asked(gateway: Gateway, head: Head, admission: Admission) -> list[str]:
    request = await gateway.outgoing_request(head, admission)
    request.headers = [*(pair for pair in request.headers if pair[0] != b"accept-encoding")]
    response = await gateway.http.send(request)
    body = bytearray()
    try:
        async for piece in response:
            body += piece
            if len(body) > _MAX_LIST:
                return []
    finally:
        await response.aclose()
    listed = json_object(bytes(body)).get("data") if response.status == _OK else None
    names = [one.get("id") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [name.removeprefix("models/") for name in names if isinstance(name, str)]
