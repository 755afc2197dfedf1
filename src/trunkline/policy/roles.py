"""What people who sign in may do, and which role another's statement about them gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec

# What no gateway key can be made for: users, the audit log, other gateways, opening one to everybody.
ADMINISTER: Final = "administer"
# By it the id of an account is told from that of a gateway key.
USER_PREFIX: Final = "usr_"


class Role(Enum):
    """The least comes first; each may do all that those before it may."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


SCOPES: Final[Mapping[Role, frozenset[str]]] = {
    Role.VIEWER: frozenset({"read"}),
    Role.EDITOR: frozenset({"read", "run", "edit"}),
    Role.ADMIN: frozenset({"read", "run", "edit", ADMINISTER}),
}


class ClaimRules(msgspec.Struct, frozen=True):
    """Which values of which claim give which role; ``default`` is for who has none of them, None refuses them.

    ``claim`` names a claim, or one within others by a dotted path.
    """

    claim: str
    values: Mapping[Role, Sequence[str]]
    default: Role | None

    def role(self, claims: Mapping[str, Any]) -> Role | None:
        """Return the greatest role that an ID token's claims give, or None for somebody who is not to come in."""
        stated = _texts(_claim(claims, self.claim)) if self.claim else frozenset()
        given = [role for role in Role if stated & set(self.values.get(role, ()))]
        return given[-1] if given else self.default


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:  # some providers name claims by URLs, dots and all
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _texts(value: Any) -> frozenset[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return frozenset(one for one in values if isinstance(one, str))
