"""What an open session is known by and bound by, whichever way it came: on a socket, or beside a WebRTC call."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from trunkline.credentials.redaction import redact
from trunkline.errors import GatewayError, NotPermitted, Unauthorized
from trunkline.policy.cost import price_is_known
from trunkline.policy.facts import Facts
from trunkline.policy.guards.findings import Finding
from trunkline.policy.limits import LimitRule
from trunkline.policy.sessions import NO_LIMITS, SessionLimits
from trunkline.providers.schema import Protocol
from trunkline.realtime.observing import observer_of
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.report import Report
from trunkline.server.clock import steady_time
from trunkline.server.gateway import Gateway
from trunkline.server.ledger import caller_key
from trunkline.server.session_log import SessionLog
from trunkline.server.voice.accounting import Account, Allowance
from trunkline.server.voice.dialling import Route
from trunkline.store.identifiers import ulid
from trunkline.wire.log_headers import metadata_of

# What one caller's sessions use together can run out sooner than one of them would know by itself.
_LOOK_SECONDS: Final = 5.0


class OpenedSession(ABC):
    """A session from its admission to its end: held to its limits, listed while it is open, kept afterwards."""

    def __init__(self, gateway: Gateway, route: Route) -> None:
        """Raise the `GatewayError` that refuses a caller whose limits are used up."""
        admission = route.admission
        caller = admission.caller
        self.id = ulid()
        self.gateway = admission.gateway
        self.key_id = caller.key_id if caller is not None else ""
        self.caller = caller.name if caller is not None else "no key"
        self.user_agent = redact(route.head.header(b"user-agent") or "")
        self.started_at = time.time()
        self._metadata = metadata_of(route.head)
        socket = admission.provider.socket
        self.protocol: Protocol = socket.protocol if socket is not None else "openai"
        _check_budget(admission.limits, self.protocol, admission.provider.slug, route.model)
        self._opened_at = steady_time()
        lease = gateway.ledger.open(caller_key(self.gateway, self.key_id), admission.limits, self._opened_at)
        allowance = Allowance(gateway.limiter, self._terms, self.end)
        self.account = Account(gateway.registry.broker, lease, route, allowance)
        self.record = SessionRecord(self.protocol, price=self.account.price, model=route.model)
        self.failure: GatewayError | None = None
        """For what the gateway ended it, or could not begin it."""
        self.findings: list[Finding] = []
        """What checks found in what was said."""
        self._log = SessionLog(gateway.logbook, route.head, admission)
        self._started = time.perf_counter()
        self._gateway = gateway
        self._caller = caller
        self._alarm: asyncio.TimerHandle | None = None
        gateway.live.add(self)

    @property
    def provider(self) -> str:
        """The slug of the provider that serves at present."""
        return self.account.route.admission.provider.slug

    @property
    def model(self) -> str:
        """The model asked for at present, where one is named."""
        return self.account.route.model

    @abstractmethod
    def end(self, error: GatewayError) -> None:
        """End the session for a reason of the gateway's own."""

    def elapsed(self) -> float:
        """Seconds since the session began: the clock of its record."""
        return time.perf_counter() - self._started

    def judge(self) -> None:
        """End the session if its key counts no more or a limit is reached; look again when that may be so."""
        registry, lease, now = self._gateway.registry, self.account.lease, steady_time()
        reason = registry.why_dead(self._caller) if self._caller is not None else ""
        if reason:
            self.end(Unauthorized(f"The gateway ended this session: the key that opened it {reason}."))
            return
        lease.limits = registry.limits(self.gateway, self.key_id)
        self.account.allowance.look()
        last = self._opened_at + self.record.active_at
        try:
            lease.tick(now, last_activity=last)
        except GatewayError as error:
            self.end(error)
            return
        expiry = self._expiry()
        regular = now + _LOOK_SECONDS if lease.limits != NO_LIMITS or expiry is not None else None
        expires_at = now + expiry - time.time() if expiry is not None else None
        due = [regular, lease.next_deadline(now, last_activity=last), expires_at]
        self._look_at(min((moment for moment in due if moment is not None), default=None), now)

    def finish(self) -> Report:
        """Settle what is open, and keep the record; return it."""
        if self._alarm is not None:
            self._alarm.cancel()
        self.account.settle(self.record)
        self._gateway.live.remove(self)
        report = self.record.report(self.elapsed())
        self._gateway.keeper.ended(self, report)
        self._log.write(
            report,
            self.account.route.admission,
            id=self.id,
            started_at=self.started_at,
            model=self.model,
            failure=self.failure,
            findings=tuple(found.document() for found in self.findings),
        )
        return report

    def fit_to_keep(self, report: Report) -> Report:
        """Return a report as it may be kept: with what was said only if the gateway keeps that."""
        return self._log.fit_to_keep(report)

    def _terms(self) -> tuple[Sequence[LimitRule], Facts]:
        """Return the gateway's present limits, and what is known of the session."""
        rules = self._gateway.registry.rules(self.gateway)
        facts = Facts(
            gateway=self.gateway,
            provider=self.provider,
            model=self.model,
            kind="realtime",
            path="realtime",
            stream=True,
            key=self.key_id,
            metadata=self._metadata,
        )
        return rules.control.limits if rules is not None else (), facts

    def _expiry(self) -> float | None:
        return self._gateway.registry.expiry(self._caller) if self._caller is not None else None

    def _look_at(self, due: float | None, now: float) -> None:
        """Judge again when it is due; the loop's clock is another and may ring early, which does no harm."""
        if self._alarm is not None:
            self._alarm.cancel()
        if due is None:
            return
        self._alarm = asyncio.get_running_loop().call_later(max(0.0, due - now), self.judge)


def _check_budget(limits: SessionLimits, protocol: Protocol, provider: str, model: str) -> None:
    """Refuse a session under a budget whose cost could not be told. Raises `NotPermitted`."""
    if limits.budget is None:
        return
    if observer_of(protocol).usage == "never":
        raise NotPermitted(
            f"The gateway refused this session: its key has a budget, and {provider} never says what a session used."
        )
    if model and not price_is_known(provider, model):
        raise NotPermitted(
            f"The gateway refused this session: its key has a budget, and no price is known for {provider}/{model[:99]}"
            " to hold it to. Use another model, or a key without a budget."
        )
