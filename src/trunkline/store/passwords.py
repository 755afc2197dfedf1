"""Passwords as they are kept: argon2id hashes, with the parameters of RFC 9106's second recommendation."""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from trunkline.policy.accounts import normal_password

_hasher: Final = PasswordHasher()
# Of a password that nobody has: who has none, and names that nobody has, cost the same work to try.
_NOBODYS: Final = "$argon2id$v=19$m=65536,t=3,p=4$bm9ib2R5LW5vYm9keQ$x3a8m2c1nYbW0o5mE6d4m8q2r7t1u9v3w5y7z0A2C4E"


def hash_password(password: str) -> str:
    """Return what is kept of a password. Takes about 0.1 s and 64 MiB."""
    return _hasher.hash(normal_password(password))


def is_password(kept: str | None, password: str) -> bool:
    """Whether a password is the one of which a hash is kept. Takes as long where there is none."""
    try:
        return _hasher.verify(kept or _NOBODYS, normal_password(password)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str) -> bool:
    """Whether a hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(kept)
