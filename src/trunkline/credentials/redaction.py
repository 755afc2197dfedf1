"""How a secret may be shown: by its last characters to its owner, by a fingerprint to everybody else."""

from __future__ import annotations

import hashlib
from typing import Final
from urllib.parse import parse_qsl, urlencode

_SECRET_PARAMETERS: Final = frozenset({"key", "api_key", "apikey", "access_token", "token", "signature", "sig"})


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
            (name, "[redacted]" if name.lower() in _SECRET_PARAMETERS else value)
            for name, value in parse_qsl(query, keep_blank_values=True)
        ]
    )
