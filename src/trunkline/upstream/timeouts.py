"""How long a provider may take."""

from __future__ import annotations

import msgspec


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to connect (DNS, TCP, proxy and TLS together), to the beginning of an answer, between its bytes.

    An answer has begun when its head is whole: neither pieces of it nor interim answers (1xx) give it more time.
    """

    connect: float = 10.0
    first_byte: float = 300.0
    idle: float = 300.0
