"""The OpenAI API and its many likenesses: chat, completions, responses, embeddings, images, speech, transcriptions."""

from __future__ import annotations

import re
from typing import Any, Final

from trunkline.policy.usage.document import Document, Findings, finish_reason_of, length_of, read_document, read_value
from trunkline.policy.usage.request import Kind
from trunkline.policy.usage.tokens import TokenUsage, count, members, number, part, words

# An event that states one of these, and not as null, is worth decoding.
MARKS: Final = re.compile(r'"(?:usage|finish_reason|error|errors|x_groq)"\s*:\s*[^n\s]')

_ENDS: Final = frozenset(
    {
        "response.completed",
        "response.incomplete",
        "response.failed",
        "image_generation.completed",
        "image_edit.completed",
        "transcript.text.done",
        "speech.audio.done",
    }
)
# Perplexity bills thinking, and reading what it cites, beside its completion.
_THINKS_APART: Final = frozenset({"perplexity-ai"})


def read(found: Findings, document: Document, event: str) -> None:
    """Take one body or event."""
    kind = document.type if isinstance(document.type, str) else ""
    if document.response:
        response = read_document(document.response)
        if response is not None:
            _read_members(found, response)
    if document.result:  # Workers AI wraps its own models' answers
        result = read_document(document.result)
        if result is not None:
            _read_members(found, result)
    _read_members(found, document)
    if kind == "error" or event == "error":
        found.fail(document.error or {"code": kind, "message": _text(document.message)})
    if kind in _ENDS:
        found.is_done = True


def _read_members(found: Findings, document: Document) -> None:
    found.name_model(document.model)
    groq = members(document.x_groq)
    found.state(groq.get("usage"))
    if groq.get("error"):
        found.fail(groq["error"])
    found.state(document.usage)
    if isinstance(document.usage_info, dict):  # Mistral's OCR
        found.state(document.usage_info)
    found.tier = words(document.service_tier, 40) or found.tier
    if document.error:
        found.fail(document.error)
    if document.errors:
        found.fail(document.errors)
    if document.choices:
        found.end(finish_reason_of(document.choices))
    if document.object == "response":
        found.end(members(document.incomplete_details).get("reason") or document.status)


def read_whole(found: Findings, document: Document, kind: Kind) -> None:
    """Note what only a whole body tells: how many images it holds, how long the sound was that it writes down."""
    if kind == "image":
        found.images = length_of(document.data)
    elif kind == "transcription":
        metadata = read_value(document.metadata) if document.metadata else None  # Deepgram's
        stated = (document.duration, document.audio_duration_secs, members(metadata).get("duration"))
        found.seconds = next((seconds for value in stated if (seconds := _seconds(value))), 0.0)


def tokens(found: Findings, provider: str) -> TokenUsage | None:
    """Return what was stated, or None where nothing was.

    What a total states beyond what it names as in and out came out unseen: thinking, with xAI and Gemini.
    """
    stated = found.stated
    given = count(stated, "prompt_tokens", "input_tokens")
    made = count(stated, "completion_tokens", "output_tokens")
    total = count(stated, "total_tokens")
    if not given and not made:
        given = total
    of_input = part(stated, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    of_output = part(stated, "completion_tokens_details", "output_tokens_details", "output_token_details")
    of_cached = part(of_input, "cached_tokens_details")
    reasoning = count(of_output, "reasoning_tokens") or count(stated, "reasoning_tokens")
    tier = found.tier or words(stated.get("service_tier"), 40)
    citations = 0
    if provider in _THINKS_APART:
        citations = count(stated, "citation_tokens")
        apart = count(stated, "reasoning_tokens")
        made += apart + citations
    elif total > given + made and reasoning in (0, total - given - made):
        made = total - given
    usage = TokenUsage(
        input=given,
        output=made,
        cached=count(of_input, "cached_tokens", "cache_read_input_tokens")
        or count(stated, "prompt_cache_hit_tokens", "cached_tokens", "cached_prompt_text_tokens"),
        cache_write=count(of_input, "cache_write_tokens"),
        reasoning=reasoning,
        citations=citations,
        input_audio=count(of_input, "audio_tokens"),
        output_audio=count(of_output, "audio_tokens"),
        cached_audio=count(of_cached, "audio_tokens"),
        input_image=count(of_input, "image_tokens"),
        output_image=count(of_output, "image_tokens"),
        cached_image=count(of_cached, "image_tokens"),
        seconds=number(stated.get("seconds")) or number(stated.get("prompt_audio_seconds")) or found.seconds,
        images=found.images,
        pages=count(stated, "pages_processed"),
        searches=count(stated, "num_search_queries"),
        tier=tier,
    )
    return usage if stated or usage != TokenUsage(tier=tier) else None


def _seconds(value: Any) -> float:
    if isinstance(value, str):  # whisper-1 used to state it as text
        try:
            return number(float(value))
        except ValueError:
            return 0.0
    return number(value)


def _text(raw: Any) -> str:
    return words(read_value(raw), 500) if raw else ""
