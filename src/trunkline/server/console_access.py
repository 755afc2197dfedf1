"""Who may use the console's API: pages of this gateway, and for what an administrator alone may do, theirs.

Routes that programs use too take a key in any place in which the data plane takes one.
"""

from __future__ import annotations

from typing import Final, Literal

from fastapi import Request

from trunkline import credentials
from trunkline.credentials import Caller
from trunkline.errors import ForbiddenOrigin, GatewayError, NotPermitted, Unauthorized, UnknownGateway
from trunkline.server.gateway import Gateway
from trunkline.server.sessions import ConsoleSession
from trunkline.wire.head import Head, Transport

# A page of another site cannot send this header without a CORS preflight, which the console's API never grants.
CONSOLE_HEADER = b"x-trunkline-console"

# A gateway that is open trusts whoever is at its machine: they could run the commands as well.
_AT_THE_MACHINE: Final = Caller("console", "the person at this machine")


def head_of_request(request: Request) -> Head:
    """Return the head of a request to the API."""
    return Head(
        Transport.HTTP,
        request.method,
        request.url.path,
        request.url.query,
        [(name.lower(), value) for name, value in request.scope["headers"]],
    )


def session_of(gateway: Gateway, request: Request) -> ConsoleSession | None:
    """Return the session of the browser that asks. Raises `ForbiddenOrigin` for a host that is not this gateway's."""
    head = head_of_request(request)
    gateway.origins.check_host(head)
    return gateway.sessions.find(head)


def require_console(gateway: Gateway, request: Request) -> None:
    """Raise `ForbiddenOrigin` unless a page of the console itself asks."""
    head = head_of_request(request)
    gateway.origins.check_host(head)
    if head.header(CONSOLE_HEADER) is None or not gateway.origins.same_origin(head):
        raise ForbiddenOrigin("Only a page of this gateway's own console may do that.")


def require_administrator(gateway: Gateway, session: ConsoleSession) -> None:
    """Raise `NotPermitted` unless the session shows the gateway's token or a key with the scope 'edit'.

    An open gateway trusts whoever is at its machine.
    """
    rules = gateway.registry.rules(gateway.settings.gateway)
    if rules is None or not rules.authenticated:
        return
    caller = gateway.registry.recognise(session.gateway_token) if session.gateway_token else None
    is_here = caller is not None and not caller.refusal and caller.gateway in (None, gateway.settings.gateway)
    if caller is None or not is_here or "edit" not in caller.scopes:
        raise NotPermitted(
            "This gateway is authenticated: type its token, or a gateway key with the scope 'edit', into the settings."
        )


def require_scope(gateway: Gateway, request: Request, act: Literal["read", "edit"], name: str | None) -> Caller:
    """Return who asks. Raises the `GatewayError` that refuses them for this act on this gateway."""
    head = head_of_request(request)
    gateway.origins.check(head)
    if name is not None and gateway.registry.rules(name) is None:
        raise UnknownGateway(f"There is no gateway {name!r} here.")
    session = session_of(gateway, request) if gateway.origins.same_origin(head) else None
    known = gateway.registry.recognise(session.gateway_token) if session and session.gateway_token else None
    found = credentials.read(head, gateway.registry.recognise, known=known)
    if isinstance(found, GatewayError):
        raise found
    caller = found.caller
    if caller is None:
        rules = gateway.registry.rules(gateway.settings.gateway)
        if rules is None or rules.authenticated:
            raise found.unauthenticated()
        return _AT_THE_MACHINE
    if caller.refusal:
        raise Unauthorized(f"The gateway refused this request: its key {caller.refusal}.")
    if act not in caller.scopes:
        raise NotPermitted(f"The gateway refused this request: its key lacks the scope {act!r}.")
    if name is not None and caller.gateway not in (None, name):
        raise NotPermitted("The gateway refused this request: its key belongs to another gateway.")
    return caller
