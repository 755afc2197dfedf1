"""The console's own API, below ``/api``: what the page shows of the gateway, and the session that keeps its keys."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Body, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

import trunkline
from trunkline.credentials import tail
from trunkline.errors import GatewayError, InvalidFields, MalformedRequest, NotFound
from trunkline.providers import Provider
from trunkline.server.account_routes import create_account_routes
from trunkline.server.administration import administration_schemas, create_administration_routes
from trunkline.server.analytics_routes import analytics_schemas, create_analytics_routes
from trunkline.server.cache_routes import cache_schemas, create_cache_routes
from trunkline.server.console_access import entrance, head_of_request, require_console, session_of
from trunkline.server.conversation_routes import conversation_schemas, create_conversation_routes
from trunkline.server.direct import DirectCall, mint
from trunkline.server.gateway import Gateway
from trunkline.server.health_routes import create_health_routes, health_schemas
from trunkline.server.limit_routes import create_limit_routes, limit_schemas
from trunkline.server.log_routes import create_log_routes, log_schemas
from trunkline.server.overview_routes import create_overview_routes, overview_schemas
from trunkline.server.probing import create_probe_routes
from trunkline.server.provider_routes import create_provider_routes
from trunkline.server.route_routes import create_route_routes
from trunkline.server.session_routes import create_session_routes, session_schemas
from trunkline.server.sessions import ConsoleSession


class KeyState(BaseModel):
    """Whether a secret is set, and its last characters for its owner to know it by."""

    set: bool
    tail: str | None


class ProviderKeyState(KeyState):
    """As `KeyState`, with where the key comes from."""

    source: Literal["session", "settings"] | None


class ProviderView(BaseModel):
    """What the console needs of a provider. Paths are below ``/v1/{account}/{gateway}/{slug}/``."""

    slug: str
    name: str
    chat_path: str | None
    models_path: str | None
    realtime: bool
    needs_key: bool
    key: ProviderKeyState


class LocalView(BaseModel):
    """The state of the embedded provider. ``demo``: it answers with the built-in demo model."""

    status: Literal["stopped", "starting", "ready", "failed", "missing-models"]
    model: str
    demo: bool
    detail: str


class ConfigView(BaseModel):
    """What the gateway is and offers."""

    version: str
    console_build: str
    account: str
    gateway: str
    authenticated: bool
    tls: bool
    providers: list[ProviderView]
    local: LocalView


class SessionView(BaseModel):
    """The settings of this browser; secrets only as `KeyState`."""

    account_id: str
    gateway_id: str
    provider: str
    model: str
    realtime_model: str
    use_authenticated_gateway: bool
    provider_keys: dict[str, KeyState]
    gateway_token: KeyState


_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Model = Annotated[str, Field(max_length=200)]
_Secret = Annotated[str, Field(max_length=8192)]


class SessionChange(BaseModel):
    """Fields to change; an absent one stays. A secret of null or blank is removed; an empty model means none chosen.

    ``provider_key`` belongs to ``provider``, or to the session's provider when that is absent.
    """

    model_config = ConfigDict(extra="forbid")

    account_id: _Name | None = None
    gateway_id: _Name | None = None
    provider: _Name | None = None
    model: _Model | None = None
    realtime_model: _Model | None = None
    use_authenticated_gateway: bool | None = None
    provider_key: _Secret | None = None
    gateway_token: _Secret | None = None


class DirectRequest(BaseModel):
    """Which voice to reach without the gateway."""

    model_config = ConfigDict(extra="forbid")

    provider: _Name
    model: _Name


class _Api(FastAPI):
    """Describes itself with the types of the sessions too, which are the relay's own and no models of pydantic."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if not self.openapi_schema:
            schemas = session_schemas() | log_schemas() | conversation_schemas() | analytics_schemas()
            schemas |= administration_schemas() | cache_schemas() | limit_schemas() | health_schemas()
            schemas |= overview_schemas()
            super().openapi()["components"]["schemas"].update(schemas)
        return super().openapi()


def create_api(gateway: Gateway, console_build: str) -> FastAPI:
    """Return the application that serves ``/api``."""
    api = _Api(
        title="Trunkline console API",
        version=trunkline.__version__,
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        dependencies=[Depends(entrance(gateway))],
    )

    @api.exception_handler(GatewayError)
    async def refuse(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, GatewayError)
        return _refusal(error)

    @api.exception_handler(Exception)
    async def apologize(request: Request, error: Exception) -> JSONResponse:
        """Say that the gateway is at fault, and no more: the error may quote what it was about."""
        return _refusal(GatewayError("The gateway made a mistake. Its log says more, under the id in X-Request-Id."))

    @api.exception_handler(RequestValidationError)
    async def complain(request: Request, error: Exception) -> JSONResponse:
        """Say which field is wrong and how, and never what was in it: it may be a key."""
        assert isinstance(error, RequestValidationError)
        faults = [f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}" for fault in error.errors()]
        return _refusal(InvalidFields("; ".join(faults)))

    @api.exception_handler(HTTPException)
    async def explain(request: Request, error: Exception) -> JSONResponse:
        """Answer for the framework: a body that is no JSON, or a method that there is not."""
        assert isinstance(error, HTTPException)
        message = f"{HTTPStatus(error.status_code).phrase}: {error.detail}."
        content = {"error": {"message": message, "type": "invalid_request_error", "code": "invalid_request"}}
        return JSONResponse(content, status_code=error.status_code, headers=error.headers)

    @api.get("/api/config")
    async def config(request: Request) -> ConfigView:
        """Describe the gateway and its providers."""
        session = session_of(gateway, request) or gateway.sessions.fresh()
        settings = gateway.settings
        status = gateway.worker.status
        return ConfigView(
            version=trunkline.__version__,
            console_build=console_build,
            account=settings.account,
            gateway=settings.gateway,
            authenticated=settings.authenticated,
            tls=settings.tls != "off",
            providers=[_provider_view(provider, session) for provider in gateway.catalogue.all()],
            local=LocalView(
                status=status.state,
                model=gateway.worker.model_name,
                demo=not settings.local_model,
                detail=status.detail,
            ),
        )

    @api.get("/api/session")
    async def session(request: Request) -> SessionView:
        """Return this browser's settings."""
        return _session_view(session_of(gateway, request) or gateway.sessions.fresh())

    @api.put("/api/session")
    async def change_session(request: Request, change: Annotated[SessionChange, Body()]) -> JSONResponse:
        """Change this browser's settings; the first change opens a session."""
        require_console(gateway, request)
        found = session_of(gateway, request)
        changed = found or gateway.sessions.fresh()
        _apply(change, changed)
        response = JSONResponse(_session_view(changed).model_dump())
        if found is None:
            response.headers["set-cookie"] = gateway.sessions.open(changed)
        return response

    @api.delete("/api/session")
    async def end_session(request: Request) -> JSONResponse:
        """Forget this browser's settings and keys."""
        require_console(gateway, request)
        response = JSONResponse(_session_view(gateway.sessions.fresh()).model_dump())
        response.headers["set-cookie"] = gateway.sessions.close(request.headers.get("cookie"))
        return response

    @api.post("/api/direct")
    async def direct(request: Request, wanted: DirectRequest) -> DirectCall:
        """Mint a short-lived secret with which this browser can dial the provider itself."""
        require_console(gateway, request)
        return await mint(gateway, head_of_request(request), wanted.provider, wanted.model)

    api.include_router(create_account_routes(gateway))
    api.include_router(create_administration_routes(gateway))
    api.include_router(create_provider_routes(gateway))
    api.include_router(create_cache_routes(gateway))
    api.include_router(create_limit_routes(gateway))
    api.include_router(create_health_routes(gateway))
    api.include_router(create_overview_routes(gateway))
    api.include_router(create_route_routes(gateway))
    api.include_router(create_probe_routes(gateway))
    api.include_router(create_session_routes(gateway))
    api.include_router(create_log_routes(gateway))
    api.include_router(create_conversation_routes(gateway))
    api.include_router(create_analytics_routes(gateway))

    @api.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def unknown(path: str) -> JSONResponse:
        return _refusal(NotFound(f"There is no /api/{path}."))

    def _provider_view(provider: Provider, session: ConsoleSession) -> ProviderView:
        own = session.provider_keys.get(provider.slug)
        key = own or provider.stored_key
        source: Literal["session", "settings"] | None = "session" if own else "settings" if key else None
        return ProviderView(
            slug=provider.slug,
            name=provider.name,
            chat_path=provider.chat_path,
            models_path=provider.models_path,
            realtime=provider.has_realtime,
            needs_key=provider.needs_key,
            # A key from the settings belongs to whoever runs the gateway, not to this browser.
            key=ProviderKeyState(set=bool(key), tail=tail(own) if own else None, source=source),
        )

    return api


def _refusal(error: GatewayError) -> JSONResponse:
    content = {"error": {"message": error.message, "type": error.type, "code": error.reason}}
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return JSONResponse(content, status_code=error.status, headers=headers)


def _session_view(session: ConsoleSession) -> SessionView:
    return SessionView(
        account_id=session.account_id,
        gateway_id=session.gateway_id,
        provider=session.provider,
        model=session.model,
        realtime_model=session.realtime_model,
        use_authenticated_gateway=session.use_authenticated_gateway,
        provider_keys={slug: KeyState(set=True, tail=tail(key)) for slug, key in session.provider_keys.items()},
        gateway_token=KeyState(set=bool(session.gateway_token), tail=tail(session.gateway_token) or None),
    )


def _apply(change: SessionChange, session: ConsoleSession) -> None:
    given: dict[str, Any] = change.model_dump(exclude_unset=True)
    if "provider_key" in given:
        key = _secret(given.pop("provider_key"), "provider key")
        slug = given.get("provider") or session.provider
        if key:
            session.provider_keys[slug] = key
        else:
            session.provider_keys.pop(slug, None)
    if "gateway_token" in given:
        session.gateway_token = _secret(given.pop("gateway_token"), "gateway token")
    for name, value in given.items():
        if value is not None:
            setattr(session, name, value)


def _secret(value: str | None, what: str) -> str:
    """Return a pasted secret without the blanks around it; refuse what no header could carry."""
    text = (value or "").strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise MalformedRequest(f"The {what} holds a blank or a character that no key has; paste it again.")
    return text
