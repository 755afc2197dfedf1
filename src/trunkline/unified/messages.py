"""Anthropic's Messages, spoken by a client whose model is anyone's.

What has no word in the hub is left out where it only tunes (``top_k``, ``service_tier``, marks of what to cache at the
top), and refused where an answer would be another one without it (tools that a server runs, files by id).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.chat import Json, as_text, encode, read_object
from trunkline.unified.client_side import Block, ClientSide, Failure, told_call, without_extra

_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_ERROR_TYPES_BY_TYPE: Final = {
    "authentication_error": "authentication_error",
    "insufficient_quota": "billing_error",
    "invalid_request_error": "invalid_request_error",
    "not_found_error": "not_found_error",
    "permission_error": "permission_error",
    "rate_limit_error": "rate_limit_error",
}
_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_TOOL_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
# Up to how many tokens of thinking an effort stands for.
_LOW: Final = 4096
_MEDIUM: Final = 16_384
# OpenAI takes no longer name of a caller.
_LONGEST_USER: Final = 64


class MessagesSurface(ClientSide):
    """One exchange of ``v1/messages``. ``chat`` is the hub request, its model as the client named it."""

    def __init__(self, body: bytes, *, now: int, id: str) -> None:
        """Raises `MalformedRequest` naming the field at fault. ``now`` is not in an answer of this surface."""
        self._asked = _Asked(read_object(body))
        self.chat = self._asked.chat()
        super().__init__(id, self.chat["model"])

    # ------------------------------------------------------------------------------------------------ a stream

    def _start(self) -> None:
        self._say("message_start", {"type": "message_start", "message": self._message([], None)})

    def _opened(self, block: Block) -> None:
        begun: Json
        match block.kind:
            case "thinking":
                begun = {"type": "thinking", "thinking": "", "signature": ""}
            case "redacted":
                begun = {"type": "redacted_thinking", "data": block.signature}
            case "tool":
                begun = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
            case _:
                begun = {"type": "text", "text": ""}
        told = {"type": "content_block_start", "index": block.position, "content_block": begun}
        self._say("content_block_start", told)

    def _added(self, block: Block, piece: str) -> None:
        match block.kind:
            case "thinking":
                delta = {"type": "thinking_delta", "thinking": piece}
            case "tool":
                delta = {"type": "input_json_delta", "partial_json": piece}
            case _:
                delta = {"type": "text_delta", "text": piece}
        self._say_delta(block, delta)

    def _closed(self, block: Block) -> None:
        if block.kind == "thinking" and block.signature:
            self._say_delta(block, {"type": "signature_delta", "signature": block.signature})
        self._say("content_block_stop", {"type": "content_block_stop", "index": block.position})

    def _say_delta(self, block: Block, delta: Json) -> None:
        told = {"type": "content_block_delta", "index": block.position, "delta": delta}
        self._say("content_block_delta", told)

    def _ended(self) -> None:
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": None}
        self._say("message_delta", {"type": "message_delta", "delta": delta, "usage": self._usage()})
        self._say("message_stop", {"type": "message_stop"})

    def _failed(self, failure: Failure) -> None:
        kind = _ERROR_TYPES_BY_TYPE.get(failure.type) or _ERROR_TYPES.get(failure.status, "api_error")
        self._say("error", _error(kind, failure.text))

    # ------------------------------------------------------------------------------------------------ a whole answer

    def _failed_body(self, body: bytes) -> bytes:
        kind = _ERROR_TYPES.get(self._status) or ("api_error" if self._status >= 500 else "invalid_request_error")
        return encode(_error(kind, self._failure(body).text))

    def _whole(self) -> Json:
        return self._message([self._told(block) for block in self.blocks], self._stop_reason())

    def _told(self, block: Block) -> Json:
        match block.kind:
            case "thinking":
                return {"type": "thinking", "thinking": block.text, "signature": block.signature}
            case "redacted":
                return {"type": "redacted_thinking", "data": block.signature}
            case "tool":
                arguments = block.input
                if arguments is None and self.finish_reason != "length":
                    raise UpstreamBroken(f"The model called {block.name} with arguments that are not a JSON object.")
                return {"type": "tool_use", "id": block.id, "name": block.name, "input": arguments or {}}
            case _:
                return {"type": "text", "text": block.text}

    def _message(self, content: list[Json], stop_reason: str | None) -> Json:
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": self._usage(),
        }

    def _stop_reason(self) -> str:
        kinds = {block.kind for block in self.blocks}
        if self.finish_reason == "stop" and "tool" in kinds:  # some providers end so, and a client would wait
            return "tool_use"
        if self.finish_reason == "stop" and "refusal" in kinds:
            return "refusal"
        return _STOP_REASONS.get(self.finish_reason, "end_turn")

    def _usage(self) -> Json:
        used = self.used
        return {
            "input_tokens": used.input - used.cached - used.cache_write,
            "cache_creation_input_tokens": used.cache_write,
            "cache_read_input_tokens": used.cached,
            "output_tokens": used.output,
        }


def _error(kind: str, text: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": text}}


class _Asked:
    """A client's request. What is wrong with it is said with the place that it is at."""

    def __init__(self, body: Json) -> None:
        self._body = body

    def chat(self) -> Json:
        """Return it as the hub's."""
        body = self._body
        model, most = body.get("model"), body.get("max_tokens")
        if not isinstance(model, str) or not model:
            raise MalformedRequest("model: it is a text, and there has to be one.")
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise MalformedRequest("max_tokens: it is a whole number from 1 on, and there has to be one.")
        for field in ("mcp_servers", "container"):
            if body.get(field):
                raise MalformedRequest(
                    f"{field}: only Anthropic has it. Leave it out, or choose a model of Anthropic's."
                )
        chat: Json = {"model": model, "messages": list(self._messages()), "max_tokens": most}
        self._add_tools(chat)
        for field, hub in (("temperature", "temperature"), ("top_p", "top_p"), ("stop_sequences", "stop")):
            if body.get(field) is not None and body[field] != []:
                chat[hub] = body[field]
        if (user := _user(body.get("metadata"))) is not None:
            chat["user"] = user
        output = _object(body.get("output_config"), "output_config")
        if (effort := self._effort(output)) is not None:
            chat["reasoning_effort"] = effort
        form = output.get("format") or body.get("output_format")
        if form is not None:
            chat["response_format"] = _response_format(form)
        if body.get("stream") is True:
            chat |= {"stream": True, "stream_options": {"include_usage": True}}
        return chat

    def _effort(self, output: Json) -> str | None:
        thinking = _object(self._body.get("thinking"), "thinking")
        kind, effort, budget = thinking.get("type"), output.get("effort"), thinking.get("budget_tokens")
        if effort is not None and effort not in _EFFORTS:
            raise MalformedRequest(f"output_config.effort: it is one of {', '.join(_EFFORTS)}.")
        match kind:
            case None | "adaptive" | "disabled":
                # How much a model thinks of its own accord is its own to say.
                return None if effort is None or kind == "disabled" else _EFFORTS[effort]
            case "enabled" if isinstance(budget, int):
                if effort is not None:
                    return _EFFORTS[effort]
                return "low" if budget < _LOW else "medium" if budget < _MEDIUM else "high"
            case "enabled":
                raise MalformedRequest("thinking.budget_tokens: it is a whole number, and there has to be one.")
            case _:
                raise MalformedRequest("thinking.type: it is one of enabled, adaptive, disabled.")

    def _add_tools(self, chat: Json) -> None:
        tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(_list(self._body.get("tools"), "tools"))]
        if not tools:
            return
        chat["tools"] = tools
        wanted = _object(self._body.get("tool_choice"), "tool_choice")
        match wanted.get("type"):
            case None:
                pass
            case "tool":
                chat["tool_choice"] = {
                    "type": "function",
                    "function": {"name": _text_at(wanted, "name", "tool_choice")},
                }
            case str(kind) if kind in _TOOL_CHOICES:
                chat["tool_choice"] = _TOOL_CHOICES[kind]
            case _:
                raise MalformedRequest("tool_choice.type: it is one of auto, any, tool, none.")
        if wanted.get("disable_parallel_tool_use") is True:
            chat["parallel_tool_calls"] = False

    def _messages(self) -> Iterator[Json]:
        system = self._body.get("system")
        if system:
            yield {"role": "system", "content": _texts(system, "system")}
        messages = _list(self._body.get("messages"), "messages")
        if not messages:
            raise MalformedRequest("messages: it is a list of one message at least.")
        for at, message in enumerate(messages):
            place = f"messages[{at}]"
            said = _object(message, place)
            match said.get("role"):
                case "user":
                    yield from _user_turn(said.get("content"), f"{place}.content")
                case "assistant":
                    yield _assistant_turn(said.get("content"), f"{place}.content")
                case "system":
                    yield {"role": "system", "content": _texts(said.get("content"), f"{place}.content")}
                case _:
                    raise MalformedRequest(f"{place}.role: it is user or assistant.")


def _user_turn(content: Any, place: str) -> Iterator[Json]:
    """Yield the results of tools first, as they have to follow the calls, then what the user says."""
    parts: list[Json] = []
    for block, where in _blocks(content, place):
        if block["type"] == "tool_result":
            yield _tool_result(block, where)
        else:
            parts.append(_part(block, where))
    if parts:
        yield {"role": "user", "content": _simple(parts)}


def _tool_result(block: Json, place: str) -> Json:
    own, _ = without_extra(_text_at(block, "tool_use_id", place))
    parts: list[Json] = []
    for inner, where in _blocks(block.get("content") or "", f"{place}.content"):
        part = _part(inner, where)
        if part["type"] == "file":
            raise MalformedRequest(f"{where}: only Anthropic takes documents in results of tools. Send their text.")
        parts.append(part)
    if block.get("is_error") is True and not _says_error(parts):
        parts.insert(0, {"type": "text", "text": "Error:"})
    return {"role": "tool", "tool_call_id": own, "content": _simple(parts)}


def _says_error(parts: list[Json]) -> bool:
    return bool(parts) and parts[0]["type"] == "text" and parts[0]["text"].lstrip().lower().startswith("error")


def _assistant_turn(content: Any, place: str) -> Json:
    parts: list[Json] = []
    calls: list[Json] = []
    thinking: list[Json] = []
    for block, where in _blocks(content, place):
        match block["type"]:
            case "text":
                parts.append(_part(block, where))
            case "thinking" | "redacted_thinking":
                thinking.append(block)
            case "tool_use":
                name, arguments = _text_at(block, "name", where), _object(block.get("input"), f"{where}.input")
                calls.append(told_call(_text_at(block, "id", where), name, as_text(arguments)))
            case kind:
                raise MalformedRequest(f"{where}: blocks of the type {kind} are read by Anthropic's models alone.")
    said: Json = {"role": "assistant", "content": _simple(parts) if parts else None}
    text = "\n".join(block["thinking"] for block in thinking if isinstance(block.get("thinking"), str))
    if text:
        said["reasoning_content"] = text
    # What another provider thought has no signature, and is no block that Anthropic would take.
    signed = [block for block in thinking if block.get("signature") or block["type"] == "redacted_thinking"]
    if signed:
        said["thinking_blocks"] = signed
    if calls:
        said["tool_calls"] = calls
    elif not parts:
        said["content"] = ""
    return said


def _part(block: Json, place: str) -> Json:
    reader = _PARTS.get(block["type"])
    if reader is None:
        raise MalformedRequest(f"{place}: blocks of the type {block['type']} are read by Anthropic's models alone.")
    part = reader(block, place)
    if isinstance(block.get("cache_control"), dict):
        part["cache_control"] = block["cache_control"]
    return part


def _text_part(block: Json, place: str) -> Json:
    return {"type": "text", "text": _text_at(block, "text", place)}


def _image_part(block: Json, place: str) -> Json:
    source = _object(block.get("source"), f"{place}.source")
    match source.get("type"):
        case "base64":
            url = _data_url(source, f"{place}.source")
        case "url":
            url = _text_at(source, "url", f"{place}.source")
        case _:
            raise MalformedRequest(f"{place}.source.type: a picture is sent as base64 or as a url.")
    return {"type": "image_url", "image_url": {"url": url}}


def _document_part(block: Json, place: str) -> Json:
    source = _object(block.get("source"), f"{place}.source")
    title = block.get("title")
    named = title if isinstance(title, str) and title else "document.pdf"
    match source.get("type"):
        case "base64":
            return {"type": "file", "file": {"filename": named, "file_data": _data_url(source, f"{place}.source")}}
        case "text":
            text = _text_at(source, "data", f"{place}.source")
        case "content":
            text = _flat(_texts(source.get("content"), f"{place}.source.content"))
        case _:
            raise MalformedRequest(f"{place}.source.type: a document is sent as base64, text or content.")
    return {"type": "text", "text": f"{title}\n\n{text}" if isinstance(title, str) and title else text}


def _search_result_part(block: Json, place: str) -> Json:
    text = _flat(_texts(block.get("content"), f"{place}.content"))
    heading = "\n".join(str(block[field]) for field in ("title", "source") if block.get(field))
    return {"type": "text", "text": f"{heading}\n\n{text}"}


_PARTS: Final[dict[str, Callable[[Json, str], Json]]] = {
    "text": _text_part,
    "image": _image_part,
    "document": _document_part,
    "search_result": _search_result_part,
}


def _data_url(source: Json, place: str) -> str:
    return f"data:{_text_at(source, 'media_type', place)};base64,{_text_at(source, 'data', place)}"


def _texts(content: Any, place: str) -> str | list[Json]:
    """Return texts alone as one text, or as parts where a mark of what to cache is among them."""
    parts: list[Json] = []
    for block, where in _blocks(content, place):
        if block["type"] != "text":
            raise MalformedRequest(f"{where}: here are blocks of the type text alone.")
        parts.append(_part(block, where))
    return _simple(parts)


def _simple(parts: list[Json]) -> str | list[Json]:
    if all(part["type"] == "text" and "cache_control" not in part for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _flat(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _blocks(content: Any, place: str) -> Iterator[tuple[Json, str]]:
    """Yield the blocks of some content, each with its place."""
    if isinstance(content, str):
        if content:
            yield {"type": "text", "text": content}, place
        return
    if not isinstance(content, list):
        raise MalformedRequest(f"{place}: it is a text, or a list of blocks.")
    for at, block in enumerate(content):
        where = f"{place}[{at}]"
        told = _object(block, where)
        if not isinstance(told.get("type"), str):
            raise MalformedRequest(f"{where}.type: it is a text, and there has to be one.")
        yield told, where


def _tool(tool: Any, place: str) -> Json:
    told = _object(tool, place)
    kind = told.get("type") or "custom"
    if kind != "custom":
        raise MalformedRequest(
            f"{place}: tools of the type {kind} are Anthropic's own; other models call functions alone."
        )
    function: Json = {"name": _text_at(told, "name", place)}
    if isinstance(told.get("description"), str):
        function["description"] = told["description"]
    function["parameters"] = _object(told.get("input_schema"), f"{place}.input_schema") or {"type": "object"}
    if told.get("strict") is True:
        function["strict"] = True
    made: Json = {"type": "function", "function": function}
    if isinstance(told.get("cache_control"), dict):
        made["cache_control"] = told["cache_control"]
    return made


def _response_format(form: Any) -> Json:
    told = _object(form, "output_config.format")
    if told.get("type") != "json_schema" or not isinstance(told.get("schema"), dict):
        raise MalformedRequest("output_config.format: its type is json_schema, and it has a schema.")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": told["schema"], "strict": True}}


def _user(metadata: Any) -> str | None:
    user = _object(metadata, "metadata").get("user_id")
    if not isinstance(user, str) or not user:
        return None
    return user if len(user) <= _LONGEST_USER else hashlib.sha256(user.encode()).hexdigest()


def _object(value: Any, place: str) -> Json:
    """Return an object, an empty one where there is none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedRequest(f"{place}: it is an object.")
    return value


def _list(value: Any, place: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedRequest(f"{place}: it is a list.")
    return value


def _text_at(value: Json, name: str, place: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise MalformedRequest(f"{place}.{name}: it is a text, and there has to be one.")
    return text
