"""Which answers a gateway keeps to give again."""

from __future__ import annotations

from typing import Annotated

import msgspec

SHORTEST_TTL = 60
LONGEST_TTL = 2_592_000


class CacheRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A gateway's cache. ``ttl`` is seconds, 0 keeps nothing unless a request asks for it.

    ``max_bytes`` is the largest answer that is kept. ``invalidate_on_update``: a change of the gateway empties its
    cache. ``semantic`` is how alike two questions must be to have the same answer (cosine, 0 to 1); 0 is never.
    """

    ttl: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_TTL)] = 0
    max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=25 * 1024 * 1024)] = 10 * 1024 * 1024
    invalidate_on_update: bool = False
    semantic: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
