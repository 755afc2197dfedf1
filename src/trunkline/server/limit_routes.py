"""How a gateway's limits stand, over HTTP: ``/api/gateways/{gateway}/limits``.

For gateway keys with the scope 'read', for the gateway token and for the console.
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from trunkline.errors import UnknownGateway
from trunkline.policy.limits import LimitRule, Measure, Technique
from trunkline.server.answers import answers, json_answer, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.limiting import UsedBucket


class LimitBucket(msgspec.Struct, frozen=True):
    """One count of a limit. ``values`` are those of its ``per`` by name; a long one is shown as a digest.

    ``resets_at`` is the Unix time when the oldest of what is counted is forgotten, null for what is going on now.
    """

    values: dict[str, str]
    used: float
    limit: float
    resets_at: float | None


class LimitStanding(msgspec.Struct, frozen=True):
    """A limit and its counts that are in use: the 100 that are used most."""

    id: str
    measure: Measure
    limit: float
    window: int
    technique: Technique
    per: tuple[str, ...]
    where: dict[str, tuple[str, ...]]
    enabled: bool
    buckets: list[LimitBucket]


class LimitStandings(msgspec.Struct, frozen=True):
    """All limits of a gateway, in their order."""

    limits: list[LimitStanding]


def limit_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the answers, by name."""
    return schemas_of(LimitStandings)


def create_limit_routes(gateway: Gateway) -> APIRouter:
    """Return the route below ``/api/gateways``."""
    routes = APIRouter(prefix="/api/gateways", tags=["gateways"])

    @routes.get("/{name}/limits", response_class=Response, responses=answers(LimitStandings))
    async def limits(request: Request, name: str) -> Response:
        """Show how much of each limit is used, and by whom."""
        require_scope(gateway, request, "read", name)
        rules = gateway.registry.rules(name)
        if rules is None:
            raise UnknownGateway(f"There is no gateway {name[:64]!r}.")
        limits = rules.control.limits
        used = await gateway.limiter.standing(name, limits)
        return json_answer(LimitStandings([_standing(rule, used[rule.id]) for rule in limits]))

    return routes


def _standing(rule: LimitRule, used: list[UsedBucket]) -> LimitStanding:
    return LimitStanding(
        id=rule.id,
        measure=rule.measure,
        limit=rule.limit,
        window=rule.window,
        technique=rule.technique,
        per=rule.per,
        where=rule.where,
        enabled=rule.enabled,
        buckets=[LimitBucket(one.values, one.used, rule.limit, one.resets_at) for one in used],
    )
