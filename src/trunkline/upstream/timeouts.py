"""How long a provider may take."""

from __future__ import annotations

import msgspec


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to connect (DNS, TCP, proxy and TLS together), to the first byte of an answer, between bytes."""

    connect: float = 10.0
    first_byte: float = 300.0
    idle: float = 300.0
