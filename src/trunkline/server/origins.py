"""Which hosts and web pages may speak to the gateway.

A gateway without authentication trusts the machine it runs on, and a browser on that machine runs pages of strangers.
Two checks keep those out: the ``Host`` must be a name of this gateway (a page that points its own name at 127.0.0.1
would otherwise count as same-origin), and an ``Origin`` must be the gateway's own or on the allow-list. Where a browser
sends none, it may say itself that another site's page makes it ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

from trunkline.errors import ForbiddenOrigin
from trunkline.settings import Settings, is_loopback_host
from trunkline.wire.head import Head

_ANY: Final = "*"
_PREFLIGHT_SECONDS: Final = b"600"


class Origins:
    """The host and origin rules of one gateway."""

    def __init__(self, settings: Settings) -> None:
        self._authenticated = settings.authenticated
        self._loopback = settings.is_loopback
        self._hosts = frozenset(name.lower() for name in (settings.host, *settings.allowed_hosts))
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.allowed_origins)

    def check(self, head: Head, listed: Sequence[str] = ()) -> None:
        """Raise `ForbiddenOrigin` unless the head names this gateway and comes from where it may.

        ``listed`` is as in `check_origin`.
        """
        self.check_host(head)
        self.check_origin(head, listed)

    def check_origin(self, head: Head, listed: Sequence[str] = ()) -> None:
        """Raise `ForbiddenOrigin` unless a head, whose host was checked, comes from a page that may ask, or from none.

        ``listed`` is the list of one gateway: when it has one, no other origin may call it but the console's.
        """
        origin = head.header(b"origin")
        if origin is None:
            self._check_unnamed(head, listed)
        elif not self._allowed(origin, head, listed):
            raise ForbiddenOrigin(
                f"The gateway does not serve pages of {origin[:200]}. To allow them, add that origin to"
                " allowed_origins (TRUNKLINE_ALLOWED_ORIGINS), or to the list of this gateway"
                " (`trunkline gateways set NAME --origins ...`)."
            )

    def _check_unnamed(self, head: Head, listed: Sequence[str]) -> None:
        """Raise `ForbiddenOrigin` for what a page of a stranger has its browser fetch without saying whose page it is.

        Pictures, scripts and links are asked for so. The page cannot read the answer, but a key would be spent on it.
        """
        if head.header(b"sec-fetch-site") == "cross-site" and _ANY not in (listed or self._origins):
            raise ForbiddenOrigin(
                "The gateway does not serve what a page of another site refers to without naming itself. A page that"
                " may call it asks by script, or with the attribute crossorigin, so that its browser sends Origin."
            )

    def check_host(self, head: Head) -> None:
        """Raise `ForbiddenOrigin` unless the head names this gateway."""
        if self._authenticated:
            return
        host, is_loopback = _host_named(head.header(b"host") or "")
        if not host or is_loopback or host in self._hosts or _ANY in self._hosts:
            return
        raise ForbiddenOrigin(
            f"The gateway is not known by the name {host[:200]}. To serve it there, add the name to allowed_hosts"
            " (TRUNKLINE_ALLOWED_HOSTS)."
        )

    def same_origin(self, head: Head) -> bool:
        """Whether a browser says that the request comes from a page of this very host and port."""
        origin = head.header(b"origin")
        if origin is not None:
            parts = _parts(origin)
            return parts is not None and parts.netloc.lower() == (head.header(b"host") or "").lower()
        # Browsers send no Origin with a same-origin GET; they then say so in Sec-Fetch-Site.
        return head.header(b"sec-fetch-site") in ("same-origin", "none")

    def cors_headers(self, head: Head) -> list[tuple[bytes, bytes]]:
        """Return the headers that let the asking page read the answer; empty for same-origin and non-browsers."""
        origin = head.header(b"origin")
        if origin is None or self.same_origin(head):
            return []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", b"*"),
            (b"vary", b"origin"),
        ]

    def preflight_headers(self, head: Head) -> list[tuple[bytes, bytes]] | None:
        """Return the answer to a CORS preflight, or None when the head is none."""
        if head.method != "OPTIONS":
            return None
        method = head.header(b"access-control-request-method")
        if method is None or head.header(b"origin") is None:
            return None
        wanted = head.header(b"access-control-request-headers") or ""
        return [
            *self.cors_headers(head),
            (b"access-control-allow-methods", method.encode("latin-1")),
            (b"access-control-allow-headers", wanted.encode("latin-1")),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]

    def _allowed(self, origin: str, head: Head, listed: Sequence[str]) -> bool:
        given = origin.lower().rstrip("/")
        if self.same_origin(head):
            return True
        if listed:
            return _ANY in listed or given in listed
        if _ANY in self._origins or given in self._origins:
            return True
        # An app under development on this machine: whoever runs it could call the gateway without a browser.
        parts = _parts(origin)
        return self._loopback and parts is not None and is_loopback_host(parts.hostname or "")


def _parts(origin: str) -> SplitResult | None:
    """Split an origin; None when it is none, as anybody may write into the header."""
    try:
        return urlsplit(origin)
    except ValueError:
        return None


@lru_cache(maxsize=64)  # one or two, unless somebody tries names
def _host_named(host: str) -> tuple[str, bool]:
    """``[::1]:8787`` -> ``::1``, ``Localhost:8787`` -> ``localhost``; and whether that always means this machine."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        name = host.lower()
    return name, is_loopback_host(name)
