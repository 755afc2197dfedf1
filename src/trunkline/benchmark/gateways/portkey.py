"""The gateway of Portkey, on Node.js."""

from __future__ import annotations

from typing import Final

from trunkline.benchmark.gateways.environments import NodeEnvironment
from trunkline.benchmark.gateways.gateway import Gateway, Place, Start, openai_asks
from trunkline.benchmark.workloads import Kind

_PACKAGE: Final = "@portkey-ai/gateway"


def _prepare(place: Place) -> Start:
    server = place.home / "node_modules" / _PACKAGE / "build" / "start-server.js"
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": place.base_url}
    # Realtime goes to OpenAI's own host, whatever the headers name. Every stream is answered with status 500 by version
    # 1.15.2 on Node.js 20.
    asks = openai_asks(Kind.CHAT, Kind.LARGE, headers=headers)
    return Start(["node", server, f"--port={place.port}", "--headless"], asks, {"NODE_ENV": "production"})


PORTKEY: Final = Gateway(
    name="portkey",
    setup="headless, without its page of logs; the provider named by headers; no cache in this package, no realtime to"
    " other hosts, and streams fail",
    environment=NodeEnvironment(_PACKAGE),
    prepare=_prepare,
)
