"""Anthropic's Messages, asked in the hub's words.

What a hub request leaves open is decided here: `most_tokens_of` says how long an answer may be where nobody does, and
`_BUDGETS` how much an effort is, for models that want a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.chat import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    ChunkStream,
    FilePart,
    FinishReason,
    ImagePart,
    Json,
    JsonSchema,
    NamedTool,
    ProviderSide,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
    answer,
    as_text,
    choice,
    count,
    effort_of,
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

_NAME: Final = "Anthropic"
_VERSION: Final = b"2023-06-01"
_OTHERWISE_UNKNOWN: Final = (99, 0)

# claude-sonnet-4-5-20250929, claude-opus-4-20250514, claude-opus-4.1; before: claude-3-5-sonnet-20241022.
_NUMBERED: Final = re.compile(r"claude-[a-z]+-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_NUMBERED_BEFORE: Final = re.compile(r"claude-(\d)(?:[-.](\d))?(?!\d)")

_STRUCTURED_SINCE: Final = (4, 5)
_ADAPTIVE_SINCE: Final = (4, 6)
_BUDGETED_SINCE: Final = (3, 7)
_XHIGH_SINCE: Final = (4, 7)

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 31_000}
_LEAST_BUDGET: Final = 1024

# The tool by which a model without structured outputs gives its answer a shape.
_ANSWER_TOOL: Final = "give_answer"
_JSON_PLEASE: Final = "Answer with one JSON object and nothing else: no explanation and no code fence."

_IDENTIFIER: Final = re.compile(r"[^a-zA-Z0-9_-]")
# What Anthropic's structured outputs refuse in a schema; it is put in the description, which the model reads.
_REFUSED_IN_SCHEMAS: Final = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("maxItems", "uniqueItems", "minProperties", "maxProperties"),
    )
)

_FINISH: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_ERROR_TYPES: Final = {
    "rate_limit_error": "rate_limit_error",
    "invalid_request_error": "invalid_request_error",
    "authentication_error": "authentication_error",
    "permission_error": "permission_error",
    "not_found_error": "not_found_error",
}


def version_of(model: str) -> tuple[int, int]:
    """Return the version in a Claude model's name, wherever it is served; a very high one for a name without."""
    match = _NUMBERED_BEFORE.search(model) or _NUMBERED.search(model)
    return (int(match[1]), int(match[2] or 0)) if match else _OTHERWISE_UNKNOWN


def most_tokens_of(model: str) -> int:
    """Return how many tokens an answer may have where the request does not say: what every model of its kind can."""
    return 4096 if version_of(model) < _BUDGETED_SINCE else 32_000


class AnthropicAdapter(ProviderSide):
    """One exchange with ``v1/messages``."""

    provider = _NAME

    def __init__(self, body: Json, model: str, *, now: int, id: str) -> None:
        """Raises `MalformedRequest` for what cannot be told to Anthropic."""
        super().__init__()
        request = ChatRequest.read(body)
        _refuse(request)
        self.path = "v1/messages"
        self.headers.append((b"anthropic-version", _VERSION))
        self._id, self._now, self._model = id, now, model
        self._answers_by_tool = _answers_by_tool(request, model)
        self.body = encode(_request(request, model, answers_by_tool=self._answers_by_tool))
        self.chunks = ChunkStream(id, now, model, includes_usage=request.includes_usage)
        self._used: Json = {}
        self._stop: str | None = None
        self._refusal = ""
        self._calls = 0
        self._blocks: dict[int, _Block] = {}

    def tell(self, whole: Json) -> Json:
        """Return a message as a chat completion."""
        if whole.get("type") == "error":
            raise UpstreamBroken(f"{_NAME} answered with an error under a status of success.")
        if not isinstance(whole.get("content"), list):
            raise UpstreamBroken(f"{_NAME} answered with what is not a message.")
        blocks = list(elements(whole["content"]))
        text = "".join(words(block.get("text")) for block in blocks if block.get("type") == "text")
        calls = [_told_call(block) for block in blocks if block.get("type") == "tool_use"]
        if self._answers_by_tool:
            shaped = [call for call in calls if call["function"]["name"] == _ANSWER_TOOL]
            calls = [call for call in calls if call["function"]["name"] != _ANSWER_TOOL]
            text = shaped[0]["function"]["arguments"] if shaped else text
        stop = words(whole.get("stop_reason"))
        said = message(
            text or None,
            tool_calls=calls,
            reasoning="".join(words(block.get("thinking")) for block in blocks if block.get("type") == "thinking"),
            thinking_blocks=[block for block in blocks if block.get("type") in ("thinking", "redacted_thinking")],
            refusal=_refusal_of(whole) if stop == "refusal" else None,
        )
        used = members(whole.get("usage"))
        finish = self._finish_reason(stop, has_calls=bool(calls))
        return answer(
            self._id,
            self._now,
            words(whole.get("model")) or self._model,
            [choice(said, finish)],
            _usage(used) if used else None,
        )

    def tell_error(self, status: int, whole: Json) -> Json | None:
        """Return Anthropic's error as OpenAI's."""
        error = members(whole.get("error"))
        return _told_error(error, status) if words(error.get("message")) else None

    def tell_event(self, name: str, data: str) -> None:
        """Take one event of a stream."""
        told = object_or_none(data)
        if told is None:
            raise UpstreamBroken(f"{_NAME} sent an event that is not a JSON object.")
        match told.get("type"):
            case "message_start":
                begun = members(told.get("message"))
                self.chunks.model = words(begun.get("model")) or self._model
                self._absorb(begun.get("usage"))
                self.chunks.begin()
            case "content_block_start":
                self._start(told)
            case "content_block_delta":
                self._continue(told)
            case "content_block_stop":
                self._end_block(told)
            case "message_delta":
                delta = members(told.get("delta"))
                self._stop = words(delta.get("stop_reason")) or self._stop
                self._refusal = _refusal_of(delta) or self._refusal
                self._absorb(told.get("usage"))
            case "message_stop":
                if self._stop == "refusal":
                    self.chunks.refusal(self._refusal)
                self.chunks.end(self._finish_reason(self._stop or "", has_calls=self._calls > 0))
                self.chunks.done(_usage(self._used))
            case "error":
                self.chunks.fail(_told_error(members(told.get("error")), 0))
            case _:
                pass  # pings, and what is yet to come

    def _start(self, told: Json) -> None:
        begun = members(told.get("content_block"))
        block = _Block(begun)
        self._blocks[count(told.get("index"))] = block
        match block.type:
            case "text":
                self._say_text(words(begun.get("text")))
            case "thinking":
                self.chunks.reasoning(words(begun.get("thinking")))
            case "tool_use":
                block.is_answer = self._answers_by_tool and begun.get("name") == _ANSWER_TOOL
                if not block.is_answer:
                    block.number = self._calls
                    self._calls += 1
                    self.chunks.tool_call(block.number, words(begun.get("id")), words(begun.get("name")))

    def _continue(self, told: Json) -> None:
        block = self._blocks.get(count(told.get("index")))
        delta = members(told.get("delta"))
        if block is None:
            return
        match delta.get("type"):
            case "text_delta":
                self._say_text(words(delta.get("text")))
            case "thinking_delta":
                piece = words(delta.get("thinking"))
                block.pieces.append(piece)
                self.chunks.reasoning(piece)
            case "signature_delta":
                block.signature += words(delta.get("signature"))
            case "input_json_delta":
                self._say_input(block, words(delta.get("partial_json")))

    def _end_block(self, told: Json) -> None:
        block = self._blocks.pop(count(told.get("index")), None)
        if block is None:
            return
        if block.type == "tool_use" and not block.pieces:
            # A call without arguments has no pieces of them, or all of them at its start.
            self._say_input(block, as_text(members(block.begun.get("input"))))
        elif block.type == "thinking":
            thinking = words(block.begun.get("thinking")) + "".join(block.pieces)
            signature = words(block.begun.get("signature")) + block.signature
            whole = {"type": "thinking", "thinking": thinking, "signature": signature}
            self.chunks.thinking_block(whole)
        elif block.type == "redacted_thinking":
            self.chunks.thinking_block(block.begun)

    def _say_text(self, piece: str) -> None:
        if not self._answers_by_tool:
            self.chunks.text(piece)

    def _say_input(self, block: _Block, piece: str) -> None:
        if piece:
            block.pieces.append(piece)
            if block.is_answer:
                self.chunks.text(piece)
            else:
                self.chunks.arguments(block.number, piece)

    def _absorb(self, used: Any) -> None:
        # The counts are running totals.
        self._used.update({name: value for name, value in members(used).items() if value is not None})

    def _finish_reason(self, stop: str, *, has_calls: bool) -> FinishReason:
        finish = _FINISH.get(stop, "stop")
        return "stop" if finish == "tool_calls" and not has_calls else finish


class _Block:
    """A block of a message that is streamed."""

    def __init__(self, begun: Json) -> None:
        self.begun = begun
        self.type = begun.get("type")
        self.number = 0
        self.is_answer = False
        self.pieces: list[str] = []
        self.signature = ""


# ---------------------------------------------------------------------------------------------------- the request


def _refuse(request: ChatRequest) -> None:
    request.refuse(_NAME, "n", "seed", "logprobs", "top_logprobs", "logit_bias", "frequency_penalty")
    request.refuse(_NAME, "presence_penalty", "modalities", "audio", "web_search_options")
    if request.temperature is not None and not 0 <= request.temperature <= 1:
        raise MalformedRequest(f"temperature: {_NAME} takes 0 to 1.")
    if any(not stop.strip() for stop in request.stops):
        raise MalformedRequest(f"stop: {_NAME} takes no text of blanks alone.")


def _answers_by_tool(request: ChatRequest, model: str) -> bool:
    """Whether the answer gets its shape as the arguments of a tool, for want of structured outputs."""
    form = request.response_format
    return form is not None and form.type == "json_schema" and version_of(model) < _STRUCTURED_SINCE


def _request(request: ChatRequest, model: str, *, answers_by_tool: bool) -> Json:
    most = request.most_tokens or most_tokens_of(model)
    asked: Json = {"model": model, "max_tokens": most}
    system = list(_system(request))
    if system:
        asked["system"] = system
    asked["messages"] = _messages(request)
    tools, chosen = _tools(request), _tool_choice(request)
    output: Json = {}
    if answers_by_tool:
        chosen = {"type": "any"} if tools and chosen != {"type": "none"} else {"type": "tool", "name": _ANSWER_TOOL}
        tools.append(_answer_tool(_schema_of(request)))
    elif request.response_format is not None and request.response_format.type == "json_schema":
        output["format"] = {
            "type": "json_schema",
            "schema": closed_schema(_schema_of(request).schema or {"type": "object"}),
        }
    if tools:
        asked["tools"] = tools
    if chosen is not None and tools:
        asked["tool_choice"] = chosen
    is_forced = chosen is not None and chosen["type"] in ("any", "tool")
    thinking, effort = thinking_of(request, model, most, may_think=not is_forced)
    if thinking is not None:
        asked["thinking"] = thinking
    if effort is not None:
        output["effort"] = effort
    if output:
        asked["output_config"] = output
    if request.stops:
        asked["stop_sequences"] = request.stops
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(request, name)
        if value is not None:
            asked[name] = value
    if request.caller:
        asked["metadata"] = {"user_id": request.caller}
    if request.is_streamed:
        asked["stream"] = True
    return asked


def _system(request: ChatRequest) -> Iterator[Json]:
    """Yield the instructions. Anthropic has one place for them, so that later ones move to the front."""
    for one in request.messages:
        if isinstance(one, SystemMessage):
            yield from _texts(parts_of(one.content))
    if request.response_format is not None and request.response_format.type == "json_object":
        yield {"type": "text", "text": _JSON_PLEASE}


def _texts(parts: Iterable[TextPart]) -> Iterator[Json]:
    """Yield texts as blocks; Anthropic refuses empty ones."""
    for part in parts:
        if part.text:
            yield _marked({"type": "text", "text": part.text}, part.cache_control)


def _marked(block: Json, cache_control: Json | None) -> Json:
    return block if cache_control is None else {**block, "cache_control": cache_control}


def _messages(request: ChatRequest) -> list[Json]:
    """Return the turns. Those of one side that follow each other become one, as results of parallel calls have to."""
    turns: list[Json] = []
    for one in request.messages:
        match one:
            case UserMessage():
                role, blocks = "user", list(_user_blocks(one))
            case ToolMessage():
                role, blocks = "user", [_result(one)]
            case AssistantMessage():
                role, blocks = "assistant", list(_assistant_blocks(one))
            case _:
                continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _user_blocks(one: UserMessage) -> Iterator[Json]:
    for part in parts_of(one.content):
        match part:
            case TextPart():
                yield from _texts([part])
            case ImagePart():
                yield _marked(_image(part), part.cache_control)
            case FilePart():
                yield _marked(_document(part), part.cache_control)
            case AudioPart():
                raise MalformedRequest(f"input_audio: {_NAME} hears no sound. Send its transcript.")


def _image(part: ImagePart) -> Json:
    held = inline(part.image_url.url)
    if held is None:
        return {"type": "image", "source": {"type": "url", "url": part.image_url.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": held.media_type, "data": held.data}}


def _document(part: FilePart) -> Json:
    if part.file.file_data is None:
        raise MalformedRequest(f"file: {_NAME} does not know the files of others by their id; send file_data.")
    held = inline(part.file.file_data, "file_data")
    source: Json
    if held is None:
        source = {"type": "url", "url": part.file.file_data}
    elif held.media_type == "text/plain":
        source = {"type": "text", "media_type": "text/plain", "data": held.decoded().decode("utf-8", "replace")}
    else:
        source = {"type": "base64", "media_type": held.media_type, "data": held.data}
    block: Json = {"type": "document", "source": source}
    return {**block, "title": part.file.filename} if part.file.filename else block


def _result(one: ToolMessage) -> Json:
    content: list[Json] = []
    for part in parts_of(one.content):
        if isinstance(part, ImagePart):
            content.append(_marked(_image(part), part.cache_control))
        else:
            content.extend(_texts([part]))
    block: Json = {"type": "tool_result", "tool_use_id": _identifier(one.tool_call_id)}
    return {**block, "content": content} if content else block


def _assistant_blocks(one: AssistantMessage) -> Iterator[Json]:
    for block in one.thinking_blocks or ():
        # Whoever put a stream together may have kept the number of the block.
        yield {name: value for name, value in block.items() if name != "index"}
    yield from _texts(one.words)
    for call in one.tool_calls or ():
        yield _use(call)


def _use(call: ToolCall) -> Json:
    return {"type": "tool_use", "id": _identifier(call.id), "name": call.function.name, "input": call.input}


def _identifier(id: str) -> str:
    """Return the id of a call as Anthropic takes it: others make theirs of more characters."""
    return _IDENTIFIER.sub("_", id)


def _tools(request: ChatRequest) -> list[Json]:
    # ``strict`` stays behind: Anthropic takes it for a few tools of simple schemas and refuses the request for more.
    tools: list[Json] = []
    for tool in request.tools or ():
        told: Json = {"name": tool.function.name}
        if tool.function.description:
            told["description"] = tool.function.description
        told["input_schema"] = {"type": "object", **(tool.function.parameters or {"properties": {}})}
        tools.append(_marked(told, tool.cache_control))
    return tools


def _tool_choice(request: ChatRequest) -> Json | None:
    chosen: Json | None
    match request.tool_choice:
        case NamedTool() as named:
            chosen = {"type": "tool", "name": named.function.name}
        case "none":
            return {"type": "none"}
        case "required":
            chosen = {"type": "any"}
        case "auto":
            chosen = {"type": "auto"}
        case _:
            chosen = {"type": "auto"} if request.parallel_tool_calls is False else None
    if chosen is not None and request.parallel_tool_calls is False:
        chosen["disable_parallel_tool_use"] = True
    return chosen


def _schema_of(request: ChatRequest) -> JsonSchema:
    form = request.response_format
    if form is None or form.json_schema is None:
        raise MalformedRequest("response_format: the type json_schema comes with a json_schema.")
    return form.json_schema


def _answer_tool(wanted: JsonSchema) -> Json:
    return {
        "name": _ANSWER_TOOL,
        "description": wanted.description or "Give the answer, in this shape.",
        "input_schema": {"type": "object", **(wanted.schema or {"properties": {}})},
    }


def closed_schema(schema: Any) -> Any:
    """Return a schema as structured outputs take it: closed objects, and limits as words of the description."""
    if isinstance(schema, list):
        return [closed_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _closed_member(name, value) for name, value in schema.items() if name not in _REFUSED_IN_SCHEMAS}
    if schema.get("type") == "object" or "properties" in schema:
        told.setdefault("additionalProperties", False)
    limits = ", ".join(f"{name}: {as_text(value)}" for name, value in schema.items() if name in _REFUSED_IN_SCHEMAS)
    if limits:
        told["description"] = f"{words(schema.get('description'))} ({limits})".strip()
    return told


def _closed_member(name: str, value: Any) -> Any:
    match name:
        case "properties" | "$defs" | "definitions" if isinstance(value, dict):
            return {own: closed_schema(schema) for own, schema in value.items()}
        case "items" | "anyOf" | "allOf" | "additionalProperties":
            return closed_schema(value)
        case _:
            return value


def thinking_of(request: ChatRequest, model: str, most: int, *, may_think: bool) -> tuple[Json | None, str | None]:
    """Return how the model is to think, and how hard it is to work.

    A call that is forced and a result whose thinking was not sent back both rule thinking out: then it is left off.
    """
    if request.reasoning_effort is None:
        return None, None
    wanted = effort_of(request.reasoning_effort, _BUDGETS)
    version = version_of(model)
    if version >= _ADAPTIVE_SINCE:
        if wanted == "none":
            return {"type": "disabled"}, None
        effort = "high" if wanted == "xhigh" and version < _XHIGH_SINCE else _EFFORTS[wanted]
        return ({"type": "adaptive", "display": "summarized"} if may_think else None), effort
    if wanted == "none":
        return None, None
    if version < _BUDGETED_SINCE:
        raise MalformedRequest(f"reasoning_effort: {model} does not think. Leave it out.")
    budget = min(_BUDGETS[wanted], most * 3 // 4)
    if not may_think or budget < _LEAST_BUDGET or not _brings_thinking_back(request):
        return None, None
    return {"type": "enabled", "budget_tokens": budget}, None


def _brings_thinking_back(request: ChatRequest) -> bool:
    """Whether the calls of tools since the last question have their thinking with them."""
    for one in reversed(request.messages):
        if isinstance(one, UserMessage):
            return True
        if isinstance(one, AssistantMessage) and one.tool_calls:
            return bool(one.thinking_blocks)
    return True


# ---------------------------------------------------------------------------------------------------- the answer


def _told_call(block: Json) -> Json:
    return tool_call(words(block.get("id")), words(block.get("name")), as_text(members(block.get("input"))))


def _refusal_of(told: Json) -> str | None:
    """Return why the model refused, where it says so."""
    return words(members(told.get("stop_details")).get("explanation")) or None


def _usage(used: Json) -> Json:
    """Return what was used. Anthropic's input leaves out what its cache read and wrote."""
    cached, written = count(used.get("cache_read_input_tokens")), count(used.get("cache_creation_input_tokens"))
    return usage(
        input=count(used.get("input_tokens")) + cached + written,
        output=count(used.get("output_tokens")),
        cached=cached,
        cache_write=written,
        reasoning=count(members(used.get("output_tokens_details")).get("thinking_tokens")),
    )


def _told_error(error: Json, status: int) -> Json:
    kind = words(error.get("type"))
    text = words(error.get("message")) or f"{_NAME} failed."
    return error_body(text, status=status or 500, type=_ERROR_TYPES.get(kind, ""), code=kind or None)
