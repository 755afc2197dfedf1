"""One finished exchange as it is kept: a record in the journal, then a row of the table ``logs``."""

from __future__ import annotations

from typing import Any, Final

import msgspec


# Without the garbage collector, which hundreds at a time would call: records hold no cycles.
class LogRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One exchange. Fields are the columns of the table of the same names; none ever holds a secret.

    ``id`` is a ULID, which the caller got as ``cf-aig-log-id``; ``created_at`` is when the request came, in Unix
    seconds. ``path`` is what followed the provider, without a query. ``request_type`` is ``http``, ``universal``,
    ``websocket`` (universal) or ``realtime``; ``model_type`` the kind of work, such as ``chat`` or ``embeddings``.
    ``status`` is the HTTP status that the caller saw, 101 for a session.

    ``tokens_in`` and ``tokens_out`` are all of them, of which ``tokens_cached`` came from the provider's cache and
    ``tokens_audio`` (both ways) were sound; ``usage`` has every count that was stated, by name. They are None where
    nothing was stated. ``cost`` is in US dollars, None where it cannot be told; ``custom_cost``: by a price of the
    caller's or the gateway's own. ``first_byte_ms`` counts from the request, ``inter_token_*_ms`` is the time between
    events of a stream.

    ``end_reason``: ``complete``, ``refused`` (by the gateway, with ``error_code`` and ``error``), ``client_gone``,
    ``upstream_error`` (no answer), ``upstream_broken`` (cut short), ``cancelled``, or for a session who closed it.
    ``key_id`` is that of the gateway key behind it, ``caller`` its name, ``user`` the end user that the request names,
    ``key_source`` where the provider's key came from. ``attempts`` counts requests to providers, ``step`` is the
    universal step that answered.

    ``trace_id`` and ``parent_span_id`` are those of the caller's trace, in hex, empty where there was none.

    ``route`` is the dynamic route that was asked for, with its version; ``findings`` are those of the gateway's checks,
    each with ``rule``, ``check``, ``side``, ``action`` and ``kinds``.

    ``request`` and ``response`` are the bodies, redacted, where the gateway keeps them.
    """

    id: str
    gateway: str
    created_at: float
    duration_ms: float = 0.0
    provider: str = ""
    model: str = ""
    model_type: str = ""
    method: str = "POST"
    path: str = ""
    request_type: str = "http"
    request_content_type: str = ""
    response_content_type: str = ""
    status: int = 0
    success: bool = False
    cached: bool = False
    step: int = 0
    attempts: int = 1
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_audio: int | None = None
    usage: dict[str, Any] = {}
    cost: float | None = None
    custom_cost: bool = False
    connect_ms: float | None = None
    first_byte_ms: float | None = None
    inter_token_p50_ms: float | None = None
    inter_token_p99_ms: float | None = None
    end_reason: str = "complete"
    error_code: int = 0
    error: str = ""
    key_id: str = ""
    caller: str = ""
    user: str = ""
    key_source: str = ""
    session_id: str = ""
    event_id: str = ""
    trace_id: str = ""
    parent_span_id: str = ""
    user_agent: str = ""
    metadata: dict[str, str | int | float | bool] = {}
    route: str = ""
    findings: list[dict[str, Any]] = []
    request_size: int = 0
    response_size: int = 0
    request: bytes | None = None
    response: bytes | None = None


# To and from the bytes that a journal keeps.
encoded: Final = msgspec.msgpack.Encoder().encode
decoded: Final = msgspec.msgpack.Decoder(LogRecord).decode
