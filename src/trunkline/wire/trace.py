"""The trace that a request belongs to, as W3C Trace Context or Cloudflare's own headers tell it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from trunkline.wire.head import Head, once

# W3C Trace Context, section 3.2: version, trace id, parent id, flags; a later version may have more behind them.
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
_UNKNOWN_VERSION: Final = "ff"
_FIRST_VERSION: Final = "00"


class Trace(NamedTuple):
    """Ids in lower-case hex: 32 digits of the trace, 16 of the caller's span; empty where there is none."""

    trace_id: str = ""
    parent_span_id: str = ""


@once
def trace_of(head: Head) -> Trace:
    """Return the trace of a head; headers that are malformed count as absent.

    ``cf-aig-otel-trace-id`` and ``cf-aig-otel-parent-span-id`` say what is meant for the gateway, so they win over
    ``traceparent``; a parent without a trace means nothing.
    """
    trace_id = _valid(head.header(b"cf-aig-otel-trace-id"), _TRACE_ID)
    if trace_id:
        return Trace(trace_id, _valid(head.header(b"cf-aig-otel-parent-span-id"), _SPAN_ID))
    found = _TRACEPARENT.fullmatch((head.header(b"traceparent") or "").strip())
    if found is None:
        return Trace()
    version, trace_id, parent, _, rest = found.groups()
    if version == _UNKNOWN_VERSION or (version == _FIRST_VERSION and rest) or not _valid(trace_id, _TRACE_ID):
        return Trace()
    if not _valid(parent, _SPAN_ID):
        return Trace()
    return Trace(trace_id, parent)


def _valid(value: str | None, form: re.Pattern[str]) -> str:
    """Return an id in lower case, or nothing when it has another form or is all zeros, which stands for none."""
    text = (value or "").strip().lower()
    return text if form.fullmatch(text) and text.strip("0") else ""
