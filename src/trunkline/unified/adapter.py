"""What stands between a client that speaks one API and a provider that speaks another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Headers = list[tuple[bytes, bytes]]


class Adapter(Protocol):
    """One exchange. What goes to the provider is there from the start; what comes back is fed as it comes.

    ``path`` follows the provider in a path of the gateway, query included; ``body`` is the provider's own request.
    ``headers`` of the request, in lower case, take the place of the client's of the same names: a version that the
    provider wants named, and ``accept-encoding: identity`` where the answer is read here.
    """

    path: str
    body: bytes
    headers: Headers

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, Headers]:
        """Take the head of the provider's answer; return that of the client's."""

    def feed(self, chunk: bytes) -> bytes:
        """Take some bytes of the provider's answer; return what can be said of it in the client's words by now."""

    def finish(self) -> bytes:
        """Return the rest, at the end of the provider's answer. Raises `UpstreamBroken` for one that cannot be told."""
