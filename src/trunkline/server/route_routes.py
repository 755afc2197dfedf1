"""Dynamic routes over HTTP, below ``/api/gateways/{name}/routes``: by their names, and simulated.

For gateway keys with the scopes 'read' and 'edit', for the gateway token and for the console. Cloudflare's API for the
same routes, by their ids, is `trunkline.server.management.dynamic_routing`.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trunkline.errors import MalformedRequest, NotFound, SettingsError
from trunkline.policy.routes import DeployedRoute, parse_route
from trunkline.policy.routing import Outcome, simulate, simulated_facts
from trunkline.server.administration import done
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.routing import draw, provider_names
from trunkline.store.routes import Route, Routes, RouteVersion

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Id = Annotated[str, Field(max_length=100)]
_Elements = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=200)]
_Tag = bool | int | float | Annotated[str, Field(max_length=1000)]


class DynamicRouteVersion(BaseModel):
    """A version of a route. ``created_at`` is Unix time; ``deployed``: requests walk it."""

    id: str
    created_at: float
    deployed: bool


class DynamicRoute(BaseModel):
    """A dynamic route, called as the model ``dynamic/NAME``. Versions are newest first; times are Unix time."""

    name: str
    id: str
    version: str
    versions: list[DynamicRouteVersion]
    created_at: float
    modified_at: float


class WholeDynamicRoute(DynamicRoute):
    """As `DynamicRoute`, with the elements of the version that was asked for, or else of the deployed one."""

    elements: list[dict[str, Any]]


class RouteElements(BaseModel):
    """A route's graph, as Cloudflare's API has it. ``name`` may stand there too, as in an exported route."""

    model_config = ConfigDict(extra="forbid")

    elements: _Elements
    name: str | None = None


class RouteDeploymentWish(BaseModel):
    """The version that requests are to walk from now on."""

    model_config = ConfigDict(extra="forbid")

    version: _Id


class RouteSimulationWish(BaseModel):
    """A request to walk a route that is there, or a graph that need not be. Nobody is asked for anything.

    ``outcomes`` says of elements by their ids how they go: models and quotas do well unless it does. ``chance`` is from
    0 up to, but not, 1; without it one is drawn.
    """

    model_config = ConfigDict(extra="forbid")

    route: _Name | None = None
    version: _Id | None = None
    elements: _Elements | None = None
    request: dict[str, Any] = {}
    metadata: Annotated[dict[str, _Tag], Field(max_length=50)] = {}
    key: Annotated[str, Field(max_length=200)] = ""
    user: Annotated[str, Field(max_length=200)] = ""
    outcomes: dict[str, Outcome] = {}
    chance: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.route is None) == (self.elements is None):
            raise ValueError("name a route, or give elements")
        return self


class RouteTraceLine(BaseModel):
    """Why a way went on where it did; ``output`` is null where it ended."""

    element: str
    type: str
    looked_at: str
    output: str | None
    why: str


class RouteResult(BaseModel):
    """Whose answer the request would have got; empty where nobody's. ``step`` counts the models asked before."""

    answered: bool
    element: str
    provider: str
    model: str
    step: int | None


class RouteSimulation(BaseModel):
    """Where a request would have gone."""

    trace: list[RouteTraceLine]
    result: RouteResult
    chance: float


def create_route_routes(gateway: Gateway) -> APIRouter:
    """Return the routes below ``/api/gateways/{name}/routes``."""
    routes = APIRouter(prefix="/api/gateways/{gateway_name}/routes", tags=["dynamic routes"])

    def stored() -> Routes:
        return Routes(gateway.database)

    async def known(gateway_name: str, name: str) -> Route:
        found = await stored().named(gateway_name, name)
        if found is None:
            raise NotFound(f"The gateway {gateway_name!r} has no dynamic route {name[:64]!r}.")
        return found

    @routes.get("")
    async def list_routes(request: Request, gateway_name: str) -> list[DynamicRoute]:
        """List a gateway's routes, oldest first."""
        require_scope(gateway, request, "read", gateway_name)
        return [DynamicRoute(**_fields(route)) for route in await stored().all(gateway_name)]

    @routes.get("/{name}")
    async def show_route(
        request: Request, gateway_name: str, name: str, version: Annotated[_Id | None, Query()] = None
    ) -> WholeDynamicRoute:
        """Show a route, as it is deployed or at one of its versions."""
        require_scope(gateway, request, "read", gateway_name)
        route = await known(gateway_name, name)
        return _whole(route, version_of(route, version))

    @routes.put("/{name}")
    async def put_route(request: Request, gateway_name: str, name: _Name, wanted: RouteElements) -> WholeDynamicRoute:
        """Make a version of a route and deploy it; the route is made if there is none."""
        require_scope(gateway, request, "edit", gateway_name)
        if wanted.name not in (None, name):
            raise MalformedRequest(f"The body is the route {wanted.name!r}, and the path names {name!r}.")

        async def put() -> Route:
            parse_route(wanted.elements, provider_names(gateway.catalogue))
            await gateway.configuration.ensure_gateway(gateway_name)
            return (await stored().put(gateway_name, name, wanted.elements))[0]

        route = await done(gateway, put())
        return _whole(route, route.deployed)

    @routes.delete("/{name}", status_code=204)
    async def delete_route(request: Request, gateway_name: str, name: str) -> None:
        """Remove a route with its versions: requests for it are refused from then on."""
        require_scope(gateway, request, "edit", gateway_name)
        route = await known(gateway_name, name)
        await done(gateway, stored().delete(gateway_name, route.id))

    @routes.post("/{name}/deploy")
    async def deploy(request: Request, gateway_name: str, name: str, wanted: RouteDeploymentWish) -> WholeDynamicRoute:
        """Put a version into use, an older one too."""
        require_scope(gateway, request, "edit", gateway_name)
        route = await known(gateway_name, name)
        version = version_of(route, wanted.version)

        async def put_into_use() -> Route | None:
            # A provider that the version names may be gone since it was made.
            parse_route(version.elements, provider_names(gateway.catalogue))
            return await stored().deploy(gateway_name, route.id, version.id)

        deployed = await done(gateway, put_into_use())
        return _whole(deployed or await known(gateway_name, name), version)

    @routes.post("/simulate")
    async def simulate_route(request: Request, gateway_name: str, wanted: RouteSimulationWish) -> RouteSimulation:
        """Say where a request would go and why, without asking a provider and without touching a quota."""
        require_scope(gateway, request, "read", gateway_name)
        given = wanted.request, wanted.metadata
        chance = draw() if wanted.chance is None else wanted.chance
        try:
            if wanted.route is not None:
                walked = _walkable(await known(gateway_name, wanted.route), wanted.version)
            else:
                names = provider_names(gateway.catalogue)
                walked = DeployedRoute.of("simulation", "", "simulation", wanted.elements or [], names)
            facts = simulated_facts(gateway_name, walked.name, *given, key=wanted.key, user=wanted.user)
            found = simulate(walked, facts, wanted.request, wanted.outcomes, chance)
        except SettingsError as error:
            raise MalformedRequest(str(error)) from error
        return RouteSimulation.model_validate(found, from_attributes=True)

    return routes


def version_of(route: Route, id: str | None) -> RouteVersion:
    """Return a version by its id, without one the deployed. Raises `NotFound`."""
    if id is None:
        return route.deployed
    found = next((version for version in route.versions if version.id == id), None)
    if found is None:
        raise NotFound(f"The dynamic route {route.name!r} has no version {id[:64]!r}.")
    return found


def _walkable(route: Route, version: str | None) -> DeployedRoute:
    chosen = version_of(route, version)
    return DeployedRoute.of(route.id, chosen.id, route.name, chosen.elements)


def _fields(route: Route) -> dict[str, Any]:
    deployed = route.deployed.id
    return {
        "name": route.name,
        "id": route.id,
        "version": deployed,
        "versions": [
            DynamicRouteVersion(id=one.id, created_at=one.created_at, deployed=one.id == deployed)
            for one in route.versions
        ],
        "created_at": route.created_at,
        "modified_at": route.modified_at,
    }


def _whole(route: Route, version: RouteVersion) -> WholeDynamicRoute:
    return WholeDynamicRoute(**_fields(route), elements=version.elements)
