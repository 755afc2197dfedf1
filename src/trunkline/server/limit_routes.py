"""How a gateway's limits stand, over HTTP: ``/api/gateways/{gateway}/limits``.

For gateway keys with the scope 'read', for the gateway token and for the console.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from trunkline.errors import UnknownGateway
from trunkline.policy.key_limits import own_rules
from trunkline.policy.limits import LimitRule, Measure, Technique
from trunkline.policy.registry import GatewayKey, GatewayRules
from trunkline.policy.sessions import merged
from trunkline.server.answers import answers, json_answer, schemas_of
from trunkline.server.clock import steady_time
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.ledger import Ledger, caller_key
from trunkline.server.limiting import UsedBucket

_Quota = Literal["sessions", "minutes", "tokens"]
_UNUSED: Final = UsedBucket({}, 0.0, None)


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


class KeyStanding(msgspec.Struct, frozen=True):
    """How a key stands to one limit.

    ``rule`` is the id of a rule of the gateway, empty for a limit of realtime sessions. ``own`` says whether it is the
    key's own. ``window`` is seconds, null for what is going on now. ``resets_at`` is the Unix time when some of it is
    free again, null where nothing is used or where that cannot be told.
    """

    rule: str
    measure: Literal["requests", "tokens", "cost", "concurrent", "minutes", "sessions"]
    realtime: bool
    own: bool
    used: float
    limit: float
    window: int | None
    resets_at: float | None


class KeyUse(msgspec.Struct, frozen=True):
    """A gateway key that counts, its open realtime sessions, and how it stands to each limit that holds for it."""

    id: str
    open_sessions: int
    standings: list[KeyStanding]


class KeyUses(msgspec.Struct, frozen=True):
    """All keys of a gateway that count."""

    keys: list[KeyUse]


def limit_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the answers, by name."""
    return schemas_of(LimitStandings, KeyUses)


def create_limit_routes(gateway: Gateway) -> APIRouter:
    """Return the route below ``/api/gateways``."""
    routes = APIRouter(prefix="/api/gateways", tags=["gateways"])

    def shown(request: Request, name: str) -> GatewayRules:
        """Return the rules of a gateway to who may see them."""
        require_scope(gateway, request, "read", name)
        rules = gateway.registry.rules(name)
        if rules is None:
            raise UnknownGateway(f"There is no gateway {name[:64]!r}.")
        return rules

    @routes.get("/{name}/limits", response_class=Response, responses=answers(LimitStandings))
    async def limits(request: Request, name: str) -> Response:
        """Show how much of each limit is used, and by whom."""
        rules = shown(request, name)
        limits = rules.control.limits
        used = await gateway.limiter.standing(name, limits)
        return json_answer(LimitStandings([_standing(rule, used[rule.id]) for rule in limits]))

    @routes.get("/{name}/key-limits", response_class=Response, responses=answers(KeyUses))
    async def key_limits(request: Request, name: str) -> Response:
        """Show how each key stands to its own limits, and to those that each key has by itself."""
        rules = shown(request, name)
        now = time.time()
        used = await gateway.limiter.standing(name, rules.control.limits)
        keys = [key for key in gateway.registry.now.keys.values() if key.gateway == name and not key.why_dead(now)]
        return json_answer(KeyUses([_use(key, rules, used, gateway.ledger, steady_time()) for key in keys]))

    return routes


def _use(
    key: GatewayKey, gateway: GatewayRules, used: Mapping[str, list[UsedBucket]], ledger: Ledger, now: float
) -> KeyUse:
    own = {rule.id for rule in own_rules(gateway.control.limits, key.id)}
    standings = []
    for rule in gateway.control.limits:
        is_own = rule.id in own
        counts_each = rule.per == ("key",) and key.id in rule.where.get("key", (key.id,))
        if rule.enabled and (is_own or counts_each):
            one = next((one for one in used[rule.id] if is_own or one.values.get("key") == key.id), _UNUSED)
            window = None if rule.measure == "concurrent" else rule.window
            standings.append(
                KeyStanding(rule.id, rule.measure, False, is_own, one.used, rule.limit, window, one.resets_at)
            )
    limits = merged(gateway.realtime.limits, key.limits)
    snapshot = ledger.snapshot(caller_key(key.gateway, key.id), limits, now)
    if limits.concurrent is not None:
        is_own = key.limits.concurrent is not None
        told = (float(snapshot.open_sessions), float(limits.concurrent), None, None)
        standings.append(KeyStanding("", "concurrent", True, is_own, *told))
    for quota in snapshot.quotas:
        measure = "cost" if quota.name == "budget" else cast(_Quota, quota.name)
        is_own = getattr(key.limits, quota.name) is not None
        free_at = now + quota.free_in if quota.free_in else None
        standings.append(KeyStanding("", measure, True, is_own, quota.used, quota.limit, quota.seconds, free_at))
    return KeyUse(key.id, snapshot.open_sessions, standings)


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
