"""Which models a caller may use, and which ones a request or a frame names.

Whatever names a model more than once is judged by all of them: which one counts is the provider's to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from trunkline.wire.forms import UnreadableForm, fields

# Where a path itself names the model: Gemini, Bedrock, Workers AI and Baseten.
_IN_PATH: Final = (
    re.compile(r"(?:^|/)models/([^/:?]+)"),
    re.compile(r"^bedrock-[a-z]+/[^/]+/model/([^/]+)"),
    re.compile(r"^(?:run/)?(@(?:cf|hf)/[^?]+)"),
    re.compile(r"^model/([^/]+)"),
)
# How a WebSocket's query names one: ElevenLabs and Cartesia, Azure's preview.
_IN_UPGRADE: Final = frozenset({"model", "model_id", "deployment"})
# How a frame does: Cartesia, and an ElevenLabs agent that is given another language model.
_IN_FRAME: Final = frozenset({"model", "model_id", "llm"})
# What a person writes into these is not the gateway's to read.
_NOT_SETTINGS: Final = frozenset({"item", "metadata", "dynamic_variables"})
_NO_LISTS_OF_SETTINGS: Final = frozenset({"tools", "functions", "input", "content", "contents", "turns", "messages"})
_TRANSCRIPTION: Final = frozenset({"transcription", "input_audio_transcription", "listen"})
_DEEPEST: Final = 8
_ESCAPE: Final = re.compile(r"\\u00([0-9a-f]{2})")


def is_allowed(model: str, patterns: Sequence[str], provider: str) -> bool:
    """Whether a model fits one of the patterns; ``*`` stands for anything. No patterns: every model does.

    A pattern may name the provider too: ``openai/gpt-4o*``.
    """
    names = (model, f"{provider}/{model}")
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def models_in_request(provider: str, rest: str, content_type: str, body: bytes) -> list[str]:
    """Return the models that an HTTP request names in its path and in its body; none where that cannot be read."""
    in_path = model_in_path(provider, rest)
    if provider == "azure-openai":  # without a deployment there is no model
        return [] if in_path is None else [in_path]
    members = _members(body)
    if members is not None:  # whatever the client says it is, a provider may read it as JSON all the same
        named = [model for name, value in members for model in _named_by(name, value)]
    elif content_type.lower().startswith("multipart/"):
        try:
            named = [_text(value) for name, value in fields(content_type, body) if _is_model(name)]
        except UnreadableForm:
            return []
    else:
        named = []
    return named if in_path is None else [in_path, *(name.removeprefix("models/") for name in named)]


def _named_by(name: str, value: Any) -> Iterator[str]:
    """Yield the models that a member of a body names: one, or some to fall back to."""
    if _is_model(name) and isinstance(value, str):
        yield value
    elif name.lower() == "models" and isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))


def _is_model(name: str) -> bool:
    """Whether a name is that of a model. Some parsers make no difference between capital and small letters."""
    return name.strip().removesuffix("[]").lower() == "model"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()


def model_in_path(provider: str, rest: str) -> str | None:
    """Return the model that the path of an HTTP request names, as it stands there, or None."""
    if provider == "azure-openai":  # the deployment stands for the model
        return next(iter(rest.split("/")[1:2]), None)
    return next((match[1] for pattern in _IN_PATH if (match := pattern.search(rest)) is not None), None)


def models_in_upgrade(provider: str, rest: str, query: str) -> list[str]:
    """Return the models that a WebSocket's path names, and its query by another name than ``model``, or in capitals."""
    pairs = [(name.lower(), value) for name, value in parse_qsl(query) if name != "model"]
    named = [value for name, value in pairs if name in _IN_UPGRADE]
    if provider == "fal":  # an app stands for the model; ``realtime`` is its way in
        named.append(rest.strip("/").removesuffix("/realtime"))
    for pattern in _IN_PATH:
        match = pattern.search(rest.lstrip("/"))
        if match is not None:
            named.append(unquote(match[1]))
    return named


class UnreadableFrame(ValueError):
    """A frame that is no JSON object, or none that can be read here."""


class NamedModel(NamedTuple):
    """A model that a frame names; ``transcribes`` says that it writes down what was spoken, beside the conversation."""

    name: str
    transcribes: bool


def models_in_frame(text: str) -> list[NamedModel]:
    """Return every model that a client's realtime frame names.

    A session may be given another model, or one to transcribe with, after it was opened. Raises `UnreadableFrame` when
    it may name one and cannot be read here: others may read it.
    """
    if not _may_name_one(text):
        return []
    members = _members(text)
    if members is None:
        raise UnreadableFrame
    return list(_within(members, transcribes=False, depth=0))


def _may_name_one(text: str) -> bool:
    """Whether the name of a member that names a model stands in a text, plainly or in escapes."""
    lower = text.lower()
    if "\\u00" in lower:
        lower = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), lower).lower()
    return '"model' in lower or '"llm"' in lower


def _members(document: bytes | str) -> list[tuple[str, Any]] | None:
    """Return the members of a JSON object, repeated names included, or None for what is none.

    Objects within it are such lists too.
    """
    try:
        members = json.loads(document, object_pairs_hook=_Members)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, _Members) else None


class _Members(list[tuple[str, Any]]):
    """A JSON object that keeps repeated names."""


def _within(members: list[tuple[str, Any]], *, transcribes: bool, depth: int) -> Iterator[NamedModel]:
    for member, value in members:
        name = member.lower()
        if name in _IN_FRAME and isinstance(value, str):
            yield NamedModel(value.removeprefix("models/"), transcribes)
        elif name not in _NOT_SETTINGS and depth < _DEEPEST:
            for settings in _settings(name, value):
                yield from _within(settings, transcribes=transcribes or name in _TRANSCRIPTION, depth=depth + 1)


def _settings(name: str, value: Any) -> list[_Members]:
    """Return the objects that a member holds: itself, or those of a list, such as providers to fall back to."""
    if isinstance(value, _Members):
        return [value]
    if isinstance(value, list) and name not in _NO_LISTS_OF_SETTINGS:
        return [one for one in value if isinstance(one, _Members)]
    return []
