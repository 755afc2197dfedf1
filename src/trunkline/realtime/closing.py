"""Which close code one side is told when the other side closed.

Codes and reasons are relayed as they are, except those that RFC 6455 section 7.4.1 keeps for local use and forbids in
a close frame: they say that no code was received, and must not turn into a code that says all went well.
"""

from __future__ import annotations

from typing import Final

NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
_TLS_FAILED: Final = 1015

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
SERVER_ERROR: Final = 1011


def for_client(code: int, reason: str) -> tuple[int, str]:
    """Translate the provider's close for the client."""
    if code == NO_STATUS:
        return NORMAL, reason
    if code in (ABNORMAL, _TLS_FAILED):
        return SERVER_ERROR, "upstream_broken"
    return code, reason


def for_upstream(code: int, reason: str) -> tuple[int, str]:
    """Translate the client's close for the provider."""
    if code == NO_STATUS:
        return NORMAL, reason
    if code in (ABNORMAL, _TLS_FAILED):
        return GOING_AWAY, ""
    return code, reason
