"""How often a provider is asked before the answer is that it has none, and which of several keys is shown."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Backoff = Literal["constant", "linear", "exponential"]


class Member(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One of several places for the same work: a stored key by its alias, or another provider with its own."""

    alias: str = "default"
    provider: str = ""
    model: str = ""
    weight: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0


class Pool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who shares the requests for ``provider``, for models that fit ``model``."""

    provider: str
    model: str = "*"
    strategy: Literal["weighted", "least-busy", "latency"] = "weighted"
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=100)]


class AttemptRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A gateway's tries. ``delay`` and ``timeout`` are milliseconds; a timeout ends with the first byte, 0 is none.

    ``hedge`` is after how many milliseconds without a first byte the same is asked a second time, 0 is never.
    ``breaker`` is after how many failures in a row a provider rests, 0 is never, and ``rest`` for how many seconds.
    """

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    delay: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    backoff: Backoff = "constant"
    timeout: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 0
    hedge: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    breaker: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    rest: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 30
    pools: tuple[Pool, ...] = ()
