"""What an exchange costs, in US dollars, from the usage that its answer states."""

from __future__ import annotations

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
_REALTIME: Final = ("openai", "realtime")
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


def cost_of_turn(provider: str, model: str, done: Mapping[str, Any]) -> float | None:
    """Return the price of a realtime turn from its ``response.done`` event; None as in `cost_of_answer`."""
    return cost_of_answer(provider, model, _REALTIME, done)


def cost_of_transcription(provider: str, model: str, completed: Mapping[str, Any]) -> float | None:
    """Return at most what writing down a user's speech cost, from the event that says it is done.

    The model that did it is not known; listening is dearer with the session's own, whose price is taken.
    """
    usage = completed.get("usage") or {}
    if usage.get("type") == "duration":
        tokens = int(usage.get("seconds", 0) * _HEARD_TOKENS_PER_SECOND) + 1
        usage = {"input_tokens": tokens, "output_tokens": 0, "input_token_details": {"audio_tokens": tokens}}
    return cost_of_turn(provider, model, {"type": "response.done", "response": {"usage": usage}})


def cost_of_unfinished_turn(provider: str, model: str, received: int) -> float:
    """Return about what a realtime turn cost that nobody heard the end of; ``received`` is in bytes of its frames."""
    from genai_prices import Usage

    tokens = received // _SPOKEN_BYTES_PER_TOKEN + 1
    heard = {"input_tokens": tokens, "input_audio_tokens": tokens}
    return _priced(provider, model, Usage(**heard, output_tokens=tokens, output_audio_tokens=tokens)) or 0.0


def cost_by_length(provider: str, model: str, sent: int, received: int) -> float:
    """Return about what an exchange cost that ended before its usage was stated; lengths are in bytes."""
    from genai_prices import Usage

    counts = Usage(input_tokens=sent // _BYTES_PER_TOKEN, output_tokens=received // _BYTES_PER_TOKEN)
    return _priced(provider, model, counts) or 0.0


def _priced(provider: str, model: str, usage: Any) -> float | None:
    if provider in _FREE:
        return 0.0
    from genai_prices import calc_price

    try:
        return float(calc_price(usage, model, provider_id=_PRICED_AS.get(provider, provider)).total_price)
    except (LookupError, ValueError):
        return None
