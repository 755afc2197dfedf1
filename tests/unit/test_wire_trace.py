"""Which trace a request belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.wire.head import Head, Transport
from trunkline.wire.trace import Trace, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER, OTHER_SPAN = "1" * 32, "2" * 16


def head(**headers: str) -> Head:
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    return Head(Transport.HTTP, "POST", "/v1/a/b/openai/chat/completions", "", pairs)


def test_a_request_without_a_trace_has_none() -> None:
    assert trace_of(head()) == Trace("", "")


@pytest.mark.parametrize("value", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-more"])
def test_a_traceparent_names_trace_and_span(value: str) -> None:
    assert trace_of(head(traceparent=value)) == Trace(TRACE, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        "",
        "nonsense",
    ],
)
def test_a_traceparent_that_the_standard_forbids_counts_as_absent(value: str) -> None:
    assert trace_of(head(traceparent=value)) == Trace()


def test_the_gateways_own_headers_win_over_the_traceparent() -> None:
    both = head(
        traceparent=f"00-{TRACE}-{SPAN}-01",
        cf_aig_otel_trace_id=OTHER.upper(),
        cf_aig_otel_parent_span_id=OTHER_SPAN,
    )
    assert trace_of(both) == Trace(OTHER, OTHER_SPAN)
    assert trace_of(head(cf_aig_otel_trace_id=OTHER)) == Trace(OTHER, "")
    assert trace_of(head(cf_aig_otel_parent_span_id=OTHER_SPAN)) == Trace()


@given(st.text(max_size=80), st.text(max_size=40))
def test_whatever_is_sent_gives_ids_of_the_right_form_or_none(first: str, second: str) -> None:
    found = trace_of(head(traceparent=first, cf_aig_otel_trace_id=second))
    assert len(found.trace_id) in (0, 32)
    assert len(found.parent_span_id) in (0, 16)
