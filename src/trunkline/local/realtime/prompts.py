"""What the chat model is asked: the conversation's items as chat messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from trunkline.local.realtime.conversation import Item
from trunkline.local.realtime.hearing import AudioFormat

# An audio item without words: many providers refuse an empty message, and a model should know that nothing was said.
SILENCE: Final = "(silence)"


class Plan(msgspec.Struct, frozen=True):
    """All that an answer depends on: two equal plans may share one answer.

    ``messages`` are chat messages without the instructions. ``max_tokens`` is None for no limit.
    """

    instructions: str
    messages: list[dict[str, Any]]
    spoken: bool
    format: AudioFormat
    speed: float = 1.0
    tools: list[dict[str, Any]] = msgspec.field(default_factory=list)
    tool_choice: str | dict[str, Any] = "auto"
    max_tokens: int | None = None


def chat_messages(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Return the messages for items, all of whose words are known.

    Calls are given with their results right behind them, as chat completions demand; one without a result is left out.
    The last message is never the assistant's own: a model would take that for the beginning of its answer.
    """
    messages = _messages(list(items))
    if not messages or messages[-1]["role"] in ("assistant", "system"):
        messages.append({"role": "user", "content": SILENCE})
    return messages


def _messages(items: list[Item]) -> list[dict[str, Any]]:
    results = {item.body["call_id"]: item.body["output"] for item in items if item.type == "function_call_output"}
    called = {item.body["call_id"] for item in items if item.type == "function_call"}
    messages: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for item in items:
        if item.type == "function_call":
            if item.body["call_id"] in results:
                calls.append(_call(item.body))
            continue
        messages += _finished_calls(calls, results)
        calls = []
        if item.type == "message":
            messages += _message(item)
        elif item.body["call_id"] not in called:
            messages.append({"role": "user", "content": f"(The result of a function: {item.body['output']})"})
    return messages + _finished_calls(calls, results)


def _call(body: dict[str, Any]) -> dict[str, Any]:
    function = {"name": body["name"], "arguments": body["arguments"]}
    return {"id": body["call_id"], "type": "function", "function": function}


def _finished_calls(calls: list[dict[str, Any]], results: dict[str, str]) -> list[dict[str, Any]]:
    if not calls:
        return []
    answers = [{"role": "tool", "tool_call_id": call["id"], "content": results[call["id"]]} for call in calls]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *answers]


def _message(item: Item) -> list[dict[str, Any]]:
    parts = [_part(item, index, part) for index, part in enumerate(item.body["content"])]
    if any(part["type"] == "image_url" for part in parts):
        return [{"role": item.role, "content": parts}]
    text = "\n".join(part["text"] for part in parts if part["text"])
    if not text:
        return [{"role": "user", "content": SILENCE}] if item.role == "user" and item.sounds else []
    return [{"role": item.role, "content": text}]


def _part(item: Item, index: int, part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "input_image":
        return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": part["detail"]}}
    if index in item.sounds:
        return {"type": "text", "text": item.sounds[index].words or ""}
    return {"type": "text", "text": part["text"]}
