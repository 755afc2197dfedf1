"""What may be used of a gateway, by whom, in which time."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Measure = Literal["requests", "tokens", "cost", "concurrent", "minutes"]
Technique = Literal["fixed", "sliding"]


class LimitRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """So much of a measure within a time, for everybody together or for each of some.

    ``cost`` is in US dollars, ``minutes`` are those of realtime sessions. ``window`` is seconds; a fixed one is aligned
    to the clock, a sliding one is the last so many seconds. ``concurrent`` has no window. ``per`` names what has a
    count of its own: ``key``, ``user``, ``provider``, ``model`` or ``metadata.NAME``; ``where`` says which exchanges
    count, by the same names and patterns of values. ``warn_at`` is the part of the limit from which on ``webhook`` is
    told.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    measure: Measure
    limit: Annotated[float, msgspec.Meta(ge=0, le=1e15)]
    window: Annotated[int, msgspec.Meta(ge=1, le=31_622_400)] = 60
    technique: Technique = "fixed"
    per: tuple[Annotated[str, msgspec.Meta(max_length=120)], ...] = ()
    where: dict[str, tuple[str, ...]] = {}
    warn_at: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    webhook: Annotated[str, msgspec.Meta(max_length=500)] = ""
    enabled: bool = True
