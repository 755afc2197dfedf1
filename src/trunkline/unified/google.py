"""Gemini's generated content and embeddings, at AI Studio and at Vertex AI, asked in the hub's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from trunkline.errors import MalformedRequest, UpstreamBroken
from trunkline.unified.chat import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    ChunkStream,
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
    UserPart,
    answer,
    as_text,
    choice,
    count,
    effort_of,
    elements,
    encode,
    error_body,
    image,
    inline,
    members,
    message,
    object_or_none,
    parts_of,
    tool_call,
    usage,
    words,
)

_NAME: Final = "Gemini"

_NUMBERED: Final = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_LEVELS_SINCE: Final = (3, 0)
_LATEST: Final = (99, 0)

# As Google's own OpenAI-compatible surface has them.
_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
_LEVELS: Final = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}

# A call that another model made, or that comes back without its signature, is accepted with this one.
_NO_SIGNATURE: Final = "skip_thought_signature_validator"
# Ids that are OpenAI's or ours mean nothing to Gemini; its own are sent back.
_FOREIGN_ID: Final = "call_"

_AUDIO_TYPES: Final = {"wav": "audio/wav", "mp3": "audio/mp3"}
_TYPES_BY_ENDING: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
}

_FINISH: Final[dict[str, FinishReason]] = {
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
# The model ended without an answer.
_FAILED: Final = frozenset(
    ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE")
)
_ERROR_TYPES: Final = {
    "RESOURCE_EXHAUSTED": "rate_limit_error",
    "INVALID_ARGUMENT": "invalid_request_error",
    "FAILED_PRECONDITION": "invalid_request_error",
    "UNAUTHENTICATED": "authentication_error",
    "PERMISSION_DENIED": "permission_error",
    "NOT_FOUND": "not_found_error",
}


def version_of(model: str) -> tuple[int, int]:
    """Return the version in a Gemini model's name; a very high one for a name without."""
    match = _NUMBERED.search(model)
    return (int(match[1]), int(match[2] or 0)) if match else _LATEST


def model_path(model: str, at: str) -> str:
    """Return the path of a model below ``at``: a version at AI Studio, a location of a project at Vertex AI.

    A name may say of what kind it is: ``models/...``, ``tunedModels/...``, at Vertex AI ``google/...``, which is the
    publisher. Raises `MalformedRequest` for a publisher whose models are asked otherwise.
    """
    if "/locations/" not in at:
        kind, slash, name = model.partition("/")
        return (
            f"{at}/{quote(kind, safe='')}/{quote(name, safe='')}" if slash else f"{at}/models/{quote(model, safe='')}"
        )
    name = model.removeprefix("publishers/").removeprefix("google/").removeprefix("models/")
    if "/" in name:
        raise MalformedRequest("model: of Vertex AI's models those of Google are asked here, as google/MODEL.")
    return f"{at}/publishers/google/models/{quote(name, safe='')}"


class GoogleAdapter(ProviderSide):
    """One exchange with ``:generateContent`` or ``:streamGenerateContent``."""

    provider = _NAME

    def __init__(self, body: Json, model: str, *, now: int, id: str, at: str = "v1beta") -> None:
        """``at`` is as in `model_path`. Raises `MalformedRequest` for what cannot be told to Gemini."""
        super().__init__()
        request = ChatRequest.read(body)
        _refuse(request)
        method = "streamGenerateContent?alt=sse" if request.is_streamed else "generateContent"
        self.path = f"{model_path(model, at)}:{method}"
        self.body = encode(_request(request, model, keeps_ids="/locations/" not in at))
        self.chunks = ChunkStream(id, now, model, includes_usage=request.includes_usage)
        self._id, self._now, self._model = id, now, model
        self._wanted = request.n or 1
        self._used: Json = {}
        self._calls: dict[int, int] = {}
        self._ended: set[int] = set()

    def tell(self, whole: Json) -> Json:
        """Return generated content as a chat completion."""
        choices = [self._choice(place, one) for place, one in enumerate(elements(whole.get("candidates")))]
        blocked = _why_blocked(whole)
        if not choices and blocked:
            choices = [choice(message(None, refusal=blocked), "content_filter")]
        if not choices:
            raise UpstreamBroken(f"{_NAME} answered with no candidate.")
        used = members(whole.get("usageMetadata"))
        model = words(whole.get("modelVersion")) or self._model
        return answer(self._id, self._now, model, choices, _usage(used) if used else None)

    def tell_error(self, status: int, whole: Json) -> Json | None:
        """Return Google's error as OpenAI's."""
        error = members(whole.get("error"))
        return _told_error(error, status) if words(error.get("message")) else None

    def tell_event(self, name: str, data: str) -> None:
        """Take one event of a stream: some more of the content."""
        told = object_or_none(data)
        if told is None:
            raise UpstreamBroken(f"{_NAME} sent an event that is not a JSON object.")
        if "error" in told:
            error = members(told["error"])
            self.chunks.fail(_told_error(error, count(error.get("code")) or 500))
            return
        self.chunks.model = words(told.get("modelVersion")) or self.chunks.model
        self._used.update(members(told.get("usageMetadata")))
        for place, one in enumerate(elements(told.get("candidates"))):
            self._say(place, one)
        blocked = _why_blocked(told)
        if blocked and not self._ended:
            self.chunks.refusal(blocked)
            self.chunks.end("content_filter")
            self._ended.update(range(self._wanted))

    def end_stream(self) -> None:
        """Gemini has no last event: an answer is whole once each candidate has said why it ended."""
        if not self.chunks.is_over and len(self._ended) >= self._wanted:
            self.chunks.done(_usage(self._used))
        super().end_stream()

    def _choice(self, place: int, candidate: Json) -> Json:
        index = _index(place, candidate)
        reason = words(candidate.get("finishReason"))
        if reason in _FAILED:
            raise UpstreamBroken(_failure(candidate))
        text, reasoning, calls, images = "", "", [], []
        for part in _parts(candidate):
            if part.get("thought") is True:
                reasoning += words(part.get("text"))
            else:
                text += words(part.get("text"))
                calls += [self._call(index, part)] if "functionCall" in part else []
                images += [image(url)] if (url := _told_image(part)) else []
        said = message(text or None, tool_calls=calls, reasoning=reasoning)
        if images:
            said["images"] = images
        return choice(said, _finish_reason(reason, has_calls=bool(calls)), index, _told_logprobs(candidate))

    def _say(self, place: int, candidate: Json) -> None:
        index = _index(place, candidate)
        logprobs = _told_logprobs(candidate)
        for part in _parts(candidate):
            if part.get("thought") is True:
                self.chunks.reasoning(words(part.get("text")), index)
                continue
            if words(part.get("text")):
                self.chunks.text(words(part.get("text")), index, logprobs)
                logprobs = None
            if "functionCall" in part:
                number = self._calls.get(index, 0)
                call = self._call(index, part)
                told = call["function"]
                self.chunks.tool_call(
                    number, call["id"], told["name"], told["arguments"], index, call.get("extra_content")
                )
            if url := _told_image(part):
                self.chunks.image(url, index)
        reason = words(candidate.get("finishReason"))
        if reason in _FAILED:
            self.chunks.fail(error_body(_failure(candidate), status=502, code=reason.lower()))
        elif reason and index not in self._ended:
            self.chunks.end(_finish_reason(reason, has_calls=index in self._calls), index)
            self._ended.add(index)

    def _call(self, index: int, part: Json) -> Json:
        told = members(part.get("functionCall"))
        number = self._calls.get(index, 0)
        self._calls[index] = number + 1
        own = words(told.get("id"))
        signature = words(part.get("thoughtSignature"))
        return tool_call(
            own or f"{_FOREIGN_ID}{self._id}_{index}_{number}",
            words(told.get("name")),
            as_text(members(told.get("args"))),
            extra_content={"google": {"thought_signature": signature}} if signature else None,
        )


class GoogleEmbeddings(ProviderSide):
    """One exchange with ``:batchEmbedContents`` of AI Studio."""

    provider = _NAME

    def __init__(self, body: Json, model: str, *, now: int, id: str, at: str = "v1beta") -> None:
        """Raises `MalformedRequest` for what cannot be told to Gemini."""
        super().__init__()
        self._request = EmbeddingsRequest.read(body)
        self._model = model
        name = model if "/" in model else f"models/{model}"
        options: Json = {}
        if self._request.dimensions is not None:
            options["outputDimensionality"] = self._request.dimensions
        if self._request.input_type is not None:
            options["taskType"] = self._request.input_type
        asked = [{"model": name, "content": {"parts": [{"text": text}]}, **options} for text in self._request.texts]
        self.path = f"{model_path(model, at)}:batchEmbedContents"
        self.body = encode({"requests": asked})
        self.chunks = ChunkStream(id, now, model, includes_usage=False)

    def tell(self, whole: Json) -> Json:
        """Return the vectors as OpenAI's list."""
        try:
            told = msgspec.convert(whole, _Embeddings)
        except msgspec.ValidationError as error:
            raise UpstreamBroken(f"{_NAME} answered with what are no embeddings.") from error
        if len(told.embeddings) != len(self._request.texts):
            raise UpstreamBroken(f"{_NAME} answered with {len(told.embeddings)} of {len(self._request.texts)} vectors.")
        tokens = count(members(whole.get("usageMetadata")).get("promptTokenCount"))
        return self._request.answer(self._model, [one.values for one in told.embeddings], tokens)

    def tell_error(self, status: int, whole: Json) -> Json | None:
        """Return Google's error as OpenAI's."""
        error = members(whole.get("error"))
        return _told_error(error, status) if words(error.get("message")) else None


class _Vector(msgspec.Struct):
    values: list[float]


class _Embeddings(msgspec.Struct):
    embeddings: list[_Vector]


# ---------------------------------------------------------------------------------------------------- the request


def _refuse(request: ChatRequest) -> None:
    request.refuse(_NAME, "logit_bias", "audio", "web_search_options")
    if request.modalities and not set(request.modalities) <= {"text", "image"}:
        raise MalformedRequest(f"modalities: here {_NAME} answers with text and image.")
    if request.parallel_tool_calls is False and request.tools:
        raise MalformedRequest(f"parallel_tool_calls: {_NAME} cannot be kept from calling several tools. Leave it out.")
    if request.n is not None and not 1 <= request.n <= 8:
        raise MalformedRequest(f"n: {_NAME} takes 1 to 8.")


def _request(request: ChatRequest, model: str, *, keeps_ids: bool) -> Json:
    asked: Json = {"contents": _contents(request, model, keeps_ids=keeps_ids)}
    system = [
        {"text": part.text}
        for one in request.messages
        if isinstance(one, SystemMessage)
        for part in parts_of(one.content)
        if part.text
    ]
    if system:
        asked["systemInstruction"] = {"parts": system}
    if request.tools:
        asked["tools"] = [{"functionDeclarations": list(_declarations(request))}]
        calling = _calling(request)
        if calling is not None:
            asked["toolConfig"] = {"functionCallingConfig": calling}
    config = _config(request, model)
    if config:
        asked["generationConfig"] = config
    return asked


def _declarations(request: ChatRequest) -> Iterator[Json]:
    for tool in request.tools or ():
        told: Json = {"name": tool.function.name}
        if tool.function.description:
            told["description"] = tool.function.description
        if tool.function.parameters:
            told["parametersJsonSchema"] = tool.function.parameters
        yield told


def _calling(request: ChatRequest) -> Json | None:
    match request.tool_choice:
        case NamedTool() as named:
            return {"mode": "ANY", "allowedFunctionNames": [named.function.name]}
        case "required":
            return {"mode": "ANY"}
        case "none":
            return {"mode": "NONE"}
        case "auto":
            return {"mode": "AUTO"}
        case _:
            return None


def _config(request: ChatRequest, model: str) -> Json:
    told: Json = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "maxOutputTokens": request.most_tokens,
        "stopSequences": request.stops or None,
        "candidateCount": request.n,
        "seed": request.seed,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        "responseLogprobs": request.logprobs or None,
        "logprobs": request.top_logprobs or None,
        "responseModalities": _modalities(request),
        "thinkingConfig": _thinking(request, model),
    }
    config = {name: value for name, value in told.items() if value is not None}
    form = request.response_format
    if form is not None and form.type != "text":
        config["responseMimeType"] = "application/json"
    if form is not None and form.type == "json_schema":
        if form.json_schema is None:
            raise MalformedRequest("response_format: the type json_schema comes with a json_schema.")
        config["responseJsonSchema"] = form.json_schema.schema or {"type": "object"}
    return config


def _modalities(request: ChatRequest) -> list[str] | None:
    if not request.modalities or request.modalities == ["text"]:
        return None
    return [one.upper() for one in request.modalities]


def _thinking(request: ChatRequest, model: str) -> Json | None:
    if request.reasoning_effort is None:
        return None
    wanted = effort_of(request.reasoning_effort, _BUDGETS)
    thinking: Json
    if version_of(model) >= _LEVELS_SINCE:
        level = _LEVELS[wanted]
        # The larger models think a little in any case.
        thinking = {"thinkingLevel": "LOW" if level == "MINIMAL" and "-pro" in model else level}
    else:
        thinking = {"thinkingBudget": _BUDGETS.get(wanted, 0)}
    return thinking if wanted == "none" else {**thinking, "includeThoughts": True}


def _contents(request: ChatRequest, model: str, *, keeps_ids: bool) -> list[Json]:
    """Return the turns. Results of tools that follow each other are one turn, as calls side by side were."""
    turns: list[Json] = []
    names: dict[str, str] = {}
    for one in request.messages:
        match one:
            case SystemMessage():
                continue
            case AssistantMessage():
                names.update({call.id: call.function.name for call in one.tool_calls or ()})
                role, parts = "model", list(_said(one, model, keeps_ids=keeps_ids))
            case ToolMessage():
                role, parts = "user", list(_result(one, names, keeps_ids=keeps_ids))
            case _:
                shown = [part for part in parts_of(one.content) if not isinstance(part, TextPart) or part.text]
                role, parts = "user", [_part(part) for part in shown]
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"].extend(parts)
        elif parts:
            turns.append({"role": role, "parts": parts})
    return turns


def _said(one: AssistantMessage, model: str, *, keeps_ids: bool) -> Iterator[Json]:
    for part in one.words:
        yield {"text": part.text}
    for number, call in enumerate(one.tool_calls or ()):
        signature = words(members(members(call.extra_content).get("google")).get("thought_signature"))
        if not signature and number == 0 and version_of(model) >= _LEVELS_SINCE:
            # Of calls side by side the first one alone has a signature.
            signature = _NO_SIGNATURE
        told: Json = {"functionCall": _identified(call.id, keeps_ids, {"name": call.function.name, "args": call.input})}
        yield {**told, "thoughtSignature": signature} if signature else told


def _identified(id: str, keeps_ids: bool, told: Json) -> Json:
    return {"id": id, **told} if keeps_ids and not id.startswith(_FOREIGN_ID) else told


def _result(one: ToolMessage, names: dict[str, str], *, keeps_ids: bool) -> Iterator[Json]:
    name = names.get(one.tool_call_id)
    if name is None:
        raise MalformedRequest("tool_call_id: no call of that id is in the messages before; Gemini wants its name.")
    parts = parts_of(one.content)
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    whole = object_or_none(text)
    response = {"name": name, "response": whole if whole is not None else {"result": text}}
    yield {"functionResponse": _identified(one.tool_call_id, keeps_ids, response)}
    for part in parts:
        if isinstance(part, ImagePart):
            yield _part(part)


def _part(part: UserPart) -> Json:
    match part:
        case TextPart():
            return {"text": part.text}
        case ImagePart():
            return _shown(part.image_url.url, "image_url")
        case AudioPart():
            held = part.input_audio
            return {
                "inlineData": {"mimeType": _AUDIO_TYPES.get(held.format, f"audio/{held.format}"), "data": held.data}
            }
        case FilePart():
            place = part.file.file_data or part.file.file_id or ""
            return _shown(place, "file: file_data or, for a file that Google keeps, file_id")


def _shown(url: str, what: str) -> Json:
    held = inline(url, what)
    if held is not None:
        return {"inlineData": {"mimeType": held.media_type, "data": held.data}}
    media_type = _TYPES_BY_ENDING.get(urlsplit(url).path.rpartition(".")[2].lower())
    return {"fileData": {"fileUri": url} | ({"mimeType": media_type} if media_type else {})}


# ---------------------------------------------------------------------------------------------------- the answer


def _index(place: int, candidate: Json) -> int:
    return count(candidate["index"]) if "index" in candidate else place


def _parts(candidate: Json) -> Iterator[Json]:
    return elements(members(candidate.get("content")).get("parts"))


def _finish_reason(reason: str, *, has_calls: bool) -> FinishReason:
    finish = _FINISH.get(reason, "stop")
    return "tool_calls" if finish == "stop" and has_calls else finish


def _failure(candidate: Json) -> str:
    said = words(candidate.get("finishMessage"))
    return f"{_NAME} ended with {words(candidate.get('finishReason'))}{f': {said}' if said else ''}."


def _why_blocked(told: Json) -> str:
    reason = words(members(told.get("promptFeedback")).get("blockReason"))
    return f"{_NAME} blocked the prompt: {reason}." if reason else ""


def _told_image(part: Json) -> str:
    """Return a picture as a ``data:`` URL, or nothing."""
    held = members(part.get("inlineData"))
    data = words(held.get("data"))
    return f"data:{words(held.get('mimeType')) or 'image/png'};base64,{data}" if data else ""


def _told_logprobs(candidate: Json) -> Json | None:
    """Return how likely each token was, and which others were."""
    told = members(candidate.get("logprobsResult"))
    tops = [list(elements(one.get("candidates"))) for one in elements(told.get("topCandidates"))]
    chosen = list(elements(told.get("chosenCandidates")))
    if not chosen:
        return None
    content = [
        {**_token(one), "top_logprobs": [_token(top) for top in (tops[place] if place < len(tops) else ())]}
        for place, one in enumerate(chosen)
    ]
    return {"content": content, "refusal": None}


def _token(one: Json) -> Json:
    token, likely = words(one.get("token")), one.get("logProbability")
    return {
        "token": token,
        "logprob": float(likely) if isinstance(likely, int | float) else 0.0,
        "bytes": list(token.encode("utf-8", "replace")),
    }


def _usage(used: Json) -> Json:
    """Return what was used. Gemini states thoughts, and what tools of its own put in, apart."""
    thoughts = count(used.get("thoughtsTokenCount"))
    return usage(
        input=count(used.get("promptTokenCount")) + count(used.get("toolUsePromptTokenCount")),
        output=count(used.get("candidatesTokenCount")) + thoughts,
        cached=count(used.get("cachedContentTokenCount")),
        reasoning=thoughts,
        audio=(_audio(used.get("promptTokensDetails")), _audio(used.get("candidatesTokensDetails"))),
    )


def _audio(details: Any) -> int:
    return sum(count(one.get("tokenCount")) for one in elements(details) if one.get("modality") == "AUDIO")


def _told_error(error: Json, status: int) -> Json:
    kind = words(error.get("status"))
    text = words(error.get("message")) or f"{_NAME} failed."
    return error_body(text, status=status, type=_ERROR_TYPES.get(kind, ""), code=kind.lower() or None)
