"""What a session costs, and who is charged for it: the caller's limits, the gateway's, and the client secret's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from trunkline.errors import GatewayError, NotPermitted
from trunkline.policy.cost import cost_of_unfinished_turn, cost_of_usage
from trunkline.policy.facts import Facts
from trunkline.policy.limits import LimitRule
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.usage import Usage
from trunkline.server.broker import Broker
from trunkline.server.clock import steady_time
from trunkline.server.ledger import Lease
from trunkline.server.limiting import Limiter, SessionLease
from trunkline.server.voice.dialling import Route


class Account:
    """The charges of one session."""

    def __init__(self, broker: Broker, lease: Lease, route: Route, allowance: Allowance) -> None:
        self._broker = broker
        self.lease = lease
        self.allowance = allowance
        self.route = route
        """The provider that serves at present: its prices count."""

    @property
    def is_priced(self) -> bool:
        """Whether the session may spend so much only, so that everything it uses needs a price."""
        return self.route.admission.is_capped or self.lease.limits.budget is not None

    def price(self, usage: Usage) -> float | None:
        """Return what a usage costs, in US dollars, or None where no price is known."""
        provider, model = self.route.admission.provider.slug, usage.model or self.route.model
        if usage.stated:
            return cost_of_usage(provider, model, seconds=usage.seconds, **usage.tokens.counts())
        return cost_of_unfinished_turn(provider, model, usage.frame_bytes)

    def charge(self, usage: Usage) -> None:
        """Charge what was used. Raises the `GatewayError` that ends the session when nothing is left."""
        self.allowance.use(usage.tokens.total, usage.cost or 0.0)
        self.lease.charge(usage.tokens.total, usage.cost or 0.0, steady_time())
        if self.is_priced and usage.cost is None:
            named = f"{self.route.admission.provider.slug}/{(usage.model or self.route.model)[:99]}"
            raise NotPermitted(
                f"The gateway ended this session: no price is known for {named}, so its spending has no end."
            )
        secret = self.route.admission.secret
        if secret is not None and secret.spend_cap is not None:
            self._broker.charge(secret, usage.cost or 0.0)

    def settle(self, record: SessionRecord) -> None:
        """Give the session's place back, and charge a response that was given up before it said what it used."""
        self.lease.close(steady_time())
        if record.unsettled_bytes:
            provider, model = self.route.admission.provider.slug, self.route.model
            cost = cost_of_unfinished_turn(provider, model, record.unsettled_bytes)
            with suppress(GatewayError):
                self.charge(Usage(kind="response", model=model, stated=False, cost=cost))
        self.allowance.close()


class Allowance:
    """What the gateway's rules leave to one session. It is counted beside the session: counting may have to wait."""

    def __init__(
        self,
        limiter: Limiter,
        terms: Callable[[], tuple[Sequence[LimitRule], Facts]],
        end: Callable[[GatewayError], None],
    ) -> None:
        """``terms`` are the present rules and what is known of the session; ``end`` ends it."""
        self._limiter = limiter
        self._terms = terms
        self._end = end
        self._lease: SessionLease | None = None
        self._tokens = 0
        self._cost = 0.0
        self._counted_at = 0.0
        self._news = asyncio.Event()
        self._is_over = False

    @property
    def is_limited(self) -> bool:
        """Whether some rule counts what the session uses as it goes on."""
        return self._lease is not None and self._lease.is_limited

    async def open(self) -> None:
        """Take the session's place. Raises the `GatewayError` that refuses it."""
        self._lease = await self._limiter.open_session(*self._terms())
        self._counted_at = time.perf_counter()
        self._limiter.beside(self._count(self._lease))

    def use(self, tokens: int, cost: float) -> None:
        """Count what was used; the session is ended in a moment if nothing is left. ``cost`` is in US dollars."""
        self._tokens += tokens
        self._cost += cost
        self._news.set()

    def look(self) -> None:
        """Look at the rules again: they may be others."""
        self._news.set()

    def close(self) -> None:
        """Count the rest and give the session's place back; a second time changes nothing."""
        self._is_over = True
        self._news.set()

    async def _count(self, lease: SessionLease) -> None:
        while not self._is_over:
            with suppress(TimeoutError):
                async with asyncio.timeout(lease.look_in):
                    await self._news.wait()
            self._news.clear()
            lease.rules, lease.facts = self._terms()
            try:
                await self._tick(lease)
            except GatewayError as error:
                if not self._is_over:
                    self._end(error)
                    await self._until_over()
        with suppress(GatewayError):
            await self._tick(lease)
        await lease.close()

    async def _tick(self, lease: SessionLease) -> None:
        now = time.perf_counter()
        seconds, self._counted_at = now - self._counted_at, now
        tokens, self._tokens = self._tokens, 0
        cost, self._cost = self._cost, 0.0
        await lease.tick(seconds, tokens, cost)

    async def _until_over(self) -> None:
        while not self._is_over:
            await self._news.wait()
            self._news.clear()
