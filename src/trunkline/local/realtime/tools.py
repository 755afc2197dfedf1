"""Function calls for a model that knows none: demo-grade, so that an application's wiring can be tried.

The built-in model's template has no tools. When a call is demanded, or when the user's words share a word with a
function's name or description and the model picks it, the model writes the arguments under the function's own JSON
schema: they are always valid, and as right as a very small model gets them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from trunkline.local.engines.language import LanguageModel
from trunkline.local.realtime.prompts import Plan

_NONE: Final = "none"
_MAX_ARGUMENT_TOKENS: Final = 256
# Shorter words say too little about what a function is for.
_MIN_WORD_LENGTH: Final = 4
_COMMON_WORDS: Final = frozenset(
    """about after also call could current from function given have into please returns that their them then there these
    they this used user users uses want what when where which will with would your""".split()  # noqa: SIM905
)


async def chosen_function(language: LanguageModel, plan: Plan) -> dict[str, Any] | None:
    """Return the function to call for a plan, or None to answer in words. Raises `LanguageError`."""
    words = _last_words(plan)
    if isinstance(plan.tool_choice, dict):
        wanted = plan.tool_choice["name"]
        return next((tool for tool in plan.tools if tool["name"] == wanted), None)
    if plan.tool_choice == "none" or not plan.tools:
        return None
    if plan.tool_choice == "required":
        candidates = [tool for tool in plan.tools if _shares_a_word(tool, words)] or plan.tools
        return candidates[0] if len(candidates) == 1 else await _picked(language, words, candidates, may_decline=False)
    if plan.messages and plan.messages[-1]["role"] == "tool":
        return None  # the result is to be told
    candidates = [tool for tool in plan.tools if _shares_a_word(tool, words)]
    return await _picked(language, words, candidates, may_decline=True) if candidates else None


async def calling(
    language: LanguageModel, plan: Plan, function: dict[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the chunks of a chat completion that calls ``function``. Raises `LanguageError`."""
    yield _chunk({"tool_calls": [{"index": 0, "id": "", "function": {"name": function["name"], "arguments": ""}}]})
    schema = function.get("parameters") or {}
    if not schema.get("properties"):
        yield _chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, "tool_calls")
        return
    about = f"{function['name']}: {function.get('description', '')}".rstrip(": ")
    request = _constrained(f"Write the arguments of the function {about}, as the user's words say.", plan, schema)
    async with aclosing(language.stream(request)) as chunks:
        async for chunk in chunks:
            yield _as_call(chunk)


def _as_call(chunk: dict[str, Any]) -> dict[str, Any]:
    """Turn the text of a chunk into arguments. Cut-off arguments are still ``length``: the call is not to be made."""
    choices = []
    for choice in chunk.get("choices", ()):
        text = (choice.get("delta") or {}).get("content")
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]} if text else {}
        reason = "tool_calls" if choice.get("finish_reason") == "stop" else choice.get("finish_reason")
        choices.append({"index": 0, "delta": delta, "finish_reason": reason})
    return {**chunk, "choices": choices}


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


async def _picked(
    language: LanguageModel, words: str, tools: list[dict[str, Any]], *, may_decline: bool
) -> dict[str, Any] | None:
    names = [tool["name"] for tool in tools]
    listed = "\n".join(f"{tool['name']}: {tool.get('description', '')}" for tool in tools)
    question = f"Which function serves the user's words?\n{listed}"
    if may_decline:
        names.append(_NONE)
        question += f"\n{_NONE}: the words need no function"
    schema = {"type": "object", "properties": {"function": {"enum": names}}, "required": ["function"]}
    request = {
        "messages": [{"role": "system", "content": question}, {"role": "user", "content": words}],
        "response_format": _response_format(schema),
        "max_tokens": _MAX_ARGUMENT_TOKENS,
    }
    answer = (await language.complete(request))["choices"][0]["message"]["content"]
    try:
        name = json.loads(answer)["function"]
    except (ValueError, KeyError, TypeError):
        return None if may_decline else tools[0]
    return next((tool for tool in tools if tool["name"] == name), None)


def _constrained(instructions: str, plan: Plan, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "messages": [{"role": "system", "content": instructions}, {"role": "user", "content": _last_words(plan)}],
        "response_format": _response_format(schema),
        "max_tokens": min(_MAX_ARGUMENT_TOKENS, plan.max_tokens or _MAX_ARGUMENT_TOKENS),
    }


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _last_words(plan: Plan) -> str:
    """Return what the user said last, else the instructions of the response."""
    for message in reversed(plan.messages):
        if message["role"] == "user" and isinstance(message["content"], str):
            return str(message["content"])
    return plan.instructions


def _shares_a_word(tool: dict[str, Any], words: str) -> bool:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tool["name"])
    return bool(_telling_words(f"{name} {tool.get('description', '')}") & _telling_words(words))


def _telling_words(text: str) -> set[str]:
    found = {word.removesuffix("s") for word in re.findall(r"[a-z]+", text.lower()) if len(word) >= _MIN_WORD_LENGTH}
    return found - _COMMON_WORDS
