"""Voice without the gateway: a secret of the provider's own, minted for a browser that then dials the provider."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

import msgspec
from pydantic import BaseModel

from trunkline.errors import MalformedRequest, UnknownProvider, UpstreamError
from trunkline.providers import resolve_realtime
from trunkline.server.gateway import Gateway
from trunkline.wire.documents import UNREADABLE
from trunkline.wire.head import Head, Transport

_LIFETIME_SECONDS: Final = 600
_MAX_ANSWER: Final = 1 << 20


class DirectCall(BaseModel):
    """How a browser reaches the provider: ``url`` and the sub-protocols to offer, valid until ``expires_at``."""

    url: str
    protocols: list[str]
    expires_at: int


class _Minted(msgspec.Struct):
    value: str
    expires_at: int


async def mint(gateway: Gateway, head: Head, slug: str, model: str) -> DirectCall:
    """Ask a provider for an ephemeral secret, with the key this console session or the settings hold.

    Raises `UnknownProvider` when the provider mints none, `NoProviderKey` without a key, `UpstreamError` when the
    provider refuses.
    """
    provider = gateway.catalogue.find(slug)
    if provider is None or provider.client_secrets_path is None:
        raise UnknownProvider(f"{slug} gives browsers no secret of their own; use the voice page through the gateway.")
    settings = gateway.settings
    body = json.dumps(
        {
            "expires_after": {"anchor": "created_at", "seconds": _LIFETIME_SECONDS},
            "session": {"type": "realtime", "model": model},
        }
    ).encode()
    path = f"/v1/{settings.account}/{settings.gateway}/{provider.slug}/{provider.client_secrets_path}"
    # The head of a request this very page could have sent to the data plane: the same admission judges it.
    headers = [pair for pair in head.headers if pair[0] in (b"host", b"origin", b"cookie", b"sec-fetch-site")]
    asked = Head(Transport.HTTP, "POST", path, "", [*headers, (b"content-type", b"application/json")])
    admission = gateway.doorkeeper.admit(asked)
    request = await gateway.outgoing_request(asked, admission)
    request.body, request.content_length = body, len(body)
    response = await gateway.http.send(request)
    try:
        answer = b""
        async for chunk in response:
            answer += chunk
            if len(answer) > _MAX_ANSWER:
                break
    finally:
        await response.aclose()
    if response.status != 200:
        raise UpstreamError(f"{provider.name} minted no secret: it answered {response.status}. {_words(answer)}")
    try:
        minted = msgspec.json.decode(answer, type=_Minted)
    except UNREADABLE as error:
        raise UpstreamError(f"{provider.name} answered, but not with a client secret.") from error
    target = resolve_realtime(await gateway.located(provider), "realtime", f"model={quote(model, safe='')}")
    if target is None:
        raise MalformedRequest(f"{provider.name} has no realtime voice.")
    return DirectCall(
        url=f"{target.url}?{target.query}",
        protocols=["realtime", f"openai-insecure-api-key.{minted.value}"],
        expires_at=minted.expires_at,
    )


def _words(answer: bytes) -> str:
    try:
        return str(msgspec.json.decode(answer)["error"]["message"])
    except (*UNREADABLE, KeyError, TypeError):
        return ""
