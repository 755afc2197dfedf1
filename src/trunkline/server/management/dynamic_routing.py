"""Dynamic routes: graphs that are checked, kept in versions and deployed. Requests for ``dynamic/NAME`` walk them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from trunkline.errors import NotFound, SettingsError, Taken
from trunkline.policy.routes import parse_route
from trunkline.server.gateway import Gateway
from trunkline.server.management.access import ManagementRoute, TheGateway
from trunkline.server.management.envelope import Envelope, Paging, Problem, moment
from trunkline.server.routing import provider_names
from trunkline.store.routes import Route, RouteDeployment, Routes, RouteVersion

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Elements = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=200)]


class NewRoute(BaseModel):
    """A route to make; its first version is deployed at once."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    elements: _Elements


class RouteChange(BaseModel):
    """A route's new name. Its graph is changed by a new version."""

    model_config = ConfigDict(extra="forbid")

    name: _Name


class NewVersion(BaseModel):
    """A new graph for a route, which is not in use until it is deployed."""

    model_config = ConfigDict(extra="forbid")

    elements: _Elements


class NewDeployment(BaseModel):
    """The version to put into use."""

    model_config = ConfigDict(extra="forbid")

    version_id: Annotated[str, Field(max_length=64)]


class Deployment(BaseModel):
    """Which version was put into use, and when."""

    deployment_id: str
    version_id: str
    created_at: str


class Version(BaseModel):
    """A version; ``data`` is its elements as a JSON text."""

    version_id: str
    active: Literal["true", "false"]
    created_at: str
    data: str
    is_valid: bool


class PlainRoute(BaseModel):
    """A route with the elements that the answer is about."""

    id: str
    account_tag: str
    gateway_id: str
    name: str
    elements: list[dict[str, Any]]
    created_at: datetime
    modified_at: datetime


class RouteObject(PlainRoute):
    """A route as it is deployed."""

    deployment: Deployment
    version: Version


class RouteAtVersion(Version):
    """One version of a route."""

    id: str
    gateway_id: str
    name: str
    elements: list[dict[str, Any]]
    modified_at: datetime


class _Bare(BaseModel):
    """These answers have no ``result``: Cloudflare's client reads them so."""

    success: Literal[True] = True
    errors: list[Problem] = []
    messages: list[Problem] = []


class _Page(BaseModel):
    order_by: str = "created_at"
    order_by_direction: str
    page: int
    per_page: int
    total_count: int


class RoutePage(_Page):
    """A page of routes, oldest first."""

    routes: list[RouteObject]


class VersionPage(_Page):
    """All versions of a route, newest first."""

    versions: list[Version]


class DeploymentPage(_Page):
    """All deployments of a route, newest first."""

    deployments: list[Deployment]


class RouteList(_Bare):
    """An answer with routes."""

    data: RoutePage


class VersionList(_Bare):
    """An answer with versions."""

    data: VersionPage


class DeploymentList(_Bare):
    """An answer with deployments."""

    data: DeploymentPage


class ChangedRoute(_Bare):
    """An answer with a route that was changed."""

    route: RouteObject


routes = APIRouter(prefix="/gateways/{gateway_id}/routes", tags=["dynamic routes"], route_class=ManagementRoute)


@routes.get("")
async def list_routes(gateway: TheGateway, gateway_id: str, paging: Annotated[Paging, Depends()]) -> RouteList:
    """List a gateway's routes."""
    found = await _stored(gateway).all(gateway_id)
    page = found[paging.offset : paging.offset + paging.per_page]
    shown = [_view(gateway, one) for one in page]
    return RouteList(data=RoutePage(routes=shown, order_by_direction="asc", **_numbers(paging, len(found))))


@routes.post("")
async def create_route(gateway: TheGateway, gateway_id: str, wanted: NewRoute) -> Envelope[RouteObject]:
    """Make a route and deploy it."""
    _check(gateway, wanted.elements)
    await gateway.configuration.ensure_gateway(gateway_id)
    try:
        made = await _stored(gateway).create(gateway_id, wanted.name, wanted.elements)
    except SettingsError as error:
        raise Taken(str(error)) from error
    await gateway.registry.refresh()
    return Envelope(result=_view(gateway, made))


@routes.get("/{id}")
async def get_route(gateway: TheGateway, gateway_id: str, id: str) -> Envelope[RouteObject]:
    """Return a route as it is deployed."""
    return Envelope(result=_view(gateway, await _found(gateway, gateway_id, id)))


@routes.patch("/{id}")
async def rename_route(gateway: TheGateway, gateway_id: str, id: str, wanted: RouteChange) -> ChangedRoute:
    """Rename a route: callers that use the old name find it no more."""
    try:
        changed = await _stored(gateway).rename(gateway_id, id, wanted.name)
    except SettingsError as error:
        raise Taken(str(error)) from error
    await gateway.registry.refresh()
    return ChangedRoute(route=_view(gateway, _there(changed, id)))


@routes.delete("/{id}")
async def delete_route(gateway: TheGateway, gateway_id: str, id: str) -> Envelope[PlainRoute]:
    """Remove a route with its versions, and return it as it was deployed."""
    gone = _there(await _stored(gateway).delete(gateway_id, id), id)
    await gateway.registry.refresh()
    return Envelope(result=_plain(gateway, gone, gone.deployed.elements))


@routes.get("/{id}/versions")
async def list_versions(gateway: TheGateway, gateway_id: str, id: str) -> VersionList:
    """List all versions of a route."""
    route = await _found(gateway, gateway_id, id)
    shown = [_version(route, one) for one in route.versions]
    return VersionList(data=VersionPage(versions=shown, order_by_direction="desc", **_whole(len(shown))))


@routes.post("/{id}/versions")
async def create_version(gateway: TheGateway, gateway_id: str, id: str, wanted: NewVersion) -> Envelope[PlainRoute]:
    """Add a version, and return the route with its elements. It is in use when it is deployed."""
    _check(gateway, wanted.elements)
    route = _there(await _stored(gateway).add_version(gateway_id, id, wanted.elements), id)
    return Envelope(result=_plain(gateway, route, route.versions[0].elements))


@routes.get("/{id}/versions/{version_id}")
async def get_version(gateway: TheGateway, gateway_id: str, id: str, version_id: str) -> Envelope[RouteAtVersion]:
    """Return one version of a route."""
    route = await _found(gateway, gateway_id, id)
    found = next((one for one in route.versions if one.id == version_id), None)
    if found is None:
        raise NotFound(f"The route {route.name!r} has no version with the id {version_id[:64]!r}.")
    shown = RouteAtVersion(
        **_version(route, found).model_dump(),
        id=route.id,
        gateway_id=route.gateway,
        name=route.name,
        elements=found.elements,
        modified_at=moment(route.modified_at),
    )
    return Envelope(result=shown)


@routes.get("/{id}/deployments")
async def list_deployments(gateway: TheGateway, gateway_id: str, id: str) -> DeploymentList:
    """List all deployments of a route."""
    route = await _found(gateway, gateway_id, id)
    shown = [_deployment(one) for one in route.deployments]
    return DeploymentList(data=DeploymentPage(deployments=shown, order_by_direction="desc", **_whole(len(shown))))


@routes.post("/{id}/deployments")
async def create_deployment(
    gateway: TheGateway, gateway_id: str, id: str, wanted: NewDeployment
) -> Envelope[PlainRoute]:
    """Put a version into use, an older one too."""
    route = await _stored(gateway).deploy(gateway_id, id, wanted.version_id)
    if route is None:
        raise NotFound(f"There is no route {id[:64]!r} with a version {wanted.version_id[:64]!r}.")
    await gateway.registry.refresh()
    return Envelope(result=_plain(gateway, route, route.deployed.elements))


def _stored(gateway: Gateway) -> Routes:
    return Routes(gateway.database)


def _check(gateway: Gateway, elements: list[dict[str, Any]]) -> None:
    parse_route(elements, provider_names(gateway.catalogue))


async def _found(gateway: Gateway, name: str, id: str) -> Route:
    return _there(await _stored(gateway).get(name, id), id)


def _there(route: Route | None, id: str) -> Route:
    if route is None:
        raise NotFound(f"This gateway has no route with the id {id[:64]!r}.")
    return route


def _plain(gateway: Gateway, route: Route, elements: list[dict[str, Any]]) -> PlainRoute:
    return PlainRoute(
        id=route.id,
        account_tag=gateway.settings.account,
        gateway_id=route.gateway,
        name=route.name,
        elements=elements,
        created_at=moment(route.created_at),
        modified_at=moment(route.modified_at),
    )


def _view(gateway: Gateway, route: Route) -> RouteObject:
    return RouteObject(
        **_plain(gateway, route, route.deployed.elements).model_dump(),
        deployment=_deployment(route.deployments[0]),
        version=_version(route, route.deployed),
    )


def _version(route: Route, one: RouteVersion) -> Version:
    return Version(
        version_id=one.id,
        active="true" if one.id == route.deployed.id else "false",
        created_at=moment(one.created_at).isoformat(),
        data=json.dumps(one.elements),
        is_valid=True,
    )


def _deployment(one: RouteDeployment) -> Deployment:
    return Deployment(deployment_id=one.id, version_id=one.version, created_at=moment(one.created_at).isoformat())


def _numbers(paging: Paging, total: int) -> dict[str, Any]:
    return {"page": paging.page, "per_page": paging.per_page, "total_count": total}


def _whole(total: int) -> dict[str, Any]:
    return {"page": 1, "per_page": max(total, 1), "total_count": total}
