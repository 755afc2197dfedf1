"""What is asked of a provider so that its answer can be read beside its way to the client."""

from __future__ import annotations

from typing import Final

from trunkline.policy.usage import UsageStripper, with_usage
from trunkline.server.admission import Admission
from trunkline.upstream.http import Request
from trunkline.wire.encodings import readable_encodings
from trunkline.wire.head import Head

_ENCODINGS: Final = b"accept-encoding"


def make_readable(request: Request) -> None:
    """Accept for the client only what the gateway can unpack as well; who accepts nothing still does not."""
    request.headers = [
        (name, readable_encodings(value.decode("latin-1")).encode("latin-1")) if name == _ENCODINGS else (name, value)
        for name, value in request.headers
    ]


def may_ask_for_usage(head: Head, admission: Admission, most: int) -> bool:
    """Whether the usage of a stream is to be asked for, so that the body must be read before it is sent on.

    A body of more than ``most`` bytes is left alone.
    """
    if not admission.rules.logging.usage_in_streams or not admission.rest.partition("?")[0].endswith("completions"):
        return False
    declared = head.header(b"content-length") or ""
    return declared.isdecimal() and int(declared) <= most


def ask_for_usage(admission: Admission, request: Request) -> UsageStripper | None:
    """Ask for the usage where the caller did not; return what takes it out of the answer again, if it was asked."""
    if not isinstance(request.body, bytes):
        return None
    body = with_usage(admission.provider, admission.rest, request.body)
    if body is None:
        return None
    request.body = body
    # What is taken out of must be plain.
    request.headers = [*(pair for pair in request.headers if pair[0] != _ENCODINGS), (_ENCODINGS, b"identity")]
    return UsageStripper()
