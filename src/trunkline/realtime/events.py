"""What happens to a session, and what the session wants done."""

from __future__ import annotations

import msgspec

from trunkline.errors import GatewayError
from trunkline.realtime.usage import Usage


class ClientText(msgspec.Struct, frozen=True):
    """A text message from the client."""

    text: str


class ClientBinary(msgspec.Struct, frozen=True):
    """A binary message from the client."""

    data: bytes


class ClientClosed(msgspec.Struct, frozen=True):
    """The client closed or vanished; ``code`` is 1005 or 1006 where it sent none."""

    code: int
    reason: str


class UpstreamConnected(msgspec.Struct, frozen=True):
    """A provider accepted the handshake.

    ``first_update`` is a ``session.update`` frame with the settings that the session was promised; without one the
    provider's own stand. ``cascade`` says that it is the voice worker, whose requests for text (``trunkline.brain.*``)
    the gateway answers.
    """

    first_update: str | None = None
    cascade: bool = False


class UpstreamText(msgspec.Struct, frozen=True):
    """A text message from the provider."""

    text: str


class UpstreamBinary(msgspec.Struct, frozen=True):
    """A binary message from the provider."""

    data: bytes


class UpstreamClosed(msgspec.Struct, frozen=True):
    """The provider closed; 1006 when its connection broke without a close frame."""

    code: int
    reason: str


class Failed(msgspec.Struct, frozen=True):
    """The session cannot go on: the caller is refused, or the provider cannot be reached."""

    error: GatewayError


class Leaving(msgspec.Struct, frozen=True):
    """The gateway is about to stop; ``now`` when nothing can be waited for any more."""

    now: bool = False


class BrainSaid(msgspec.Struct, frozen=True):
    """A frame of the chat provider's answer, for the voice worker (cascade sessions only)."""

    frame: str


Event = (
    ClientText
    | ClientBinary
    | ClientClosed
    | UpstreamConnected
    | UpstreamText
    | UpstreamBinary
    | UpstreamClosed
    | Failed
    | Leaving
    | BrainSaid
)


class SendClient(msgspec.Struct, frozen=True):
    """Send a message to the client, text or binary by its type."""

    payload: str | bytes


class SendUpstream(msgspec.Struct, frozen=True):
    """Send a message to the provider, text or binary by its type."""

    payload: str | bytes


class CloseClient(msgspec.Struct, frozen=True):
    """Close the client's socket with a code that may be sent."""

    code: int
    reason: str


class CloseUpstream(msgspec.Struct, frozen=True):
    """Close the provider's socket, or stop dialling it."""

    code: int
    reason: str


class Redial(msgspec.Struct, frozen=True):
    """Find another provider to go on with: the present one is lost, or cannot go on.

    ``why`` is for the log. ``afresh``: it has completed a response since the last loss, and is worth trying again.
    """

    why: str
    afresh: bool = False


class Charge(msgspec.Struct, frozen=True):
    """Charge what the provider states was used."""

    usage: Usage


class AskBrain(msgspec.Struct, frozen=True):
    """Send a chat completion request to the provider and report its answer as `BrainSaid`."""

    request_id: str
    body: dict[str, object]


class StopBrain(msgspec.Struct, frozen=True):
    """Cancel a chat completion at once."""

    request_id: str


Effect = SendClient | SendUpstream | CloseClient | CloseUpstream | Redial | Charge | AskBrain | StopBrain
