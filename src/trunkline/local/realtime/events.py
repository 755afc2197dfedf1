"""The events a client may send."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from trunkline.local.realtime.mistakes import ClientMistake, checked
from trunkline.wire.documents import UNREADABLE

MAX_AUDIO_BYTES: Final = 15 * 1024 * 1024

_Id = Annotated[str, Meta(min_length=1, max_length=512)]


class _Event(Struct, forbid_unknown_fields=True, kw_only=True):
    event_id: str | None = None


class SessionUpdate(_Event, tag="session.update"):
    """``session`` is checked by the configuration it is for."""

    session: dict[str, Any]


class InputAudioAppend(_Event, tag="input_audio_buffer.append"):
    """``audio`` is base64 in the session's input format."""

    audio: str


class InputAudioCommit(_Event, tag="input_audio_buffer.commit"):
    """Make an item of the buffer."""


class InputAudioClear(_Event, tag="input_audio_buffer.clear"):
    """Empty the buffer."""


class OutputAudioClear(_Event, tag="output_audio_buffer.clear"):
    """Only media connections have such a buffer; a WebSocket's client plays the sound itself."""


class ItemCreate(_Event, tag="conversation.item.create"):
    """``previous_item_id``: "root" for the front, None for the end."""

    item: dict[str, Any]
    previous_item_id: str | None = None


class ItemRetrieve(_Event, tag="conversation.item.retrieve"):
    """Ask for an item, audio included."""

    item_id: str


class ItemDelete(_Event, tag="conversation.item.delete"):
    """Remove an item."""

    item_id: str


class ItemTruncate(_Event, tag="conversation.item.truncate"):
    """Cut off what the user did not hear."""

    item_id: str
    content_index: Annotated[int, Meta(ge=0)]
    audio_end_ms: Annotated[int, Meta(ge=0)]


class ResponseCreate(_Event, tag="response.create"):
    """``response`` is checked against `configuration.ResponseParameters`."""

    response: dict[str, Any] | None = None


class ResponseCancel(_Event, tag="response.cancel"):
    """Without an id, the response that writes to the conversation is meant."""

    response_id: str | None = None


ClientEvent = (
    SessionUpdate
    | InputAudioAppend
    | InputAudioCommit
    | InputAudioClear
    | OutputAudioClear
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
)

_decoder: Final[Any] = msgspec.json.Decoder(ClientEvent)


def decode(text: str) -> ClientEvent:
    """Read a client's frame. Raises `ClientMistake`."""
    try:
        event: ClientEvent = _decoder.decode(text)
    except msgspec.ValidationError:
        # Once more, slowly, for a complaint that names the field.
        return checked(_parsed(text), ClientEvent)  # type: ignore[arg-type]
    except UNREADABLE as error:
        raise _not_json(error) from None
    return event


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except UNREADABLE as error:
        raise _not_json(error) from None


def _not_json(error: Exception) -> ClientMistake:
    return ClientMistake("invalid_json", f"The frame is not valid JSON: {error}.")


def event_id_of(text: str) -> str | None:
    """Return the ``event_id`` of a frame that may be anything else than valid."""
    try:
        event = msgspec.json.decode(text)
    except UNREADABLE:
        return None
    event_id = event.get("event_id") if isinstance(event, dict) else None
    return event_id if isinstance(event_id, str) else None


def decoded_audio(audio: str, param: str) -> bytes:
    """Return the bytes in base64. Raises `ClientMistake` naming ``param``."""
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise ClientMistake("invalid_value", f"Invalid value of '{param}': expected base64.", param) from None
    if len(data) > MAX_AUDIO_BYTES:
        raise ClientMistake("invalid_value", f"Invalid value of '{param}': more than 15 MiB of audio.", param)
    return data


class _Part(Struct, forbid_unknown_fields=True, omit_defaults=True):
    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
    text: str | None = None
    audio: str | None = None
    transcript: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class _Item(Struct, forbid_unknown_fields=True, kw_only=True):
    id: _Id | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class Message(_Item, tag="message"):
    """Something said by the user, the system or (in text only) the assistant."""

    role: Literal["system", "user", "assistant"]
    content: list[_Part]


class FunctionCall(_Item, tag="function_call"):
    """A call made earlier."""

    name: str
    arguments: str
    call_id: str | None = None


class FunctionCallOutput(_Item, tag="function_call_output"):
    """The result of a call."""

    call_id: str
    output: str


class ItemReference(_Item, tag="item_reference"):
    """An item of the conversation; only in the input of a response."""

    id: _Id


GivenItem = Message | FunctionCall | FunctionCallOutput

_ALLOWED_PARTS: Final = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text",),
}
_BODY_OF_PART: Final = {
    "input_text": "text",
    "output_text": "text",
    "input_audio": "audio",
    "input_image": "image_url",
}


def checked_item(item: dict[str, Any], param: str) -> GivenItem:
    """Read an item of ``conversation.item.create``. Raises `ClientMistake`."""
    given: GivenItem = checked(item, GivenItem, param)  # type: ignore[arg-type]
    if isinstance(given, Message):
        _check_parts(given, param)
    return given


def checked_input(item: dict[str, Any], param: str) -> GivenItem | ItemReference:
    """Read an entry of ``response.input``. Raises `ClientMistake`."""
    if item.get("type") == "item_reference":
        return checked(item, ItemReference, param)
    return checked_item(item, param)


def _check_parts(message: Message, param: str) -> None:
    for index, part in enumerate(message.content):
        place = f"{param}.content[{index}]"
        if part.type not in _ALLOWED_PARTS[message.role]:
            allowed = " or ".join(_ALLOWED_PARTS[message.role])
            raise ClientMistake(
                "invalid_value", f"Invalid value of '{place}.type': a {message.role} message has {allowed}.", place
            )
        body = _BODY_OF_PART[part.type]
        if getattr(part, body) is None:
            path = f"{place}.{body}"
            raise ClientMistake("missing_required_parameter", f"Missing required parameter: '{path}'.", path)
