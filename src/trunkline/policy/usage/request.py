"""What a request says of itself: the kind of work, the model, whether it streams, and for whom it is."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote

import msgspec

from trunkline.policy.models import model_in_path
from trunkline.policy.usage.document import read_value
from trunkline.policy.usage.tokens import words
from trunkline.providers.schema import Provider
from trunkline.wire.documents import UNREADABLE
from trunkline.wire.forms import UnreadableForm, fields

Kind = Literal[
    "chat",
    "completion",
    "responses",
    "embeddings",
    "image",
    "speech",
    "transcription",
    "moderation",
    "rerank",
    "realtime",
    "other",
]

# How a path ends, with every provider: the first that fits.
_KINDS_BY_PATTERN: Final[tuple[tuple[str, Kind], ...]] = (
    (r"(?:^|/)(?:chat/completions|agents/completions|messages|chat|interactions)$", "chat"),
    (r"(?:^|/)model/[^/]*embed[^/]*/invoke$", "embeddings"),
    (r"(?:^|/)model/[^/]*(?:image|canvas|stability|stable)[^/]*/invoke$", "image"),
    (r"(?:^|/)model/[^/]*rerank[^/]*/invoke$", "rerank"),
    (r"(?:^|/)model/[^/]+/(?:converse|converse-stream|invoke|invoke-with-response-stream)$", "chat"),
    (r":(?:generateContent|streamGenerateContent|rawPredict|streamRawPredict)$", "chat"),
    (r":(?:embedContent|batchEmbedContents)$", "embeddings"),
    (r"embedding[^/]*:predict$", "embeddings"),
    (r"imag[^/]*:predict$", "image"),
    (r"(?:^|/)(?:completions|complete|generate)$", "completion"),
    (r"(?:^|/)responses$", "responses"),
    (r"(?:^|/)(?:embeddings|embed)$", "embeddings"),
    (r"(?:^|/)(?:images?/)?(?:generations|edits|variations)$", "image"),
    (r"(?:^|/)(?:audio/speech|text-to-speech/[^/]+(?:/stream)?|speak|tts/(?:bytes|sse))$", "speech"),
    (r"(?:^|/)(?:audio/(?:transcriptions|translations)|speech-to-text|listen|stt)$", "transcription"),
    (r"(?:^|/)moderations$", "moderation"),
    (r"(?:^|/)rerank$", "rerank"),
    (r"(?:^|/)realtime$", "realtime"),
    (r"(?:^|/)@(?:cf|hf)/[^/]+/[^/]*(?:bge|embed)[^/]*$", "embeddings"),
    (r"(?:^|/)@(?:cf|hf)/[^/]+/(?:whisper|nova)[^/]*$", "transcription"),
    (r"(?:^|/)@(?:cf|hf)/[^/]+/(?:melotts|aura)[^/]*$", "speech"),
    (r"(?:^|/)@(?:cf|hf)/[^/]+/(?:flux|stable-diffusion|dreamshaper|lucid)[^/]*$", "image"),
    (r"(?:^|/)@(?:cf|hf)/[^/]+/[^/]+$", "chat"),
)
_KINDS: Final = tuple((re.compile(pattern), kind) for pattern, kind in _KINDS_BY_PATTERN)
# What a path itself says of streaming.
_STREAMS: Final = re.compile(r"(?::streamGenerateContent|:streamRawPredict|/converse-stream|-with-response-stream)$")
# No path of an API is longer, and what is long takes long to search.
_LONGEST_END: Final = 300
# What is read of a form, and of a value at most.
_FIELDS: Final = ("model", "stream", "user")
_LONGEST_VALUE: Final = 200
_FORM_FIELD: Final = re.compile(
    rb'name="?(%b)"?[^\r\n]{0,200}(?:\r\n[^\r\n]{1,200}){0,4}\r\n\r\n([^\r\n]{0,%d})'
    % ("|".join(_FIELDS).encode(), _LONGEST_VALUE),
    re.IGNORECASE,
)
# In a form the fields stand before or behind the file, which may be large.
_FORM_ENDS: Final = 65_536
_BLANKS: Final = 4096


class RequestFacts(NamedTuple):
    """``model`` is the one asked for, ``user`` the end user behind the caller; both empty where none is named.

    ``characters`` are those of a text to be spoken.
    """

    model: str = ""
    stream: bool = False
    kind: Kind = "other"
    user: str = ""
    characters: int = 0


class _Metadata(msgspec.Struct):
    user_id: Any = None


class _Asked(msgspec.Struct):
    """The members of a request that are read; the conversation itself is skipped."""

    model: Any = None
    model_id: Any = None
    stream: Any = None
    user: Any = None
    safety_identifier: Any = None
    metadata: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    text: msgspec.Raw = msgspec.Raw()
    transcript: msgspec.Raw = msgspec.Raw()


_asked: Final = msgspec.json.Decoder(_Asked)
_metadata: Final = msgspec.json.Decoder(_Metadata)


def path_end(rest: str) -> str:
    """Return the end of a path, where it says what is asked for, without a query."""
    return rest.partition("?")[0].rstrip("/")[-_LONGEST_END:]


@lru_cache(maxsize=256)
def kind_of(rest: str) -> Kind:
    """Return what kind of work a path asks for."""
    path = path_end(rest)
    return next((kind for pattern, kind in _KINDS if pattern.search(path)), "other")


@lru_cache(maxsize=256)
def _is_streamed(rest: str) -> bool:
    """Whether a path asks for a stream."""
    return _STREAMS.search(path_end(rest)) is not None


@lru_cache(maxsize=256)
def path_model(provider: str, rest: str) -> str:
    """Return the model that a path names, or nothing."""
    return unquote(model_in_path(provider, rest.partition("?")[0]) or "")[:200]


def request_facts(provider: Provider, rest: str, content_type: str, body: bytes) -> RequestFacts:
    """Read a request. Never raises: of what cannot be read, only what the path says is known."""
    kind = kind_of(rest)
    named = path_model(provider.slug, rest)
    streams = _is_streamed(rest)
    if is_form(content_type, body):
        found = _form_fields(content_type, body)
        return RequestFacts(named or found.get("model", ""), found.get("stream", "") == "true", kind)._replace(
            user=found.get("user", "")
        )
    try:
        asked = _asked.decode(body)
    except UNREADABLE:
        return RequestFacts(named, streams, kind)
    model = named or words(asked.model) or words(asked.model_id)
    return RequestFacts(
        model, streams or asked.stream is True, kind, _user(asked), _characters(asked) if kind == "speech" else 0
    )


def _user(asked: _Asked) -> str:
    """Return the end user: OpenAI's newer field and its older one, or Anthropic's."""
    found = words(asked.user) or words(asked.safety_identifier)
    if not found and asked.metadata:
        try:
            found = words(_metadata.decode(asked.metadata).user_id)
        except UNREADABLE:
            return ""
    return found


def _characters(asked: _Asked) -> int:
    for text in (asked.input, asked.text, asked.transcript):
        spoken = read_value(text) if text else None
        if isinstance(spoken, str):
            return len(spoken)
    return 0


def is_form(content_type: str, body: bytes) -> bool:
    """Whether a body is one with parts. Called so by the client, JSON is JSON all the same to some providers."""
    return content_type.lower().startswith("multipart/") and not body[:_BLANKS].lstrip().startswith(b"{")


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    try:
        return {name.lower(): _value(value) for name, value in fields(content_type, body) if name.lower() in _FIELDS}
    except UnreadableForm:
        return _form_fields_by_sight(body)


def _form_fields_by_sight(body: bytes) -> dict[str, str]:
    """Return what a form says that is not all here, or can be read in more ways than one."""
    seen = body if len(body) <= 2 * _FORM_ENDS else body[:_FORM_ENDS] + b"\r\n" + body[-_FORM_ENDS:]
    return {name.decode().lower(): _value(value) for name, value in _FORM_FIELD.findall(seen)}


def _value(value: bytes) -> str:
    return value[:_LONGEST_VALUE].decode("utf-8", "replace").strip()
