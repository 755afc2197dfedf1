"""Identifiers of what passes through the gateway."""

from __future__ import annotations

from trunkline.store.identifiers import ulid

__all__ = ["ulid"]
