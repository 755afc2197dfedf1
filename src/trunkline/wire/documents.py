"""JSON that strangers wrote: read for the few members that matter, and never trusted to be what it should."""

from __future__ import annotations

import json
from typing import Any


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
