"""The record of one realtime session, kept from the frames that pass: who said what, how fast, and what it cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from trunkline.providers.schema import Protocol
from trunkline.realtime.bounded import KINDS_KEPT, NAME_KEPT, WORDS_KEPT, clipped, joined, shown
from trunkline.realtime.frames import Frame
from trunkline.realtime.observing import observer_of
from trunkline.realtime.observing.facts import (
    AssistantCorrected,
    AssistantSaid,
    Called,
    CancelAsked,
    Content,
    Fact,
    Failure,
    LimitsTold,
    OutputItem,
    PlaybackCleared,
    PlaybackCut,
    PlaybackStarted,
    ResponseAsked,
    ResponseEnded,
    ResponseStarted,
    SessionSet,
    Transcribed,
    Used,
    UserCommitted,
    UserSaid,
    UserStarted,
    UserStopped,
    Utterance,
)
from trunkline.realtime.report import (
    Close,
    Cost,
    Ending,
    FunctionCall,
    Latency,
    RateLimit,
    Report,
    Side,
    TalkState,
    Traffic,
    Transcription,
    Trouble,
)
from trunkline.realtime.sounds import Sounds
from trunkline.realtime.turns import OpenTurn
from trunkline.realtime.usage import Pricer, Tokens, Usage

TURNS_KEPT: Final = 200

_ERRORS_KEPT: Final = 50
_CALLS_KEPT: Final = 32  # in one turn
_TIMES_KEPT: Final = 1_000
_RESPONSES_AT_ONCE: Final = 32


class SessionRecord:
    """What happened in a session so far.

    Every ``at`` is in seconds since any zero, the same for all calls, and never goes back. Reading never raises,
    whatever the frames hold. Of a long session the last turns are kept; counts and sums are of all of it.

    ``tokens`` are those of all responses, ``cost`` is of everything with a known price, in US dollars. ``active_at`` is
    when last something was said or done: a frame that means something, or sound of the provider's. The sound of a
    client's open microphone is nothing.
    """

    def __init__(self, protocol: Protocol, *, price: Pricer, model: str = "") -> None:
        self.state: TalkState = "connecting"
        self.model = model
        self.voice = ""
        self.tokens = Tokens()
        self.cost: float | None = None
        self.turn_count = 0
        self.interruptions = 0
        self.function_calls = 0
        self.error_count = 0
        self.active_at = 0.0
        self._protocol = protocol
        self._is_opaque = protocol == "none"
        self._price = price
        self._observer = observer_of(protocol)
        self._read_client = self._observer.client
        self._read_provider = self._observer.provider
        self._client_frames = self._client_bytes = 0
        self._provider_frames = self._provider_bytes = 0
        self._heard, self._spoken = Sounds(), Sounds()
        # Time
        self._began: float | None = None
        self._connect_ms: float | None = None
        self._asked: float | None = None  # when the user finished what nobody answers yet
        self._requested: float | None = None  # when the client last asked for a response
        # Settings
        self._transcriber = ""
        self._manual = False
        self._transcribes_only = False
        # Turns
        self._turns: deque[OpenTurn] = deque()
        self._turns_dropped = 0
        self._opening: OpenTurn | None = None  # the user's side of a turn that nobody answers yet
        self._responses: dict[str, OpenTurn] = {}  # that are in progress
        self._current: OpenTurn | None = None  # the one whose sound passes
        self._latest: OpenTurn | None = None  # the last one that was answered
        self._first_byte: deque[float] = deque(maxlen=_TIMES_KEPT)
        self._first_audio: deque[float] = deque(maxlen=_TIMES_KEPT)
        self._barge_in: deque[float] = deque(maxlen=_TIMES_KEPT)
        # Usage
        self._unsettled = 0  # bytes of responses that are over and never said what they used
        self._response_cost: float | None = None
        self._transcription_cost: float | None = None
        self._unpriced = self._estimated = 0
        self._transcriptions: dict[str, Transcription] = {}
        # Troubles
        self._errors: deque[Trouble] = deque(maxlen=_ERRORS_KEPT)
        self._losses = self._resumes = 0
        self._limits: tuple[RateLimit, ...] = ()
        self._close: Close | None = None

    # The connection

    def dialled(self, at: float) -> None:
        """The gateway began to dial the provider; the first time is the start of the session."""
        if self._began is None:
            self._began = at

    def connected(self, at: float) -> None:
        """The provider took the session."""
        if self._connect_ms is None:
            self._connect_ms = self._ms(at)
        if self.state == "connecting":
            self.state = "idle"

    def interrupted_by_loss(self, at: float) -> None:
        """The provider was lost in the middle; what it was saying has ended."""
        self._losses += 1
        self._abandon("connection_lost", at)
        if self.state != "closed":
            self.state = "connecting"

    def resumed(self, at: float) -> None:
        """A provider, the same or another, goes on with the session."""
        self._resumes += 1
        if self.state == "connecting":
            self.state = "idle"

    def failed(self, code: str, message: str, at: float) -> None:
        """The gateway itself met or made an error."""
        self._trouble("gateway", code, message, at)

    def closed(self, by: Side, code: int, reason: str, at: float) -> None:
        """One side closed the session. What the others do after that is not its end."""
        if self._close is not None:
            return
        self._close = Close(by=by, code=code, reason=shown(reason))
        self._abandon("session_closed", at)
        self.state = "closed"

    # What is said

    def client_said(self, said: Frame | bytes, at: float) -> None:
        """Take a frame of the client's."""
        found = self._read_client(said)
        self._client_frames += 1
        self._client_bytes += len(said) if isinstance(said, bytes) else _size(said.text)
        if isinstance(found, int):
            self._heard.bytes += found
            if self._manual and self.state == "idle":
                self.state = "listening"
        elif found or self._is_opaque:
            self.active_at = at
            self._book(found, at)

    def provider_said(self, said: Frame | bytes, at: float) -> Usage | None:
        """Take a frame of the provider's; return what it says was used, with its price.

        A response that ends without a word on its usage is returned too, as not ``stated``.
        """
        found = self._read_provider(said)
        size = len(said) if isinstance(said, bytes) else _size(said.text)
        self._provider_frames += 1
        self._provider_bytes += size
        if isinstance(found, int):
            self._spoken.bytes += found
            turn = self._current
            if found and (turn is None or turn.first_audio is None):
                turn = self._sound_begins(at)
            if turn is not None:
                turn.received += size
            if found:
                self.active_at = at
            return None
        if found or self._is_opaque:
            self.active_at = at
        return self._book(found, at, size) if found else None

    @property
    def unsettled_bytes(self) -> int:
        """The size of the frames of responses whose usage was not stated, for an estimate; 0 where none ever is."""
        if self._observer.usage == "never":
            return 0
        return self._unsettled + sum(turn.received for turn in self._responses.values())

    def report(self, at: float) -> Report:
        """Return all of it as data, as it stands at this moment."""
        return Report(
            protocol=self._protocol,
            model=self.model,
            voice=self.voice,
            state=self.state,
            duration_ms=self._ms(at),
            connect_ms=self._connect_ms,
            turns=tuple(turn.told(self._ms, self.state == "closed") for turn in self._turns),
            turn_count=self.turn_count,
            turns_dropped=self._turns_dropped,
            interruptions=self.interruptions,
            function_calls=self.function_calls,
            first_byte=_latency(self._first_byte),
            first_audio=_latency(self._first_audio),
            barge_in=_latency(self._barge_in),
            tokens=self.tokens,
            transcriptions=tuple(self._transcriptions.values()),
            cost=Cost(
                total=self.cost,
                responses=self._response_cost,
                transcription=self._transcription_cost,
                unpriced=self._unpriced,
                estimated=self._estimated,
            ),
            errors=tuple(self._errors),
            error_count=self.error_count,
            heard=self._heard.told(),
            spoken=self._spoken.told(),
            from_client=Traffic(self._client_frames, self._client_bytes),
            from_provider=Traffic(self._provider_frames, self._provider_bytes),
            losses=self._losses,
            resumes=self._resumes,
            unsettled_bytes=self.unsettled_bytes,
            rate_limits=self._limits,
            close=self._close,
        )

    # Facts

    def _book(self, facts: Iterable[Fact], at: float, size: int = 0) -> Usage | None:
        used: Usage | None = None
        for fact in facts:
            match fact:
                case Content():
                    self._content(at, size)
                case SessionSet():
                    self._set(fact)
                case UserStarted(item):
                    self._user_turn(at).holds(item)
                    if self._current is not None:
                        self._current.spoken_over = at
                    self.state = "listening"
                case UserStopped():
                    self._user_turn(at)
                    self._asked = at
                    if self._current is not None:
                        self._current.spoken_over = None
                    self._think()
                case UserCommitted(item):
                    self._committed(item, at)
                case UserSaid():
                    self._user_said(fact, at)
                case Utterance(text):
                    turn, self._opening = self._user_turn(at), None
                    turn.user = joined("", text)
                    self._written_down(turn, at)
                case ResponseAsked():
                    self._requested = at
                    self._think()
                case CancelAsked() if self._current is not None and self._current.spoken_over is None:
                    self._current.spoken_over = at
                case ResponseStarted(id, aside):
                    self._begin(id, aside, at).received += size
                case OutputItem(item) if self._current is not None:
                    self._current.holds(item)
                case AssistantSaid(text, piece):
                    turn_or_none = self._content(at, size)
                    if turn_or_none is not None:
                        turn_or_none.assistant = joined(turn_or_none.assistant, text, piece=piece)
                case AssistantCorrected(text) if self._latest is not None:
                    self._latest.assistant = joined("", text)
                case Called():
                    self._called(fact, at, size)
                case ResponseEnded():
                    used = self._ended(fact, at) or used
                case Used(tokens):
                    used = self._used(tokens)
                case Transcribed():
                    used = self._transcribed(fact)
                case PlaybackCut(item, ms):
                    cut = self._turn_with(item)
                    if cut is not None:
                        cut.cut_at_ms = ms
                        self._interrupted(cut)
                case PlaybackStarted() if self._current is not None:
                    self._sound_begins(at)
                case PlaybackCleared(response):
                    cleared = self._turn_of(response)
                    if cleared is not None:
                        self._interrupted(cleared)
                case Failure(code, message):
                    self._trouble("provider", code, message, at)
                case LimitsTold(limits):
                    self._limits = tuple(
                        RateLimit(clipped(limit.name, NAME_KEPT), limit.limit, limit.remaining, limit.reset_s)
                        for limit in limits[:KINDS_KEPT]
                    )
        if self._close is not None:
            self.state = "closed"
        return used

    def _set(self, fact: SessionSet) -> None:
        self.model = clipped(fact.model or self.model, NAME_KEPT)
        self.voice = clipped(fact.voice or self.voice, NAME_KEPT)
        self._heard.change(fact.heard)
        self._spoken.change(fact.spoken)
        if fact.transcriber is not None:
            self._transcriber = clipped(fact.transcriber, NAME_KEPT)
        if fact.manual is not None:
            self._manual = fact.manual
        if fact.transcribes_only is not None:
            self._transcribes_only = fact.transcribes_only

    # The user's side

    def _user_turn(self, at: float) -> OpenTurn:
        if self._opening is None:
            self._opening = self._new_turn(at)
        return self._opening

    def _committed(self, item: str, at: float) -> None:
        turn = self._user_turn(at)
        turn.holds(item)
        if self._transcribes_only:
            turn.asked, self._asked = self._asked if self._asked is not None else at, None
            self._opening = None

    def _user_said(self, fact: UserSaid, at: float) -> None:
        turn = self._turn_with(fact.item) if fact.item else None
        current = self._current
        if turn is None and self._opening is None and current is not None and (fact.piece or not fact.typed):
            turn = None if current.aside else current  # written down while the answer comes already
        if turn is None:
            turn = self._user_turn(at)
            turn.holds(fact.item)
        turn.user = joined(turn.user, fact.text, piece=fact.piece)
        if self._transcribes_only and turn is not self._opening:
            self._written_down(turn, at)

    def _written_down(self, turn: OpenTurn, at: float) -> None:
        if turn.ended is not None:
            return
        asked = turn.asked
        if asked is not None:
            turn.first_byte = at
            self._first_byte.append((at - asked) * 1000)
        turn.ending, turn.ended = "completed", at
        self.state = "idle" if self.state in ("thinking", "listening") and self._opening is None else self.state

    # The response

    def _begin(self, id: str, aside: bool, at: float) -> OpenTurn:
        if aside:
            turn = self._new_turn(at)
            turn.aside = True
            turn.asked = self._requested
        else:
            turn, self._opening = self._opening or self._new_turn(at), None
            turn.asked = self._asked if self._asked is not None else self._requested
            self._asked = None
        self._requested = None
        turn.response_id = clipped(id, NAME_KEPT)
        turn.answered = True
        while len(self._responses) >= _RESPONSES_AT_ONCE:
            self._give_up(next(iter(self._responses)), "never_ended", at)
        self._responses[turn.response_id] = turn
        if not aside or self._current is None:
            self._current = turn
            self._think()
        self._latest = turn
        return turn

    def _answering(self, at: float) -> OpenTurn | None:
        """Return the response in progress; where the protocol announces none, it begins with its content."""
        if self._current is None and self._observer.usage != "at_end":
            return self._begin("", False, at)
        return self._current

    def _content(self, at: float, size: int) -> OpenTurn | None:
        turn = self._answering(at)
        if turn is not None:
            turn.received += size
            if turn.first_byte is None:
                turn.first_byte = at
                if turn.asked is not None:
                    self._first_byte.append((at - turn.asked) * 1000)
                if self.state == "thinking":
                    self.state = "speaking"
        return turn

    def _sound_begins(self, at: float) -> OpenTurn | None:
        turn = self._content(at, 0)
        if turn is not None and turn.first_audio is None:
            turn.first_audio = at
            if turn.asked is not None:
                self._first_audio.append((at - turn.asked) * 1000)
            self.state = "speaking" if self._close is None else "closed"
        return turn

    def _called(self, fact: Called, at: float, size: int) -> None:
        turn = self._content(at, size)
        if turn is not None:
            self._add_call(turn, fact)

    def _add_call(self, turn: OpenTurn, fact: Called) -> None:
        self.function_calls += 1
        if len(turn.calls) < _CALLS_KEPT:
            arguments = clipped(fact.arguments, WORDS_KEPT)
            turn.calls.append(FunctionCall(clipped(fact.name, NAME_KEPT), arguments, len(fact.arguments)))

    def _ended(self, fact: ResponseEnded, at: float) -> Usage | None:
        named = clipped(fact.id, NAME_KEPT)
        turn = self._responses.pop(named, None) or self._responses.pop("", None)
        if turn is None and not named and self._current is not None:
            turn = self._responses.pop(self._current.response_id, None)
        if turn is None:
            if self._observer.usage != "at_end" or self._turn_of(named) is not None:
                return None  # over already
            turn = self._begin(named, False, at)
            del self._responses[named]
        self._close_response(turn, fact.ending, fact.reason, at)
        if not turn.assistant:
            turn.assistant = joined("", fact.said)
        if not turn.calls:
            for call in fact.calls:
                self._add_call(turn, call)
        received, turn.received = turn.received, 0
        if self._observer.usage == "apart":
            self._unsettled += received
            return None
        if self._observer.usage == "never":
            return None
        return self._book_response(turn, fact.tokens, received)

    def _close_response(self, turn: OpenTurn, ending: Ending, reason: str, at: float) -> None:
        turn.ending, turn.reason, turn.ended = ending, clipped(reason, NAME_KEPT), at
        if ending == "cancelled":
            self._interrupted(turn)
            if turn.spoken_over is not None:
                turn.barge_in = (at - turn.spoken_over) * 1000
                self._barge_in.append(turn.barge_in)
        if self._current is turn:
            self._current = next(reversed(self._responses.values()), None)
        if self._current is None and self.state in ("thinking", "speaking"):
            self.state = "thinking" if self._asked is not None else "idle"

    def _interrupted(self, turn: OpenTurn) -> None:
        if not turn.interrupted:
            turn.interrupted = True
            self.interruptions += 1

    def _abandon(self, reason: str, at: float) -> None:
        """End every response in progress: the rest of it will not come."""
        for named in list(self._responses):
            self._give_up(named, reason, at)

    def _give_up(self, id: str, reason: str, at: float) -> None:
        turn = self._responses.pop(id)
        self._close_response(turn, "incomplete", reason, at)
        if self._observer.usage != "never":
            self._unsettled += turn.received
            self._book_response(turn, None, turn.received)
        turn.received = 0

    # Usage

    def _book_response(self, turn: OpenTurn, tokens: Tokens | None, received: int) -> Usage:
        stated = tokens is not None
        usage = self._priced(
            Usage(kind="response", model=self.model, tokens=tokens or Tokens(), stated=stated, frame_bytes=received)
        )
        self.tokens += usage.tokens
        turn.tokens += usage.tokens
        turn.cost = _sum(turn.cost, usage.cost)
        self._response_cost = _sum(self._response_cost, usage.cost)
        return usage

    def _used(self, tokens: Tokens) -> Usage:
        turn = self._current or self._latest
        received, self._unsettled = self._unsettled, 0
        if self._current is not None:
            received += self._current.received
            self._current.received = 0
        return self._book_response(turn or OpenTurn(0, 0.0), tokens, received)

    def _transcribed(self, fact: Transcribed) -> Usage:
        model = clipped(fact.model or self._transcriber, NAME_KEPT)
        usage = self._priced(Usage(kind="transcription", model=model, tokens=fact.tokens, seconds=fact.seconds))
        self._transcription_cost = _sum(self._transcription_cost, usage.cost)
        turn = self._turn_with(fact.item)
        if turn is not None:
            turn.transcription_cost = _sum(turn.transcription_cost, usage.cost)
        if model not in self._transcriptions and len(self._transcriptions) >= KINDS_KEPT:
            model = ""
        before = self._transcriptions.get(model) or Transcription(model=model, count=0)
        self._transcriptions[model] = Transcription(
            model=model,
            count=before.count + 1,
            tokens=before.tokens + fact.tokens,
            seconds=before.seconds + fact.seconds,
            cost=_sum(before.cost, usage.cost),
        )
        return usage

    def _priced(self, usage: Usage) -> Usage:
        cost = self._price(usage)
        if cost is None:
            self._unpriced += 1
        elif not usage.stated:
            self._estimated += 1
        self.cost = _sum(self.cost, cost)
        return msgspec.structs.replace(usage, cost=cost)

    # Small things

    def _new_turn(self, at: float) -> OpenTurn:
        turn = OpenTurn(self.turn_count, at)
        self.turn_count += 1
        self._turns.append(turn)
        if len(self._turns) > TURNS_KEPT:
            self._turns.popleft()
            self._turns_dropped += 1
        return turn

    def _turn_with(self, item: str) -> OpenTurn | None:
        item = clipped(item, NAME_KEPT)
        return next((turn for turn in reversed(self._turns) if item in turn.items), None) if item else None

    def _turn_of(self, response: str) -> OpenTurn | None:
        named = clipped(response, NAME_KEPT)
        return next((turn for turn in reversed(self._turns) if turn.response_id == named), None) if named else None

    def _think(self) -> None:
        if self._current is not None and self._current.first_audio is not None:
            self.state = "speaking"
        elif self.state != "closed":
            self.state = "thinking"

    def _trouble(self, source: Side, code: str, message: str, at: float) -> None:
        self.error_count += 1
        self._errors.append(
            Trouble(at_ms=self._ms(at), code=clipped(code, NAME_KEPT), message=shown(message), source=source)
        )

    def _ms(self, at: float) -> float:
        if self._began is None:
            self._began = at
        return round((at - self._began) * 1000, 1)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _latency(times: deque[float]) -> Latency | None:
    """Return the middle and the 95th percentile by nearest rank."""
    if not times:
        return None
    ordered = sorted(times)
    last = len(ordered) - 1
    middle = (ordered[last // 2] + ordered[(last + 1) // 2]) / 2
    return Latency(len(ordered), round(middle, 1), round(ordered[-(-len(ordered) * 95 // 100) - 1], 1))


def _sum(known: float | None, more: float | None) -> float | None:
    return known if more is None else (known or 0.0) + more
