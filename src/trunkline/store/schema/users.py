"""People who sign in, and what was changed by whom."""

from __future__ import annotations

from trunkline.store.schema.base import metadata as metadata
