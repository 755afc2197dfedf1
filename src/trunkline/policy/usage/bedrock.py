"""AWS Bedrock: Converse, and the models' own formats through InvokeModel, whole and streamed."""

from __future__ import annotations

import binascii
import re
from typing import Any, Final

from trunkline.policy.usage import anthropic, openai
from trunkline.policy.usage.document import Document, Findings, read_document, read_value
from trunkline.policy.usage.tokens import TokenUsage, count, part

MARKS: Final = re.compile(r"")
_EVENTS: Final = frozenset({"", "messageStop", "metadata", "chunk"})
_MARKS_OF_CHUNKS: Final = re.compile(rb'"(?:usage|message_start|message_delta|amazon-bedrock-invocationMetrics)"')


def wants(event: str) -> bool:
    """Whether an event of the binary stream is worth decoding: one that holds a piece of text is not."""
    return event in _EVENTS or event.endswith(("Exception", "Error"))


def read(found: Findings, document: Document, event: str) -> None:
    """Take one body, or the payload of an event; ``event`` is its type, empty for a body."""
    if event.endswith(("Exception", "Error")):
        message: Any = read_value(document.message) if document.message else None
        found.fail({"type": event, "message": message})
        found.is_done = True
    elif event == "chunk":
        _read_chunk(found, document)
    else:
        found.state(document.usage)
        found.end(document.stop_reason_camel)
        # Models' own answers: Anthropic's has its fields, and whatever is streamed ends with a count.
        found.name_model(document.model)
        found.end(document.stop_reason)
        _read_metrics(found, document)
        if event == "metadata":
            found.is_done = True


def _read_chunk(found: Findings, document: Document) -> None:
    encoded: Any = read_value(document.bytes) if document.bytes else None
    try:
        inner = binascii.a2b_base64(encoded) if isinstance(encoded, str) else b""
    except ValueError:
        return
    within = read_document(inner) if _MARKS_OF_CHUNKS.search(inner) else None
    if within is None:
        return
    anthropic.read(found, within, "")
    metadata: Any = read_value(within.metadata) if within.metadata else None
    found.state(part(metadata, "usage"))  # Nova
    found.is_done = False
    _read_metrics(found, within)


def _read_metrics(found: Findings, document: Document) -> None:
    metrics = document.invocation_metrics
    if isinstance(metrics, dict):
        found.state({name: metrics[theirs] for theirs, name in _METRICS.items() if theirs in metrics})
        found.is_done = True


_METRICS: Final = {
    "inputTokenCount": "inputTokens",
    "outputTokenCount": "outputTokens",
    "cacheReadInputTokenCount": "cacheReadInputTokens",
    "cacheWriteInputTokenCount": "cacheWriteInputTokens",
}


def tokens(found: Findings, provider: str) -> TokenUsage | None:
    """Return what was stated, or None. As with Anthropic, the input leaves out what the cache read and wrote."""
    stated = found.stated
    if not count(stated, "inputTokens", "outputTokens"):
        # The models' own answers: Anthropic's, and those of open models, which answer as OpenAI does.
        return openai.tokens(found, provider) if "prompt_tokens" in stated else anthropic.tokens(found, provider)
    cached, written = count(stated, "cacheReadInputTokens"), count(stated, "cacheWriteInputTokens")
    lasting = 0
    details = stated.get("cacheDetails")
    for one in details if isinstance(details, list) else ():
        if isinstance(one, dict) and one.get("ttl") == "1h":
            lasting += count(one, "inputTokens")
    return TokenUsage(
        input=count(stated, "inputTokens") + cached + written,
        output=count(stated, "outputTokens"),
        cached=cached,
        cache_write=written,
        cache_write_1h=min(lasting, written),
    )
