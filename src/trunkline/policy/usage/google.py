"""Gemini's own API, at AI Studio and at Vertex AI: generated content, embeddings, interactions and predictions."""

from __future__ import annotations

import re
from typing import Any, Final

from trunkline.policy.usage.document import Document, Findings, finish_reason_of, read_document, read_value
from trunkline.policy.usage.tokens import TokenUsage, count, members, part, words

MARKS: Final = re.compile(r'"(?:usageMetadata|finishReason|blockReason|error|usage)"')


def read(found: Findings, document: Document, event: str) -> None:
    """Take one body, event, or element of a streamed array."""
    found.name_model(document.model_version, document.model)
    found.state(document.usage_metadata)
    found.state(document.usage)
    found.tier = words(document.service_tier, 40) or found.tier
    if document.status is not None:
        found.end(document.status)
    if document.error:
        found.fail(document.error)
    blocked = members(document.prompt_feedback).get("blockReason")
    reason = blocked or (finish_reason_of(document.candidates) if document.candidates else "")
    if reason:
        # The usage stands in the same document.
        found.end(reason)
        found.is_done = True
    if document.predictions:
        _read_predictions(found, document)
    interaction = read_document(document.interaction) if document.interaction else None
    if interaction is not None:
        found.name_model(interaction.model)
        found.state(interaction.usage)
        found.tier = words(interaction.service_tier, 40) or found.tier
        found.end(interaction.status)
    if document.event_type in ("interaction.completed", "interaction.complete"):
        found.is_done = True


def _read_predictions(found: Findings, document: Document) -> None:
    """Read Vertex AI's older models: embeddings state the tokens of each text, Imagen's images are counted."""
    predictions: Any = read_value(document.predictions)
    for one in predictions if isinstance(predictions, list) else ():
        given = count(part(part(one, "embeddings"), "statistics"), "token_count")
        if given:
            found.state({"promptTokenCount": count(found.stated, "promptTokenCount") + given})
        if isinstance(one, dict) and "bytesBase64Encoded" in one:
            found.images += 1


def tokens(found: Findings, provider: str) -> TokenUsage | None:
    """Return what was stated, or None. What came out is the candidates and the thoughts, which Gemini states apart."""
    stated = found.stated
    if not stated:
        return TokenUsage(images=found.images) if found.images else None
    thoughts = count(stated, "thoughtsTokenCount", "total_thought_tokens")
    given, tools, cached, made = (
        _by_modality(stated.get(generated) or stated.get(interacted)) for generated, interacted in _DETAILS
    )
    return TokenUsage(
        input=count(stated, "promptTokenCount", "total_input_tokens")
        + count(stated, "toolUsePromptTokenCount", "total_tool_use_tokens"),
        output=count(stated, "candidatesTokenCount", "total_output_tokens") + thoughts,
        cached=count(stated, "cachedContentTokenCount", "total_cached_tokens"),
        reasoning=thoughts,
        input_audio=given.get("AUDIO", 0) + tools.get("AUDIO", 0),
        output_audio=made.get("AUDIO", 0),
        cached_audio=cached.get("AUDIO", 0),
        input_image=_seen(given) + _seen(tools),
        output_image=_seen(made),
        cached_image=_seen(cached),
        input_video=given.get("VIDEO", 0) + tools.get("VIDEO", 0),
        output_video=made.get("VIDEO", 0),
        images=found.images,
        tier=_tier(stated) or found.tier,
    )


# What went in, what tools added, what the cache held and what came out, by modality: of generated content, and of
# interactions.
_DETAILS: Final = (
    ("promptTokensDetails", "input_tokens_by_modality"),
    ("toolUsePromptTokensDetails", "tool_use_tokens_by_modality"),
    ("cacheTokensDetails", "cached_tokens_by_modality"),
    ("candidatesTokensDetails", "output_tokens_by_modality"),
)


def _by_modality(details: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in details if isinstance(details, list) else ():
        modality = words(one.get("modality")).upper() if isinstance(one, dict) else ""
        if modality:
            found[modality] = found.get(modality, 0) + count(one, "tokenCount", "tokens")
    return found


def _tier(stated: dict[str, Any]) -> str:
    """Return how the work was billed: AI Studio has a word for it, Vertex AI a kind of traffic."""
    traffic = words(stated.get("trafficType"), 40).lower().removeprefix("on_demand_")
    return words(stated.get("serviceTier"), 40) or (traffic if traffic in ("flex", "priority") else "")


def _seen(counts: dict[str, int]) -> int:
    return counts.get("IMAGE", 0) + counts.get("DOCUMENT", 0)
