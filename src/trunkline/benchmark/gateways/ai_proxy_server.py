"""AI Proxy Server, also known as LM-Proxy."""

from __future__ import annotations

from typing import Final

import msgspec

from trunkline.benchmark.gateways.environments import PythonEnvironment, program
from trunkline.benchmark.gateways.gateway import KEY, Gateway, Place, Start, openai_asks
from trunkline.benchmark.workloads import Kind

_SETTINGS: Final = """\
host = "127.0.0.1"
port = {port}

[connections.provider]
api_type = "open_ai"
api_base = "{base_url}/"
api_key = "{key}"

[routing]
"*" = "provider.*"

[groups.default]
api_keys = ["{key}"]
"""


def _prepare(place: Place) -> Start:
    settings = place.folder / "config.toml"
    settings.write_text(_SETTINGS.format(port=place.port, base_url=place.base_url, key=KEY), encoding="utf-8")
    asks = openai_asks(Kind.CHAT, Kind.SSE, Kind.LARGE)
    asks = {kind: msgspec.structs.replace(ask, usage=False) for kind, ask in asks.items()}
    return Start([program(place.home, "ai-proxy-server"), "--config", settings], asks)


AI_PROXY_SERVER: Final = Gateway(
    name="ai-proxy-server",
    setup="one key for all callers, no loggers; it leaves the usage out of answers",
    environment=PythonEnvironment("ai-proxy-server", ("ai-proxy-server",)),
    prepare=_prepare,
)
