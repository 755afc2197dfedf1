"""Who may use the embedded provider: one key, shown exactly once, as OpenAI demands it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from typing import Final

from trunkline.local.api.problems import Problem
from trunkline.local.codes import ProblemCode

SECRET_SECONDS: Final = 600
_MAX_SECRETS: Final = 10_000
_KEY_PROTOCOL: Final = "openai-insecure-api-key."


class Keys:
    """Checks credentials, and mints the short-lived secrets with which a browser opens one realtime session."""

    def __init__(self, required: str | None) -> None:
        """Without a ``required`` key everyone is welcome, but a key sent twice is still refused."""
        self._required = None if required is None else _digest(required)
        self._secrets: dict[bytes, float] = {}

    def mint(self, seconds: int) -> tuple[str, int]:
        """Return a new ephemeral secret and the Unix time at which it expires."""
        now = time.time()
        self._secrets = {digest: expiry for digest, expiry in self._secrets.items() if expiry > now}
        if len(self._secrets) >= _MAX_SECRETS:
            raise Problem(429, "Too many client secrets are open.", code="rate_limit_exceeded", retry_after=60)
        secret = f"ek_{secrets.token_hex(16)}"
        expiry = int(now) + seconds
        self._secrets[_digest(secret)] = expiry
        return secret, expiry

    def check(
        self, headers: Sequence[tuple[bytes, bytes]], subprotocols: Sequence[str] = (), *, realtime: bool = False
    ) -> None:
        """Raise `Problem` unless the request shows the key, once. Ephemeral secrets are good for ``realtime`` only."""
        shown = [_bearer(value.decode("latin-1")) for name, value in headers if name.lower() == b"authorization"]
        shown += [name.removeprefix(_KEY_PROTOCOL) for name in subprotocols if name.startswith(_KEY_PROTOCOL)]
        if len(shown) > 1:
            raise _refusal("The request shows an API key in more than one place; send it once.", "duplicate_api_key")
        if self._required is None:
            return
        if not shown or not shown[0]:
            raise _refusal(
                "No API key was sent. Send it as 'Authorization: Bearer KEY', or from a browser's WebSocket as the"
                f" sub-protocol '{_KEY_PROTOCOL}KEY'.",
                "missing_api_key",
            )
        if not self._is_good(shown[0], realtime):
            raise _refusal("The API key is not the one this provider was started with.", "invalid_api_key")

    def _is_good(self, key: str, realtime: bool) -> bool:
        digest = _digest(key)
        if realtime and self._secrets.get(digest, 0) > time.time():
            return True
        return self._required is not None and hmac.compare_digest(digest, self._required)


def _bearer(value: str) -> str:
    scheme, _, key = value.strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _refusal(message: str, code: ProblemCode) -> Problem:
    return Problem(401, message, code=code, close_code=3000)
