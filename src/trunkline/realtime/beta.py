"""The bridge between clients of OpenAI's retired beta dialect and providers that speak the general one (GA).

A client asks for the beta dialect in its handshake; the gateway keeps that mark to itself, since providers refuse it,
and translates every event both ways. What has no counterpart is passed as it is: the provider's own error is heard.

A session that only transcribes is opened alike in both dialects, with ``intent=transcription`` in the query; the beta's
``transcription_session.update`` is a ``session.update`` of that type in GA.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from trunkline.realtime.dialect import (
    is_transcription,
    parameter_to_beta,
    response_to_beta,
    response_to_ga,
    session_to_beta,
    session_update_to_ga,
)
from trunkline.realtime.frames import Frame
from trunkline.wire.head import Head
from trunkline.wire.subprotocols import BETA_MARKER

_HEADER: Final = b"openai-beta"
_MARK: Final = "realtime=v1"

_Event = Mapping[str, Any]

_PARTS_TO_BETA: Final = {"output_text": "text", "output_audio": "audio"}
_PARTS_TO_GA: Final = {"text": "output_text", "audio": "output_audio"}
# Where a part has the words that deltas are added to.
_WORDS: Final = {"audio": "transcript", "text": "text"}
# What a new item has, by its type, that is added to as the answer comes.
_BEGINNINGS: Final[dict[str, dict[str, Any]]] = {"message": {"content": []}, "function_call": {"arguments": ""}}
# The type where nearly all writers put it (first, or behind the event's id), up to what the beta does not have in it.
_FRONT: Final = re.compile(r'(\{\s*(?:"event_id"\s*:\s*"[^"\\]*"\s*,\s*)?"type"\s*:\s*"response\.)output_')


def asks_for_beta(head: Head) -> bool:
    """Whether a client asks for the beta dialect, by header or sub-protocol."""
    return any(_is_marker(name) for name in head.subprotocols) or any(
        _is_mark(one) for name, value in head.headers if name == _HEADER for one in _values(value)
    )


def without_beta_marker(head: Head) -> Head:
    """Return a head that no longer asks for the beta dialect; other values of the header stay."""
    headers = []
    for name, value in head.headers:
        values = _values(value) if name == _HEADER else []
        rest = [one for one in values if not _is_mark(one)]
        if rest == values:
            headers.append((name, value))
        elif rest:
            headers.append((name, ", ".join(rest).encode("latin-1")))
    return replace(head, headers=headers, subprotocols=[name for name in head.subprotocols if not _is_marker(name)])


class BetaBridge:
    """Translates frames. One that needs no translation, or cannot be read, is returned as it is."""

    def to_provider(self, frame: Frame) -> list[Frame]:
        """Translate a frame of the client's."""
        translate = _TO_PROVIDER.get(frame.type)
        return [frame if translate is None else _translated(frame, translate)]

    def to_client(self, frame: Frame) -> list[Frame]:
        """Translate a frame of the provider's; nothing comes of one that says what the client has heard already."""
        kind = frame.type
        if kind in _RENAMED:
            return [_renamed(frame)]
        if kind in _DROPPED:
            return []
        translate = _TO_CLIENT.get(kind)
        return [frame if translate is None else _translated(frame, translate)]


def _translated(frame: Frame, translate: Callable[[_Event], _Event]) -> Frame:
    event = frame.document
    translated = translate(event) if event else event
    return frame if translated == event else Frame(json.dumps(translated))


def _renamed(frame: Frame) -> Frame:
    """Rename an event without reading the rest of it: these are nearly all that a provider says."""
    front = _FRONT.match(frame.text)
    if front is not None:
        return Frame(front[1] + frame.text[front.end() :])
    return Frame(json.dumps({**frame.document, "type": _RENAMED[frame.type]}))


# From the client


def _session_update(event: _Event) -> _Event:
    session = event.get("session")
    return {**event, "session": session_update_to_ga(session)} if isinstance(session, dict) else event


def _transcription_update(event: _Event) -> _Event:
    session = event.get("session")
    settings = session_update_to_ga(session, "transcription") if isinstance(session, dict) else session
    return {**event, "type": "session.update", "session": settings}


def _response_create(event: _Event) -> _Event:
    response = event.get("response")
    if not isinstance(response, dict):
        return event
    asked = response_to_ga(response)
    if isinstance(asked.get("input"), list):
        asked["input"] = [_item_to_ga(item) for item in asked["input"]]
    return {**event, "response": asked}


def _item_create(event: _Event) -> _Event:
    return {**event, "item": _item_to_ga(event["item"])} if "item" in event else event


def _item_to_ga(item: Any) -> Any:
    if not isinstance(item, dict) or item.get("role") != "assistant" or not isinstance(item.get("content"), list):
        return item
    return {**item, "content": [_retyped(part, _PARTS_TO_GA) for part in item["content"]]}


# From the provider


def _session(event: _Event) -> _Event:
    session = event.get("session")
    if not isinstance(session, dict):
        return event
    named = event["type"]
    if named == "session.updated" and is_transcription(session):
        named = "transcription_session.updated"
    return {**event, "type": named, "session": session_to_beta(session)}


def _item_added(event: _Event) -> _Event:
    return _begun_item({**event, "type": "conversation.item.created"})


def _begun_item(event: _Event) -> _Event:
    """Translate an item that is new, with empty content or arguments where it has none: beta clients add to them."""
    item = event.get("item")
    if not isinstance(item, dict):
        return event
    beginning = _BEGINNINGS.get(str(item.get("type")), {})
    missing = {name: value for name, value in beginning.items() if item.get(name) is None}
    return {**event, "item": _item_to_beta({**item, **missing})}


def _item(event: _Event) -> _Event:
    return {**event, "item": _item_to_beta(event["item"])} if "item" in event else event


def _item_to_beta(item: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get("content"), list):
        return item
    return {**item, "content": [_retyped(part, _PARTS_TO_BETA) for part in item["content"]]}


def _begun_part(event: _Event) -> _Event:
    """Translate a part that is new, with words even where it has none yet: beta clients add to them."""
    part = _retyped(event.get("part"), _PARTS_TO_BETA)
    if not isinstance(part, dict):
        return event
    words = _WORDS.get(str(part.get("type")))
    if words is not None and part.get(words) is None:
        part = {**part, words: ""}
    return {**event, "part": part}


def _part(event: _Event) -> _Event:
    return {**event, "part": _retyped(event["part"], _PARTS_TO_BETA)} if "part" in event else event


def _begun_response(event: _Event) -> _Event:
    """Translate a response that is new, with an output even where it has none yet: beta clients add to it."""
    response = event.get("response")
    if isinstance(response, dict) and response.get("output") is None:
        event = {**event, "response": {**response, "output": []}}
    return _response(event)


def _response(event: _Event) -> _Event:
    response = event.get("response")
    if not isinstance(response, dict):
        return event
    shown = response_to_beta(response)
    if isinstance(shown.get("output"), list):
        shown["output"] = [_item_to_beta(item) for item in shown["output"]]
    return {**event, "response": shown}


def _error(event: _Event) -> _Event:
    error = event.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("param"), str):
        return event
    return {**event, "error": {**error, "param": parameter_to_beta(error["param"])}}


def _retyped(part: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(part, dict) or str(part.get("type")) not in names:
        return part
    return {**part, "type": names[str(part["type"])]}


# The mark


def _values(header: bytes) -> list[str]:
    return [one.strip() for one in header.decode("latin-1").split(",") if one.strip()]


def _is_mark(value: str) -> bool:
    return value.lower() == _MARK


def _is_marker(subprotocol: str) -> bool:
    return subprotocol.lower() == BETA_MARKER


_TO_PROVIDER: Final[dict[str, Callable[[_Event], _Event]]] = {
    "session.update": _session_update,
    "transcription_session.update": _transcription_update,
    "response.create": _response_create,
    "conversation.item.create": _item_create,
}
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
_TO_CLIENT: Final[dict[str, Callable[[_Event], _Event]]] = {
    "session.created": _session,
    "session.updated": _session,
    "conversation.item.added": _item_added,
    "conversation.item.created": _begun_item,
    "conversation.item.retrieved": _item,
    "response.created": _begun_response,
    "response.done": _response,
    "response.output_item.added": _begun_item,
    "response.output_item.done": _item,
    "response.content_part.added": _begun_part,
    "response.content_part.done": _part,
    "error": _error,
}
