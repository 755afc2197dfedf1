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
_G711_RATE: Final = 8000
_INPUT_FORMAT: Final = "input_audio_format"
_OUTPUT_FORMAT: Final = "output_audio_format"
_FORMAT_NAMES: Final = (_INPUT_FORMAT, _OUTPUT_FORMAT)
# Beta name -> where it is in a GA session, or in the settings of a response.
_PLACES: Final[dict[str, tuple[str, ...]]] = {
    _INPUT_FORMAT: ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
    _OUTPUT_FORMAT: ("audio", "output", "format"),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "max_response_output_tokens": ("max_output_tokens",),
    "modalities": ("output_modalities",),
}
# A response that is shown, other than one that is asked for, calls its limit the same in both.
_SHOWN_PLACES: Final = {name: place for name, place in _PLACES.items() if name != "max_response_output_tokens"}
# GA refuses it; beta clients expect it.
_GONE: Final = frozenset({"temperature"})
_TEMPERATURE: Final = 0.8
# GA refuses them in a session that only transcribes.
_NOT_TRANSCRIBING: Final = frozenset({"modalities"})
# What a beta client reads from every session, where the provider leaves it at what both dialects begin with.
_DEFAULTS: Final[dict[str, Any]] = {
    "modalities": ["text", "audio"],
    _INPUT_FORMAT: "pcm16",
    _OUTPUT_FORMAT: "pcm16",
    "temperature": _TEMPERATURE,
}
# Members that only the GA form has.
_OF_GA: Final = frozenset({"type", "audio", "output_modalities"})
_ABSENT: Final = object()


def session_to_ga(session: Mapping[str, Any], kind: str = "realtime") -> dict[str, Any]:
    """Return a session's settings in GA form; one that is in that form already stays as it is.

    What is not set stays so, except for the type, which GA wants to be told: ``kind`` where the session has none.
    Raises `MalformedRequest` when a setting cannot be put where it belongs.
    """
    said = {"type": kind, **session}
    if said["type"] == "transcription":
        said = {name: value for name, value in said.items() if name not in _NOT_TRANSCRIBING}
    return _to_ga(said)


def session_update_to_ga(session: Mapping[str, Any], kind: str = "realtime") -> dict[str, Any]:
    """Return a change of settings in GA form; one with a setting that has no place there stays as it is."""
    try:
        return session_to_ga(session, kind)
    except MalformedRequest:
        return dict(session)


def response_to_ga(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked of one response in GA form; with a setting that has no place there, as it is."""
    try:
        return _to_ga(response)
    except MalformedRequest:
        return dict(response)


def is_transcription(session: Mapping[str, Any]) -> bool:
    """Whether a provider's session only transcribes."""
    return session.get("type") == "transcription" or session.get("object") == "realtime.transcription_session"


def session_to_beta(session: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provider's session in beta form; one that is in that form already stays as it is."""
    if _OF_GA.isdisjoint(session):
        return dict(session)
    shown = _to_beta(session, _PLACES)
    shown.pop("type", None)
    return shown if is_transcription(session) else {**_DEFAULTS, **shown}


def response_to_beta(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provider's response, less its output, in beta form; one in that form already stays as it is."""
    if _OF_GA.isdisjoint(response):
        return dict(response)
    return {"temperature": _TEMPERATURE, **_to_beta(response, _SHOWN_PLACES)}


def parameter_to_beta(parameter: str) -> str:
    """Return what the beta calls the setting that an error names: ``session.audio.output.voice``, ``session.voice``."""
    root, _, path = parameter.partition(".")
    if root in ("session", "response"):
        for beta, place in _PLACES.items():
            ga = ".".join(place)
            if path == ga or path.startswith((f"{ga}.", f"{ga}[")):
                # A format is one word in the beta, with nothing in it to name.
                return f"{root}.{beta}" if beta in _FORMAT_NAMES else f"{root}.{beta}{path[len(ga) :]}"
    return parameter


def _to_ga(settings: Mapping[str, Any]) -> dict[str, Any]:
    result = {name: value for name, value in settings.items() if name not in _PLACES and name not in _GONE}
    if isinstance(result.get("audio"), Mapping):  # things are put into it and its sides: the caller's stay as they are
        sides = result["audio"].items()
        result["audio"] = {side: dict(value) if isinstance(value, Mapping) else value for side, value in sides}
    for name, place in _PLACES.items():
        if name not in settings:
            continue
        target = result
        for step in place[:-1]:
            target = target.setdefault(step, {})
            if not isinstance(target, dict):
                raise MalformedRequest(f"session.{step} is an object; {name} belongs into it.")
        target[place[-1]] = _value_to_ga(name, settings[name])
    return result


def _to_beta(settings: Mapping[str, Any], places: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    moved = {place[0] for place in places.values()}
    result = {name: value for name, value in settings.items() if name not in moved}
    for name, place in places.items():
        value: Any = settings
        for step in place:
            value = value.get(step, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if value is not _ABSENT:
            result[name] = _value_to_beta(name, value)
    return result


def _value_to_ga(name: str, value: Any) -> Any:
    if name in _FORMAT_NAMES and isinstance(value, str):
        return _FORMATS.get(value, value)
    if name == "modalities" and isinstance(value, list):
        return ["audio"] if "audio" in value else value
    return value


def _value_to_beta(name: str, value: Any) -> Any:
    if name in _FORMAT_NAMES and isinstance(value, Mapping):
        # One that the beta has no word for, such as PCM of another rate, is better shown as it is than called another.
        return next((beta for beta, ga in _FORMATS.items() if _is_same_format(value, ga)), value)
    if name == "modalities" and isinstance(value, list):
        return ["text", "audio"] if value == ["audio"] else value
    return value


def _is_same_format(value: Mapping[str, Any], ga: Mapping[str, Any]) -> bool:
    return value.get("type") == ga["type"] and value.get("rate") in (None, ga.get("rate", _G711_RATE))
