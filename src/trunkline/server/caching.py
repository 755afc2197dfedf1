"""Answers that are given again: from the cache, or from the answer that somebody else is getting just now.

Of identical requests at the same time one is sent on. The others get its answer as it comes, when it is one that may be
kept; otherwise each has its own try, one after the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from trunkline.errors import first_line
from trunkline.policy.caching import (
    OURS_HEADER,
    STATUS_HEADER,
    CacheRules,
    CacheWish,
    cache_key,
    cache_wish,
    declared_length,
    identity_of,
    is_cacheable,
    is_stream,
    is_whole,
    kept_headers,
    key_name,
    pieces,
    query_without,
    question_of,
    variant_of,
)
from trunkline.policy.facts import Facts
from trunkline.policy.registry import GatewayRules
from trunkline.server.answer import Answer, Asked
from trunkline.server.beside import LONG
from trunkline.server.registry import LiveRegistry
from trunkline.server.sharing import Reader, SharedAnswer
from trunkline.server.similarity import Similarity, Sought, words_of
from trunkline.store.cache import CacheStore, KeptAnswer, Place, Purge

log = structlog.get_logger("trunkline.cache")

Fetch = Callable[[], Awaitable[Answer]]
Headers = Sequence[tuple[bytes, bytes]]

HIT: Final = (STATUS_HEADER, b"HIT")
_MISS: Final = (STATUS_HEADER, b"MISS")
_OK: Final = 200
# How often somebody waits for another's answer in vain, before asking for an own one beside all others.
_PATIENCE: Final = 2
# So many requests are remembered whose answers were kept ones: anybody may send some.
_MOST_KNOWN: Final = 8192
_numbers: Final = itertools.count()


class Bodies:
    """Tells apart the bodies that come with heads alike: the same bytes ask for the same. Kept with those heads."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = hashlib.blake2b(next(_numbers).to_bytes(8, "big"), digest_size=32)

    def mark(self, body: bytes) -> bytes:
        """Return what only such a head with this body has."""
        own = self._begun.copy()
        own.update(body)
        return own.digest()


class Known(NamedTuple):
    """A request whose answer was a kept one: where that is, and what the request says."""

    place: Place
    facts: Facts


class CacheStats(NamedTuple):
    """What a gateway's cache holds, and what it did in this process since its start."""

    entries: int
    bytes: int
    hits: int
    misses: int


class Caching:
    """The cache of all gateways, as this process sees it."""

    def __init__(
        self,
        store: CacheStore,
        registry: LiveRegistry | None = None,
        similarity: Similarity | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``registry``: whose gateways' changes may empty their caches. Without ``similarity`` none is semantic."""
        self._store = store
        self._registry = registry
        self._similarity = similarity
        self._now = now
        self._flights: dict[str, _Flight] = {}
        self._shared: set[SharedAnswer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._known: dict[bytes, Known] = {}
        self._gateways: Mapping[str, GatewayRules] = {}
        self._hits: Counter[str] = Counter()
        self._misses: Counter[str] = Counter()

    async def start(self) -> None:
        """Begin to watch for changes of the gateways."""
        if self._registry is not None:
            self._gateways = dict(self._registry.now.gateways)
            self._registry.on_change(self._gateways_changed)

    async def close(self) -> None:
        """Give up what is on its way, write what waits, and close the store."""
        for shared in list(self._shared):
            await shared.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._similarity is not None:
            await self._similarity.close()
        await self._store.close()

    async def through(self, asked: Asked, fetch: Fetch) -> Answer:
        """Return a kept answer, one that is on its way, or what ``fetch`` gets.

        The answer then says in ``cf-aig-cache-status`` whether it was kept; a request that is not cached says nothing.
        Raises `MalformedRequest` for a header that cannot be used, and whatever ``fetch`` raises.
        """
        rules = asked.admission.rules.control.cache
        wish = cache_wish(asked.head, rules)
        if wish is None or not is_cacheable(asked.head, asked.facts, asked.body, wish):
            return await fetch()
        place = _place(asked, wish)
        patience = _PATIENCE
        while patience:
            flight = self._flights.get(place.key)
            if flight is None:
                return await self._lead(asked, _Work(place, wish, rules), fetch)
            outcome = await flight.outcome()
            if isinstance(outcome, KeptAnswer):
                return self._hit(asked, outcome.headers, outcome.body)
            if isinstance(outcome, SharedAnswer):
                answer = await self._follow(asked, outcome)
                if answer is not None:
                    return answer
                patience -= 1
            elif outcome is _Landed.ALONE:
                break
            elif outcome is _Landed.FAILED:
                patience -= 1
        return self._miss(asked, await fetch())

    def at_hand(self, bodies: Bodies, body: bytes) -> tuple[Facts, KeptAnswer] | None:
        """Return a kept answer to a request that had one before, with what that says, if nobody need wait for it.

        Whoever gives it tells by `gave`.
        """
        known = self._known.get(bodies.mark(body))
        if known is None:
            return None
        answer = self._store.at_hand(known.place)
        return None if answer is None else (known.facts, answer)

    def gave(self, gateway: str) -> None:
        """Count an answer that was kept."""
        self._hits[gateway] += 1

    async def purge(
        self, gateway: str, *, key: str | None = None, model: str | None = None, provider: str | None = None
    ) -> int:
        """Remove what is kept of a gateway, all of it or what fits; return how many entries.

        ``key`` is one that callers named in ``cf-aig-cache-key``. What is on its way is not kept either. Raises
        `GatewayError` when that cannot be done just now.
        """
        wanted = Purge(gateway, provider, model, key)
        # Nor is it given to anybody who asks from now on.
        for flight in [flight for flight in self._flights.values() if wanted.fits(flight.place)]:
            self._land(flight)
        return await self._store.purge(wanted)

    async def stats(self, gateway: str) -> CacheStats:
        """Return what a gateway's cache holds and did. Raises `GatewayError` when that cannot be told just now."""
        size = await self._store.size(gateway)
        return CacheStats(size.entries, size.bytes, self._hits[gateway], self._misses[gateway])

    # Whoever asks first

    async def _lead(self, asked: Asked, work: _Work, fetch: Fetch) -> Answer:
        flight = self._flights[work.place.key] = _Flight(work.place)
        try:
            found = await self._store.find(work.place)
            if found.answer is not None:
                flight.land(found.answer)
                self._remember(asked, work.place)
                return self._hit(asked, found.answer.headers, found.answer.body)
            sought = await self._seek(asked, work)
            alike = await self._alike(asked, sought, work.rules)
            if alike is not None:
                flight.land(_Landed.LEFT)
                return alike
            answer = await fetch()
            if not _may_be_kept(answer, work.rules):
                flight.land(_Landed.ALONE)
                return self._miss(asked, answer)
            shared = self._share(asked, answer, flight, work, found.mark, sought)
            flight.land(shared)
        except asyncio.CancelledError:
            flight.land(_Landed.LEFT)
            raise
        except Exception:
            flight.land(_Landed.FAILED)
            raise
        finally:
            if not flight.is_shared:
                self._land(flight)
        reader = shared.reader()
        assert reader is not None  # nobody else could read yet
        return self._miss(asked, Answer(answer.status, answer.headers, reader, reader.aclose, answer.told))

    def _share(
        self,
        asked: Asked,
        answer: Answer,
        flight: _Flight,
        work: _Work,
        mark: int | bytes | None,
        sought: Sought | None,
    ) -> SharedAnswer:
        """Have an answer read for all who ask for it, and recorded beside that."""

        def ended(body: bytes | None) -> None:
            self._shared.discard(shared)
            if body is None:
                self._land(flight)
            else:
                self._later(self._keep(asked, shared, flight, work, mark, sought, body))

        shared = SharedAnswer(answer, work.rules.max_bytes, ended)
        self._shared.add(shared)
        return shared

    async def _keep(
        self,
        asked: Asked,
        shared: SharedAnswer,
        flight: _Flight,
        work: _Work,
        mark: int | bytes | None,
        sought: Sought | None,
        body: bytes,
    ) -> None:
        try:
            if await self._is_good(asked, shared, body):
                now = self._now()
                kept = KeptAnswer(kept_headers(shared.headers), body, now, now + work.wish.ttl)
                await self._store.keep(work.place, kept, mark)
                if sought is not None and self._similarity is not None:
                    self._similarity.add(sought, work.place)
        finally:
            # Only now: who comes until then reads what is here, and who comes then finds what is kept.
            self._land(flight)

    @staticmethod
    async def _is_good(asked: Asked, shared: SharedAnswer, body: bytes) -> bool:
        judged = (asked.admission.provider, asked.facts.path, shared.headers, body)
        if len(body) <= LONG:
            return is_whole(*judged)
        if shared.verdict is None:
            shared.verdict = asyncio.ensure_future(asyncio.to_thread(is_whole, *judged))
        return await asyncio.shield(shared.verdict)

    def _land(self, flight: _Flight) -> None:
        """Have nobody else wait for a request."""
        if self._flights.get(flight.place.key) is flight:
            del self._flights[flight.place.key]

    # Whoever asks meanwhile

    async def _follow(self, asked: Asked, shared: SharedAnswer) -> Answer | None:
        """Return the answer that somebody else is getting, or None where it came to nothing.

        Of a stream the first piece is waited for, of others the last: until then nothing is lost by its failing.
        """
        reader = shared.reader()
        if reader is None:
            return None
        headers = kept_headers(shared.headers)
        try:
            if is_stream(shared.headers):
                await reader.wait_for_first()
                return self._hit(asked, headers, reader)
            pieces = [chunk async for chunk in reader]
            # One for all of them, however many there are.
            body = shared.whole if shared.whole is not None else b"".join(pieces)
            is_good = await self._is_good(asked, shared, body)
        except asyncio.CancelledError:
            await reader.aclose()
            raise
        except Exception as error:
            log.debug("an answer that was shared broke off", why=first_line(error))
            await reader.aclose()
            return None
        await reader.aclose()
        return self._hit(asked, headers, body) if is_good else None

    # Questions that are alike

    async def _seek(self, asked: Asked, work: _Work) -> Sought | None:
        """Return a question as it is compared, where the gateway compares any."""
        if self._similarity is None or not work.rules.semantic or work.wish.key or asked.facts.kind != "chat":
            return None
        question = question_of(asked.body)
        if question is None:
            return None
        scope = _key_of(asked, work.wish, question.rest)
        return await self._similarity.seek(scope, question.text)

    async def _alike(self, asked: Asked, sought: Sought | None, rules: CacheRules) -> Answer | None:
        """Return the kept answer to a question that is enough like it."""
        if sought is None or self._similarity is None:
            return None
        for near in self._similarity.near(sought, rules.semantic):
            kept = (await self._store.find(near.place)).answer
            if kept is not None:
                answer = self._hit(asked, kept.headers, kept.body)
                answer.told.append((OURS_HEADER, f"semantic; similarity={words_of(near.similarity)}".encode()))
                return answer
        return None

    # Answers

    def _remember(self, asked: Asked, place: Place) -> None:
        """Keep what a request asks for, which is found by reading all of it, where others alike are expected."""
        bodies: Bodies | None = asked.admission.known(asked.head, Bodies)
        if bodies is None:
            return
        while len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[bodies.mark(asked.body)] = Known(place, asked.facts)

    def _hit(self, asked: Asked, headers: Headers, body: bytes | Reader) -> Answer:
        self.gave(asked.admission.gateway)
        asked.entry.from_cache()
        if isinstance(body, Reader):
            return Answer(_OK, [*headers], body, body.aclose, [HIT])
        return Answer(_OK, headers_of(headers, body), _replayed(headers, body), _nothing, [HIT])

    def _miss(self, asked: Asked, answer: Answer) -> Answer:
        self._misses[asked.admission.gateway] += 1
        answer.told.append(_MISS)
        return answer

    # Changes

    def _gateways_changed(self) -> None:
        assert self._registry is not None
        before, self._gateways = self._gateways, dict(self._registry.now.gateways)
        for name, rules in before.items():
            now = self._gateways.get(name)
            if now is None or (now != rules and _empties(rules, now)):
                self._later(self._empty(name))

    async def _empty(self, gateway: str) -> None:
        removed = await self.purge(gateway)
        log.info("the cache of a gateway that changed was emptied", gateway=gateway, entries=removed)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the cache could not do its work", why=first_line(error) if isinstance(error, Exception) else "")


class _Work(NamedTuple):
    place: Place
    wish: CacheWish
    rules: CacheRules


class _Landed(Enum):
    """What comes of a request that others wait for, where that is no answer for them."""

    LEFT = "whoever sent it left, or it is to be looked up again"
    FAILED = "it failed"
    ALONE = "its answer is for nobody else"


class _Flight:
    """A request that is on its way, for those who ask the same."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._outcome: asyncio.Future[KeptAnswer | SharedAnswer | _Landed] = asyncio.get_running_loop().create_future()

    @property
    def is_shared(self) -> bool:
        return self._outcome.done() and isinstance(self._outcome.result(), SharedAnswer)

    async def outcome(self) -> KeptAnswer | SharedAnswer | _Landed:
        return await asyncio.shield(self._outcome)

    def land(self, outcome: KeptAnswer | SharedAnswer | _Landed) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)


def _place(asked: Asked, wish: CacheWish) -> Place:
    facts, gateway = asked.facts, asked.admission.gateway
    key = _key_of(asked, wish, asked.body)
    return Place(key, gateway, facts.provider, facts.model, key_name(gateway, wish.key))


def _key_of(asked: Asked, wish: CacheWish, body: bytes) -> str:
    head, admission, facts = asked.head, asked.admission, asked.facts
    via, shown = admission.via, admission.key
    variant = variant_of(head, is_known=not admission.provider.slug.startswith("custom-"))
    if wish.key and admission.caller is not None:
        # What such a caller puts under a name, or finds there, is no other model's, and no other user's.
        if admission.is_restricted:
            variant.append(f"model: {facts.model}")
        if admission.secret is not None:
            variant.append(f"secret: {admission.caller.id}")
    if admission.rules.control.cache.invalidate_on_update:
        # What was kept before a change is then found by nobody, on no machine, whenever they learn of it.
        variant.append(msgspec.json.encode(admission.rules, order="deterministic").decode())
    return cache_key(
        gateway=admission.gateway,
        provider=facts.provider,
        path=facts.path,
        query=query_without(head.query, admission.provider.query_names),
        model=facts.model,
        identity=identity_of(
            admission.provider,
            shown.value if shown is not None else "",
            shown.source if shown is not None else "",
            f"{via.base_url} {via.token} {admission.alias}" if via is not None else "",
        ),
        body=body,
        content_type=head.header(b"content-type") or "",
        key=wish.key,
        stream=facts.stream,
        variant=variant,
    )


def _may_be_kept(answer: Answer, rules: CacheRules) -> bool:
    return answer.status == _OK and declared_length(answer.headers) <= rules.max_bytes


def _empties(before: GatewayRules, now: GatewayRules) -> bool:
    return before.control.cache.invalidate_on_update or now.control.cache.invalidate_on_update


def headers_of(headers: Headers, body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of a kept answer as it is given again."""
    return [*headers] if is_stream(headers) else [*headers, (b"content-length", b"%d" % len(body))]


async def _replayed(headers: Headers, body: bytes) -> AsyncIterator[bytes]:
    for piece in pieces(headers, body):
        yield piece


async def _nothing() -> None:
    """Give up nothing: the body is all there."""
