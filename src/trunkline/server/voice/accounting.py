"""What a session costs, and who is charged for it: the caller's limits, and the client secret that opened it."""

from __future__ import annotations

import time
from contextlib import suppress

from trunkline.errors import GatewayError, NotPermitted
from trunkline.policy.cost import cost_of_unfinished_turn, cost_of_usage
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.usage import Usage
from trunkline.server.broker import Broker
from trunkline.server.ledger import Lease
from trunkline.server.voice.dialling import Route


class Account:
    """The charges of one session."""

    def __init__(self, broker: Broker, lease: Lease, route: Route) -> None:
        self._broker = broker
        self.lease = lease
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
        self.lease.charge(usage.tokens.total, usage.cost or 0.0, time.time())
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
        self.lease.close(time.time())
        if not record.unsettled_bytes:
            return
        provider, model = self.route.admission.provider.slug, self.route.model
        cost = cost_of_unfinished_turn(provider, model, record.unsettled_bytes)
        with suppress(GatewayError):
            self.charge(Usage(kind="response", model=model, stated=False, cost=cost))
