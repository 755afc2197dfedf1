"""The gateways that can be measured, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from trunkline.benchmark.gateways.gateway import (
    BenchmarkError,
    Gateway,
    Place,
    Size,
    Start,
    openai_asks,
    surroundings,
)
from trunkline.benchmark.gateways.nginx import NGINX
from trunkline.benchmark.gateways.trunkline import TRUNKLINE, TRUNKLINE_OPEN

__all__ = ["GATEWAYS", "BenchmarkError", "Gateway", "Place", "Size", "Start", "openai_asks", "surroundings"]

GATEWAYS: Final = {one.name: one for one in (NGINX, TRUNKLINE_OPEN, TRUNKLINE)}
"""By name."""
