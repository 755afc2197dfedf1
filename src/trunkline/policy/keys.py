"""How a gateway key is made, the same by the command and over the API, and by what it is found again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from trunkline.policy.registry import KEY_PREFIX, GatewayKey, Scope
from trunkline.policy.sessions import NO_LIMITS, SessionLimits

# Hexadecimal digits of a key's value, and of its id: what every header and sub-protocol can carry.
VALUE_DIGITS: Final = 48
ID_DIGITS: Final = 12
_LONGEST_NAME: Final = 200


def digest_of(value: str) -> bytes:
    """Return the digest under which a key of the gateway's own is kept and found.

    Whoever guesses can choose a value, not its digest: finding it by comparison tells nothing of another.
    """
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()


def new_key(
    digits: str,
    *,
    gateway: str,
    name: str,
    scopes: Iterable[Scope],
    models: Sequence[str],
    now: float,
    expires_at: float | None,
    limits: SessionLimits = NO_LIMITS,
) -> tuple[str, GatewayKey]:
    """Return a key's value, to be shown once, and what is kept of it.

    ``digits`` are random: `VALUE_DIGITS` for the value, then `ID_DIGITS` for the id.
    """
    value = KEY_PREFIX + digits[:VALUE_DIGITS]
    key = GatewayKey(
        id=f"key_{digits[VALUE_DIGITS : VALUE_DIGITS + ID_DIGITS]}",
        gateway=gateway,
        name=name.strip()[:_LONGEST_NAME] or "unnamed",
        digest=digest_of(value),
        hint=value[-4:],
        scopes=frozenset(scopes) or frozenset({Scope.RUN}),
        models=tuple(models),
        created_at=now,
        expires_at=expires_at,
        limits=limits,
    )
    return value, key
