"""Carrying out a dynamic route: models are asked, one after another, until one answers and the way is at its end."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from trunkline.errors import GatewayError, LimitReached, NotFound, RouteEnded, first_line
from trunkline.policy.facts import Facts
from trunkline.policy.registry import Registry
from trunkline.policy.routes import DeployedRoute, route_name
from trunkline.policy.routing import AskModel, Ended, TakeQuota, Walk
from trunkline.providers import Catalogue
from trunkline.server.answer import Answer

log = structlog.get_logger("trunkline.routes")

MODEL_HEADER: Final = b"cf-aig-model"
PROVIDER_HEADER: Final = b"cf-aig-provider"
STEP_HEADER: Final = b"cf-aig-step"
_OURS: Final = frozenset({MODEL_HEADER, PROVIDER_HEADER, STEP_HEADER})

_FAILURES: Final = 400
_SERVER_FAILS: Final = 500
_LONGEST_WHY: Final = 200

draw: Final[Callable[[], float]] = random.random
"""Which way a request goes by chance is no secret."""


class UnknownRoute(NotFound):
    """The gateway has no dynamic route of that name."""

    code = 2005
    reason = "unknown_route"
    close_code = 4004


def deployed_route(registry: Registry, gateway: str, model: str) -> DeployedRoute | None:
    """Return the route that a model's name means, or None where it means a model. Raises `UnknownRoute`."""
    name = route_name(model)
    if name is None:
        return None
    route = registry.routes.get((gateway, name))
    if route is None:
        raise UnknownRoute(
            f"The gateway {gateway!r} has no dynamic route {name[:64]!r}. `trunkline routes list` shows those it has,"
            " and `trunkline routes import` adds one."
        )
    return route


def provider_names(catalogue: Catalogue) -> frozenset[str]:
    """Return the names that a model of a route may give its provider."""
    return frozenset(name for one in catalogue.all() for name in (one.slug, *one.aliases))


class RoutePlan:
    """One request on its way through a route. ``body`` is the request's, parsed; ``chance`` draws from [0, 1)."""

    def __init__(
        self,
        route: DeployedRoute,
        facts: Facts,
        body: Mapping[str, Any],
        chance: Callable[[], float] = draw,
    ) -> None:
        self.walk = Walk(route, facts, body, chance)

    async def run(
        self, ask: Callable[[AskModel], Awaitable[Answer]], quota: Callable[[TakeQuota], Awaitable[bool]]
    ) -> Answer:
        """Return the answer of the model that did well last, or else of the one that failed last.

        ``ask`` may raise a `GatewayError` or return an answer of any status: one below 400 is a success. ``quota`` says
        whether there was something left, or raises a `GatewayError` when there was not. Where there is no answer to
        return: raises the last refusal of the gateway's own when that is the caller's to know (below 500), else
        `RouteEnded` with what became of each model and quota.
        """
        answers = _Answers()
        refusal: GatewayError | None = None
        try:
            while not isinstance(step := self.walk.next(), Ended):
                if isinstance(step, TakeQuota):
                    is_left, why, refusal = await take(quota, step, refusal)
                    self.walk.tell(is_left, why)
                    continue
                await answers.drop_bad()
                try:
                    answer = _told(await ask(step), step)
                except GatewayError as error:
                    refusal = error
                    self.walk.tell(False, words_of(error))
                    continue
                is_good = answer.status < _FAILURES
                await answers.keep(answer, is_good=is_good)
                self.walk.tell(is_good, "" if is_good else f"it answered {answer.status}")
            chosen = answers.choose()
        finally:
            # Without what was looked at: that may be what a person wrote.
            log.debug("dynamic route", route=self.walk.route.name, way=self.walk.way)
            await answers.aclose()
        if chosen is None:
            raise ended(self.walk, refusal)
        return chosen


class _Answers:
    """The last answer that did well, and the last that did not as long as nobody else was asked."""

    def __init__(self) -> None:
        self._good: Answer | None = None
        self._bad: Answer | None = None

    async def keep(self, answer: Answer, *, is_good: bool) -> None:
        if not is_good:
            self._bad = answer
            return
        former, self._good = self._good, answer
        if former is not None:
            await former.aclose()

    async def drop_bad(self) -> None:
        """Give a bad answer up: whoever is asked next must not wait for the connection that it holds."""
        bad, self._bad = self._bad, None
        if bad is not None:
            await bad.aclose()

    def choose(self) -> Answer | None:
        """Take out the answer to return."""
        chosen: Answer | None
        if self._good is not None:
            chosen, self._good = self._good, None
        else:
            chosen, self._bad = self._bad, None
        return chosen

    async def aclose(self) -> None:
        for left in (self._good, self._bad):
            if left is not None:
                await left.aclose()


def ended(walk: Walk, last: GatewayError | None) -> GatewayError:
    """Return the error of a way that came to its end without an answer; ``last`` is the last of the gateway's own.

    It is that one where it is the caller's to know (below 500), else `RouteEnded` with what became of each model and
    quota. Where nothing but quotas stood in the way, it is `LimitReached`.
    """
    if last is not None and last.status < _SERVER_FAILS:
        return last
    quotas = [failure.step for failure in walk.failures if isinstance(failure.step, TakeQuota)]
    tried = "; ".join(str(failure) for failure in walk.failures)
    why = f"These were tried: {tried}." if tried else "No model is on the way that this request took."
    message = f"The dynamic route {walk.route.name!r} came to its end without an answer. {why}"
    if quotas and len(quotas) == len(walk.failures):
        return LimitReached(message, retry_after=quotas[-1].rule.window)
    error = RouteEnded(message)
    error.__cause__ = last
    return error


def words_of(error: GatewayError) -> str:
    """Return why something failed, for a trace."""
    return first_line(error)[:_LONGEST_WHY]


async def take(
    quota: Callable[[TakeQuota], Awaitable[bool]], step: TakeQuota, refusal: GatewayError | None
) -> tuple[bool, str, GatewayError | None]:
    """Return whether something was left of a quota, why not, and the refusal that counts from now on."""
    try:
        is_left = await quota(step)
    except GatewayError as error:
        return False, words_of(error), error
    return is_left, "" if is_left else "its quota is used up", refusal


def _told(answer: Answer, step: AskModel) -> Answer:
    """Let an answer say who gave it."""
    answer.told = [pair for pair in answer.told if pair[0] not in _OURS] + [
        (MODEL_HEADER, step.model.encode()),
        (PROVIDER_HEADER, step.provider.encode()),
        (STEP_HEADER, str(step.number).encode()),
    ]
    return answer
