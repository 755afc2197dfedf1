"""Cohere's own API, first and second version: chat, embeddings and rerank. Counts are as billed, where it says so."""

from __future__ import annotations

import re
from typing import Any, Final

from trunkline.policy.usage.document import Document, Findings, read_document, read_value
from trunkline.policy.usage.tokens import TokenUsage, count, part

MARKS: Final = re.compile(r'"(?:message-end|stream-end|error|usage|meta)"')


def read(found: Findings, document: Document, event: str) -> None:
    """Take one body or event."""
    found.name_model(document.model)
    found.state(document.usage)
    found.state(document.meta)
    found.end(document.finish_reason)
    if document.error:
        found.fail(document.error)
    if document.type == "message-end":
        delta: Any = read_value(document.delta) if document.delta else None
        found.state(part(delta, "usage"))
        if isinstance(delta, dict):
            found.end(delta.get("finish_reason"))
            if delta.get("error"):
                found.fail(delta["error"])
        found.is_done = True
    elif document.event_type == "stream-end":  # the first version
        response = read_document(document.response) if document.response else None
        if response is not None:
            found.state(response.meta)
            found.end(response.finish_reason)
        found.is_done = True


def tokens(found: Findings, provider: str) -> TokenUsage | None:
    """Return what was stated, or None."""
    billed, all_of_it = part(found.stated, "billed_units"), part(found.stated, "tokens")
    if not billed and not all_of_it:
        return None
    counted = billed if count(billed, "input_tokens", "output_tokens") else all_of_it
    return TokenUsage(
        input=count(counted, "input_tokens") + count(billed, "image_tokens"),
        output=count(counted, "output_tokens"),
        cached=min(count(found.stated, "cached_tokens"), count(counted, "input_tokens")),
        input_image=count(billed, "image_tokens"),
        pages=count(billed, "pages"),
        searches=count(billed, "search_units"),
    )
