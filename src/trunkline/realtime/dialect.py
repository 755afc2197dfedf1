"""The retired beta dialect of OpenAI's Realtime API, put into the general one (GA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from trunkline.errors import MalformedRequest

_FORMATS: Final[dict[str, dict[str, Any]]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
# Beta name -> where it is in a GA session.
_PLACES: Final = {
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "output_audio_format": ("audio", "output", "format"),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "max_response_output_tokens": ("max_output_tokens",),
    "modalities": ("output_modalities",),
}
# GA refuses it.
_GONE: Final = frozenset({"temperature"})


def session_to_ga(session: Mapping[str, Any], kind: str = "realtime") -> dict[str, Any]:
    """Return a session's settings in GA form; one that is in that form already stays as it is.

    Raises `MalformedRequest` when a setting cannot be put where it belongs.
    """
    result: dict[str, Any] = {"type": session.get("type", kind)}
    for name, value in session.items():
        if name in _GONE:
            continue
        place = _PLACES.get(name, (name,))
        target = result
        for step in place[:-1]:
            target = target.setdefault(step, {})
            if not isinstance(target, dict):
                raise MalformedRequest(f"session.{step} is an object; {name} belongs into it.")
        target[place[-1]] = _value_to_ga(name, value)
    return result


def _value_to_ga(name: str, value: Any) -> Any:
    if name in ("input_audio_format", "output_audio_format") and isinstance(value, str):
        return _FORMATS.get(value, value)
    if name == "modalities" and isinstance(value, list):
        return ["audio"] if "audio" in value else value
    if isinstance(value, Mapping):
        return dict(value)  # the caller's own stays untouched when something is put beside it
    return value
