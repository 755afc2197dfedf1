"""What is known of a request before it is sent on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from trunkline.errors import MalformedRequest
from trunkline.policy.estimating import estimated_tokens
from trunkline.policy.facts import Facts
from trunkline.policy.limits import LimitRule
from trunkline.policy.usage.request import RequestFacts, is_form, request_facts
from trunkline.server.admission import Admission
from trunkline.wire.encodings import Unpacker, readable_encodings
from trunkline.wire.forms import UnreadableForm, fields
from trunkline.wire.head import Head
from trunkline.wire.log_headers import metadata_of

# Kinds of work whose answer is made of tokens.
_ANSWERED_IN_TOKENS: Final = frozenset({"chat", "completion", "responses"})

# What a form says of itself that limits may go by.
_NAMED_IN_FORMS: Final = frozenset({"model", "user"})
_MAX_UNPACKED: Final = 32 * 1024 * 1024


def packing_of(head: Head) -> str:
    """Return how a body is packed, in lower case. Several such headers are one: the first alone may say it is not."""
    return ", ".join(value.strip().lower() for value in head.header_values(b"content-encoding") if value.strip())


def check_readable(head: Head, body: bytes, limits: Iterable[LimitRule]) -> None:
    """Raise `MalformedRequest` for what limits cannot judge, because nobody would know what it asks.

    That is a packed body that cannot be read to its end and, where a limit goes by what a form names, a form that can
    be read in more ways than one.
    """
    packing = packing_of(head)
    if packing not in ("", "identity"):
        unpacker = Unpacker(packing, _MAX_UNPACKED)
        unpacked = unpacker.feed(body)
        if readable_encodings(packing) == "identity" or (body and not unpacker.is_whole):
            raise MalformedRequest(
                f"This gateway has limits, and cannot read a request whose content-encoding is {packing[:20]!r}: send"
                f" it as gzip, of at most {_MAX_UNPACKED // 2**20} MiB when it is unpacked, or not packed."
            )
        body = unpacked
    content_type = head.header(b"content-type") or ""
    if body and is_form(content_type, body) and any(_goes_by_names(rule) for rule in limits):
        _check_form(content_type, body)


def _goes_by_names(rule: LimitRule) -> bool:
    return not _NAMED_IN_FORMS.isdisjoint((*rule.per, *rule.where))


def _check_form(content_type: str, body: bytes) -> None:
    try:
        names = [name.lower() for name, _ in fields(content_type, body)]
    except UnreadableForm as error:
        raise MalformedRequest(
            "This gateway has limits by model or user, and cannot read this form in one way. Send it as"
            " multipart/form-data of plain parts, with CRLF and nothing before the first part."
        ) from error
    twice = next((name for name in sorted(_NAMED_IN_FORMS) if names.count(name) > 1), None)
    if twice is not None:
        raise MalformedRequest(f"This gateway has limits by model or user, and this form names its {twice} twice.")


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
