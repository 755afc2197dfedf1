"""JSON that strangers wrote: read for the few members that matter, and never trusted to be what it should."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

import msgspec

_Read = TypeVar("_Read")

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What decoding with msgspec raises for what strangers wrote: no JSON, no UTF-8, nesting without end."""


def why_unreadable(error: Exception) -> str:
    """Return why something cannot be read (`UNREADABLE`), in words for whoever wrote it."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def json_object(document: str | bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one for what is none, or cannot be read (numbers or nesting without end)."""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def json_text(document: Any) -> str:
    """Return JSON as a text that can be sent and kept: as it reads, with halves of characters escaped as they came."""
    text = json.dumps(document, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(document)
    return text


def converted(document: Any, kind: type[_Read], *, strict: bool = True) -> _Read:
    """Return what people set up as a struct or the like, as `msgspec.convert` does.

    Raises `msgspec.ValidationError`, also where a text holds half a character, or what is kept as it is has depth
    without end: no database, page or header could carry that.
    """
    try:
        msgspec.json.encode(document)
        return msgspec.convert(document, kind, strict=strict)
    except UnicodeEncodeError as error:
        raise msgspec.ValidationError("Expected whole characters, and a text holds half of one") from error
    except RecursionError as error:
        raise msgspec.ValidationError("It is nested too deeply") from error
