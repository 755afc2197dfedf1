"""The cookies of the console: which browser asks, and nothing that a script could read."""

from __future__ import annotations

from typing import Literal


class Cookie:
    """One cookie by its name. ``secure``: browsers reach the gateway over TLS."""

    def __init__(self, name: str, *, secure: bool, same_site: Literal["Strict", "Lax"] = "Strict") -> None:
        # The prefix makes a browser refuse the cookie unless it was set over TLS, for this host alone.
        self.name = f"__Host-{name}" if secure else name
        self._attributes = f"; Path=/; HttpOnly; SameSite={same_site}{'; Secure' if secure else ''}"

    def read(self, header: str | None) -> str | None:
        """Return the value of a ``Cookie`` header, or None."""
        # Cookies of other programs on this host come along, and not all are well formed: only ours is looked at.
        for pair in (header or "").split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self.name and value:
                return value
        return None

    def set(self, value: str, *, seconds: int | None = None) -> str:
        """Return the ``Set-Cookie`` value that has the browser keep it: for so long, else until the browser ends."""
        return f"{self.name}={value}{self._attributes}" + ("" if seconds is None else f"; Max-Age={seconds}")

    def remove(self) -> str:
        """Return the ``Set-Cookie`` value that removes it."""
        return self.set("", seconds=0)
