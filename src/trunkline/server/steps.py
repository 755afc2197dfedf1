"""A step of the universal endpoint on its way: it becomes a provider-native request and is admitted as one.

The credentials of the request that holds the step are read by the same function as everywhere; what of them is the
step's is `trunkline.credentials.inheritance`. A step for the unified API becomes one for the provider of the model that
it names, or goes the way of a dynamic route and becomes several.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

import msgspec

from trunkline.credentials.inheritance import inherit, shows_provider_key
from trunkline.credentials.placements import PLACEMENTS, Carrier, Placement, Role
from trunkline.errors import MalformedRequest, Unauthorized, UnknownProvider
from trunkline.policy.caching import is_stream
from trunkline.policy.models import is_allowed
from trunkline.policy.routes import DeployedRoute
from trunkline.policy.routing import AskModel, TakeQuota
from trunkline.providers import Provider
from trunkline.server import client_secrets
from trunkline.server.admission import Admission
from trunkline.server.answer import Answer
from trunkline.server.asking import facts_of
from trunkline.server.beside import beside
from trunkline.server.dispatch import Dispatch, Sent, settling
from trunkline.server.gateway import Gateway
from trunkline.server.logbook import Entry
from trunkline.server.routing import RoutePlan, deployed_route
from trunkline.unified.adapter import Adapter
from trunkline.unified.choosing import PassedThrough, adapt
from trunkline.unified.naming import FOREIGN, Wanted, wanted
from trunkline.wire.documents import json_object
from trunkline.wire.head import Head
from trunkline.wire.path import UNIFIED
from trunkline.wire.universal import Step

# Stands for all of them as long as a dynamic route has chosen none.
_NONE_YET: Final = Provider(UNIFIED, "The unified API")
_MOST_ATTEMPTS: Final = 5
MAX_ANSWER: Final = 32 * 1024 * 1024
"""Bytes of an answer in one piece that is told in other words."""


class _Turn(NamedTuple):
    """How a step goes on: as the one of that ``number``, and the ``is_last`` that is tried.

    ``is_foreign``: the client's own API is not the provider's. ``is_permitted``: whoever asks may use the model.
    """

    number: int
    is_last: bool
    is_foreign: bool = False
    is_permitted: bool = False


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

    async def send(self, step: Step, entry: Entry, number: int = 0, *, is_last: bool = True) -> Answer:
        """Send a step to its provider; return when the head of the answer is there. Raises `GatewayError`.

        ``is_last``: no other step is tried after it.
        """
        turn = _Turn(number, is_last)
        if step.provider != UNIFIED:
            return await self._send(step, entry, turn)
        asked = wanted(step.path, step.body, self._gateway.settings.root_provider)
        if asked.provider:
            return await self._send_unified(step, asked, entry, turn)
        return await self._send_routed(step, asked, entry, number)

    def entry(self, *, id: str = "", event_id: str = "") -> Entry:
        """Begin the log entry of a request that came by itself, over a WebSocket."""
        return self._gateway.logbook.open(self._head, "websocket", id=id, event_id=event_id)

    async def _send(self, step: Step, entry: Entry, turn: _Turn) -> Answer:
        head = self._head_of(step, is_foreign=turn.is_foreign)
        entry.tries(head, turn.number)
        admission = self._admit(step, head)
        if turn.is_permitted and admission.caller is not None:
            admission = replace(admission, caller=msgspec.structs.replace(admission.caller, models=()))
        entry.admitted(admission)
        if client_secrets.surface_of(head, admission) is not None:
            raise MalformedRequest(
                "The gateway makes client secrets itself: ask for one at"
                f" /v1/{admission.account}/{admission.gateway}/{admission.provider.slug}/{admission.rest}."
            )
        terms = self._dispatch.terms(head, admission)
        return await self._dispatch.send(head, admission, Sent(step.body), entry, terms, is_last=turn.is_last)

    # The unified API

    async def _send_unified(self, step: Step, asked: Wanted, entry: Entry, turn: _Turn) -> Answer:
        provider = self._gateway.catalogue.find(asked.provider)
        if provider is None:
            raise UnknownProvider(
                f"The gateway knows no provider {asked.provider[:64]!r}. The model is written provider/model, such as"
                " openai/gpt-4o-mini; see docs/providers.md for the list."
            )
        if provider.slug == "local":
            provider = await self._gateway.located(provider)
        now, made = int(time.time()), secrets.token_hex(12)
        translate = partial(adapt, asked.surface, provider, asked.model, step.body, now=now, id=made)
        adapter = await beside(len(step.body), translate)
        path, _, query = adapter.path.partition("?")
        own = {name for name, _ in adapter.headers}
        headers = [*(pair for pair in step.headers if pair[0] not in own), *adapter.headers]
        native = Step(provider.slug, path, query, headers, adapter.body)
        is_foreign = not isinstance(adapter, PassedThrough)
        answer = await self._send(native, entry, turn._replace(is_foreign=is_foreign))
        return await _adapted(answer, adapter) if is_foreign else answer

    async def _send_routed(self, step: Step, asked: Wanted, entry: Entry, number: int) -> Answer:
        """Send a request the way of a dynamic route. Keys that it shows are for no provider in particular."""
        common = inherit(replace(self._head, headers=list(step.headers)), self._is_ours, self._own).common
        step = replace(step, headers=common)
        to_nobody = replace(step, provider="local")  # which every gateway has, and needs no key
        head = self._head_of(to_nobody)
        entry.tries(head, number)
        admission = replace(self._admit(to_nobody, head), provider=_NONE_YET, key=None)
        entry.admitted(admission)
        entry.sees_request(step.body)
        route = deployed_route(self._gateway.registry.now, admission.gateway, asked.model)
        assert route is not None  # the name begins as that of one
        entry.routed(f"{route.name}@{route.version}")
        return await self._walk(route, step, asked, entry, head, admission)

    async def _walk(
        self, route: DeployedRoute, step: Step, asked: Wanted, entry: Entry, head: Head, admission: Admission
    ) -> Answer:
        read, _ = await beside(len(step.body), partial(facts_of, head, admission, step.body))
        facts = msgspec.structs.replace(read, provider="", model=asked.model)
        limiter, caller = self._gateway.limiter, admission.caller
        # Who may use the route may use what it leads to.
        is_permitted = caller is not None and bool(caller.models) and is_allowed(asked.model, caller.models, "")
        turn = _Turn(0, is_last=False, is_permitted=is_permitted)

        async def ask(model: AskModel) -> Answer:
            tries = [(b"cf-aig-max-attempts", b"%d" % min(model.retries + 1, _MOST_ATTEMPTS))] if model.retries else []
            if model.timeout_ms:
                tries.append((b"cf-aig-request-timeout", b"%d" % model.timeout_ms))
            own = replace(step, headers=[*step.headers, *tries])
            target = Wanted(asked.surface, model.provider, model.model)
            return await self._send_unified(own, target, entry, turn._replace(number=model.number))

        async with AsyncExitStack() as stack:

            async def quota(wanted: TakeQuota) -> bool:
                lease = await limiter.take([wanted.rule], facts, set())
                stack.push_async_exit(settling(lease, entry))
                return True

            answer = await RoutePlan(route, facts, json_object(step.body)).run(ask, quota)
            stack.push_async_callback(answer.aclose)
            answer.aclose = stack.pop_all().aclose
            return answer
        raise AssertionError("unreachable")

    # Heads

    def _head_of(self, step: Step, *, is_foreign: bool = False) -> Head:
        """Return the head of a step. ``is_foreign``: the client's own API is not the provider's."""
        common = self._inherited.common
        if is_foreign:
            common = [pair for pair in common if not pair[0].startswith(FOREIGN)]
        head = step.head(self._head.path, common)
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
            seen = step.head(self._head.path, self._head.headers)
            self._gateway.doorkeeper.admit(
                replace(seen, transport=self._head.transport, subprotocols=self._head.subprotocols)
            )
            raise


def check_entrance(gateway: Gateway, head: Head) -> None:
    """Raise `ForbiddenOrigin` or `UnknownGateway` where no step could pass, before any is read.

    Who asks is left to the steps: each may bring its own key.
    """
    # A head without a provider is no request yet; every gateway has this one.
    gateway.doorkeeper.check_entrance(replace(head, path=f"{head.path.rstrip('/')}/local"))


def are_for_one_provider(gateway: Gateway, steps: Iterable[Step]) -> bool:
    """Whether all steps name the same provider, by whatever name. Those for a dynamic route may come to any."""
    named = set()
    for step in steps:
        name = step.provider
        if name == UNIFIED:
            name = wanted(step.path, step.body, gateway.settings.root_provider).provider
        provider = gateway.catalogue.find(name)
        named.add(provider.slug if provider is not None else name)
    return len(named) == 1 and "" not in named


def _own_places(gateway: Gateway) -> list[Placement]:
    """Return the headers in which some provider takes a key and that the common table lacks."""
    names = {
        slot.name for provider in gateway.catalogue.all() for slot in provider.credential_slots if slot.kind == "header"
    }
    places = [Placement(Carrier.HEADER, name, Role.PROVIDER) for name in sorted(names)]
    return [place for place in places if place not in PLACEMENTS]


async def _adapted(answer: Answer, adapter: Adapter) -> Answer:
    """Return an answer in the client's words. Raises `UpstreamBroken` for one in one piece that cannot be told."""
    try:
        answer.status, answer.headers = adapter.begin(answer.status, answer.headers)
        if is_stream(answer.headers):
            answer.body = _told(answer.body, adapter)
            return answer
        # Before its head is sent: an answer that cannot be told is an error, and not one that breaks off.
        body = await answer.whole(MAX_ANSWER)
        told = await beside(len(body), partial(_whole_told, body, adapter))
    except BaseException:
        await answer.aclose()
        raise
    answer.body = _once(told)
    return answer


def _whole_told(body: bytes, adapter: Adapter) -> bytes:
    return adapter.feed(body) + adapter.finish()


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _told(chunks: AsyncIterator[bytes], adapter: Adapter) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if said := adapter.feed(chunk):
            yield said
    if rest := adapter.finish():
        yield rest
