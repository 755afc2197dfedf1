"""The ordered table of places where a credential may sit. There is no second list of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from trunkline.wire.head import Head, Transport
from trunkline.wire.subprotocols import values_behind


class Carrier(Enum):
    """The part of a request head that holds a credential."""

    HEADER = "header"
    SUBPROTOCOL = "subprotocol"
    NEXT_SUBPROTOCOL = "next subprotocol"
    QUERY = "query"


class Role(Enum):
    """What a place is for. A gateway key is recognised in either; a provider key only in a provider place."""

    GATEWAY = "gateway"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Placement:
    """One place.

    ``name`` is a header name, the prefix of a sub-protocol, the sub-protocol before the one that is the credential, or
    a query parameter.
    """

    carrier: Carrier
    name: str
    role: Role
    field: bytes = field(init=False, repr=False, compare=False)
    """The name as a head has it."""

    def __post_init__(self) -> None:
        """Keep the name as bytes: every request looks for all of them."""
        object.__setattr__(self, "field", self.name.encode())

    def __str__(self) -> str:
        return {
            Carrier.HEADER: f"header {self.name}",
            Carrier.SUBPROTOCOL: f"sub-protocol {self.name}*",
            Carrier.NEXT_SUBPROTOCOL: f"sub-protocol behind {self.name}",
            Carrier.QUERY: f"query parameter {self.name}",
        }[self.carrier]


class Candidate(msgspec.Struct, frozen=True):
    """A value found in a place. ``scheme`` is the word before it ("Bearer", "Token", ...), as sent, or empty."""

    placement: Placement
    scheme: str
    value: str

    def __repr__(self) -> str:
        return f"Candidate({self.placement}, {len(self.value)} characters)"


PLACEMENTS: Final = (
    Placement(Carrier.HEADER, "cf-aig-authorization", Role.GATEWAY),
    Placement(Carrier.SUBPROTOCOL, "cf-aig-authorization.", Role.GATEWAY),
    Placement(Carrier.HEADER, "authorization", Role.PROVIDER),
    Placement(Carrier.HEADER, "x-api-key", Role.PROVIDER),
    Placement(Carrier.HEADER, "api-key", Role.PROVIDER),
    Placement(Carrier.HEADER, "x-goog-api-key", Role.PROVIDER),
    Placement(Carrier.HEADER, "xi-api-key", Role.PROVIDER),
    Placement(Carrier.SUBPROTOCOL, "openai-insecure-api-key.", Role.PROVIDER),
    Placement(Carrier.SUBPROTOCOL, "xi-api-key.", Role.PROVIDER),
    Placement(Carrier.SUBPROTOCOL, "fal-api-key.", Role.PROVIDER),
    Placement(Carrier.SUBPROTOCOL, "xai-client-secret.", Role.PROVIDER),
    Placement(Carrier.NEXT_SUBPROTOCOL, "token", Role.PROVIDER),
    Placement(Carrier.NEXT_SUBPROTOCOL, "bearer", Role.PROVIDER),
    Placement(Carrier.QUERY, "api_key", Role.PROVIDER),
    Placement(Carrier.QUERY, "key", Role.PROVIDER),
    Placement(Carrier.QUERY, "access_token", Role.PROVIDER),
    Placement(Carrier.QUERY, "conversation_signature", Role.PROVIDER),
    Placement(Carrier.QUERY, "single_use_token", Role.PROVIDER),
    Placement(Carrier.QUERY, "token", Role.PROVIDER),
    Placement(Carrier.QUERY, "fal_jwt_token", Role.PROVIDER),
)

_IN_HEADERS: Final = tuple(placement for placement in PLACEMENTS if placement.carrier is Carrier.HEADER)
CREDENTIAL_HEADERS: Final = frozenset(placement.field for placement in _IN_HEADERS)

# What clients send when they were given no key: Cloudflare's own SDK sends ``Bearer undefined``, or a dummy of its own.
# Other placeholder words are not guessed at: some word is always somebody's key.
_ABSENT: Final = frozenset({"", "undefined", "null", "none", "cf_temp_token"})
# A scheme that stands alone is a blank key, not a key of that name.
_SCHEMES: Final = frozenset({"bearer", "token", "key", "basic", "api-key"})


def candidates(
    head: Head, query_names: frozenset[str] = frozenset(), own: Iterable[Placement] = ()
) -> Iterator[Candidate]:
    """Yield every credential of a head, in the order of the table.

    ``query_names`` are the query parameters in which the addressed provider's own API takes a key; ``key`` means
    something else to many others. ``own`` are places that only this provider has, looked at last. A value that stands
    for "no key" is left out.
    """
    is_plain = head.transport is Transport.HTTP and not head.query
    for placement in chain(_IN_HEADERS if is_plain else PLACEMENTS, own):
        if placement.carrier is Carrier.HEADER:
            for raw in head.header_values(placement.field):
                yield from _parsed(placement, raw)
        elif placement.carrier is Carrier.SUBPROTOCOL:
            if head.transport is Transport.WEBSOCKET:
                for offered in head.subprotocols:
                    if offered.lower().startswith(placement.name):
                        yield from _present(placement, "", offered[len(placement.name) :])
        elif placement.carrier is Carrier.NEXT_SUBPROTOCOL:
            if head.transport is Transport.WEBSOCKET:
                for value in values_behind(placement.name, head.subprotocols):
                    yield from _present(placement, "", value)
        elif head.query and placement.name in query_names:
            for found_name, value in parse_qsl(head.query, keep_blank_values=True):
                if found_name == placement.name:
                    yield from _present(placement, "", value)


def _parsed(placement: Placement, raw: str) -> Iterator[Candidate]:
    """Split ``Bearer abc`` into scheme and value; a raw value has no scheme. ``Bearer:`` with a colon is understood."""
    words = raw.split(None, 1)
    if len(words) == 2:
        yield from _present(placement, words[0].rstrip(":"), words[1])
        return
    text = raw.strip()
    scheme, colon, value = text.partition(":")
    if scheme.lower() not in _SCHEMES:
        yield from _present(placement, "", text)
    elif colon:
        yield from _present(placement, scheme, value)


def _present(placement: Placement, scheme: str, value: str) -> Iterator[Candidate]:
    value = value.strip()
    if value.lower() not in _ABSENT:
        yield Candidate(placement, scheme, value)
