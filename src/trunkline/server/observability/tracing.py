"""OpenTelemetry: one span for each exchange, told in the GenAI conventions, sent by OTLP over HTTP.

A span is made when its exchange is over, from its record, so that tracing costs the exchange nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from trunkline.errors import SettingsError
from trunkline.settings import Settings
from trunkline.store import LogRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_NANOSECONDS: Final = 1_000_000_000
_FAREWELL_MILLISECONDS: Final = 4000

# `gen_ai.operation.name` of the GenAI conventions; what they have no word for goes by our own.
_OPERATIONS: Final = {"completion": "text_completion"}


class Tracer(Protocol):
    """Takes finished exchanges."""

    def take(self, record: LogRecord) -> None:
        """Tell of one exchange."""

    def close(self) -> None:
        """Send what waits; blocks for some seconds at most."""


def tracer_for(settings: Settings) -> Tracer | None:
    """Return what sends spans where the settings say, or None when they say nothing.

    Raises `SettingsError` when the libraries are missing.
    """
    if not settings.otel_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            "otel_endpoint needs the OpenTelemetry libraries: pip install 'trunkline[otel]', or leave it empty."
        ) from error
    headers = dict(header_pairs(settings.otel_headers, "otel_headers"))
    # By name, so that what the environment says (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME) still counts.
    resource = Resource.create().merge(Resource({"service.name": settings.otel_service_name}))
    provider = TracerProvider(resource=resource, id_generator=_ids(), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=settings.otel_endpoint, headers=headers)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return _OtlpTracer(provider, with_payloads=settings.otel_payloads)


def header_pairs(listed: tuple[str, ...], setting: str) -> list[tuple[str, str]]:
    """Return headers written ``name=value``. Raises `SettingsError`, which shows no value."""
    pairs = []
    for number, entry in enumerate(listed, 1):
        name, equals, value = entry.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise SettingsError(f"{setting}: entry {number} is not of the form name=value.")
        pairs.append((name.strip().lower(), value.strip()))
    return pairs


class _OtlpTracer:
    def __init__(self, provider: TracerProvider, *, with_payloads: bool) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("trunkline")
        self._with_payloads = with_payloads

    def take(self, record: LogRecord) -> None:
        """Tell of one exchange."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        operation = _OPERATIONS.get(record.model_type, record.model_type or "other")
        began = int(record.created_at * _NANOSECONDS)
        self._provider.id_generator.trace_id = int(record.trace_id or "0", 16)  # type: ignore[attr-defined]
        span = self._tracer.start_span(
            f"{operation} {record.model}".strip(),
            context=_parent(record),
            kind=SpanKind.CLIENT,
            start_time=began,
            attributes=_attributes(record, operation),
        )
        if self._with_payloads:
            for name, body in (("gen_ai.prompt_json", record.request), ("gen_ai.completion_json", record.response)):
                if body:
                    span.set_attribute(name, body.decode("utf-8", "replace"))
        if not record.success:
            span.set_status(Status(StatusCode.ERROR, record.error or record.end_reason))
        span.end(end_time=began + int(record.duration_ms / 1000 * _NANOSECONDS))

    def close(self) -> None:
        """Send what waits."""
        self._provider.force_flush(_FAREWELL_MILLISECONDS)
        self._provider.shutdown()


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random ids, but for the trace that a caller named without a span of it."""

        trace_id = 0

        def generate_trace_id(self) -> int:
            return self.trace_id or super().generate_trace_id()

    return Ids()


def _parent(record: LogRecord) -> Any:
    """Return the caller's span as a context, or an empty one, which makes a span without a parent."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if not (record.trace_id and record.parent_span_id):
        return Context()
    caller = SpanContext(
        int(record.trace_id, 16), int(record.parent_span_id, 16), is_remote=True, trace_flags=TraceFlags(1)
    )
    return set_span_in_context(NonRecordingSpan(caller), Context())


def _attributes(record: LogRecord, operation: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": record.provider,
        "gen_ai.model.provider": record.provider,
        "gen_ai.request.model": record.model,
        "gen_ai.conversation.id": record.session_id,
        "gen_ai.usage.input_tokens": record.tokens_in,
        "gen_ai.usage.output_tokens": record.tokens_out,
        "gen_ai.usage.cached_tokens": record.tokens_cached,
        "gen_ai.usage.cost": record.cost,
        "http.request.method": record.method,
        "http.response.status_code": record.status or None,
        "url.path": record.path,
        "user_agent.original": record.user_agent,
        "user.id": record.user,
        "trunkline.log_id": record.id,
        "trunkline.gateway": record.gateway,
        "trunkline.request_type": record.request_type,
        "trunkline.key_id": record.key_id,
        "trunkline.cached": record.cached,
        "trunkline.attempts": record.attempts,
        "trunkline.first_byte_ms": record.first_byte_ms,
        "trunkline.end_reason": record.end_reason,
        "error.type": None if record.success else str(record.error_code or record.status or record.end_reason),
    }
    # Metadata goes by its own names, as with Cloudflare; a name of ours is not given away.
    return {**record.metadata, **{name: value for name, value in told.items() if value not in (None, "")}}
