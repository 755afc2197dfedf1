"""The tables, a module for each area. A change here needs a migration beside it; a test compares the two.

Times are Unix seconds. Keys of the gateway are kept as SHA-256 digests, keys of providers sealed
(`trunkline.store.vault`).
"""

from __future__ import annotations

from typing import Final

from trunkline.store.schema import analytics, control, conversations, management, users
from trunkline.store.schema.base import metadata
from trunkline.store.schema.configuration import (
    client_secrets,
    gateway_keys,
    gateways,
    stored_keys,
    vault_state,
    vias,
)
from trunkline.store.schema.logs import log_payloads, logs
from trunkline.store.schema.sessions import realtime_sessions

__all__ = [
    "HEAD",
    "analytics",
    "client_secrets",
    "control",
    "conversations",
    "gateway_keys",
    "gateways",
    "log_payloads",
    "logs",
    "management",
    "metadata",
    "realtime_sessions",
    "stored_keys",
    "users",
    "vault_state",
    "vias",
]

# The newest migration. Known here, so that a start need not load the migration tool to see that all is up to date.
HEAD: Final = "0011"
