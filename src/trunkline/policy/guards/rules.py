"""The rules of a gateway's checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Side = Literal["request", "response"]
Action = Literal["flag", "block"]


class GuardRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One check. ``check`` names its kind, ``options`` are that kind's own.

    Flagged exchanges go on, and say so in their row of the log and in ``cf-aig-dlp``; blocked ones end.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    check: Literal["secrets", "personal", "injection", "topics", "judge"]
    action: Action = "block"
    sides: tuple[Side, ...] = ("request", "response")
    options: dict[str, Any] = {}
    enabled: bool = True
