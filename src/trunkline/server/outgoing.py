"""The head a provider gets: what the client sent, less every credential and gateway header, plus exactly one key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote_plus

import msgspec

from trunkline.credentials.placements import CREDENTIAL_HEADERS
from trunkline.credentials.reading import is_behind_prefix
from trunkline.errors import MalformedRequest
from trunkline.providers import Provider, Slot
from trunkline.server.admission import Admission, ProviderKey, sits_in
from trunkline.upstream.address import Origin
from trunkline.wire.head import Head, chained_headers, forwarded_headers
from trunkline.wire.subprotocols import is_token, without_credentials


class OutgoingHead(msgspec.Struct, frozen=True):
    """Headers, query (without question mark) and sub-protocols for the provider."""

    headers: list[tuple[bytes, bytes]]
    query: str
    subprotocols: list[str]


class OutgoingCall(msgspec.Struct, frozen=True):
    """Where a session dials, and with what head.

    ``cascade``: the other side is the voice worker. ``slot`` is that of the key where it is one of several to try.
    """

    origin: Origin
    target: bytes
    headers: list[tuple[bytes, bytes]]
    subprotocols: list[str]
    cascade: bool = False
    slot: Slot | None = None


def compose(
    head: Head,
    admission: Admission,
    slots: Sequence[Slot],
    *,
    query: str | None = None,
    subprotocols: Sequence[str] = (),
) -> OutgoingHead:
    """Write the provider's head. ``slots`` are its credential slots on this transport; ``query`` replaces the client's.

    ``subprotocols`` are offered besides the key, in order. A key of the gateway's own stays here wherever it sat.
    """
    provider, is_ours = admission.provider, admission.is_ours
    via = admission.via
    own = {kind: [slot.name for slot in slots if slot.kind == kind] for kind in ("header", "subprotocol", "query")}
    extra = [(name.lower().encode(), value.encode()) for name, value in provider.headers.items()]
    replaced = CREDENTIAL_HEADERS | {name for name, _ in extra} | {name.encode() for name in own["header"]}
    headers = [
        (name, value)
        for name, value in forwarded_headers(head.headers)
        if name not in replaced and not _ends_in_ours(value.decode("latin-1"), is_ours)
    ]
    headers += extra
    if via is not None:
        chained = chained_headers(head.headers, key_is_there=admission.key is None)
        headers += [(name, value) for name, value in chained if not _ends_in_ours(value.decode("latin-1"), is_ours)]
        if via.token:
            headers.append((b"cf-aig-authorization", f"Bearer {via.token}".encode()))
    remaining = _without(head.query if query is None else query, provider.query_names.union(own["query"]), is_ours)
    offered = [
        name
        for name in without_credentials(subprotocols)
        # What is no token is a mistake, such as a scheme and a key in one: the provider would refuse it, and read it.
        if is_token(name)
        and not (name.startswith(tuple(own["subprotocol"])) or is_ours(name) or is_behind_prefix(name, is_ours))
    ]
    if admission.key is not None:
        slot, scheme = _slot_for(admission.key, slots)
        value = f"{scheme} {admission.key.value}" if scheme else admission.key.value
        if slot.kind == "header":
            headers.append((slot.name.encode(), value.encode("latin-1", "replace")))
        elif slot.kind == "subprotocol":
            offered.append(slot.name + _as_token(admission.key.value, provider))
        else:
            pair = f"{slot.name}={quote(admission.key.value, safe='')}"
            remaining = f"{remaining}&{pair}" if remaining else pair
    return OutgoingHead(headers, remaining, offered)


def _ends_in_ours(value: str, is_ours: Callable[[str], object]) -> bool:
    """Whether the last word of a value is a key of ours: a scheme may stand before it."""
    return any(is_ours(word) for word in value.rsplit(None, 1)[-1:])


def _slot_for(key: ProviderKey, slots: Sequence[Slot]) -> tuple[Slot, str]:
    """Keep the caller's own key where the caller put it, if the provider has that place; else use its first.

    Its first is the first that takes such a key: one that is good in a single place goes there.
    """
    if key.candidate is not None:
        for slot in slots:
            if sits_in(key.candidate, slot):
                return slot, key.candidate.scheme or slot.scheme
    slot = next((slot for slot in slots if slot.takes(key.value)), slots[0])
    return slot, slot.scheme


def _as_token(key: str, provider: Provider) -> str:
    """Return a key that a sub-protocol can carry. Raises `MalformedRequest` for another (RFC 6455 section 4.1)."""
    if not is_token(key):
        raise MalformedRequest(
            f"The {provider.name} key holds characters that no sub-protocol can carry, such as / or =, and this"
            " upstream takes it nowhere else. Set realtime_key to header there, or use another key."
        )
    return key


def _without(query: str, names: frozenset[str], is_ours: Callable[[str], object]) -> str:
    """Drop parameters by name, and those that hold a key of ours; leave the rest of the query byte for byte."""

    def stays(pair: str) -> bool:
        name, _, value = pair.partition("=")
        return unquote_plus(name) not in names and not _ends_in_ours(unquote_plus(value), is_ours)

    return "&".join(pair for pair in query.split("&") if stays(pair))
