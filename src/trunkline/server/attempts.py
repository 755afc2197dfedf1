"""Asking a provider until it answers: tries, their pauses and limits, and which of several keys is shown.

Only heads of answers are looked at. Whoever takes one passes it on, and from then on nothing is repeated.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import mktime_tz, parsedate_tz
from typing import Final

import msgspec
import structlog

from trunkline.errors import (
    GatewayError,
    NoProviderKey,
    NotPermitted,
    UnknownAlias,
    UnknownProvider,
    UpstreamError,
    UpstreamLate,
    UpstreamNotPublic,
    UpstreamUntrusted,
)
from trunkline.policy.attempts import (
    OF_THE_KEY,
    AttemptRules,
    Member,
    Pool,
    delay_ms,
    is_hedgeable,
    is_to_be_repeated,
    seconds_said,
)
from trunkline.policy.balancing import Standing, backend_of, choose, path_at, pool_for, with_model
from trunkline.policy.registry import DEFAULT_ALIAS
from trunkline.policy.usage.request import path_model
from trunkline.providers import Catalogue, Provider
from trunkline.server.admission import Admission, Doorkeeper
from trunkline.server.answer import Asked
from trunkline.server.health import Health, Place
from trunkline.upstream.http import HttpPool, Request, Response

log = structlog.get_logger("trunkline.attempts")

Prepare = Callable[[Admission], Awaitable[Request]]

# What is left of an answer that is not used is read when it is short, so that its connection is kept.
_SHORT: Final = 64 * 1024
_DRAIN_SECONDS: Final = 0.5
# A key may be said to rest for longer, and is asked again then all the same.
_LONGEST_REST: Final = 3600.0
# Another try with the same host changes nothing about these.
_LASTING: Final = (UpstreamUntrusted, UpstreamNotPublic)
# Of a member: it is not there, or not for this caller.
_PASSED_OVER: Final = (NoProviderKey, UnknownAlias, UnknownProvider, NotPermitted)


class Attempts:
    """Sends requests of one process. ``chance`` gives numbers from 0 to below 1."""

    def __init__(
        self,
        http: HttpPool,
        health: Health,
        doorkeeper: Doorkeeper,
        catalogue: Catalogue,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.http = http
        self.health = health
        self.doorkeeper = doorkeeper
        self.catalogue = catalogue
        self.chance = chance

    async def send(
        self, asked: Asked, rules: AttemptRules, prepare: Prepare, *, is_last: bool = True
    ) -> tuple[Response, Admission]:
        """Send until an answer begins that is not to be repeated, or the tries are used up; return the last answer.

        With it comes the admission it was asked with: a pool may have chosen another key or provider. ``prepare`` makes
        the request for an admission, body included, and is called once for each time that it is sent, twice at the same
        time where the rules hedge; a request whose body is streamed is sent once. ``is_last``: nobody else is asked
        after this, so that the last of several tries is not cut off by the rules' timeout.

        Raises the `UpstreamError` of the last try where that had no answer, `UpstreamResting` where nobody may be asked
        now, and `NoProviderKey`, `UnknownAlias` or `UnknownProvider` where a pool has no key to show.
        """
        return await _Request(self, asked, rules, prepare, is_last=is_last).send()


class _Seat(msgspec.Struct):
    """One place that a request may go to. ``admission`` is there once it was asked for, ``model`` replaces another.

    ``path`` is what the pool says of the path, and ``rest`` all of it.
    """

    place: Place
    rest: str
    model: str = ""
    provider: str = ""
    alias: str = ""
    path: str = ""
    admission: Admission | None = None
    tries: int = 0
    is_passed_over: bool = False


class _Outcome(msgspec.Struct, frozen=True):
    """What a try came to: a head, or an error."""

    seat: _Seat
    admission: Admission
    response: Response | None = None
    error: UpstreamError | None = None

    @property
    def headers(self) -> dict[bytes, str]:
        """The headers of the answer, in lower case."""
        pairs = self.response.headers if self.response is not None else ()
        return {name.lower(): value.decode("latin-1") for name, value in pairs}

    @property
    def status(self) -> int:
        """The status of the answer, 0 where there is none."""
        return self.response.status if self.response is not None else 0

    @property
    def is_to_be_repeated(self) -> bool:
        """Whether another try with the same key may go better."""
        if self.response is None:
            return not isinstance(self.error, _LASTING)
        return is_to_be_repeated(self.status, self.headers)

    @property
    def is_of_the_place(self) -> bool:
        """Whether a try with another key, or elsewhere, may go better."""
        return self.response is None or self.status in OF_THE_KEY or self.is_to_be_repeated

    def retry_after(self) -> float | None:
        """Return for how many seconds the provider wants to be left alone, where it says so."""
        if self.response is None:
            return self.error.retry_after if self.error is not None else None
        headers = self.headers
        seconds = seconds_said(headers)
        if seconds is None and (moment := parsedate_tz(headers.get(b"retry-after", ""))) is not None:
            try:
                seconds = max(mktime_tz(moment) - time.time(), 0.0)
            except (ValueError, OverflowError):
                return None
        return seconds

    def result(self) -> tuple[Response, Admission]:
        """Return the answer, or raise the error."""
        if self.response is None:
            assert self.error is not None
            raise self.error
        return self.response, self.admission

    async def discard(self) -> None:
        """Let go of an answer that is not used; keep its connection if little of it is left."""
        if self.response is None:
            return
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                size = 0
                async for chunk in self.response:
                    size += len(chunk)
                    if size > _SHORT:
                        break
        except (TimeoutError, UpstreamError):
            pass
        finally:
            await self.response.aclose()


class _Request:
    """One request on its way through its tries."""

    def __init__(
        self, attempts: Attempts, asked: Asked, rules: AttemptRules, prepare: Prepare, *, is_last: bool
    ) -> None:
        self._http = attempts.http
        self._health = attempts.health
        self._doorkeeper = attempts.doorkeeper
        self._chance = attempts.chance
        self._asked = asked
        self._rules = rules
        self._prepare = prepare
        self._is_last = is_last
        self._pool, self._seats = _seats(attempts.catalogue, asked, rules)
        self._fault: GatewayError | None = None
        self._is_whole = True
        self._may_hedge = rules.hedge > 0 and is_hedgeable(
            asked.head.method, asked.facts.kind, asked.admission.rest, asked.body
        )

    async def send(self) -> tuple[Response, Admission]:
        seat = self._first()
        for attempt in range(1, self._rules.max_attempts + 1):
            outcome = await self._try(seat, self._limit(attempt))
            self._judge(outcome)
            may_go_on = attempt < self._rules.max_attempts and self._is_whole
            then = self._after(outcome, attempt) if may_go_on else None
            if then is None:
                return outcome.result()
            delay, seat = then
            log.info(
                "asked again",
                provider=outcome.admission.provider.slug,
                member=outcome.seat.place.member,
                status=outcome.status,
                why=outcome.error.reason if outcome.error is not None else "",
                attempt=attempt,
                milliseconds=round(delay),
            )
            await outcome.discard()
            if delay > 0:
                await asyncio.sleep(delay / 1000)
        raise AssertionError("the last try returns")

    def _limit(self, attempt: int) -> float | None:
        """Return for how many seconds a try may wait for its first byte: the last of several as long as the pool lets.

        Where only one is allowed, or somebody else is asked after it, the limit is all that ends the wait.
        """
        is_final = attempt == self._rules.max_attempts > 1 and self._is_last
        return None if is_final or not self._rules.timeout else self._rules.timeout / 1000

    def _judge(self, outcome: _Outcome) -> None:
        """Have a key of a pool rest that was refused, or used too much."""
        if self._pool is not None and outcome.status in OF_THE_KEY:
            said = outcome.retry_after()
            self._health.rest(outcome.seat.place, min(self._rules.rest if said is None else said, _LONGEST_REST))

    def _after(self, outcome: _Outcome, attempt: int) -> tuple[float, _Seat] | None:
        """Return after how many milliseconds who is asked next, or None when that is no use."""
        if not outcome.is_of_the_place:
            return None
        other = self._next(is_fresh=True)
        if other is not None:
            return 0.0, other
        if not outcome.is_to_be_repeated:
            return None
        seat = self._next()
        if seat is None:
            return None
        said = outcome.retry_after() if seat is outcome.seat else None
        delay = delay_ms(self._rules, attempt, self._chance(), said)
        return None if math.isinf(delay) else (delay, seat)

    # Who is asked

    def _next(self, *, is_fresh: bool = False) -> _Seat | None:
        """Return who is to be asked, or None. ``is_fresh``: of those only who was not asked yet, and does not rest."""
        while True:
            index = self._choose(is_fresh=is_fresh)
            if index is None:
                return None
            seat = self._seats[index]
            if seat.admission is None:
                try:
                    seat.admission = self._admission(seat)
                except _PASSED_OVER as error:
                    seat.is_passed_over = True
                    if not isinstance(error, NotPermitted):
                        self._fault = error
                        log.warning("a member of a pool cannot be used", provider=seat.provider, why=error.message)
                    continue
            return seat

    def _choose(self, *, is_fresh: bool) -> int | None:
        standings = [self._standing(seat, is_fresh=is_fresh) for seat in self._seats]
        if self._pool is None:
            return None if standings[0].is_out else 0
        return choose(self._pool, standings, self._chance())

    def _standing(self, seat: _Seat, *, is_fresh: bool) -> Standing:
        standing = self._health.standing(seat.place, self._rules, seat.tries)
        is_out = standing.is_out or seat.is_passed_over or (is_fresh and (standing.tries > 0 or standing.rests > 0))
        return standing._replace(is_out=is_out)

    def _admission(self, seat: _Seat) -> Admission:
        admission = self._doorkeeper.with_member(self._asked.admission, seat.provider, seat.alias, seat.rest, seat.path)
        in_path = path_model(admission.provider.slug, seat.rest)
        admission.check_models([in_path or seat.model or self._asked.facts.model])
        return admission

    def _first(self) -> _Seat:
        """Return who is asked first: the request's own place, where no member can take it.

        Raises what is in the way of them all.
        """
        if self._pool is not None:
            seat = self._next()
            if seat is not None:
                return seat
            self._check_rest()
            if self._fault is not None:
                raise self._fault
            self._pool, self._seats = None, [_own_seat(self._asked)]
        self._doorkeeper.check_key(self._asked.admission)
        self._check_rest()
        return self._seats[0]

    def _check_rest(self) -> None:
        """Raise `UpstreamResting` where there are places that could take the request, and none may be asked now."""
        places = [seat.place for seat in self._seats if not seat.is_passed_over]
        if places and all(self._health.standing(place, self._rules, 0).is_out for place in places):
            raise self._health.refusal(min(places, key=self._health.rests))

    # One try

    async def _try(self, seat: _Seat, limit: float | None) -> _Outcome:
        """Ask once, or a second time beside it where the first answer is long in coming."""
        if not self._may_hedge:
            return await self._ask(seat, limit)
        tasks = [asyncio.create_task(self._ask(seat, limit))]
        winner: _Outcome | None = None
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._rules.hedge / 1000)
            if not done and (beside := self._next(is_fresh=True) or self._again(seat)) is not None:
                tasks.append(asyncio.create_task(self._ask(beside, limit)))
            winner = await self._first_good(tasks)
            return winner
        finally:
            await _give_up(tasks, winner)

    def _again(self, seat: _Seat) -> _Seat | None:
        """Return the same place, unless its breaker lets nothing more through."""
        return None if self._health.standing(seat.place, self._rules, 0).is_out else seat

    async def _first_good(self, tasks: list[asyncio.Task[_Outcome]]) -> _Outcome:
        """Return the first answer that would not be repeated, and take it off the list; else the last of them."""
        while True:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in tasks if task in done]:
                outcome = task.result()
                if len(tasks) == 1 or not outcome.is_of_the_place:
                    tasks.remove(task)
                    return outcome
                self._judge(outcome)
                tasks.remove(task)
                await outcome.discard()

    async def _ask(self, seat: _Seat, limit: float | None) -> _Outcome:
        admission = seat.admission
        assert admission is not None
        seat.tries += 1
        try:
            ticket = self._health.begin(seat.place, self._rules)
        except UpstreamError as error:
            return _Outcome(seat, admission, error=error)
        try:
            request = await self._prepare(admission)
            # One that is streamed is gone when it was sent.
            self._is_whole = request.body is None or isinstance(request.body, bytes)
            if seat.model and isinstance(request.body, bytes):
                request.body = with_model(request.body, seat.model) or request.body
            request.first_byte_timeout = limit
            self._asked.entry.sent()
            response = await self._http.send(request)
        except UpstreamError as error:
            if isinstance(error, UpstreamLate) and self._is_the_callers(limit):
                ticket.withdrawn()
            else:
                ticket.failed(error)
            return _Outcome(seat, admission, error=error)
        except BaseException:
            ticket.withdrawn()
            raise
        ticket.answered(response.status, response.connect_ms + response.first_byte_ms)
        response.on_end(ticket.ended)
        return _Outcome(seat, admission, response)

    def _is_the_callers(self, limit: float | None) -> bool:
        """Whether a limit is shorter than the gateway's own: who waits for too short a time proves no failure."""
        own = self._asked.admission.rules.control.attempts.timeout
        return limit is not None and (own == 0 or limit * 1000 < own)


async def _give_up(tasks: Sequence[asyncio.Task[_Outcome]], winner: _Outcome | None) -> None:
    """End what is still asked; what was answered meanwhile is let go, and the winner too when nobody waits any more."""
    for task in tasks:
        task.cancel()
    try:
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, _Outcome) and outcome.response is not None:
                await outcome.response.aclose()
    except asyncio.CancelledError:
        if winner is not None and winner.response is not None:
            await winner.response.aclose()
        raise


def _seats(catalogue: Catalogue, asked: Asked, rules: AttemptRules) -> tuple[Pool | None, list[_Seat]]:
    """Return the pool that shares a request and its members' places; without one, the request's own place."""
    admission = asked.admission
    # What a caller brought is shown as it is.
    is_shared = admission.alias == DEFAULT_ALIAS and (admission.key is None or admission.key.is_gateways_own)
    pool = pool_for(rules, admission.provider, asked.facts.model) if is_shared else None
    if pool is None:
        return None, [_own_seat(asked)]
    return pool, [_member_seat(catalogue, asked, member) for member in pool.members]


def _own_seat(asked: Asked) -> _Seat:
    admission = asked.admission
    is_own = admission.key is not None and admission.key.is_gateways_own
    place = Place(
        admission.gateway,
        admission.provider.slug,
        admission.alias if is_own else "",
        backend_of(admission.provider, admission.rest),
    )
    return _Seat(place, admission.rest, admission=admission)


def _member_seat(catalogue: Catalogue, asked: Asked, member: Member) -> _Seat:
    admission = asked.admission
    provider: Provider | None = catalogue.find(member.provider) if member.provider else admission.provider
    if provider is None:  # it is named in the refusal, where there is no other
        place = Place(admission.gateway, member.provider, member.alias)
        return _Seat(place, admission.rest, provider=member.provider, alias=member.alias)
    rest = path_at(admission.provider, provider, member, admission.rest)
    cannot = rest is None or (bool(member.model) and asked.body != b"" and with_model(asked.body, member.model) is None)
    place = Place(admission.gateway, provider.slug, member.alias, backend_of(provider, rest or ""))
    return _Seat(place, rest or "", member.model, provider.slug, member.alias, member.path, is_passed_over=cannot)
