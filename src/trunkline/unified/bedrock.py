"""Amazon Bedrock's Converse and ConverseStream, asked in the hub's words.

Every model of Bedrock is asked alike, but for what only some can do: effort of thinking, one call of a tool at a time
and ``top_k`` go into ``additionalModelRequestFields``, in the words of the model's maker. ``strict`` of a tool is not
told, as most models refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified import anthropic
from trunkline.unified.adapter import Headers
from trunkline.unified.chat import (
    AssistantMessage,
    ChatRequest,
    ChunkStream,
    FilePart,
    FinishReason,
    ImagePart,
    Json,
    NamedTool,
    ProviderSide,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
    answer,
    as_text,
    choice,
    count,
    elements,
    encode,
    error_body,
    inline,
    members,
    message,
    object_or_none,
    parts_of,
    tool_call,
    usage,
    words,
)
from trunkline.wire.aws_events import AwsEvent, AwsEventParser

_NAME: Final = "Bedrock"
# The region becomes part of a host's name.
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:bedrock:(?P<region>[^:/]+):.+")
_ERROR_TYPE: Final = b"x-amzn-errortype"

_IMAGES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9()\[\]-]+")
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_.:-]")
_LONGEST_ID: Final = 64
_LONGEST_NAME: Final = 200
_CACHE_POINT: Final[Json] = {"cachePoint": {"type": "default"}}

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
# What an exception within a stream would have been as the status of an answer.
_STATUSES: Final = {
    "throttlingexception": 429,
    "validationexception": 400,
    "accessdeniedexception": 403,
    "resourcenotfoundexception": 404,
    "serviceunavailableexception": 503,
}
_EVENTS: Final = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
)


class BedrockAdapter(ProviderSide):
    """A hub chat asked of ``converse`` or ``converse-stream``."""

    provider = _NAME
    stream_type = b"application/vnd.amazon.eventstream"

    def __init__(self, body: Json, model: str, *, now: int, id: str, region: str = "") -> None:
        """``model`` may have a region before it, ``us-east-1/amazon.nova-pro-v1:0``; else ``region`` is meant.

        Raises `MalformedRequest` where there is no region, and naming what Bedrock cannot be told.
        """
        super().__init__()
        request = ChatRequest.read(body)
        region, model = _placed(model, region)
        self._id, self._now, self._model = id, now, model
        self.chunks = ChunkStream(id, now, model, includes_usage=request.includes_usage)
        operation = "converse-stream" if request.is_streamed else "converse"
        self.path = f"bedrock-runtime/{region}/model/{quote(model, safe='')}/{operation}"
        self.body = encode(_request(request, model))
        self._error_type = ""
        self._frames = AwsEventParser()
        self._calls: dict[int, int] = {}
        self._thinking: dict[int, _Thinking] = {}
        self._stop: str | None = None

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, Headers]:
        """Take the head of the provider's answer, which names the kind of an error; return that of the client's."""
        named = next((value for name, value in headers if name.lower() == _ERROR_TYPE), b"")
        self._error_type = named.partition(b":")[0].decode("latin-1")
        return super().begin(status, headers)

    def tell(self, whole: Json) -> Json:
        """Return a whole answer in the hub's words."""
        said = members(whole.get("output")).get("message")
        if not isinstance(said, dict):
            raise UpstreamBroken(f"{_NAME} answered with what is not a message.")
        text: list[str] = []
        calls: list[Json] = []
        thinking: list[_Thinking] = []
        for block in elements(said.get("content")):
            text.append(words(block.get("text")))
            text.extend(
                words(one.get("text")) for one in elements(members(block.get("citationsContent")).get("content"))
            )
            if use := members(block.get("toolUse")):
                calls.append(
                    tool_call(words(use.get("toolUseId")), words(use.get("name")), as_text(use.get("input") or {}))
                )
            if reasoning := members(block.get("reasoningContent")):
                thinking.append(_Thinking())
                thinking[-1].take({**members(reasoning.get("reasoningText")), **reasoning})
        told = message(
            "".join(text) or (None if calls else ""),
            tool_calls=calls,
            reasoning="".join(one.text for one in thinking),
            thinking_blocks=[signed for one in thinking if (signed := one.block()) is not None],
        )
        finish = _FINISH_REASONS.get(words(whole.get("stopReason")), "stop")
        return answer(self._id, self._now, self._model, [choice(told, finish)], _usage(whole.get("usage")))

    def tell_error(self, status: int, whole: Json) -> Json | None:
        """Return an error in the hub's words."""
        text = words(whole.get("message")) or words(whole.get("Message"))
        return error_body(text, status=status, code=self._error_type or None) if text else None

    def read(self, chunk: bytes) -> None:
        """Take some bytes of the binary stream."""
        for event in self._frames.feed(chunk):
            if not self.chunks.is_over:
                self._read_event(event)

    def _read_event(self, event: AwsEvent) -> None:
        payload = object_or_none(event.payload)
        if event.type not in _EVENTS:
            # An exception, which is the answer's end, or an event that is new.
            if payload is None or event.type.lower().endswith(("exception", "error", "failure")):
                text = words((payload or {}).get("message")) or f"{_NAME} broke off the answer: {event.type}."
                status = _STATUSES.get(event.type.lower(), 500)
                self.chunks.fail(error_body(text, status=status, code=event.type or None))
            return
        if payload is None:
            raise UpstreamBroken(f"{_NAME} sent an event that is not a JSON object.")
        index = count(payload.get("contentBlockIndex"))
        match event.type:
            case "messageStart":
                self.chunks.begin()
            case "contentBlockStart":
                use = members(payload.get("start")).get("toolUse")
                if isinstance(use, dict):
                    self._calls[index] = len(self._calls)
                    self.chunks.tool_call(self._calls[index], words(use.get("toolUseId")), words(use.get("name")))
            case "contentBlockDelta":
                self._continue(index, members(payload.get("delta")))
            case "contentBlockStop":
                thinking = self._thinking.pop(index, None)
                block = thinking.block() if thinking is not None else None
                if block is not None:
                    self.chunks.thinking_block(block)
            case "messageStop":
                self._stop = words(payload.get("stopReason"))
                self.chunks.end(_FINISH_REASONS.get(self._stop, "stop"))
            case "metadata" if self._stop is not None:
                self.chunks.done(_usage(payload.get("usage")))

    def _continue(self, index: int, delta: Json) -> None:
        self.chunks.text(words(delta.get("text")))
        if index in self._calls:
            self.chunks.arguments(self._calls[index], words(members(delta.get("toolUse")).get("input")))
        reasoning = delta.get("reasoningContent")
        if isinstance(reasoning, dict):
            self._thinking.setdefault(index, _Thinking()).take(reasoning)
            self.chunks.reasoning(words(reasoning.get("text")))


class _Thinking:
    """One block of thinking, which the model's maker signs, or hides."""

    def __init__(self) -> None:
        self.text = ""
        self._signature = ""
        self._hidden = ""

    def take(self, said: Json) -> None:
        self.text += words(said.get("text"))
        self._signature += words(said.get("signature"))
        self._hidden += words(said.get("redactedContent"))

    def block(self) -> Json | None:
        """Return it as the hub has it, or None where nobody wants it back."""
        if self._hidden:
            return {"type": "redacted_thinking", "data": self._hidden}
        if self._signature:
            return {"type": "thinking", "thinking": self.text, "signature": self._signature}
        return None


def _placed(model: str, region: str) -> tuple[str, str]:
    """Return the region and the name of a model."""
    before, slash, name = model.partition("/")
    arn = _ARN.fullmatch(model)
    if arn is not None:
        region = arn["region"]
    elif slash and _REGION.fullmatch(before):
        region, model = before, name
    if not region:
        raise MalformedRequest(
            "model: Bedrock's models are named with their region: aws-bedrock/us-east-1/amazon.nova-pro-v1:0. "
            "Or set region in the provider's parameters."
        )
    if not _REGION.fullmatch(region):
        raise MalformedRequest("model: the region of a Bedrock model is written like us-east-1.")
    if not model:
        raise MalformedRequest("model: there is no name of a model behind the region.")
    return region, model


# ---------------------------------------------------------------------------------------------------- the request


def _request(request: ChatRequest, model: str) -> Json:
    request.refuse(_NAME, "n", "seed", "logprobs", "top_logprobs", "logit_bias", "frequency_penalty")
    request.refuse(_NAME, "presence_penalty", "modalities", "audio", "web_search_options")
    asked: Json = {"messages": _Turns(request).turns}
    system = [block for one in request.messages if isinstance(one, SystemMessage) for block in _texts(one.content)]
    if system:
        asked["system"] = system
    inference = {
        "maxTokens": request.most_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": request.stops or None,
    }
    inference = {name: value for name, value in inference.items() if value is not None}
    if inference:
        asked["inferenceConfig"] = inference
    is_claude = "anthropic.claude" in model
    fields = _tools(asked, request, is_claude=is_claude)
    fields |= _thinking_fields(request, model, is_claude=is_claude)
    if request.top_k is not None:
        if not is_claude:
            raise MalformedRequest(f"top_k: {_NAME} has no common name for it. Leave it out, or use top_p.")
        fields["top_k"] = request.top_k
    _add_shape(asked, request, is_claude=is_claude)
    if fields:
        asked["additionalModelRequestFields"] = fields
    return asked


def _add_shape(asked: Json, request: ChatRequest, *, is_claude: bool) -> None:
    shape = request.response_format
    if shape is None or shape.type == "text":
        return
    wanted = shape.json_schema
    if wanted is None or wanted.schema is None:
        raise MalformedRequest(f"response_format: {_NAME} takes type json_schema, with a schema, and no json_object.")
    schema = anthropic.closed_schema(wanted.schema) if is_claude else wanted.schema
    told: Json = {"name": wanted.name, "schema": as_text(schema)}
    if wanted.description:
        told["description"] = wanted.description
    asked["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": told}}}


def _thinking_fields(request: ChatRequest, model: str, *, is_claude: bool) -> Json:
    effort = request.reasoning_effort
    if effort is None:
        return {}
    if is_claude:
        most = request.most_tokens or anthropic.most_tokens_of(model)
        is_forced = request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)
        thinking, effort = anthropic.thinking_of(request, model, most, may_think=not is_forced)
        fields: Json = {} if thinking is None else {"thinking": thinking}
        return fields if effort is None else {**fields, "output_config": {"effort": effort}}
    if effort == "none":
        return {}
    if "openai.gpt-oss" in model:
        return {"reasoning_effort": effort}
    if "amazon.nova-2" in model and effort in ("low", "medium", "high"):
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
    raise MalformedRequest(f"reasoning_effort: {model} cannot be told {effort} on {_NAME}. Leave it out.")


def _tools(asked: Json, request: ChatRequest, *, is_claude: bool) -> Json:
    """Add the tools. Return the fields by which Claude is kept to one call at a time."""
    tools: list[Json] = []
    for tool in request.tools or ():
        function = tool.function
        spec: Json = {"name": function.name}
        if function.description:
            spec["description"] = function.description
        spec["inputSchema"] = {"json": {"type": "object", **(function.parameters or {"properties": {}})}}
        tools.append({"toolSpec": spec})
        if tool.cache_control is not None:
            tools.append(_CACHE_POINT)
    if not tools:
        return {}
    chosen: Json | None
    match request.tool_choice:
        case "none":
            if any(isinstance(one, ToolMessage) for one in request.messages):
                raise MalformedRequest(f"tool_choice: {_NAME} cannot be kept from calling tools after it called some.")
            return {}
        case "required":
            chosen, theirs = {"any": {}}, {"type": "any"}
        case NamedTool(function=named):
            chosen, theirs = {"tool": {"name": named.name}}, {"type": "tool", "name": named.name}
        case _:
            chosen, theirs = None, {"type": "auto"}
    asked["toolConfig"] = {"tools": tools}
    if request.parallel_tool_calls is False:
        if not is_claude:
            raise MalformedRequest(f"parallel_tool_calls: this model of {_NAME} cannot be kept to one call at a time.")
        return {"tool_choice": {**theirs, "disable_parallel_tool_use": True}}
    if chosen is not None:
        asked["toolConfig"]["toolChoice"] = chosen
    return {}


class _Turns:
    """The turns of a conversation. Those of one side that follow each other become one."""

    def __init__(self, request: ChatRequest) -> None:
        self.turns: list[Json] = []
        self._names: set[str] = set()
        for one in request.messages:
            match one:
                case UserMessage():
                    role, blocks = "user", list(self._user(one))
                case ToolMessage():
                    role, blocks = "user", [self._result(one)]
                case AssistantMessage():
                    role, blocks = "assistant", list(_assistant(one))
                case _:
                    continue
            if self.turns and self.turns[-1]["role"] == role:
                self.turns[-1]["content"].extend(blocks)
            elif blocks:
                self.turns.append({"role": role, "content": blocks})

    def _user(self, one: UserMessage) -> Iterator[Json]:
        for part in parts_of(one.content):
            match part:
                case TextPart():
                    yield from _texts([part])
                    continue
                case ImagePart():
                    yield _image(part)
                case FilePart():
                    yield self._document(part)
                case _:
                    raise MalformedRequest(f"input_audio: {_NAME} hears no sound here. Send its transcript.")
            if part.cache_control is not None:
                yield _CACHE_POINT

    def _result(self, one: ToolMessage) -> Json:
        content: list[Json] = []
        for part in parts_of(one.content):
            # A mark of what is to be cached has no place within a result.
            if isinstance(part, ImagePart):
                content.append(_image(part))
            elif part.text.strip():
                content.append({"text": part.text})
        return {
            "toolResult": {"toolUseId": _identifier(one.tool_call_id), "content": content or [{"text": "(nothing)"}]}
        }

    def _document(self, part: FilePart) -> Json:
        held = inline(part.file.file_data, "file_data") if part.file.file_data is not None else None
        if held is None:
            raise MalformedRequest(f"file: {_NAME} takes documents as file_data, a data: URL, and nothing else.")
        kind = _DOCUMENTS.get(held.media_type)
        if kind is None:
            raise MalformedRequest(f"file: {_NAME} takes documents of the types {', '.join(_DOCUMENTS)}.")
        return {"document": {"format": kind, "name": self._name(part.file.filename), "source": {"bytes": held.data}}}

    def _name(self, filename: str | None) -> str:
        """Return a name as Bedrock takes it, without an extension; no two documents may have the same."""
        stem = (filename or "").rpartition(".")[0] or filename or ""
        wanted = _NOT_IN_NAMES.sub(" ", stem).strip()[:_LONGEST_NAME] or "document"
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted} {number}"
        self._names.add(name)
        return name


def _assistant(one: AssistantMessage) -> Iterator[Json]:
    for block in one.thinking_blocks or ():
        if block.get("type") == "redacted_thinking":
            yield {"reasoningContent": {"redactedContent": words(block.get("data"))}}
        elif signature := words(block.get("signature")):
            told = {"text": words(block.get("thinking")), "signature": signature}
            yield {"reasoningContent": {"reasoningText": told}}
    yield from _texts(one.words)
    for call in one.tool_calls or ():
        yield {"toolUse": {"toolUseId": _identifier(call.id), "name": call.function.name, "input": call.input}}


def _texts(content: str | list[TextPart]) -> Iterator[Json]:
    """Yield texts as blocks; Bedrock refuses blank ones."""
    for part in parts_of(content):
        if part.text.strip():
            yield {"text": part.text}
        if part.cache_control is not None:
            yield _CACHE_POINT


def _image(part: ImagePart) -> Json:
    held = inline(part.image_url.url)
    if held is None:
        raise MalformedRequest(f"image_url: {_NAME} fetches no pictures. Send it as data:image/png;base64,...")
    kind = _IMAGES.get(held.media_type)
    if kind is None:
        raise MalformedRequest(f"image_url: {_NAME} takes PNG, JPEG, GIF and WebP.")
    return {"image": {"format": kind, "source": {"bytes": held.data}}}


def _identifier(id: str) -> str:
    """Return the id of a call as Bedrock takes it: others make theirs of more characters."""
    return _NOT_IN_IDS.sub("_", id)[-_LONGEST_ID:]


def _usage(stated: object) -> Json | None:
    """Return what was used. Bedrock's input leaves out what its cache read and wrote."""
    counted = members(stated)
    if not counted:
        return None
    cached, written = count(counted.get("cacheReadInputTokens")), count(counted.get("cacheWriteInputTokens"))
    return usage(
        input=count(counted.get("inputTokens")) + cached + written,
        output=count(counted.get("outputTokens")),
        cached=cached,
        cache_write=written,
    )
