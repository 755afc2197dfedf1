"""Python passing bytes on unread: below this no gateway written in it can fall."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from trunkline.benchmark.gateways.gateway import Gateway, Place, Size, Start, openai_asks
from trunkline.benchmark.workloads import Kind


class _Here:
    """There is nothing to install."""

    def install(self, home: Path) -> None:
        """Do nothing."""

    def version(self, home: Path) -> str:
        """Return the event loop's."""
        return metadata.version("uvloop")

    def size(self, home: Path) -> Size | None:
        """Say nothing: it is no program that anybody installs."""
        return None


def _prepare(place: Place) -> Start:
    asks = openai_asks(Kind.CHAT, Kind.SSE, Kind.REALTIME, Kind.LARGE)
    command = [sys.executable, "-m", "trunkline.benchmark.passing", str(place.port), str(place.upstream)]
    return Start(command, asks)


PASSING: Final = Gateway(
    name="python",
    setup="no gateway: 80 lines on uvloop that pass bytes on and read none, one connection to the upstream for each of"
    " a client's; below this nothing that is written in Python can fall",
    environment=_Here(),
    prepare=_prepare,
)
