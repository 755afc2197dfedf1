"""Upstream addresses."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """A scheme (``http`` or ``https``), host and port: what a connection belongs to.

    ``public_only``: a stranger chose the host, so that it is connected to at addresses that everybody can reach, and at
    no other, whatever its name leads to.
    """

    scheme: str
    host: str
    port: int
    public_only: bool = False

    @property
    def is_secure(self) -> bool:
        """Whether the connection is TLS."""
        return self.scheme == "https"

    @property
    def netloc(self) -> str:
        """Return host and port as the ``Host`` header has them: without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse(url: str, *, public_only: bool = False) -> tuple[Origin, str]:
    """Split a URL into its origin and path; ``ws`` and ``wss`` are ``http`` and ``https``."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    port = parts.port or (443 if scheme == "https" else 80)
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode()
    return Origin(scheme, host, port, public_only), parts.path or "/"
