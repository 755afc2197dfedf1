"""Dynamic routes in the database: versions that never change, and which of them is deployed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from trunkline.errors import SettingsError
from trunkline.policy.routes import DeployedRoute
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.audit import Change, changing
from trunkline.store.database import Database
from trunkline.store.identifiers import ulid
from trunkline.store.schema.management import route_deployments, route_versions, routes

log = structlog.get_logger("trunkline.routes")

Elements = Sequence[Mapping[str, Any]]

# So many versions are read before the event loop gets its turn.
_VERSIONS: Final = 20


class RouteVersion(msgspec.Struct, frozen=True):
    """One version of a route's graph. Times are Unix seconds."""

    id: str
    elements: list[dict[str, Any]]
    created_at: float


class RouteDeployment(msgspec.Struct, frozen=True):
    """Which version was put into use, and when."""

    id: str
    version: str
    created_at: float


class Route(msgspec.Struct, frozen=True):
    """A dynamic route with all its versions and deployments, newest first; there is one of each at least."""

    id: str
    gateway: str
    name: str
    created_at: float
    modified_at: float
    versions: list[RouteVersion]
    deployments: list[RouteDeployment]

    @property
    def deployed(self) -> RouteVersion:
        """The version that is in use."""
        wanted = self.deployments[0].version
        return next(version for version in self.versions if version.id == wanted)


class Routes:
    """Reads and writes of one database. A gateway that gets a route must have its row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, gateway: str) -> list[Route]:
        """Return a gateway's routes, oldest first."""
        asked = select(routes).filter_by(gateway=gateway).order_by(routes.c.created_at, routes.c.id)
        async with self._database.reading() as connection:
            return [await _route(connection, row) for row in (await connection.execute(asked)).all()]

    async def get(self, gateway: str, id: str) -> Route | None:
        """Return a route, if there is one."""
        async with self._database.reading() as connection:
            return await _found(connection, gateway, id)

    async def named(self, gateway: str, name: str) -> Route | None:
        """Return the route of a name, if there is one."""
        async with self._database.reading() as connection:
            return await _named(connection, gateway, name)

    async def create(self, gateway: str, name: str, elements: Elements) -> Route:
        """Add a route and deploy its first version. Raises `SettingsError` when there is one of that name."""
        made, now = str(uuid.uuid4()), time.time()
        change = Change("route.create", "route", made, gateway, {"name": name})
        try:
            async with changing(self._database, change) as connection:
                row = {"id": made, "gateway": gateway, "name": name, "created_at": now, "modified_at": now}
                await connection.execute(insert(routes).values(row))
                await _deploy(connection, made, await _add_version(connection, made, elements, now), now)
                return await _required(connection, gateway, made)
        except IntegrityError as error:
            raise _name_taken(name) from error

    async def put(self, gateway: str, name: str, elements: Elements) -> tuple[Route, bool]:
        """Make a version and deploy it, of a route that is made if there is none; return it, and whether it was made.

        Elements that are in use already stay so, and nothing changes.
        """
        known = await self.named(gateway, name)
        if known is not None and known.deployed.elements == list(elements):
            return known, False
        change = Change("route.put", "route", "", gateway, {"name": name})
        async with changing(self._database, change) as connection:
            now = time.time()
            found = await connection.scalar(select(routes.c.id).filter_by(gateway=gateway, name=name))
            change.target_id = route = found or str(uuid.uuid4())
            if found is None:
                row = {"id": route, "gateway": gateway, "name": name, "created_at": now, "modified_at": now}
                await connection.execute(insert(routes).values(row))
            else:
                await connection.execute(update(routes).filter_by(id=route).values(modified_at=now))
            await _deploy(connection, route, await _add_version(connection, route, elements, now), now)
            return await _required(connection, gateway, route), found is None

    async def rename(self, gateway: str, id: str, name: str) -> Route | None:
        """Rename a route; return it, or None when there is none. Raises as `create`."""
        change = Change("route.rename", "route", id, gateway, {"name": name})
        try:
            async with changing(self._database, change) as connection:
                values = {"name": name, "modified_at": time.time()}
                await connection.execute(update(routes).filter_by(gateway=gateway, id=id).values(values))
                return await _required(connection, gateway, id)
        except _Absent:
            return None
        except IntegrityError as error:
            raise _name_taken(name) from error

    async def delete(self, gateway: str, id: str) -> Route | None:
        """Remove a route; return it as it was, or None when there was none."""
        try:
            async with changing(self._database, Change("route.delete", "route", id, gateway)) as connection:
                gone = await _required(connection, gateway, id)
                await connection.execute(delete(routes).filter_by(id=id))
                return gone
        except _Absent:
            return None

    async def add_version(self, gateway: str, id: str, elements: Elements) -> Route | None:
        """Add a version, which is not in use until it is deployed; return the route, or None when there is none."""
        try:
            async with changing(self._database, Change("route.version", "route", id, gateway)) as connection:
                await _required(connection, gateway, id)
                now = time.time()
                await _add_version(connection, id, elements, now)
                await connection.execute(update(routes).filter_by(id=id).values(modified_at=now))
                return await _required(connection, gateway, id)
        except _Absent:
            return None

    async def deploy(self, gateway: str, id: str, version: str) -> Route | None:
        """Put a version into use; return the route, or None when there is no such route or version."""
        change = Change("route.deploy", "route", id, gateway, {"version": version})
        try:
            async with changing(self._database, change) as connection:
                route = await _required(connection, gateway, id)
                if all(known.id != version for known in route.versions):
                    raise _Absent
                now = time.time()
                await _deploy(connection, id, version, now)
                await connection.execute(update(routes).filter_by(id=id).values(modified_at=now))
                return await _required(connection, gateway, id)
        except _Absent:
            return None


async def deployed_routes(
    connection: AsyncConnection, known: Mapping[tuple[str, str], DeployedRoute] = MappingProxyType({})
) -> dict[tuple[str, str], DeployedRoute]:
    """Return what every gateway's routes are at present, by gateway and name. One that cannot be read is left out.

    Versions never change: of those that are ``known`` nothing is read again.
    """
    deployment = route_deployments.c
    newest = func.row_number().over(
        partition_by=deployment.route, order_by=(deployment.created_at.desc(), deployment.id.desc())
    )
    ranked = select(deployment.route, deployment.version, newest.label("rank")).subquery()
    asked = select(routes.c.id, routes.c.gateway, routes.c.name, ranked.c.version).join(
        ranked, (ranked.c.route == routes.c.id) & (ranked.c.rank == 1)
    )
    rows = (await connection.execute(asked)).all()
    found: dict[tuple[str, str], DeployedRoute] = {}
    unread = []
    for row in rows:
        before = known.get((row.gateway, row.name))
        if before is not None and (before.id, before.version) == (row.id, row.version):
            found[row.gateway, row.name] = before
        else:
            unread.append(row)
    for start in range(0, len(unread), _VERSIONS):
        share = unread[start : start + _VERSIONS]
        wanted = select(route_versions.c.id, route_versions.c.elements)
        wanted = wanted.where(route_versions.c.id.in_([row.version for row in share]))
        elements = {row.id: row.elements for row in await connection.execute(wanted)}
        for row in share:
            if row.version not in elements:
                continue
            try:
                route = DeployedRoute.of(row.id, row.version, row.name, elements[row.version])
            except SettingsError as error:
                log.warning("a dynamic route cannot be used", gateway=row.gateway, route=row.name, why=str(error))
            else:
                found[row.gateway, row.name] = route
    return found


class _Absent(Exception):
    """Ends a transaction that found nothing to change, so that nothing is written of it."""


def _name_taken(name: str) -> SettingsError:
    return SettingsError(f"There is a route {name!r} already; choose another name.")


async def _required(connection: AsyncConnection, gateway: str, id: str) -> Route:
    found = await _found(connection, gateway, id)
    if found is None:
        raise _Absent
    return found


async def _found(connection: AsyncConnection, gateway: str, id: str) -> Route | None:
    row = (await connection.execute(select(routes).filter_by(gateway=gateway, id=id))).one_or_none()
    return None if row is None else await _route(connection, row)


async def _named(connection: AsyncConnection, gateway: str, name: str) -> Route | None:
    row = (await connection.execute(select(routes).filter_by(gateway=gateway, name=name))).one_or_none()
    return None if row is None else await _route(connection, row)


async def _route(connection: AsyncConnection, row: Row[Any]) -> Route:
    version, deployment = route_versions.c, route_deployments.c
    versions = await connection.execute(
        select(version.id, version.elements, version.created_at)
        .where(version.route == row.id)
        .order_by(version.created_at.desc(), version.id.desc())
    )
    deployments = await connection.execute(
        select(deployment.id, deployment.version, deployment.created_at)
        .where(deployment.route == row.id)
        .order_by(deployment.created_at.desc(), deployment.id.desc())
    )
    return Route(
        **row._mapping,
        versions=[RouteVersion(*one) for one in versions],
        deployments=[RouteDeployment(*one) for one in deployments],
    )


async def _add_version(connection: AsyncConnection, route: str, elements: Elements, now: float) -> str:
    version = ulid()
    row = {"id": version, "route": route, "elements": [dict(one) for one in elements], "created_at": now}
    await connection.execute(insert(route_versions).values(row))
    return version


async def _deploy(connection: AsyncConnection, route: str, version: str, now: float) -> None:
    row = {"id": ulid(), "route": route, "version": version, "created_at": now}
    await connection.execute(insert(route_deployments).values(row))
