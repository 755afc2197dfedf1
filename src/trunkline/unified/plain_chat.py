"""What a client's surface asks, in the words that one provider's OpenAI-compatible endpoint knows.

Most endpoints refuse a request for a member that they do not know, and surfaces tell more than OpenAI's words.
"""

from __future__ import annotations

from typing import Any, Final

from trunkline.unified.chat import Json

_OPENAI: Final = frozenset({"openai", "azure-openai"})
# Who knows the caller by ``user``.
_KNOW_USERS: Final = _OPENAI | {"openrouter"}
# Who wants the thinking before a call of a tool back with the call's result.
_WANT_REASONING: Final = frozenset({"deepseek"})
# Who wants back what came with a call of a tool: Gemini signs its thinking there.
_WANT_EXTRA_CONTENT: Final = frozenset({"google-ai-studio"})
# Whose streams state what they used in any case, and who refuse to be asked for it.
_STATE_USAGE_ANYWAY: Final = frozenset({"mistral", "perplexity-ai"})


def plain_chat(chat: Json, slug: str) -> Json:
    """Return a surface's hub request for the provider of a slug.

    Texts alone become one text, as many endpoints read no lists of them. Pictures that a tool gave back follow its
    result as a user's message: an OpenAI-compatible result is text.
    """
    told = {name: value for name, value in chat.items() if name not in _left_out(slug)}
    if slug in _OPENAI and "max_tokens" in told:
        told["max_completion_tokens"] = told.pop("max_tokens")  # all its models know this name, and newer ones no other
    told["messages"] = _messages(chat["messages"], slug)
    if "tools" in chat:
        told["tools"] = [_less(tool, "cache_control") for tool in chat["tools"]]
    return told


def _left_out(slug: str) -> set[str]:
    names = {"top_k"}
    if slug not in _OPENAI:
        names.add("safety_identifier")
    if slug not in _KNOW_USERS:
        names.add("user")
    if slug in _STATE_USAGE_ANYWAY:
        names.add("stream_options")
    return names


def _messages(messages: list[Json], slug: str) -> list[Json]:
    plain: list[Json] = []
    pictures: list[Json] = []
    for message in messages:
        if message["role"] != "tool" and pictures:
            plain.append({"role": "user", "content": pictures})
            pictures = []
        told = _less(message, "thinking_blocks")
        if "tool_calls" not in told or slug not in _WANT_REASONING:
            told.pop("reasoning_content", None)
        if "tool_calls" in told and slug not in _WANT_EXTRA_CONTENT:
            told["tool_calls"] = [_less(call, "extra_content") for call in told["tool_calls"]]
        content = told.get("content")
        if isinstance(content, list):
            parts = [_less(part, "cache_control") for part in content]
            if told["role"] == "tool":
                shown = [part for part in parts if part["type"] == "image_url"]
                if shown:
                    pictures += [_text(f"What the tool call {told['tool_call_id']} gave back:"), *shown]
                    parts = [part for part in parts if part["type"] == "text"] or [_text("A picture, which follows.")]
            told["content"] = _joined(parts)
        plain.append(told)
    if pictures:
        plain.append({"role": "user", "content": pictures})
    return plain


def _less(value: Json, name: str) -> Json:
    return {own: member for own, member in value.items() if own != name}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _joined(parts: list[Json]) -> Any:
    return "\n".join(part["text"] for part in parts) if all(part["type"] == "text" for part in parts) else parts
