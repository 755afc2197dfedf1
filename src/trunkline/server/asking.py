"""What is known of a request before it is sent on."""

from __future__ import annotations

from typing import Final

from trunkline.errors import MalformedRequest
from trunkline.policy.estimating import estimated_tokens
from trunkline.policy.facts import Facts
from trunkline.policy.usage.request import RequestFacts, request_facts
from trunkline.server.admission import Admission
from trunkline.wire.encodings import Unpacker, readable_encodings
from trunkline.wire.head import Head
from trunkline.wire.log_headers import metadata_of

# Kinds of work whose answer is made of tokens.
_ANSWERED_IN_TOKENS: Final = frozenset({"chat", "completion", "responses"})

_MAX_UNPACKED: Final = 32 * 1024 * 1024


def packing_of(head: Head) -> str:
    """Return how a body is packed, in lower case. Several such headers are one: the first alone may say it is not."""
    return ", ".join(value.strip().lower() for value in head.header_values(b"content-encoding") if value.strip())


def check_readable(head: Head, body: bytes) -> None:
    """Raise `MalformedRequest` for a packed body that cannot be read to its end: nobody would know what it asks."""
    packing = packing_of(head)
    if packing in ("", "identity"):
        return
    unpacker = Unpacker(packing, _MAX_UNPACKED)
    unpacker.feed(body)
    if readable_encodings(packing) == "identity" or (body and not unpacker.is_whole):
        raise MalformedRequest(
            f"This gateway has limits, and cannot read a request whose content-encoding is {packing[:20]!r}: send it"
            f" as gzip, of at most {_MAX_UNPACKED // 2**20} MiB when it is unpacked, or not packed."
        )


def work_of(head: Head, body: bytes) -> int:
    """Return how many bytes there may be to read: a packed body of few may unpack to very many."""
    return len(body) if packing_of(head) in ("", "identity") else _MAX_UNPACKED


def facts_of(head: Head, admission: Admission, body: bytes, *, estimates: bool = True) -> tuple[Facts, RequestFacts]:
    """Return by what rules are to judge a request, and what it says of itself.

    Of a body that is not there, only what the head says is known. Without ``estimates`` no tokens are guessed.
    """
    content_type = head.header(b"content-type") or "application/json"
    encoding = packing_of(head)
    if encoding and body:
        body = Unpacker(encoding, _MAX_UNPACKED).feed(body)
    told = request_facts(admission.provider, admission.rest, content_type, body)
    is_answered = told.kind in _ANSWERED_IN_TOKENS
    tokens_in, tokens_out = estimated_tokens(body, answers=is_answered) if estimates else (0, 0)
    caller = admission.caller
    facts = Facts(
        gateway=admission.gateway,
        provider=admission.provider.slug,
        model=told.model,
        kind=told.kind,
        path=admission.rest,
        stream=told.stream,
        key=caller.key_id if caller is not None else "",
        user=told.user,
        metadata=metadata_of(head),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
    )
    return facts, told
