"""Named choices of rows and columns. The first two are the scripts of the proof of concept."""

from __future__ import annotations

from typing import Final

import msgspec

from trunkline.credentials.matrix import Way


class Preset(msgspec.Struct, frozen=True):
    """Rows of the matrix by name, and the columns to ask them in."""

    rows: tuple[str, ...]
    ways: tuple[Way, ...]


PRESETS: Final = {
    # test-chat-completion.js: the gateway's key with a stored provider key, and with the caller's own.
    "chat-completion": Preset(("cf-aig-raw", "cf-aig-raw-and-provider-key"), (Way.HTTP, Way.SSE)),
    # test-gateway-node.js: the same two on a WebSocket, in headers and in sub-protocols.
    "realtime": Preset(
        ("cf-aig-raw", "cf-aig-raw-and-provider-key", "protocol-cf-aig", "protocol-cf-aig-and-provider-key"),
        (Way.REALTIME, Way.REALTIME_BROWSER),
    ),
}
