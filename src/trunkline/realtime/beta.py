"""The bridge between clients of OpenAI's retired beta dialect and providers that speak the general one (GA).

A client asks for the beta dialect in its handshake; the gateway keeps that mark to itself, since providers refuse it,
and translates every event both ways. What has no counterpart is passed as it is: the provider's own error is heard.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from trunkline.realtime.dialect import response_to_ga, session_to_beta, session_update_to_ga
from trunkline.realtime.frames import Frame
from trunkline.wire.head import Head
from trunkline.wire.subprotocols import BETA_MARKER

_HEADER: Final = b"openai-beta"
_MARK: Final = "realtime=v1"

# GA name -> beta name, where only the name differs.
_RENAMED: Final = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
}
# Said in GA besides what the beta said already.
_DROPPED: Final = frozenset({"conversation.item.done"})
_ITEM_EVENTS: Final = {
    "conversation.item.added": "conversation.item.created",
    "conversation.item.retrieved": "conversation.item.retrieved",
    "response.output_item.added": "response.output_item.added",
    "response.output_item.done": "response.output_item.done",
}
_PART_EVENTS: Final = frozenset({"response.content_part.added", "response.content_part.done"})
_PARTS_TO_BETA: Final = {"output_text": "text", "output_audio": "audio"}
_PARTS_TO_GA: Final = {"text": "output_text", "audio": "output_audio"}
_TYPE: Final = re.compile(r'("type"\s*:\s*")response\.output_')
_FRONT: Final = 200
# Where a setting is in GA -> what the beta calls it, for the parameter that an error names.
_PARAMETERS: Final = (
    ("session.audio.input.format", "session.input_audio_format"),
    ("session.audio.input.transcription", "session.input_audio_transcription"),
    ("session.audio.input.noise_reduction", "session.input_audio_noise_reduction"),
    ("session.audio.input.turn_detection", "session.turn_detection"),
    ("session.audio.output.format", "session.output_audio_format"),
    ("session.audio.output.voice", "session.voice"),
    ("session.audio.output.speed", "session.speed"),
    ("session.max_output_tokens", "session.max_response_output_tokens"),
    ("session.output_modalities", "session.modalities"),
)


def asks_for_beta(head: Head) -> bool:
    """Whether a client asks for the beta dialect, by header or sub-protocol."""
    return BETA_MARKER in head.subprotocols or any(
        _MARK in _values(value) for name, value in head.headers if name == _HEADER
    )


def without_beta_marker(head: Head) -> Head:
    """Return a head that no longer asks for the beta dialect; other values of the header stay."""
    headers = []
    for name, value in head.headers:
        if name != _HEADER:
            headers.append((name, value))
        elif rest := [one for one in _values(value) if one != _MARK]:
            headers.append((name, ",".join(rest).encode("latin-1")))
    return replace(head, headers=headers, subprotocols=[one for one in head.subprotocols if one != BETA_MARKER])


class BetaBridge:
    """Translates for one session. Frames that need no translation are returned as they are."""

    def __init__(self) -> None:
        self._is_transcription = False

    def to_provider(self, frame: Frame) -> list[Frame]:
        """Translate a frame of the client's."""
        translate = self._FROM_CLIENT.get(frame.type)
        return [frame if translate is None else _changed(frame, translate(self, frame.document))]

    def to_client(self, frame: Frame) -> list[Frame]:
        """Translate a frame of the provider's; nothing comes of one that says what the client has heard already."""
        kind = frame.type
        if kind in _RENAMED:
            return [_renamed(frame)]
        if kind in _DROPPED:
            return []
        if kind.startswith("session."):
            return [_changed(frame, self._session(kind, frame.document))]
        if kind in _ITEM_EVENTS:
            item = _item_to_beta(frame.document.get("item"))
            return [_changed(frame, {**frame.document, "type": _ITEM_EVENTS[kind], "item": item})]
        if kind in _PART_EVENTS:
            return [_changed(frame, {**frame.document, "part": _part_to_beta(frame.document.get("part"), whole=True)})]
        if kind in ("response.created", "response.done"):
            return [_changed(frame, {**frame.document, "response": _response_to_beta(frame.document.get("response"))})]
        if kind == "error":
            return [_changed(frame, _error_to_beta(frame.document))]
        return [frame]

    def _update(self, event: Mapping[str, Any]) -> dict[str, Any]:
        session = event.get("session")
        return {**event, "session": session_update_to_ga(session)} if isinstance(session, dict) else dict(event)

    def _transcription_update(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self._is_transcription = True
        session = event.get("session")
        given = session if isinstance(session, dict) else {}
        return {**event, "type": "session.update", "session": session_update_to_ga({"type": "transcription", **given})}

    def _ask(self, event: Mapping[str, Any]) -> dict[str, Any]:
        response = event.get("response")
        if not isinstance(response, dict):
            return dict(event)
        translated = response_to_ga(response)
        if isinstance(response.get("input"), list):
            translated["input"] = [_item_to_ga(item) for item in response["input"]]
        return {**event, "response": translated}

    def _create(self, event: Mapping[str, Any]) -> dict[str, Any]:
        return {**event, "item": _item_to_ga(event.get("item"))}

    def _session(self, kind: str, event: Mapping[str, Any]) -> dict[str, Any]:
        session = event.get("session")
        name = f"transcription_{kind}" if self._is_transcription and kind == "session.updated" else kind
        translated = session_to_beta(session) if isinstance(session, dict) else session
        return {**event, "type": name, "session": translated}

    _FROM_CLIENT: Final[Mapping[str, Callable[[BetaBridge, Mapping[str, Any]], dict[str, Any]]]] = {
        "session.update": _update,
        "transcription_session.update": _transcription_update,
        "response.create": _ask,
        "conversation.item.create": _create,
    }


def _values(value: bytes) -> list[str]:
    return [one.strip().lower() for one in value.decode("latin-1").split(",")]


def _changed(frame: Frame, document: Any) -> Frame:
    return frame if document == frame.document else Frame(json.dumps(document))


def _renamed(frame: Frame) -> Frame:
    """Rename an event without reading the rest of it: these are nearly all that a provider says."""
    renamed, found = _TYPE.subn(r"\1response.", frame.text[:_FRONT], count=1)
    if found:
        return Frame(renamed + frame.text[_FRONT:])
    return Frame(json.dumps({**frame.document, "type": _RENAMED[frame.type]}))


def _item_to_ga(item: Any) -> Any:
    if not isinstance(item, dict) or item.get("role") != "assistant" or not isinstance(item.get("content"), list):
        return item
    return {**item, "content": [_retyped(part, _PARTS_TO_GA) for part in item["content"]]}


def _item_to_beta(item: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get("content"), list):
        return item
    return {**item, "content": [_part_to_beta(part) for part in item["content"]]}


def _part_to_beta(part: Any, *, whole: bool = False) -> Any:
    """Return a part under its beta name; ``whole``: with words, even where it has none: beta clients add to them."""
    part = _retyped(part, _PARTS_TO_BETA)
    if whole and isinstance(part, dict):
        words = {"audio": "transcript", "text": "text"}.get(str(part.get("type")))
        if words is not None and part.get(words) is None:
            return {**part, words: ""}
    return part


def _retyped(part: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(part, dict) or str(part.get("type")) not in names:
        return part
    return {**part, "type": names[str(part["type"])]}


def _response_to_beta(response: Any) -> Any:
    if not isinstance(response, dict):
        return response
    translated = session_to_beta(response, is_response=True)
    if isinstance(response.get("output"), list):
        translated["output"] = [_item_to_beta(item) for item in response["output"]]
    return translated


def _error_to_beta(event: Mapping[str, Any]) -> dict[str, Any]:
    error = event.get("error")
    param = error.get("param") if isinstance(error, dict) else None
    if not isinstance(error, dict) or not isinstance(param, str):
        return dict(event)
    for ga, beta in _PARAMETERS:
        if param == ga or param.startswith((f"{ga}.", f"{ga}[")):
            return {**event, "error": {**error, "param": beta + param[len(ga) :]}}
    return dict(event)
