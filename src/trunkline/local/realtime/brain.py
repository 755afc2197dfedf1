"""Who writes the answers: the model in this process, or a chat provider behind the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any, Final, Protocol

from trunkline.local.codes import failure
from trunkline.local.engines.language import BUILTIN_INSTRUCTIONS, LanguageError, LanguageModel
from trunkline.local.realtime.prompts import Plan
from trunkline.local.realtime.tools import calling, chosen_function

FRAME_FAMILY: Final = "trunkline.brain."

_SPOKEN_HINT: Final = "Your answer is read out by a voice: write plain sentences, no markdown, lists or emoji."

# The model reads about 400 tokens a second and 2048 at most. History is cut rarely and far, because what is read stays
# cached only while the beginning stays the same: dropping the oldest turn each time would mean reading all of it anew.
_CHARACTERS_PER_TOKEN: Final = 4
_TOKENS_AROUND_A_MESSAGE: Final = 6
_MOST_HISTORY_TOKENS: Final = 1100
_HISTORY_TOKENS_AFTER_CUT: Final = 450
_MOST_ANSWER_TOKENS: Final = 512
# Ten seconds of speech.
_LONG_SPOKEN_WORDS: Final = 25
_SENTENCE_ENDS: Final = (".", "!", "?")

_UNSEEN_IMAGE: Final = "(an image, which you cannot see)"


class BrainError(Exception):
    """No answer, or no more of it; ``error`` is an OpenAI error object."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.error = error


class Brain(Protocol):
    """Answers plans. ``thinks_ahead``: answers that may be thrown away cost nothing worth saving."""

    thinks_ahead: bool

    async def prepare(self, plan: Plan) -> None:
        """Read a plan whose last message is still to be spoken, so that the answer can begin sooner."""

    def stream(self, plan: Plan) -> AsyncGenerator[dict[str, Any], None]:
        """Yield chat completion chunks; closing the generator stops the answer. Raises `BrainError`."""


class LocalBrain:
    """The model in this process. It reads recent history only and is given functions by `tools`."""

    thinks_ahead = True

    def __init__(self, language: LanguageModel) -> None:
        self._language = language

    async def prepare(self, plan: Plan) -> None:
        """Have the model read the history; it stays in the cache."""
        async with aclosing(self._language.stream({**local_request(plan), "max_tokens": 1})) as chunks:
            with suppress(LanguageError):  # the answer itself will meet it too, and tell
                async for _ in chunks:
                    pass

    async def stream(self, plan: Plan) -> AsyncGenerator[dict[str, Any], None]:
        """Yield chat completion chunks."""
        try:
            function = await chosen_function(self._language, plan)
            if function is not None:
                answer = calling(self._language, plan, function)
            else:
                answer = self._language.stream(local_request(plan))
                if self._language.builtin and plan.spoken and plan.max_tokens is None:
                    answer = _brief(answer)
            async with aclosing(answer) as chunks:
                async for chunk in chunks:
                    yield chunk
        except LanguageError as error:
            raise BrainError(error.error) from error


async def _brief(answer: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[dict[str, Any], None]:
    """End an answer with the sentence in which it becomes long: the built-in model does not know when to stop."""
    text = ""
    async with aclosing(answer) as chunks:
        async for chunk in chunks:
            words = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            if words[:1].isspace() and text.endswith(_SENTENCE_ENDS) and len(text.split()) >= _LONG_SPOKEN_WORDS:
                yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
                return
            text += words
            yield chunk


def local_request(plan: Plan) -> dict[str, Any]:
    """Return the request for the model in this process."""
    instructions = plan.instructions or (BUILTIN_INSTRUCTIONS if plan.spoken else "")
    system = [{"role": "system", "content": instructions}] if instructions else []
    limit = _MOST_ANSWER_TOKENS if plan.max_tokens is None else min(plan.max_tokens, _MOST_ANSWER_TOKENS)
    return {"messages": system + _recent(_plain_messages(plan.messages)), "max_tokens": limit}


def _plain_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put messages into the text that the model's template knows: no images, no calls."""
    plain = []
    names: dict[str, str] = {}
    for message in messages:
        if calls := message.get("tool_calls"):
            names |= {call["id"]: call["function"]["name"] for call in calls}
        elif message["role"] == "tool":
            name = names.get(message["tool_call_id"], "the function")
            plain.append({"role": "user", "content": f"(The result of {name}: {message['content']})"})
        else:
            plain.append({"role": message["role"], "content": _plain_text(message["content"])})
    return plain


def _plain_text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] if part["type"] == "text" else _UNSEEN_IMAGE for part in content)


def _recent(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the end of a history. As it grows, the beginning of that end stays where it is for many turns.

    It moves only behind an answer, never with the user's words: so `LocalBrain.prepare` has read it by then.
    """
    start = size = 0
    for index, message in enumerate(messages):
        size += _tokens(message)
        if size > _MOST_HISTORY_TOKENS and message["role"] == "assistant":
            while size > _HISTORY_TOKENS_AFTER_CUT and start < index:
                size -= _tokens(messages[start])
                start += 1
    return messages[start:]


def _tokens(message: dict[str, Any]) -> int:
    return len(message["content"]) // _CHARACTERS_PER_TOKEN + _TOKENS_AROUND_A_MESSAGE


class RemoteBrain:
    """A chat provider, asked for through the session's own socket: the gateway answers and the client never sees it.

    Requests go out as ``trunkline.brain.request`` and ``.cancel``; ``.chunk``, ``.done`` and ``.failed`` come back.
    """

    thinks_ahead = False  # the provider charges for answers that are thrown away

    def __init__(self, send: Callable[[dict[str, Any]], None], new_id: Callable[[str], str]) -> None:
        self._send = send
        self._new_id = new_id
        self._answers: dict[str, asyncio.Queue[dict[str, Any]]] = {}

    def take(self, frame: dict[str, Any]) -> None:
        """Take a frame of the family; one for an answer nobody waits for is dropped."""
        answer = self._answers.get(frame.get("id", ""))
        if answer is not None:
            answer.put_nowait(frame)

    async def prepare(self, plan: Plan) -> None:
        """Do nothing: the provider would charge for it."""

    async def stream(self, plan: Plan) -> AsyncGenerator[dict[str, Any], None]:
        """Yield chat completion chunks."""
        request_id = self._new_id("ask")
        frames = self._answers[request_id] = asyncio.Queue()
        ended = False
        self._send({"type": f"{FRAME_FAMILY}request", "id": request_id, "body": remote_request(plan)})
        try:
            while not ended:
                frame = await frames.get()
                ended = frame["type"] != f"{FRAME_FAMILY}chunk"
                if frame["type"] == f"{FRAME_FAMILY}failed":
                    raise BrainError(frame["error"])
                if not ended:
                    yield _checked_chunk(frame["chunk"])
        finally:
            del self._answers[request_id]
            if not ended:
                self._send({"type": f"{FRAME_FAMILY}cancel", "id": request_id})


def _checked_chunk(chunk: Any) -> dict[str, Any]:
    if not isinstance(chunk, dict):
        raise BrainError(
            failure("malformed_answer", "The chat provider sent something that is not a chat completion chunk.")
        )
    if error := chunk.get("error"):
        raise BrainError(error if isinstance(error, dict) else {"type": "server_error", "message": str(error)})
    return chunk


def remote_request(plan: Plan) -> dict[str, Any]:
    """Return the request for a chat provider; the gateway adds the model."""
    system = [part for part in (plan.instructions, _SPOKEN_HINT if plan.spoken else "") if part]
    messages = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    request: dict[str, Any] = {
        "messages": messages + plan.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if plan.max_tokens is not None:
        request["max_tokens"] = plan.max_tokens
    if plan.tools:
        request["tools"] = [{"type": "function", "function": _without_type(tool)} for tool in plan.tools]
        request["tool_choice"] = plan.tool_choice
        if isinstance(plan.tool_choice, dict):
            request["tool_choice"] = {"type": "function", "function": {"name": plan.tool_choice["name"]}}
    return request


def _without_type(tool: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tool.items() if name != "type"}
