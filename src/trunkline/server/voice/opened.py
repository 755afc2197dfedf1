"""What an open session is known by, whichever way it came: on a socket, or beside a WebRTC call."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from trunkline.errors import GatewayError
from trunkline.realtime.record import SessionRecord
from trunkline.server.gateway import Gateway
from trunkline.server.identifiers import ulid
from trunkline.server.voice.accounting import Account
from trunkline.server.voice.dialling import Route


class OpenedSession(ABC):
    """A session from its admission to its end: listed while it is open, recorded, and kept afterwards."""

    def __init__(self, gateway: Gateway, route: Route) -> None:
        admission = route.admission
        caller = admission.caller
        self.id = ulid()
        self.gateway = admission.gateway
        self.key_id = caller.key_id if caller is not None else ""
        self.caller = caller.name if caller is not None else "no key"
        self.user_agent = route.head.header(b"user-agent") or ""
        self.started_at = time.time()
        self.account = Account(gateway.registry.broker, route)
        socket = admission.provider.socket
        protocol = socket.protocol if socket is not None else "openai"
        self.record = SessionRecord(protocol, price=self.account.price, model=route.model)
        self._started = time.perf_counter()
        self._gateway = gateway
        gateway.live.add(self)

    @property
    def provider(self) -> str:
        """The slug of the provider that serves at present."""
        return self.account.route.admission.provider.slug

    @property
    def model(self) -> str:
        """The model asked for at present, where one is named."""
        return self.account.route.model

    def elapsed(self) -> float:
        """Seconds since the session began: the clock of its record."""
        return time.perf_counter() - self._started

    @abstractmethod
    def end(self, error: GatewayError) -> None:
        """End the session for a reason of the gateway's own."""

    def finish(self) -> None:
        """Settle what is open, and keep the record."""
        self.account.settle(self.record)
        self._gateway.live.remove(self)
        self._gateway.keeper.ended(self, self.record.report(self.elapsed()))
