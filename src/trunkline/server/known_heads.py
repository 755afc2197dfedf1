"""Heads that came before, known again by their bytes.

A client's requests mostly differ in their bodies alone. What a parser has read from one head holds for the same bytes
again; only the digits of the content-length may be others, by which the body is told from what comes behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from trunkline.server.asgi import ServeWhole

_LENGTHS: Final = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
_MOST_DIGITS: Final = 12
# Whoever frames a body or asks for something before it is the parser's to judge each time.
_NEVER_KNOWN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
# So many heads are remembered, of so many bytes at most: anybody may send some.
_MOST: Final = 1024
_LONGEST: Final = 8192
# While there is no room, one of so many newcomers takes the place of the oldest. If each did, more heads in turn than
# fit would all be forgotten just before they come again.
_ONE_OF: Final = 16


class Cut(NamedTuple):
    """A request whose head is all there, cut at the digits of its content-length; ``body`` is what there is of it."""

    before: bytes
    digits: bytes
    after: bytes
    body: bytes


def cut(data: bytes) -> Cut | None:
    """Return bytes that begin with a request cut at its content-length, or None where that cannot be found at once."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    for name in _LENGTHS:
        at = data.find(name, 0, end)
        if at >= 0:
            break
    else:
        return None
    at += len(name)
    stop = data.find(b"\r\n", at)
    digits = data[at:stop]
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return None
    return Cut(data[:at], digits, data[stop:end], data[end + 4 :])


class KnownHead(NamedTuple):
    """What heads of the same bytes have in common.

    ``scope`` is what their ASGI scopes share besides the headers, which are those ``before`` and ``after`` the
    content-length. In ``memo`` is kept what was worked out from such a head (`trunkline.wire.head.Head.memo`).
    """

    scope: Any
    before: list[tuple[bytes, bytes]]
    after: list[tuple[bytes, bytes]]
    memo: dict[object, Any]

    def headers(self, digits: bytes) -> list[tuple[bytes, bytes]]:
        """Return the headers of one of them, with its content-length."""
        return [*self.before, (b"content-length", digits), *self.after]


class KnownHeads:
    """Remembers heads. Requests with such a head are given to ``serve`` once they are whole, if there is one."""

    def __init__(self, serve: ServeWhole | None = None) -> None:
        self.serve = serve
        self._heads: dict[tuple[bytes, bytes], KnownHead] = {}
        self._turned_away = 0

    def find(self, found: Cut) -> KnownHead | None:
        """Return what is known of a head, if it came before."""
        return self._heads.get((found.before, found.after))

    def learn(self, found: Cut, scope: Mapping[str, Any]) -> KnownHead | None:
        """Take note of a head and of what a parser made of it; return it, unless it cannot be known by its bytes."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        names = [name for name, _ in headers]
        if names.count(b"content-length") != 1 or not _NEVER_KNOWN.isdisjoint(names):
            return None
        at = names.index(b"content-length")
        if headers[at][1] != found.digits or len(found.before) + len(found.after) > _LONGEST or not self._has_room():
            return None
        shared = {name: scope[name] for name in ("type", "asgi", "http_version", "method", "root_path")}
        shared |= {name: scope[name] for name in ("path", "raw_path", "query_string")}
        known = self._heads[found.before, found.after] = KnownHead(shared, headers[:at], headers[at + 1 :], {})
        return known

    def forget(self) -> None:
        """Forget all of it, when it counts no more: each memo would keep the whole set-up as it was."""
        self._heads.clear()

    def _has_room(self) -> bool:
        if len(self._heads) >= _MOST:
            self._turned_away = (self._turned_away + 1) % _ONE_OF
            if self._turned_away:
                return False
            del self._heads[next(iter(self._heads))]
        return True
