"""The log of what passes: each exchange, however it came and ended, becomes one record in the journal.

A record is appended before the bytes go out that complete the answer: what a client has seen answered is on the disk.
Nothing in here fails an exchange.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import structlog

from trunkline.credentials import candidates
from trunkline.credentials.redaction import REDACTED, Redactor, keys_in, redact
from trunkline.errors import GatewayError, MalformedRequest, UpstreamError
from trunkline.policy.cost import cost_of_answer
from trunkline.policy.logging import LoggingRules
from trunkline.policy.pacing import Pacing
from trunkline.policy.prices import CustomCost, custom_cost_for, parse_custom_cost
from trunkline.policy.usage import Answered, RequestFacts, UsageReader, request_facts
from trunkline.providers import Catalogue
from trunkline.server.admission import Admission
from trunkline.server.registry import LiveRegistry
from trunkline.server.seen import MAX_PAYLOAD, MAX_SEARCHED, MAX_TYPE, SeenAnswer, SeenBody, is_text
from trunkline.settings import Settings
from trunkline.store import LogRecord
from trunkline.store.identifiers import ulid
from trunkline.store.log_record import encoded
from trunkline.wire.head import Head
from trunkline.wire.log_headers import (
    EVENT_ID_HEADER,
    LOG_ID_HEADER,
    READ_HERE,
    Tag,
    event_id_of,
    ignored_headers,
    logging_wish,
    metadata_of,
)
from trunkline.wire.path import is_universal, parse_path
from trunkline.wire.trace import trace_of

log = structlog.get_logger("trunkline.logbook")

Listener = Callable[[LogRecord], None]

# Of exchanges whose callers were not admitted, so many get a row, for each gateway; all of them are in the metrics.
STRANGERS_A_MINUTE: Final = 60
# From this size on, secrets are looked for beside the event loop.
_MUCH_TEXT: Final = 128 * 1024
_FIRST_ERROR_STATUS: Final = 400
# Who leaves while an answer comes has had enough of it.
_NO_FAILURE: Final = ("complete", "client_gone")

# What is written of one field.
MAX_PATH: Final = 500
MAX_ERROR: Final = 500
MAX_WORDS: Final = 200
_BODILESS: Final = frozenset({204, 304})

_CUSTOM_COST: Final = b"cf-aig-custom-cost"
_MAY_BE_IGNORED: Final = (*READ_HERE, _CUSTOM_COST)
# Answers that are secrets, and requests whose bodies come to some.
_NEVER_KEPT: Final = ("client_secrets", "ephemeral_keys", "realtime/sessions", "auth_tokens", "token")


class Logbook:
    """Keeps the records of one process. ``append`` takes one as the journal does, and returns whether it is kept."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        registry: LiveRegistry,
        append: Callable[[bytes], bool],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._append = append
        self._listeners: list[Listener] = []
        self._others: list[Listener] = []
        self._strangers: dict[str, tuple[int, int]] = {}
        self.ignored: Counter[str] = Counter()
        """How often each header was ignored because its value could not be used."""
        self.catalogue = catalogue
        self.query_names = frozenset[str]().union(*(provider.query_names for provider in catalogue.all()))

    def on_record(self, listener: Listener, *, kept: bool = True) -> None:
        """Have ``listener`` told of each record: of those that are kept, or else of those that nobody wants kept.

        It is called on the event loop and must not wait. What it raises is logged, and stops nothing.
        """
        (self._listeners if kept else self._others).append(listener)

    def open(self, head: Head, request_type: str = "http", *, id: str = "", event_id: str = "") -> Entry:
        """Begin the entry of an exchange whose head has just been read. Its end has to be told: `Entry.finish`.

        ``id`` is the record's, where the exchange has one already; ``event_id`` the caller's name for it, where that is
        not in the head.
        """
        if head.has_any(_MAY_BE_IGNORED):
            self._count_ignored(head)
        return Entry(self, head, request_type, id or ulid(), event_id or event_id_of(head))

    def _count_ignored(self, head: Head) -> None:
        """Count headers whose values cannot be used: the contract has them ignored, and nobody would notice."""
        names = [*ignored_headers(head)]
        price = head.header(_CUSTOM_COST)
        if price and parse_custom_cost(price) is None:
            names.append(_CUSTOM_COST.decode())
        for name in names:
            self.ignored[name] += 1
            log.info("a header was ignored: its value cannot be used", name=name, path=head.path)

    def rules_of_gateway(self, name: str) -> LoggingRules:
        """Return what a gateway keeps, as its rules are now; one that was deleted meanwhile keeps rows alone."""
        rules = self._registry.rules(name)
        return rules.logging if rules is not None else LoggingRules()

    def rules_of(self, head: Head) -> tuple[str, LoggingRules] | None:
        """Return the gateway that a head which was not admitted means, and its rules; None where there is none."""
        if is_universal(head.path):
            account, name = head.path.split("/")[2:4]
        else:
            try:
                target = parse_path(head.path)
            except MalformedRequest:
                return None
            account, name = target.account or "", target.gateway or ""
        if account not in ("", self._settings.account):
            return None
        rules = self._registry.rules(name or self._settings.gateway)
        return None if rules is None else (rules.id, rules.logging)

    def secrets_of(self, heads: Sequence[Head], admission: Admission | None) -> list[str]:
        """Return every secret that an exchange knows: what its heads show, and what was shown upstream."""
        found = [candidate.value for head in heads for candidate in candidates(head, self.query_names)]
        if admission is not None:
            if admission.key is not None:
                found.append(admission.key.value)
            if admission.via is not None and admission.via.token:
                found.append(admission.via.token)
        return list(dict.fromkeys(found))

    def has_room_for_stranger(self, gateway: str) -> bool:
        """Count an exchange of somebody who was not admitted; return whether it gets a row.

        Anybody can make those, and must not push the others out of a bounded log.
        """
        minute, count = self._strangers.get(gateway, (0, 0))
        now = int(time.monotonic() // 60)
        count = count + 1 if minute == now else 1
        self._strangers[gateway] = (now, count)
        return count <= STRANGERS_A_MINUTE

    def keep(self, record: LogRecord, *, is_kept: bool) -> None:
        """Append a record, if it is to be kept, and tell the listeners."""
        if is_kept:
            self._append(encoded(record))
        for listener in self._listeners if is_kept else self._others:
            try:
                listener(record)
            except Exception:
                log.exception("somebody who listens to the log failed", id=record.id)

    def tells_of_all(self) -> bool:
        """Whether somebody wants to know of exchanges that are not kept."""
        return bool(self._others)


class Entry:
    """One exchange as it goes on. It sees what passes, and `finish` writes it down, once."""

    def __init__(self, book: Logbook, head: Head, request_type: str, id: str, event_id: str) -> None:
        self.id = id
        self._book = book
        self._head = head
        self._heads = [head]
        self._request_type = request_type
        self._event_id = event_id
        self._created_at = time.time()
        self._started = time.perf_counter()
        self._admission: Admission | None = None
        self._gateway = ""
        self._rules: LoggingRules | None = None
        self._is_kept = False
        self._is_silent = False
        self._keeps_payloads = False
        self._is_finished = False
        self.attempts = 0
        """How often a provider was asked."""
        self._step = 0
        self._request = SeenBody(MAX_SEARCHED)
        self._facts: RequestFacts | None = None
        self._payloads: tuple[bytes | None, bytes | None] | None = None
        self._answer = SeenAnswer()
        self._route = ""
        self._findings: list[dict[str, Any]] = []
        self.is_cached = False
        self._is_paid = False
        self.charged: set[str] = set()
        """The limits that this request, however many providers it asks, is counted in already."""

    # What the exchange is

    def began(self, created_at: float, started: float) -> None:
        """Learn that the exchange began earlier: ``started`` is on the clock of `time.perf_counter`."""
        self._created_at, self._started = created_at, started

    def admitted(self, admission: Admission) -> None:
        """Learn who asks for what."""
        self._admission = admission
        if len(self._heads) > 1:  # a step, before which there may have been others
            self._request = SeenBody(MAX_SEARCHED)
            self._facts = None
            self._payloads = None
            self._answer = SeenAnswer()
        self._judge(admission.gateway, admission.rules.logging)

    def tries(self, head: Head, step: int) -> None:
        """Learn that another universal step is about to be judged, whose head this is."""
        self._heads.append(head)
        self._head = head
        self._admission = None
        self._step = step
        self._answer = SeenAnswer()
        self.is_cached = self._is_paid = False

    def sent(self) -> None:
        """Count a request to a provider."""
        self.attempts += 1

    @property
    def has_answer(self) -> bool:
        """Whether the head of an answer is there."""
        return bool(self._answer.status)

    def served_by(self, admission: Admission) -> None:
        """Learn that another key than the one at first, or another provider, serves the request."""
        self._admission = admission

    def from_cache(self) -> None:
        """Learn that the answer is one that was kept: nothing is used by it."""
        self.is_cached = True

    def routed(self, route: str) -> None:
        """Learn by which dynamic route the request goes."""
        self._route = route

    def found(self, finding: dict[str, Any]) -> None:
        """Learn what a check found: ``rule``, ``check``, ``side``, ``action`` and ``kinds``, never the words."""
        self._findings.append(finding)

    @property
    def is_kept(self) -> bool:
        """Whether there will be a record, as far as is known."""
        if self._admission is None:
            self._judge_unadmitted()
        return self._is_kept

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what tells the caller how to find the record."""
        told = [(LOG_ID_HEADER, self.id.encode())] if self.is_kept else []
        return [*told, (EVENT_ID_HEADER, self._event_id.encode())] if self._event_id else told

    def sees_request(self, body: bytes | AsyncIterator[bytes] | None) -> bytes | AsyncIterator[bytes] | None:
        """Return a request's body so that what is read of it is seen here too."""
        if body is None or self._is_silent:
            return body
        if isinstance(body, bytes):
            self._request.take(body)
            return body
        return self._passing(body)

    async def _passing(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in body:
            self._request.take(piece)
            yield piece

    # The answer

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], *, connect_ms: float | None = None) -> None:
        """Take the head of a provider's answer."""
        admission = self._admission
        if self._is_silent or admission is None:
            return
        facts = self._read_request()
        reader = UsageReader(admission.provider, admission.rest, facts.model, characters=facts.characters)
        self._answer = SeenAnswer(reader, keeps_text=self._keeps_payloads)
        self._answer.connect_ms = connect_ms
        self._answer.begin(status, headers, is_bodiless=self._head.method == "HEAD" or status in _BODILESS)

    def feed(self, chunk: bytes) -> None:
        """Take some bytes of the answer."""
        if not self._is_silent:
            self._answer.feed(chunk)

    @property
    def observer(self) -> Callable[[bytes], None] | None:
        """What takes the bytes of the answer that has begun, or None where nobody wants to see them."""
        return None if self._is_silent else self._answer.feed

    @property
    def is_answered(self) -> bool:
        """Whether the bytes seen last are the last that belong to the answer, as far as anybody can tell."""
        return self._answer.is_complete

    def spent(self) -> tuple[int | None, float | None]:
        """Return the tokens and US dollars of the exchange so far, each None where that cannot be told.

        A price of the caller's own counts only where nobody else knows one: it is for the caller's books, and what is
        spent is not for the caller to say.
        """
        if self.is_cached or not self._answer.status:
            return 0, 0.0
        admission, answered = self._admission, self._answered()
        if admission is None or answered.usage is None:
            return (0, 0.0) if self._answer.status >= _FIRST_ERROR_STATUS else (None, None)
        provider = admission.provider.slug
        own = custom_cost_for(admission.rules.logging.custom_costs, provider, answered.asked_model)
        cost = cost_of_answer(provider, answered, own)
        return answered.usage.total, cost if cost is not None else self._cost(
            provider, answered, self._custom_cost(answered)
        )

    def _answered(self) -> Answered:
        reader = self._answer.reader
        return reader.finish() if reader is not None else Answered("", self._read_request().model, None)

    # The end

    async def finish(self, end_reason: str = "complete", error: GatewayError | None = None, status: int = 0) -> None:
        """Write the record, unless that was done. ``status`` is the one of an answer of the gateway's own.

        With bodies that are long it takes its time, in which others go on.
        """
        if self._is_finished:
            return
        if self._payloads is None and self._text_size() > _MUCH_TEXT:
            try:
                self._payloads = await asyncio.to_thread(self._redacted)
            except Exception:
                log.exception("payloads are not kept", id=self.id)
                self._payloads = (None, None)
        self.finish_now(end_reason, error, status)

    def finish_now(self, end_reason: str, error: GatewayError | None = None, status: int = 0) -> None:
        """As `finish`, where nothing may be waited for."""
        if self._is_finished:
            return
        self._is_finished = True
        try:
            if status:
                self._answer.status = status
            if self._admission is None:
                self._judge_unadmitted()
            if self._gateway and not self._is_silent:
                self._book.keep(self._record(end_reason, error), is_kept=self._is_kept)
        except Exception:
            # The exchange went well; that nobody can read of it is to be repaired, and not to be felt.
            log.exception("an exchange has no log row", id=self.id)

    def answered(self, status: int, content_type: str, size: int) -> None:
        """Take an answer of the gateway's own; neither it nor its request is kept.

        One of a provider's that it stands instead of was paid for all the same.
        """
        self._is_paid = self._answer.reader is not None and self._answer.status < _FIRST_ERROR_STATUS
        self._answer = SeenAnswer(self._answer.reader if self._is_paid else None)
        self._answer.status, self._answer.content_type, self._answer.size = status, content_type[:MAX_TYPE], size
        self._keeps_payloads = False

    def _judge(self, gateway: str, rules: LoggingRules) -> None:
        self._gateway, self._rules = gateway, rules
        self._is_kept, self._keeps_payloads = rules.keeps(*logging_wish(self._head))
        self._is_silent = not self._is_kept and not self._book.tells_of_all()
        if self._keeps_payloads:
            self._request = SeenBody(MAX_PAYLOAD)

    def _judge_unadmitted(self) -> None:
        """Judge an exchange whose caller was not admitted, and may be anybody: only the gateway's switch counts."""
        if self._gateway:
            return
        found = self._book.rules_of(self._head)
        if found is None:
            return
        self._gateway, self._rules = found
        self._is_kept = self._rules.collect and self._book.has_room_for_stranger(self._gateway)
        self._is_silent = not self._is_kept and not self._book.tells_of_all()

    def knows(self, facts: RequestFacts) -> None:
        """Learn what the request says of itself, where it was read already."""
        self._facts = facts
        if not self._keeps_payloads:
            self._request.forget()

    def _read_request(self) -> RequestFacts:
        if self._facts is not None:
            return self._facts
        admission = self._admission
        if admission is None:
            return RequestFacts()
        content_type = self._head.header(b"content-type") or "application/json"
        facts = request_facts(admission.provider, admission.rest, content_type, self._request.searched())
        self.knows(facts)
        return facts

    # What is written

    def _secrets(self) -> list[str]:
        return self._book.secrets_of(self._heads, self._admission)

    def _all_secrets(self) -> list[str]:
        """Return these, and keys that stand in the heads where no key belongs: a provider may quote them encoded."""
        values = (value.decode("latin-1") for head in self._heads for _, value in head.headers)
        return [*self._secrets(), *(key for value in values for key in keys_in(value))]

    def _text_size(self) -> int:
        if not self._keeps_payloads:
            return 0
        return self._request.kept_size + (self._answer.text.kept_size if self._answer.text is not None else 0)

    def _redacted(self) -> tuple[bytes | None, bytes | None]:
        """Return both bodies as they may be kept."""
        if not self._keeps_payloads or self._admission is None or _is_about_secrets(self._admission.rest):
            return None, None
        assert self._rules is not None
        redactor = Redactor(self._all_secrets(), personal=self._rules.redact_pii)
        content_type = self._head.header(b"content-type") or "application/json"
        request = self._request.whole() if is_text(content_type) else None
        response = self._answer.text.whole() if self._answer.text is not None else None
        return (
            redactor.redact(request) if request else None,
            redactor.redact(response) if response else None,
        )

    def _record(self, end_reason: str, error: GatewayError | None) -> LogRecord:
        now = time.perf_counter()
        head, admission = self._head, self._admission
        facts = self._read_request()
        answer = self._answer
        answered = self._answered()
        pacing = Pacing() if self.is_cached else answer.pacing
        usage = None if self.is_cached else answered.usage
        none = 0 if self.is_cached else None
        caller = admission.caller if admission is not None else None
        words = self.words()
        secrets = words.secrets
        custom = self._custom_cost(answered) if usage is not None or answered.stated_cost is not None else None
        if self._payloads is None:
            self._payloads = self._redacted() if self._keeps_payloads else (None, None)
        said = error.message if error is not None else answered.error
        trace = trace_of(head)
        return LogRecord(
            id=self.id,
            gateway=self._gateway,
            created_at=self._created_at,
            duration_ms=(now - self._started) * 1000,
            provider=words.provider,
            model=cleaned(answered.asked_model or answered.model, secrets, MAX_WORDS),
            model_type=facts.kind,
            method=head.method[:16],
            path=words.path,
            request_type=self._request_type,
            request_content_type=words.content_type,
            response_content_type=answer.content_type,
            status=answer.status,
            success=end_reason in _NO_FAILURE and 0 < answer.status < _FIRST_ERROR_STATUS and not answered.error,
            step=self._step,
            attempts=self.attempts,
            cached=self.is_cached,
            tokens_in=usage.input if usage is not None else none,
            tokens_out=usage.output if usage is not None else none,
            tokens_cached=usage.cached if usage is not None else None,
            tokens_audio=usage.audio if usage is not None else None,
            usage=usage.counts() if usage is not None else {},
            cost=self._cost(words.provider, answered, custom),
            custom_cost=custom is not None,
            connect_ms=answer.connect_ms,
            first_byte_ms=(answer.first_byte - self._started) * 1000 if answer.first_byte is not None else None,
            inter_token_p50_ms=pacing.percentile_ms(50),
            inter_token_p99_ms=pacing.percentile_ms(99),
            end_reason=end_reason,
            error_code=error.code if error is not None else 0,
            error=redact(said, self._all_secrets())[:MAX_ERROR] if said else "",
            key_id=caller.key_id if caller is not None else "",
            caller=caller.name if caller is not None else "",
            user=cleaned(facts.user, secrets, MAX_WORDS),
            key_source=admission.key.source if admission is not None and admission.key is not None else "",
            event_id=cleaned(self._event_id, secrets, MAX_WORDS),
            trace_id=trace.trace_id,
            parent_span_id=trace.parent_span_id,
            user_agent=words.user_agent,
            metadata=words.metadata,
            route=self._route,
            findings=self._findings,
            request_size=self._request.size,
            response_size=answer.size,
            request=self._payloads[0],
            response=self._payloads[1],
        )

    def words(self) -> Words:
        """Return what the head alone says for the record, with the secrets that are not to be in it."""
        head, admission = self._head, self._admission
        is_alone = admission is not None and len(self._heads) == 1
        known: Words | None = admission.known(head, Words) if admission is not None and is_alone else None
        if known is not None:
            return known
        secrets = self._secrets()
        provider, rest = self._target()
        words = Words(
            secrets=secrets,
            provider=provider,
            path=cleaned(rest.partition("?")[0], secrets, MAX_PATH),
            content_type=cleaned(head.header(b"content-type") or "", secrets, MAX_TYPE),
            user_agent=cleaned(head.header(b"user-agent") or "", secrets, MAX_WORDS),
            # Tags find rows and make sums: those of callers who were not admitted could pass for somebody else's.
            metadata=cleaned_tags(metadata_of(head), secrets) if admission is not None else {},
        )
        return admission.remember(head, Words, words) if admission is not None and is_alone else words

    def _cost(self, provider: str, answered: Answered, custom: CustomCost | None) -> float | None:
        if self.is_cached:
            return 0.0
        is_answered = self._is_paid or 0 < self._answer.status < _FIRST_ERROR_STATUS
        return cost_of_answer(provider, answered, custom) if is_answered else None

    def _custom_cost(self, answered: Answered) -> CustomCost | None:
        admission = self._admission
        if admission is None:
            return None
        return custom_price(self._head, admission.rules.logging, admission.provider.slug, answered.asked_model)

    def _target(self) -> tuple[str, str]:
        """Return the provider and the rest of the path."""
        if self._admission is not None:
            return self._admission.provider.slug, self._admission.rest
        if is_universal(self._head.path):
            return "", ""
        target = parse_path(self._head.path)
        provider = self._book.catalogue.find(target.provider or "")
        return provider.slug if provider is not None else "", target.rest


class Words(NamedTuple):
    """What the head of an exchange says for its record."""

    secrets: Sequence[str]
    provider: str
    path: str
    content_type: str
    user_agent: str
    metadata: dict[str, Tag]


def failed(error: GatewayError) -> str:
    """Return the ``end_reason`` of an exchange that has no answer but this error."""
    return "upstream_error" if isinstance(error, UpstreamError) else "refused"


def custom_price(head: Head, rules: LoggingRules, provider: str, model: str) -> CustomCost | None:
    """Return the price of the caller's own, else that of the gateway, else None."""
    return parse_custom_cost(head.header(_CUSTOM_COST) or "") or custom_cost_for(rules.custom_costs, provider, model)


def _is_about_secrets(rest: str) -> bool:
    return rest.partition("?")[0].rstrip("/").endswith(_NEVER_KEPT)


def cleaned(text: str, secrets: Sequence[str], length: int) -> str:
    """Return a short text of the caller's without a secret that was put there by mistake."""
    if not text:
        return ""
    for secret in secrets:
        if len(secret) > 3 and secret in text:
            text = text.replace(secret, REDACTED)
    return _without_shapes(text[: 2 * length])[:length]


@lru_cache(maxsize=2048)
def _without_shapes(text: str) -> str:
    """Most of what comes here came before: the same programs ask the same paths for the same models."""
    return redact(text)


def cleaned_tags(tags: Mapping[str, Tag], secrets: Sequence[str]) -> dict[str, Tag]:
    """Return metadata without such a secret."""
    return {
        cleaned(name, secrets, MAX_WORDS): cleaned(value, secrets, 1000) if isinstance(value, str) else value
        for name, value in tags.items()
    }
