"""What one cell sends: the request itself, and the same with every secret replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from trunkline import __version__
from trunkline.credentials.matrix import Presentation, Secret, Way
from trunkline.credentials.placements import Carrier
from trunkline.probe.cell import SOCKETS
from trunkline.probe.keys import Secrets, placeholder
from trunkline.probe.target import Target
from trunkline.upstream.address import Origin

_ANTHROPIC_VERSION: Final = "2023-06-01"
_PROMPT: Final = "Answer with one word."


@dataclass(frozen=True, slots=True)
class Question:
    """A request ready to be sent, and ``shown``: the same for everybody's eyes, one header a line."""

    way: Way
    method: bytes
    origin: Origin
    target: bytes = field(repr=False)
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    subprotocols: list[str] = field(repr=False)
    body: bytes | None
    shown: str


def question(row: Presentation, way: Way, target: Target, secrets: Secrets, *, allow_billable: bool) -> Question:
    """Return what a row sends on a transport.

    Over HTTP that is the list of models. A stream is asked for with no message in it, which an API refuses after it has
    looked at the key; only with ``allow_billable`` is it a real one, of a single token.
    """
    address = target.address(way)
    assert address is not None, "a planned cell has an address"
    body = _body(target, allow_billable=allow_billable) if way is Way.SSE else ""
    method = "POST" if body else "GET"
    fixed = _fixed_headers(target, body)
    sent = _written(row, way, address, secrets.value)
    shown = _written(row, way, address, placeholder)
    return Question(
        way=way,
        method=method.encode(),
        origin=target.origin,
        target=_request_target(sent.address),
        headers=[(name.encode(), value.encode()) for name, value in [*sent.headers, *fixed]],
        subprotocols=sent.subprotocols,
        body=body.encode() or None,
        shown=_for_people(method, shown, fixed, body),
    )


@dataclass(frozen=True, slots=True)
class _Written:
    """A row put into a request: with its secrets, or with what stands for them."""

    address: str = field(repr=False)
    headers: list[tuple[str, str]] = field(repr=False)
    subprotocols: list[str] = field(repr=False)


def _written(row: Presentation, way: Way, address: str, value: Callable[[Secret], str]) -> _Written:
    headers: list[tuple[str, str]] = []
    subprotocols = list(row.subprotocols) if way in SOCKETS else []
    for one in row.shown:
        name, text = one.placement.name, one.text(value(one.secret))
        subprotocols += one.subprotocols(value(one.secret))
        match one.placement.carrier:
            case Carrier.HEADER:
                headers.append((name, text))
            case Carrier.QUERY:
                # What stands for a secret keeps its brackets; no key has any.
                address += f"{'&' if '?' in address else '?'}{name}={quote(text, safe='[] ')}"
    return _Written(address, headers, subprotocols)


def _fixed_headers(target: Target, body: str) -> list[tuple[str, str]]:
    headers = [("user-agent", f"trunkline-probe/{__version__}")]
    if target.described.dialect == "anthropic":
        headers.append(("anthropic-version", _ANTHROPIC_VERSION))
    if body:
        headers.append(("content-type", "application/json"))
    return headers


def _body(target: Target, *, allow_billable: bool) -> str:
    content: dict[str, Any]
    if target.described.dialect == "google":
        contents = [{"role": "user", "parts": [{"text": _PROMPT}]}] if allow_billable else []
        content = {"contents": contents, "generationConfig": {"maxOutputTokens": 1}}
    else:
        messages = [{"role": "user", "content": _PROMPT}] if allow_billable else []
        content = {"model": target.model, "messages": messages, "max_tokens": 1, "stream": True}
    return json.dumps(content)


def _request_target(address: str) -> bytes:
    parts = urlsplit(address)
    return f"{parts.path}{'?' if parts.query else ''}{parts.query}".encode("ascii")


def _for_people(method: str, shown: _Written, fixed: list[tuple[str, str]], body: str) -> str:
    lines = [f"{method} {shown.address}", *(f"{name}: {text}" for name, text in [*shown.headers, *fixed])]
    if shown.subprotocols:
        lines.append(f"sec-websocket-protocol: {', '.join(shown.subprotocols)}")
    return "\n".join([*lines, "", body] if body else lines)
