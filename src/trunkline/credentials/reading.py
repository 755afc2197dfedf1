"""`read`: from a request head to who is asking and which provider key they brought."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from trunkline.credentials.placements import Candidate, Placement, Role, candidates
from trunkline.errors import MalformedRequest, Unauthorized
from trunkline.wire.head import Head

Rejection = Unauthorized | MalformedRequest

# A query parameter can hold what a header cannot; written into one, a line break would begin another header.
_NOT_FOR_A_HEADER: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")

# Nobody writes a key behind more prefixes than this, and each costs a digest of what follows.
_MOST_DOTS: Final = 8

_REMEDY: Final = (
    "Send the gateway token in the header cf-aig-authorization, as the sub-protocol cf-aig-authorization.<token>,"
    " or in the place where your client keeps its API key."
)


class Caller(msgspec.Struct, frozen=True):
    """Somebody the gateway knows, by one of its own keys.

    ``kind`` says by what: ``gateway_token``, ``gateway_key``, ``client_secret`` or ``user``; ``id`` by which one.
    ``gateway``, ``provider`` and ``models`` (patterns) bound what it opens, ``model`` what it converses with; None and
    empty bound nothing. ``scopes`` are the acts it may do, ``parent`` is the id of the gateway key it was made with.
    ``refusal`` completes "The gateway key ..." when the key counts no more: it is still recognised, so that it goes
    nowhere else.
    """

    kind: str
    name: str
    id: str = ""
    gateway: str | None = None
    provider: str | None = None
    models: tuple[str, ...] = ()
    model: str = ""
    scopes: frozenset[str] = frozenset({"run", "read", "edit"})
    expires_at: float | None = None
    parent: str = ""
    refusal: str = ""

    @property
    def key_id(self) -> str:
        """The id of the gateway key, or the account, on which the caller's sessions depend, if they depend on one.

        A session outlives its client secret, as with OpenAI, but not the gateway key that the secret was made with.
        """
        return self.id if self.kind in ("gateway_key", "user") else self.parent


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a head proves: the caller, if one was recognised, and the caller's own provider keys in table order.

    ``places`` are those in which something was found that is not a key of the gateway.
    """

    caller: Caller | None
    provider_keys: tuple[Candidate, ...]
    places: tuple[Placement, ...] = field(default=(), compare=False)

    def unauthenticated(self) -> Unauthorized:
        """Return the refusal for a gateway that demands a key of its own: it names places, never a value."""
        if not self.places:
            return Unauthorized(
                f"The gateway refused this request: it is authenticated, and no credential was sent. {_REMEDY}"
            )
        places = ", ".join(dict.fromkeys(str(place) for place in self.places))
        return Unauthorized(
            "The gateway refused this request: it is authenticated, and what was sent in"
            f" {places} is not its token. {_REMEDY}"
        )


def read(
    head: Head,
    recognise: Callable[[str], Caller | None],
    *,
    query_names: frozenset[str] = frozenset(),
    own: Iterable[Placement] = (),
    known: Caller | None = None,
) -> Credentials | Rejection:
    """Read all credentials of a head, on any transport.

    ``recognise`` tells whether a value is one of the gateway's own keys. Such a value authenticates the caller
    wherever it sat, and is consumed: it is never among ``provider_keys``. Of several that count, the first in the
    order of the table does; where none does, one that was revoked or has expired refuses the request. ``query_names``
    and ``own`` are as in `candidates`. ``known`` is a caller established by other means (the console's cookie). A
    value that no header could carry refuses the request too, and so does one that ends in a key of the gateway's: sent
    on as a provider key it would be shown to somebody else.
    """
    caller: Caller | None = None
    dead: Unauthorized | None = None
    places: list[Placement] = []
    provider_keys: list[Candidate] = []
    for candidate in candidates(head, query_names, own):
        if _NOT_FOR_A_HEADER.search(candidate.value):
            return MalformedRequest(f"The key in the {candidate.placement} holds characters that no key has.")
        recognised = recognise(candidate.value)
        if recognised is None and is_behind_prefix(candidate.value, recognise):
            return MalformedRequest(
                f"The key in the {candidate.placement} is one of the gateway's own behind a prefix. Send it by itself."
            )
        if recognised is None:
            places.append(candidate.placement)
            if candidate.placement.role is Role.PROVIDER:
                provider_keys.append(candidate)
        elif recognised.refusal:
            dead = dead or _dead(recognised, candidate)
        else:
            caller = caller or recognised
    if caller is None and dead is not None:
        return dead
    return Credentials(caller or known, tuple(provider_keys), tuple(places))


def is_behind_prefix(value: str, is_ours: Callable[[str], object]) -> bool:
    """Whether what stands behind one of a value's last dots is a key."""
    parts = value.rsplit(".", _MOST_DOTS)
    return any(is_ours(".".join(parts[begin:])) for begin in range(1, len(parts)))


def _dead(caller: Caller, candidate: Candidate) -> Unauthorized:
    what = caller.kind.replace("_", " ")
    return Unauthorized(
        f"The gateway refused this request: the {what} in the {candidate.placement} {caller.refusal}. Ask whoever runs"
        " the gateway for another."
    )
