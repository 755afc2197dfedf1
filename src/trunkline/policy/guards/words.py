"""What somebody said in a request or an answer of any API: the strings that are content, and who said them.

A request is known by its members that hold content (`_ASKED`), an answer likewise (`_ANSWERED`). Within them every
string counts but those that only name, choose or refer to something. Of a document of another shape all count. Other
members of a request are taken for the application's own. What could be read in two ways is read in both: which one
counts is the provider's to say.
"""

from __future__ import annotations

import base64
import binascii
import json
import quopri
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

import msgspec

from trunkline.wire.documents import UNREADABLE

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
# Whatever a call is given, or gave: its members have names of their own.
_FREELY_NAMED: Final = frozenset({"args", "arguments", "parameters", "variables"})
_FREELY_NAMED_BY_TOOLS: Final = frozenset({"response", "json", "outputs", "data"})
# By what the end user, and the place in a cache, are told apart.
_NAMES_OF_USERS: Final = frozenset({"user", "safety_identifier", "prompt_cache_key"})
# Where a provider takes a text for the address of a file, or the file itself.
_FILES: Final = frozenset({"url", "uri", "image_url", "file_url", "file_data", "fileUri", "image", "images", "video"})
_DEEPEST: Final = 60
_LONGEST_NUMBER: Final = 10**8
# A member's name that is longer says something.
_LONGEST_NAME: Final = 16

# Files and pictures: long, without a space, in lines that are long too.
_BLOB: Final = re.compile(r"(?<![A-Za-z0-9+/=_-])(?:[A-Za-z0-9+/=_-]{60,}+(?:\r?\n)?+)+")
_SHORTEST_BLOB: Final = 512
# Of base64 a thirty-second each: where there are more, they stand between words.
_SIGNS: Final = "+/_-"
_MOST_SIGNS: Final = 0.12
_DATA_URL: Final = re.compile(r"data:([\w.+-]{1,80}/[\w.+-]{1,80})?[^,]{0,200},")
_TEXT_KINDS: Final = ("text/", "application/json", "application/xml")
_ESCAPED: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "", "f": " "}
_LOOKED_AT: Final = 4096
# In which events of a stream of OpenAI's responses something is said anew; the others say again what was said.
_SAID_ANEW: Final = ".delta"


def asked(content_type: str, body: bytes) -> list[Words]:
    """Return what a request says. Never raises: what is no JSON is taken as it is.

    What it says of its own type is no reason to look away: providers read JSON also where it is called something else.
    """
    document = _read_with_repeats(body)
    if document is not None:
        return list(_said(document, "user", _ASKED))
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        return _form(content_type, body)
    if kind.startswith(("audio/", "image/", "video/", "application/octet-stream")) and _is_binary(body):
        return []
    return _unread(body)


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
    except UNREADABLE:
        pass
    try:
        # More than JSON should be, and read by some providers: other encodings, NaN.
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _read_with_repeats(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of a member that is there several times, a list of all."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for name in found:
            values = [value for other, value in pairs if other == name]
            found[name] = values if len(values) > 1 else values[0]
    return found


def _unread(body: bytes) -> list[Words]:
    """Return what cannot be read here and may be by others, as it is, and without its escapes."""
    text = _text_of(body)
    found = [Words("user", text)] if text else []
    if "\\" in text:
        found.append(
            Words("user", _ESCAPED.sub(_unescaped, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        )
    return found


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _CONTROLS.get(match[2], match[2])


def _is_binary(body: bytes) -> bool:
    return b"\0" in body[:_LOOKED_AT]


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
        if speaker == "user":
            for name, value in document.items():
                if name not in known and name not in _NAMES_OF_USERS:
                    yield from _member(name, value, "system", place, document, 1)
    else:
        yield from _leaves(document, speaker, "")


def _place_of(value: Mapping[str, Any]) -> str:
    return "/".join(
        str(value[name]) for name in ("index", "output_index", "content_index", "contentBlockIndex") if name in value
    )


def _leaves(value: Any, speaker: Speaker, place: str, depth: int = 0, *, is_file: bool = False) -> Iterator[Words]:
    if isinstance(value, str):
        text = _words_of(value, is_file=is_file)
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
        if value and all(isinstance(one, int | float) for one in value):
            return  # tokens, or a vector
        for one in value:
            yield from _leaves(one, speaker, place, depth + 1, is_file=is_file)
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
    is_given = (name == "input" and beside.get("type") == "tool_use") or name in _FREELY_NAMED
    if is_given or (speaker == "tool" and name in _FREELY_NAMED_BY_TOOLS and not isinstance(value, str)):
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
    place = f"{place}/{name}" if isinstance(value, str) else place
    yield from _leaves(value, speaker, place, depth, is_file=name in _FILES)


def _everything(value: Any, speaker: Speaker, place: str, depth: int) -> Iterator[Words]:
    if isinstance(value, dict) and depth <= _DEEPEST:
        for name, part in value.items():
            if not name.isidentifier() or len(name) > _LONGEST_NAME:
                yield Words(speaker, name, place)
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


def _words_of(text: str, *, is_file: bool) -> str:
    """Return a text without the files in it: of one that is a file as a whole, nothing."""
    if is_file and text.startswith("data:") and (url := _DATA_URL.match(text)) is not None:
        return _decoded(text[url.end() :]) if (url[1] or "text/plain").startswith(_TEXT_KINDS) else ""
    return _BLOB.sub(_words_of_blob, text) if len(text) >= _SHORTEST_BLOB else text


def _words_of_blob(match: re.Match[str]) -> str:
    found = match[0]
    is_blob = len(found) >= _SHORTEST_BLOB and sum(map(found.count, _SIGNS)) <= _MOST_SIGNS * len(found)
    return " " if is_blob else found


def _is_plain_text(beside: Mapping[str, Any]) -> bool:
    return beside.get("type") == "text"


def _file(value: str, beside: Mapping[str, Any], speaker: Speaker, place: str) -> Iterator[Words]:
    kind = next((beside[name] for name in ("mimeType", "mime_type", "media_type") if name in beside), "")
    if not isinstance(kind, str) or kind.startswith(_TEXT_KINDS):
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
    found = re.findall(r'boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', content_type, re.IGNORECASE)
    if len(found) != 1 or content_type.lower().count("boundary") != 1:  # else others may part it elsewhere
        return _unread(body)
    words: list[Words] = []
    for part in body.split(b"--" + "".join(found[0]).encode("latin-1", "replace")):
        head, is_parted, content = part.partition(b"\r\n\r\n")
        if is_parted and b"filename" in head.lower() and _is_binary(content):
            continue
        words += _unread(content.removesuffix(b"\r\n") if is_parted else part)
        if b"content-transfer-encoding" in head.lower():  # which some readers of forms go by
            words += [word for packed in _unpacked(content) for word in _unread(packed)]
    return words


def _unpacked(content: bytes) -> Iterator[bytes]:
    """Yield what the content of a part may stand for (RFC 2045 section 6)."""
    with suppress(ValueError):
        yield binascii.a2b_base64(content)
    yield quopri.decodestring(content)
