"""The head a provider gets: what the client sent, less every credential and gateway header, plus exactly one key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus

from trunkline.credentials.placements import CREDENTIAL_HEADERS
from trunkline.providers import Slot
from trunkline.server.admission import Admission, ProviderKey, sits_in
from trunkline.wire.head import Head, forwarded_headers
from trunkline.wire.subprotocols import carries_secret


@dataclass(frozen=True, slots=True)
class OutgoingHead:
    """Headers, query (without question mark) and sub-protocols for the provider."""

    headers: list[tuple[bytes, bytes]]
    query: str
    subprotocols: list[str]


def compose(
    head: Head,
    admission: Admission,
    slots: Sequence[Slot],
    *,
    query: str | None = None,
    subprotocols: Sequence[str] = (),
) -> OutgoingHead:
    """Write the provider's head. ``slots`` are its credential slots on this transport; ``query`` replaces the client's.

    ``subprotocols`` are offered besides the key, in order.
    """
    provider = admission.provider
    extra = [(name.lower().encode(), value.encode()) for name, value in provider.headers.items()]
    replaced = CREDENTIAL_HEADERS | {name for name, _ in extra}
    headers = [pair for pair in forwarded_headers(head.headers) if pair[0] not in replaced]
    headers += extra
    remaining = _without(head.query if query is None else query, provider.query_names)
    offered = [name for name in subprotocols if not carries_secret(name)]
    if admission.key is not None:
        slot, scheme = _slot_for(admission.key, slots)
        value = f"{scheme} {admission.key.value}" if scheme else admission.key.value
        if slot.kind == "header":
            headers.append((slot.name.encode(), value.encode("latin-1", "replace")))
        elif slot.kind == "subprotocol":
            offered.append(slot.name + admission.key.value)
        else:
            pair = f"{slot.name}={quote(admission.key.value, safe='')}"
            remaining = f"{remaining}&{pair}" if remaining else pair
    return OutgoingHead(headers, remaining, offered)


def _slot_for(key: ProviderKey, slots: Sequence[Slot]) -> tuple[Slot, str]:
    """Keep the caller's own key where the caller put it, if the provider has that place; else use its first."""
    if key.candidate is not None:
        for slot in slots:
            if sits_in(key.candidate, slot):
                return slot, key.candidate.scheme
    return slots[0], slots[0].scheme


def _without(query: str, names: frozenset[str]) -> str:
    """Drop parameters by name and leave the rest of the query byte for byte."""
    if not names or not query:
        return query
    return "&".join(pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) not in names)
