"""Who may use the management API: by a key as Cloudflare's programs show it, never by a cookie.

It is judged before anything of a request's body is read, in one place for all routes.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from trunkline.credentials import Caller
from trunkline.errors import NotFound, NotPermitted
from trunkline.policy.registry import GatewayRules
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway

_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
# Cloudflare's older way of showing a key: the e-mail address beside it says nothing here.
_KEY_HEADERS: Final = frozenset({b"x-auth-key", b"x-auth-user-service-key"})


class ManagementRoute(APIRoute):
    """A route that serves only who may: reading takes the scope 'read', changing a gateway 'edit'.

    What belongs to no gateway is changed by an administrator: the gateway token, or a user who is one.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what serves a request."""
        handle = super().get_route_handler()

        async def admit_and_handle(request: Request) -> Response:
            _admit(request)
            return await handle(request)

        return admit_and_handle


def _admit(request: Request) -> None:
    gateway: Gateway = request.app.state.gateway
    name = request.path_params.get("gateway_id")
    act: Literal["read", "edit", "administer"] = "edit" if name is not None else "administer"
    if request.method in _SAFE_METHODS:
        act = "read"
    shown = _as_everywhere(request)
    # Who asks comes first: a stranger learns neither the account's id nor which gateways there are.
    caller = require_scope(gateway, shown, act, None)
    account = request.path_params["account_id"]
    if account != gateway.settings.account:
        raise NotFound(f"There is no account {account[:64]!r} here; this one is {gateway.settings.account!r}.")
    if name is not None:
        caller = require_scope(gateway, shown, act, name)
    elif act == "administer" and caller.gateway is not None:
        raise NotPermitted("The gateway refused this request: its key is for one gateway only.")
    request.state.caller = caller


def _as_everywhere(request: Request) -> Request:
    """Return the request with its key where all other routes read one, and without what a browser adds by itself."""
    headers = [
        (b"authorization", b"Bearer " + value) if name.lower() in _KEY_HEADERS else (name, value)
        for name, value in request.scope["headers"]
        if name.lower() != b"cookie"
    ]
    return Request({**request.scope, "headers": headers})


def gateway_of(request: Request) -> Gateway:
    """Return what serves the request."""
    found: Gateway = request.app.state.gateway
    return found


def caller_of(request: Request) -> Caller:
    """Return who asks."""
    found: Caller = request.state.caller
    return found


TheGateway = Annotated[Gateway, Depends(gateway_of)]
TheCaller = Annotated[Caller, Depends(caller_of)]


def rules_of(gateway: Gateway, name: str) -> GatewayRules:
    """Return the switches of a gateway that is there, as they are in force."""
    rules = gateway.registry.rules(name)
    if rules is None:
        raise NotFound(f"There is no gateway {name[:64]!r} here.")
    return rules
