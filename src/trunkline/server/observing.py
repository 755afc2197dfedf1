"""What is asked of a provider so that its answer can be read beside its way to the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from trunkline.policy.limits import SPENT, LimitRule
from trunkline.policy.usage import UsageStripper, with_usage
from trunkline.server.admission import Admission
from trunkline.upstream.http import Request
from trunkline.wire.encodings import readable_encodings
from trunkline.wire.head import Head

_ENCODINGS: Final = b"accept-encoding"

Body = bytes | AsyncIterator[bytes] | None


def make_readable(request: Request, *, plain: bool = False) -> None:
    """Accept for the client only what the gateway can unpack as well; who accepts nothing still does not.

    A ``plain`` answer is not compressed at all.
    """
    if plain:
        request.headers = [*(pair for pair in request.headers if pair[0] != _ENCODINGS), (_ENCODINGS, b"identity")]
        return
    request.headers = [
        (name, readable_encodings(value.decode("latin-1")).encode("latin-1")) if name == _ENCODINGS else (name, value)
        for name, value in request.headers
    ]


def may_ask_for_usage(head: Head, admission: Admission, most: int) -> bool:
    """Whether the usage of a stream is to be asked for, so that the body must be read before it is sent on.

    A body of more than ``most`` bytes is left alone.
    """
    if not _asks_for_usage(admission) or not admission.rest.partition("?")[0].endswith("completions"):
        return False
    declared = head.header(b"content-length") or ""
    return declared.isdecimal() and int(declared) <= most


def _asks_for_usage(admission: Admission) -> bool:
    """Whether the gateway wants to know what streams use: what is limited is not for the caller to leave unsaid."""
    rules = admission.rules
    return rules.logging.usage_in_streams or is_spent(rules.control.limits)


def is_spent(limits: Sequence[LimitRule]) -> bool:
    """Whether a limit counts what an answer uses: tokens or money."""
    return any(rule.measure in SPENT for rule in limits)


def asking_for_usage(admission: Admission, body: Body) -> tuple[Body, UsageStripper | None]:
    """Ask for the usage where the gateway wants it and the caller did not.

    Return the body to send, and what takes the usage out of the answer again if it was asked for.
    """
    if not _asks_for_usage(admission) or not isinstance(body, bytes):
        return body, None
    asking = with_usage(admission.provider, admission.rest, body)
    return (body, None) if asking is None else (asking, UsageStripper())
