"""What is known of a request before it is sent on."""

from __future__ import annotations

from typing import Final

from trunkline.policy.estimating import estimated_tokens
from trunkline.policy.facts import Facts
from trunkline.policy.usage.request import RequestFacts, request_facts
from trunkline.server.admission import Admission
from trunkline.wire.encodings import Unpacker
from trunkline.wire.head import Head
from trunkline.wire.log_headers import metadata_of

# Kinds of work whose answer is made of tokens.
_ANSWERED_IN_TOKENS: Final = frozenset({"chat", "completion", "responses"})

_MAX_UNPACKED: Final = 32 * 1024 * 1024


def facts_of(head: Head, admission: Admission, body: bytes, *, estimates: bool = True) -> tuple[Facts, RequestFacts]:
    """Return by what rules are to judge a request, and what it says of itself.

    Of a body that is not there, only what the head says is known. Without ``estimates`` no tokens are guessed.
    """
    content_type = head.header(b"content-type") or "application/json"
    encoding = head.header(b"content-encoding")
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
