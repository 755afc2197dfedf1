"""The relay of one WebSocket session as a state machine without I/O.

Each state is a method, so that a traceback names it::

    connecting --UpstreamConnected--> relaying --either side closes, Failed--> closed
    connecting --UpstreamConnected, with settings--> configuring --session.updated--> relaying
    connecting --Failed, ClientClosed----------------------------------------> closed
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from trunkline.errors import GatewayError
from trunkline.realtime import closing
from trunkline.realtime.events import (
    AskBrain,
    BrainSaid,
    ClientBinary,
    ClientClosed,
    ClientText,
    CloseClient,
    CloseUpstream,
    Effect,
    Event,
    Failed,
    SendClient,
    SendUpstream,
    StopBrain,
    UpstreamBinary,
    UpstreamClosed,
    UpstreamConnected,
    UpstreamText,
)
from trunkline.wire.documents import json_object
from trunkline.wire.refusal import Dialect, realtime_refusal

# A voice worker asks for text through the same socket: frames of this family are between it and the gateway.
_BRAIN_FAMILY: Final = '"trunkline.brain.'
_HEAD_OF_FRAME: Final = 64


class RelaySession:
    """Relays frames untouched and in order; decides how a session ends.

    ``cascade`` says that the other side is the voice worker, whose requests for text (``trunkline.brain.*``) are
    answered by the gateway and never reach the client.
    """

    def __init__(self, dialect: Dialect, event_id: str, *, cascade: bool = False) -> None:
        self._dialect = dialect
        self._event_id = event_id
        self._cascade = cascade
        self._state: Callable[[Event], list[Effect]] = self._connecting
        self._first_update = ""
        self._created: dict[str, Any] | None = None

    @property
    def is_relaying(self) -> bool:
        """Whether what the client says goes to the provider: before that it must wait."""
        return self._state == self._relaying

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be done."""
        return self._state == self._closed

    def receive(self, event: Event) -> list[Effect]:
        """Take one event; return what to do, in order."""
        return self._state(event)

    def _connecting(self, event: Event) -> list[Effect]:
        match event:
            case UpstreamConnected(first_update):
                self._state = self._relaying if first_update is None else self._configuring
                self._first_update = first_update or ""
                return []
            case Failed(error):
                return self._refuse(error)
            case ClientClosed(code, reason):
                self._state = self._closed
                return [CloseUpstream(*closing.for_upstream(code, reason))]
            case _:
                raise AssertionError(f"{type(event).__name__} before the provider answered")

    def _configuring(self, event: Event) -> list[Effect]:
        """Give the session its settings first: the client sees one ``session.created``, which has them."""
        if not isinstance(event, UpstreamText):
            return self._relaying(event)
        said = json_object(event.text)
        match said.get("type"):
            case "session.created" if self._created is None:
                self._created = said
                return [SendUpstream(self._first_update)]
            case "session.updated" if self._created is not None:
                self._state = self._relaying
                return [SendClient(json.dumps({**self._created, "session": said.get("session")}))]
            case "error":
                self._state = self._relaying
                created = [] if self._created is None else [SendClient(json.dumps(self._created))]
                return [*created, SendClient(event.text)]
            case _:
                return [SendClient(event.text)]

    def _relaying(self, event: Event) -> list[Effect]:
        match event:
            case UpstreamText(text):
                if self._cascade and _BRAIN_FAMILY in text[:_HEAD_OF_FRAME]:
                    return _brain_effects(text)
                return [SendClient(text)]
            case ClientText(text):
                if self._cascade and "trunkline." in text and _is_internal(text):
                    return []
                return [SendUpstream(text)]
            case UpstreamBinary(data):
                return [SendClient(data)]
            case ClientBinary(data):
                return [SendUpstream(data)]
            case BrainSaid(frame):
                return [SendUpstream(frame)]
            case UpstreamClosed(code, reason):
                self._state = self._closed
                return [CloseClient(*closing.for_client(code, reason))]
            case ClientClosed(code, reason):
                self._state = self._closed
                return [CloseUpstream(*closing.for_upstream(code, reason))]
            case Failed(error):
                # The client first: a provider that is slow to close must not keep the reason from it.
                return [*self._refuse(error), CloseUpstream(closing.GOING_AWAY, "")]
            case UpstreamConnected():
                raise AssertionError("the provider connected twice")

    def _closed(self, event: Event) -> list[Effect]:
        """Stay silent: what one side still sends after the other has closed has nowhere to go."""
        return []

    def _refuse(self, error: GatewayError) -> list[Effect]:
        self._state = self._closed
        text, code, reason = realtime_refusal(error, self._dialect, self._event_id)
        return [SendClient(text), CloseClient(code, reason)]


def _brain_effects(text: str) -> list[Effect]:
    frame = json.loads(text)
    match frame.get("type"):
        case "trunkline.brain.request":
            return [AskBrain(frame["id"], frame["body"])]
        case "trunkline.brain.cancel":
            return [StopBrain(frame["id"])]
        case str(kind) if kind.startswith("trunkline."):
            return []
        case _:  # the words stood near the front of an ordinary event
            return [SendClient(text)]


def _is_internal(text: str) -> bool:
    """Whether a client's frame poses as one of ours. The key ``type`` may stand anywhere, so the frame is parsed."""
    try:
        frame = json.loads(text)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):  # JSON, but with numbers or nesting without end: what it says is not known
        return True
    return isinstance(frame, dict) and str(frame.get("type", "")).startswith("trunkline.")
