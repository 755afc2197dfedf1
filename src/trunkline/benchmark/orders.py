"""What the load is told and what it answers: one line of JSON each, between two processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """What one request in turn has besides: headers, another model, further fields of the body."""

    headers: dict[str, str] = {}
    model: str = ""
    extra: dict[str, Any] = {}


class Ask(msgspec.Struct, frozen=True):
    """How a gateway wants to be asked for a kind of workload; ``extra`` are further fields of the body.

    ``usage`` says whether its answers have the usage that the upstream states. Requests take ``turns``, one after the
    other. They are answered with ``status``; only what a 200 says is looked at.
    """

    path: str
    headers: dict[str, str] = {}
    model: str = ""
    extra: dict[str, Any] = {}
    usage: bool = True
    turns: list[Turn] = []
    status: int = 200


class Order(msgspec.Struct, frozen=True):
    """One run of the load.

    ``rate`` is requests a second that come whether or not earlier ones are answered; without it each connection asks
    as soon as it has its answer. ``warm`` seconds come before, and are not counted.
    """

    port: int
    workload: str
    ask: Ask
    seconds: float
    warm: float
    rate: float | None = None


class Latency(msgspec.Struct, frozen=True):
    """Microseconds that half, 99 of 100 and 999 of 1000 took at most."""

    p50: float
    p99: float
    p999: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency | None:
        """Return those of times in seconds; None of none."""
        if not seconds:
            return None
        ordered = sorted(seconds)
        last = len(ordered) - 1
        p50, p99, p999 = (round(ordered[round(last * share)] * 1e6, 1) for share in (0.5, 0.99, 0.999))
        return cls(p50, p99, p999)


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run.

    ``count`` requests, chunks or messages were right, ``in_time`` of them within the ``seconds``; ``failures`` were
    not, ``why`` says of some what was wrong. ``latency`` is that of requests with a rate, from when they were due; of
    chunks from the upstream's writing to the client's reading; of realtime messages there and back.
    """

    count: int
    in_time: int
    seconds: float
    failures: int
    why: list[str]
    latency: Latency | None
