"""Cloudflare's universal endpoint: requests told in JSON, tried in order over HTTP, side by side on a WebSocket.

A step is one request to one provider, ``{"provider": ..., "endpoint": ..., "headers": {...}, "query": ...}``; its
``query`` is the body that the provider gets, byte for byte.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, UnsetType

from trunkline.errors import GatewayError, MalformedRequest
from trunkline.wire.head import Head, Transport, forwarded_headers, is_for_gateway

MAX_STEPS: Final = 64

# The last event of OpenAI's streams: no chunk, only the end of them.
STREAM_END: Final = "[DONE]"

_STEP_FORM: Final = (
    'A step is {"provider": "openai", "endpoint": "chat/completions", "headers": {...}, "query": {...}}, with the'
    " provider's own request in query."
)
_BODY_FORM: Final = f"The universal endpoint takes an array of steps, to be tried in order, or one step. {_STEP_FORM}"
_FRAME_FORM: Final = (
    'A client sends {"type": "universal.create", "request": {"eventId": ..., "provider": ..., "endpoint": ...,'
    ' "headers": {...}, "query": {...}}} or {"type": "universal.cancel", "eventId": ...}. A realtime session is opened'
    " at /v1/{account}/{gateway}/{provider}/realtime instead."
)

_PROVIDER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# RFC 9110 sections 5.6.2 and 5.5.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_A_VALUE: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_JSON_TYPE: Final = re.compile(rb"application/(?:[\w.-]+\+)?json[ \t]*(?:;.*)?", re.IGNORECASE)
# What a URL may hold as it is, so that an endpoint that is percent-encoded already stays so.
_IN_A_URL: Final = "!$%&'()*+,/:;=?@[]~"
_CLOUDFLARE_PREFIX: Final = b"cf-aig-"
# What describes the body of the whole request says nothing of the bodies of its steps.
_OF_THE_BODY: Final = b"content-"

# How much of a client's own words goes into a message.
_MAX_SAID: Final = 200
_MAX_NAME: Final = 64

_Read = TypeVar("_Read")
_EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


@dataclass(frozen=True, slots=True)
class Step:
    """One request to one provider. ``path`` and ``query`` are the endpoint's, percent-encoded; names are lower case."""

    provider: str
    path: str
    query: str = field(repr=False)
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)

    def head(self, universal_path: str, inherited: Sequence[tuple[bytes, bytes]]) -> Head:
        """Return the head of the provider-native request that means the same.

        The step's own headers replace ``inherited`` ones of the same name.
        """
        own = {name for name, _ in self.headers}
        kept = [pair for pair in inherited if pair[0] not in own and not pair[0].startswith(_OF_THE_BODY)]
        path = f"{universal_path.rstrip('/')}/{self.provider}/{self.path}"
        return Head(Transport.HTTP, "POST", path, self.query, [*kept, *self.headers])


def parse_steps(body: bytes) -> list[Step]:
    """Read the body of an HTTP request: one to `MAX_STEPS` steps.

    Raises `MalformedRequest` naming the step and the field at fault, never a value.
    """
    text = _text(body, "the body", _BODY_FORM)
    if not text.lstrip().startswith("["):
        return [_step(_read(text, _TOLD, "the step", _BODY_FORM), "the step")]
    elements = _read(text, _ARRAY, "the body", _BODY_FORM)
    if not elements:
        raise MalformedRequest(f"The array of steps is empty. {_BODY_FORM}")
    if len(elements) > MAX_STEPS:
        raise MalformedRequest(f"The array has {len(elements)} steps; at most {MAX_STEPS} are tried.")
    numbered = [(element, f"step {number}") for number, element in enumerate(elements)]
    return [_step(_read(element, _TOLD, where, _STEP_FORM), where) for element, where in numbered]


class Create(msgspec.Struct, frozen=True):
    """A client's ``universal.create``."""

    event_id: str | None
    step: Step


class Cancel(msgspec.Struct, frozen=True):
    """A client's ``universal.cancel``: ours, Cloudflare has no such frame."""

    event_id: str


class Unreadable(msgspec.Struct, frozen=True):
    """A client's frame that is neither; ``event_id`` is set where it could be found."""

    event_id: str | None
    error: MalformedRequest


def parse_frame(frame: str | bytes) -> Create | Cancel | Unreadable:
    """Read a client's frame on the universal WebSocket; never raises."""
    event_id = None
    try:
        text = frame if isinstance(frame, str) else _text(frame, "the frame", _FRAME_FORM)
        read = _read(text, _FRAME, "the frame", _FRAME_FORM)
        if isinstance(read, _CancelFrame):
            return Cancel(read.event_id)
        event_id = _event_id_of(read.request)
        told = _read(read.request, _TOLD_ON_SOCKET, "the request", _STEP_FORM)
        return Create(told.event_id, _unpacked(_step(told, "the request")))
    except MalformedRequest as error:
        return Unreadable(event_id, error)


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a server's frame says of a request. ``status``, ``encoding`` and ``cancelled`` are ours."""

    cache_status: Literal["HIT", "MISS"] = "MISS"
    event_id: str
    log_id: str
    step: str = "0"
    content_type: str | UnsetType = UNSET
    status: int | UnsetType = UNSET
    encoding: Literal["base64"] | UnsetType = UNSET
    cancelled: bool | UnsetType = UNSET


def answer_frame(metadata: Metadata, body: bytes) -> str:
    """Return the frame that brings a whole answer: JSON as it is, other text as a string, anything else as base64."""
    response: Raw | str | None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        response = base64.b64encode(body).decode()
        metadata = msgspec.structs.replace(metadata, encoding="base64")
    else:
        of_json = "json" in (metadata.content_type or "").lower()
        response = (_json_or_text(text) if of_json else text) if text else None
    return _encoded(_ServerFrame("universal.created", metadata, response))


def stream_begun_frame(metadata: Metadata) -> str:
    """Return the frame before the first chunk of a streamed answer."""
    return _encoded(_ServerFrame("universal.created", metadata))


def chunk_frame(event_id: str, data: str) -> str:
    """Return the frame for the data of one server-sent event."""
    return _encoded(_ServerFrame("universal.stream", {"eventId": event_id}, _json_or_text(data)))


def done_frame(metadata: Metadata) -> str:
    """Return the last frame of a request that was streamed or cancelled."""
    return _encoded(_ServerFrame("universal.done", metadata))


def error_frame(error: GatewayError, metadata: Metadata | None = None, event_id: str | None = None) -> str:
    """Return the frame for what went wrong where no answer can say it: with a frame, or within a stream."""
    about: Metadata | dict[str, str] = metadata or ({} if event_id is None else {"eventId": event_id})
    problem = {"message": error.message, "type": error.type, "param": None, "code": error.reason}
    return _encoded(_ServerFrame("error", about, error=problem))


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    """A step as it is told. ``authorization`` is an old spelling of the header."""

    provider: str
    endpoint: str
    query: Raw
    headers: dict[str, Raw] = {}
    authorization: str | None = None


class _ToldOnSocket(_Told, forbid_unknown_fields=True, rename="camel"):
    event_id: _EventId | None = None


class _Identified(msgspec.Struct, rename="camel"):
    event_id: _EventId | None = None


class _CreateFrame(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="universal.create"):
    request: Raw


class _CancelFrame(
    msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="universal.cancel", rename="camel"
):
    event_id: _EventId


_TOLD: Final = msgspec.json.Decoder(_Told)
_TOLD_ON_SOCKET: Final = msgspec.json.Decoder(_ToldOnSocket)
_IDENTIFIED: Final = msgspec.json.Decoder(_Identified)
_FRAME: Final[msgspec.json.Decoder[_CreateFrame | _CancelFrame]] = msgspec.json.Decoder(_CreateFrame | _CancelFrame)
_ARRAY: Final = msgspec.json.Decoder(list[Raw])
_RAW: Final = msgspec.json.Decoder(Raw)
_ANY: Final = msgspec.json.Decoder()


class _ServerFrame(msgspec.Struct):
    type: str
    metadata: Metadata | dict[str, str]
    response: Raw | str | UnsetType | None = UNSET
    error: dict[str, Any] | UnsetType = UNSET


def _event_id_of(request: Raw) -> str | None:
    try:
        return _IDENTIFIED.decode(request).event_id
    except msgspec.DecodeError:
        return None


def _unpacked(step: Step) -> Step:
    """Ask for an answer that is not compressed: it becomes part of a JSON frame, where nobody would unpack it."""
    others = [pair for pair in step.headers if pair[0] != b"accept-encoding"]
    return replace(step, headers=[*others, (b"accept-encoding", b"identity")])


def _step(told: _Told, where: str) -> Step:
    if not _PROVIDER.fullmatch(told.provider):
        raise MalformedRequest(f"The provider in {where} is no provider's name. {_STEP_FORM}")
    path, _, query = quote(told.endpoint.lstrip("/"), safe=_IN_A_URL).partition("?")
    return Step(told.provider, path, query, list(_headers(told, where)), bytes(told.query))


def _headers(told: _Told, where: str) -> Iterator[tuple[bytes, bytes]]:
    headers = {b"content-type": b"application/json"}
    if told.authorization is not None:
        headers[b"authorization"] = _carried(told.authorization, f"authorization in {where}")
    for name, value in told.headers.items():
        lower = _header_name(name, where)
        headers[lower] = _header_value(lower, value, f"the header {name[:_MAX_NAME]!r} in {where}")
    if not _JSON_TYPE.fullmatch(headers[b"content-type"]):
        raise MalformedRequest(f"The content-type in {where} is not JSON, which query always is. Leave it out.")
    return iter(headers.items())


def _header_name(name: str, where: str) -> bytes:
    match = _HEADER_NAME.match(name)
    if match is None or match[0] != name:
        # What follows may be the rest of a header line, key included.
        after = f" after {match[0][:_MAX_NAME]!r}" if match else ""
        raise MalformedRequest(f"The name of a header in {where} holds a character{after} that none can hold.")
    lower = name.lower().encode()
    if not is_for_gateway(lower) and not any(forwarded_headers([(lower, b"")])):
        raise MalformedRequest(
            f"The header {name[:_MAX_NAME]!r} in {where} cannot be set: it belongs to the connection or to the"
            " browser. Leave it out."
        )
    return lower


def _header_value(name: bytes, raw: Raw, what: str) -> bytes:
    """Return the value as it travels; Cloudflare's types also allow switches, and objects in its own headers."""
    match _read(raw, _ANY, what, ""):
        case str() as text:
            return _carried(text, what)
        case bool() | int() | float():
            return bytes(raw)
        case dict() as fields if name.startswith(_CLOUDFLARE_PREFIX):
            return json.dumps(fields, separators=(",", ":")).encode()
        case _:
            raise MalformedRequest(f"The value of {what} is not a string or a number.")


def _carried(value: str, what: str) -> bytes:
    if _NOT_IN_A_VALUE.search(value):
        raise MalformedRequest(f"The value of {what} holds a line break or another character that no header can carry.")
    return value.strip(" \t").encode("latin-1")


def _text(data: bytes, what: str, form: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"Cannot read {what}: it is not JSON in UTF-8. {form}") from error


def _read(source: str | Raw, decoder: msgspec.json.Decoder[_Read], what: str, form: str) -> _Read:
    try:
        return decoder.decode(source)
    except msgspec.DecodeError as error:  # its words name the field and what it may be
        raise MalformedRequest(f"Cannot read {what}: {str(error)[:_MAX_SAID]}. {form}".rstrip()) from error
    except RecursionError as error:
        raise MalformedRequest(f"Cannot read {what}: it is nested too deeply.") from error
    except UnicodeEncodeError as error:  # half a character, in a text that never was UTF-8
        raise MalformedRequest(f"Cannot read {what}: it is not JSON in UTF-8. {form}".rstrip()) from error


def _json_or_text(text: str) -> Raw | str:
    """Return JSON as it is, and anything else as the string that it is."""
    with suppress(msgspec.DecodeError, RecursionError):
        return _RAW.decode(text)
    # Half of a character, escaped, is JSON too: some providers cut their streams in the middle of an emoji.
    with suppress(ValueError, RecursionError):
        json.loads(text, parse_constant=_refuse)
        return Raw(text)
    return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _encoded(frame: _ServerFrame) -> str:
    return msgspec.json.encode(frame).decode()
