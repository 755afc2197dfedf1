"""What a client did wrong, in the words and codes of the protocol."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from trunkline.local.codes import MistakeCode

Shape = TypeVar("Shape")

_UNKNOWN_FIELD: Final = re.compile(r"Object contains unknown field `([^`]*)`")
_MISSING_FIELD: Final = re.compile(r"Object missing required field `([^`]*)`")
_PLACE: Final = re.compile(r" - at `(?:key in )?\$([^`]*)`$")


class ClientMistake(Exception):
    """An event that changes nothing and is answered by ``error``. ``param`` is the path to the field at fault."""

    def __init__(self, code: MistakeCode, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def checked(value: Any, shape: type[Shape], param: str = "") -> Shape:
    """Return ``value`` as ``shape``. Raises `ClientMistake` with a path that begins with ``param``."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _mistake(str(error), param) from None


def _mistake(complaint: str, param: str) -> ClientMistake:
    place = _PLACE.search(complaint)
    path = (param + (place.group(1) if place else "")).removeprefix(".")
    words = _PLACE.sub("", complaint)
    if unknown := _UNKNOWN_FIELD.match(words):
        path = _joined(path, unknown.group(1))
        return ClientMistake("unknown_parameter", f"Unknown parameter: '{path}'.", path)
    if missing := _MISSING_FIELD.match(words):
        path = _joined(path, missing.group(1))
        return ClientMistake("missing_required_parameter", f"Missing required parameter: '{path}'.", path)
    return ClientMistake("invalid_value", f"Invalid value of '{path}': {words.replace('`', '')}.", path or None)


def _joined(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field
