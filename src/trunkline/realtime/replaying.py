"""Saying again, in another session, what a client said in a recorded one: when, and about which of the server's ids.

Sound goes out at the times at which it was recorded. What answers the server waits for what it answers, and then as
long as the client took. Times are in seconds; those of the new run since any zero.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from trunkline.credentials.redaction import REDACTED
from trunkline.providers.schema import Protocol
from trunkline.realtime.frames import Frame
from trunkline.realtime.observing import observer_of
from trunkline.realtime.observing.facts import SessionSet
from trunkline.realtime.observing.reading import count, members, sound_size, words
from trunkline.realtime.recording import Speaker, bytes_per_second, encoding_of
from trunkline.wire.documents import json_text

PATIENCE: Final = 10.0
"""Seconds for which something that was recorded may be overdue in the new run."""
GRACE: Final = 2.0
"""Seconds of silence that end a run in which all has happened."""
_LONGEST_DELAY: Final = 60.0

_SESSION: Final = frozenset({"session.created", "transcription_session.created"})
_INPUT: Final = frozenset({"input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear"})
_HEARD: Final = frozenset({"input_audio_buffer.speech_started", "input_audio_buffer.committed"})
_ITEM: Final = frozenset({"conversation.item.added", "conversation.item.created", "conversation.item.done"})
_OUTPUT: Final = frozenset({"response.output_item.added", "response.output_item.done"})
_SOUND: Final = frozenset({"response.output_audio.delta", "response.audio.delta"})
_CALL: Final = "function_call"
# What a client says when the user speaks over an answer, or stops it otherwise.
_INTERRUPTING: Final = frozenset({"conversation.item.truncate", "response.cancel"})

# What a thing that the server made is, and which of its kind: ("message", 0) is the first answer in words.
Key = tuple[str, int]
# Something that happens once in a session: ("called", ("call weather", 0)).
Moment = tuple[str, Key]


class Heard(msgspec.Struct, frozen=True):
    """A frame of a recording, ``at`` seconds after its beginning."""

    side: Speaker
    said: str | bytes
    at: float


class Omitted(msgspec.Struct, frozen=True):
    """A client's event that was not sent again, ``at_ms`` in the recording, and why."""

    at_ms: float
    type: str
    why: str


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the client said.

    An answer goes out ``delay`` after its moment; what only follows a moment no sooner than that, nor than recorded.
    """

    place: int
    said: str | bytes
    type: str
    at: float
    after: Moment | None = None
    delay: float = 0.0
    is_answer: bool = False
    names: dict[str, Key] = {}
    response: Key | None = None  # that it cancels
    item: Key | None = None  # that it truncates


class _Ledger:
    """The ids that a server gave out, in their order by kind, and when things happened that a client waits for."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.ids: dict[Key, str] = {}
        self.moments: dict[Moment, float] = {}
        self.active: list[Key] = []
        self.sound: Counter[Key] = Counter()  # bytes of items' sound
        self.ended = 0  # responses, less those out of band
        self.transcribed = 0
        self.last: Moment | None = None  # the last after which it was the client's turn
        self.spoke: Moment | None = None  # the last at which the user began to speak
        self.bytes_per_second = 0
        self._own: set[str] = set()  # ids that the client chose
        self._kinds: Counter[str] = Counter()
        self._observer = observer_of("openai")

    def client(self, frame: Frame) -> None:
        if frame.type == "conversation.item.create":
            item = members(frame.document, "item")
            self._own |= {name for name in (words(item.get("id")), words(item.get("call_id"))) if name}
            self._own -= self.keys.keys()

    def provider(self, frame: Frame, at: float) -> None:
        kind = frame.type
        if kind in _SOUND:
            self._sound(frame, at)
        elif kind in _SESSION or kind == "session.updated":
            self._settings(frame)
            if kind in _SESSION:
                self._happened("session", ("session", 0), at, turn=True)
        elif kind in _HEARD:
            key = self._key("heard", words(frame.document.get("item_id")), at)
            if key is not None and kind == "input_audio_buffer.speech_started":
                self.spoke = ("known", key)
        elif kind in _ITEM or kind in _OUTPUT:
            self._item(frame, at)
        elif kind == "response.function_call_arguments.done":
            key = self.keys.get(words(frame.document.get("call_id")))
            if key is not None:
                self._happened("called", key, at)
        elif kind in ("response.created", "response.done"):
            self._response(members(frame.document, "response"), at, is_done=kind == "response.done")
        elif kind == "conversation.item.input_audio_transcription.completed":
            self.transcribed += 1

    def _sound(self, frame: Frame, at: float) -> None:
        key = self.keys.get(words(frame.document.get("item_id")))
        if key is not None:
            self._happened("sound", key, at)
            self.sound[key] += sound_size(frame.text, '"delta"')

    def _settings(self, frame: Frame) -> None:
        facts = self._observer.provider(frame)
        for fact in facts if not isinstance(facts, int) else ():
            if isinstance(fact, SessionSet) and fact.spoken:
                self.bytes_per_second = bytes_per_second(*encoding_of(fact.spoken))

    def _item(self, frame: Frame, at: float) -> None:
        item = members(frame.document, "item")
        kind, role = words(item.get("type")), words(item.get("role"))
        key = self._key(kind if role in ("", "assistant") else f"{role}'s {kind}", words(item.get("id")), at)
        if kind != _CALL or key is None:
            return
        call = self._key(f"call {words(item.get('name'))}", words(item.get("call_id")), at)
        if call is not None and frame.type == "response.output_item.done":
            self._happened("called", call, at)

    def _response(self, response: dict[str, Any], at: float, *, is_done: bool) -> None:
        aside = "conversation_id" in response and response["conversation_id"] is None
        key = self._key("response aside" if aside else "response", words(response.get("id")), at)
        if key is None:
            return
        if not is_done:
            self._happened("started", key, at)
            self.active.append(key)
            return
        if key in self.active:
            self.active.remove(key)
        if not aside:
            self.ended += 1
            self._happened("ended", ("end", self.ended), at, turn=True)

    def _key(self, kind: str, id: str, at: float) -> Key | None:
        if not id or id in self._own:
            return None
        key = self.keys.get(id)
        if key is None:
            key = self.keys[id] = (kind, self._kinds[kind])
            self._kinds[kind] += 1
            self.ids[key] = id
            self._happened("known", key, at)
        return key

    def _happened(self, what: str, key: Key, at: float, *, turn: bool = False) -> None:
        moment = (what, key)
        self.moments.setdefault(moment, at)
        if turn:
            self.last = moment


class Replay:
    """One run of a recording. `due` gives what is to be sent, `wake` when to ask again at the latest."""

    def __init__(
        self, heard: Iterable[Heard], protocol: Protocol, *, speed: float = 1.0, patience: float = PATIENCE
    ) -> None:
        """``speed`` 2.0 says everything in half the time."""
        self._speed = speed
        self._patience = patience
        self._reads = protocol == "openai"
        self._before, self._now = _Ledger(), _Ledger()
        self._input: deque[_Step] = deque()
        self._control: deque[_Step] = deque()
        self._duration = 0.0
        frames = list(heard)
        for place, one in enumerate(frames):
            self._read(place, one)
        first = next((one.at for one in frames if one.side == "client"), None)
        created = self._before.moments.get(("session", ("session", 0)))
        # Most clients wait for the server's first word; one that did not does not wait now.
        self._waits = created is not None and (first is None or first >= created)
        self._origin = created if created is not None and self._waits else first or 0.0
        self._connected: float | None = None
        self._zero: float | None = None
        self._touched = 0.0
        self._given_up: set[Moment] = set()
        self.omitted: list[Omitted] = []
        """What was not said again."""

    # What is known of both runs

    @property
    def has_begun(self) -> bool:
        """Whether the server said what the client had waited for, if anything."""
        return self._zero is not None

    @property
    def seconds(self) -> float:
        """About how long the run takes."""
        return (self._duration - self._origin) / self._speed

    def connected(self, at: float) -> None:
        """The server took the session."""
        self._connected = self._touched = at
        if not self._waits:
            self._zero = at

    def heard(self, said: str | bytes, at: float) -> None:
        """Take what the server says."""
        self._touched = at
        if self._reads and isinstance(said, str):
            self._now.provider(Frame(said), at)
        if self._zero is None:
            self._zero = self._now.moments.get(("session", ("session", 0)))

    def due(self, now: float) -> Iterator[str | bytes]:
        """Yield what is to be sent now, in order."""
        if self._zero is None and self._connected is not None and now >= self._connected + self._patience:
            self._zero = self._connected  # it says nothing at first
        while True:
            lanes = [lane for lane in (self._input, self._control) if lane and self._time(lane[0]) <= now]
            if not lanes:
                return
            lane = min(lanes, key=lambda one: (self._time(one[0]), one[0].place))
            said = self._prepared(lane.popleft())
            if said is not None:
                self._touched = now
                if isinstance(said, str):
                    self._now.client(Frame(said))
                yield said

    def wake(self) -> float:
        """Return when something is due if the server says nothing more."""
        times = [self._time(lane[0]) for lane in (self._input, self._control) if lane]
        if self._zero is None:
            return (self._connected or 0.0) + self._patience
        return min(times) if times else self._end()

    def is_over(self, now: float) -> bool:
        """Whether nothing is to be said or expected any more."""
        if self._zero is None:
            return False
        if now >= self._zero + 2 * (self._duration - self._origin) / self._speed + _LONGEST_DELAY:
            return True
        return not self._input and not self._control and not self._now.active and now >= self._end()

    def _end(self) -> float:
        recorded = self._at(self._duration)
        if not self._reads:
            return max(recorded, self._touched) + GRACE
        all_came = self._now.ended >= self._before.ended and self._now.transcribed >= self._before.transcribed
        return self._touched + GRACE if all_came else max(recorded, self._touched) + self._patience

    # The recording

    def _read(self, place: int, one: Heard) -> None:
        frame = Frame(one.said) if isinstance(one.said, str) else None
        if one.side == "provider":
            self._duration = max(self._duration, one.at)
            if self._reads and frame is not None:
                self._before.provider(frame, one.at)
            return
        self._duration = max(self._duration, one.at)
        if frame is None or not self._reads:
            self._input.append(_Step(place=place, said=one.said, type=frame.type if frame else "binary", at=one.at))
            return
        self._before.client(frame)
        if frame.type in _INPUT:
            self._input.append(_Step(place=place, said=one.said, type=frame.type, at=one.at))
        else:
            self._control.append(self._step(place, frame, one.at))

    def _step(self, place: int, frame: Frame, at: float) -> _Step:
        before, document = self._before, frame.document
        after, response, item = before.last, None, None
        is_answer = False
        names = {text: before.keys[text] for text in _strings(document) if text in before.keys}
        named = members(document, "item").get("call_id") or document.get("item_id") or document.get("response_id")
        key = before.keys.get(named) if isinstance(named, str) else None
        last = self._control[-1] if self._control else None
        match frame.type:
            case "conversation.item.create" if key is not None:
                after, is_answer = ("called", key), True
            case "response.create" if last is not None and last.is_answer and last.after and last.after[0] == "called":
                after, is_answer = last.after, True
            case "conversation.item.truncate" if key is not None:
                item, is_answer = key, True
                after = ("sound", key) if ("sound", key) in before.moments else ("known", key)
            case "conversation.item.retrieve" | "conversation.item.delete" if key is not None:
                after, is_answer = ("known", key), True
            case "response.cancel":
                response = key or (before.active[-1] if before.active else None)
                if response is not None:
                    after, is_answer = ("started", response), True
            case _ if names:
                after = max((("known", key) for key in names.values()), key=lambda moment: before.moments[moment])
                is_answer = True
        if frame.type in _INTERRUPTING and is_answer and _is_later(before, before.spoke, after):
            after = before.spoke
        happened = before.moments.get(after, at) if after is not None else at
        return _Step(
            place=place,
            said=frame.text,
            type=frame.type,
            at=at,
            after=after,
            delay=max(0.0, at - happened),
            is_answer=is_answer and after in before.moments,
            names=names,
            response=response,
            item=item,
        )

    # The new run

    def _at(self, recorded: float) -> float:
        """Return when something is due that is said at its own time, in the new run's clock."""
        if self._zero is None:
            return float("inf")
        return self._zero + (recorded - self._origin) / self._speed

    def _time(self, step: _Step) -> float:
        own = self._at(step.at)
        if step.after is None or own == float("inf") or step.after in self._given_up:
            return own
        happened = self._now.moments.get(step.after)
        if happened is None:
            return own + self._patience
        due = happened + step.delay / self._speed
        return due if step.is_answer else max(own, due)

    def _prepared(self, step: _Step) -> str | bytes | None:
        """Return a frame with the ids of this run, or None, and a note, where it makes no sense any more."""
        why = self._why_not(step)
        if why:
            self.omitted.append(Omitted(round(step.at * 1000, 1), step.type, why))
            if step.after is not None and step.after not in self._now.moments:
                self._given_up.add(step.after)
            return None
        if not step.names or not isinstance(step.said, str):
            return step.said
        ids = {text: self._now.ids[key] for text, key in step.names.items()}
        document = _renamed(Frame(step.said).document, ids)
        if step.item is not None and self._now.bytes_per_second:
            received = self._now.sound[step.item] * 1000 // self._now.bytes_per_second
            document["audio_end_ms"] = min(count(document.get("audio_end_ms")), received)
        return json_text(document)

    def _why_not(self, step: _Step) -> str:
        if step.said == REDACTED:
            return "it is not in the recording: it held a credential"
        if step.is_answer and step.after is not None and step.after not in self._now.moments:
            what, key = step.after
            if what == "called":
                return f"the model did not call {key[0].partition(' ')[2]}"
            return "what it is about was not said in this run"
        missing = [key for key in step.names.values() if key not in self._now.ids]
        if missing:
            return "what it is about was not said in this run"
        if step.response is not None and step.response not in self._now.active:
            return "the response was over before"
        return ""


def _is_later(ledger: _Ledger, one: Moment | None, other: Moment | None) -> bool:
    if one is None or other is None:
        return False
    return ledger.moments[one] > ledger.moments.get(other, float("inf"))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {name: _renamed(one, names) for name, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return value
