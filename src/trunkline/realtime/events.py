"""What happens to a session, and what the session wants done."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.errors import GatewayError
from trunkline.realtime.usage import Usage


@dataclass(frozen=True, slots=True)
class ClientText:
    """A text message from the client."""

    text: str


@dataclass(frozen=True, slots=True)
class ClientBinary:
    """A binary message from the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ClientClosed:
    """The client closed or vanished; ``code`` is 1005 or 1006 where it sent none."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class UpstreamConnected:
    """A provider accepted the handshake.

    ``first_update`` is a ``session.update`` frame with the settings that the session was promised; without one the
    provider's own stand. ``cascade`` says that it is the voice worker, whose requests for text (``trunkline.brain.*``)
    the gateway answers.
    """

    first_update: str | None = None
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamText:
    """A text message from the provider."""

    text: str


@dataclass(frozen=True, slots=True)
class UpstreamBinary:
    """A binary message from the provider."""

    data: bytes


@dataclass(frozen=True, slots=True)
class UpstreamClosed:
    """The provider closed; 1006 when its connection broke without a close frame."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The session cannot go on: the caller is refused, or the provider cannot be reached."""

    error: GatewayError


@dataclass(frozen=True, slots=True)
class Leaving:
    """The gateway is about to stop; ``now`` when nothing can be waited for any more."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class BrainSaid:
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


@dataclass(frozen=True, slots=True)
class SendClient:
    """Send a message to the client, text or binary by its type."""

    payload: str | bytes


@dataclass(frozen=True, slots=True)
class SendUpstream:
    """Send a message to the provider, text or binary by its type."""

    payload: str | bytes


@dataclass(frozen=True, slots=True)
class CloseClient:
    """Close the client's socket with a code that may be sent."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class CloseUpstream:
    """Close the provider's socket, or stop dialling it."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Redial:
    """Find another provider to go on with: the present one is lost, or cannot go on.

    ``why`` is for the log. ``afresh``: it has completed a response since the last loss, and is worth trying again.
    """

    why: str
    afresh: bool = False


@dataclass(frozen=True, slots=True)
class Charge:
    """Charge what the provider states was used."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class AskBrain:
    """Send a chat completion request to the provider and report its answer as `BrainSaid`."""

    request_id: str
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class StopBrain:
    """Cancel a chat completion at once."""

    request_id: str


Effect = SendClient | SendUpstream | CloseClient | CloseUpstream | Redial | Charge | AskBrain | StopBrain
