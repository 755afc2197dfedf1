"""The log row of a realtime session: one for all of it, at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from trunkline.credentials.redaction import Redactor, redact
from trunkline.errors import GatewayError
from trunkline.policy.cost import cost_of_tokens
from trunkline.policy.logging import LoggingRules
from trunkline.policy.usage import TokenUsage
from trunkline.realtime.report import Report
from trunkline.realtime.usage import Tokens
from trunkline.server.admission import Admission
from trunkline.server.logbook import (
    MAX_ERROR,
    MAX_PATH,
    MAX_WORDS,
    Logbook,
    cleaned,
    cleaned_tags,
    custom_price,
    failed,
)
from trunkline.store import LogRecord
from trunkline.wire.head import Head
from trunkline.wire.log_headers import event_id_of, logging_wish, metadata_of
from trunkline.wire.trace import trace_of

SWITCHED: Final = 101


class SessionLog:
    """What of one session is kept. ``head`` and ``admission`` are those that opened it."""

    def __init__(self, book: Logbook, head: Head, admission: Admission) -> None:
        self._book = book
        self._head = head
        self.route = ""
        """The dynamic route by which the session goes, with its version."""
        self._gateway = admission.gateway
        self._secrets = book.secrets_of([head], admission)

    def fit_to_keep(self, report: Report) -> Report:
        """Return a report with what was said only if the gateway keeps what is said, and then without secrets."""
        rules = self._rules()
        if not rules.keeps(*logging_wish(self._head))[1]:
            return _with_words(report, lambda text: "")
        redactor = Redactor(self._secrets, personal=rules.redact_pii)
        return _with_words(report, lambda text: redactor.redact(text.encode(errors="replace")).decode(errors="replace"))

    def write(
        self,
        report: Report,
        admission: Admission,
        *,
        id: str,
        started_at: float,
        model: str,
        failure: GatewayError | None,
        findings: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Write the record of the session, which is over. ``admission`` is that of the provider that served last."""
        rules = self._rules()
        is_kept, keeps_payloads = rules.keeps(*logging_wish(self._head))
        head, caller = self._head, admission.caller
        usage = _usage_of(report.tokens)
        is_stated = usage.total > 0
        named = model or report.model
        custom = custom_price(head, rules, admission.provider.slug, named) if is_stated else None
        said = failure.message if failure is not None else report.errors[-1].message if report.errors else ""
        trace = trace_of(head)
        transcript = _transcript(self.fit_to_keep(report)) if keeps_payloads else None
        record = LogRecord(
            id=id,
            gateway=self._gateway,
            created_at=started_at,
            duration_ms=report.duration_ms,
            provider=admission.provider.slug,
            model=self._cleaned(named),
            model_type="realtime",
            method=head.method,
            path=self._cleaned(admission.rest.partition("?")[0], MAX_PATH),
            request_type="realtime",
            response_content_type="application/json" if transcript is not None else "",
            status=SWITCHED,
            success=failure is None and report.connect_ms is not None,
            tokens_in=usage.input if is_stated else None,
            tokens_out=usage.output if is_stated else None,
            tokens_cached=usage.cached if is_stated else None,
            tokens_audio=usage.audio if is_stated else None,
            usage=usage.counts(),
            cost=report.cost.total if custom is None else cost_of_tokens(admission.provider.slug, named, usage, custom),
            custom_cost=custom is not None,
            connect_ms=report.connect_ms,
            end_reason=_end_reason(report, failure),
            error_code=failure.code if failure is not None else 0,
            error=redact(said, self._secrets)[:MAX_ERROR] if said else "",
            key_id=caller.key_id if caller is not None else "",
            caller=caller.name if caller is not None else "",
            key_source=admission.key.source if admission.key is not None else "",
            session_id=id,
            route=self.route,
            event_id=self._cleaned(event_id_of(head)),
            trace_id=trace.trace_id,
            parent_span_id=trace.parent_span_id,
            user_agent=self._cleaned(head.header(b"user-agent") or ""),
            metadata=cleaned_tags(metadata_of(head), self._secrets),
            request_size=report.from_client.bytes,
            response_size=report.from_provider.bytes,
            response=transcript,
            findings=list(findings),
        )
        self._book.keep(record, is_kept=is_kept)

    def _rules(self) -> LoggingRules:
        return self._book.rules_of_gateway(self._gateway)

    def _cleaned(self, text: str, length: int = MAX_WORDS) -> str:
        return cleaned(text, self._secrets, length)


def _end_reason(report: Report, failure: GatewayError | None) -> str:
    if report.connect_ms is None and failure is not None:
        return failed(failure)
    return report.close.by if report.close is not None else "client"


def _with_words(report: Report, kept: Callable[[str], str]) -> Report:
    """Return a report with something done to all that was said in it."""
    if not report.turns:
        return report
    turns = tuple(
        msgspec.structs.replace(
            turn,
            user=kept(turn.user),
            assistant=kept(turn.assistant),
            calls=tuple(msgspec.structs.replace(call, arguments=kept(call.arguments)) for call in turn.calls),
        )
        for turn in report.turns
    )
    return msgspec.structs.replace(report, turns=turns)


def _usage_of(tokens: Tokens) -> TokenUsage:
    return TokenUsage(
        input=tokens.input,
        output=tokens.output,
        cached=tokens.cached,
        input_audio=tokens.input_audio,
        output_audio=tokens.output_audio,
        cached_audio=tokens.cached_audio,
        input_image=tokens.input_image,
        cached_image=tokens.cached_image,
    )


def _transcript(report: Report) -> bytes:
    """Return what was said, as JSON: messages with role and content."""
    said = [
        {"role": role, "content": text}
        for turn in report.turns
        for role, text in (("user", turn.user), ("assistant", turn.assistant))
        if text
    ]
    return msgspec.json.encode(said)
