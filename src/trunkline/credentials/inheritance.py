"""What the credentials of a request mean for the requests it holds: the steps of the universal endpoint.

A request may hold steps for several providers, and its own head shows credentials for none of them in particular. The
gateway's keys open every step; a provider's key is another matter, since it must never reach another provider.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from trunkline.credentials.placements import PLACEMENTS, Carrier, Placement, Role, candidates
from trunkline.wire.head import Head

_GATEWAY_HEADER: Final = b"cf-aig-authorization"


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The headers of a request, parted: ``common`` ones are any step's, ``provider_keys`` are one provider's alone."""

    common: Sequence[tuple[bytes, bytes]] = field(repr=False)
    provider_keys: Sequence[tuple[bytes, bytes]] = field(repr=False)


def inherit(head: Head, is_ours: Callable[[str], object], own: Collection[Placement] = ()) -> Inheritance:
    """Part the headers of a request that holds steps. ``own`` are places that single providers have.

    A key of the gateway's, wherever it sat, goes on in ``cf-aig-authorization``: no key that a step brings can
    displace it there, and a sub-protocol, which only a handshake has, comes to the steps too.
    """
    slots = _header_names(own)
    common: list[tuple[bytes, bytes]] = []
    provider_keys: list[tuple[bytes, bytes]] = []
    for name, value in head.headers:
        if name in slots:
            provider_keys.append((name, value))
        elif name != _GATEWAY_HEADER:
            common.append((name, value))
    common += [
        (_GATEWAY_HEADER, f"Bearer {candidate.value}".encode("latin-1", "replace"))
        for candidate in candidates(head, own=own)
        if candidate.placement.role is Role.GATEWAY or is_ours(candidate.value)
    ]
    return Inheritance(common, provider_keys)


def shows_provider_key(
    head: Head,
    is_ours: Callable[[str], object],
    query_names: frozenset[str] = frozenset(),
    own: Collection[Placement] = (),
) -> bool:
    """Whether a head holds a key that is a provider's. ``query_names`` and ``own`` are as in `candidates`."""
    return any(
        candidate.placement.role is Role.PROVIDER and not is_ours(candidate.value)
        for candidate in candidates(head, query_names, own)
    )


def _header_names(own: Collection[Placement]) -> frozenset[bytes]:
    return frozenset(
        place.name.encode()
        for place in (*PLACEMENTS, *own)
        if place.carrier is Carrier.HEADER and place.role is Role.PROVIDER
    )
