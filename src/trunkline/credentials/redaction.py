"""How a secret may be shown: by its last characters to its owner, by a fingerprint to everybody else."""

from __future__ import annotations

import hashlib
import re
from typing import Final
from urllib.parse import parse_qsl, urlencode

# Whole words of a parameter's name: ``xi-api-key`` and ``X-Amz-Signature`` hold a secret, ``keywords`` does not.
_SECRET_WORDS: Final = frozenset(
    {"key", "apikey", "token", "secret", "signature", "sig", "credential", "password", "auth", "authorization"}
)
_WORD_BREAK: Final = re.compile(r"[^a-z0-9]+")


def tail(secret: str) -> str:
    """Return the last four characters of a secret, or nothing when that would be a good part of it."""
    return secret[-4:] if len(secret) >= 16 else ""


def fingerprint(secret: str) -> str:
    """Return a short digest by which two log lines can be seen to speak of the same secret."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def redact_query(query: str) -> str:
    """Return a query string with the values of parameters that carry secrets replaced."""
    if not query:
        return ""
    return urlencode(
        [
            (name, "[redacted]" if _names_a_secret(name) else value)
            for name, value in parse_qsl(query, keep_blank_values=True)
        ]
    )


def _names_a_secret(name: str) -> bool:
    return not _SECRET_WORDS.isdisjoint(_WORD_BREAK.split(name.lower()))
