"""Client secrets on request: what an app's server asks for so that a browser can open a session without a key.

`Broker` keeps them; here a request for one is read, and answered in the shape of OpenAI's surface that was called. In
the mode ``relay`` nothing of this happens: the provider answers itself.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import replace
from enum import Enum
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import msgspec

from trunkline.errors import MalformedRequest, NotPermitted
from trunkline.policy.client_secrets import (
    DEFAULT_SECONDS,
    LONGEST_SECONDS,
    OLDER_SECONDS,
    SHORTEST_SECONDS,
    ClientSecret,
)
from trunkline.policy.cost import price_is_known
from trunkline.policy.registry import ClientSecretMode
from trunkline.policy.sessions import NO_LIMITS
from trunkline.realtime.dialect import session_to_ga
from trunkline.server.admission import Admission
from trunkline.server.broker import Broker
from trunkline.settings import Settings
from trunkline.wire.documents import UNREADABLE, why_unreadable
from trunkline.wire.head import Head

MODE_HEADER: Final = b"x-trunkline-client-secrets"
# A browser must offer the whole head within what servers accept; the settings come through the gateway instead.
_MAX_SESSION: Final = 64 * 1024
# How paths end that mint secrets, those of surfaces that the gateway does not serve itself included.
_MINTING: Final = ("client_secrets", "realtime/sessions", "realtime/transcription_sessions")


class Surface(Enum):
    """The paths on which OpenAI's clients ask for a secret, the two older ones included."""

    CLIENT_SECRETS = "realtime/client_secrets"
    SESSIONS = "realtime/sessions"
    TRANSCRIPTION_SESSIONS = "realtime/transcription_sessions"


_SURFACES: Final = {one.value: one for one in Surface}

_Seconds = Annotated[int, msgspec.Meta(ge=SHORTEST_SECONDS, le=LONGEST_SECONDS)]


class _ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    seconds: _Seconds
    anchor: str = "created_at"


class _Terms(msgspec.Struct, forbid_unknown_fields=True):
    """The gateway's own part of a request: how often and for how much the secret is good."""

    uses: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    spend_cap: Annotated[float, msgspec.Meta(gt=0)] | None = None


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    session: dict[str, Any] = {}
    expires_after: _ExpiresAfter | None = None
    trunkline: _Terms = msgspec.field(default_factory=_Terms)


class _Older(msgspec.Struct):
    expires_after: _ExpiresAfter | None = None


def surface_of(head: Head, admission: Admission) -> Surface | None:
    """Return the surface when the gateway itself is to answer, or None when the request is like any other.

    Raises `NotPermitted` when a client secret asks for another, of the gateway's or of the provider's own.
    """
    rest = admission.rest.strip("/").removeprefix("v1/")
    if admission.secret is not None and rest.endswith(_MINTING):
        raise NotPermitted("The gateway refused this request: a client secret cannot be used to make another.")
    if head.method != "POST" or not admission.provider.has_realtime:
        return None
    surface = _SURFACES.get(rest)
    if surface is None or _mode(head, admission) is ClientSecretMode.BROKERED:
        return surface
    if admission.limits != NO_LIMITS:
        raise NotPermitted(
            "The gateway refused this request: sessions opened with the provider's own client secrets pass the gateway"
            " by, and this caller's sessions have limits. Ask for a brokered one."
        )
    return None


async def mint(
    broker: Broker, settings: Settings, head: Head, admission: Admission, surface: Surface, body: bytes
) -> bytes:
    """Make a client secret; return the JSON that answers the request.

    Raises `MalformedRequest` saying what of the body is wrong, `NotPermitted` for a model the caller may not use.
    """
    asked = _read(surface, body)
    kind = "transcription" if surface is Surface.TRANSCRIPTION_SESSIONS else "realtime"
    session = session_to_ga(asked.session, kind)
    model = session.pop("model", "")
    if not isinstance(model, str):
        raise MalformedRequest("session.model is the name of a model, as text.")
    admission.check_models([model] if model else [])
    admission.check_frame(json.dumps(session))
    _check_cap(asked.trunkline, admission, model)
    now = time.time()
    secret = ClientSecret(
        id=f"sec_{secrets.token_hex(8)}",
        gateway=admission.gateway,
        provider=admission.provider.slug,
        model=model,
        models=admission.caller.models if admission.caller is not None else (),
        expires_at=float(int(now) + _lifetime(asked, surface)),
        session=session if len(session) > 1 else None,  # more than its type
        max_uses=asked.trunkline.uses,
        spend_cap=asked.trunkline.spend_cap,
        provider_key=_brought(admission),
        alias=admission.alias,
        parent=admission.caller.id if admission.caller is not None else "",
    )
    # What is typed into the console stays in this process.
    typed = admission.key is not None and admission.key.source == "session"
    value = await broker.mint(secret, now, in_memory=typed)
    return json.dumps(
        _answer(surface, value, secret, asked.session, _terms(settings, head, admission, secret))
    ).encode()


def bound(head: Head, admission: Admission) -> Head:
    """Return the head of a WebSocket with the model of the client secret that opens it, where it names none."""
    secret = admission.secret
    if secret is None:
        return head
    elsewhere = [name for name in ("call_id", "intent") if head.query_values(name)]
    if secret.spend_cap is not None and elsewhere:
        raise NotPermitted(
            "The gateway refused this request: its client secret has a spend cap, and what a session opened with"
            f" {elsewhere[0]} costs cannot be told."
        )
    if not secret.model or elsewhere or head.query_values("model"):
        return head
    pair = urlencode({"model": secret.model})
    return replace(head, query=f"{head.query}&{pair}" if head.query else pair)


def first_update(secret: ClientSecret | None) -> str | None:
    """Return the frame that gives a session the settings of its client secret, or None when it has none."""
    if secret is None or secret.session is None:
        return None
    return json.dumps({"type": "session.update", "session": dict(secret.session)})


def _mode(head: Head, admission: Admission) -> ClientSecretMode:
    given = head.header(MODE_HEADER)
    if given is None:
        return admission.rules.client_secrets
    try:
        return ClientSecretMode(given.strip().lower())
    except ValueError as error:
        modes = " or ".join(mode.value for mode in ClientSecretMode)
        raise MalformedRequest(f"{MODE_HEADER.decode()} is {modes}.") from error


def _read(surface: Surface, body: bytes) -> _Request:
    if len(body) > _MAX_SESSION:
        raise MalformedRequest(f"The session's settings are larger than {_MAX_SESSION // 1024} KiB.")
    try:
        if surface is Surface.CLIENT_SECRETS:
            return msgspec.json.decode(body or b"{}", type=_Request)
        flat = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        expiry = msgspec.convert(flat.pop("client_secret", None) or {}, _Older).expires_after
        terms = msgspec.convert(flat.pop("trunkline", {}), _Terms)
        return _Request(flat, expiry, terms)
    except UNREADABLE as error:  # its words name the field and what it may be
        raise MalformedRequest(f"The request for a client secret cannot be read: {why_unreadable(error)}.") from error


def _lifetime(asked: _Request, surface: Surface) -> int:
    if asked.expires_after is not None:
        return asked.expires_after.seconds
    return DEFAULT_SECONDS if surface is Surface.CLIENT_SECRETS else OLDER_SECONDS


def _check_cap(terms: _Terms, admission: Admission, model: str) -> None:
    if terms.spend_cap is None:
        return
    if not model:
        raise MalformedRequest("A spend cap needs session.model: what a session costs depends on it.")
    if not price_is_known(admission.provider.slug, model):
        raise MalformedRequest(
            f"No price is known for {admission.provider.slug}/{model[:200]}, so a spend cap could not be kept. Leave"
            " trunkline.spend_cap out, or name another model."
        )


def _brought(admission: Admission) -> str:
    """Return the key that the maker brought; a stored one stays where it is, so that it can be rotated."""
    key = admission.key
    return key.value if key is not None and key.source in ("caller", "session") else ""


def _terms(settings: Settings, head: Head, admission: Admission, secret: ClientSecret) -> dict[str, Any]:
    """Return what the answer says of ours: where the secret is good, since it is not at the provider."""
    scheme = "ws" if settings.tls == "off" else "wss"
    host = head.header(b"host") or f"{settings.host}:{settings.port}"
    url = f"{scheme}://{host}/v1/{admission.account}/{admission.gateway}/{admission.provider.slug}/realtime"
    return {
        # By which the records of the sessions it opens name their caller: "client secret sec_...".
        "id": secret.id,
        "mode": ClientSecretMode.BROKERED.value,
        "url": f"{url}?model={quote(secret.model, safe='')}" if secret.model else url,
        "uses": secret.max_uses,
        "spend_cap": secret.spend_cap,
    }


def _answer(
    surface: Surface, value: str, secret: ClientSecret, session: dict[str, Any], terms: dict[str, Any]
) -> dict[str, Any]:
    expires_at = int(secret.expires_at)
    if surface is Surface.CLIENT_SECRETS:
        shown = {"type": "realtime", "object": "realtime.session", **session}
        return {"value": value, "expires_at": expires_at, "session": shown, "trunkline": terms}
    kind = "realtime.session" if surface is Surface.SESSIONS else "realtime.transcription_session"
    opened = {"value": value, "expires_at": expires_at}
    return {"id": secret.id, "object": kind, **session, "client_secret": opened, "trunkline": terms}
