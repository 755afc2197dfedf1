"""What an administrator has set up, as one immutable snapshot: gateways, their keys and the provider keys they hold.

A request is judged against one snapshot from beginning to end. A change makes a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

import msgspec

from trunkline.policy.control import ControlRules
from trunkline.policy.limits import LimitRule
from trunkline.policy.logging import LoggingRules
from trunkline.policy.routes import DeployedRoute
from trunkline.policy.sessions import RealtimeRules, SessionLimits
from trunkline.providers import Via

DEFAULT_ALIAS: Final = "default"

# By it a gateway key is known for one even when nothing else is known of it.
KEY_PREFIX: Final = "tlk_"


class Scope(Enum):
    """What a gateway key may do. None includes another."""

    RUN = "run"  # call models
    READ = "read"  # look at the gateway's set-up, and at what its sessions said
    EDIT = "edit"  # change it, and end sessions


class ClientSecretMode(Enum):
    """Who answers a request for a client secret: the gateway with one of its own, or the provider."""

    BROKERED = "brokered"
    RELAY = "relay"


class GatewayRules(msgspec.Struct, frozen=True):
    """One gateway's switches. ``allowed_origins`` replaces the process's list of browser origins when not empty."""

    id: str
    authenticated: bool = True
    stored_key_wins: bool = False
    client_secrets: ClientSecretMode = ClientSecretMode.BROKERED
    allowed_origins: tuple[str, ...] = ()
    realtime: RealtimeRules = RealtimeRules()
    logging: LoggingRules = LoggingRules()
    control: ControlRules = ControlRules()


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """A gateway key as it is kept: its digest, never its value. Times are Unix seconds.

    ``limits`` that are set stand instead of the gateway's.
    """

    id: str
    gateway: str
    name: str
    digest: bytes = field(repr=False)
    hint: str
    scopes: frozenset[Scope]
    models: tuple[str, ...]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    limits: SessionLimits = SessionLimits()

    def why_dead(self, now: float) -> str:
        """Return the word for why the key no longer counts, or nothing while it does."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return ""

    def state(self, now: float) -> Literal["active", "revoked", "expired"]:
        """Return the key's state for people."""
        dead = self.why_dead(now)
        return "revoked" if dead == "revoked" else "expired" if dead else "active"


@dataclass(frozen=True, slots=True)
class Registry:
    """The snapshot. ``stored`` holds provider keys by (gateway, provider), then by alias; ``vias`` by the same pair.

    ``providers`` are tables of custom providers, as the settings may have them, by name. ``routes`` are the deployed
    dynamic routes by (gateway, name), ``key_limits`` what a stored key may be used, by (gateway, provider, alias).
    ``keys`` are by digest, and ``keys_by_id`` the same ones, which are found where they are not given.
    """

    gateways: Mapping[str, GatewayRules]
    keys: Mapping[bytes, GatewayKey] = field(default_factory=dict, repr=False)
    stored: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict, repr=False)
    vias: Mapping[tuple[str, str], Via] = field(default_factory=dict, repr=False)
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    routes: Mapping[tuple[str, str], DeployedRoute] = field(default_factory=dict, repr=False)
    key_limits: Mapping[tuple[str, str, str], LimitRule] = field(default_factory=dict, repr=False)
    keys_by_id: Mapping[str, GatewayKey] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Find what is not given."""
        if len(self.keys_by_id) != len(self.keys):
            object.__setattr__(self, "keys_by_id", {key.id: key for key in self.keys.values()})

    def stored_keys(self, gateway: str, provider: str) -> Mapping[str, str]:
        """Return the provider keys of one gateway for one provider, by alias."""
        return self.stored.get((gateway, provider), {})
