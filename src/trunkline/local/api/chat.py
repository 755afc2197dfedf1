"""``/v1/chat/completions``."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator
from starlette.responses import JSONResponse

from trunkline.local.api.bodies import Body
from trunkline.local.api.connection import Stream
from trunkline.local.api.problems import Problem, unknown_model
from trunkline.local.engines import LanguageError, LanguageModel

DONE: Final = b"data: [DONE]\n\n"


class TextPart(Body):
    """Text within a message."""

    type: Literal["text", "refusal"]
    text: str


class Message(Body):
    """One message. ``tool_calls`` and names of earlier turns are accepted and not shown to the model."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    refusal: str | None = None
    audio: None = None
    annotations: list[Any] | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    function_call: Any = None

    @field_validator("content", mode="before")
    @classmethod
    def _text_only(cls, content: Any) -> Any:
        kinds = {part.get("type") for part in content if isinstance(part, dict)} if isinstance(content, list) else set()
        if foreign := kinds - {"text", "refusal"}:
            raise ValueError(f"the local model reads text only, not {', '.join(map(str, sorted(foreign, key=str)))}")
        return content

    def text(self) -> str:
        """Return the words of the message."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(Body):
    """``include_usage`` asks for a last chunk with the tokens used."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class JsonSchema(Body):
    """The shape an answer must have."""

    name: str
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Body):
    """``json_object`` and ``json_schema`` are enforced while the answer is generated."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Body):
    """A chat completion request. What the model cannot do is refused; what cannot change an answer is ignored."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    modalities: list[Literal["text"]] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    verbosity: str | None = None

    @field_validator("tool_choice")
    @classmethod
    def _no_forced_calls(cls, choice: Any) -> Any:
        if choice not in (None, "none", "auto"):
            raise ValueError("the local model cannot be made to call a function; use 'auto' or 'none'")
        return choice

    def for_model(self) -> dict[str, Any]:
        """Return the request as llama.cpp takes it."""
        fields = (
            *("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop"),
            *("response_format", "logprobs", "top_logprobs", "logit_bias"),
        )
        given = self.model_dump(include=set(fields), exclude_none=True, by_alias=True)
        limit = self.max_completion_tokens or self.max_tokens
        if limit is not None:
            given["max_tokens"] = limit
        if "seed" in given:
            given["seed"] %= 2**32
        messages = [{"role": _role(message.role), "content": message.text()} for message in self.messages]
        return {**given, "messages": messages}


def _role(role: str) -> str:
    """Name a role as the models' templates know it."""
    return {"developer": "system", "tool": "user", "function": "user"}.get(role, role)


async def complete(body: ChatRequest, language: LanguageModel) -> JSONResponse | Stream:
    """Answer a chat completion request."""
    if body.model != language.name:
        raise unknown_model(body.model, language.name)
    wanted = body.for_model()
    try:
        if not body.stream:
            return JSONResponse({**await language.complete(wanted), "model": body.model})
        chunks = language.stream(wanted)
        first = await anext(chunks)  # so that a refusal still gets its status
    except LanguageError as error:
        raise Problem(
            error.status,
            error.error["message"],
            type=error.error["type"],
            code=error.error["code"],
            param=error.error["param"],
        ) from error
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    return Stream(_events(first, chunks, body.model, include_usage))


async def _events(
    first: dict[str, Any], chunks: AsyncGenerator[dict[str, Any], None], model: str, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    async with aclosing(chunks):
        yield _event(first, model, include_usage)
        try:
            async for chunk in chunks:
                if chunk["choices"] or include_usage:
                    yield _event(chunk, model, include_usage)
        except LanguageError as error:
            yield b"data: " + json.dumps({"error": error.error}).encode() + b"\n\n"
            return
        yield DONE


def _event(chunk: dict[str, Any], model: str, include_usage: bool) -> bytes:
    chunk["model"] = model
    if include_usage:
        chunk.setdefault("usage", None)
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
