"""``/v1/realtime/client_secrets``: what lets a browser open a realtime session without the key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from trunkline.local.api.bodies import Body, read
from trunkline.local.api.keys import SECRET_SECONDS, Keys


class ExpiresAfter(Body):
    """How long the secret opens sessions; a session may outlive it."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=10, le=7200)] = SECRET_SECONDS


class SecretRequest(Body):
    """``session`` is echoed: a client sends its settings again on the socket."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: dict[str, Any] | None = None


async def mint(request: Request, keys: Keys) -> JSONResponse:
    """Answer with a new ephemeral secret."""
    body = await read(request, SecretRequest)
    value, expires_at = keys.mint(body.expires_after.seconds)
    return JSONResponse({"value": value, "expires_at": expires_at, "session": body.session or {"type": "realtime"}})
