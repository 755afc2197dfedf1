"""Sub-protocols of a WebSocket handshake: which carry a secret, and which one to select."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

# Prefixes after which a sub-protocol carries a credential.
SECRET_PREFIXES: Final = (
    "cf-aig-authorization.",
    "openai-insecure-api-key.",
    "xi-api-key.",
    "fal-api-key.",
    "xai-client-secret.",
)

# Names that ask for the retired dialect of OpenAI's Realtime API.
BETA_MARKER: Final = "openai-beta.realtime-v1"

_PREFERRED: Final = ("realtime", BETA_MARKER)


# RFC 9110 section 5.6.2: what a token is made of; a sub-protocol is one.
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def is_token(value: str) -> bool:
    """Whether a value can be a sub-protocol, or the end of one."""
    return _TOKEN.fullmatch(value) is not None


def carries_secret(subprotocol: str) -> bool:
    """Whether a sub-protocol carries a credential."""
    return subprotocol.lower().startswith(SECRET_PREFIXES)


def select(offered: Sequence[str]) -> str | None:
    """Choose the sub-protocol to answer with.

    Browsers and ``ws`` drop a connection that offered some and was given none, so one is always chosen when any is
    offered. One that carries a secret is echoed only where there is nothing else: it goes back to the party that
    sent it.
    """
    for name in _PREFERRED:
        if name in offered:
            return name
    return next((name for name in offered if not carries_secret(name)), offered[0] if offered else None)


def without_secrets(offered: Sequence[str]) -> list[str]:
    """Return the sub-protocols as they may be logged: a secret's place keeps its name and loses its value."""
    return [name.partition(".")[0] + ".[redacted]" if carries_secret(name) else name for name in offered]
