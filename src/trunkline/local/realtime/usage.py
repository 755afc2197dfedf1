"""What a response used, by modality.

Audio is counted as OpenAI counts it: a token for each 100 ms of the user's and each 50 ms of the assistant's. Text is
what the chat model says it read and wrote, transcripts included; where it does not say (an answer that was cut off),
a token is taken for four characters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final

from trunkline.local.realtime.conversation import Item
from trunkline.local.realtime.prompts import Plan

_USER_MS_PER_TOKEN: Final = 100
_ASSISTANT_MS_PER_TOKEN: Final = 50
_CHARACTERS_PER_TOKEN: Final = 4


def response_usage(
    context: Iterable[Item], plan: Plan | None, output: Iterable[Item], reported: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the ``usage`` of a response. ``reported`` is a chat completion's usage; no ``plan``: nothing was asked."""
    output = list(output)
    reported = reported or {}
    text_in = reported.get("prompt_tokens")
    text_out = reported.get("completion_tokens")
    if text_in is None:
        text_in = _estimated(plan.instructions + json.dumps(plan.messages)) if plan else 0
    if text_out is None:
        text_out = _estimated("".join(map(_written, output)))
    audio_in = sum(map(_audio_tokens, context)) if plan else 0
    audio_out = sum(map(_audio_tokens, output))
    cached = (reported.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "total_tokens": text_in + audio_in + text_out + audio_out,
        "input_tokens": text_in + audio_in,
        "output_tokens": text_out + audio_out,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "image_tokens": 0,
            "cached_tokens": cached,
            "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
    }


def _estimated(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _written(item: Item) -> str:
    if item.type == "function_call":
        return str(item.body["arguments"])
    return "".join(part.get("text") or part.get("transcript") or "" for part in item.body["content"])


def _audio_tokens(item: Item) -> int:
    pace = _USER_MS_PER_TOKEN if item.role == "user" else _ASSISTANT_MS_PER_TOKEN
    return sum(math.ceil(sound.milliseconds / pace) for sound in item.sounds.values())
