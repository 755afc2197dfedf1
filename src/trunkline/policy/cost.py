"""What an exchange costs, in US dollars, from the usage that its answer states."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

# Providers whose price list goes by another name there.
_PRICED_AS: Final = {
    "aws-bedrock": "aws",
    "azure-openai": "azure",
    "google-ai-studio": "google",
    "google-vertex-ai": "google",
    "grok": "x-ai",
    "perplexity-ai": "perplexity",
}
# Runs on this machine.
_FREE: Final = frozenset({"local"})

# Whose way of stating usage an answer follows, by its path: (author, flavour) as the price library names them.
_READINGS: Final = (
    (re.compile(r"chat/completions$"), ("openai", "chat")),
    (re.compile(r"(?:^|/)responses$"), ("openai", "responses")),
    (re.compile(r"(?:^|/)embeddings$"), ("openai", "embeddings")),
    (re.compile(r"(?:^|/)messages$"), ("anthropic", "default")),
    (re.compile(r":(?:stream)?[gG]enerateContent$"), ("google", "default")),
)
# Of English text in JSON; fewer than there are, so that the estimate errs upwards.
_BYTES_PER_TOKEN: Final = 3
# A token of speech is 50 ms: 533 bytes of base64 in the leanest format. Of what is heard, one is 100 ms.
_SPOKEN_BYTES_PER_TOKEN: Final = 500
_HEARD_TOKENS_PER_SECOND: Final = 10

Reading = tuple[str, str]


def reading_of(rest: str) -> Reading | None:
    """Return how the usage of an answer from this path is read, or None where it states none that can be."""
    path = rest.partition("?")[0].strip("/")
    return next((reading for pattern, reading in _READINGS if pattern.search(path)), None)


def price_is_known(provider: str, model: str) -> bool:
    """Whether what a model costs can be told."""
    from genai_prices import Usage

    return _priced(provider, model, Usage(input_tokens=1, output_tokens=1)) is not None


def cost_of_answer(provider: str, model: str, reading: Reading, answer: Mapping[str, Any]) -> float | None:
    """Return the price of an answer, or None when it states no usage or the model has no price."""
    if provider in _FREE:
        return 0.0
    from genai_prices import extract_usage  # late: it reads a price list, and most gateways never ask

    author, flavour = reading
    try:
        usage = extract_usage(answer, provider_id=author, api_flavor=flavour).usage
    except (LookupError, ValueError, TypeError):
        return None
    return _priced(provider, model, usage)


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
    if provider in _FREE:
        return 0.0
    from genai_prices import Usage

    given, made = input_text + input_audio + input_image, output_text + output_audio
    cached_text, cached_audio = min(cached_text, input_text), min(cached_audio, input_audio)
    cached_image = min(cached_image, input_image)
    by_tokens = Usage(
        input_tokens=given,
        input_text_tokens=input_text,
        input_audio_tokens=input_audio,
        input_image_tokens=input_image,
        cache_read_tokens=cached_text + cached_audio + cached_image,
        cache_text_read_tokens=cached_text,
        cache_audio_read_tokens=cached_audio,
        cache_image_read_tokens=cached_image,
        output_tokens=made,
        output_text_tokens=output_text,
        output_audio_tokens=output_audio,
    )
    tokens_cost = _priced(provider, model, by_tokens, per="input_mtok") if given or made or not seconds else 0.0
    return _sum(tokens_cost, _cost_of_seconds(provider, model, seconds) if seconds else 0.0)


def _cost_of_seconds(provider: str, model: str, seconds: float) -> float | None:
    from genai_prices import Usage

    by_time = Usage(audio_seconds=seconds, input_audio_seconds=seconds)
    found = _priced(provider, model, by_time, per="audio_hours")
    if found is not None:
        return found
    tokens = math.ceil(seconds * _HEARD_TOKENS_PER_SECOND)
    return _priced(provider, model, Usage(input_tokens=tokens, input_audio_tokens=tokens), per="input_mtok")


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def cost_of_unfinished_turn(provider: str, model: str, received: int) -> float | None:
    """Return about what a realtime turn cost that nobody heard the end of; ``received`` is in bytes of its frames.

    None when the model has no price.
    """
    from genai_prices import Usage

    tokens = received // _SPOKEN_BYTES_PER_TOKEN + 1
    heard = {"input_tokens": tokens, "input_audio_tokens": tokens}
    usage = Usage(**heard, output_tokens=tokens, output_audio_tokens=tokens)
    return _priced(provider, model, usage, per="input_mtok")


def cost_by_length(provider: str, model: str, sent: int, received: int) -> float:
    """Return about what an exchange cost that ended before its usage was stated; lengths are in bytes."""
    from genai_prices import Usage

    counts = Usage(input_tokens=sent // _BYTES_PER_TOKEN, output_tokens=received // _BYTES_PER_TOKEN)
    return _priced(provider, model, counts) or 0.0


def _priced(provider: str, model: str, usage: Any, per: str = "") -> float | None:
    """Return the price of a usage; None where the model has none, or none that is ``per`` the unit named so."""
    if provider in _FREE:
        return 0.0
    from genai_prices import calc_price

    try:
        found = calc_price(usage, model, provider_id=_PRICED_AS.get(provider, provider))
    except (LookupError, ValueError):
        return None
    return None if per and getattr(found.model_price, per, None) is None else float(found.total_price)
