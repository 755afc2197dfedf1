"""The gateway of TensorZero: written in Rust, here as its Python package holds it."""

from __future__ import annotations

from typing import Final

from trunkline.benchmark.gateways.environments import PythonEnvironment, program
from trunkline.benchmark.gateways.gateway import Gateway, Place, Start, openai_asks
from trunkline.benchmark.workloads import MODEL, Kind

_SETTINGS: Final = """\
[gateway]
observability.enabled = false

[models.{model}]
routing = ["provider"]

[models.{model}.providers.provider]
type = "openai"
model_name = "{model}"
api_base = "{base_url}/"
api_key_location = "none"
"""

# The package starts it on a port of its own choice.
_PROGRAM: Final = """\
import os
import signal
import sys

from tensorzero import _start_http_gateway

settings, announced = sys.argv[1:]
gateway = _start_http_gateway(
    config_file=settings, clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
with open(announced + ".new", "w") as file:
    file.write(gateway.base_url.split(":")[2].split("/")[0])
os.rename(announced + ".new", announced)
signal.pause()
"""


def _prepare(place: Place) -> Start:
    settings, announced = place.folder / "tensorzero.toml", place.folder / "port"
    settings.write_text(_SETTINGS.format(model=MODEL, base_url=place.base_url), encoding="utf-8")
    return Start(
        [program(place.home, "python"), "-c", _PROGRAM, settings, announced],
        openai_asks(Kind.CHAT, Kind.SSE, Kind.LARGE, base="/openai/v1", model=f"tensorzero::model_name::{MODEL}"),
        {"RUST_LOG": "error"},
        announced=announced,
    )


TENSORZERO: Final = Gateway(
    name="tensorzero",
    setup="the gateway within its Python package, whose interpreter is in the memory; observability off; no cache"
    " without its database",
    environment=PythonEnvironment("tensorzero", ("tensorzero",)),
    prepare=_prepare,
)
