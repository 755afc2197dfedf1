"""Client secrets of the gateway's own: what an app's server hands to a browser instead of a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

# Browsers' SDKs demand the first part; the second tells ours from the provider's own, which may pass through.
PREFIX: Final = "ek_tl_"
DEFAULT_SECONDS: Final = 600
# OpenAI's bounds for `expires_after.seconds`.
SHORTEST_SECONDS: Final = 10
LONGEST_SECONDS: Final = 7200
# The older surfaces' secrets live one minute.
OLDER_SECONDS: Final = 60

# What `grant` writes down; the rest has columns or is counted.
_GRANTED: Final = ("provider", "model", "models", "max_uses", "spend_cap", "alias", "parent")


@dataclass(slots=True)
class ClientSecret:
    """One client secret: what it opens, and what has been made of it so far.

    It is good for one gateway and provider, for ``model`` only when that is set, for what fits the patterns ``models``
    of the key it was made with (none: any), ``max_uses`` exchanges (0: any number) and until ``spend_cap`` US dollars
    are spent (None: no cap). ``session`` are the settings with which a
    realtime session begins. ``provider_key`` is the key its maker brought, if they brought one; otherwise the stored
    key ``alias`` is used. ``parent`` is the id of the gateway key it was made with: it dies with that key.
    """

    id: str
    gateway: str
    provider: str
    model: str
    expires_at: float
    models: Sequence[str] = ()
    session: Mapping[str, Any] | None = None
    max_uses: int = 0
    spend_cap: float | None = None
    provider_key: str = field(default="", repr=False)
    alias: str = ""
    parent: str = ""
    uses: int = 0
    spent: float = 0.0

    def why_dead(self, now: float) -> str:
        """Return the words for why the secret opens nothing any more, or nothing while it does."""
        if self.expires_at <= now:
            return "has expired"
        if self.max_uses and self.uses >= self.max_uses:
            return "has been used" if self.max_uses == 1 else "has been used as often as it may be"
        if self.is_spent:
            return "has reached its spend cap"
        return ""

    @property
    def is_spent(self) -> bool:
        """Whether the spend cap is reached."""
        return self.spend_cap is not None and self.spent >= self.spend_cap

    def grant(self) -> dict[str, Any]:
        """Return what was granted, for the database: no key, no session, which may hold keys of tools, no counts."""
        whole = asdict(self)
        return {name: whole[name] for name in _GRANTED}

    @classmethod
    def from_grant(
        cls,
        grant: Mapping[str, Any],
        *,
        id: str,
        gateway: str,
        expires_at: float,
        provider_key: str,
        session: Mapping[str, Any] | None,
    ) -> ClientSecret:
        """Return the secret that a grant describes, with nothing counted yet."""
        made = cls(id=id, gateway=gateway, expires_at=expires_at, provider_key=provider_key, session=session, **grant)
        made.models = tuple(made.models)  # JSON has lists only
        return made
