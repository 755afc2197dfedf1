"""Signing in and out, below ``/api/account``; for administrators the accounts, and who changed what."""

from __future__ import annotations

import time
from typing import Annotated, Final, Literal

import msgspec
import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from trunkline.credentials import Caller
from trunkline.errors import MalformedRequest, NotPermitted, SignInRefused, SignInRequired, Unauthorized
from trunkline.policy.accounts import LONGEST_NAME, LONGEST_PASSWORD
from trunkline.policy.keys import digest_of
from trunkline.policy.roles import ADMINISTER, Role
from trunkline.server.accounts import (
    INVITATION_SECONDS,
    RESET_SECONDS,
    SIGN_IN_PAGE,
    caller_of,
    new_token,
    sign_in_link,
)
from trunkline.server.administration import done
from trunkline.server.audit import act_for
from trunkline.server.console_access import asking, head_of_request, require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.single_sign_on import SingleSignOn
from trunkline.store import AuditFilter, AuditLog, User
from trunkline.store.users import new_user_id

log = structlog.get_logger("trunkline.accounts")

_CALLBACK: Final = "/api/account/oidc/callback"
_PAGE: Final = 50
_MAX_PAGE: Final = 500
_NO_STORE: Final = {"cache-control": "no-store"}

_Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
_Password = Annotated[str, Field(min_length=1, max_length=LONGEST_PASSWORD)]
_Token = Annotated[str, Field(min_length=1, max_length=200)]
_Text = Annotated[str, Query(max_length=200)]
_Moment = Annotated[float, Query(description="Unix time.", allow_inf_nan=False)]


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UserView(BaseModel):
    """An account. ``issuer`` is where the person signs in, if not with a password here. Times are Unix seconds.

    ``state``: ``invited`` has not chosen a password yet.
    """

    id: str
    name: str
    role: Role
    state: Literal["active", "invited", "disabled"]
    issuer: str
    created_at: float
    last_login_at: float | None


class AccountView(BaseModel):
    """Who this browser is signed in as, if it is; whether it must sign in; and where else people sign in, if anywhere.

    ``may`` are the acts that whoever asks may do: ``read``, ``run``, ``edit``, ``administer``.
    """

    user: UserView | None
    sign_in_required: bool
    single_sign_on: str | None
    may: list[str]


class SignInRequest(_Wanted):
    """A name and password."""

    name: _Name
    password: _Password


class PasswordChange(_Wanted):
    """The password that counts, and the one that is to count."""

    current: _Password
    password: _Password


class LinkRequest(_Wanted):
    """The token of a one-time link: what stands behind its ``#``."""

    token: _Token


class LinkView(BaseModel):
    """What a one-time link is for, and whose account; null for the first, whose name is still to be chosen."""

    purpose: Literal["first-admin", "invite", "reset"]
    name: str | None


class Redemption(LinkRequest):
    """A one-time link, the password to set, and for the first account its name."""

    password: _Password
    name: Annotated[str, Field(max_length=LONGEST_NAME)] = ""


class Invitation(_Wanted):
    """An account to make, whose owner chooses the password."""

    name: _Name
    role: Role


class UserChange(_Wanted):
    """What to change of an account; what is absent stays."""

    role: Role | None = None
    disabled: bool | None = None


class Link(BaseModel):
    """A link that is good once, and shown this once; ``expires_in`` is seconds."""

    user: UserView
    link: str
    expires_in: int


class AuditEntry(BaseModel):
    """One change: when (Unix seconds), by whom and from which address, and what."""

    id: str
    at: float
    actor_kind: str
    actor_id: str
    actor_name: str
    address: str
    action: str
    target_kind: str
    target_id: str
    gateway: str
    details: dict[str, object]


class AuditPage(BaseModel):
    """Changes, newest first. ``next``: show it as ``before`` to get more; null at the end."""

    entries: list[AuditEntry]
    next: str | None


def create_account_routes(gateway: Gateway) -> APIRouter:
    """Return the routes. Raises `SettingsError` when single sign-on is set up and its packages are missing."""
    routes = APIRouter(tags=["accounts"])
    accounts = gateway.accounts
    single_sign_on = SingleSignOn(gateway.settings) if gateway.settings.oidc_issuer else None

    @routes.get("/api/account")
    async def account(request: Request) -> AccountView:
        """Say who this browser is signed in as, and whether it must sign in."""
        return _account_view(request, accounts.signed_in(_cookies(request)))

    @routes.post("/api/account/sign-in", response_model=AccountView)
    async def sign_in(request: Request, wanted: SignInRequest) -> Response:
        """Sign in with a name and password."""
        user = await accounts.check_password(wanted.name, wanted.password, _address(request), _cookies(request))
        return await _opened(request, user)

    @routes.post("/api/account/sign-out", response_model=AccountView)
    async def sign_out(request: Request) -> Response:
        """Sign this browser out, and forget the keys typed into it."""
        user = _user(request)
        act_for(caller_of(user), request)
        response = JSONResponse(_account_view(request, None).model_dump(mode="json"), headers=_NO_STORE)
        response.headers.append("set-cookie", await done(gateway, accounts.close(user, _cookies(request))))
        response.headers.append("set-cookie", gateway.sessions.close(_cookies(request)))
        return response

    @routes.put("/api/account/password", response_model=AccountView)
    async def change_password(request: Request, wanted: PasswordChange) -> Response:
        """Change the password of who is signed in; every other browser is signed out."""
        user = _user(request)
        await accounts.check_password(user.name, wanted.current, _address(request), _cookies(request))
        act_for(caller_of(user), request)
        kept = await done(gateway, accounts.new_hash(wanted.password, user.name))
        return await _opened(request, await done(gateway, accounts.stored.set_password(user.id, kept)))

    @routes.post("/api/account/link")
    async def look_at_link(wanted: LinkRequest) -> LinkView:
        """Say what a one-time link is for. Looking does not use it."""
        found = await accounts.token(wanted.token)
        return LinkView(purpose=found.purpose, name=found.user.name if found.user is not None else None)

    @routes.post("/api/account/redeem", response_model=AccountView)
    async def redeem(request: Request, wanted: Redemption) -> Response:
        """Use a one-time link: set the password, make the account if it is the first, and sign in."""
        owner = (await accounts.token(wanted.token)).user
        who = Caller("user", wanted.name.strip(), id=new_user_id()) if owner is None else caller_of(owner)
        act_for(who, request)
        user = await done(gateway, accounts.redeem(wanted.token, wanted.password, who.name, who.id))
        return await _opened(request, user)

    @routes.get("/api/account/oidc/start", response_class=RedirectResponse, status_code=303)
    async def start(request: Request) -> Response:
        """Send the browser to the provider of single sign-on."""
        gateway.origins.check_host(head_of_request(request))
        try:
            url, cookie = await _provider().begin(_base(gateway, request) + _CALLBACK, gateway.vault)
        except SignInRefused:
            return _to_page("failed")
        response = RedirectResponse(url, status_code=303, headers=_NO_STORE)
        response.headers.append("set-cookie", cookie)
        return response

    @routes.get(_CALLBACK, response_class=RedirectResponse, status_code=303)
    async def finish(request: Request) -> Response:
        """Take a browser back from the provider, signed in or with the reason why not."""
        gateway.origins.check_host(head_of_request(request))
        provider, cookies = _provider(), _cookies(request)
        try:
            identity = await provider.finish(
                request.query_params, cookies, _base(gateway, request) + _CALLBACK, gateway.vault
            )
            act_for(Caller("user", identity.name), request)
            user = await done(
                gateway,
                accounts.stored.from_issuer(identity.issuer, identity.subject, identity.name, identity.role),
            )
            act_for(caller_of(user), request)
            cookie = await accounts.open(user, cookies)
        except NotPermitted:
            return _to_page("role", provider)
        except MalformedRequest:
            return _to_page("name", provider)
        except SignInRefused as error:
            log.warning("single sign-on was refused", why=error.message)
            return _to_page("failed", provider)
        await gateway.registry.refresh()
        response = RedirectResponse("/", status_code=303, headers=_NO_STORE)
        for value in (cookie, provider.cookie.remove(), *_forgotten(cookies)):
            response.headers.append("set-cookie", value)
        return response

    @routes.get("/api/users")
    async def users(request: Request) -> list[UserView]:
        """List the accounts."""
        require_scope(gateway, request, ADMINISTER, None)
        return [_user_view(user) for user in await accounts.stored.all()]

    @routes.post("/api/users", status_code=201)
    async def invite(request: Request, wanted: Invitation) -> Link:
        """Make an account whose owner chooses the password by a link that is good once, for a week."""
        _administrator(request)
        token = new_token()
        user = await done(
            gateway,
            accounts.stored.invite(wanted.name, wanted.role, digest_of(token), time.time() + INVITATION_SECONDS),
        )
        return _link(request, user, token, INVITATION_SECONDS)

    @routes.patch("/api/users/{id}")
    async def change_user(request: Request, id: str, wanted: UserChange) -> UserView:
        """Change the role of an account, disable or enable it. The last administrator stays one."""
        _administrator(request)
        if wanted.role is None and wanted.disabled is None:
            raise MalformedRequest("Say what to change: role, disabled.")
        user: User | None = None
        if wanted.role is not None:
            user = await done(gateway, accounts.stored.change_role(id, wanted.role))
        if wanted.disabled is not None:
            change = accounts.stored.disable if wanted.disabled else accounts.stored.enable
            user = await done(gateway, change(id))
        assert user is not None
        return _user_view(user)

    @routes.delete("/api/users/{id}", status_code=204)
    async def delete_user(request: Request, id: str) -> None:
        """Remove an account: it is signed out everywhere, and its realtime sessions end."""
        _administrator(request)
        await done(gateway, accounts.stored.delete(id))

    @routes.post("/api/users/{id}/reset", status_code=201)
    async def reset(request: Request, id: str) -> Link:
        """Make a link by which the owner chooses another password, good once and for a day."""
        _administrator(request)
        token = new_token()
        change = accounts.stored.offer_reset(id, digest_of(token), time.time() + RESET_SECONDS)
        return _link(request, await done(gateway, change), token, RESET_SECONDS)

    @routes.get("/api/audit")
    async def audit(
        request: Request,
        actor: _Text | None = None,
        action: Annotated[str | None, Query(max_length=40, description="Such as `key.revoke`, or `key.*`.")] = None,
        target_kind: _Text | None = None,
        target: _Text | None = None,
        gateway_: Annotated[str | None, Query(alias="gateway", max_length=64)] = None,
        since: _Moment | None = None,
        until: _Moment | None = None,
        before: _Text | None = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
    ) -> AuditPage:
        """List what was changed, newest first. ``actor`` and ``target`` are ids."""
        require_scope(gateway, request, ADMINISTER, None)
        wanted = AuditFilter(
            actor_id=actor,
            action=action,
            target_kind=target_kind,
            target_id=target,
            gateway=gateway_,
            since=since,
            until=until,
            before=before,
        )
        found = await AuditLog(gateway.database).list(wanted, limit + 1)
        page = found[:limit]
        return AuditPage(
            entries=[AuditEntry(**msgspec.to_builtins(row)) for row in page],
            next=page[-1].id if len(found) > limit else None,
        )

    def _user(request: Request) -> User:
        user = accounts.signed_in(_cookies(request))
        if user is None:
            raise SignInRequired("Nobody is signed in here.")
        return user

    def _administrator(request: Request) -> None:
        """Raise the `GatewayError` that refuses whoever asks, unless it is an administrator or the gateway token.

        Being at the machine of a gateway without accounts is not enough: the first account is made by its link.
        """
        if require_scope(gateway, request, ADMINISTER, None).kind == "console":
            raise NotPermitted(
                "There is no account yet. Make the first with the link that `trunkline serve` prints, or with"
                " `trunkline users add`."
            )

    async def _opened(request: Request, user: User) -> Response:
        """Sign a browser in; whatever was typed into it before is forgotten, as somebody else may have done that."""
        cookies = _cookies(request)
        act_for(caller_of(user), request)
        cookie = await accounts.open(user, cookies)
        await gateway.registry.refresh()
        response = JSONResponse(_account_view(request, user).model_dump(mode="json"), headers=_NO_STORE)
        for value in (cookie, accounts.remembered(user), *_forgotten(cookies)):
            response.headers.append("set-cookie", value)
        return response

    def _forgotten(cookies: str | None) -> list[str]:
        return [gateway.sessions.close(cookies)] if gateway.sessions.cookie.read(cookies) is not None else []

    def _account_view(request: Request, user: User | None) -> AccountView:
        caller = caller_of(user) if user is not None else _other_caller(request)
        return AccountView(
            user=_user_view(user) if user is not None else None,
            sign_in_required=accounts.required and caller is None,
            single_sign_on=single_sign_on.host if single_sign_on is not None else None,
            may=sorted(caller.scopes) if caller is not None else [],
        )

    def _other_caller(request: Request) -> Caller | None:
        try:
            return asking(gateway, request)
        except Unauthorized:
            return None

    def _provider() -> SingleSignOn:
        if single_sign_on is None:
            raise MalformedRequest("This gateway has no single sign-on; the setting oidc_issuer switches it on.")
        return single_sign_on

    def _link(request: Request, user: User, token: str, seconds: int) -> Link:
        link = sign_in_link(_base(gateway, request), token)
        return Link(user=_user_view(user), link=link, expires_in=seconds)

    return routes


def _base(gateway: Gateway, request: Request) -> str:
    return gateway.settings.public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"


def _to_page(why: Literal["failed", "role", "name"], provider: SingleSignOn | None = None) -> Response:
    response = RedirectResponse(f"{SIGN_IN_PAGE}?refused={why}", status_code=303, headers=_NO_STORE)
    if provider is not None:
        response.headers.append("set-cookie", provider.cookie.remove())
    return response


def _cookies(request: Request) -> str | None:
    return request.headers.get("cookie")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _user_view(user: User) -> UserView:
    has_come = user.has_password or user.issuer
    return UserView(
        id=user.id,
        name=user.name,
        role=user.role,
        state="disabled" if user.disabled_at is not None else "active" if has_come else "invited",
        issuer=user.issuer,
        created_at=user.created_at,
        last_login_at=user.last_login_at,
    )
