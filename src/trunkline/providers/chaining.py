"""Addresses at a Cloudflare AI Gateway in front of a provider, and the slots in which it takes the provider's key.

Its paths are those of this gateway: the provider's slug, then what follows the provider's own base URL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trunkline.errors import UnknownProvider
from trunkline.providers.resolution import (
    UpstreamTarget,
    exclusive,
    realtime_place,
    resolve_http,
    versioned,
    with_live_model,
)
from trunkline.providers.schema import Provider, Slot, Via


def chained_http(provider: Provider, via: Via, rest: str) -> UpstreamTarget:
    """Return where a request goes through another gateway. Raises what `resolve_http` does."""
    resolve_http(provider, rest)  # a path that the provider has no place for is refused here, not there
    rest = rest.lstrip("/")
    path = versioned(rest, provider.version, provider.base_url) if provider.base_url else rest
    return UpstreamTarget(_join(via, provider.slug, path))


def chained_realtime(provider: Provider, via: Via, rest: str, query: str) -> UpstreamTarget | None:
    """Return where a WebSocket goes through another gateway (``ws`` or ``wss``), or None if nowhere."""
    socket = provider.socket
    if socket is None or realtime_place(provider, rest) is None:
        return None
    path = rest.strip("/")
    if socket.paths.get(path) == socket.paths.get("", path):
        path = ""  # the documented form: the provider's slug alone stands for its one surface
    url = re.sub(r"^http", "ws", _join(via, socket.via_slug or provider.slug, path))
    return UpstreamTarget(url, with_live_model(exclusive(query, socket.exclusive_query), socket.models))


def chained_slots(provider: Provider, via: Via) -> Sequence[Slot]:
    """Return the slots to try for the key on a WebSocket, in order: one of each kind.

    Raises `UnknownProvider` when the key is to go into a kind of slot that this provider does not have.
    """
    socket = provider.socket
    if socket is None:
        return ()
    by_kind: dict[str, Slot] = {}
    for slot in (*socket.credential_slots, *socket.via_slots):
        if slot in socket.via_slots or not slot.is_particular:
            by_kind.setdefault(slot.kind, slot)
    if via.realtime_key == "auto":
        return tuple(by_kind.values())
    if via.realtime_key not in by_kind:
        raise UnknownProvider(
            f"{provider.name} takes no key as a {via.realtime_key} on a WebSocket; set realtime_key to"
            f" {' or '.join(('auto', *by_kind))}."
        )
    return (by_kind[via.realtime_key],)


def _join(via: Via, slug: str, path: str) -> str:
    base = f"{via.base_url.rstrip('/')}/{slug}"
    return f"{base}/{path}" if path else base
