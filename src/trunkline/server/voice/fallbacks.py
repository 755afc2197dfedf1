"""Who takes a session that the first provider does not: the gateway's own fallbacks, or the way of a dynamic route."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import structlog
from msgspec.structs import replace

from trunkline.errors import GatewayError, NotPermitted, UnknownProvider, UpstreamError
from trunkline.policy.cost import price_is_known
from trunkline.policy.facts import Facts
from trunkline.policy.models import is_allowed
from trunkline.policy.routes import ROUTE_PREFIX, DeployedRoute
from trunkline.policy.routing import AskModel, Ended, TakeQuota, Walk
from trunkline.realtime.bounded import shown
from trunkline.server.admission import Admission
from trunkline.server.gateway import Gateway
from trunkline.server.limiting import Lease
from trunkline.server.routing import draw, ended, take, words_of
from trunkline.server.voice.dialling import Route, is_failure
from trunkline.wire.head import Head, Transport
from trunkline.wire.log_headers import metadata_of

log = structlog.get_logger("trunkline.voice")


class GatewayFallbacks:
    """The gateway's fallbacks, less those that the caller's key may not use, or whose price it needs to know."""

    def __init__(self, gateway: Gateway, head: Head, admission: Admission) -> None:
        self._gateway = gateway
        self._head = head
        self._admission = admission
        self._names = iter(admission.rules.realtime.fallbacks if admission.provider.has_realtime else ())

    def are_for(self, error: GatewayError) -> bool:
        """Whether the provider failed: one that refuses what it is asked for has answered."""
        return isinstance(error, UpstreamError) and is_failure(error)

    async def next(self, error: GatewayError | None) -> Route | None:
        """Return the next fallback that can be used."""
        return next(self._usable(), None)

    def refusal(self, error: GatewayError) -> GatewayError:
        """Return what the provider asked for said."""
        return error

    def _usable(self) -> Iterator[Route]:
        for name in self._names:
            slug, _, model = name.partition("/")
            caller = self._admission.caller
            if caller is not None and not is_allowed(model, caller.models, slug):
                continue
            if _is_priced(self._admission) and not price_is_known(slug, model):
                continue
            try:
                yield _route_to(self._gateway, self._head, self._admission, slug, model)
            except GatewayError as error:
                log.warning("a fallback cannot be used", route=name, why=shown(error.message))


class RouteFallbacks:
    """The way of one session through a dynamic route. ``first`` is there after `start`.

    A model does well when its provider takes the session: whoever does has it, whatever comes behind.
    """

    first: Route

    def __init__(
        self,
        gateway: Gateway,
        head: Head,
        admission: Admission,
        route: DeployedRoute,
    ) -> None:
        """``admission`` is the caller's, to whatever provider. Raises `NotPermitted` for a caller bound to a model."""
        self._gateway = gateway
        self._head = head
        self._admission = admission
        self.name = f"{route.name}@{route.version}"
        caller = admission.caller
        name = f"{ROUTE_PREFIX}{route.name}"
        self._facts = Facts(
            gateway=admission.gateway,
            provider="",
            model=name,
            kind="realtime",
            path="realtime",
            stream=True,
            key=caller.key_id if caller is not None else "",
            metadata=metadata_of(head),
        )
        self._models = caller.models if caller is not None else ()
        if caller is not None and caller.model:
            admission.check_models([name])
        if is_allowed(name, self._models, ""):  # who may use the route may use what it leads to
            self._models = ()
        self._walk = Walk(route, self._facts, {}, draw)
        self._asked: AskModel | None = None
        self._leases: list[Lease] = []
        self._last: GatewayError | None = None

    async def start(self) -> Route:
        """Return the provider to dial first. Raises the `GatewayError` of a way that leads to none."""
        first = await self.next(None)
        if first is None:
            raise ended(self._walk, self._last)
        self.first = first
        return first

    def are_for(self, error: GatewayError) -> bool:
        """Whether the way goes on at the fallback: after any failure."""
        return True

    async def next(self, error: GatewayError | None) -> Route | None:
        """Return the provider that the route leads to next."""
        if self._asked is not None:
            self._fail(error)
            self._asked = None
        while not isinstance(step := self._walk.next(), Ended):
            if isinstance(step, TakeQuota):
                is_left, why, self._last = await take(self._taken, step, self._last)
                self._walk.tell(is_left, why)
                continue
            try:
                route = self._route(step)
            except GatewayError as refused:
                log.warning("a model of a dynamic route cannot be used", route=str(step), why=shown(refused.message))
                self._fail(refused)
                continue
            self._asked = step
            return route
        return None

    def refusal(self, error: GatewayError) -> GatewayError:
        """Return what became of every model, or of the only one what it said."""
        if len(self._walk.failures) == 1 and isinstance(self._walk.failures[0].step, AskModel):
            return error
        return ended(self._walk, self._last)

    async def settle(self, cost: float | None) -> None:
        """Charge the quotas with what the session has cost, in US dollars; None is not known."""
        for lease in self._leases:
            await lease.settle(None, cost)

    async def _taken(self, step: TakeQuota) -> bool:
        self._leases.append(await self._gateway.limiter.take([step.rule], self._facts, set()))
        return True

    def _fail(self, error: GatewayError | None) -> None:
        self._last = error or self._last
        self._walk.tell(False, words_of(error) if error is not None else "the session was lost")

    def _route(self, step: AskModel) -> Route:
        """Return a model as a provider to dial. Raises the `GatewayError` for which it is passed over."""
        provider = self._gateway.catalogue.find(step.provider)
        slug = provider.slug if provider is not None else step.provider
        if not is_allowed(step.model, self._models, slug):
            raise NotPermitted(f"The caller's key is not good for {slug}/{step.model}.")
        if provider is not None and not provider.has_realtime:
            raise UnknownProvider(f"{provider.name} does not speak OpenAI's realtime protocol.")
        if _is_priced(self._admission) and not price_is_known(slug, step.model):
            raise NotPermitted(f"The caller's key has a budget, and no price is known for {slug}/{step.model}.")
        route = _route_to(self._gateway, self._head, self._admission, slug, step.model)
        return replace(route, timeout_ms=step.timeout_ms, retries=step.retries)


def _is_priced(admission: Admission) -> bool:
    return admission.is_capped or admission.limits.budget is not None


def _route_to(gateway: Gateway, head: Head, admission: Admission, slug: str, model: str) -> Route:
    """Return a provider that the gateway chose, for the caller of an admission. Raises `GatewayError`.

    The head is made anew: what the client showed the first provider is not for another.
    """
    agent = [(name, value) for name, value in head.headers if name == b"user-agent"]
    intent = head.query_value("intent")
    query = {"intent": intent, "model": model} if intent else {"model": model}
    path = f"/v1/{admission.account}/{admission.gateway}/{slug}/realtime"
    made = Head(Transport.WEBSOCKET, "GET", path, urlencode(query), agent, ("realtime",))
    return Route(made, gateway.doorkeeper.elsewhere(admission, slug), model)
