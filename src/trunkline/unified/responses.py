"""OpenAI's Responses, spoken by a client whose model's maker only has a chat.

Nothing is kept between requests: a conversation is told whole each time. Thinking comes back as reasoning items; what
a maker signed of it travels in their ``encrypted_content``, and is told again when a client sends them back.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import msgspec

from trunkline.errors import MalformedRequest
from trunkline.unified.chat import (
    Json,
    convert,
    elements,
    encode,
    error_body,
    members,
    object_or_none,
    read_object,
    words,
)
from trunkline.unified.client_side import Block, ClientSide, Failure, told_call, without_extra

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_SEALED: Final = "trunkline1."
# What only makers of Responses keep, and an answer would be another one without.
_KEPT_ELSEWHERE: Final = {
    "previous_response_id": "Send the items of the conversation as input.",
    "conversation": "Send the items of the conversation as input.",
    "prompt": "Send its text as instructions.",
}
_THE_ONLY: Final = "{place}: {what} of the type {kind} is known where Responses come from alone, such as OpenAI."


class _Reasoning(msgspec.Struct):
    effort: str | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = "answer"
    schema: Json | None = None
    description: str | None = None
    strict: bool | None = None


class _Text(msgspec.Struct):
    format: _Format | None = None


class _Asked(msgspec.Struct, kw_only=True):
    """A client's request. Members that are not here only tune what happens at OpenAI."""

    model: str
    input: str | list[Json]
    instructions: str | None = None
    tools: list[Json] | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    max_output_tokens: int | None = None
    reasoning: _Reasoning | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    stream: bool | None = None
    background: bool | None = None
    previous_response_id: Any = None
    conversation: Any = None
    prompt: Any = None
    metadata: Json | None = None
    user: str | None = None
    safety_identifier: str | None = None


class _Item(NamedTuple):
    """What a block of the answer is here: an item of the output, and the part within it, if it has parts."""

    id: str
    item: Json
    part: Json | None


class ResponsesSurface(ClientSide):
    """One exchange of ``responses``. ``chat`` is the hub request, its model as the client named it."""

    def __init__(self, body: bytes, *, now: int, id: str) -> None:
        """``now`` is in Unix seconds. Raises `MalformedRequest` naming what a chat cannot be told."""
        asked = read_object(body)
        request = convert(asked, _Asked)
        self.chat = _chat(request)
        super().__init__(id, request.model)
        self._now = now
        self._asked = asked
        self._sequence = 0

    # ------------------------------------------------------------------------------------------------ a stream

    def _start(self) -> None:
        response = self._response("in_progress")
        self._tell("response.created", response=response)
        self._tell("response.in_progress", response=response)

    def _opened(self, block: Block) -> None:
        own, item, part = self._item(block, "in_progress", text="")
        # Of an item that has begun, the parts are not told yet.
        begun = {**item, "content": []} if part is not None else item
        self._tell("response.output_item.added", output_index=block.position, item=begun)
        if part is not None:
            place = self._place(own, block)
            self._tell("response.content_part.added", **place, content_index=0, part=part)

    def _added(self, block: Block, piece: str) -> None:
        place = self._place(self._id(block), block)
        match block.kind:
            case "tool":
                self._tell("response.function_call_arguments.delta", **place, delta=piece)
            case "thinking":
                self._tell("response.reasoning_text.delta", **place, content_index=0, delta=piece)
            case "refusal":
                self._tell("response.refusal.delta", **place, content_index=0, delta=piece)
            case _:
                self._tell("response.output_text.delta", **place, content_index=0, delta=piece, logprobs=[])

    def _closed(self, block: Block) -> None:
        if not self.is_streamed:
            return
        text = block.text
        status = "incomplete" if self.finish_reason in _INCOMPLETE else "completed"
        own, item, part = self._item(block, status, text=text)
        place = self._place(own, block)
        match block.kind:
            case "tool":
                told = {"arguments": text, "name": block.name}
                self._tell("response.function_call_arguments.done", **place, **told)
            case "thinking":
                self._tell("response.reasoning_text.done", **place, content_index=0, text=text)
            case "refusal":
                self._tell("response.refusal.done", **place, content_index=0, refusal=text)
            case "text":
                self._tell("response.output_text.done", **place, content_index=0, text=text, logprobs=[])
        if part is not None:
            self._tell("response.content_part.done", **place, content_index=0, part=part)
        self._tell("response.output_item.done", output_index=block.position, item=item)

    def _ended(self) -> None:
        response = self._whole()
        self._tell(f"response.{response['status']}", response=response)

    def _failed(self, failure: Failure) -> None:
        is_rate = failure.type == "rate_limit_error" or failure.status == 429
        code = "rate_limit_exceeded" if is_rate else "server_error"
        response = self._response("failed", error={"code": code, "message": failure.text})
        self._tell("response.failed", response=response)

    def _tell(self, kind: str, **said: Any) -> None:
        self._say(kind, {"type": kind, **said, "sequence_number": self._sequence})
        self._sequence += 1

    # ------------------------------------------------------------------------------------------------ a whole answer

    def _failed_body(self, body: bytes) -> bytes:
        said = object_or_none(body)
        if said is not None and isinstance(said.get("error"), dict):
            return body
        failure = self._failure(body)
        return encode(error_body(failure.text, status=self._status, type=failure.type, code=failure.code or None))

    def _whole(self) -> Json:
        reason = _INCOMPLETE.get(self.finish_reason)
        if reason is None:
            return self._response("completed")
        return self._response("incomplete", incomplete_details={"reason": reason})

    def _response(self, status: str, *, error: Json | None = None, incomplete_details: Json | None = None) -> Json:
        asked = self._asked
        text = members(asked.get("text"))
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": self._now,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": incomplete_details,
            "instructions": asked.get("instructions"),
            "max_output_tokens": asked.get("max_output_tokens"),
            "model": self.model,
            "output": list(self._output(is_cut=incomplete_details is not None)),
            "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
            "previous_response_id": None,
            "reasoning": {"effort": self.chat.get("reasoning_effort"), "summary": None},
            "store": False,
            "temperature": asked.get("temperature"),
            "text": {"format": {"type": "text"}, **{name: one for name, one in text.items() if one is not None}},
            "tool_choice": asked.get("tool_choice") or "auto",
            "tools": asked.get("tools") or [],
            "top_p": asked.get("top_p"),
            "truncation": "disabled",
            "usage": self._usage(),
            "user": asked.get("user"),
            "metadata": asked.get("metadata") or {},
        }

    def _output(self, *, is_cut: bool) -> Iterator[Json]:
        for at, block in enumerate(self.blocks, start=1):
            status = "incomplete" if is_cut and at == len(self.blocks) else "completed"
            yield self._item(block, status, text=block.text).item

    def _usage(self) -> Json | None:
        used = self.used
        if not used.input and not used.output:
            return None
        return {
            "input_tokens": used.input,
            "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.cache_write},
            "output_tokens": used.output,
            "output_tokens_details": {"reasoning_tokens": used.reasoning},
            "total_tokens": used.input + used.output,
        }

    def _id(self, block: Block) -> str:
        mark = {"tool": "fc", "thinking": "rs", "redacted": "rs"}.get(block.kind, "msg")
        return f"{mark}_{self.id}_{block.position}"

    def _place(self, id: str, block: Block) -> Json:
        return {"item_id": id, "output_index": block.position}

    def _item(self, block: Block, status: str, *, text: str) -> _Item:
        own = self._id(block)
        part: Json | None
        match block.kind:
            case "tool":
                call = {"call_id": block.id, "name": block.name, "arguments": text}
                return _Item(own, {"type": "function_call", "id": own, "status": status, **call}, None)
            case "redacted":
                sealed = _seal({"type": "redacted_thinking", "data": block.signature})
                return _Item(own, {"type": "reasoning", "id": own, "summary": [], "encrypted_content": sealed}, None)
            case "thinking":
                part = {"type": "reasoning_text", "text": text}
                item: Json = {"type": "reasoning", "id": own, "summary": [], "content": [part]}
                if block.signature:
                    signed = {"type": "thinking", "thinking": text, "signature": block.signature}
                    item["encrypted_content"] = _seal(signed)
                return _Item(own, item, part)
            case "refusal":
                part = {"type": "refusal", "refusal": text}
            case _:
                part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        item = {"type": "message", "id": own, "status": status, "role": "assistant", "content": [part]}
        return _Item(own, item, part)


# ---------------------------------------------------------------------------------------------------- the request


def _chat(request: _Asked) -> Json:
    for field, instead in _KEPT_ELSEWHERE.items():
        if getattr(request, field):
            raise MalformedRequest(f"{field}: nothing is kept for this model between requests. {instead}")
    if request.background:
        raise MalformedRequest("background: this model answers while the client waits. Leave it out.")
    if request.top_logprobs or "message.output_text.logprobs" in (request.include or ()):
        raise MalformedRequest("top_logprobs: this model's answers have none here. Leave it and its include out.")
    if request.max_output_tokens is not None and request.max_output_tokens < 1:
        raise MalformedRequest("max_output_tokens: it is a whole number from 1 on.")
    chat: Json = {"model": request.model, "messages": _Conversation(request).messages}
    tools, wanted = _tools(request)
    if tools:
        chat["tools"] = tools
        named = {"tool_choice": wanted, "parallel_tool_calls": request.parallel_tool_calls}
        chat |= {name: value for name, value in named.items() if value is not None}
    form = request.text.format if request.text is not None else None
    if form is not None and form.type != "text":
        chat["response_format"] = _response_format(form)
    told = {
        "max_tokens": request.max_output_tokens,
        "reasoning_effort": request.reasoning.effort if request.reasoning is not None else None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "user": request.user,
        "safety_identifier": request.safety_identifier,
    }
    chat |= {name: value for name, value in told.items() if value is not None}
    if request.stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return chat


def _response_format(form: _Format) -> Json:
    if form.type == "json_object":
        return {"type": "json_object"}
    if form.schema is None:
        raise MalformedRequest("text.format.schema: a format of the type json_schema has one.")
    schema = {"name": form.name, "schema": form.schema, "description": form.description, "strict": form.strict}
    return {"type": "json_schema", "json_schema": {name: one for name, one in schema.items() if one is not None}}


def _tools(request: _Asked) -> tuple[list[Json], Any]:
    """Return the tools, and which of them is to be called."""
    tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(request.tools or ())]
    wanted = request.tool_choice
    match wanted:
        case None | "auto" | "none" | "required":
            return tools, wanted
        case {"type": "function", "name": str(name)}:
            return tools, {"type": "function", "function": {"name": name}}
        case {"type": "allowed_tools", "tools": list(allowed), "mode": ("auto" | "required") as mode}:
            names = {one.get("name") for one in allowed if isinstance(one, dict) and one.get("type") == "function"}
            return [tool for tool in tools if tool["function"]["name"] in names], mode
        case {"type": str(kind)}:
            raise MalformedRequest(_THE_ONLY.format(place="tool_choice", what="a choice", kind=kind))
        case _:
            raise MalformedRequest("tool_choice: it is auto, none, required, or an object with type function and name.")


def _tool(tool: Json, place: str) -> Json:
    kind = tool.get("type")
    if kind != "function":
        raise MalformedRequest(_THE_ONLY.format(place=place, what="a tool", kind=kind))
    name = _text(tool, "name", place)
    told = {"name": name} | {
        field: tool[field] for field in ("description", "parameters", "strict") if tool.get(field) is not None
    }
    return {"type": "function", "function": told}


class _Conversation:
    """The items of an input as messages. What one side says in several items in a row is one message."""

    def __init__(self, request: _Asked) -> None:
        self.messages: list[Json] = []
        if request.instructions:
            self.messages.append({"role": "system", "content": request.instructions})
        if isinstance(request.input, str):
            self.messages.append({"role": "user", "content": request.input})
            return
        if not request.input:
            raise MalformedRequest("input: it is a text, or a list of one item at least.")
        for at, item in enumerate(request.input):
            self._take(item, f"input[{at}]")
        for message in self.messages:
            if message["role"] == "assistant" and message["content"] is None and "tool_calls" not in message:
                message["content"] = ""

    def _take(self, item: Json, place: str) -> None:
        match item.get("type", "message"):
            case "message":
                self._message(item, place)
            case "function_call":
                arguments = _text(item, "arguments", place)
                call = told_call(_text(item, "call_id", place), _text(item, "name", place), arguments)
                self._assistant().setdefault("tool_calls", []).append(call)
            case "function_call_output":
                own, _ = without_extra(_text(item, "call_id", place))
                content = _simple(_parts(item.get("output"), f"{place}.output"))
                if not isinstance(content, str) and any(part["type"] == "file" for part in content):
                    raise MalformedRequest(f"{place}.output: files are no results of tools here. Send their text.")
                self.messages.append({"role": "tool", "tool_call_id": own, "content": content})
            case "reasoning":
                self._reasoning(item)
            case "item_reference":
                raise MalformedRequest(f"{place}: nothing is kept for this model that an item could refer to.")
            case kind:
                raise MalformedRequest(_THE_ONLY.format(place=place, what="an item", kind=kind))

    def _message(self, item: Json, place: str) -> None:
        parts = _parts(item.get("content"), f"{place}.content")
        match item.get("role"):
            case "user":
                self.messages.append({"role": "user", "content": _simple(parts)})
            case "system" | "developer":
                if any(part["type"] != "text" for part in parts):
                    raise MalformedRequest(f"{place}.content: instructions are text alone.")
                self.messages.append({"role": "system", "content": _simple(parts)})
            case "assistant":
                if any(part["type"] != "text" for part in parts):
                    raise MalformedRequest(f"{place}.content: what a model said is text alone.")
                said = self._assistant()
                before = said["content"]
                text = "\n".join(part["text"] for part in parts)
                said["content"] = text if before is None else f"{before}\n{text}"
            case _:
                raise MalformedRequest(f"{place}.role: it is one of user, assistant, system, developer.")

    def _reasoning(self, item: Json) -> None:
        """Take thinking, as far as it can be told again: what others encrypted is left out."""
        text = "\n".join(words(one.get("text")) for one in elements(item.get("content")))
        block = _unseal(item.get("encrypted_content"))
        if text:
            said = self._assistant()
            before = said.get("reasoning_content")
            said["reasoning_content"] = text if before is None else f"{before}\n{text}"
        if block is not None:
            self._assistant().setdefault("thinking_blocks", []).append(block)

    def _assistant(self) -> Json:
        """Return the message of the assistant's that is being told."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": None})
        return self.messages[-1]


def _parts(content: Any, place: str) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise MalformedRequest(f"{place}: it is a text, or a list of parts.")
    return [_part(part, f"{place}[{at}]") for at, part in enumerate(content)]


def _part(part: Any, place: str) -> Json:
    if not isinstance(part, dict):
        raise MalformedRequest(f"{place}: it is an object.")
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": _text(part, "text", place)}
        case "refusal":
            return {"type": "text", "text": _text(part, "refusal", place)}
        case "input_image":
            if not isinstance(part.get("image_url"), str):
                raise MalformedRequest(f"{place}: this model knows no files by their id. Send the picture's image_url.")
            image: Json = {"url": part["image_url"]}
            if part.get("detail") in ("low", "high"):
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        case "input_file":
            if not isinstance(part.get("file_data"), str):
                raise MalformedRequest(f"{place}: this model fetches no files and knows none by id. Send file_data.")
            file = {name: part[name] for name in ("filename", "file_data") if isinstance(part.get(name), str)}
            return {"type": "file", "file": file}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        case kind:
            raise MalformedRequest(_THE_ONLY.format(place=place, what="a part", kind=kind))


def _simple(parts: list[Json]) -> str | list[Json]:
    return "\n".join(part["text"] for part in parts) if all(part["type"] == "text" for part in parts) else parts


def _text(value: Json, name: str, place: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise MalformedRequest(f"{place}.{name}: it is a text, and there has to be one.")
    return text


def _seal(block: Json) -> str:
    """Return a block of thinking as a text that a client sends back as it was."""
    return _SEALED + base64.b64encode(encode(block)).decode()


def _unseal(text: Any) -> Json | None:
    """Return the block that was sealed, or None for what others encrypted."""
    if not isinstance(text, str) or not text.startswith(_SEALED):
        return None
    try:
        return object_or_none(base64.b64decode(text.removeprefix(_SEALED), validate=True))
    except (binascii.Error, ValueError):
        return None
