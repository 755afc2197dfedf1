"""Sums of the log for charts."""

from __future__ import annotations

from trunkline.store.schema.base import metadata as metadata
