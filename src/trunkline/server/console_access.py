"""Who may use the console's API: pages of this gateway, and for what an administrator alone may do, theirs.

Routes that programs use too take a key in any place in which the data plane takes one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from starlette.requests import Request

from trunkline import credentials
from trunkline.credentials import Caller, Credentials
from trunkline.errors import (
    ForbiddenOrigin,
    GatewayError,
    NotPermitted,
    SignInRequired,
    Unauthorized,
    UnknownGateway,
)
from trunkline.policy.roles import SCOPES, Role
from trunkline.server.accounts import caller_of
from trunkline.server.audit import act_for
from trunkline.server.gateway import Gateway
from trunkline.server.sessions import ConsoleSession
from trunkline.wire.head import Head, Transport

# A page of another site cannot send this header without a CORS preflight, which the console's API never grants.
CONSOLE_HEADER = b"x-trunkline-console"

# Where people sign in: open to those who have not.
_ACCOUNT_PATHS: Final = "/api/account/"

_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_ACTS: Final = {"read": "look at this", "edit": "change this", "administer": "administer the gateway"}

# An open gateway without accounts trusts whoever is at its machine: they could run the commands as well.
_AT_THE_MACHINE: Final = Caller("console", "the person at this machine", scopes=SCOPES[Role.ADMIN])


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


def entrance(gateway: Gateway) -> Callable[[Request], Awaitable[None]]:
    """Return what every request to the API passes first, as a dependency.

    A request that changes something and bears a cookie of the console's, or asks for one, comes from a page of the
    console: any page that is open in a browser makes it send its cookies. And once there are accounts, who asks is
    somebody.
    """

    async def enter(request: Request) -> None:
        head = head_of_request(request)
        cookies = head.header(b"cookie")
        ours = (gateway.sessions.cookie, gateway.accounts.cookie)
        is_about_accounts = f"{head.path}/".startswith(_ACCOUNT_PATHS)
        bears_ours = any(cookie.read(cookies) is not None for cookie in ours)
        if head.method not in _SAFE_METHODS and (bears_ours or is_about_accounts):
            require_console(gateway, request)
        if gateway.accounts.required and not is_about_accounts:
            gateway.origins.check_host(head)
            if asking(gateway, request) is None:
                raise _sign_in()

    return enter


def asking(gateway: Gateway, request: Request) -> Caller | None:
    """Return who asks: by a key of the gateway's own in the request, signed in, or by a key typed into the console.

    Raises the `GatewayError` that refuses a key or a page.
    """
    found = _found(gateway, request)
    if found.caller is not None and found.caller.refusal:
        raise Unauthorized(f"The gateway refused this request: its key {found.caller.refusal}.")
    return found.caller


def require_administrator(gateway: Gateway, request: Request) -> None:
    """Raise `NotPermitted` unless the console's user may change the gateway.

    That is who is signed in as an editor, or typed in the gateway's token or a key with the scope 'edit'. An open
    gateway without accounts trusts whoever is at its machine.
    """
    rules = gateway.registry.rules(gateway.settings.gateway)
    if not gateway.accounts.required and (rules is None or not rules.authenticated):
        return
    caller = asking(gateway, request)
    if caller is None or caller.gateway not in (None, gateway.settings.gateway) or "edit" not in caller.scopes:
        raise NotPermitted(
            "This gateway asks for the scope 'edit' here: sign in as an editor, or type its token, or a gateway key"
            " with that scope, into the settings."
        )


def require_scope(
    gateway: Gateway, request: Request, act: Literal["read", "edit", "administer"], name: str | None
) -> Caller:
    """Return who asks. Raises the `GatewayError` that refuses them for this act on this gateway.

    What the request changes from now on is written down as theirs.
    """
    found = _found(gateway, request)
    caller = found.caller
    if caller is None:
        if gateway.accounts.required:
            raise _sign_in()
        rules = gateway.registry.rules(gateway.settings.gateway)
        if rules is None or rules.authenticated:
            raise found.unauthenticated()
        caller = _at_the_machine(gateway, request)
    if caller.refusal:
        raise Unauthorized(f"The gateway refused this request: its key {caller.refusal}.")
    if act not in caller.scopes:
        if caller.kind == "user":
            raise NotPermitted(f"The gateway refused this request: {caller.name} may not {_ACTS[act]}.")
        raise NotPermitted(f"The gateway refused this request: its key lacks the scope {act!r}.")
    if name is not None and caller.gateway not in (None, name):
        raise NotPermitted("The gateway refused this request: its key belongs to another gateway.")
    if name is not None and gateway.registry.rules(name) is None:
        raise UnknownGateway(f"There is no gateway {name!r} here.")
    act_for(caller, request)
    return caller


def owner_of(gateway: Gateway, request: Request) -> str:
    """Return whose conversations a request is about: the id of who is signed in, else of the gateway key.

    It is empty for whoever is at the machine of an open gateway, and for the gateway token. Raises the `GatewayError`
    that refuses a key or a page.
    """
    caller = asking(gateway, request)
    if caller is None:
        require_scope(gateway, request, "read", None)  # refuses, unless the gateway is open
        return ""
    if caller.kind == "gateway_token":
        return ""
    if caller.kind == "user":
        return caller.id
    if caller.kind != "gateway_key":
        # A client secret is in the hands of whoever uses an app, and is no person.
        raise NotPermitted("The gateway refused this request: a client secret opens models, and no conversations.")
    return f"key:{caller.id}"


def _found(gateway: Gateway, request: Request) -> Credentials:
    head = head_of_request(request)
    gateway.origins.check(head)
    known: Caller | None = None
    if gateway.origins.same_origin(head):
        session = gateway.sessions.find(head)
        user = gateway.accounts.signed_in(head.header(b"cookie"))
        if user is not None:
            known = caller_of(user)
        elif session is not None and session.gateway_token:
            known = gateway.registry.recognise(session.gateway_token)
    found = credentials.read(head, gateway.registry.recognise, known=known)
    if isinstance(found, GatewayError):
        raise found
    return found


def _at_the_machine(gateway: Gateway, request: Request) -> Caller:
    """Return the person at this machine. Raises `ForbiddenOrigin` for a page of another origin.

    Such a page may call models where its origin is allowed to; the person in front of it did not ask for more.
    """
    head = head_of_request(request)
    if head.header(b"origin") is not None and not gateway.origins.same_origin(head):
        raise ForbiddenOrigin(
            "Only a page of this gateway's own console may do that without a key; a gateway key with the scope that"
            " this needs opens it to other pages."
        )
    return _AT_THE_MACHINE


def _sign_in() -> SignInRequired:
    return SignInRequired(
        "This gateway has accounts: sign in on its page /login, or show the gateway token or a gateway key."
    )
