"""Console sessions: what the person at the console typed in, kept in this process for an HttpOnly cookie.

Keys live here in memory only: they are never written to disk, and the browser gets their last characters back.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from trunkline.server.cookies import Cookie
from trunkline.wire.head import Head

IDLE_SECONDS: Final = 12 * 3600
MAX_SESSIONS: Final = 1000


@dataclass
class ConsoleSession:
    """The settings and keys of one browser."""

    account_id: str
    gateway_id: str
    provider: str = "local"
    model: str = "local"
    realtime_model: str = "local"
    use_authenticated_gateway: bool = False
    provider_keys: dict[str, str] = field(default_factory=dict, repr=False)
    gateway_token: str = field(default="", repr=False)


class Sessions:
    """All live sessions, found by the digest of their cookie."""

    def __init__(self, account: str, gateway: str, *, secure: bool) -> None:
        self._account = account
        self._gateway = gateway
        self._entries: OrderedDict[bytes, tuple[float, ConsoleSession]] = OrderedDict()
        self.cookie = Cookie("trunkline_session", secure=secure)

    def fresh(self) -> ConsoleSession:
        """Return the settings of a browser that has typed nothing yet."""
        return ConsoleSession(self._account, self._gateway)

    def find(self, head: Head) -> ConsoleSession | None:
        """Return the live session of a request's cookie, or None."""
        return self.find_by_cookie(head.header(b"cookie"))

    def find_by_cookie(self, header: str | None) -> ConsoleSession | None:
        """As `find`, from the value of a ``Cookie`` header."""
        token = self.cookie.read(header)
        if token is None:
            return None
        digest = _digest(token)
        entry = self._entries.get(digest)
        if entry is None:
            return None
        touched, session = entry
        now = time.monotonic()
        if now - touched > IDLE_SECONDS:
            del self._entries[digest]
            return None
        self._entries[digest] = (now, session)
        self._entries.move_to_end(digest)
        return session

    def open(self, session: ConsoleSession) -> str:
        """Keep a session; return the ``Set-Cookie`` value that leads back to it."""
        token = secrets.token_urlsafe(32)
        self._entries[_digest(token)] = (time.monotonic(), session)
        while len(self._entries) > MAX_SESSIONS:
            self._entries.popitem(last=False)
        return self.cookie.set(token)

    def close(self, header: str | None) -> str:
        """Forget the session of a ``Cookie`` header; return the ``Set-Cookie`` value that removes the cookie."""
        token = self.cookie.read(header)
        if token is not None:
            self._entries.pop(_digest(token), None)
        return self.cookie.remove()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
