"""The gateways that can be measured, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from trunkline.benchmark.gateways.ai_proxy_server import AI_PROXY_SERVER
from trunkline.benchmark.gateways.envoy import ENVOY
from trunkline.benchmark.gateways.ferro import FERRO
from trunkline.benchmark.gateways.gateway import (
    BenchmarkError,
    Gateway,
    Place,
    Size,
    Start,
    openai_asks,
    surroundings,
)
from trunkline.benchmark.gateways.haproxy import HAPROXY
from trunkline.benchmark.gateways.litellm import LITELLM
from trunkline.benchmark.gateways.nginx import NGINX
from trunkline.benchmark.gateways.passing import PASSING
from trunkline.benchmark.gateways.portkey import PORTKEY
from trunkline.benchmark.gateways.tensorzero import TENSORZERO
from trunkline.benchmark.gateways.trunkline import TRUNKLINE, TRUNKLINE_OPEN

__all__ = ["GATEWAYS", "BenchmarkError", "Gateway", "Place", "Size", "Start", "openai_asks", "surroundings"]

GATEWAYS: Final = {
    one.name: one
    for one in (
        NGINX,
        PASSING,
        HAPROXY,
        ENVOY,
        TRUNKLINE_OPEN,
        TRUNKLINE,
        FERRO,
        TENSORZERO,
        PORTKEY,
        AI_PROXY_SERVER,
        LITELLM,
    )
}
"""By name."""
