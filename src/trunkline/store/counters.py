"""What is used of limits, counted: in this process, or in Valkey for all processes of all machines alike.

What a request will use is taken before it is sent, in all its buckets or, when there is no room in one, in none; when
it is known what was used, that is settled in the same places. A place of something that is still going on, such as a
request of a limited concurrency, is a lease.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

import msgspec
import structlog
from sqlalchemy import delete, select

from trunkline.errors import first_line
from trunkline.policy.buckets import SECOND, Count, Shape, Slots, is_over, shape_of
from trunkline.policy.limits import Bucket, window_in
from trunkline.store.database import AWAY, Database
from trunkline.store.schema.control import limit_counts

if TYPE_CHECKING:
    from trunkline.store.valkey import Valkey

Result = TypeVar("Result")

log = structlog.get_logger("trunkline.limits")

# Counts of shorter windows are forgotten by a restart: it takes a good part of them anyway.
KEPT_WINDOW: Final = 3600
_FLUSH_SECONDS: Final = 1.0
_CLEAN_SECONDS: Final = 60.0
_ROWS: Final = 500
# That of the column; only a gateway with a very long name in the settings comes near it.
_LONGEST_NAME: Final = 300
# Callers may choose the values that have a bucket each: beyond so many of a rule, those go that were not used longest.
# What is made up for one rule takes nothing from another.
_MOST_BUCKETS: Final = 50_000
_MOST_CLAIMS: Final = 10_000

# A process that was killed gives its leases back after so long.
LEASE_SECONDS: Final = 30.0
_RENEW_SECONDS: Final = 10.0
# Of the list of a gateway's buckets, which only people read.
_MOST_LISTED: Final = 10_000
_INDEX_MILLISECONDS: Final = 32_000_000_000
_LOOKED_AT_ONCE: Final = 500
_MOST_UNSETTLED: Final = 10_000


class CountersAway(Exception):
    """Nothing can be counted now, and nothing is to pass uncounted."""


class Take(msgspec.Struct, frozen=True):
    """So much of a bucket. ``is_used``: it was used already, and counts whether there was room for it or not."""

    bucket: Bucket
    amount: float
    is_used: bool = False


class Settle(msgspec.Struct, frozen=True):
    """What a take was too small by (``change``; negative: too large). ``place`` and ``lease`` are what it got.

    For concurrency it gives the lease back, and ``change`` means nothing.
    """

    bucket: Bucket
    place: int = 0
    change: float = 0.0
    lease: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What became of a take: a count for each bucket, in their order.

    ``at`` is the Unix time by the clock that counts, ``counted_by`` where to settle.
    """

    at: float
    counts: Sequence[Count]
    lease: str
    counted_by: Counters

    @property
    def is_refused(self) -> bool:
        """Whether some bucket had no room, so that nothing was taken."""
        return any(count.is_over for count in self.counts)


class Standing(NamedTuple):
    """How a bucket stands, by its name; ``resets_in`` is in seconds, 0 for concurrency."""

    name: str
    used: float
    resets_in: float


class Counters(Protocol):
    """Where is counted. Nothing is ever above a limit by takes alone; only what is settled can bring it there."""

    async def start(self, database: Database) -> None:
        """Begin; called once."""

    async def close(self) -> None:
        """Write down what is to be kept."""

    async def take(self, wanted: Sequence[Take]) -> Verdict:
        """Take all of it, or nothing. All buckets are one gateway's. Raises `CountersAway`."""

    async def settle(self, changes: Sequence[Settle]) -> Sequence[float]:
        """Replace what was taken by what was used; return how much each bucket then counts.

        What was taken in a window that has passed is gone with it. It does not fail: what cannot be settled now is
        settled later, or given up.
        """

    async def claim(self, gateway: str, name: str, seconds: float) -> bool:
        """Return True to the first who asks for a name within so many seconds, and False to all others."""

    async def standing(self, gateway: str) -> list[Standing]:
        """Return the buckets of a gateway that are in use, at most some thousands."""

    def counts(self) -> dict[str, float]:
        """Return what was counted about the counting itself since the start, for metrics."""


class MemoryCounters:
    """Counts of this process alone. Those of long windows outlast it, in the database."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._slots: dict[tuple[str, str], OrderedDict[str, Slots]] = {}
        self._leases: dict[tuple[str, str], set[str]] = {}
        self._claims: dict[tuple[str, str], float] = {}
        self._changed: set[tuple[tuple[str, str], int]] = set()
        self._database: Database | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._is_failing = False
        self._latest = self._cleaned_at = 0.0

    async def start(self, database: Database) -> None:
        """Read what earlier processes counted, and begin to write down."""
        now = self._time()
        async with database.reading() as connection:
            kept = select(limit_counts).where(limit_counts.c.expires_at > now)
            rows = (await connection.execute(kept)).all()
        for row in rows:
            gateway, _, name = row.bucket.partition("/")
            window = window_in(name)
            if window is not None:
                key = (gateway, name)
                slots = self._slots_of(key, shape_of(*window))
                place = slots.place_at(row.start)
                slots.add(place, row.amount, now)
                if place > slots.place(now):  # of before the clock was set back
                    self._changed |= {(key, place), (key, slots.place(now))}
        self._database = database
        self._flushing = asyncio.create_task(self._flush_regularly())

    async def close(self) -> None:
        """Write down what is not yet."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
            await self._flush()

    async def take(self, wanted: Sequence[Take]) -> Verdict:
        """Take all of it, or nothing."""
        return self.take_now(wanted)

    def take_now(self, wanted: Sequence[Take]) -> Verdict:
        """As `take`, which has nothing to wait for here."""
        now = self._time()
        found = [self._slots_for(take.bucket) for take in wanted]
        standing = [self._count(take, slots, now) for take, slots in zip(wanted, found, strict=True)]
        lease = ""
        for take, count in zip(wanted, standing, strict=True):
            if count.is_over:
                return Verdict(now, standing, "", self)
            if take.bucket.measure == "concurrent":
                lease = lease or secrets.token_hex(8)
        counts = [
            self._taken(take, slots, count, lease, now)
            for take, slots, count in zip(wanted, found, standing, strict=True)
        ]
        return Verdict(now, counts, lease, self)

    async def settle(self, changes: Sequence[Settle]) -> Sequence[float]:
        """Replace what was taken by what was used."""
        now = self._time()
        return [self._settled(change, now) for change in changes]

    async def claim(self, gateway: str, name: str, seconds: float) -> bool:
        """Return True to the first who asks for a name within so many seconds, and False to all others."""
        now = self._time()
        if self._claims.get((gateway, name), 0.0) > now:
            return False
        if len(self._claims) > _MOST_CLAIMS:
            self._claims = {key: until for key, until in self._claims.items() if until > now}
        self._claims[gateway, name] = now + seconds
        return True

    async def standing(self, gateway: str) -> list[Standing]:
        """Return the buckets of a gateway that are in use."""
        now = self._time()
        leases = [Standing(name, len(held), 0.0) for (owner, name), held in self._leases.items() if owner == gateway]
        found = [
            Standing(name, used, slots.resets_in(now))
            for (owner, _), of_rule in self._slots.items()
            if owner == gateway
            for name, slots in of_rule.items()
            if (used := slots.used(now)) > 0
        ]
        return leases + found

    def counts(self) -> dict[str, float]:
        """There is nothing to tell."""
        return {}

    def _time(self) -> float:
        """Return the time. When the clock was set back, what was counted of later counts as of now."""
        now = self._now()
        if now < self._latest:
            for rule, of_rule in self._slots.items():
                for name, slots in of_rule.items():
                    moved = slots.set_back(now)
                    if moved and _is_kept(slots.shape):
                        self._changed.update(((rule[0], name), place) for place in moved)
            self._claims.clear()
            self._cleaned_at = min(self._cleaned_at, now)
        self._latest = now
        return now

    def _slots_for(self, bucket: Bucket) -> Slots | None:
        """Return the counts of a bucket, or None for one of concurrency, which has leases."""
        if bucket.measure == "concurrent":
            return None
        return self._slots_of(_key(bucket), shape_of(bucket.window, bucket.technique))

    def _count(self, take: Take, slots: Slots | None, now: float) -> Count:
        """Return how a bucket stands, before anything is taken."""
        bucket = take.bucket
        if slots is None:
            held = len(self._leases.get(_key(bucket), ()))
            return Count(held, wait=1.0, is_over=is_over(held, take.amount, bucket.limit))
        used, place = slots.used(now), slots.place(now)
        if take.is_used or not is_over(used, take.amount, bucket.limit):
            return Count(used, resets_in=slots.resets_in(now), place=place)
        return Count(used, slots.wait(take.amount, bucket.limit, now), slots.resets_in(now), place, is_over=True)

    def _taken(self, take: Take, slots: Slots | None, count: Count, lease: str, now: float) -> Count:
        """Take what there was found to be room for."""
        if slots is None:
            held = self._leases.setdefault(_key(take.bucket), set())
            held.add(lease)
            return Count(len(held))
        self._add(_key(take.bucket), slots, count.place, take.amount, now)
        return Count(slots.used(now), resets_in=slots.resets_in(now), place=count.place)

    def _settled(self, change: Settle, now: float) -> float:
        bucket, key = change.bucket, _key(change.bucket)
        if bucket.measure == "concurrent":
            held = self._leases.get(key, set())
            held.discard(change.lease)
            if not held:
                self._leases.pop(key, None)
            return len(held)
        slots = self._slots_of(key, shape_of(bucket.window, bucket.technique))
        self._add(key, slots, change.place, change.change, now)
        return slots.used(now)

    def _add(self, key: tuple[str, str], slots: Slots, place: int, amount: float, now: float) -> None:
        if slots.add(place, amount, now) and amount and _is_kept(slots.shape):
            self._changed.add((key, place))

    def _slots_of(self, key: tuple[str, str], shape: Shape) -> Slots:
        of_rule, name = self._slots.setdefault(_rule_of(key), OrderedDict()), key[1]
        slots = of_rule.get(name)
        if slots is not None:
            of_rule.move_to_end(name)
            return slots
        slots = of_rule[name] = Slots(shape)
        if len(of_rule) > _MOST_BUCKETS:
            of_rule.popitem(last=False)
        return slots

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        """Write changes down, and forget what has passed. What cannot be written is tried again the next time."""
        assert self._database is not None
        now = self._time()
        cleans = now - self._cleaned_at > _CLEAN_SECONDS
        if not (self._changed or cleans):
            return
        changed, self._changed = self._changed, set()
        if cleans:
            self._forget(now)
        try:
            async with self._database.transaction() as connection:
                for rows in _batches(self._rows(changed)):
                    written = self._database.insert(limit_counts).values(rows)
                    fresh = {name: written.excluded[name] for name in ("amount", "expires_at")}
                    await connection.execute(
                        written.on_conflict_do_update(index_elements=["bucket", "start"], set_=fresh)
                    )
                if cleans:
                    await connection.execute(delete(limit_counts).where(limit_counts.c.expires_at <= now))
        except asyncio.CancelledError:
            self._changed |= changed
            raise
        except AWAY as error:
            self._changed |= changed
            if not self._is_failing:
                log.error("counts of limits cannot be written down", why=first_line(error))
            self._is_failing = True
        else:
            self._is_failing = False
            self._cleaned_at = now if cleans else self._cleaned_at

    def _rows(self, changed: Iterable[tuple[tuple[str, str], int]]) -> list[dict[str, Any]]:
        rows = []
        for (gateway, name), place in changed:
            of_rule = self._slots.get(_rule_of((gateway, name)))
            slots = of_rule.get(name) if of_rule is not None else None
            bucket = f"{gateway}/{name}"
            if slots is not None and len(bucket) <= _LONGEST_NAME:
                amount, leaves = slots.amount(place), slots.leaves(place)
                rows.append({"bucket": bucket, "start": slots.start(place), "amount": amount, "expires_at": leaves})
        return rows

    def _forget(self, now: float) -> None:
        for rule, of_rule in list(self._slots.items()):
            for name in [name for name, slots in of_rule.items() if not slots.used(now)]:
                del of_rule[name]
            if not of_rule:
                del self._slots[rule]


class ValkeyCounters:
    """Counts that all processes share. Each take is one script: one round trip, and one step for everybody.

    While Valkey is away, or full, requests are counted in this process (``fails_open``), or none pass. What was counted
    here meanwhile is not carried over; what was taken there before is settled when it is back. A command whose answer
    was lost may have been carried out, and is sent once more: the count then errs by one request.
    """

    def __init__(self, valkey: Valkey, *, fails_open: bool = True) -> None:
        self._valkey = valkey
        self._fails_open = fails_open
        self._script = valkey.client.register_script(
            files("trunkline.store").joinpath("counters.lua").read_text(encoding="utf-8")
        )
        self._local = MemoryCounters()
        self._held: dict[tuple[str, str], set[str]] = {}
        self._unsettled: deque[Sequence[Settle]] = deque(maxlen=_MOST_UNSETTLED)
        self._settling: set[asyncio.Task[Any]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._counted_here = 0

    async def start(self, database: Database) -> None:
        """Begin to renew leases."""
        self._renewing = asyncio.create_task(self._renew_regularly())

    async def close(self) -> None:
        """Settle what is still to be settled. The connection stays open: it is shared."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        while self._settling:
            await asyncio.gather(*self._settling, return_exceptions=True)
        await self._settle_the_rest()

    async def take(self, wanted: Sequence[Take]) -> Verdict:
        """Take all of it, or nothing. Raises `CountersAway`. Who is cancelled meanwhile has taken nothing."""
        taking = asyncio.create_task(self._take(wanted))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._later(self._give_back(wanted, taking))
            raise

    async def _take(self, wanted: Sequence[Take]) -> Verdict:
        lease = secrets.token_hex(8) if any(take.bucket.measure == "concurrent" for take in wanted) else ""
        gateway = wanted[0].bucket.gateway
        values: list[Any] = ["take", lease, int(LEASE_SECONDS * SECOND), _INDEX_MILLISECONDS, _MOST_LISTED]
        for take in wanted:
            bucket = take.bucket
            values += [*_shape(bucket), repr(bucket.limit), repr(take.amount), int(take.is_used), bucket.name]
        found = await self._run([*(_place(take.bucket) for take in wanted), _index(gateway)], values)
        if found is None:
            if not self._fails_open:
                raise CountersAway
            self._counted_here += 1
            return await self._local.take(wanted)
        at, *rest = found
        counts = [_count(*rest[number : number + 5]) for number in range(0, len(rest), 5)]
        verdict = Verdict(int(at) / SECOND, counts, lease, self)
        if not verdict.is_refused and any(take.amount for take in wanted):
            self._valkey.wrote()
        if lease and not verdict.is_refused:
            for take in wanted:
                if take.bucket.measure == "concurrent":
                    self._held.setdefault(_key(take.bucket), set()).add(lease)
        return verdict

    async def settle(self, changes: Sequence[Settle]) -> Sequence[float]:
        """Replace what was taken by what was used, also when whoever asks is cancelled meanwhile."""
        for change in changes:
            held = self._held.get(_key(change.bucket))
            if held is not None:
                held.discard(change.lease)
                if not held:
                    del self._held[_key(change.bucket)]
        return await asyncio.shield(self._later(self._settle(changes)))

    async def claim(self, gateway: str, name: str, seconds: float) -> bool:
        """Return True to the first who asks for a name within so many seconds, and False to all others."""
        if self._valkey.refuses:
            return await self._local.claim(gateway, name, seconds)
        key = f"{_prefix(gateway)}claim:{name}"
        try:
            got = await self._valkey.client.set(key, "1", nx=True, px=max(int(seconds * 1000), 1))
        except _errors() as error:
            self._valkey.failed(error)
            return await self._local.claim(gateway, name, seconds)
        return bool(got)

    async def standing(self, gateway: str) -> list[Standing]:
        """Return the buckets of a gateway in use; of this process alone while Valkey is away or full."""
        if self._valkey.refuses and not self._valkey.is_resting:  # what is taken now is counted here
            return await self._local.standing(gateway)
        try:
            listed: Any = await self._valkey.client.zrange(_index(gateway), 0, -1)
        except _errors() as error:
            self._valkey.failed(error)
            return await self._local.standing(gateway)
        names = [name.decode() for name in listed]
        standing = []
        for start in range(0, len(names), _LOOKED_AT_ONCE):
            some = names[start : start + _LOOKED_AT_ONCE]
            values = ["look", *(value for name in some for value in _shape_of(name))]
            found = await self._run([f"{_prefix(gateway)}{name}" for name in some], values, writes=False) or []
            pairs = zip(some, found[::2], found[1::2], strict=False)
            standing += [Standing(name, float(used), int(resets) / SECOND) for name, used, resets in pairs]
        return [one for one in standing if one.used > 0]

    def counts(self) -> dict[str, float]:
        """Return how many requests were counted in this process, because Valkey was away or full."""
        return {"limits_counted_without_valkey": self._counted_here}

    def _later(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def _give_back(self, wanted: Sequence[Take], taking: asyncio.Task[Verdict]) -> None:
        try:
            verdict = await taking
        except CountersAway:
            return
        if verdict.is_refused:
            return
        changes = [
            Settle(take.bucket, count.place, -take.amount, verdict.lease)
            for take, count in zip(wanted, verdict.counts, strict=True)
            if not take.is_used and take.amount
        ]
        if changes:
            await verdict.counted_by.settle(changes)

    async def _settle(self, changes: Sequence[Settle]) -> Sequence[float]:
        values: list[Any] = ["settle"]
        for change in changes:
            told = change.lease if change.bucket.measure == "concurrent" else repr(change.change)
            values += [*_shape(change.bucket), change.place, told]
        found = await self._run([_place(change.bucket) for change in changes], values)
        if found is None:
            self._unsettled.append(changes)
            return [0.0] * len(changes)
        if any(change.change for change in changes):
            self._valkey.wrote()
        return [float(used) for used in found]

    async def _settle_the_rest(self) -> None:
        for _ in range(len(self._unsettled)):
            if self._valkey.refuses:
                return
            await self._settle(self._unsettled.popleft())

    async def _run(self, keys: Sequence[str], values: Sequence[Any], *, writes: bool = True) -> list[bytes] | None:
        """Run the script; return None while Valkey is away, and while it is full where the script ``writes``."""
        if self._valkey.refuses if writes else self._valkey.is_resting:
            return None
        try:
            found: list[bytes] = await self._script(keys=keys, args=values)
        except _errors() as error:
            self._valkey.failed(error)
            return None
        self._valkey.worked()
        return found

    async def _renew_regularly(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self._settle_the_rest()
            if self._held and not self._valkey.refuses:
                try:
                    await self._renew()
                except _errors() as error:
                    self._valkey.failed(error)

    async def _renew(self) -> None:
        """Move the end of all leases; one that ended is not made anew, for another may have its place."""
        seconds, _ = await self._valkey.client.time()
        end = int((seconds + LEASE_SECONDS + 1) * SECOND)
        pipeline = self._valkey.client.pipeline(transaction=False)
        for (gateway, name), leases in self._held.items():
            key = f"{_prefix(gateway)}{name}"
            pipeline.zadd(key, dict.fromkeys(leases, end), xx=True)
            pipeline.pexpire(key, int((LEASE_SECONDS + 1) * 1000))
            pipeline.zadd(_index(gateway), {name: end})
        await pipeline.execute()


def _rule_of(key: tuple[str, str]) -> tuple[str, str]:
    gateway, name = key
    return gateway, name[: name.rfind("/") + 1]


def _key(bucket: Bucket) -> tuple[str, str]:
    return bucket.gateway, bucket.name


def _is_kept(shape: Shape) -> bool:
    return shape.span * max(shape.kept, 1) >= KEPT_WINDOW * SECOND


def _batches(rows: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    return (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))


def _prefix(gateway: str) -> str:
    # What is in braces decides where a cluster puts a key: all of a gateway are together, as one script needs them.
    return f"trunkline:{{{quote(gateway, safe='')}}}:limits:"


def _place(bucket: Bucket) -> str:
    return f"{_prefix(bucket.gateway)}{bucket.name}"


def _index(gateway: str) -> str:
    return f"{_prefix(gateway)}index"


def _shape(bucket: Bucket) -> tuple[int, int]:
    return (0, 0) if bucket.measure == "concurrent" else shape_of(bucket.window, bucket.technique)


def _shape_of(name: str) -> tuple[int, int]:
    window = window_in(name)
    return (0, 0) if window is None else shape_of(*window)


def _count(used: bytes, wait: bytes, resets: bytes, place: bytes, is_over: bytes) -> Count:
    return Count(float(used), int(wait) / SECOND, int(resets) / SECOND, int(place), is_over == b"1")


def _errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError  # late: an extra, which a gateway alone does without

    return (RedisError, OSError)
