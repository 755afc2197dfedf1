"""Cohere, second version: chat and embeddings.

What a model says before it calls tools is its plan there and its text here. Thinking comes back as reasoning, and is
not told again in later turns; citations are left out.
"""

from __future__ import annotations

from typing import Any, Final

from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.chat import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    ChunkStream,
    DeveloperMessage,
    EmbeddingsRequest,
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
    UserPart,
    answer,
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
    text_of,
    tool_call,
    usage,
    words,
)

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
_FAILURES: Final = frozenset({"ERROR", "TIMEOUT", "ERROR_LIMIT"})
# How many tokens a model that thinks may think for; the most is left to Cohere.
_THINKING: Final[dict[str, int | None]] = {
    "minimal": 512,
    "low": 1024,
    "medium": 4096,
    "high": None,
    "xhigh": None,
    "max": None,
}
_NOTHING: Final[Json] = {"type": "object", "properties": {}}


class CohereAdapter(ProviderSide):
    """A hub chat asked of ``v2/chat``."""

    provider = "Cohere"
    path = "v2/chat"

    def __init__(self, body: Json, model: str, *, now: int, id: str) -> None:
        """Raises `MalformedRequest` naming what Cohere cannot be told."""
        super().__init__()
        request = ChatRequest.read(body)
        self._id, self._now, self._model = id, now, model
        self.chunks = ChunkStream(id, now, model, includes_usage=request.includes_usage)
        self.body = encode(_request(request, model))
        self._calls: dict[int, int] = {}

    def tell(self, whole: Json) -> Json:
        """Return a whole answer in the hub's words."""
        reason = words(whole.get("finish_reason"))
        said = members(whole.get("message"))
        if reason in _FAILURES or not said:
            raise UpstreamBroken(f"Cohere ended its answer with {reason or 'no message'}.")
        content = list(elements(said.get("content")))
        text = words(said.get("tool_plan")) + "".join(words(one.get("text")) for one in content)
        reasoning = "".join(words(one.get("thinking")) for one in content)
        calls = [_call(one) for one in elements(said.get("tool_calls"))]
        told = message(text or (None if calls else ""), tool_calls=calls, reasoning=reasoning)
        finish = _FINISH_REASONS.get(reason, "stop")
        return answer(self._id, self._now, self._model, [choice(told, finish)], _usage(members(whole.get("usage"))))

    def tell_error(self, status: int, whole: Json) -> Json | None:
        """Return an error in the hub's words."""
        text = words(whole.get("message"))
        return error_body(text, status=status) if text else None

    def tell_event(self, name: str, data: str) -> None:
        """Take one event of a stream."""
        said = object_or_none(data)
        if said is None:
            return  # the mark of the end that some versions send
        delta = members(said.get("delta"))
        told = members(delta.get("message"))
        match words(said.get("type")) or name:
            case "message-start":
                self.chunks.begin()
            case "content-start" | "content-delta":
                content = members(told.get("content"))
                self.chunks.reasoning(words(content.get("thinking")))
                self.chunks.text(words(content.get("text")))
            case "tool-plan-delta":
                self.chunks.text(words(told.get("tool_plan")))
            case "tool-call-start":
                call = members(told.get("tool_calls"))
                function = members(call.get("function"))
                number = self._calls[count(said.get("index"))] = len(self._calls)
                named, arguments = words(function.get("name")), words(function.get("arguments"))
                self.chunks.tool_call(number, words(call.get("id")), named, arguments)
            case "tool-call-delta":
                function = members(members(told.get("tool_calls")).get("function"))
                begun = self._calls.get(count(said.get("index")))
                if begun is not None:
                    self.chunks.arguments(begun, words(function.get("arguments")))
            case "message-end":
                self._end(delta)
            case "error":
                self.chunks.fail(error_body(words(said.get("message")) or "Cohere broke off.", status=500))

    def _end(self, delta: Json) -> None:
        reason = words(delta.get("finish_reason"))
        if reason in _FAILURES or delta.get("error"):
            text = words(delta.get("error")) or f"Cohere ended its answer with {reason}."
            self.chunks.fail(error_body(text, status=500, code=reason.lower() or None))
            return
        self.chunks.end(_FINISH_REASONS.get(reason, "stop"))
        self.chunks.done(_usage(members(delta.get("usage"))))


class CohereEmbeddings(ProviderSide):
    """Hub embeddings asked of ``v2/embed``. ``input_type`` is Cohere's own; texts are documents unless it says so."""

    provider = "Cohere"
    path = "v2/embed"
    stream_type = b"not/streamed"

    def __init__(self, body: Json, model: str, *, now: int, id: str) -> None:
        """Raises `MalformedRequest` naming the field at fault. Neither ``now`` nor ``id`` is in an answer."""
        super().__init__()
        self._request = EmbeddingsRequest.read(body)
        self._model = model
        asked: Json = {
            "model": model,
            "texts": self._request.texts,
            "input_type": self._request.input_type or "search_document",
            "embedding_types": ["float"],
        }
        if self._request.dimensions is not None:
            asked["output_dimension"] = self._request.dimensions
        self.body = encode(asked)

    def tell(self, whole: Json) -> Json:
        """Return the vectors in the hub's words. Raises `UpstreamBroken` where there is not one for each text."""
        vectors = members(whole.get("embeddings")).get("float")
        if not isinstance(vectors, list) or len(vectors) != len(self._request.texts):
            raise UpstreamBroken("Cohere answered without an embedding for each input.")
        if not all(isinstance(one, list) and all(isinstance(value, int | float) for value in one) for one in vectors):
            raise UpstreamBroken("Cohere answered with embeddings that are not lists of numbers.")
        billed = members(members(whole.get("meta")).get("billed_units"))
        return self._request.answer(self._model, vectors, count(billed.get("input_tokens")))

    def tell_error(self, status: int, whole: Json) -> Json | None:
        """Return an error in the hub's words."""
        text = words(whole.get("message"))
        return error_body(text, status=status) if text else None


def _request(request: ChatRequest, model: str) -> Json:
    request.refuse("Cohere", "n", "logprobs", "top_logprobs", "logit_bias", "modalities", "audio", "web_search_options")
    asked: Json = {"model": model, "messages": [_message(one) for one in request.messages]}
    if request.is_streamed:
        asked["stream"] = True
    _add_tools(asked, request)
    shape = request.response_format
    if shape is not None and shape.type != "text":
        schema = shape.json_schema.schema if shape.json_schema is not None else None
        asked["response_format"] = {"type": "json_object"} | ({"json_schema": schema} if schema is not None else {})
    named = {
        "max_tokens": request.most_tokens,
        "stop_sequences": request.stops or None,
        "temperature": request.temperature,
        "p": request.top_p,
        "k": request.top_k,
        "seed": request.seed,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
    }
    asked |= {name: value for name, value in named.items() if value is not None}
    effort = request.reasoning_effort
    if effort is not None:
        asked["thinking"] = _thinking(effort)
    return asked


def _thinking(effort: str) -> Json:
    if effort == "none":
        return {"type": "disabled"}
    if effort not in _THINKING:
        raise MalformedRequest(f"reasoning_effort is one of none, {', '.join(_THINKING)}.")
    budget = _THINKING[effort]
    return {"type": "enabled"} | ({} if budget is None else {"token_budget": budget})


def _add_tools(asked: Json, request: ChatRequest) -> None:
    tools = request.tools or []
    wanted = request.tool_choice
    if isinstance(wanted, NamedTool):
        # Cohere can be made to call a tool, though not one of several: it is shown no other.
        tools = [tool for tool in tools if tool.function.name == wanted.function.name]
        if not tools:
            raise MalformedRequest("tool_choice names a function that is not among tools.")
    if not tools:
        return
    if request.parallel_tool_calls is False:
        raise MalformedRequest("parallel_tool_calls: Cohere cannot be kept to one call at a time. Leave it out.")
    asked["tools"] = [
        {
            "type": "function",
            "function": {
                "name": tool.function.name,
                "description": tool.function.description or "",
                "parameters": tool.function.parameters or _NOTHING,
            },
        }
        for tool in tools
    ]
    if wanted == "none":
        asked["tool_choice"] = "NONE"
    elif wanted == "required" or isinstance(wanted, NamedTool):
        asked["tool_choice"] = "REQUIRED"


def _message(
    said: SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage,
) -> Json:
    match said:
        case UserMessage(content=str() as text):
            return {"role": "user", "content": text}
        case UserMessage(content=parts):
            return {"role": "user", "content": [_part(part) for part in parts_of(parts)]}
        case AssistantMessage():
            text = "".join(part.text for part in said.words)
            if not said.tool_calls:
                return {"role": "assistant", "content": text}
            calls = [tool_call(one.id, one.function.name, one.function.arguments) for one in said.tool_calls]
            return {"role": "assistant", "tool_calls": calls} | ({"tool_plan": text} if text else {})
        case ToolMessage():
            if not isinstance(said.content, str) and any(isinstance(part, ImagePart) for part in said.content):
                raise MalformedRequest("messages: Cohere takes no pictures in the results of tools, only text.")
            return {"role": "tool", "tool_call_id": said.tool_call_id, "content": text_of(said.content)}
        case _:
            return {"role": "system", "content": text_of(said.content)}


def _part(part: UserPart) -> Json:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart(image_url=image):
            inline(image.url)
            return {"type": "image_url", "image_url": {"url": image.url} | _detail(image.detail)}
        case AudioPart() | FilePart():
            raise MalformedRequest("messages: Cohere takes text and pictures (image_url), no sound and no files.")


def _detail(detail: str | None) -> Json:
    return {} if detail is None else {"detail": detail}


def _call(call: Json) -> Json:
    function = members(call.get("function"))
    return tool_call(words(call.get("id")), words(function.get("name")), words(function.get("arguments")))


def _usage(stated: Json) -> Json | None:
    """Return what was used, as billed where it says so: what Cohere puts around a prompt costs nothing."""
    billed, everything = members(stated.get("billed_units")), members(stated.get("tokens"))
    counted: dict[str, Any] = everything
    if count(billed.get("input_tokens")) or count(billed.get("output_tokens")):
        counted = billed
    if not counted:
        return None
    given = count(counted.get("input_tokens"))
    return usage(
        input=given + count(billed.get("image_tokens")),
        output=count(counted.get("output_tokens")),
        cached=min(count(stated.get("cached_tokens")), given),
    )
