"""One text frame, looked at as little as it takes: its type without parsing, its document once and only when asked."""

from __future__ import annotations

import re
from typing import Any, Final

from trunkline.wire.documents import json_object

# The member where nearly all writers put it: first, or behind the event's id.
_TYPE: Final = re.compile(r'\{\s*(?:"event_id"\s*:\s*"[^"\\]*"\s*,\s*)?"type"\s*:\s*"([^"\\]*)"')


class Frame:
    """A text frame of the OpenAI Realtime protocol, or of another that speaks JSON."""

    __slots__ = ("_document", "_type", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._type: str | None = None
        self._document: dict[str, Any] | None = None

    @property
    def type(self) -> str:
        """The member ``type``, or nothing where there is none.

        Nearly all frames begin with it, or with their ``event_id``; the others are parsed: it may stand anywhere.
        """
        if self._type is None:
            match = _TYPE.match(self.text)
            if match is not None:
                self._type = match[1]
            else:
                said = self.document.get("type")
                self._type = said if isinstance(said, str) else ""
        return self._type

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object, empty for what is none. Not to be changed: others read the same."""
        if self._document is None:
            self._document = json_object(self.text)
        return self._document

    def __repr__(self) -> str:
        return f"Frame({self.type!r}, {len(self.text)} characters)"
