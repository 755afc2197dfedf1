"""The way of a request that was admitted, to its provider and back: one for every endpoint.

What the rules of its gateway say is done in this order: limits are charged, what is asked is checked, the cache is
looked into, the provider is tried. An answer comes back through the same: it is seen, kept, checked, and paid for at
its end, however it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from trunkline.credentials.redaction import REDACTED
from trunkline.errors import UpstreamBroken, UpstreamTimeout
from trunkline.policy.attempts import AttemptRules, attempt_rules
from trunkline.policy.caching import CacheWish, cache_wish
from trunkline.policy.control import ControlRules
from trunkline.policy.limits import LimitRule, concerning
from trunkline.policy.prices import custom_cost_for
from trunkline.policy.usage import UsageStripper, kind_of
from trunkline.server import governing, observing
from trunkline.server.admission import Admission
from trunkline.server.answer import Answer, Asked
from trunkline.server.asking import check_readable, facts_of, work_of
from trunkline.server.beside import beside
from trunkline.server.gateway import Gateway
from trunkline.server.limiting import Lease
from trunkline.server.logbook import Entry
from trunkline.server.metering import Meter
from trunkline.upstream.http import Request, Response
from trunkline.wire.head import Head

Fetch = Callable[[], Awaitable[Answer]]
Close = Callable[[], Awaitable[None]]
Settling = Callable[[type[BaseException] | None, BaseException | None, object], Awaitable[None]]

# For bodies that are judged before they are sent on: some base64 images, or an audio file of OpenAI's limit.
MAX_WHOLE_BODY: Final = 32 * 1024 * 1024


class Sent(NamedTuple):
    """A request's body: in one piece, or as it comes with the length that was declared, or None."""

    body: bytes | AsyncIterator[bytes] | None
    length: int | None = None


class Terms(NamedTuple):
    """What the rules of a gateway, and the headers of a request, say of what is done with it."""

    control: ControlRules
    limits: tuple[LimitRule, ...]
    wish: CacheWish | None
    tries: AttemptRules

    @property
    def is_plain(self) -> bool:
        """Whether it is sent on as it comes, once."""
        return self.is_counted_alone and not self.limits

    @property
    def is_counted_alone(self) -> bool:
        """Whether it is sent on as it comes, once, after it was counted in the limits."""
        return self.wish is None and self.is_tried_once and not self.control.guards

    @property
    def is_tried_once(self) -> bool:
        """Whether its provider is asked once, whatever comes of that."""
        return self.tries == _ONCE


_ONCE: Final = AttemptRules()
# Kinds of work whose body says for which model it is, whatever it says of its own type.
_NAME_A_MODEL: Final = frozenset({"chat", "completion", "responses", "embeddings"})
# After these a provider may have done what it was asked to.
_MAY_BE_BILLED: Final = (UpstreamTimeout, UpstreamBroken, asyncio.CancelledError)
_MAX_COMPLAINT: Final = 64 * 1024
_FIRST_ERROR_STATUS: Final = 400


class Dispatch:
    """Sends requests on, and has their answers seen."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def terms(self, head: Head, admission: Admission) -> Terms:
        """Return what is to be done. Raises `MalformedRequest` naming the header that cannot be used."""
        known: Terms | None = admission.known(head, Terms)
        return known or admission.remember(head, Terms, self._terms(head, admission))

    def _terms(self, head: Head, admission: Admission) -> Terms:
        control = admission.rules.control
        caller = admission.caller
        limits = concerning(control.limits, caller.key_id if caller is not None else "")
        if admission.key is not None and admission.key.source == "stored":
            place = (admission.gateway, admission.provider.slug, admission.alias)
            own = self._gateway.registry.now.key_limits.get(place)
            limits = limits if own is None else (*limits, own)
        return Terms(control, limits, cache_wish(head, control.cache), attempt_rules(head, control.attempts))

    def needs_whole(self, head: Head, admission: Admission, terms: Terms) -> bool:
        """Whether the body must be there in one piece before anything is sent."""
        if governing.is_governed(admission) or observing.may_ask_for_usage(head, admission, MAX_WHOLE_BODY):
            return True
        if terms.is_plain:
            return False
        if terms.limits and kind_of(admission.rest) in _NAME_A_MODEL:
            return True
        content_type = head.header(b"content-type") or ""
        if "json" in content_type.lower() or self._gateway.guards.of(admission.rules).request:
            return True
        # A file is sent again if it fits, and streamed if it does not.
        declared = head.header(b"content-length") or ""
        return declared.isdecimal() and int(declared) <= MAX_WHOLE_BODY

    async def send(
        self,
        head: Head,
        admission: Admission,
        sent: Sent,
        entry: Entry,
        terms: Terms,
        *,
        is_last: bool = True,
    ) -> Answer:
        """Send a request; return its answer when the head of that is there. Raises `GatewayError`.

        ``is_last``: nobody else is asked after this one.
        """
        body = entry.sees_request(sent.body)
        meter = governing.begin(self._gateway.registry.broker, head, admission, sent.body)
        body, stripper = observing.asking_for_usage(admission, body)
        length = None if stripper is not None else sent.length
        is_plain = meter is not None or stripper is not None or bool(terms.control.guards)

        async def prepare(used: Admission) -> Request:
            # What is read, or taken out of, must be plain.
            request = await self._gateway.relayed_request(head, used, plain=is_plain)
            return request.with_body(body, length)

        async def fetch() -> Answer:
            used = admission
            # What comes from the client piece by piece is there once.
            if terms.is_tried_once or isinstance(body, AsyncIterator):
                request = await prepare(admission)
                entry.sent()
                response = await self._gateway.http.send(request)
            else:
                response, used = await self._gateway.attempts.send(asked, terms.tries, prepare, is_last=is_last)
                entry.served_by(used)
            return self.seen(response, used, entry, meter, stripper)

        if terms.is_plain:
            return await fetch()
        whole = sent.body if isinstance(sent.body, bytes) else b""
        reading = partial(facts_of, head, admission, whole, estimates=observing.is_spent(terms.limits))
        facts, told = await beside(work_of(head, whole), reading)
        entry.knows(told)
        asked = Asked(head, admission, whole, facts, entry)
        return await self._governed(asked, fetch, terms)

    async def _governed(self, asked: Asked, fetch: Fetch, terms: Terms) -> Answer:
        gateway, admission, entry = self._gateway, asked.admission, asked.entry
        if terms.limits:
            checking = partial(check_readable, asked.head, asked.body, terms.limits)
            await beside(work_of(asked.head, asked.body), checking)
        # Not a price of the caller's own: what is spent is not for the caller to say.
        custom = custom_cost_for(admission.rules.logging.custom_costs, asked.facts.provider, asked.facts.model)
        lease = await gateway.limiter.take(terms.limits, asked.facts, entry.charged, custom=custom)
        settle = settling(lease, entry)
        has_guards = bool(terms.control.guards)
        answer = None
        try:
            if has_guards:
                await gateway.guards.check_request(asked)
            answer = await (gateway.caching.through(asked, fetch) if terms.wish is not None else fetch())
            if entry.is_cached:
                entry.begin(answer.status, answer.headers)
                answer.body = _observed(answer.body, entry, None, None)
            if has_guards:
                answer = await gateway.guards.watch(asked, answer)
        except BaseException as error:
            await _closed(answer.aclose if answer is not None else _nothing, settle, error)
            raise
        answer.told += lease.headers()
        answer.aclose = partial(_closed, answer.aclose, settle, None)
        return answer

    def seen(
        self,
        response: Response,
        admission: Admission,
        entry: Entry,
        meter: Meter | None = None,
        stripper: UsageStripper | None = None,
    ) -> Answer:
        """Return a provider's answer, of which everything is seen that is read of it."""
        broker = self._gateway.registry.broker
        if meter is not None:
            meter.begin(response.headers)
        entry.begin(response.status, response.headers, connect_ms=response.connect_ms)
        headers: list[tuple[bytes, bytes]] = response.headers
        body: AsyncIterator[bytes] = response
        if meter is None and stripper is None:
            response.observer = entry.observer
        else:
            body = _observed(response, entry, meter, stripper)
        key = admission.key
        if response.status >= _FIRST_ERROR_STATUS and key is not None and key.is_gateways_own:
            body = _without_key(body, key.value.encode("latin-1", "replace"))
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        if stripper is not None:
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]

        async def close() -> None:
            await response.aclose()
            governing.end(broker, admission, meter)

        return Answer(response.status, headers, body, close)


def settling(lease: Lease, entry: Entry) -> Settling:
    """Return what charges a request at its end, as the exit of a context.

    What the answer states is charged; nothing for one that was kept, or never came; and what was reserved where nobody
    can tell: a provider bills what it was asked, also when nobody waited for its answer.
    """
    asked_before = entry.attempts

    async def settle(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        tokens, cost = entry.spent() if lease.counts_use else (None, None)
        is_untold = isinstance(error, _MAY_BE_BILLED) and entry.attempts > asked_before and not entry.has_answer
        await lease.settle(*((None, None) if is_untold else (tokens, cost)))

    return settle


async def _closed(close: Close, settle: Settling, error: BaseException | None) -> None:
    """Give up what is left of an answer, and then settle, whatever comes of that."""
    try:
        await close()
    except BaseException as failure:
        await settle(type(failure), failure, None)
        raise
    await settle(None if error is None else type(error), error, None)


async def _nothing() -> None:
    """There is no answer to give up."""


async def _observed(
    chunks: AsyncIterator[bytes], entry: Entry, meter: Meter | None, stripper: UsageStripper | None
) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if meter is not None:
            meter.feed(chunk)
        entry.feed(chunk)
        passed = stripper.feed(chunk) if stripper is not None else chunk
        if passed:
            yield passed
    if stripper is not None and (rest := stripper.finish()):
        yield rest


async def _without_key(chunks: AsyncIterator[bytes], key: bytes) -> AsyncIterator[bytes]:
    """Take out of a complaint the key that it is about: some providers quote what they were shown."""
    begun = bytearray()
    async for chunk in chunks:
        begun += chunk
        if len(begun) > _MAX_COMPLAINT:
            break
    yield bytes(begun).replace(key, REDACTED.encode())
    async for chunk in chunks:
        yield chunk
