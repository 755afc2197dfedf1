"""How long a provider may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect (DNS, TCP, proxy and TLS together), to the first byte of an answer, between bytes."""

    connect: float = 10.0
    first_byte: float = 300.0
    idle: float = 300.0
