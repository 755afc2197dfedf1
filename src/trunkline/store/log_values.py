"""A record's values made fit for the columns: a caller or a provider may send anything, and no row is lost by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, SmallInteger, String

from trunkline.store.log_record import LogRecord
from trunkline.store.schema import logs

_SMALL: Final = 2**15 - 1
_WHOLE: Final = 2**31 - 1
_BIG: Final = 2**63 - 1
# Deeper than any provider's usage is.
_MAX_DEPTH: Final = 8

Fit = Callable[[Any], Any]


def fitting(record: LogRecord) -> dict[str, Any]:
    """Return the row of a record, without its bodies.

    Texts are cut to their columns and lose NUL, which PostgreSQL does not take; numbers are bounded by their columns.
    """
    row = {name: fit(getattr(record, name)) for name, fit in _FITS.items()}
    row["has_payload"] = record.request is not None or record.response is not None
    return row


def fitting_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as it can be kept."""
    found: dict[str, Any] = _fit_document(dict(metadata))
    return found


def fit_text(text: str) -> str:
    """Return a text as both engines take it: without NUL, and without halves of surrogate pairs."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


def _fit_of(column: Column[Any]) -> Fit:
    match column.type:
        case String(length=int(length)):
            return lambda text: fit_text(text)[:length]
        case Boolean():
            return bool
        case SmallInteger():
            return lambda number: _fit_whole(number, _SMALL)
        case BigInteger():
            return lambda number: _fit_whole(number, _BIG)
        case Integer():
            return lambda number: _fit_whole(number, _WHOLE)
        case Float():
            absent = None if column.nullable else 0.0
            return lambda number: absent if number is None or not math.isfinite(number) else number
        case JSON():
            return _fit_document
        case _:
            raise TypeError(f"logs.{column.name}: a column of a type that no record fits yet")


def _fit_whole(number: int | None, most: int) -> int | None:
    return None if number is None else max(-most, min(most, number))


def _fit_document(value: Any, depth: int = 0) -> Any:
    match value:
        case str():
            return fit_text(value)
        case bool() | None:
            return value
        case int():
            return _fit_whole(value, _BIG)
        case float():
            return value if math.isfinite(value) else None
        case dict() if depth < _MAX_DEPTH:
            return {fit_text(str(key)): _fit_document(inner, depth + 1) for key, inner in value.items()}
        case list() | tuple() if depth < _MAX_DEPTH:
            return [_fit_document(inner, depth + 1) for inner in value]
        case _:
            return None


# What is no field of a record is about the row: bodies it has, when it was written, what people say of it later.
_FITS: Final[dict[str, Fit]] = {
    column.name: _fit_of(column) for column in logs.c if column.name in LogRecord.__struct_fields__
}
