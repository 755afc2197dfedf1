"""What an exchange costs, in US dollars, from the usage that its answer states."""

from __future__ import annotations

import math
import time
from typing import Final

from trunkline.policy.price_list import Prices, Stepped, find_offer
from trunkline.policy.prices import CustomCost
from trunkline.policy.usage import Answered, TokenUsage

# Providers whose price list goes by another name there.
_PRICED_AS: Final = {
    "aws-bedrock": "aws",
    "azure-openai": "azure",
    "google-ai-studio": "google",
    "google-vertex-ai": "google",
    "grok": "x-ai",
    "perplexity-ai": "perplexity",
    "workers-ai": "cloudflare",
}
# Runs on this machine.
_FREE: Final = frozenset({"local"})

# Of English text in JSON; fewer than there are, so that the estimate errs upwards.
_BYTES_PER_TOKEN: Final = 3
# A token of speech is 50 ms: 533 bytes of base64 in the leanest format. Of what is heard, one is 100 ms.
_SPOKEN_BYTES_PER_TOKEN: Final = 500
_HEARD_TOKENS_PER_SECOND: Final = 10
# Groq bills no sound as shorter.
_LEAST_SECONDS: Final = 10.0


def price_is_known(provider: str, model: str) -> bool:
    """Whether what a model costs can be told."""
    return provider in _FREE or _prices(provider, model) is not None


def cost_of_answer(provider: str, answered: Answered, custom: CustomCost | None = None) -> float | None:
    """Return the price of an answer: by a custom price, as the provider states it, or by the list; None if unknown.

    The model that the answer names counts; where the list lacks it, the one that was asked for.
    """
    if custom is not None:
        return _custom(custom, answered.usage)
    if provider in _FREE:
        return 0.0
    if answered.stated_cost is not None:
        return answered.stated_cost
    if answered.usage is None:
        return None
    found = cost_of_tokens(provider, answered.model, answered.usage)
    if found is None and answered.asked_model != answered.model:
        found = cost_of_tokens(provider, answered.asked_model, answered.usage)
    return found


def cost_of_tokens(provider: str, model: str, usage: TokenUsage, custom: CustomCost | None = None) -> float | None:
    """Return what a usage costs, each modality and what the cache held at its own rate.

    None when the model has no price for something that it used.
    """
    if custom is not None:
        return _custom(custom, usage)
    if provider in _FREE:
        return 0.0
    prices = _prices(provider, model, usage.tier)
    if prices is None:
        return None
    has_tokens = _has(prices, "input_mtok", "output_mtok")
    if (
        (usage.total and not has_tokens)
        or (usage.characters and not usage.total and not _has(prices, "input_mchars"))
        or (usage.pages and not _has(prices, "input_document_kpages"))
        or (usage.images and not usage.total)
    ):
        return None
    cost = _cost_of_tokens(prices, usage)
    for amount, unit, per in (
        (usage.searches, "web_searches_kcount", 1e3),
        (0 if usage.total else usage.characters, "input_mchars", 1e6),
        (usage.pages, "input_document_kpages", 1e3),
        (1, "requests_kcount", 1e3),
    ):
        if amount:
            cost += amount * _rate(prices, usage.input, unit) / per
    # What states both is billed by its tokens: the seconds say how long it was.
    if usage.seconds and not (usage.total and not _has(prices, "audio_hours")):
        spoken = _cost_of_seconds(provider, model, usage.seconds)
        return None if spoken is None else cost + spoken
    return cost


def _cost_of_tokens(prices: Prices, usage: TokenUsage) -> float:
    """Return the price of all tokens: each kind at the most particular price that the model has for it.

    No part counts for more than its whole.
    """
    if usage.is_plain:
        text = usage.input * _rate(prices, usage.input, "input_mtok") + usage.output * _rate(
            prices, usage.input, "output_mtok"
        )
        return text / 1e6
    audio, image, video = usage.input_audio, usage.input_image, usage.input_video
    given = max(usage.input, audio + image + video)
    text = given - audio - image - video
    cached_audio, cached_image = min(usage.cached_audio, audio), min(usage.cached_image, image)
    # A cache that is not stated by modality holds text first.
    unnamed = max(usage.cached - usage.cached_audio - usage.cached_image, 0)
    cached_text = min(unnamed, text)
    more_audio = min(unnamed - cached_text, audio - cached_audio)
    more_image = min(unnamed - cached_text - more_audio, image - cached_image)
    cached_audio, cached_image = cached_audio + more_audio, cached_image + more_image
    written = min(usage.cache_write, text - cached_text)
    lasting = min(usage.cache_write_1h, written)
    made_audio, made_image, made_video = usage.output_audio, usage.output_image, usage.output_video
    made = max(usage.output, made_audio + made_image + made_video)
    made_text = made - made_audio - made_image - made_video
    reasoning = min(usage.reasoning, made_text)
    citations = min(usage.citations, made_text - reasoning)
    into, out_of = "input_mtok", "output_mtok"
    kinds = (
        (text - cached_text - written, (into,)),
        (audio - cached_audio, ("input_audio_mtok", into)),
        (image - cached_image, ("input_image_mtok", into)),
        (video, ("input_video_mtok", into)),
        (cached_text, ("cache_read_mtok", into)),
        (cached_audio, ("cache_audio_read_mtok", "cache_read_mtok", "input_audio_mtok", into)),
        (cached_image, ("cache_image_read_mtok", "cache_read_mtok", "input_image_mtok", into)),
        (written - lasting, ("cache_write_mtok", into)),
        (lasting, ("cache_write_1h_mtok", "cache_write_mtok", into)),
        (made_text - reasoning - citations, (out_of,)),
        (reasoning, ("output_reasoning_mtok", out_of)),
        (citations, ("output_citation_mtok", out_of)),
        (made_audio, ("output_audio_mtok", out_of)),
        (made_image, ("output_image_mtok", out_of)),
        (made_video, ("output_video_mtok", out_of)),
    )
    return sum(count * _rate(prices, given, *units) for count, units in kinds if count) / 1e6


def _custom(custom: CustomCost, usage: TokenUsage | None) -> float | None:
    if custom.total_cost is not None:
        return custom.total_cost
    if usage is None:
        return None
    given = custom.per_token_in or 0.0
    read, write = (
        given if price is None else price for price in (custom.per_cache_read_token, custom.per_cache_write_token)
    )
    cached = min(usage.cached, usage.input)
    written = min(usage.cache_write, usage.input - cached)
    fresh = usage.input - cached - written
    return fresh * given + cached * read + written * write + usage.output * (custom.per_token_out or 0.0)


def cost_of_usage(
    provider: str,
    model: str,
    *,
    input_text: int = 0,
    input_audio: int = 0,
    input_image: int = 0,
    cached_text: int = 0,
    cached_audio: int = 0,
    cached_image: int = 0,
    output_text: int = 0,
    output_audio: int = 0,
    seconds: float = 0.0,
) -> float | None:
    """Return what a realtime response or a transcription cost, each modality at its own rate.

    Counts are in tokens, those from a cache being part of the input of the same modality; ``seconds`` are of sound
    that a model heard which is billed by time. None when the model has no price for what it used.
    """
    cached_text, cached_audio = min(cached_text, input_text), min(cached_audio, input_audio)
    cached_image = min(cached_image, input_image)
    usage = TokenUsage(
        input=input_text + input_audio + input_image,
        input_audio=input_audio,
        input_image=input_image,
        cached=cached_text + cached_audio + cached_image,
        cached_audio=cached_audio,
        cached_image=cached_image,
        output=output_text + output_audio,
        output_audio=output_audio,
        seconds=seconds,
    )
    return cost_of_tokens(provider, model, usage)


def _cost_of_seconds(provider: str, model: str, seconds: float) -> float | None:
    prices = _prices(provider, model)
    if prices is not None and _has(prices, "audio_hours"):
        billed = max(seconds, _LEAST_SECONDS) if provider == "groq" else seconds
        return billed * _rate(prices, 0, "audio_hours") / 3600
    tokens = math.ceil(seconds * _HEARD_TOKENS_PER_SECOND)
    return cost_of_tokens(provider, model, TokenUsage(input=tokens, input_audio=tokens))


def cost_of_unfinished_turn(provider: str, model: str, received: int) -> float | None:
    """Return about what a realtime turn cost that nobody heard the end of; ``received`` is in bytes of its frames.

    None when the model has no price.
    """
    tokens = received // _SPOKEN_BYTES_PER_TOKEN + 1
    heard = TokenUsage(input=tokens, input_audio=tokens, output=tokens, output_audio=tokens)
    return cost_of_tokens(provider, model, heard)


def cost_by_length(provider: str, model: str, sent: int, received: int) -> float:
    """Return about what an exchange cost that ended before its usage was stated; lengths are in bytes."""
    counts = TokenUsage(input=sent // _BYTES_PER_TOKEN, output=received // _BYTES_PER_TOKEN)
    return cost_of_tokens(provider, model, counts) or 0.0


def _prices(provider: str, model: str, tier: str = "") -> Prices | None:
    """Return the prices that count for a model now, by unit, or None where the list lacks it."""
    offer = find_offer(_PRICED_AS.get(provider, provider), model)
    # The one clock of the cores: some prices change with the day or the hour.
    return None if offer is None else offer.at(time.time(), tier)


def _has(prices: Prices, *units: str) -> bool:
    """Whether a model has a price by one of these units."""
    return any(prices.get(unit) is not None for unit in units)


def _rate(prices: Prices, given: int, *units: str) -> float:
    """Return the first price there is by one of these units, or 0; it may depend on how many tokens went in."""
    for unit in units:
        price = prices.get(unit)
        if price is not None:
            return price.at(given) if isinstance(price, Stepped) else price
    return 0.0
