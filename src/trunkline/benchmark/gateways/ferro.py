"""Ferro Labs AI Gateway: a program in Go that a Python package carries."""

from __future__ import annotations

from typing import Final

from trunkline.benchmark.gateways.environments import PythonEnvironment, program
from trunkline.benchmark.gateways.gateway import KEY, Gateway, Place, Start, openai_asks
from trunkline.benchmark.workloads import Kind

_SETTINGS: Final = """\
strategy:
  mode: single
targets:
  - virtual_key: openai
"""


def _prepare(place: Place) -> Start:
    settings = place.folder / "config.yaml"
    settings.write_text(_SETTINGS, encoding="utf-8")
    environment = {
        "GATEWAY_CONFIG": str(settings),
        "PORT": str(place.port),
        "HOST": "127.0.0.1",
        "MASTER_KEY": KEY,
        "ALLOW_UNAUTHENTICATED_PROXY": "true",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": place.base_url,
        "LOG_LEVEL": "error",
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
    }
    return Start([program(place.home, "ferrogw"), "serve"], openai_asks(Kind.CHAT, Kind.SSE, Kind.LARGE), environment)


FERRO: Final = Gateway(
    name="ferro",
    setup="no plugins, callers without keys, all its stores in memory, its limit out of reach, errors logged only",
    environment=PythonEnvironment("ferrogw", ("ferrogw",)),
    prepare=_prepare,
)
