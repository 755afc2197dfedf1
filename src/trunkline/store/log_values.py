"""Records' values made fit for the columns: a caller or a provider may send anything, and no row is lost by it.

Whole columns are looked at, which is quick where all fits, as it nearly always does. Only a column in which something
does not is looked at value by value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import msgspec
from msgspec.structs import astuple
from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, SmallInteger, String

from trunkline.store.log_record import LogRecord
from trunkline.store.schema import logs

_SMALL: Final = 2**15 - 1
_WHOLE: Final = 2**31 - 1
_BIG: Final = 2**63 - 1
# Deeper than any provider's usage is.
_MAX_DEPTH: Final = 8
# Every digit as a nought, and as many of them as a number out of bounds has.
_DIGITS: Final = bytes(ord("0") if chr(byte).isdecimal() else byte for byte in range(256))
_LONG: Final = b"0" * len(str(_BIG))

Values = Sequence[Any]
Fit = Callable[[Values], Values]


def fitting(records: Sequence[LogRecord]) -> list[list[Any]]:
    """Return the columns `FIELDS` of some records, of which there is one at least, as the database takes them.

    Texts are cut to their columns and lose NUL, which PostgreSQL does not take; numbers are bounded by their columns.
    Documents come as texts of JSON.
    """
    columns = [*zip(*map(astuple, records), strict=True)]
    return [_fitted(fit, columns[place]) for place, fit in zip(_PLACES, _FITS.values(), strict=True)]


def fitting_ids(records: Sequence[LogRecord]) -> Values:
    """Return the ids of records as the database takes them."""
    return _FITS["id"]([record.id for record in records])


def fitting_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as it can be kept."""
    found: dict[str, Any] = _fit_document(dict(metadata))
    return found


def fit_text(text: str) -> str:
    """Return a text as both engines take it: without NUL, and without halves of surrogate pairs."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


def _fitted(fit: Fit, column: Values) -> list[Any]:
    first = column[0]
    # Documents that are equal may still be told apart: true is 1.
    if fit is not _fit_documents and column.count(first) == len(column):
        return [*fit((first,))] * len(column)
    return [*fit(column)]


def _fit_of(column: Column[Any]) -> Fit:
    match column.type:
        case String(length=int(length)):
            return lambda texts: _fit_texts(texts, length)
        case Boolean():
            return lambda truths: [*map(bool, truths)]
        case SmallInteger():
            return lambda numbers: _fit_wholes(numbers, _SMALL)
        case BigInteger():
            return lambda numbers: _fit_wholes(numbers, _BIG)
        case Integer():
            return lambda numbers: _fit_wholes(numbers, _WHOLE)
        case Float():
            absent = None if column.nullable else 0.0
            return lambda numbers: _fit_floats(numbers, absent)
        case JSON():
            return _fit_documents
        case _:
            raise TypeError(f"logs.{column.name}: a column of a type that no record fits yet")


def _fit_texts(texts: Values, length: int) -> Values:
    together = "".join(texts)
    if together.isascii() and "\0" not in together and len(max(texts, key=len)) <= length:
        return texts
    return [fit_text(text)[:length] for text in texts]


def _fit_wholes(numbers: Values, most: int) -> Values:
    stated = [number for number in numbers if number is not None]
    if not stated or (-most <= min(stated) and max(stated) <= most):
        return numbers
    return [_fit_whole(number, most) for number in numbers]


def _fit_floats(numbers: Values, absent: float | None) -> Values:
    if None not in numbers and all(map(math.isfinite, numbers)):
        return numbers
    return [absent if number is None or not math.isfinite(number) else number for number in numbers]


def _fit_whole(number: int | None, most: int) -> int | None:
    return None if number is None else max(-most, min(most, number))


def _fit_documents(documents: Values) -> Values:
    try:
        texts = [*map(_encode, documents)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return [_encode(_fit_document(document)).decode() for document in documents]
    distinct = dict(zip(texts, documents, strict=True))
    if _are_plain(distinct):
        return [*map(bytes.decode, texts)]
    for text, document in distinct.items():
        distinct[text] = text if _are_plain((text,)) else _encode(_fit_document(document))
    return [distinct[text].decode() for text in texts]


def _are_plain(texts: Collection[bytes]) -> bool:
    """Whether there is no sign of what does not fit in documents: NUL, long numbers, or more depth than is kept."""
    together = b" ".join(texts)
    return (
        rb"\u0000" not in together
        and _LONG not in together.translate(_DIGITS)
        and max(map(bytes.count, texts, repeat(b"{"))) + max(map(bytes.count, texts, repeat(b"["))) <= _MAX_DEPTH
    )


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


_encode: Final = msgspec.json.Encoder().encode  # of a number that is none it makes null

# What is no field of a record is about the row: bodies it has, when it was written, what people say of it later.
_FITS: Final[dict[str, Fit]] = {
    column.name: _fit_of(column) for column in logs.c if column.name in LogRecord.__struct_fields__
}
FIELDS: Final = tuple(_FITS)
_PLACES: Final = tuple(map(LogRecord.__struct_fields__.index, FIELDS))
