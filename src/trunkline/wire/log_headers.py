"""What a request says of its own log row: whether to keep it, under which name, and with which tags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from trunkline.wire.head import Head, once

LOG_ID_HEADER: Final = b"cf-aig-log-id"
EVENT_ID_HEADER: Final = b"cf-aig-event-id"

_COLLECT: Final = b"cf-aig-collect-log"
_COLLECT_PAYLOAD: Final = b"cf-aig-collect-log-payload"
_METADATA: Final = b"cf-aig-metadata"
READ_HERE: Final = (EVENT_ID_HEADER, _COLLECT, _COLLECT_PAYLOAD, _METADATA)

MAX_TAGS: Final = 5
_MAX_METADATA: Final = 8192
_MAX_NAME: Final = 100
_MAX_VALUE: Final = 1000
_MAX_EVENT_ID: Final = 200
# Metadata of these names is the gateway's own to write.
_RESERVED: Final = "cf."

_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})

Tag = str | int | float | bool


class LoggingWish(NamedTuple):
    """What the caller asks for. ``collect`` is None where the gateway's own switch counts."""

    collect: bool | None = None
    payloads: bool = True


@once
def logging_wish(head: Head) -> LoggingWish:
    """Read ``cf-aig-collect-log`` and ``cf-aig-collect-log-payload``; a value that is no boolean counts as absent."""
    collect, payloads = (_boolean(head, name) for name in (_COLLECT, _COLLECT_PAYLOAD))
    return LoggingWish(collect, payloads is not False and collect is not False)


@once
def metadata_of(head: Head) -> Mapping[str, Tag]:
    """Return the tags of ``cf-aig-metadata``: the first five that are not reserved.

    A header that is no flat JSON object of strings, numbers and booleans is ignored as a whole, as with Cloudflare.
    Long names and values are cut.
    """
    given = head.header(_METADATA)
    if not given or len(given) > _MAX_METADATA:
        return {}
    try:
        # Headers are latin-1 by the letter of HTTP; clients write UTF-8 into them.
        told: Any = json.loads(given.encode("latin-1"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(told, dict) or not all(isinstance(value, Tag) for value in told.values()):
        return {}
    tags = ((name, value) for name, value in told.items() if not name.lower().startswith(_RESERVED))
    return {_characters(name, _MAX_NAME): _kept(value) for (name, value), _ in zip(tags, range(MAX_TAGS), strict=False)}


@once
def ignored_headers(head: Head) -> Sequence[str]:
    """Return the names of the headers read here whose values cannot be used, and so count as absent."""
    ignored = [
        name.decode()
        for name in (_COLLECT, _COLLECT_PAYLOAD)
        if head.header(name) is not None and _boolean(head, name) is None
    ]
    told = (head.header(_METADATA) or "").strip()
    if told and told != "{}" and not metadata_of(head):
        ignored.append(_METADATA.decode())
    if head.header(EVENT_ID_HEADER) and not event_id_of(head):
        ignored.append(EVENT_ID_HEADER.decode())
    return ignored


@once
def event_id_of(head: Head) -> str:
    """Return the id by which the caller wants to find the exchange again, or nothing."""
    given = (head.header(EVENT_ID_HEADER) or "").strip()
    return given[:_MAX_EVENT_ID] if given.isascii() and given.isprintable() else ""


def _boolean(head: Head, name: bytes) -> bool | None:
    value = (head.header(name) or "").strip().lower()
    return True if value in _TRUE else False if value in _FALSE else None


def _kept(value: Tag) -> Tag:
    if isinstance(value, str):
        return _characters(value, _MAX_VALUE)
    # Beyond this a number is no column of any database, and no double.
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)[:_MAX_NAME]
    return value


def _characters(text: str, length: int) -> str:
    """Return a text that a database takes: cut, without NUL and without halves of characters."""
    return text[:length].replace("\0", "").encode(errors="replace").decode()


def _no_number(word: str) -> Any:
    raise ValueError(word)
