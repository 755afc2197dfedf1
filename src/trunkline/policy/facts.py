"""What is known of a request before it is sent on: what rules of all kinds are judged by."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trunkline.policy.usage.request import Kind

Tag = str | int | float | bool


class Facts(msgspec.Struct, frozen=True):
    """One request to one provider. ``key`` is the id of the gateway key behind the caller, or empty.

    ``user`` is the end user that the request names, ``path`` what follows the provider. ``tokens_in`` and
    ``tokens_out`` are estimates, of which the second is the most that was asked for.
    """

    gateway: str
    provider: str
    model: str
    kind: Kind = "other"
    path: str = ""
    stream: bool = False
    key: str = ""
    user: str = ""
    metadata: Mapping[str, Tag] = {}
    tokens_in: int = 0
    tokens_out: int = 0
