"""Anthropic's messages, whole and streamed, wherever they are served: by itself, on Vertex AI, on Bedrock."""

from __future__ import annotations

import re
from typing import Final

from trunkline.policy.usage.document import Document, Findings, read_document, read_value
from trunkline.policy.usage.tokens import TokenUsage, count, members, part, words

MARKS: Final = re.compile(r'"(?:message_start|message_delta|message_stop|error)"')


def read(found: Findings, document: Document, event: str) -> None:
    """Take one body or event."""
    match document.type:
        case "message_start":
            message = read_document(document.message) if document.message else None
            if message is not None:
                found.name_model(message.model)
                found.state(message.usage)
        case "message_delta":
            found.state(document.usage)  # running totals, of what came out and, lately, of all
            delta = read_value(document.delta) if document.delta else None
            found.end(members(delta).get("stop_reason"))
        case "message_stop":
            found.is_done = True
        case "error":
            found.fail(document.error)
            found.is_done = True
        case _:
            found.name_model(document.model)
            found.state(document.usage)
            found.end(document.stop_reason)
            if document.error:
                found.fail(document.error)


def tokens(found: Findings, provider: str) -> TokenUsage | None:
    """Return what was stated, or None. Anthropic's input leaves out what the cache read and wrote: both are added."""
    stated = found.stated
    if not stated:
        return None
    cached, written = count(stated, "cache_read_input_tokens"), count(stated, "cache_creation_input_tokens")
    lasting = part(stated, "cache_creation")
    written = written or count(lasting, "ephemeral_5m_input_tokens") + count(lasting, "ephemeral_1h_input_tokens")
    return TokenUsage(
        input=count(stated, "input_tokens") + cached + written,
        output=count(stated, "output_tokens"),
        cached=cached,
        cache_write=written,
        cache_write_1h=min(count(lasting, "ephemeral_1h_input_tokens"), written),
        reasoning=count(part(stated, "output_tokens_details"), "thinking_tokens"),
        searches=count(part(stated, "server_tool_use"), "web_search_requests"),
        tier="fast" if stated.get("speed") == "fast" else words(stated.get("service_tier"), 40),
    )
