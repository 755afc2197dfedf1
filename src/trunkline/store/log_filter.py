"""Which rows of the log: conditions as they come from a query, made into SQL from a list of what may be asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Float, String, and_, case, cast, exists, false, func, literal, not_, or_, select

from trunkline.errors import MalformedRequest
from trunkline.store.log_values import fit_text
from trunkline.store.schema import logs

Condition = tuple[str, str, Sequence[Any]]
Clause = ColumnElement[bool]

OPERATORS: Final = ("eq", "neq", "contains", "lt", "lte", "gt", "gte")
_SIZES: Final = ("lt", "lte", "gt", "gte")
# Behind it stands a key of the metadata: ``metadata:team``.
METADATA_PREFIX: Final = "metadata:"
_MAX_VALUES: Final = 200
_MAX_CONDITIONS: Final = 50
# Texts to look for within others: each is a comparison of its own, which takes its time before the first row is read.
_MAX_CONTAINED: Final = 200
# SQLite takes patterns of 50,000 bytes; a character has up to four, and no column holds as long a text.
_LONGEST_CONTAINED: Final = 10_000
_C: Final = logs.c


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows: those for which all of it is true.

    ``conditions`` are (key, operator, values), where any of the values may fit, with ``neq`` none. Keys are those of
    `KEYS`, ``metadata.key`` and ``metadata.value`` (any of a row's metadata, each for itself), and ``metadata:NAME``
    (the value under that name). ``search`` is a text that any of a row's words contains, whatever the case.
    """

    gateway: str | None = None
    conditions: Sequence[Condition] = ()
    search: str = ""


class _Key(msgspec.Struct, frozen=True):
    column: ColumnElement[Any]
    read: Callable[[Any], Any]
    operators: Sequence[str]
    expected: str


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return fit_text(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _truth(value: Any) -> bool:
    found = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}.get(value)
    if found is None:
        raise ValueError
    return found


def _moment(value: Any) -> float:
    """Read a moment as Unix seconds, or as a date with or without a time (ISO 8601, UTC unless it says otherwise)."""
    try:
        return _number(value)
    except ValueError:
        moment = datetime.fromisoformat(_text(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _texts(column: ColumnElement[Any]) -> _Key:
    return _Key(column, _text, ("eq", "neq", "contains"), "a text")


def _numbers(column: ColumnElement[Any]) -> _Key:
    # As floating point, so that a count can be compared with a value that is none.
    return _Key(cast(column, Float), _number, ("eq", "neq", *_SIZES), "a number")


def _truths(column: ColumnElement[Any]) -> _Key:
    return _Key(column, _truth, ("eq", "neq"), "true or false")


_IS_STREAM: Final = and_(_C.request_type == "http", _C.response_content_type.startswith("text/event-stream"))
_TOKENS: Final = func.coalesce(_C.tokens_in, 0) + func.coalesce(_C.tokens_out, 0)
_NAMED_TEXTS: Final = (
    *("request_content_type", "response_content_type", "request_type", "provider", "model", "model_type"),
    *("event_id", "user_agent", "method", "path", "end_reason", "error", "key_id", "caller", "user", "key_source"),
    *("session_id", "trace_id", "gateway"),
)
_NAMED_NUMBERS: Final = (
    *("cost", "tokens_in", "tokens_out", "tokens_cached", "tokens_audio", "feedback", "score", "status"),
    *("error_code", "step", "attempts", "first_byte_ms", "connect_ms", "request_size", "response_size"),
    *("duration_ms", "inter_token_p50_ms", "inter_token_p99_ms"),
)
_NAMED_TRUTHS: Final = ("success", "cached", "custom_cost", "has_payload")

KEYS: Final[dict[str, _Key]] = {
    "id": _Key(_C.id, _text, ("eq", "neq", "contains", *_SIZES), "an id"),
    "created_at": _Key(_C.created_at, _moment, ("eq", "neq", *_SIZES), "a date or Unix seconds"),
    "tokens": _numbers(_TOKENS),
    "duration": _numbers(_C.duration_ms),
    "status_code": _numbers(_C.status),
    # How it came: an answer that is a stream of events is told from one in one piece.
    "kind": _texts(case((_IS_STREAM, "sse"), else_=_C.request_type)),
    # What Cloudflare can tell of an exchange and this gateway knows by other names, or does not have.
    "authentication": _truths(_C.key_id != ""),
    "wholesale": _truths(literal(False)),
    "dlp_action": _texts(literal("")),
    **{name: _texts(_C[name]) for name in _NAMED_TEXTS},
    **{name: _numbers(_C[name]) for name in _NAMED_NUMBERS},
    **{name: _truths(_C[name]) for name in _NAMED_TRUTHS},
}
"""What a condition may ask about, besides metadata."""

_SEARCHED: Final = (
    *("id", "model", "provider", "path", "error", "user", "caller", "event_id", "session_id", "user_agent"),
)

# Ids sort by time, and have an index.
ORDERS: Final = {
    "created_at": _C.id,
    "id": _C.id,
    **{
        name: KEYS[name].column
        for name in (
            *("provider", "model", "model_type", "success", "cached", "cost", "tokens", "tokens_in", "tokens_out"),
            *("duration", "status", "feedback", "score", "first_byte_ms", "request_type"),
        )
    },
}
"""By what a list may be ordered."""


def clauses_of(wanted: LogFilter, dialect: str) -> list[Clause]:
    """Return a filter as conditions of SQL, for ``sqlite`` or ``postgresql``. Raises `MalformedRequest`."""
    if len(wanted.conditions) > _MAX_CONDITIONS:
        raise MalformedRequest(f"filters: at most {_MAX_CONDITIONS} conditions can be asked for at once.")
    if sum(len(values) for _, operator, values in wanted.conditions if operator == "contains") > _MAX_CONTAINED:
        raise MalformedRequest(f"filters: at most {_MAX_CONTAINED} texts to be contained can be asked for at once.")
    clauses: list[Clause] = []
    if wanted.gateway is not None:
        clauses.append(_C.gateway == fit_text(wanted.gateway))
    clauses += [_clause(condition, dialect) for condition in wanted.conditions]
    search = fit_text(wanted.search).strip()
    if search:
        found = [_contains(_C[name], search) for name in _SEARCHED]
        clauses.append(or_(*found, _any_metadata(dialect, lambda key, value: _contains(value, search))))
    return clauses


def ordering(order: str, descending: bool) -> list[ColumnElement[Any]]:
    """Return an order of SQL: by a column and then by id, rows without a value last. Raises `MalformedRequest`."""
    column = ORDERS.get(order)
    if column is None:
        raise MalformedRequest(f"order_by: {order[:50]!r} is none of {', '.join(ORDERS)}.")
    by_id = _C.id.desc() if descending else _C.id.asc()
    if column is _C.id:
        return [by_id]
    return [(column.desc() if descending else column.asc()).nulls_last(), by_id]


def _clause(condition: Condition, dialect: str) -> Clause:
    key, operator, values = condition
    if isinstance(values, str) or len(values) > _MAX_VALUES:
        raise MalformedRequest(f"filters: {key[:50]!r} takes a list of at most {_MAX_VALUES} values.")
    if key.startswith(("metadata.", METADATA_PREFIX)):
        return _metadata_clause(key, operator, values, dialect)
    known = KEYS.get(key)
    if known is None:
        keys = ", ".join([*KEYS, "metadata.key", "metadata.value", f"{METADATA_PREFIX}NAME"])
        raise MalformedRequest(f"filters: {key[:50]!r} is none of {keys}.")
    _check_operator(key, operator, known.operators)
    try:
        read = [None if value is None else known.read(value) for value in values]
    except (ValueError, TypeError, OverflowError) as error:
        raise MalformedRequest(f"filters: {key!r} expects {known.expected}, or null.") from error
    return _compared(known.column, operator, read)


def _compared(column: ColumnElement[Any], operator: str, values: Sequence[Any]) -> Clause:
    given = [value for value in values if value is not None]
    is_null_meant = len(given) < len(values)
    match operator:
        case "eq":
            return or_(column.in_(given), column.is_(None)) if is_null_meant else column.in_(given)
        case "neq":
            unlike = column.not_in(given)
            return and_(unlike, column.is_not(None)) if is_null_meant else or_(unlike, column.is_(None))
        case "contains":
            return or_(false(), *(_contains(column, value) for value in given))
        case "lt":
            return column < max(given) if given else false()
        case "lte":
            return column <= max(given) if given else false()
        case "gte":
            return column >= min(given) if given else false()
        case _:
            return column > min(given) if given else false()


def _contains(column: ColumnElement[Any], value: str) -> Clause:
    if len(value) > _LONGEST_CONTAINED:
        raise MalformedRequest(f"filters: a text to be contained has at most {_LONGEST_CONTAINED} characters.")
    return column.icontains(value, autoescape=True)


def _metadata_clause(key: str, operator: str, values: Sequence[Any], dialect: str) -> Clause:
    if key not in ("metadata.key", "metadata.value") and not key.startswith(METADATA_PREFIX):
        raise MalformedRequest(
            f"filters: {key[:50]!r} is no key; expected metadata.key, metadata.value or {METADATA_PREFIX}NAME."
        )
    _check_operator(key, operator, ("eq", "neq", "contains"))
    given = [_metadata_text(key, value) for value in values]

    def matches(name: ColumnElement[Any], value: ColumnElement[Any]) -> Clause:
        column = name if key == "metadata.key" else value
        found = _compared(column, "eq" if operator == "neq" else operator, given)
        if key.startswith(METADATA_PREFIX):
            return and_(name == fit_text(key.removeprefix(METADATA_PREFIX)), found)
        return found

    found = _any_metadata(dialect, matches)
    return not_(found) if operator == "neq" else found


def _any_metadata(dialect: str, matches: Callable[[ColumnElement[Any], ColumnElement[Any]], Clause]) -> Clause:
    """Whether a row has a pair of metadata for which ``matches``, told its name and its value as a text, is true."""
    if dialect == "postgresql":
        pairs = func.json_each_text(_C.metadata).table_valued("key", "value", name="pairs")
        return exists(select(literal(1)).select_from(pairs).where(matches(pairs.c.key, pairs.c.value)))
    pairs = func.json_each(_C.metadata).table_valued("key", "value", "type", name="pairs")
    # SQLite reads true as 1.
    value = case((pairs.c.type.in_(("true", "false")), pairs.c.type), else_=cast(pairs.c.value, String))
    return exists(select(literal(1)).select_from(pairs).where(matches(pairs.c.key, value)))


def _metadata_text(key: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return fit_text(value)
        case _:
            raise MalformedRequest(f"filters: {key[:50]!r} expects texts, numbers, true or false.")


def _check_operator(key: str, operator: str, allowed: Sequence[str]) -> None:
    if operator not in allowed:
        raise MalformedRequest(f"filters: {key[:50]!r} knows {', '.join(allowed)}, not {str(operator)[:20]!r}.")
