"""A gateway's checks on what is said in a session. Speech is not held back: what breaks a rule ends the response."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trunkline.errors import GatewayError
from trunkline.policy.guards.findings import Finding, refusal
from trunkline.policy.guards.guarding import Guard, GuardSet, search
from trunkline.policy.guards.rules import Side
from trunkline.policy.guards.window import StreamWindow
from trunkline.policy.guards.words import Words, asked
from trunkline.providers.schema import Protocol
from trunkline.realtime.frames import Frame
from trunkline.realtime.speech import ResponseStopper, SpeechReader, Spoken, emptied
from trunkline.server.admission import Admission
from trunkline.server.gateway import Gateway
from trunkline.wire.head import Head
from trunkline.wire.refusal import Dialect, realtime_refusal

# What a client of OpenAI's protocol may say in words; the rest is sound and orders.
_ITEM: Final = "conversation.item.create"
_TYPED: Final = frozenset({_ITEM, "response.create", "session.update"})
_RESPONSES_AT_ONCE: Final = 32
_USER_PIECES: Final = "user"


class Unjudged(msgspec.Struct, frozen=True):
    """Words that a model has to judge, of an item of the user's or a response."""

    side: Side
    words: tuple[Words, ...]
    id: str
    guards: tuple[Guard, ...]


class Ruling(msgspec.Struct):
    """What comes of a frame. ``passes`` is the frame as it goes on, None where it does not.

    ``to_client`` and ``to_provider`` are sent besides; ``ends`` ends the session, where the protocol knows no less.
    """

    passes: Frame | bytes | None
    to_client: list[str] = msgspec.field(default_factory=list)
    to_provider: list[str] = msgspec.field(default_factory=list)
    unjudged: list[Unjudged] = msgspec.field(default_factory=list)
    blocked: GatewayError | None = None
    ends: bool = False


class SpeechGuard:
    """Checks one session by the rules that its gateway has at the moment. ``findings`` is what was found so far."""

    def __init__(
        self, gateway: Gateway, admission: Admission, head: Head, protocol: Protocol, dialect: Dialect
    ) -> None:
        self.findings: list[Finding] = []
        self._gateway = gateway
        self._admission = admission
        self._head = head
        self._dialect = dialect
        self._is_openai = protocol == "openai"
        self._reader = SpeechReader(protocol)
        self._stopper = ResponseStopper()
        self._windows: dict[str, StreamWindow] = {}

    @property
    def is_idle(self) -> bool:
        """Whether frames need not be shown: there are no rules, and nothing that was found has effects to come."""
        rules = self._gateway.registry.rules(self._admission.gateway)
        return not self.findings and (rules is None or not rules.control.guards)

    def client(self, said: Frame | bytes) -> Ruling:
        """Judge a frame of the client's."""
        ruling = Ruling(said)
        guards = self._guards().request
        if not guards:
            return ruling
        if self._is_openai:
            words = _typed(said) if isinstance(said, Frame) else []
        else:
            words = [Words("user", spoken.text) for spoken in self._reader.client(said) if spoken.text]
        if not words:
            return ruling
        blocked = self._judge(ruling, guards, "request", words, "", is_typed=True)
        if blocked:
            ruling.passes = None
        if isinstance(said, Frame) and said.type == _ITEM:
            # Its answer would be one to something else.
            self._stopper.stop_next(really=blocked)
        return ruling

    def provider(self, said: Frame | bytes) -> Ruling:
        """Judge a frame of the provider's."""
        ruling = Ruling(said)
        guards = self._guards()
        if not guards.request and not guards.response and not self.findings:
            return ruling
        if self._is_openai and isinstance(said, Frame):
            ruling.to_provider += self._stopper.listen(said)
            ruling.passes = self._stopper.passed(said)
            if ruling.passes is None:
                return ruling
        for spoken in self._reader.provider(said):
            if spoken.by == "assistant":
                if guards.response and self._hear_assistant(ruling, guards.response, spoken):
                    # That it is over is said in any case.
                    ruling.passes = emptied(said) if isinstance(said, Frame) and spoken.is_over else None
            elif guards.request and spoken.text:
                self._hear_user(ruling, guards.request, spoken)
        return ruling

    def judged(self, unjudged: Unjudged, found: Sequence[Finding]) -> Ruling:
        """Take what a model found."""
        ruling = Ruling(None)
        self._block(ruling, found, unjudged.id)
        return ruling

    # Steps

    def _guards(self) -> GuardSet:
        rules = self._gateway.registry.rules(self._admission.gateway) or self._admission.rules
        return self._gateway.guards.of(rules)

    def _hear_user(self, ruling: Ruling, guards: Sequence[Guard], spoken: Spoken) -> None:
        if not spoken.piece:
            self._judge(ruling, guards, "request", [Words("user", spoken.text)], spoken.id)
            return
        window = self._windows.get(_USER_PIECES)
        if window is None:
            window = self._windows[_USER_PIECES] = StreamWindow(guards, "request", holds=False)
        self._look(ruling, guards, window, "request", spoken)

    def _hear_assistant(self, ruling: Ruling, guards: Sequence[Guard], spoken: Spoken) -> bool:
        """Return whether the words may not pass."""
        self._windows.pop(_USER_PIECES, None)
        window = self._windows.get(spoken.id)
        if window is None:
            if spoken.is_over:
                return False
            if len(self._windows) >= _RESPONSES_AT_ONCE:
                self._windows.pop(next(iter(self._windows)))
            window = self._windows[spoken.id] = StreamWindow(guards, holds=False)
        blocked = self._look(ruling, guards, window, "response", spoken)
        if spoken.is_over:
            self._windows.pop(spoken.id, None)
        return blocked

    def _look(self, ruling: Ruling, guards: Sequence[Guard], window: StreamWindow, side: Side, spoken: Spoken) -> bool:
        speaker: Any = spoken.by
        if spoken.text:
            window.add(b"", [Words(speaker, spoken.text, spoken.place)])
        at_end = spoken.is_over or not spoken.piece
        found = window.search(at_end=at_end)
        window.release(at_end=True)  # nothing waits
        text = window.unjudged(at_end=spoken.is_over)
        if text is not None:
            window.judged()
            self._have_judged(ruling, guards, side, [Words(speaker, text)], spoken.id)
        return self._block(ruling, found, spoken.id)

    def _judge(
        self,
        ruling: Ruling,
        guards: Sequence[Guard],
        side: Side,
        words: Sequence[Words],
        id: str,
        *,
        is_typed: bool = False,
    ) -> bool:
        if self._block(ruling, search(guards, words, side), id, is_typed=is_typed):
            return True
        self._have_judged(ruling, guards, side, words, id)
        return False

    @staticmethod
    def _have_judged(ruling: Ruling, guards: Sequence[Guard], side: Side, words: Sequence[Words], id: str) -> None:
        judges = tuple(guard for guard in guards if guard.judge is not None)
        if judges:
            ruling.unjudged.append(Unjudged(side, tuple(words), id, judges))

    def _block(self, ruling: Ruling, found: Sequence[Finding], id: str, *, is_typed: bool = False) -> bool:
        """Note what was found; say what is done about it where a rule blocks.

        ``id`` is that of the response or item it was found in; what is typed never leaves.
        """
        self.findings += [one for one in found if one not in self.findings]
        blocking = next((one for one in found if one.blocks), None)
        if blocking is None:
            return False
        error = refusal(blocking, found)
        ruling.blocked = error
        if not self._is_openai:
            ruling.ends = True
            return True
        if blocking.side == "response":
            ruling.to_provider += self._stopper.stop(id)
        elif not is_typed:
            ruling.to_provider += self._stopper.stop_answer_to(id)
        ruling.to_client.append(realtime_refusal(error, self._dialect, f"event_{secrets.token_hex(10)}")[0])
        return True


def _typed(frame: Frame) -> list[Words]:
    if frame.type not in _TYPED:
        return []
    return asked("application/json", frame.text.encode(errors="replace"))
