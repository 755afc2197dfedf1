"""HAProxy, another proxy that passes on and does nothing else."""

from __future__ import annotations

from typing import Final

from trunkline.benchmark.gateways.environments import DebianEnvironment, libraries
from trunkline.benchmark.gateways.gateway import Gateway, Place, Start, openai_asks
from trunkline.benchmark.workloads import Kind

_SETTINGS: Final = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  http-reuse always
  timeout connect 10s
  timeout client 10m
  timeout server 10m
  timeout tunnel 10m
listen gateway
  bind 127.0.0.1:{port}
  server provider 127.0.0.1:{upstream} pool-max-conn -1
"""


def _prepare(place: Place) -> Start:
    settings = place.folder / "haproxy.cfg"
    settings.write_text(_SETTINGS.format(port=place.port, upstream=place.upstream), encoding="utf-8")
    return Start(
        [place.home / "usr/sbin/haproxy", "-f", settings],
        openai_asks(Kind.CHAT, Kind.SSE, Kind.REALTIME, Kind.LARGE),
        libraries(place.home),
    )


HAPROXY: Final = Gateway(
    name="haproxy",
    setup="one thread, kept connections, no log: another floor",
    environment=DebianEnvironment(("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")),
    prepare=_prepare,
)
