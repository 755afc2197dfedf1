"""The relay of one WebSocket session as a state machine without I/O.

Each state is a method, so that a traceback names it::

    connecting --UpstreamConnected--> relaying --either side closes, Failed, Leaving--> closed
    connecting --UpstreamConnected, with settings--> configuring --session.updated--> relaying
    connecting --Failed, ClientClosed----------------------------------------> closed
    relaying --provider lost--> lost --UpstreamConnected--> restoring --session told--> relaying
    lost, restoring --Failed, ClientClosed--> closed

A client of OpenAI's retired dialect is translated at the client's edge: everything within speaks the current one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from trunkline.errors import GatewayError
from trunkline.realtime import closing
from trunkline.realtime.beta import BetaBridge
from trunkline.realtime.bounded import shown
from trunkline.realtime.events import (
    AskBrain,
    BrainSaid,
    Charge,
    ClientBinary,
    ClientClosed,
    ClientText,
    CloseClient,
    CloseUpstream,
    Effect,
    Event,
    Failed,
    Leaving,
    Redial,
    SendClient,
    SendUpstream,
    StopBrain,
    UpstreamBinary,
    UpstreamClosed,
    UpstreamConnected,
    UpstreamText,
)
from trunkline.realtime.frames import Frame
from trunkline.realtime.memory import SessionMemory
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.report import Side
from trunkline.wire.refusal import Dialect, realtime_refusal

# A voice worker asks for text through the same socket: frames of this family are between it and the gateway.
_BRAIN_FAMILY: Final = '"trunkline.brain.'
_HEAD_OF_FRAME: Final = 64


class RelaySession:
    """Relays frames untouched and in order; decides how a session ends, and how it survives its provider.

    ``record`` sees all that passes. ``bridge`` is there for a client of the retired dialect, ``memory`` where a lost
    provider is to be replaced.
    """

    def __init__(
        self,
        dialect: Dialect,
        event_id: str,
        record: SessionRecord,
        *,
        bridge: BetaBridge | None = None,
        memory: SessionMemory | None = None,
    ) -> None:
        self._dialect = dialect
        self._event_id = event_id
        self._record = record
        self._cascade = False
        self._bridge = bridge
        self._memory = memory
        self._at = 0.0
        self._state: Callable[[Event], list[Effect]] = self._connecting
        self._first_update = ""
        self._created: dict[str, Any] | None = None
        self._is_leaving = False
        self._is_begun = False  # as the client knows it: it has seen session.created
        self._is_settled = True

    @property
    def is_relaying(self) -> bool:
        """Whether what the client says goes to the provider: before that it must wait."""
        return self._state == self._relaying

    @property
    def is_restoring(self) -> bool:
        """Whether a provider is being told the session: it should answer at once."""
        return self._state == self._restoring

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be done."""
        return self._state == self._closed

    def receive(self, event: Event, at: float) -> list[Effect]:
        """Take one event that happened ``at`` seconds after the session's start; return what to do, in order."""
        self._at = at
        return self._state(event)

    # States

    def _connecting(self, event: Event) -> list[Effect]:
        match event:
            case UpstreamConnected(first_update, cascade):
                self._record.connected(self._at)
                self._cascade = cascade
                self._state = self._relaying if first_update is None else self._configuring
                self._first_update = first_update or ""
                if first_update is not None and self._memory is not None:
                    self._memory.client_said(Frame(first_update))
                return []
            case _:
                return self._without_provider(event)

    def _configuring(self, event: Event) -> list[Effect]:
        """Give the session its settings first: the client sees one ``session.created``, which has them."""
        if not isinstance(event, UpstreamText):
            return self._relaying(event)
        frame = Frame(event.text)
        match frame.type:
            case "session.created" if self._created is None:
                self._created = frame.document
                self._record.client_said(Frame(self._first_update), self._at)
                return [SendUpstream(self._first_update)]
            case "session.updated" if self._created is not None:
                self._state = self._relaying
                self._heed(frame)
                return self._begin(frame.document.get("session"))
            case "error":
                self._state = self._relaying
                created = [] if self._created is None else self._begin(self._created.get("session"))
                return [*created, *self._from_provider(frame)]
            case _:
                return self._from_provider(frame)

    def _relaying(self, event: Event) -> list[Effect]:
        match event:
            case UpstreamText(text):
                if self._cascade and _BRAIN_FAMILY in text[:_HEAD_OF_FRAME]:
                    return self._brain_effects(text)
                return self._from_provider(Frame(text))
            case ClientText(text):
                if self._cascade and "trunkline." in text and _is_internal(text):
                    return []
                return self._from_client(Frame(text))
            case UpstreamBinary(data):
                usage = self._record.provider_said(data, self._at)
                return [SendClient(data), *([] if usage is None else [Charge(usage)])]
            case ClientBinary(data):
                self._record.client_said(data, self._at)
                return [SendUpstream(data)]
            case BrainSaid(frame):
                return [SendUpstream(frame)]
            case UpstreamClosed(code, reason):
                if self._memory is not None and closing.is_loss(code, reason):
                    return self._lose(self._memory, f"it closed with {code} {reason}".rstrip())
                self._end("provider", code, reason)
                return [CloseClient(*closing.for_client(code, reason))]
            case ClientClosed(code, reason):
                self._end("client", code, reason)
                return [CloseUpstream(*closing.for_upstream(code, reason))]
            case Failed(error):
                # The client first: a provider that is slow to close must not keep the reason from it.
                return [*self._refuse(error), CloseUpstream(closing.GOING_AWAY, "")]
            case Leaving(now):
                self._is_leaving = True
                return self._leave() if now or not self._is_answering() else []
            case UpstreamConnected():
                raise AssertionError("the provider connected twice")

    def _lost(self, event: Event) -> list[Effect]:
        """Wait for another provider. What the client says meanwhile waits in its socket."""
        match event:
            case UpstreamConnected(_, cascade):
                self._state = self._restoring
                self._cascade = cascade
                return []
            case UpstreamText() | UpstreamBinary() | UpstreamClosed() | BrainSaid():  # of the one that is lost
                return []
            case ClientText(text):  # it was on its way already when the provider was lost: remembered, it is told later
                self._from_client(Frame(text))
                return []
            case ClientBinary():
                return []
            case _:
                return self._without_provider(event)

    def _restoring(self, event: Event) -> list[Effect]:
        """Tell another provider the session, first its settings; of its answers the client hears only what is new."""
        assert self._memory is not None
        match event:
            case UpstreamText(text):
                frame = Frame(text)
                match frame.type:
                    case "session.created":
                        self._created = frame.document
                        update = self._memory.settings()
                        if update is not None:
                            return [SendUpstream(update.text)]
                        return [*self._begin_late(frame), *self._restored()]
                    case "session.updated" if not self._is_begun:
                        return [*self._begin_late(frame), *self._restored()]
                    case "session.updated":
                        news = [
                            effect for _ in range(self._memory.unanswered_updates) for effect in self._to_client(frame)
                        ]
                        return [*news, *self._restored()]
                    case "error":
                        error = frame.document.get("error")
                        said = shown(str(error.get("message"))) if isinstance(error, dict) else ""
                        self._state = self._lost
                        return [
                            CloseUpstream(closing.NORMAL, ""),
                            Redial(f"it did not take the session's settings: {said}"),
                        ]
                    case _:
                        return []
            case UpstreamClosed(code, reason):
                self._state = self._lost
                return [Redial(f"it closed with {code} {reason}".rstrip())]
            case Failed() | ClientClosed() | Leaving():
                return [*self._without_provider(event), CloseUpstream(closing.GOING_AWAY, "")]
            case _:
                return self._lost(event)

    def _closed(self, event: Event) -> list[Effect]:
        """Stay silent: what one side still sends after the other has closed has nowhere to go."""
        return []

    # Steps

    def _begin(self, session: Any) -> list[Effect]:
        """Show the client the beginning of its session, with the settings that stand."""
        self._is_begun = True
        return self._to_client(Frame(json.dumps({**(self._created or {}), "session": session})))

    def _begin_late(self, frame: Frame) -> list[Effect]:
        """Show it where the first provider was lost before it had said so."""
        return [] if self._is_begun else self._begin(frame.document.get("session"))

    def _from_client(self, frame: Frame) -> list[Effect]:
        frames = [frame] if self._bridge is None else self._bridge.to_provider(frame)
        return [effect for one in frames for effect in self._to_provider(one)]

    def _to_provider(self, frame: Frame) -> list[Effect]:
        self._record.client_said(frame, self._at)
        if self._memory is not None:
            self._memory.client_said(frame)
        return [SendUpstream(frame.text)]

    def _from_provider(self, frame: Frame) -> list[Effect]:
        if self._memory is not None and self._memory.is_echo(frame):
            return []
        if frame.type == "session.created":
            self._is_begun = True
        elif frame.type == "response.done":
            self._is_settled = True
        told = self._heed(frame)
        effects = self._to_client(told)
        usage = self._record.provider_said(frame, self._at)
        if usage is not None:
            effects.append(Charge(usage))
        if self._is_leaving and not self._is_answering():
            effects += self._leave()
        return effects

    def _heed(self, frame: Frame) -> Frame:
        """Remember a frame of the provider's; return it as the client is to see it."""
        if self._memory is None:
            return frame
        self._memory.provider_said(frame)
        return self._memory.offset(frame)

    def _to_client(self, frame: Frame) -> list[Effect]:
        frames = [frame] if self._bridge is None else self._bridge.to_client(frame)
        return [SendClient(one.text) for one in frames]

    def _brain_effects(self, text: str) -> list[Effect]:
        frame = Frame(text)
        match frame.type:
            case "trunkline.brain.request":
                return [AskBrain(frame.document["id"], frame.document["body"])]
            case "trunkline.brain.cancel":
                return [StopBrain(frame.document["id"])]
            case kind if kind.startswith("trunkline."):
                return []
            case _:  # the words stood near the front of an ordinary event
                return self._from_provider(frame)

    def _lose(self, memory: SessionMemory, why: str) -> list[Effect]:
        self._state = self._lost
        ended = self._cut(memory)
        was_settled, self._is_settled = self._is_settled, False
        self._record.interrupted_by_loss(self._at)
        return [*ended, Redial(why, was_settled)]

    def _cut(self, memory: SessionMemory) -> list[Effect]:
        """End for the client the responses that are in progress: it would wait for the rest of them."""
        effects: list[Effect] = []
        for frame in memory.cut():
            usage = self._record.provider_said(frame, self._at)
            effects += [*self._to_client(frame), *([] if usage is None else [Charge(usage)])]
        return effects

    def _restored(self) -> list[Effect]:
        assert self._memory is not None
        self._state = self._relaying
        self._record.resumed(self._at)
        return [SendUpstream(frame.text) for frame in self._memory.restoration()]

    def _without_provider(self, event: Event) -> list[Effect]:
        match event:
            case Failed(error):
                return self._refuse(error)
            case ClientClosed(code, reason):
                self._end("client", code, reason)
                return [CloseUpstream(*closing.for_upstream(code, reason))]
            case Leaving():
                return self._leave()
            case _:
                raise AssertionError(f"{type(event).__name__} before the provider answered")

    def _is_answering(self) -> bool:
        return self._record.state in ("thinking", "speaking")

    def _leave(self) -> list[Effect]:
        ended = [] if self._memory is None else self._cut(self._memory)
        self._end("gateway", closing.SERVICE_RESTART, "the gateway restarts")
        close = CloseClient(closing.SERVICE_RESTART, "the gateway restarts")
        return [*ended, close, CloseUpstream(closing.GOING_AWAY, "")]

    def _refuse(self, error: GatewayError) -> list[Effect]:
        text, code, reason = realtime_refusal(error, self._dialect, self._event_id)
        ended = [] if self._memory is None else self._cut(self._memory)
        self._record.failed(error.reason, error.message, self._at)
        self._end("gateway", code, reason)
        return [*ended, SendClient(text), CloseClient(code, reason)]

    def _end(self, by: Side, code: int, reason: str) -> None:
        self._state = self._closed
        self._record.closed(by, code, reason, self._at)


def _is_internal(text: str) -> bool:
    """Whether a client's frame poses as one of ours. The key ``type`` may stand anywhere, so the frame is parsed."""
    try:
        frame = json.loads(text)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):  # JSON, but with numbers or nesting without end: what it says is not known
        return True
    return isinstance(frame, dict) and str(frame.get("type", "")).startswith("trunkline.")
