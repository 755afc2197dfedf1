"""A session's settings in the retired beta dialect of OpenAI's Realtime API and in the general one (GA)."""

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
# What the beta calls otherwise in a response than in a session.
_RESPONSE_NAMES: Final = {"max_response_output_tokens": "max_output_tokens"}
_TEMPERATURE: Final = 0.8
_ABSENT: Final = object()
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


def session_update_to_ga(session: Mapping[str, Any]) -> dict[str, Any]:
    """Return a change of settings in GA form, without anything that it does not change.

    What has no place there stays where it is, for the provider to object to.
    """
    try:
        return session_to_ga(session)
    except MalformedRequest:
        return dict(session)


def response_to_ga(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of one response in GA form: like a session's, without a type."""
    translated = session_update_to_ga(response)
    if "type" not in response:
        translated.pop("type", None)
    return translated


def session_to_beta(session: Mapping[str, Any], *, is_response: bool = False) -> dict[str, Any]:
    """Return a session's settings, or a response, in beta form; one that is in that form already stays as it is."""
    result = {name: value for name, value in session.items() if name not in ("audio", "output_modalities", "type")}
    for beta, place in _PLACES.items():
        value: Any = session
        for step in place:
            value = value.get(step, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if value is _ABSENT:
            continue
        if len(place) == 1:
            result.pop(place[0], None)
        result[_RESPONSE_NAMES.get(beta, beta) if is_response else beta] = _value_to_beta(beta, value)
    if "audio" in session or "output_modalities" in session:
        result.setdefault("temperature", _TEMPERATURE)
    return result


def _value_to_beta(name: str, value: Any) -> Any:
    if name in ("input_audio_format", "output_audio_format") and isinstance(value, Mapping):
        return next((beta for beta, ga in _FORMATS.items() if ga["type"] == value.get("type")), value)
    if name == "modalities" and isinstance(value, list):
        return ["text", "audio"] if value == ["audio"] else value
    return value


def _value_to_ga(name: str, value: Any) -> Any:
    if name in ("input_audio_format", "output_audio_format") and isinstance(value, str):
        return _FORMATS.get(value, value)
    if name == "modalities" and isinstance(value, list):
        return ["audio"] if "audio" in value else value
    if isinstance(value, Mapping):
        return dict(value)  # the caller's own stays untouched when something is put beside it
    return value
