"""The hub: OpenAI's chat completions. Every request is read from its words, and every answer is put in them.

A client's surface makes a hub request of its own (`read_object`). A provider's adapter reads it (`ChatRequest`); it is
a `ProviderSide` and says answers with the functions below: `answer` for a whole one, `ChunkStream` for a streamed one,
`error_body` for a failed one. Beyond OpenAI's own words the hub has a few, each in common use: ``reasoning_content`` of
a message or delta is text of a model's thinking; ``thinking_blocks`` are Anthropic's blocks of it, whose signatures the
provider wants back with the results of tools (in a stream, a delta holds each block once, whole); ``extra_content`` of
a call is what its provider wants back with it; ``images`` of a message are those that a model made; ``cache_control``
of a part or tool asks that what comes before it be cached.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.adapter import Headers
from trunkline.wire.documents import UNREADABLE, why_unreadable
from trunkline.wire.encodings import Unpacker
from trunkline.wire.sse import SseParser

Json = dict[str, Any]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

# No request of a chat says so much in one of its answers that is not streamed, or in one event of a stream.
MOST_HELD: Final = 64 * 1024 * 1024

JSON_TYPE: Final = b"application/json"
EVENT_TYPE: Final = b"text/event-stream; charset=utf-8"
EVENT_STREAM: Final = b"text/event-stream"
STREAM_END: Final = b"data: [DONE]\n\n"

# How long a thing of a client's or provider's is quoted in a message.
_MOST_QUOTED: Final = 60
_MOST_OF_AN_ERROR: Final = 4000
_FIRST_ERROR_STATUS: Final = 400

# Of a provider's answer, these describe bytes that the client does not get.
_OF_THE_BYTES: Final = frozenset(
    (b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"content-md5", b"digest", b"etag")
)
# A request whose answer is read here.
READ_HERE: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-type", JSON_TYPE),
    (b"accept-encoding", b"identity"),
)

_DATA_URL: Final = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)

_Read = TypeVar("_Read")

_ENCODER: Final = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Return a value as JSON, compact, members in their order."""
    return _ENCODER.encode(value)


def as_text(value: Any) -> str:
    """Return a value as JSON text."""
    return _ENCODER.encode(value).decode()


def read_object(body: bytes | str, what: str = "the body") -> Json:
    """Return a client's JSON object. Raises `MalformedRequest` for what is none."""
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE as error:
        raise MalformedRequest(f"{_capital(what)} is not JSON: {why_unreadable(error)}.") from error
    if not isinstance(value, dict):
        raise MalformedRequest(f"{_capital(what)} is not a JSON object.")
    return value


def object_or_none(text: bytes | str) -> Json | None:
    """Return a JSON object, or None for what is none."""
    value = _value_or_none(text)
    return value if isinstance(value, dict) else None


def _value_or_none(text: bytes | str) -> Any:
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        return None


def convert(value: Any, kind: type[_Read], what: str = "the request") -> _Read:
    """Return a client's value as a struct or the like. Raises `MalformedRequest` naming the field at fault."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        fault, _, place = str(error).partition(" - at `")
        where = place.rstrip("`").removeprefix("$").lstrip(".") or what
        raise MalformedRequest(f"{where}: {fault}.") from error


def members(value: Any) -> Json:
    """Return a provider's object, an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def elements(value: Any) -> Iterator[Json]:
    """Yield the objects of a provider's list."""
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def words(value: Any) -> str:
    """Return a provider's text, an empty one for what is none."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int:
    """Return a provider's number of something, 0 for what is none."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------------------------------------------- requests


class Part(msgspec.Struct, kw_only=True, tag_field="type"):
    """One piece of a message."""

    cache_control: Json | None = None


class TextPart(Part, tag="text"):
    """Words."""

    text: str


class RefusalPart(Part, tag="refusal"):
    """Words with which an assistant refused before."""

    refusal: str


class ImageUrl(msgspec.Struct):
    """A picture, at an ``https:`` address or within a ``data:`` one."""

    url: str
    detail: str | None = None


class ImagePart(Part, tag="image_url"):
    """A picture."""

    image_url: ImageUrl


class Audio(msgspec.Struct):
    """Sound: base64, and ``wav`` or ``mp3``."""

    data: str
    format: str


class AudioPart(Part, tag="input_audio"):
    """Sound."""

    input_audio: Audio


class File(msgspec.Struct):
    """A document: a ``data:`` URL in ``file_data``, or the id of one that a provider keeps."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Part, tag="file"):
    """A document."""

    file: File


UserPart = TextPart | ImagePart | AudioPart | FilePart


class FunctionCall(msgspec.Struct):
    """What is called; ``arguments`` are JSON text."""

    name: str
    arguments: str = "{}"


class ToolCall(msgspec.Struct):
    """An assistant's call of a tool. ``extra_content`` is what a provider wants back with it."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"
    extra_content: Json | None = None

    @property
    def input(self) -> Json:
        """The arguments as an object. Raises `MalformedRequest` for what is none."""
        if not self.function.arguments.strip():
            return {}
        return read_object(self.function.arguments, f"the text of arguments in the tool call {self.id[:_MOST_QUOTED]}")


class Message(msgspec.Struct, kw_only=True, tag_field="role"):
    """One turn."""

    name: str | None = None


class SystemMessage(Message, tag="system"):
    """Instructions."""

    content: str | list[TextPart]


class DeveloperMessage(SystemMessage, tag="developer"):
    """Instructions, by their newer name."""


class UserMessage(Message, tag="user"):
    """What a person says and shows."""

    content: str | list[UserPart]


class AssistantMessage(Message, tag="assistant"):
    """What the model said before."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning_content: str | None = None
    thinking_blocks: list[Json] | None = None

    @property
    def words(self) -> list[TextPart]:
        """What was said, refusals among it; no empty texts."""
        parts = parts_of(self.content or "")
        said = [part if isinstance(part, TextPart) else TextPart(text=part.refusal) for part in parts]
        if self.refusal:
            said.append(TextPart(text=self.refusal))
        return [part for part in said if part.text]


class ToolMessage(Message, tag="tool"):
    """What a tool gave back. Pictures are our addition: several providers take them."""

    tool_call_id: str
    content: str | list[TextPart | ImagePart]


ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class Function(msgspec.Struct):
    """What may be called; ``parameters`` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """A tool of the caller's."""

    function: Function
    type: Literal["function"] = "function"
    cache_control: Json | None = None


class FunctionName(msgspec.Struct):
    """The name of a function."""

    name: str


class NamedTool(msgspec.Struct):
    """The one tool that is to be called."""

    function: FunctionName
    type: Literal["function"] = "function"


class JsonSchema(msgspec.Struct):
    """The shape that an answer is to have."""

    name: str = "answer"
    schema: Json | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """What kind of text an answer is."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct):
    """What a stream says besides."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """A hub request. Members that are not named here have no meaning for a provider that is translated to."""

    model: str = ""
    messages: list[ChatMessage]
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    user: str | None = None
    safety_identifier: str | None = None
    modalities: list[str] | None = None
    audio: Json | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    web_search_options: Json | None = None

    @classmethod
    def read(cls, body: Json) -> ChatRequest:
        """Read a hub request. Raises `MalformedRequest` naming the field at fault."""
        request = convert(body, cls)
        if not request.messages:
            raise MalformedRequest("messages is empty; a request has one message at least.")
        most = request.most_tokens
        if most is not None and most < 1:
            raise MalformedRequest("max_completion_tokens is at least 1.")
        if request.functions or request.function_call is not None:
            raise MalformedRequest("functions and function_call are old names; use tools and tool_choice.")
        return request

    @property
    def most_tokens(self) -> int | None:
        """How many tokens an answer may have."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def stops(self) -> list[str]:
        """The texts at which an answer ends."""
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def is_streamed(self) -> bool:
        """Whether the answer comes as it is made."""
        return bool(self.stream)

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with what it used."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def caller(self) -> str:
        """By what name a provider may know the caller."""
        return self.safety_identifier or self.user or ""

    def refuse(self, provider: str, *fields: str) -> None:
        """Refuse what a provider cannot do, for each of ``fields`` that asks for something.

        A value that asks for what happens anyway (``n`` of 1, ``logprobs`` false, a penalty of 0) is let pass.
        """
        for field in fields:
            value = getattr(self, field)
            if value is not None and value not in _ASKS_NOTHING.get(field, ()):
                raise MalformedRequest(f"{field}: {provider} has nothing like it. Leave it out.")


_ASKS_NOTHING: Final[dict[str, tuple[Any, ...]]] = {
    "n": (1,),
    "modalities": ([], ["text"]),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
}


def effort_of(told: str, known: Collection[str]) -> str:
    """Return how hard a model is to think: ``none``, or one of ``known``. Raises `MalformedRequest` for another."""
    if told != "none" and told not in known:
        raise MalformedRequest(f"reasoning_effort: it is one of none, {', '.join(known)}.")
    return told


def parts_of(content: str | list[_Read]) -> list[TextPart | _Read]:
    """Return content as parts, whichever way it was told."""
    return [TextPart(text=content)] if isinstance(content, str) else list(content)


def text_of(content: str | Sequence[Any] | None) -> str:
    """Return the words of some content, joined by newlines; pictures and the like have none."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


class Inline(msgspec.Struct, frozen=True):
    """What a ``data:`` URL holds: its media type in lower case, and base64 as it was."""

    media_type: str
    data: str

    def decoded(self) -> bytes:
        """Return the bytes. Raises `MalformedRequest` for what is not base64."""
        try:
            return base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedRequest(f"The {self.media_type} of a data: URL is not base64.") from error


def inline(url: str, what: str = "image_url") -> Inline | None:
    """Return what a ``data:`` URL holds, or None for an address on the web.

    Raises `MalformedRequest` for anything else; no part of the URL is in the message.
    """
    match = _DATA_URL.fullmatch(url)
    if match is not None:
        return Inline(match["type"].lower(), match["data"])
    if url.startswith(("https://", "http://")):
        return None
    raise MalformedRequest(f"{what}: the url is data:TYPE;base64,DATA or an https: address.")


class EmbeddingsRequest(msgspec.Struct, kw_only=True):
    """A hub request for embeddings."""

    model: str = ""
    input: str | list[str]
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    input_type: str | None = None

    @classmethod
    def read(cls, body: Json) -> EmbeddingsRequest:
        """Read a hub request. Raises `MalformedRequest` naming the field at fault."""
        request = convert(body, cls)
        if not request.input:
            raise MalformedRequest("input is empty; it is a text, or a list of them.")
        return request

    @property
    def texts(self) -> list[str]:
        """What is to be embedded."""
        return [self.input] if isinstance(self.input, str) else self.input

    def answer(self, model: str, vectors: Sequence[Sequence[float]], tokens: int) -> Json:
        """Return an answer, its vectors in the format that was asked for. ``tokens`` went in."""
        data = [
            {"object": "embedding", "index": index, "embedding": self._told(vector)}
            for index, vector in enumerate(vectors)
        ]
        used = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": model, "usage": used}

    def _told(self, vector: Sequence[float]) -> list[float] | str:
        if self.encoding_format != "base64":
            return list(vector)
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


# ---------------------------------------------------------------------------------------------------- answers


def usage(
    *,
    input: int,
    output: int,
    cached: int = 0,
    cache_write: int = 0,
    reasoning: int = 0,
    audio: tuple[int, int] = (0, 0),
) -> Json:
    """Return what was used, in tokens. ``input`` holds ``cached`` and ``cache_write``, ``output`` holds ``reasoning``.

    ``audio`` is of the input and of the output.
    """
    prompt: Json = {"cached_tokens": cached, "audio_tokens": audio[0]}
    if cache_write:
        prompt["cache_write_tokens"] = cache_write
    return {
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": audio[1]},
    }


def tool_call(id: str, name: str, arguments: str, *, extra_content: Json | None = None) -> Json:
    """Return one call of a tool, as a message holds it; ``arguments`` are JSON text."""
    call: Json = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments or "{}"}}
    if extra_content:
        call["extra_content"] = extra_content
    return call


def message(
    text: str | None,
    *,
    tool_calls: Sequence[Json] = (),
    reasoning: str = "",
    thinking_blocks: Sequence[Json] = (),
    refusal: str | None = None,
) -> Json:
    """Return an assistant's message. ``text`` is None where nothing was said."""
    said: Json = {"role": "assistant", "content": text, "refusal": refusal}
    if reasoning:
        said["reasoning_content"] = reasoning
    if thinking_blocks:
        said["thinking_blocks"] = list(thinking_blocks)
    if tool_calls:
        said["tool_calls"] = list(tool_calls)
    return said


def image(url: str) -> Json:
    """Return a picture of an answer's, as ``images`` of a message holds it."""
    return {"type": "image_url", "image_url": {"url": url}}


def choice(message: Json, finish_reason: FinishReason, index: int = 0, logprobs: Json | None = None) -> Json:
    """Return one of the messages that an answer offers."""
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def answer(id: str, now: int, model: str, choices: Sequence[Json], used: Json | None) -> Json:
    """Return a whole answer. ``now`` is in Unix seconds; ``used`` comes from `usage`."""
    whole: Json = {
        "id": f"chatcmpl-{id}",
        "object": "chat.completion",
        "created": now,
        "model": model,
        "choices": list(choices),
    }
    if used is not None:
        whole["usage"] = used
    return whole


def event(value: Any) -> bytes:
    """Return a value as one server-sent event."""
    return b"data: " + encode(value) + b"\n\n"


def error_body(
    text: str, *, status: int = 0, type: str = "", code: str | None = None, param: str | None = None
) -> Json:
    """Return OpenAI's error object. Without a ``type`` it is that of the HTTP ``status``."""
    kind = type or _ERROR_TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": text[:_MOST_OF_AN_ERROR], "type": kind, "param": param, "code": code}}


_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ChunkStream:
    """Says an answer in chunks. What was said since is taken by `take`.

    The first chunk holds the role. With ``includes_usage`` each chunk says that it has none, and the last one has it.
    """

    def __init__(self, id: str, now: int, model: str, *, includes_usage: bool) -> None:
        self.model = model
        self.is_over = False
        self._id = f"chatcmpl-{id}"
        self._now = now
        self._includes_usage = includes_usage
        self._begun: set[int] = set()
        self._numbers: dict[tuple[str, int], int] = {}
        self._out: list[bytes] = []

    def take(self) -> bytes:
        """Return the events since this was last called."""
        taken = b"".join(self._out)
        self._out.clear()
        return taken

    def begin(self, index: int = 0) -> None:
        """Say the role, unless that was done."""
        if index not in self._begun:
            self._begun.add(index)
            self._say({"role": "assistant", "content": "", "refusal": None}, index)

    def text(self, piece: str, index: int = 0, logprobs: Json | None = None) -> None:
        """Say some of the text."""
        if piece:
            self.begin(index)
            self._say({"content": piece}, index, logprobs=logprobs)

    def reasoning(self, piece: str, index: int = 0) -> None:
        """Say some of the thinking."""
        if piece:
            self.delta({"reasoning_content": piece}, index)

    def refusal(self, piece: str, index: int = 0) -> None:
        """Say some of a refusal."""
        if piece:
            self.delta({"refusal": piece}, index)

    def tool_call(
        self, number: int, id: str, name: str, arguments: str = "", index: int = 0, extra_content: Json | None = None
    ) -> None:
        """Begin a call; ``number`` counts the calls of a message from 0."""
        call: Json = {
            "index": number,
            "id": id,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        if extra_content:
            call["extra_content"] = extra_content
        self.delta({"tool_calls": [call]}, index)

    def arguments(self, number: int, piece: str, index: int = 0) -> None:
        """Say some of the arguments of a call that was begun."""
        if piece:
            self.delta({"tool_calls": [{"index": number, "function": {"arguments": piece}}]}, index)

    def thinking_block(self, block: Json, index: int = 0) -> None:
        """Say a whole block of thinking, as Anthropic has them."""
        self._listed("thinking_blocks", block, index)

    def image(self, url: str, index: int = 0) -> None:
        """Say a picture."""
        self._listed("images", image(url), index)

    def _listed(self, name: str, entry: Json, index: int) -> None:
        # OpenAI's client puts lists of objects together by the index in each.
        number = self._numbers.get((name, index), 0)
        self._numbers[name, index] = number + 1
        self.delta({name: [{"index": number, **entry}]}, index)

    def delta(self, delta: Json, index: int = 0) -> None:
        """Say anything of a message. Objects in a list have an ``index``, or OpenAI's client fails."""
        self.begin(index)
        self._say(delta, index)

    def end(self, finish_reason: FinishReason, index: int = 0) -> None:
        """Say why a message ended."""
        self.begin(index)
        self._say({}, index, finish_reason)

    def done(self, used: Json | None) -> None:
        """Say what was used, if that was asked for, and that this is all."""
        if self.is_over:
            return
        self.is_over = True
        if self._includes_usage:
            self._out.append(event({**self._frame([]), "usage": used}))
        self._out.append(STREAM_END)

    def fail(self, error: Json) -> None:
        """Say that the answer broke off, with an `error_body`; nothing follows, so that it does not look complete."""
        if not self.is_over:
            self.is_over = True
            self._out.append(event(error))

    def _say(
        self, delta: Json, index: int, finish_reason: FinishReason | None = None, logprobs: Json | None = None
    ) -> None:
        if self.is_over:
            return
        one = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        frame = self._frame([one])
        if self._includes_usage:
            frame["usage"] = None
        self._out.append(event(frame))

    def _frame(self, choices: list[Json]) -> Json:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._now,
            "model": self.model,
            "choices": choices,
        }


def client_headers(headers: Sequence[tuple[bytes, bytes]], content_type: bytes) -> Headers:
    """Return the headers of a provider's answer, less those that describe its bytes, and the type of ours."""
    kept = [pair for pair in headers if pair[0].lower() not in _OF_THE_BYTES]
    return [*kept, (b"content-type", content_type)]


def media_type_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the media type of an answer in lower case, without parameters."""
    return header_of(headers, b"content-type").partition(";")[0].strip().lower().encode("latin-1")


def header_of(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str:
    """Return the first header of a name in lower case, or nothing."""
    return next((value.decode("latin-1") for name, value in headers if name.lower() == wanted), "")


def is_error(status: int) -> bool:
    """Whether an answer says that there is none."""
    return status >= _FIRST_ERROR_STATUS


class ProviderSide(ABC):
    """An adapter from a hub request to a provider that speaks otherwise: its answers come back as the hub's.

    A subclass sets ``path``, ``body`` and ``chunks`` in its constructor and says how its provider's answers are read:
    `tell` an object of a whole answer, `tell_error` an object of a failed one, `read` some bytes of a streamed one.
    What it reads of a stream it says on ``chunks``, and calls ``chunks.done`` or ``chunks.fail`` at the end, which
    alone lets the stream look complete. By itself `read` takes server-sent events and gives each to `tell_event`.
    """

    provider: str = "The provider"
    stream_type: bytes = EVENT_STREAM

    path: str
    body: bytes
    headers: Headers
    chunks: ChunkStream

    def __init__(self) -> None:
        self.headers = list(READ_HERE)
        self._status = 200
        self._is_streamed = False
        self._held: list[bytes] = []
        self._size = 0
        self._events = SseParser(MOST_HELD)
        self._unpacker = Unpacker("", MOST_HELD)

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, Headers]:
        """Take the head of the provider's answer; return that of the client's."""
        self._status = status
        self._is_streamed = not is_error(status) and media_type_of(headers) == self.stream_type
        # It was asked for plain bytes, which not everybody heeds.
        self._unpacker = Unpacker(header_of(headers, b"content-encoding"), MOST_HELD)
        return status, client_headers(headers, EVENT_TYPE if self._is_streamed else JSON_TYPE)

    def feed(self, chunk: bytes) -> bytes:
        """Take some bytes of the answer; return what they give. Raises `UpstreamBroken` for far too many."""
        chunk = self._unpacker.feed(chunk)
        if self._is_streamed:
            self.read(chunk)
            return self.chunks.take()
        self._size += len(chunk)
        if self._size > MOST_HELD:
            raise UpstreamBroken(f"{self.provider} answered with more than {MOST_HELD} bytes.")
        self._held.append(chunk)
        return b""

    def finish(self) -> bytes:
        """Return the rest. Raises `UpstreamBroken` for a stream that broke off, and for what is no answer."""
        if self._is_streamed:
            self.end_stream()
            return self.chunks.take()
        body = b"".join(self._held)
        whole = object_or_none(body)
        if is_error(self._status):
            return encode(self._failure(whole, body))
        if whole is None:
            raise UpstreamBroken(f"{self.provider} answered with what is not a JSON object.")
        return encode(self.tell(whole))

    def read(self, chunk: bytes) -> None:
        """Take some bytes of a streamed answer."""
        for one in self._events.feed(chunk):
            if not self.chunks.is_over:
                self.tell_event(one.event, one.data)

    def tell_event(self, name: str, data: str) -> None:
        """Take one server-sent event of a streamed answer."""
        raise NotImplementedError

    def end_stream(self) -> None:
        """Take the end of a streamed answer's bytes. Raises `UpstreamBroken` where the answer has not ended before."""
        if not self.chunks.is_over:
            raise UpstreamBroken(f"{self.provider} ended the stream before the answer was whole.")

    @abstractmethod
    def tell(self, whole: Json) -> Json:
        """Return a whole answer in the hub's words. Raises `UpstreamBroken` for what is none."""

    @abstractmethod
    def tell_error(self, status: int, whole: Json) -> Json | None:
        """Return an error in the hub's words, or None for what is none of the provider's."""

    def _failure(self, whole: Json | None, body: bytes) -> Json:
        whole = whole if whole is not None else next(elements(_value_or_none(body)), None)
        told = None if whole is None else self.tell_error(self._status, whole)
        if told is not None:
            return told
        text = body.decode("utf-8", "replace").strip()
        return error_body(text or f"{self.provider} answered with status {self._status}.", status=self._status)
