"""What Cloudflare's management API keeps beyond the set-up: datasets, evaluations, dynamic routes, custom providers."""

from __future__ import annotations

from trunkline.store.schema.base import metadata as metadata
