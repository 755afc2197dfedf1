"""How a refusal is put, so that the client at hand can read it.

Over HTTP the gateway's number travels in ``cf-aig-error-code``; the body is Cloudflare's envelope for callers that
speak its headers, else the provider's own error object, since its SDKs print nothing of an envelope they do not know.
Over a WebSocket a refusal is one event followed by a close: a browser can read nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

from trunkline.errors import GatewayError

ERROR_CODE_HEADER: Final = b"cf-aig-error-code"
_CLOUDFLARE_PREFIX: Final = b"cf-aig-"

# RFC 6455 section 5.5: a control frame's payload is at most 125 bytes, two of them the code.
MAX_CLOSE_REASON: Final = 123


class Dialect(Enum):
    """Whose error object a client expects. Three are known from WebSockets; over HTTP they are put in OpenAI's."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    ELEVENLABS = "elevenlabs"
    DEEPGRAM = "deepgram"
    CARTESIA = "cartesia"
    CLOUDFLARE = "cloudflare"


_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    504: "timeout_error",
}
_GOOGLE_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def dialect_for(headers: Sequence[tuple[bytes, bytes]], provider_dialect: Dialect) -> Dialect:
    """Choose the error object: Cloudflare's when the caller sent one of its headers, else the provider's."""
    if any(name.startswith(_CLOUDFLARE_PREFIX) for name, _ in headers):
        return Dialect.CLOUDFLARE
    return provider_dialect


def http_refusal(error: GatewayError, dialect: Dialect) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the status, headers and JSON body that answer with ``error``."""
    body = json.dumps(_body(error, dialect)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (ERROR_CODE_HEADER, str(error.code).encode()),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return error.status, headers + error.headers, body


def realtime_refusal(error: GatewayError, dialect: Dialect, event_id: str) -> tuple[str, int, str]:
    """Return the event, close code and close reason that refuse a WebSocket in band."""
    reason = (error.close_reason or f"{error.type}.{error.reason}")[:MAX_CLOSE_REASON]
    return json.dumps(_event(error, dialect, event_id)), error.close_code, reason


def _event(error: GatewayError, dialect: Dialect, event_id: str) -> dict[str, Any]:
    match dialect:
        case Dialect.GOOGLE:
            return _google(error)
        case Dialect.ELEVENLABS:
            # Agents read ``error_event``; its text to speech, whose frames have no type, reads the other two.
            event = {"code": error.status, "error_type": error.reason, "message": error.message}
            return {"type": "error", "error_event": event, "error": error.reason, "message": error.message}
        case Dialect.DEEPGRAM:
            return {"type": "Error", "code": error.reason, "description": error.message, "message": error.message}
        case Dialect.CARTESIA:
            # ``done``: no more of this context comes. Older versions of the API have the words in ``error``.
            words = {"title": error.reason, "error": error.message, "message": error.message}
            return {"type": "error", "done": True, "status_code": error.status, "error_code": error.reason, **words}
        case _:
            return {"type": "error", "event_id": event_id, "error": {**_openai(error), "event_id": None}}


def _body(error: GatewayError, dialect: Dialect) -> dict[str, Any]:
    match dialect:
        case Dialect.OPENAI | Dialect.ELEVENLABS | Dialect.DEEPGRAM | Dialect.CARTESIA:
            return {"error": _openai(error)}
        case Dialect.ANTHROPIC:
            kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
            return {"type": "error", "error": {"type": kind, "message": error.message}}
        case Dialect.GOOGLE:
            return _google(error)
        case Dialect.CLOUDFLARE:
            return {
                "success": False,
                "result": [],
                "messages": [],
                "error": [{"code": error.code, "message": error.message}],
                "name": "AiGatewayError",
                "httpCode": error.status,
                "internalCode": error.code,
                "message": error.message,
                "description": error.reason,
            }


def _openai(error: GatewayError) -> dict[str, Any]:
    return {"message": error.message, "type": error.type, "param": None, "code": error.reason}


def _google(error: GatewayError) -> dict[str, Any]:
    status = _GOOGLE_STATUS.get(error.status, "INTERNAL")
    return {"error": {"code": error.status, "message": error.message, "status": status}}
