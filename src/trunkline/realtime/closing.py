"""Which close code one side is told when the other side closed.

Codes and reasons are relayed as they are, except those that RFC 6455 section 7.4.1 keeps for local use and forbids in
a close frame: they say that no code was received, or that the connection broke, which must not turn into a code that
says all went well.
"""

from __future__ import annotations

from typing import Final

NO_STATUS: Final = 1005
ABNORMAL: Final = 1006

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
SERVER_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
BAD_GATEWAY: Final = 1014
_TLS_FAILED: Final = 1015

_LOCAL: Final = frozenset({1004, NO_STATUS, ABNORMAL})
_LAST_REGISTERED: Final = BAD_GATEWAY
_LOSSES: Final = frozenset(
    {ABNORMAL, GOING_AWAY, SERVER_ERROR, SERVICE_RESTART, TRY_AGAIN_LATER, BAD_GATEWAY, _TLS_FAILED}
)
# With this a provider ends a session that was open as long as one may be: nothing was lost.
_EXPIRED: Final = "maximum duration"


def may_be_sent(code: int) -> bool:
    """Whether a close frame may carry a code: a registered one, or one of those left to libraries and applications.

    WebSocket libraries refuse to send, or fail on receiving, any other.
    """
    return 3000 <= code <= 4999 or (NORMAL <= code <= _LAST_REGISTERED and code not in _LOCAL)


def is_loss(code: int, reason: str) -> bool:
    """Whether a provider's close says that it failed, rather than that the session is over."""
    return code in _LOSSES and _EXPIRED not in reason


def for_client(code: int, reason: str) -> tuple[int, str]:
    """Translate the provider's close for the client."""
    if code == NO_STATUS:
        return NORMAL, reason
    if not may_be_sent(code):
        return SERVER_ERROR, "upstream_broken"
    return code, reason


def for_upstream(code: int, reason: str) -> tuple[int, str]:
    """Translate the client's close for the provider."""
    if code == NO_STATUS:
        return NORMAL, reason
    if not may_be_sent(code):
        return GOING_AWAY, ""
    return code, reason
