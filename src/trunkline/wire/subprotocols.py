"""Sub-protocols of a WebSocket handshake: which carry a secret, and which one to select."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

# Prefixes after which a sub-protocol carries a credential.
SECRET_PREFIXES: Final = (
    "cf-aig-authorization.",
    "openai-insecure-api-key.",
    "xi-api-key.",
    "fal-api-key.",
    "xai-client-secret.",
)

# A page that cannot set ``Authorization: Token KEY`` offers ``token, KEY``: the scheme, then the credential by itself.
SCHEMES: Final = ("token", "bearer")

# Names that ask for the retired dialect of OpenAI's Realtime API.
BETA_MARKER: Final = "openai-beta.realtime-v1"

_PREFERRED: Final = ("realtime", BETA_MARKER)
# What OpenAI's clients offer besides keys begins so; behind a scheme, too, it is no key.
_NO_KEY_PREFIX: Final = "openai-"


# RFC 9110 section 5.6.2: what a token is made of; a sub-protocol is one.
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def is_token(value: str) -> bool:
    """Whether a value can be a sub-protocol, or the end of one."""
    return _TOKEN.fullmatch(value) is not None


def carries_secret(subprotocol: str) -> bool:
    """Whether a sub-protocol carries a credential by itself."""
    return subprotocol.lower().startswith(SECRET_PREFIXES)


def values_behind(scheme: str, offered: Sequence[str]) -> Iterator[str]:
    """Yield the credentials that are offered behind a scheme, each as a sub-protocol of its own."""
    for before, value in pairwise(offered):
        if before.lower() == scheme and _may_be_key(value):
            yield value


def without_credentials(offered: Sequence[str]) -> list[str]:
    """Return the sub-protocols that may go on to somebody else: no credential, and no scheme that stood before one."""
    places = _places_of_secrets(offered)
    schemes = {place - 1 for place in places if not carries_secret(offered[place])}
    return [name for place, name in enumerate(offered) if place not in places | schemes]


def select(offered: Sequence[str]) -> str | None:
    """Choose the sub-protocol to answer with.

    Browsers and ``ws`` drop a connection that offered some and was given none, so one is always chosen when any is
    offered. One that carries a secret is echoed only where there is nothing else: it goes back to the party that
    sent it.
    """
    for name in _PREFERRED:
        if name in offered:
            return name
    secret = _places_of_secrets(offered)
    harmless = (name for place, name in enumerate(offered) if place not in secret)
    return next(harmless, offered[0] if offered else None)


def without_secrets(offered: Sequence[str]) -> list[str]:
    """Return the sub-protocols as they may be logged: a secret's place keeps its name and loses its value."""
    secret = _places_of_secrets(offered)
    return [_redacted(name) if place in secret else name for place, name in enumerate(offered)]


def _redacted(secret: str) -> str:
    return f"{secret.partition('.')[0]}.[redacted]" if carries_secret(secret) else "[redacted]"


def _places_of_secrets(offered: Sequence[str]) -> frozenset[int]:
    behind = {
        place
        for place, (before, value) in enumerate(pairwise(offered), 1)
        if before.lower() in SCHEMES and _may_be_key(value)
    }
    return frozenset(behind.union(place for place, name in enumerate(offered) if carries_secret(name)))


def _may_be_key(value: str) -> bool:
    lower = value.lower()
    return not (lower in SCHEMES or lower in _PREFERRED or lower.startswith(_NO_KEY_PREFIX) or carries_secret(value))
