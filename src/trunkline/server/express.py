"""The short way of plain chats and kept answers: what `DataPlane`, `Dispatch` and `Entry` do in many functions, in few.

Most requests of most clients have a head that came before, ask for a chat in one piece, and have nothing done to them
but to be counted, sent on and written down; or their answer is at hand. Whatever turns out to be otherwise goes on the
general way, from where it has come to; what is answered and what is written is the same on both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from trunkline.policy.cost import cost_of_answer
from trunkline.policy.facts import Facts
from trunkline.policy.limits import LimitRule, buckets
from trunkline.policy.registry import Registry
from trunkline.policy.usage import RequestFacts, kind_of, request_facts
from trunkline.policy.usage.whole_chats import read_chat
from trunkline.server.admission import Admission
from trunkline.server.asgi import LARGEST_WHOLE, ClientGone, OnGone, Scope, Whole, memo_of
from trunkline.server.caching import HIT, Bodies, headers_of
from trunkline.server.dispatch import Terms
from trunkline.server.gateway import Gateway
from trunkline.server.governing import is_governed
from trunkline.server.limiting import Lease
from trunkline.server.logbook import MAX_WORDS, Words, cleaned
from trunkline.server.seen import MAX_TYPE
from trunkline.store import LogRecord
from trunkline.store.counters import Take
from trunkline.store.identifiers import ulid
from trunkline.upstream.http import Request, Response
from trunkline.wire.head import Head, Transport, returned_headers
from trunkline.wire.log_headers import EVENT_ID_HEADER, LOG_ID_HEADER, logging_wish
from trunkline.wire.trace import trace_of

# With these a head asks for something besides.
_NOT_PLAIN: Final = (
    b"origin",
    b"content-encoding",
    b"transfer-encoding",
    b"expect",
    b"cf-aig-custom-cost",
    EVENT_ID_HEADER,
)
# By these a limit tells requests apart that is counted without reading them.
_TOLD_BY_HEADS: Final = frozenset({"key", "provider"})
_OK: Final = 200


class Plan(NamedTuple):
    """All that heads alike have in common, while the set-up is ``now``. ``record`` is one of theirs to be filled in.

    Where their answers are kept, ``bodies`` tells them apart, and none is sent on this way.
    """

    now: Registry
    admission: Admission
    request: Request | None
    bodies: Bodies | None
    takes: Sequence[Take]
    secrets: Sequence[str]
    record: LogRecord


class Begun(NamedTuple):
    """How far a request has come that goes on the general way: to the head of its answer, or to an error."""

    admission: Admission
    created_at: float
    started: float
    body: bytes
    told: RequestFacts
    lease: Lease
    outcome: Response | BaseException


class Left(NamedTuple):
    """What of a request is left to the general way: all of it, or what comes after it was sent."""

    begun: Begun | None = None


class Express:
    """Serves what is plain, and tells of the rest how far it has come."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def learn(self, scope: Scope, head: Head, admission: Admission, terms: Terms, words: Words) -> None:
        """Take note of a head that went the general way, if those like it can go this one."""
        if memo_of(scope) is None or not _is_plain(head, admission, terms):
            return
        takes = _takes(terms.limits, admission)
        if takes is None:
            return
        request = bodies = None
        if terms.wish is not None:
            bodies = admission.remember(head, Bodies, Bodies())
        else:
            request = await self._gateway.relayed_request(head, admission, plain=False)
        now, template = self._gateway.registry.now, _template(head, admission, words)
        head.memo[Plan] = Plan(now, admission, request, bodies, takes, words.secrets, template)

    async def serve(self, whole: Whole) -> Left | None:
        """Send a request on and give its answer, or return what is left of it."""
        gateway = self._gateway
        plan, body = self._plan(whole), whole.content
        if plan is None or plan.request is None or len(body) > LARGEST_WHOLE:
            return Left()
        created_at, started = time.time(), time.perf_counter()
        admission, record = plan.admission, plan.record
        told = request_facts(admission.provider, admission.rest, record.request_content_type, body)
        lease = None if told.stream else gateway.limiter.take_now(plan.takes)
        if lease is None:
            return Left()
        outcome = await self._sent(plan.request.with_body(body, len(body)), whole.listen)
        first_byte = time.perf_counter()
        answered = answer = None
        if isinstance(outcome, Response) and outcome.status == _OK:
            answer = outcome.peek()
            answered = read_chat(answer, told.model) if answer is not None else None
        if answered is None or answer is None or isinstance(outcome, BaseException):
            return Left(Begun(admission, created_at, started, body, told, lease, outcome))
        outcome.finish()
        usage = answered.usage
        assert usage is not None
        written = msgspec.structs.replace(
            record,
            id=ulid(),
            created_at=created_at,
            duration_ms=(time.perf_counter() - started) * 1000,
            model=cleaned(answered.asked_model or answered.model, plan.secrets, MAX_WORDS),
            response_content_type=outcome.content_type[:MAX_TYPE],
            tokens_in=usage.input,
            tokens_out=usage.output,
            tokens_cached=usage.cached,
            tokens_audio=usage.audio,
            usage=usage.counts(),
            cost=cost_of_answer(admission.provider.slug, answered),
            connect_ms=outcome.connect_ms,
            first_byte_ms=(first_byte - started) * 1000,
            user=cleaned(told.user, plan.secrets, MAX_WORDS),
            request_size=len(body),
            response_size=len(answer),
        )
        gateway.logbook.keep(written, is_kept=True)
        ours = [*lease.headers(), (LOG_ID_HEADER, written.id.encode())]
        unsaid = {name for name, _ in ours}
        headers = [pair for pair in returned_headers(outcome.headers) if pair[0] not in unsaid]
        whole.answer(_OK, headers + ours, answer)
        return None

    def give_again(self, whole: Whole) -> bool:
        """Give a kept answer at once, if there is one at hand; return whether there is."""
        gateway, plan = self._gateway, self._plan(whole)
        if plan is None or plan.bodies is None:
            return False
        created_at, started, body = time.time(), time.perf_counter(), whole.content
        found = gateway.caching.at_hand(plan.bodies, body)
        if found is None:
            return False
        facts, answer = found
        if not facts.model or len(answer.body) > LARGEST_WHOLE:
            return False
        lease = gateway.limiter.take_now(plan.takes)
        if lease is None:
            return False
        gateway.caching.gave(plan.admission.gateway)
        milliseconds = (time.perf_counter() - started) * 1000
        written = msgspec.structs.replace(
            plan.record,
            id=ulid(),
            created_at=created_at,
            duration_ms=milliseconds,
            model=cleaned(facts.model, plan.secrets, MAX_WORDS),
            model_type=facts.kind,
            response_content_type=answer.content_type[:MAX_TYPE],
            attempts=0,
            cached=True,
            tokens_in=0,
            tokens_out=0,
            cost=0.0,
            first_byte_ms=milliseconds,
            user=cleaned(facts.user, plan.secrets, MAX_WORDS),
            request_size=len(body),
            response_size=len(answer.body),
        )
        gateway.logbook.keep(written, is_kept=True)
        ours = [HIT, *lease.headers(), (LOG_ID_HEADER, written.id.encode())]
        whole.answer(_OK, headers_of(answer.headers, answer.body) + ours, answer.body)
        return True

    def _plan(self, whole: Whole) -> Plan | None:
        """Return what requests like this one have in common, if it is known and holds."""
        plan: Plan | None = whole.memo.get(Plan)
        return plan if plan is not None and plan.now is self._gateway.registry.now else None

    async def _sent(self, request: Request, on_gone: OnGone) -> Response | BaseException:
        """Send a request, for as long as its client is there; return the answer whose head is there, or the error."""
        task = asyncio.current_task()
        gone = False

        def leave() -> None:
            nonlocal gone
            gone = True
            if task is not None:
                task.cancel()

        on_gone(leave)
        try:
            return await self._gateway.http.send(request)
        except asyncio.CancelledError as error:
            if not gone or task is None:
                return error
            task.uncancel()
            return ClientGone()
        except Exception as error:
            return error
        finally:
            on_gone(None)


def _is_plain(head: Head, admission: Admission, terms: Terms) -> bool:
    """Whether nothing is done to requests of such heads but to count them, answer them and write them down.

    They are answered by what is kept, or sent on if nothing is.
    """
    provider, logging = admission.provider, admission.rules.logging
    is_asked = head.transport is Transport.HTTP and head.method == "POST" and not head.has_any(_NOT_PLAIN)
    is_kept, keeps_payloads = logging.keeps(*logging_wish(head))
    is_row = is_kept and not keeps_payloads and not logging.custom_costs
    if terms.wish is not None:
        is_answered = not terms.control.guards
    else:
        is_known = provider.slug != "local" and provider.usage == "openai"
        is_chat = kind_of(admission.rest) == "chat" and "json" in (head.header(b"content-type") or "json").lower()
        is_answered = is_known and is_chat and terms.is_counted_alone
    return is_answered and admission.is_lasting and is_asked and is_row and not is_governed(admission)


def _takes(limits: Sequence[LimitRule], admission: Admission) -> Sequence[Take] | None:
    """Return what each request takes, or None where that depends on what it says."""
    if any(
        rule.measure != "requests" or rule.webhook or not {*rule.per, *rule.where} <= _TOLD_BY_HEADS for rule in limits
    ):
        return None
    key = admission.caller.key_id if admission.caller is not None else ""
    facts = Facts(gateway=admission.gateway, provider=admission.provider.slug, model="", key=key)
    return [Take(bucket, 1.0) for bucket in buckets(limits, facts)]


def _template(head: Head, admission: Admission, words: Words) -> LogRecord:
    """Return a record with all that heads alike have in common."""
    caller, key, trace = admission.caller, admission.key, trace_of(head)
    return LogRecord(
        id="",
        gateway=admission.gateway,
        created_at=0.0,
        provider=words.provider,
        model_type=kind_of(admission.rest),
        method=head.method,
        path=words.path,
        request_content_type=words.content_type,
        status=_OK,
        success=True,
        attempts=1,
        key_id=caller.key_id if caller is not None else "",
        caller=caller.name if caller is not None else "",
        key_source=key.source if key is not None else "",
        trace_id=trace.trace_id,
        parent_span_id=trace.parent_span_id,
        user_agent=words.user_agent,
        metadata=words.metadata,
    )
