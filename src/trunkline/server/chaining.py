"""Which slot of another gateway takes the provider's key on a WebSocket: found out once, and again when it fails.

Some gateways read the key there from another place than over HTTP. The session's client never notices: what it says is
held back until a slot was taken, and the key is only ever written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from trunkline.errors import UpstreamUpgradeRefused
from trunkline.providers import Slot
from trunkline.server.admission import Admission
from trunkline.server.outgoing import OutgoingCall
from trunkline.upstream.messages import Binary, Closed, Text
from trunkline.wire.documents import json_object

if TYPE_CHECKING:
    from trunkline.upstream.websocket import Dialer, UpstreamSocket

log = structlog.get_logger("trunkline.chaining")

# With these a handshake is refused for its key; any other status would be the same from another slot.
_ABOUT_THE_KEY: Final = frozenset({400, 401, 403, 500})


class KnownSlots:
    """The slots that were taken, by gateway, provider and the gateway behind."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str, str], Slot] = {}

    def in_order(self, admission: Admission, slots: Sequence[Slot]) -> list[Slot]:
        """Return the slots to try, the one that was taken last time first."""
        known = self._taken.get(_place(admission))
        return sorted(slots, key=lambda slot: slot != known)

    def remember(self, admission: Admission, slot: Slot) -> None:
        """Keep the slot that was taken."""
        if self._taken.get(_place(admission)) != slot:
            log.info("the gateway behind takes the key", provider=admission.provider.slug, where=str(slot))
        self._taken[_place(admission)] = slot


async def dial_first_taken(
    dialer: Dialer, known: KnownSlots, admission: Admission, calls: Sequence[OutgoingCall]
) -> tuple[UpstreamSocket, Text | Binary | Closed | None]:
    """Dial until a call is taken; return its socket and what was heard on it meanwhile.

    Where none is, the last one's answer stands: its refusal is raised, or its complaint returned for the client.
    """
    *trials, last = calls
    for call in trials:
        try:
            upstream, heard, taken = await _dial(dialer, known, admission, call)
        except UpstreamUpgradeRefused as refusal:
            if refusal.upstream_status not in _ABOUT_THE_KEY:
                raise
            continue
        if taken:
            return upstream, heard
        upstream.abort()
    upstream, heard, _ = await _dial(dialer, known, admission, last)
    return upstream, heard


async def _dial(
    dialer: Dialer, known: KnownSlots, admission: Admission, call: OutgoingCall
) -> tuple[UpstreamSocket, Text | Binary | Closed | None, bool]:
    """Dial one call; return its socket, what was heard on it, and whether the key was taken where it was written."""
    upstream = await dialer.dial(call.origin, call.target, call.headers, call.subprotocols)
    if call.slot is None:
        return upstream, None, True
    try:
        taken, heard = await _is_taken(admission, upstream)
    except BaseException:
        upstream.abort()
        raise
    if taken:
        known.remember(admission, call.slot)
    return upstream, heard, taken


async def _is_taken(admission: Admission, upstream: UpstreamSocket) -> tuple[bool, Text | Binary | Closed | None]:
    """Whether the provider let the session begin, as far as it says so by itself; and what it said."""
    if not admission.provider.has_realtime:
        return True, None  # it speaks only when spoken to: that the handshake was accepted must do
    heard = await upstream.receive()
    if isinstance(heard, Text):
        return json_object(heard.payload).get("type") != "error", heard
    return isinstance(heard, Binary), heard


def _place(admission: Admission) -> tuple[str, str, str]:
    return admission.gateway, admission.provider.slug, admission.via.base_url if admission.via is not None else ""
