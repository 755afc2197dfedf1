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
