"""What realtime sessions use, by key: counted, held against the key's limits, remembered over a restart.

A caller is a gateway key, with every client secret that was made with it; whoever opens sessions of a gateway without a
key of its own is one caller there. Times are Unix seconds, as an argument: the ledger has no clock and no timer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
import structlog

from trunkline.errors import (
    BudgetSpent,
    GatewayError,
    SessionExpired,
    SessionIdle,
    SessionRateReached,
    TooManySessions,
)
from trunkline.policy.sessions import PastUsage, Quota, SessionLimits, length_words
from trunkline.policy.windows import Tally

log = structlog.get_logger("trunkline.ledger")

# From this part of a limit on, the log says so. A client is told nothing: some end their session at any such event.
_SOFT: Final = 0.8
# Time in a session is counted in steps no finer than this, and no more than so many at once.
_STEP_SECONDS: Final = 1.0
_MOST_STEPS: Final = 60
# Nothing is looked at again sooner: what is due now is due in a moment, should the clock have been set back.
_SOONEST_SECONDS: Final = 0.05
# Minutes that run out while older ones leave the window come ever closer to the limit without reaching it.
_SOONEST_MINUTES_SECONDS: Final = 1.0

_MEASURES: Final[Mapping[str, str]] = {
    "sessions": "open {} sessions",
    "minutes": "use {} minutes of sessions",
    "tokens": "use {} tokens",
    "budget": "spend {} US dollars",
}
# A quota of opened sessions ends none that is open.
_WITHIN_SESSIONS: Final = ("budget", "tokens", "minutes")


def caller_key(gateway: str, key_id: str) -> str:
    """Return the name under which the ledger counts: a gateway key's id, or one for all callers without a key."""
    return key_id or f"{gateway}/no key"


class Standing(msgspec.Struct, frozen=True):
    """How much of a quota is used: ``used`` of ``limit`` in the last ``seconds``.

    ``free_in`` is how many seconds it takes until there is some of it again, 0 when there is.
    """

    name: str
    used: float
    limit: float
    seconds: int
    free_in: float


class Snapshot(msgspec.Struct, frozen=True):
    """One caller's use of realtime: how many sessions are open, of how many that may be, and each of its quotas."""

    caller: str
    open_sessions: int
    concurrent: int | None
    quotas: tuple[Standing, ...]


class Ledger:
    """The counts of every caller of this process, from those of earlier ones on."""

    def __init__(self, past: Iterable[PastUsage] = (), now: float = math.inf) -> None:
        """``past`` of later than ``now`` was written before the clock was set back, and counts as of now."""
        self._accounts: dict[str, _Account] = {}
        for usage in sorted(past, key=lambda one: one.at):
            self._account(caller_key(usage.gateway, usage.key_id)).remember(usage, min(usage.at, now))

    def open(self, caller: str, limits: SessionLimits, now: float) -> Lease:
        """Count a new session of a caller (`caller_key`).

        Raises `TooManySessions`, `SessionRateReached` or `BudgetSpent`, each with ``retry_after`` where that can be
        told, and counts nothing then.
        """
        account = self._account(caller)
        account.pass_time(now)
        if limits.concurrent is not None and len(account.leases) >= limits.concurrent:
            raise TooManySessions(
                f"The gateway refused this session: {limits.concurrent} of this caller's may be open at once, and are."
                " Close one, or try again when one has ended."
            )
        account.check(limits, (*_WITHIN_SESSIONS, "sessions"), now)
        account.tallies["sessions"].add(1, now)
        lease = Lease(account, limits, now)
        account.leases.add(lease)
        account.warn(limits, now)
        return lease

    def snapshot(self, caller: str, limits: SessionLimits, now: float) -> Snapshot:
        """Return how a caller stands to its limits."""
        account = self._accounts.get(caller)
        if account is None:
            return Snapshot(caller, 0, limits.concurrent, tuple(_untouched(limits)))
        account.pass_time(now)
        return Snapshot(caller, len(account.leases), limits.concurrent, tuple(account.standings(limits, now)))

    def _account(self, caller: str) -> _Account:
        account = self._accounts.get(caller)
        if account is None:
            account = self._accounts[caller] = _Account(caller)
        return account


class Lease:
    """One open session. ``limits`` may be replaced while it is open, when an administrator changes them."""

    def __init__(self, account: _Account, limits: SessionLimits, now: float) -> None:
        self.limits = limits
        self._account = account
        self._started_at = now
        self._is_warned = False

    def charge(self, tokens: int, cost: float, now: float) -> None:
        """Book what was used; ``cost`` is in US dollars. Raises `SessionRateReached` or `BudgetSpent` after that.

        It is booked after `close` as well, for what is known only then.
        """
        self._account.pass_time(now)
        self._account.tallies["tokens"].add(tokens, now)
        self._account.tallies["budget"].add(cost, now)
        self._judge(now)

    def tick(self, now: float, *, last_activity: float) -> None:
        """Look whether the session may go on; ``last_activity`` is when last something happened in it.

        Raises `SessionExpired`, `SessionIdle`, `SessionRateReached` or `BudgetSpent`.
        """
        limits, open_for = self.limits, now - self._started_at
        self._account.pass_time(now)
        if limits.max_duration is not None:
            if open_for >= limits.max_duration:
                raise SessionExpired(
                    f"Your session hit the maximum duration of {length_words(limits.max_duration)}, which the gateway"
                    " sets. Open another."
                )
            if open_for >= limits.max_duration * _SOFT and not self._is_warned:
                self._is_warned = True
                log.warning(
                    "a session is near its limit",
                    caller=self._account.caller,
                    limit="max_duration",
                    used=round(open_for, 1),
                    of=limits.max_duration,
                )
        if limits.idle is not None and now - self._last(last_activity) >= limits.idle:
            raise SessionIdle(
                f"The gateway ended this session: nothing happened in it for {length_words(limits.idle)}. Open another"
                " when there is something to say."
            )
        self._judge(now)

    def next_deadline(self, now: float, *, last_activity: float) -> float | None:
        """Return when to `tick` again at the latest, or None when no limit needs it.

        Other sessions of the same caller can bring that nearer, so ask again after whatever happens.
        """
        limits, due = self.limits, []
        if limits.max_duration is not None:
            due.append(self._started_at + limits.max_duration * (1 if self._is_warned else _SOFT))
        if limits.idle is not None:
            due.append(self._last(last_activity) + limits.idle)
        if limits.minutes is not None:
            due.append(self._account.minutes_run_out(limits.minutes, now))
        return max(min(due), now + _SOONEST_SECONDS) if due else None

    def close(self, now: float) -> None:
        """Count the session's time and give its place back; a second time changes nothing."""
        self._account.pass_time(now)
        self._account.leases.discard(self)

    def _last(self, activity: float) -> float:
        return max(activity, self._started_at)

    def _judge(self, now: float) -> None:
        self._account.warn(self.limits, now)
        self._account.check(self.limits, _WITHIN_SESSIONS, now)


class _Account:
    """What one caller has used, and its open sessions."""

    def __init__(self, caller: str) -> None:
        self.caller = caller
        self.tallies = {name: Tally() for name in _MEASURES}
        self.leases: set[Lease] = set()
        self._passed_at = -math.inf
        self._warned_at: dict[str, float] = {}

    def remember(self, usage: PastUsage, at: float) -> None:
        for name, amount in (
            ("sessions", usage.sessions),
            ("minutes", usage.minutes),
            ("tokens", usage.tokens),
            ("budget", usage.cost),
        ):
            self.tallies[name].add(amount, at)

    def pass_time(self, now: float) -> None:
        """Count the time since the last call for every open session."""
        since, self._passed_at = self._passed_at, max(now, self._passed_at)
        if not self.leases or now <= since:
            return
        steps = min(math.ceil((now - since) / _STEP_SECONDS), _MOST_STEPS)
        step = (now - since) / steps
        for number in range(1, steps + 1):
            self.tallies["minutes"].add(len(self.leases) * step / 60, since + number * step)

    def minutes_run_out(self, quota: Quota, now: float) -> float:
        """Return when a quota of minutes may be used up, or so nearly that the log says so."""
        used = self.tallies["minutes"].used(quota.seconds, now)
        left = quota.limit * _SOFT - used
        if left <= 0:
            left = quota.limit - used
        return now + max(left * 60 / max(len(self.leases), 1), _SOONEST_MINUTES_SECONDS)

    def check(self, limits: SessionLimits, names: Iterable[str], now: float) -> None:
        """Raise the error of the first quota that is used up."""
        for name in names:
            quota: Quota | None = getattr(limits, name)
            if quota is None:
                continue
            free_in = self.tallies[name].seconds_until_free(quota, now)
            if free_in > 0:
                raise _used_up(name, quota, math.ceil(free_in))

    def warn(self, limits: SessionLimits, now: float) -> None:
        """Log each quota that is nearly used up, once within its own time."""
        for name, tally in self.tallies.items():
            quota: Quota | None = getattr(limits, name)
            if quota is None or now - self._warned_at.get(name, -math.inf) < quota.seconds:
                continue
            used = tally.used(quota.seconds, now)
            if used >= quota.limit * _SOFT:
                self._warned_at[name] = now
                log.warning(
                    "a caller is near its limit", caller=self.caller, limit=name, used=round(used, 6), of=str(quota)
                )

    def standings(self, limits: SessionLimits, now: float) -> Iterator[Standing]:
        for name, tally in self.tallies.items():
            quota: Quota | None = getattr(limits, name)
            if quota is not None:
                used, free_in = tally.used(quota.seconds, now), tally.seconds_until_free(quota, now)
                yield Standing(name, used, quota.limit, quota.seconds, free_in)


def _untouched(limits: SessionLimits) -> Iterator[Standing]:
    return _Account("").standings(limits, 0.0)


def _used_up(name: str, quota: Quota, retry_after: int) -> GatewayError:
    what = _MEASURES[name].format(str(quota).partition("/")[0])
    kind = BudgetSpent if name == "budget" else SessionRateReached
    return kind(
        f"The gateway's limit for this caller is used up: it may {what} in {length_words(quota.seconds)}. Try again in"
        f" {_wait_words(retry_after)}, or ask the gateway's administrator for more.",
        retry_after=retry_after,
    )


def _wait_words(seconds: int) -> str:
    size, unit = next(((size, unit) for size, unit in _WAITS if seconds >= 2 * size), (1, "s"))
    return f"{math.ceil(seconds / size)}{unit}"


_WAITS: Final = ((86400, "d"), (3600, "h"), (60, "m"))
