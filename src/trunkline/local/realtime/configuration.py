"""What a session is set up to do: its object as clients see it, and how an update changes it, whole or not at all."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from trunkline.local.realtime.hearing import FORMATS, AudioFormat
from trunkline.local.realtime.mistakes import ClientMistake, checked
from trunkline.local.realtime.turns import TurnRules, semantic_rules

Kind = Literal["realtime", "transcription"]

VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
"""The names a session may ask for. One voice is behind them all; the session shows the name that was asked for."""

MAX_METADATA_PAIRS: Final = 16


class _Strict(Struct, forbid_unknown_fields=True):
    """A part of an update: fields that are not present stay as they are."""


class Pcm(_Strict, tag="audio/pcm"):
    """16-bit little-endian mono at 24 kHz."""

    rate: Literal[24_000] = 24_000


class Pcmu(_Strict, tag="audio/pcmu"):
    """G.711 mu-law at 8 kHz."""

    rate: Literal[8_000] | UnsetType = UNSET


class Pcma(_Strict, tag="audio/pcma"):
    """G.711 A-law at 8 kHz."""

    rate: Literal[8_000] | UnsetType = UNSET


Format = Pcm | Pcmu | Pcma


class NoiseReduction(_Strict):
    """Accepted and shown; the recogniser has none."""

    type: Literal["near_field", "far_field"] | UnsetType = UNSET
    strength: float | UnsetType = UNSET


class Transcription(_Strict):
    """Asks for transcripts of what the user says. One recogniser serves every model name; it knows English."""

    model: str | UnsetType = UNSET
    language: str | UnsetType | None = UNSET
    languages: list[str] | UnsetType = UNSET
    prompt: str | UnsetType | None = UNSET
    keywords: list[str] | UnsetType = UNSET
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | UnsetType = UNSET


class ServerVad(_Strict, tag="server_vad"):
    """Turns end after a silence."""

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=10_000)] = 300
    silence_duration_ms: Annotated[int, Meta(ge=0, le=10_000)] = 500
    idle_timeout_ms: Annotated[int, Meta(ge=5_000, le=30_000)] | None = None
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(_Strict, tag="semantic_vad"):
    """Turns end after a silence whose length follows from the eagerness; see `turns.semantic_rules`."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = ServerVad | SemanticVad


class AudioInput(_Strict):
    """``audio.input``."""

    format: Format | UnsetType = UNSET
    noise_reduction: NoiseReduction | UnsetType | None = UNSET
    transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET


class VoiceId(_Strict):
    """A voice by its id."""

    id: str


class AudioOutput(_Strict):
    """``audio.output``."""

    format: Format | UnsetType = UNSET
    voice: Literal[VOICES] | VoiceId | UnsetType = UNSET  # type: ignore[valid-type]
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] | UnsetType = UNSET


class SessionAudio(_Strict):
    """``audio``."""

    input: AudioInput | UnsetType = UNSET
    output: AudioOutput | UnsetType = UNSET


class FunctionTool(_Strict):
    """A function that the model may call."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    type: Literal["function"] = "function"
    description: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET


class FunctionChoice(_Strict):
    """The function that must be called."""

    name: str
    type: Literal["function"] = "function"


Modalities = Annotated[list[Literal["text", "audio"]], Meta(min_length=1, max_length=1)]
MaxTokens = Annotated[int, Meta(ge=1, le=4096)] | Literal["inf"]
ToolChoice = Literal["auto", "none", "required"] | FunctionChoice
Include = list[Literal["item.input_audio_transcription.logprobs"]]


class RealtimeUpdate(_Strict):
    """``session.update`` of a conversation."""

    type: Literal["realtime"]
    model: str | UnsetType = UNSET
    instructions: str | UnsetType = UNSET
    output_modalities: Modalities | UnsetType = UNSET
    audio: SessionAudio | UnsetType = UNSET
    tools: list[FunctionTool] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    max_output_tokens: MaxTokens | UnsetType = UNSET
    truncation: Literal["auto", "disabled"] | dict[str, Any] | UnsetType = UNSET
    tracing: Literal["auto"] | dict[str, Any] | UnsetType | None = UNSET
    prompt: dict[str, Any] | UnsetType | None = UNSET
    include: Include | UnsetType | None = UNSET
    reasoning: dict[str, Any] | UnsetType | None = UNSET


class TranscriptionAudio(_Strict):
    """``audio`` of a session that only transcribes."""

    input: AudioInput | UnsetType = UNSET


class TranscriptionUpdate(_Strict):
    """``session.update`` of a session that only transcribes."""

    type: Literal["transcription"]
    audio: TranscriptionAudio | UnsetType = UNSET
    include: Include | UnsetType | None = UNSET


class ResponseAudio(_Strict):
    """``response.audio``."""

    output: AudioOutput | UnsetType = UNSET


Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=MAX_METADATA_PAIRS),
]


class ResponseParameters(_Strict):
    """What one response does otherwise than the session says."""

    # LiveKit writes null into a response that has no instructions of its own.
    instructions: str | UnsetType | None = UNSET
    output_modalities: Modalities | UnsetType = UNSET
    audio: ResponseAudio | UnsetType = UNSET
    tools: list[FunctionTool] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    max_output_tokens: MaxTokens | UnsetType = UNSET
    conversation: Literal["auto", "none"] = "auto"
    input: list[dict[str, Any]] | None = None
    metadata: Metadata | None = None
    prompt: dict[str, Any] | UnsetType | None = UNSET
    reasoning: dict[str, Any] | UnsetType | None = UNSET


class Configuration:
    """The settings of a session, as the object that clients are shown."""

    def __init__(self, kind: Kind, session_id: str, model: str, expires_at: int) -> None:
        """Start with the defaults. ``expires_at`` is in seconds since 1970."""
        identity = {"type": kind, "id": session_id, "expires_at": expires_at}
        if kind == "realtime":
            self.shown = {"object": "realtime.session", **identity, "model": model, **_conversation_defaults()}
        else:
            audio = {"input": _input_defaults() | {"transcription": {"model": model}}}
            self.shown = {"object": "realtime.transcription_session", **identity, "audio": audio, "include": None}

    @property
    def transcribes_only(self) -> bool:
        """Whether the session never answers."""
        return bool(self.shown["type"] == "transcription")

    def update(self, change: Any, *, voice_is_fixed: bool) -> None:
        """Apply ``session.update``. Raises `ClientMistake` and changes nothing if any of it cannot be used."""
        shape = TranscriptionUpdate if self.transcribes_only else RealtimeUpdate
        checked(change, shape, "session")
        if "model" in change and change["model"] != self.shown["model"]:
            raise ClientMistake(
                "invalid_value", "The model of a session cannot be changed; open another one.", "session.model"
            )
        after = copy.deepcopy(self.shown)
        _merge(after, _completed(change))
        if voice_is_fixed and after["audio"]["output"]["voice"] != self.shown["audio"]["output"]["voice"]:
            raise ClientMistake(
                "cannot_update_voice",
                "The voice cannot be changed once the assistant has spoken.",
                "session.audio.output.voice",
            )
        self.shown = after

    @property
    def input_format(self) -> AudioFormat:
        """The format of the client's audio."""
        return FORMATS[self.shown["audio"]["input"]["format"]["type"]]

    @property
    def transcription(self) -> dict[str, Any] | None:
        """What transcripts are asked for, if they are."""
        return self.shown["audio"]["input"]["transcription"]  # type: ignore[no-any-return]

    @property
    def turn_detection(self) -> dict[str, Any] | None:
        """How turns are detected; None when the client commits them."""
        return self.shown["audio"]["input"]["turn_detection"]  # type: ignore[no-any-return]

    @property
    def turn_rules(self) -> TurnRules:
        """The rules for the ear; without turn detection it listens by the defaults."""
        detection = self.turn_detection
        if detection is None:
            return TurnRules()
        if detection["type"] == "semantic_vad":
            return semantic_rules(detection["eagerness"])
        return TurnRules(
            detection["threshold"],
            detection["prefix_padding_ms"],
            detection["silence_duration_ms"],
            detection["idle_timeout_ms"],
        )

    def for_response(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the session's settings with those of one (checked) ``response.create`` in their place."""
        own = _completed(parameters)
        if own.get("instructions") is None:
            own.pop("instructions", None)
        settings = {name: own.get(name, self.shown[name]) for name in _RESPONSE_SETTINGS}
        settings["output"] = {**self.shown["audio"]["output"], **own.get("audio", {}).get("output", {})}
        return settings


_RESPONSE_SETTINGS: Final = ("instructions", "output_modalities", "tools", "tool_choice", "max_output_tokens")


def _input_defaults() -> dict[str, Any]:
    return {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "noise_reduction": None,
        "transcription": None,
        "turn_detection": _complete_turn_detection({"type": "server_vad"}),
    }


def _conversation_defaults() -> dict[str, Any]:
    return {
        "instructions": "",
        "output_modalities": ["audio"],
        "audio": {
            "input": _input_defaults(),
            "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin", "speed": 1.0},
        },
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
        "reasoning": None,
    }


def _completed(change: dict[str, Any]) -> dict[str, Any]:
    """Return a checked change with the defaults that belong to the objects given in it."""
    change = copy.deepcopy(change)
    for tool in change.get("tools", ()):
        tool["type"] = "function"
    for side in change.get("audio", {}).values():
        if "format" in side:
            side["format"] = _complete_format(side["format"])
        if side.get("turn_detection"):
            side["turn_detection"] = _complete_turn_detection(side["turn_detection"])
    return change


def _complete_turn_detection(given: dict[str, Any]) -> dict[str, Any]:
    detection: ServerVad | SemanticVad = msgspec.convert(given, TurnDetection)
    return {"type": given["type"], **msgspec.structs.asdict(detection)}


def _complete_format(given: dict[str, Any]) -> dict[str, Any]:
    return {"type": "audio/pcm", "rate": 24_000} if given["type"] == "audio/pcm" else {"type": given["type"]}


def _merge(session: dict[str, Any], change: dict[str, Any]) -> None:
    """Put a change in place: ``audio`` and its two sides field by field, all else as a whole."""
    for name, value in change.items():
        if name == "audio":
            for side, fields in value.items():
                session["audio"][side].update(fields)
        else:
            session[name] = value
