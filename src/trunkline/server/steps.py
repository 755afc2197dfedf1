"""A step of the universal endpoint on its way: it becomes a provider-native request and is admitted as one.

The credentials of the request that holds the step are read by the same function as everywhere; what of them is the
step's is `trunkline.credentials.inheritance`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trunkline.credentials.inheritance import inherit, shows_provider_key
from trunkline.credentials.placements import PLACEMENTS, Carrier, Placement, Role
from trunkline.errors import MalformedRequest, Unauthorized
from trunkline.server import client_secrets
from trunkline.server.admission import Admission
from trunkline.server.answer import Answer
from trunkline.server.dispatch import Dispatch, Sent
from trunkline.server.gateway import Gateway
from trunkline.server.logbook import Entry
from trunkline.wire.head import Head
from trunkline.wire.universal import Step


class StepSender:
    """Sends the steps that one request or WebSocket brings."""

    def __init__(self, gateway: Gateway, dispatch: Dispatch, head: Head, *, shares_provider_keys: bool = False) -> None:
        """``shares_provider_keys``: all steps are for one provider, and keys in ``head`` are meant for it."""
        self._gateway = gateway
        self._dispatch = dispatch
        self._head = head
        self._is_ours = gateway.doorkeeper.is_ours
        self._own = _own_places(gateway)
        self._inherited = inherit(head, self._is_ours, self._own)
        self._shares_provider_keys = shares_provider_keys

    async def send(self, step: Step, entry: Entry, number: int = 0) -> Answer:
        """Send a step to its provider; return when the head of the answer is there. Raises `GatewayError`."""
        head = self._head_of(step)
        entry.tries(head, number)
        admission = self._admit(step, head)
        entry.admitted(admission)
        if client_secrets.surface_of(head, admission) is not None:
            raise MalformedRequest(
                "The gateway makes client secrets itself: ask for one at"
                f" /v1/{admission.account}/{admission.gateway}/{admission.provider.slug}/{admission.rest}."
            )
        return await self._dispatch.send(head, admission, Sent(step.body), entry)

    def entry(self, *, id: str = "", event_id: str = "") -> Entry:
        """Begin the log entry of a request that came by itself, over a WebSocket."""
        return self._gateway.logbook.open(self._head, "websocket", id=id, event_id=event_id)

    def _head_of(self, step: Step) -> Head:
        head = step.head(self._head.path, self._inherited.common)
        if not self._shares_provider_keys or self._brings_key(step, head):
            return head
        # Beside what the step has in the same place: that is a key of the gateway's, or says that there is none.
        return replace(head, headers=[*head.headers, *self._inherited.provider_keys])

    def _brings_key(self, step: Step, head: Head) -> bool:
        provider = self._gateway.catalogue.find(step.provider)
        return shows_provider_key(head, self._is_ours, provider.query_names if provider else frozenset(), self._own)

    def _admit(self, step: Step, head: Head) -> Admission:
        try:
            return self._gateway.doorkeeper.admit(head)
        except Unauthorized:
            # Whatever was looked at is named in the refusal: also what was kept from this step.
            whole = step.head(self._head.path, self._head.headers)
            self._gateway.doorkeeper.admit(
                replace(whole, transport=self._head.transport, subprotocols=self._head.subprotocols)
            )
            raise


def check_entrance(gateway: Gateway, head: Head) -> None:
    """Raise `ForbiddenOrigin` or `UnknownGateway` where no step could pass, before any is read.

    Who asks is left to the steps: each may bring its own key.
    """
    # A head without a provider is no request yet; every gateway has this one.
    gateway.doorkeeper.check_entrance(replace(head, path=f"{head.path.rstrip('/')}/local"))


def are_for_one_provider(gateway: Gateway, steps: Iterable[Step]) -> bool:
    """Whether all steps name the same provider, by whatever name."""
    named = {step.provider for step in steps}
    return len({provider.slug if (provider := gateway.catalogue.find(name)) else name for name in named}) == 1


def _own_places(gateway: Gateway) -> list[Placement]:
    """Return the headers in which some provider takes a key and that the common table lacks."""
    names = {
        slot.name for provider in gateway.catalogue.all() for slot in provider.credential_slots if slot.kind == "header"
    }
    places = [Placement(Carrier.HEADER, name, Role.PROVIDER) for name in sorted(names)]
    return [place for place in places if place not in PLACEMENTS]
