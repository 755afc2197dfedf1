"""Holding requests and sessions to a gateway's limits: what they will use is taken, and settled when it is known."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Coroutine, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from trunkline.errors import LimitReached, LimitsUnavailable, SpendLimitReached
from trunkline.policy.buckets import TOLERANCE, Count
from trunkline.policy.cost import cost_of_tokens
from trunkline.policy.facts import Facts
from trunkline.policy.limits import SPENT, WHOLE, Bucket, LimitRule, Measure, buckets, prefix_of, values_in
from trunkline.policy.prices import CustomCost
from trunkline.policy.sessions import length_words
from trunkline.policy.usage import TokenUsage
from trunkline.server.limit_webhooks import LimitWebhooks
from trunkline.settings import Settings
from trunkline.store import Database
from trunkline.store.counters import (
    Counters,
    CountersAway,
    MemoryCounters,
    Settle,
    Standing,
    Take,
    ValkeyCounters,
    Verdict,
)
from trunkline.store.valkey import Valkey
from trunkline.upstream.http import HttpPool

# Of a client that would try again sooner, whatever it is told: SDKs wait for no longer than a minute.
_LONG_WAIT_SECONDS: Final = 60
_NO_RETRY: Final = (b"x-should-retry", b"false")
# So often an open session is looked at when nothing else is due.
_LOOK_SECONDS: Final = 5.0
_SOONEST_SECONDS: Final = 0.2
_FAREWELL_SECONDS: Final = 3.0
_MOST_SHOWN: Final = 100
_MOST_REMEMBERED: Final = 10_000
_MANY_TOKENS: Final = 1_000_000
_WAITS: Final = ((86400, "d"), (3600, "h"), (60, "m"))

# What the answer's headers tell of: they have whole numbers only.
_TOLD: Final[frozenset[Measure]] = frozenset({"requests", "tokens"})
_PASSING: Final[frozenset[Measure]] = frozenset({"minutes", "tokens", "cost"})

_WORDS: Final[dict[Measure, str]] = {
    "requests": "{} requests",
    "tokens": "{} tokens",
    "cost": "{} US dollars",
    "concurrent": "{} requests at once",
    "minutes": "{} minutes of sessions",
}


class UsedBucket(NamedTuple):
    """One count of a rule: ``values`` say for whom, ``resets_at`` is Unix time, None for concurrency."""

    values: dict[str, str]
    used: float
    resets_at: float | None


class Limiter:
    """All limits of this process's gateways. ``counters`` decide; this says what they are asked and what it means."""

    def __init__(
        self,
        counters: Counters,
        http: HttpPool | None = None,
        private_hosts: Collection[str] = (),
        *,
        webhooks: LimitWebhooks | None = None,
    ) -> None:
        """``http`` posts to webhooks; ``private_hosts`` are those at which they may be though they are not public."""
        self._counters = counters
        self._webhooks = webhooks or LimitWebhooks(http or HttpPool(), private_hosts)
        self._told: dict[tuple[str, str], float] = {}
        self._refused = 0
        self._beside: set[asyncio.Task[None]] = set()

    async def start(self, database: Database) -> None:
        """Take up what was counted before."""
        await self._counters.start(database)

    async def close(self) -> None:
        """Write down what is to be kept, and let webhooks be told."""
        if self._beside:
            _, late = await asyncio.wait(self._beside, timeout=_FAREWELL_SECONDS)
            for task in late:
                task.cancel()
        await self._webhooks.close()
        await self._counters.close()

    async def take(
        self, rules: Sequence[LimitRule], facts: Facts, charged: set[str], *, custom: CustomCost | None = None
    ) -> Lease:
        """Reserve what a request to one provider will use, in all buckets or in none.

        That is 1 request, 1 place of those at once, the tokens that are estimated, and what they cost by ``custom`` or
        the price list; a cost that is not known is reserved as 0 and needs only that something is left. Models that
        cost nothing need nothing. Buckets of requests and concurrency that ``charged`` names are not charged again: a
        client's request that is tried at several providers counts once. Those that are charged are added there.

        Raises `LimitReached`, or `SpendLimitReached`, with ``retry_after`` and headers, and `LimitsUnavailable`.
        """
        wanted = _wanted(buckets(rules, facts), facts, charged, custom)
        if not wanted:
            return Lease(self, (), None, charged)
        verdict = await self.judged(wanted, "request")
        charged.update(take.bucket.name for take in wanted if take.bucket.measure in WHOLE)
        return Lease(self, wanted, verdict, charged)

    def take_now(self, wanted: Sequence[Take]) -> Lease | None:
        """Take at once, where that can be; None where it is to be asked elsewhere, or where there is no room."""
        if not wanted:
            return Lease(self, (), None, set())
        counters = self._counters
        verdict = counters.take_now(wanted) if isinstance(counters, MemoryCounters) else None
        return None if verdict is None or verdict.is_refused else Lease(self, wanted, verdict, set())

    async def open_session(self, rules: Sequence[LimitRule], facts: Facts) -> SessionLease:
        """Count a realtime session as a request, and as one of those at once, until it is closed.

        Of minutes, tokens and money something must be left; they are counted as they are used. Raises as `take` does.
        """
        opening = []
        for bucket in buckets(rules, facts):
            if bucket.measure in WHOLE:
                opening.append(Take(bucket, 1.0))
            elif bucket.measure != "cost" or not _is_free(facts, None):
                opening.append(Take(bucket, 0.0))
        verdict = await self.judged(opening, "session") if opening else None
        return SessionLease(self, rules, facts, Lease(self, opening, verdict, set()))

    async def standing(self, gateway: str, rules: Sequence[LimitRule]) -> dict[str, list[UsedBucket]]:
        """Return the buckets in use of each rule, by its id: those that are used most, at most 100 of each."""
        found: dict[str, list[Standing]] = {rule.id: [] for rule in rules}
        by_prefix = {prefix_of(rule): rule for rule in rules}
        now = time.time()
        for one in await self._counters.standing(gateway):
            rule = by_prefix.get(one.name[: one.name.rfind("/") + 1])
            if rule is not None:
                found[rule.id].append(one)
        shown = {}
        for rule in rules:
            most = sorted(found[rule.id], key=lambda one: one.used, reverse=True)[:_MOST_SHOWN]
            shown[rule.id] = [
                UsedBucket(values_in(rule, one.name), one.used, now + one.resets_in if one.resets_in else None)
                for one in most
            ]
        return shown

    def beside(self, counting: Coroutine[Any, Any, None]) -> None:
        """Have something counted beside all requests; `close` waits for its end."""
        task = asyncio.create_task(counting)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def counts(self) -> dict[str, float]:
        """Return what was counted since the start, for metrics."""
        return {
            "limits_refused": self._refused,
            "limit_webhooks_failed": self._webhooks.failed,
            **self._counters.counts(),
        }

    async def judged(self, wanted: Sequence[Take], what: str) -> Verdict:
        """Take; raise what refuses a ``what``: a request, a session."""
        try:
            verdict = await self.counted(wanted)
        except CountersAway:
            raise LimitsUnavailable(
                f"The gateway refused this {what}: its limits are counted in Valkey, which is away or full, and"
                " limits_fail is 'closed'. Try again in a moment.",
                retry_after=1,
            ) from None
        over = [(count, take) for count, take in zip(verdict.counts, wanted, strict=True) if count.is_over]
        if over:
            count, take = max(over, key=lambda pair: pair[0].wait)
            raise self.refusal(take.bucket, count, take.amount, what)
        return verdict

    async def counted(self, wanted: Sequence[Take]) -> Verdict:
        """Take, and warn. Raises `CountersAway`."""
        verdict = await self._counters.take(wanted)
        self.warn([take.bucket for take in wanted], [count.used for count in verdict.counts])
        return verdict

    def refusal(self, bucket: Bucket, count: Count, amount: float, what: str) -> LimitReached:
        """Return the error of a bucket in which there is no room for an amount."""
        self._refused += 1
        rule = bucket.rule
        limit = _amount_words(rule.measure, rule.limit)
        within = "" if rule.measure == "concurrent" else f" in {length_words(rule.window)}"
        whom = f" for each {' and '.join(rule.per)}" if rule.per else ""
        is_hopeless = amount > rule.limit + TOLERANCE or not rule.limit
        retry_after = max(math.ceil(count.wait or count.resets_in), 1)
        message = f"The gateway refused this {what}: its limit {rule.id!r} allows {limit}{within}{whom}"
        if is_hopeless and amount:
            needed = _amount_words(rule.measure, amount)
            message += f", and this alone may use {needed}. Ask for less, such as by a smaller max_tokens."
        elif is_hopeless:
            message += ". Ask the gateway's administrator for more."
        else:
            message += f", and they are used. Try again in {_wait_words(retry_after)}."
        kind = SpendLimitReached if rule.measure == "cost" else LimitReached
        error = kind(message, retry_after=retry_after)
        if rule.measure in _TOLD:
            error.headers += _headers(bucket, count)
        if is_hopeless or retry_after > _LONG_WAIT_SECONDS:
            error.headers.append(_NO_RETRY)
        return error

    def warn(self, counted: Sequence[Bucket], used: Sequence[float]) -> None:
        """Tell the webhooks of buckets that are nearly used up, each once in its window."""
        for bucket, amount in zip(counted, used, strict=True):
            rule = bucket.rule
            if rule.webhook and amount >= rule.warn_at * rule.limit:
                self._tell(bucket, amount)

    def _tell(self, bucket: Bucket, used: float) -> None:
        rule, now, key = bucket.rule, time.time(), (bucket.gateway, bucket.name)
        # A window that ends later than one can was told of before the clock was set back.
        if 0.0 < self._told.get(key, 0.0) - now <= rule.window:
            return
        seconds = rule.window - now % rule.window if rule.technique == "fixed" else rule.window
        if len(self._told) > _MOST_REMEMBERED:
            self._told = {one: until for one, until in self._told.items() if until > now}
        self._told[key] = now + seconds
        told = {
            "gateway": bucket.gateway,
            "rule": rule.id,
            "measure": rule.measure,
            "bucket": dict(zip(rule.per, bucket.values, strict=True)),
            "used": used,
            "limit": rule.limit,
            "window": rule.window,
            "at": now,
        }
        # Of several processes, the first tells it.
        self._webhooks.post(rule.webhook, told, lambda: self._counters.claim(*key, seconds))


class Lease:
    """What one request has taken. It is settled or released once; whichever comes second changes nothing."""

    def __init__(self, limiter: Limiter, taken: Sequence[Take], verdict: Verdict | None, charged: set[str]) -> None:
        self._limiter = limiter
        self._taken = taken
        self._verdict = verdict
        self._charged = charged
        self._is_open = verdict is not None

    @property
    def at(self) -> float:
        """When it was taken, in Unix seconds by the clock that counts; 0 when no rule applied."""
        return self._verdict.at if self._verdict is not None else 0.0

    @property
    def counts_use(self) -> bool:
        """Whether something was taken whose amount the answer tells."""
        return any(take.bucket.measure in SPENT for take in self._taken)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what the answer tells of the limit that is nearest, of requests or of tokens; nothing without one."""
        if self._verdict is None:
            return []
        told = [
            (take.bucket, count)
            for take, count in zip(self._taken, self._verdict.counts, strict=True)
            if take.bucket.measure in _TOLD
        ]
        if len(told) > 1:
            told.sort(key=lambda pair: _left(*pair))
        return _headers(*told[0]) if told else []

    async def settle(self, tokens: int | None, cost: float | None) -> None:
        """Replace what was reserved by what was used; None is not known: the estimate stays.

        ``cost`` is in US dollars. The request is no longer one of those at once.
        """
        real: dict[Measure, float | None] = {"tokens": tokens, "cost": cost}
        changes = []
        for take, count in self._still_open():
            used = real.get(take.bucket.measure)
            if take.bucket.measure == "concurrent":
                changes.append(self._given_back(take))
            elif used is not None and not take.is_used and used != take.amount:
                changes.append(Settle(take.bucket, count.place, used - take.amount))
        await self._settle(changes)

    async def release(self) -> None:
        """Give everything back: nothing was sent."""
        changes = []
        for take, count in self._still_open():
            if take.bucket.measure == "concurrent":
                changes.append(self._given_back(take))
            elif not take.is_used:
                self._charged.discard(take.bucket.name)
                changes.append(Settle(take.bucket, count.place, -take.amount))
        await self._settle(changes)

    def _still_open(self) -> list[tuple[Take, Count]]:
        """Return what is to be settled, once."""
        if not self._is_open or self._verdict is None:
            return []
        self._is_open = False
        return list(zip(self._taken, self._verdict.counts, strict=True))

    def _given_back(self, take: Take) -> Settle:
        assert self._verdict is not None
        self._charged.discard(take.bucket.name)
        return Settle(take.bucket, lease=self._verdict.lease)

    async def _settle(self, changes: Sequence[Settle]) -> None:
        if not changes:
            return
        assert self._verdict is not None
        used = await self._verdict.counted_by.settle(changes)
        self._limiter.warn([change.bucket for change in changes], used)


class SessionLease:
    """What one realtime session has taken, and takes as it goes on.

    ``rules`` and ``facts`` may be replaced while it is open: when an administrator changes the rules, and when another
    provider takes over.
    """

    def __init__(self, limiter: Limiter, rules: Sequence[LimitRule], facts: Facts, lease: Lease) -> None:
        self.rules = rules
        self._limiter = limiter
        self.facts = facts
        self._lease = lease
        self._owed: dict[Measure, float] = dict.fromkeys(_PASSING, 0.0)
        self._look_in = _LOOK_SECONDS

    @property
    def is_limited(self) -> bool:
        """Whether some rule counts what the session uses as it goes on."""
        return bool(self._passing())

    @property
    def look_in(self) -> float | None:
        """In how many seconds to `tick` again at the latest, or None while no rule needs it."""
        return self._look_in if self.is_limited else None

    async def tick(self, seconds: float, tokens: int = 0, cost: float = 0.0) -> None:
        """Count what was used since the last time: seconds, tokens, US dollars.

        Raises `LimitReached` or `SpendLimitReached` when nothing is left of something: the session ends then. While
        nothing can be counted it goes on, and is counted later.
        """
        owed = self._owed
        owed["minutes"] += seconds / 60
        owed["tokens"] += tokens
        owed["cost"] += cost
        self._owed = dict.fromkeys(_PASSING, 0.0)
        used = [Take(bucket, owed[bucket.measure], is_used=True) for bucket in self._passing()]
        if not used:
            return
        try:
            verdict = await self._limiter.counted(used)
        except CountersAway:
            for measure, amount in owed.items():
                self._owed[measure] += amount
            return
        self._look_in = _LOOK_SECONDS
        for take, count in zip(used, verdict.counts, strict=True):
            left = take.bucket.limit - count.used
            if left <= TOLERANCE:
                raise self._limiter.refusal(take.bucket, count, 0.0, "session")
            if take.bucket.measure == "minutes":
                self._look_in = max(min(self._look_in, left * 60), _SOONEST_SECONDS)

    async def close(self) -> None:
        """Give the session's place back; a second time changes nothing."""
        await self._lease.settle(None, None)

    async def release(self) -> None:
        """Give everything back: there was no session after all."""
        await self._lease.release()

    def _passing(self) -> list[Bucket]:
        found = [bucket for bucket in buckets(self.rules, self.facts) if bucket.measure in _PASSING]
        return [bucket for bucket in found if bucket.measure != "cost" or not _is_free(self.facts, None)]


def counters_for(settings: Settings, valkey: Valkey | None) -> Counters:
    """Return where the settings have limits counted: in Valkey, where there is one, else in this process."""
    if valkey is None:
        return MemoryCounters()
    return ValkeyCounters(valkey, fails_open=settings.limits_fail == "open")


def _wanted(found: Sequence[Bucket], facts: Facts, charged: set[str], custom: CustomCost | None) -> list[Take]:
    wanted = []
    for bucket in found:
        match bucket.measure:
            case "requests" if bucket.name in charged:
                wanted.append(Take(bucket, 0.0, is_used=True))  # for the answer's headers
            case "concurrent" if bucket.name in charged:
                continue
            case "requests" | "concurrent":
                wanted.append(Take(bucket, 1.0))
            case "tokens":
                wanted.append(Take(bucket, float(facts.tokens_in + facts.tokens_out)))
            case "cost":
                estimate = _cost(facts, facts.tokens_in, facts.tokens_out, custom)
                if estimate or not _is_free(facts, custom):
                    wanted.append(Take(bucket, estimate or 0.0))
            case "minutes":  # of sessions alone
                continue
    return wanted


def _cost(facts: Facts, tokens_in: int, tokens_out: int, custom: CustomCost | None) -> float | None:
    return cost_of_tokens(facts.provider, facts.model, TokenUsage(input=tokens_in, output=tokens_out), custom)


def _is_free(facts: Facts, custom: CustomCost | None) -> bool:
    """Whether a model is known to cost nothing, however much of it is used."""
    return _cost(facts, _MANY_TOKENS, _MANY_TOKENS, custom) == 0.0


def _left(bucket: Bucket, count: Count) -> float:
    """Return which part of a limit is left."""
    return (bucket.limit - count.used) / bucket.limit if bucket.limit else 0.0


def _headers(bucket: Bucket, count: Count) -> list[tuple[bytes, bytes]]:
    limit, policy = _rule_headers(bucket.rule.id, bucket.limit, bucket.window)
    left = math.floor(bucket.limit - count.used + TOLERANCE)
    return [
        limit,
        (b"ratelimit-remaining", b"%d" % max(0, left)),
        (b"ratelimit-reset", b"%d" % math.ceil(count.resets_in)),
        policy,
    ]


@lru_cache(maxsize=1024)
def _rule_headers(rule: str, limit: float, window: int) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    allowed = b"%.0f" % limit
    return (b"ratelimit-limit", allowed), (b"ratelimit-policy", b'"%b";q=%b;w=%d' % (rule.encode(), allowed, window))


def _amount_words(measure: Measure, amount: float) -> str:
    return _WORDS[measure].format(f"{amount:.6f}".rstrip("0").rstrip("."))


def _wait_words(seconds: int) -> str:
    size, unit = next(((size, unit) for size, unit in _WAITS if seconds >= 2 * size), (1, "s"))
    return f"{math.ceil(seconds / size)}{unit}"
