"""`read`: from a request head to who is asking and which provider key they brought."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from trunkline.credentials.placements import Candidate, Placement, Role, candidates
from trunkline.errors import MalformedRequest, Unauthorized
from trunkline.wire.head import Head

Rejection = Unauthorized | MalformedRequest

# A query parameter can hold what a header cannot; written into one, a line break would begin another header.
_NOT_FOR_A_HEADER: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody the gateway knows. ``kind`` says by what: ``gateway_token`` or ``console_session``."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a head proves: the caller, if one was recognised, and the caller's own provider keys in table order."""

    caller: Caller | None
    provider_keys: tuple[Candidate, ...]


def read(
    head: Head,
    recognise: Callable[[str], Caller | None],
    *,
    authenticated: bool,
    query_names: frozenset[str] = frozenset(),
    own: Iterable[Placement] = (),
    known: Caller | None = None,
) -> Credentials | Rejection:
    """Read all credentials of a head, on any transport.

    ``recognise`` tells whether a value is one of the gateway's own keys. Such a value authenticates the caller
    wherever it sat, and is consumed: it is never among ``provider_keys``. ``query_names`` and ``own`` are as in
    `candidates`. ``known`` is a caller established by other
    means (the console's cookie). When the gateway is ``authenticated`` and nobody was recognised, or a value could be
    carried by no header, the refusal is returned: it names the places that were looked at, never a value.
    """
    caller = known
    seen: list[Candidate] = []
    provider_keys: list[Candidate] = []
    for candidate in candidates(head, query_names, own):
        if _NOT_FOR_A_HEADER.search(candidate.value):
            return MalformedRequest(f"The key in the {candidate.placement} holds characters that no key has.")
        recognised = recognise(candidate.value)
        if recognised is not None:
            caller = recognised
        elif candidate.placement.role is Role.PROVIDER:
            provider_keys.append(candidate)
            seen.append(candidate)
        else:
            seen.append(candidate)
    if authenticated and caller is None:
        return Unauthorized(_why(seen))
    return Credentials(caller, tuple(provider_keys))


def _why(seen: list[Candidate]) -> str:
    remedy = (
        "Send the gateway token in the header cf-aig-authorization, as the sub-protocol cf-aig-authorization.<token>,"
        " or in the place where your client keeps its API key."
    )
    if not seen:
        return f"The gateway refused this request: it is authenticated, and no credential was sent. {remedy}"
    places = ", ".join(dict.fromkeys(str(candidate.placement) for candidate in seen))
    return (
        "The gateway refused this request: it is authenticated, and what was sent in"
        f" {places} is not its token. {remedy}"
    )
