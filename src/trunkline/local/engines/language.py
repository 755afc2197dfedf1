"""The language model: any GGUF file, run by llama.cpp inside this process (xllamacpp)."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import xllamacpp

from trunkline.local.codes import ProblemCode

MODEL_NAME: Final = "local"

_SLOTS: Final = 4
_CONTEXT_PER_SLOT: Final = 2048
_QUIET: Final = -1

# What the built-in model does best with; a larger model of the user's own is left to its defaults.
_BUILTIN_SAMPLING: Final = {"temperature": 0.0, "repeat_penalty": 1.05}
# What it is told where nobody tells it anything: its template's own words make it answer questions of fact in broken
# French. Short, for they are read before the first answer.
BUILTIN_INSTRUCTIONS: Final = "You answer questions. Keep answers short, in English."


class LanguageError(Exception):
    """A request the model refuses: an HTTP ``status`` and OpenAI's ``error`` object."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.status = status
        self.error = error


class LanguageModel:
    """Answers OpenAI chat completion requests; four at a time, the rest wait their turn."""

    def __init__(self, path: Path, *, builtin: bool) -> None:
        self.name = MODEL_NAME
        self.builtin = builtin
        self._server: Any = xllamacpp.Server(_parameters(path))
        self._pool = ThreadPoolExecutor(_SLOTS, thread_name_prefix="language")
        self._closing = threading.Event()
        self._server.handle_chat_completions(_WARM_UP, lambda chunk: False)

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield ``chat.completion.chunk`` objects; the last has the usage and no choices.

        Closing the generator stops the model at its next token. Raises `LanguageError`.
        """
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[dict[str, Any] | LanguageError | None] = asyncio.Queue()
        stop = threading.Event()

        def put(item: dict[str, Any] | LanguageError | None) -> None:
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, item)
            except RuntimeError:
                stop.set()  # the loop has ended

        work = self._pool.submit(self._generate, self._completed(request), put, stop)
        try:
            while (item := await chunks.get()) is not None:
                if isinstance(item, LanguageError):
                    raise item
                yield item
        finally:
            stop.set()
            work.cancel()

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a ``chat.completion`` object. Cancelling stops the model. Raises `LanguageError`."""
        text: list[str] = []
        logprobs: list[Any] = []
        answer: dict[str, Any] = {}
        finish_reason = "stop"
        usage: dict[str, Any] = {}
        chunks = self.stream(request)
        try:
            async for chunk in chunks:
                answer = answer or chunk
                usage = chunk.get("usage") or usage
                for choice in chunk["choices"]:
                    text.append(choice["delta"].get("content") or "")
                    logprobs += (choice.get("logprobs") or {}).get("content") or []
                    finish_reason = choice["finish_reason"] or finish_reason
        finally:
            await chunks.aclose()
        message = {"role": "assistant", "content": "".join(text), "refusal": None}
        return {
            "id": answer.get("id"),
            "object": "chat.completion",
            "created": answer.get("created"),
            "model": answer.get("model"),
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": {"content": logprobs} if logprobs else None,
                    "finish_reason": finish_reason,
                }
            ],
            "usage": usage,
        }

    def close(self) -> None:
        """Stop every generation and free the model. Leaving a generation running would crash the process's exit."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._server = None

    def _completed(self, request: dict[str, Any]) -> dict[str, Any]:
        completed = {**request, "stream": True, "stream_options": {"include_usage": True}}
        if not self.builtin:
            return completed
        messages = request["messages"]
        if messages[0].get("role") not in ("system", "developer"):
            messages = [{"role": "system", "content": BUILTIN_INSTRUCTIONS}, *messages]
        return {**_BUILTIN_SAMPLING, **completed, "messages": messages}

    def _generate(self, request: dict[str, Any], put: Any, stop: threading.Event) -> None:
        """Run one request in a pool thread, handing each chunk to the event loop."""

        def take(chunk: dict[str, Any] | list[dict[str, Any]]) -> bool:
            for part in chunk if isinstance(chunk, list) else [chunk]:
                if "error" in part:
                    put(_refused(part["error"]))
                else:
                    part.pop("timings", None)
                    put(part)
            return stop.is_set() or self._closing.is_set()

        try:
            if not stop.is_set() and not self._closing.is_set():
                self._server.handle_chat_completions(request, take)
        except ValueError as error:
            put(_refused({"message": str(error), "type": "invalid_request_error"}))
        except Exception as error:
            put(_refused({"code": 500, "message": f"The local model failed: {error}", "type": "server_error"}))
        finally:
            put(None)


_WARM_UP: Final = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "stream": True}


def _parameters(path: Path) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_parallel = _SLOTS
    parameters.n_ctx = _SLOTS * _CONTEXT_PER_SLOT
    threads = max(1, min(8, os.cpu_count() or 1))
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    # Prompts kept outside the slots cost a copy each time a slot changes hands, and memory without bound.
    parameters.cache_ram_mib = 0
    parameters.verbosity = _QUIET
    parameters.ui = False
    # The library always opens an HTTP listener on loopback; a key nobody knows keeps it shut.
    parameters.api_keys = [secrets.token_urlsafe(32)]
    parameters.model_alias = {MODEL_NAME}
    return parameters


def _refused(error: dict[str, Any]) -> LanguageError:
    """Put an error of llama.cpp into OpenAI's shape."""
    status = int(error.get("code") or 400)
    if error.get("type") == "exceed_context_size_error":
        message = (
            f"This model's maximum context length is {error.get('n_ctx')} tokens, and the messages have"
            f" {error.get('n_prompt_tokens')}. Shorten them, or leave out the oldest."
        )
        return LanguageError(400, _problem(message, "invalid_request_error", "context_length_exceeded", "messages"))
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return LanguageError(status, _problem(str(error.get("message") or "The request cannot be used."), kind))


def _problem(message: str, kind: str, code: ProblemCode | None = None, param: str | None = None) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": param, "code": code}
