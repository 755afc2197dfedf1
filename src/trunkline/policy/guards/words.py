"""What somebody said in a request or an answer of any API: the strings that are content, and who said them.

A request is known by its members that hold content (`_ASKED`), an answer likewise (`_ANSWERED`). Within them every
string counts but those that only name, choose or refer to something. Of a document of another shape all count.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

Speaker = Literal["system", "user", "assistant", "tool"]


class Words(NamedTuple):
    """Something that was said, and by whom. ``place`` tells texts apart that go on beside each other in a stream."""

    speaker: Speaker
    text: str
    place: str = ""


_ASKED: Final = frozenset(
    {
        *(
            "messages",
            "input",
            "inputs",
            "prompt",
            "suffix",
            "system",
            "instructions",
            "contents",
            "content",
            "message",
        ),
        *("systemInstruction", "system_instruction", "chat_history", "preamble", "documents", "texts", "text", "query"),
        *(
            "question",
            "context",
            "inputText",
            "instances",
            "requests",
            "tools",
            "functions",
            "tool_results",
            "transcript",
        ),
        *(
            "negative_prompt",
            "toolConfig",
            "response",
            "item",
            "session",
            "history",
            "conversationHistory",
            "prediction",
        ),
    }
)
_ANSWERED: Final = frozenset(
    {
        *("choices", "output", "outputs", "content", "candidates", "message", "text", "generations", "results"),
        *("completion", "generation", "generated_text", "response", "result", "answer", "outputText", "predictions"),
        *("delta", "transcript", "output_text", "contentBlockDelta", "contentBlockStart", "segments", "tool_calls"),
        *("arguments", "refusal", "thinking", "reasoning", "reasoning_content", "token", "start", "content_block"),
        *("tool_plan", "part", "item", "error_message"),
    }
)
# What names, chooses or refers, and copies for programs of what is said elsewhere.
_NO_WORDS: Final = frozenset(
    {
        *("id", "type", "role", "model", "object", "name", "status", "format", "index", "created", "finish_reason"),
        *("finishReason", "stop_reason", "stopReason", "stop_sequence", "signature", "thought_signature"),
        *("thoughtSignature", "encrypted_content", "b64_json", "logprobs", "logprobsResult", "usage", "usageMetadata"),
        *("mimeType", "mime_type", "media_type", "mediaType", "call_id", "tool_call_id", "tool_use_id", "toolUseId"),
        *("item_id", "response_id", "file_id", "detail", "cache_control", "embedding", "embeddings", "values", "voice"),
        *("system_fingerprint", "event_id", "metadata", "obfuscation", "server_label", "phase", "responseId"),
        *("modelVersion", "created_at", "response_type", "event_type", "is_finished", "generation_id", "safetyRatings"),
    }
)
_IN_SYSTEMS_NAME: Final = frozenset(
    {
        "system",
        "instructions",
        "preamble",
        "systemInstruction",
        "system_instruction",
        "tools",
        "functions",
        "toolConfig",
    }
)
_BY_TOOLS: Final = frozenset({"toolResult", "tool_results", "functionResponse", "function_response", "documents"})
_BY_ASSISTANT: Final = frozenset(
    {"toolUse", "tool_calls", "function_call", "functionCall", "prediction", "thinking", "reasoning_content"}
)
_ROLES: Final[Mapping[str, Speaker]] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "model": "assistant",
    "chatbot": "assistant",
    "tool": "tool",
    "function": "tool",
}
# What an item is that has no role.
_TYPES: Final[Mapping[str, Speaker]] = {
    "function_call_output": "tool",
    "custom_tool_call_output": "tool",
    "computer_call_output": "tool",
    "mcp_call": "tool",
    "tool_result": "tool",
    "web_search_tool_result": "tool",
    "function_call": "assistant",
    "custom_tool_call": "assistant",
    "reasoning": "assistant",
    "tool_use": "assistant",
}
_DEEPEST: Final = 60
_LONGEST_NUMBER: Final = 10**8

# Files and pictures: long, and without a space.
_BLOB: Final = re.compile(r"[A-Za-z0-9+/=_\-\r\n]{512}")
_SHORTEST_BLOB: Final = 2000
_DATA_URL: Final = re.compile(r"data:([\w.+-]{1,80}/[\w.+-]{1,80})?[^,]{0,200},")
_TEXT_KINDS: Final = ("text/", "application/json", "application/xml")
# In which events of a stream of OpenAI's responses something is said anew; the others say again what was said.
_SAID_ANEW: Final = ".delta"


def asked(content_type: str, body: bytes) -> list[Words]:
    """Return what a request says. Never raises: what is no JSON is taken as it is."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        return _form(content_type, body)
    if kind.startswith(("audio/", "image/", "video/")) or (kind == "application/octet-stream" and b"\0" in body[:4096]):
        return []
    document = _read(body)
    if document is None:
        return [Words("user", _text_of(body))] if body else []
    return list(_said(document, "user", _ASKED))


def answered(body: bytes) -> list[Words]:
    """Return what a whole answer says. Never raises."""
    document = _read(body)
    if document is None:
        return [Words("assistant", _text_of(body))] if body else []
    return list(_said(document, "assistant", _ANSWERED))


def answered_by_event(data: str | bytes) -> list[Words]:
    """Return what one event of a stream adds. One of a shape that is not known adds nothing, and no JSON all of it."""
    document = _read(data.encode(errors="replace") if isinstance(data, str) else data)
    if document is None:
        text = data if isinstance(data, str) else _text_of(data)
        return [] if text.strip() == "[DONE]" else [Words("assistant", text, "text")]
    if not isinstance(document, dict):
        return list(_leaves(document, "assistant", ""))
    kind = document.get("type")
    if isinstance(kind, str) and kind.startswith("response."):
        return _of_responses(document, kind)
    return list(_said(document, "assistant", _ANSWERED, is_event=True))


def is_last_event(data: str | bytes) -> bool:
    """Whether an event says that the answer is whole."""
    raw = data.encode(errors="replace") if isinstance(data, str) else data
    return raw.strip() == b"[DONE]" or _LAST.search(raw[:400]) is not None


_LAST: Final = re.compile(
    rb'"type"\s*:\s*"(?:message_stop|message-end|response\.(?:completed|incomplete|failed))"|"event_type"\s*:\s*"stream-end"'
)


def _of_responses(document: dict[str, Any], kind: str) -> list[Words]:
    place = "/".join(str(document.get(name, "")) for name in ("output_index", "content_index", "summary_index"))
    if kind.endswith(_SAID_ANEW):
        delta = document.get("delta")
        found = [delta] if isinstance(delta, str) else [words.text for words in _leaves(delta, "assistant", "")]
        return [Words("assistant", text, f"{kind}/{place}") for text in found if text]
    if isinstance(document.get("response"), dict):
        # The request stands in it too: its instructions and tools.
        return list(_leaves(document["response"].get("output"), "assistant", "again"))
    rest = {name: value for name, value in document.items() if name not in _NO_WORDS}
    return list(_leaves(rest, "assistant", "again"))


def is_said_again(words: Words) -> bool:
    """Whether a stream repeats what it has said in pieces."""
    return words.place.startswith("again")


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    try:
        # More than JSON should be, and read by some providers: other encodings, NaN.
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text_of(body: bytes) -> str:
    return body.replace(b"\0", b"").decode("utf-8", "replace")


def _said(document: Any, speaker: Speaker, known: frozenset[str], *, is_event: bool = False) -> Iterator[Words]:
    if not isinstance(document, dict):
        yield from _leaves(document, speaker, "")
        return
    parts = {name: value for name, value in document.items() if name in known}
    if parts or is_event:
        place = _place_of(document)
        for name, value in parts.items():
            yield from _member(name, value, speaker, place, document, 1)
    else:
        yield from _leaves(document, speaker, "")


def _place_of(value: Mapping[str, Any]) -> str:
    return "/".join(
        str(value[name]) for name in ("index", "output_index", "content_index", "contentBlockIndex") if name in value
    )


def _leaves(value: Any, speaker: Speaker, place: str, depth: int = 0) -> Iterator[Words]:
    if isinstance(value, str):
        text = _words_of(value)
        if text:
            yield Words(speaker, text, place)
    elif isinstance(value, bool) or value is None or isinstance(value, float):
        return
    elif isinstance(value, int):
        if value > _LONGEST_NUMBER:
            yield Words(speaker, str(value), place)
    elif depth > _DEEPEST:
        yield Words(speaker, json.dumps(value, ensure_ascii=False), place)
    elif isinstance(value, list):
        if value and all(isinstance(one, int | float) for one in value[:8]):
            return  # tokens, or a vector
        for one in value:
            yield from _leaves(one, speaker, place, depth + 1)
    elif isinstance(value, dict):
        speaker = _speaker_of(value, speaker)
        beside = _place_of(value)
        place = f"{place}/{beside}" if beside else place
        for name, part in value.items():
            yield from _member(name, part, speaker, place, value, depth + 1)


def _member(
    name: str, value: Any, speaker: Speaker, place: str, beside: Mapping[str, Any], depth: int
) -> Iterator[Words]:
    if name in _NO_WORDS:
        return
    if (name == "input" and beside.get("type") == "tool_use") or name in ("args", "arguments", "parameters"):
        # Whatever a call is given: its members have names of their own.
        yield from _everything(value, speaker, f"{place}/{name}", depth)
        return
    if name in ("data", "bytes") and isinstance(value, str) and not _is_plain_text(beside):
        yield from _file(value, beside, speaker, place)
        return
    if name in _IN_SYSTEMS_NAME:
        speaker = "system"
    elif name in _BY_TOOLS:
        speaker = "tool"
    elif name in _BY_ASSISTANT:
        speaker = "assistant"
    yield from _leaves(value, speaker, f"{place}/{name}" if isinstance(value, str) else place, depth)


def _everything(value: Any, speaker: Speaker, place: str, depth: int) -> Iterator[Words]:
    if isinstance(value, dict) and depth <= _DEEPEST:
        for part in value.values():
            yield from _everything(part, speaker, place, depth + 1)
    elif isinstance(value, list) and depth <= _DEEPEST:
        for part in value:
            yield from _everything(part, speaker, place, depth + 1)
    else:
        yield from _leaves(value, speaker, place, depth)


def _speaker_of(value: Mapping[str, Any], speaker: Speaker) -> Speaker:
    role, kind = value.get("role"), value.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        return _TYPES[kind]
    if isinstance(role, str):
        return _ROLES.get(role.lower(), "user" if speaker != "assistant" else speaker)
    return speaker


def _words_of(text: str) -> str:
    """Return a text, or nothing for a file that is written as one."""
    if text.startswith("data:") and (url := _DATA_URL.match(text)) is not None:
        return _decoded(text[url.end() :]) if (url[1] or "text/plain").startswith(_TEXT_KINDS) else ""
    if len(text) >= _SHORTEST_BLOB and _BLOB.match(text):
        return ""
    return text


def _is_plain_text(beside: Mapping[str, Any]) -> bool:
    return beside.get("type") == "text"


def _file(value: str, beside: Mapping[str, Any], speaker: Speaker, place: str) -> Iterator[Words]:
    kind = next((beside[name] for name in ("mimeType", "mime_type", "media_type") if name in beside), "")
    if isinstance(kind, str) and kind.startswith(_TEXT_KINDS):
        yield Words(speaker, _decoded(value), place)
    elif not kind and beside.get("type") != "base64" and not _BLOB.match(value) and "format" not in beside:
        yield from _leaves(value, speaker, place)


def _decoded(written: str) -> str:
    try:
        return base64.b64decode(written).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return written


def _form(content_type: str, body: bytes) -> list[Words]:
    """Return the fields of a form, and its files that are text."""
    found = re.search(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', content_type, re.IGNORECASE)
    if found is None:
        return [Words("user", _text_of(body))]
    words: list[Words] = []
    for part in body.split(b"--" + (found[1] or found[2]).encode("latin-1", "replace"))[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        lower = head.lower()
        if b"filename" in lower and not re.search(
            rb"content-type:\s*(?:text/|application/(?:json|x-ndjson|jsonl))", lower
        ):
            continue
        words.append(Words("user", _text_of(content.removesuffix(b"\r\n"))))
    return words
