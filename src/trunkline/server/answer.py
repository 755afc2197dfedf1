"""An answer on its way to a client, wherever it comes from; and a request, as all that judges it sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from trunkline.errors import UpstreamError
from trunkline.policy.facts import Facts
from trunkline.server.admission import Admission
from trunkline.server.logbook import Entry
from trunkline.wire.head import Head


class Answer(msgspec.Struct):
    """``headers`` are the provider's or what was made of them, ``told`` what the gateway says besides.

    ``body`` is iterated once; `aclose` gives up whatever is left of it, and may be called again. A stage that changes
    an answer replaces its fields and calls the `aclose` that was there.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]
    told: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)

    def header(self, name: bytes) -> str:
        """Return the value of a header, whose name is in lower case, or nothing."""
        return next((value.decode("latin-1") for found, value in self.headers if found.lower() == name), "")

    async def whole(self, most: int) -> bytes:
        """Return the body in one piece, of at most so many bytes. Raises `UpstreamError` for one that is larger."""
        body = bytearray()
        async for piece in self.body:
            body += piece
            if len(body) > most:
                raise UpstreamError(
                    f"The answer is larger than the {most // 2**20} MiB that can be given in this form."
                )
        return bytes(body)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to one provider, whole. ``head`` and ``body`` are in the provider's own form."""

    head: Head
    admission: Admission
    body: bytes = field(repr=False)
    facts: Facts
    entry: Entry
