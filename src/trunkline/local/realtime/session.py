"""A realtime session without I/O: what the client says, what is heard and what the models give in, effects out.

The clock is the audio: idle time and playback are counted in what the client has appended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import numpy as np

from trunkline.local.audio import resample
from trunkline.local.codes import MistakeCode, failure
from trunkline.local.realtime.configuration import Configuration, Kind, ResponseParameters
from trunkline.local.realtime.conversation import Conversation, Item, Sound, item_of
from trunkline.local.realtime.events import (
    GivenItem,
    InputAudioAppend,
    InputAudioClear,
    InputAudioCommit,
    ItemCreate,
    ItemDelete,
    ItemReference,
    ItemRetrieve,
    ItemTruncate,
    Message,
    OutputAudioClear,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    checked_input,
    checked_item,
    decode,
    decoded_audio,
    event_id_of,
)
from trunkline.local.realtime.hearing import (
    EAR_RATE,
    FORMATS,
    AudioFormat,
    Clip,
    Hearing,
    SpeechProbability,
    Utterance,
)
from trunkline.local.realtime.mistakes import ClientMistake, checked
from trunkline.local.realtime.prompts import Plan, chat_messages
from trunkline.local.realtime.responses import Outcome, Response, ServerEvent
from trunkline.local.realtime.turns import (
    IdleTimeout,
    ProbablyEnded,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TurnEvent,
)

_SHORTEST_COMMIT_MS: Final = 100


class Tell(msgspec.Struct, frozen=True):
    """Send an event to the client."""

    event: dict[str, Any]


class Listen(msgspec.Struct, frozen=True):
    """Give this audio to `RealtimeSession.hear`, in pieces that do not hold up the event loop."""

    audio: bytes


class Anticipate(msgspec.Struct, frozen=True, eq=False):
    """The turn has probably ended with this clip: recognise it already.

    With ``answer``, think of an answer too: `RealtimeSession.draft` has the plan for the words.
    """

    clip: Clip
    answer: bool


class Reconsider(msgspec.Struct, frozen=True):
    """The turn goes on: drop what was anticipated."""


class Recognise(msgspec.Struct, frozen=True, eq=False):
    """Find the words of a content part and report them by `recognised` or `not_recognised`."""

    item_id: str
    content_index: int
    clip: Clip


class Generate(msgspec.Struct, frozen=True):
    """Produce an answer and report it by `said`, `sounded`, `called`, then `finished` or `failed`."""

    response_id: str
    plan: Plan


class Prepare(msgspec.Struct, frozen=True):
    """An answer along these lines may be wanted, once the user has spoken; what comes next makes this void."""

    plan: Plan


class Abandon(msgspec.Struct, frozen=True):
    """Stop producing an answer at once; what still comes of it is ignored."""

    response_id: str


Effect = Tell | Listen | Anticipate | Reconsider | Recognise | Generate | Prepare | Abandon


class RealtimeSession:
    """The protocol of one session. Every method returns the effects to carry out, in order."""

    def __init__(
        self,
        kind: Kind,
        model: str,
        *,
        probability: SpeechProbability,
        new_id: Callable[[str], str],
        expires_at: int,
    ) -> None:
        """Start a session. ``new_id`` makes an id of a prefix; ``expires_at`` is in seconds since 1970."""
        self._new_id = new_id
        self._configuration = Configuration(kind, new_id("sess"), model, expires_at)
        self._conversation = Conversation(new_id("conv"))
        self._hearing = Hearing(probability, self._configuration.turn_rules)
        self._turn_item_id: str | None = None
        self._turn_start_ms = 0
        self._responses: dict[str, Response] = {}
        self._speaker: Response | None = None  # the response that writes to the conversation
        self._has_spoken = False
        self._playing_from_ms = 0
        self._answer_turn_later = False
        self._unrecognised: dict[str, Item] = {}

    def open(self) -> list[Effect]:
        """Greet the client."""
        return [self._tell("session.created", session=self._configuration.shown), *self._prepare()]

    def receive(self, text: str) -> list[Effect]:
        """Take a frame of the client. What is wrong with it is told, and changes nothing."""
        try:
            return self._take(decode(text))
        except ClientMistake as mistake:
            return [self.complain(mistake, event_id_of(text))]

    def complain(self, mistake: ClientMistake, event_id: str | None = None) -> Tell:
        """Return the ``error`` event for a mistake in the client's event of that id."""
        error = {
            "type": "invalid_request_error",
            "code": mistake.code,
            "message": mistake.message,
            "param": mistake.param,
            "event_id": event_id,
        }
        return self._tell("error", error=error)

    def hear(self, audio: bytes) -> list[Effect]:
        """Listen to appended audio."""
        effects: list[Effect] = []
        for event in self._hearing.hear(audio):
            effects += self._follow_turn(event)
        if self._configuration.turn_detection is not None:
            self._hearing.forget_silence()
        return effects

    def recognised(self, item_id: str, content_index: int, words: str) -> list[Effect]:
        """Take the words of a content part."""
        item = self._unrecognised.get(item_id)
        if item is None:
            return []
        return [*self._give_words(item, content_index, words), *self._generate_what_waited()]

    def not_recognised(self, item_id: str, content_index: int, reason: str) -> list[Effect]:
        """Go on without the words of a content part."""
        item = self._unrecognised.get(item_id)
        if item is None:
            return []
        self._note_words(item, content_index, "")
        effects: list[Effect] = []
        if self._is_transcribed(item):
            error = failure("transcription_failed", reason)
            effects.append(self._tell_transcription("failed", item, content_index, error=error))
        return effects + self._generate_what_waited()

    def draft(self, words: str) -> Plan | None:
        """Return the plan of the answer that would follow if the turn ended now with these words; None for none."""
        detection = self._configuration.turn_detection
        if self._configuration.transcribes_only or self._speaker is not None:
            return None
        if detection is None or not detection["create_response"]:
            return None
        turn = Item("", "message", "completed", {"role": "user", "content": [{"type": "input_audio"}]})
        turn.sounds[0] = Sound(self._hearing.format, bytearray(), words)
        context = [*self._conversation, turn]
        if any(item.awaits_words for item in context):
            return None
        return _plan(self._configuration.for_response({}), context)

    def said(self, response_id: str, text: str) -> list[Effect]:
        """Take the next text of an answer; of a spoken one, what the next `sounded` pronounces."""
        response = self._responses.get(response_id)
        return self._tell_all(response.say(text)) if response else []

    def sounded(self, response_id: str, audio: bytes) -> list[Effect]:
        """Take the next audio of an answer, in the format of its plan."""
        response = self._responses.get(response_id)
        if response is None:
            return []
        if response is self._speaker and not response.spoken_ms:
            self._playing_from_ms = self._hearing.judged_ms
        self._has_spoken = True
        return self._tell_all(response.sound(audio))

    def called(self, response_id: str, index: int, name: str, call_id: str, arguments: str) -> list[Effect]:
        """Take the next arguments of the answer's call number ``index``; name and id count at its beginning."""
        response = self._responses.get(response_id)
        if response is None:
            return []
        events = [] if response.has_call(index) else response.call(index, name, call_id or self._new_id("call"))
        if arguments:
            events += response.argue(index, arguments)
        return self._tell_all(events)

    def finished(self, response_id: str, reason: str, usage: dict[str, Any] | None) -> list[Effect]:
        """Take the end of an answer: a chat completion's ``finish_reason`` and usage."""
        response = self._responses.get(response_id)
        if response is None:
            return []
        response.reported_usage = usage
        match reason:
            case "length":
                return self._close(response, "incomplete", {"reason": "max_output_tokens"})
            case "content_filter":
                return self._close(response, "incomplete", {"reason": "content_filter"})
            case _:
                return self._close(response, "completed")

    def failed(self, response_id: str, error: dict[str, Any]) -> list[Effect]:
        """Take the failure of an answer: an error object of chat completions."""
        response = self._responses.get(response_id)
        if response is None:
            return []
        unknown = failure("generation_failed", "The answer could not be generated.")
        shown = {name: error.get(name) or unknown[name] for name in ("type", "code", "message")}
        return self._close(response, "failed", {"error": shown})

    # What the client asks for.

    def _take(self, event: Any) -> list[Effect]:
        match event:
            case SessionUpdate():
                return self._update(event)
            case InputAudioAppend():
                return self._append(event)
            case InputAudioCommit():
                return self._commit()
            case InputAudioClear():
                return self._clear()
            case ItemCreate():
                return self._create_item(event)
            case ItemRetrieve():
                return self._retrieve(event)
            case ItemDelete():
                return self._delete(event)
            case ItemTruncate():
                return self._truncate(event)
            case ResponseCreate():
                return self._create_response(event)
            case ResponseCancel():
                return self._cancel(event)
            case OutputAudioClear():
                raise ClientMistake("invalid_event", "The output audio buffer exists on WebRTC and SIP only.", "type")
        raise AssertionError(event)

    def _update(self, event: SessionUpdate) -> list[Effect]:
        self._configuration.update(event.session, voice_is_fixed=self._has_spoken)
        before = self._hearing.format
        self._hearing.follow(self._configuration.turn_rules, self._configuration.input_format)
        effects: list[Effect] = [self._tell("session.updated", session=self._configuration.shown)]
        if before != self._hearing.format or self._configuration.turn_detection is None:
            self._turn_item_id = None
            effects.append(Reconsider())
        return effects + self._prepare()

    def _append(self, event: InputAudioAppend) -> list[Effect]:
        audio = decoded_audio(event.audio, "audio")
        if self._hearing.is_full:
            raise ClientMistake(
                "input_audio_buffer_full", "The input audio buffer holds ten minutes; commit or clear it.", "audio"
            )
        return [Listen(audio)]

    def _commit(self) -> list[Effect]:
        if self._hearing.buffered_ms < _SHORTEST_COMMIT_MS:
            raise ClientMistake(
                "input_audio_buffer_commit_empty",
                f"The input audio buffer has {self._hearing.buffered_ms} ms of audio; at least 100 ms are needed.",
            )
        return self._commit_utterance(self._hearing.take())

    def _clear(self) -> list[Effect]:
        self._hearing.clear()
        self._turn_item_id = None
        return [Reconsider(), self._tell("input_audio_buffer.cleared")]

    def _create_item(self, event: ItemCreate) -> list[Effect]:
        item, recognitions = self._made_item(checked_item(event.item, "item"), "item")
        self._conversation.insert(item, event.previous_item_id)
        self._note_unrecognised([item])
        return [*self._tell_item(item), *recognitions]

    def _retrieve(self, event: ItemRetrieve) -> list[Effect]:
        item = self._known_item(event.item_id, "item_retrieve_invalid_item_id")
        return [self._tell("conversation.item.retrieved", item=item.shown_with_audio())]

    def _delete(self, event: ItemDelete) -> list[Effect]:
        item = self._known_item(event.item_id, "item_delete_invalid_item_id")
        self._conversation.delete(item.id)
        return [self._tell("conversation.item.deleted", item_id=item.id)]

    def _truncate(self, event: ItemTruncate) -> list[Effect]:
        item = self._known_item(event.item_id, "item_truncate_invalid_item_id")
        sound = item.sounds.get(event.content_index)
        if item.role != "assistant" or not item.sounds:
            raise ClientMistake("invalid_value", "Only audio of the assistant can be truncated.", "item_id")
        if sound is None:
            raise ClientMistake("invalid_value", "There is no audio in this content part.", "content_index")
        if event.audio_end_ms > math.ceil(sound.milliseconds):
            raise ClientMistake(
                "invalid_value",
                f"Audio content of {math.ceil(sound.milliseconds)}ms is already shorter than {event.audio_end_ms}ms.",
                "audio_end_ms",
            )
        sound.truncate(event.audio_end_ms)
        # What was not heard is cut from the audio exactly, from the transcript it cannot be: none is shown.
        item.body["content"][event.content_index].pop("transcript", None)
        if self._speaker is None:
            self._hearing.expect_speech(self._hearing.judged_ms)  # the playback that was waited for has ended
        place = {"item_id": item.id, "content_index": event.content_index, "audio_end_ms": event.audio_end_ms}
        return [self._tell("conversation.item.truncated", **place)]

    def _create_response(self, event: ResponseCreate) -> list[Effect]:
        if self._configuration.transcribes_only:
            raise ClientMistake("invalid_event", "A transcription session gives no responses.", "type")
        given = event.response or {}
        parameters = checked(given, ResponseParameters, "response")
        in_band = parameters.conversation == "auto"
        if in_band and self._speaker is not None:
            raise ClientMistake(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._speaker.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        context: list[Item] = list(self._conversation)
        recognitions: list[Effect] = []
        if parameters.input is not None:
            context, recognitions = self._given_context(parameters.input)
        settings = self._configuration.for_response(given)
        return [*recognitions, *self._respond(settings, context, in_band=in_band, metadata=parameters.metadata)]

    def _cancel(self, event: ResponseCancel) -> list[Effect]:
        response = self._responses.get(event.response_id) if event.response_id is not None else self._speaker
        if response is None:
            raise ClientMistake("response_cancel_not_active", "Cancellation failed: no active response found.")
        return self._stop(response, "client_cancelled")

    # What is heard.

    def _follow_turn(self, event: TurnEvent) -> list[Effect]:
        if self._configuration.turn_detection is None:
            return self._follow_unasked(event)
        match event:
            case SpeechStarted(start_ms):
                return self._start_turn(start_ms)
            case ProbablyEnded():
                return self._anticipate(answer=True)
            case SpeechResumed():
                return [Reconsider()]
            case SpeechStopped(end_ms):
                return self._end_turn(end_ms)
            case IdleTimeout(start_ms, end_ms):
                return self._prompt_silent_user(start_ms, end_ms)

    def _follow_unasked(self, event: TurnEvent) -> list[Effect]:
        """Follow speech whose end only the client decides: its words are still worth knowing early."""
        match event:
            case ProbablyEnded():
                return self._anticipate(answer=False)
            case SpeechStarted() | SpeechResumed():
                return [Reconsider()]
            case _:
                return []

    def _start_turn(self, start_ms: int) -> list[Effect]:
        self._turn_item_id = self._new_id("item")
        self._turn_start_ms = start_ms
        effects: list[Effect] = [
            Reconsider(),
            self._tell("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self._turn_item_id),
        ]
        self._answer_turn_later = False
        if self._speaker is not None and self._turn_detection["interrupt_response"]:
            effects += self._stop(self._speaker, "turn_detected")
        return effects

    def _anticipate(self, *, answer: bool) -> list[Effect]:
        clip = self._hearing.peek()
        return [] if clip is None else [Anticipate(clip, answer and not self._configuration.transcribes_only)]

    def _end_turn(self, end_ms: int) -> list[Effect]:
        if self._turn_item_id is None:
            return []  # it began before turns were asked for
        stopped = self._tell("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=self._turn_item_id)
        utterance = self._hearing.take(self._turn_start_ms, end_ms)
        return [stopped, *self._commit_utterance(utterance), *self._answer_turn()]

    def _prompt_silent_user(self, start_ms: int, end_ms: int) -> list[Effect]:
        if self._speaker is not None:
            return []
        self._turn_item_id = self._new_id("item")
        times = {"audio_start_ms": start_ms, "audio_end_ms": end_ms}
        told = self._tell("input_audio_buffer.timeout_triggered", **times, item_id=self._turn_item_id)
        return [told, *self._commit_utterance(self._hearing.take(start_ms, end_ms)), *self._answer_turn()]

    @property
    def _turn_detection(self) -> dict[str, Any]:
        detection = self._configuration.turn_detection
        assert detection is not None
        return detection

    def _answer_turn(self) -> list[Effect]:
        if self._configuration.transcribes_only or not self._turn_detection["create_response"]:
            return []
        if self._speaker is not None:
            # A response that may not be interrupted: the turn is answered after it.
            self._answer_turn_later = True
            return []
        return self._respond(self._configuration.for_response({}), list(self._conversation), in_band=True)

    def _commit_utterance(self, utterance: Utterance) -> list[Effect]:
        """Make a user item of audio taken from the buffer."""
        item_id, self._turn_item_id = self._turn_item_id or self._new_id("item"), None
        content = [{"type": "input_audio", "transcript": None}]
        item = Item(item_id, "message", "completed", {"role": "user", "content": content})
        item.sounds[0] = Sound(utterance.format, bytearray(utterance.audio))
        previous = self._conversation.last_id
        self._conversation.insert(item)
        effects: list[Effect] = [
            self._tell("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id),
            *self._tell_item(item),
        ]
        if utterance.clip is None:
            # The recogniser hears words in silence; it is not asked.
            return [*effects, Reconsider(), *self._give_words(item, 0, "")]
        self._note_unrecognised([item])
        return [*effects, Recognise(item.id, 0, utterance.clip)]

    # Words.

    def _made_item(self, given: GivenItem, param: str) -> tuple[Item, list[Effect]]:
        """Make an item of what the client gave, and the recognitions it needs."""
        item = item_of(given, given.id or self._new_id("item"))
        recognitions: list[Effect] = []
        if isinstance(given, Message):
            for index, part in enumerate(given.content):
                if part.audio is not None:
                    audio = decoded_audio(part.audio, f"{param}.content[{index}].audio")
                    item.sounds[index] = Sound(self._hearing.format, bytearray(audio), part.transcript)
                    if part.transcript is None:
                        recognitions.append(Recognise(item.id, index, _clip_of(audio, self._hearing.format)))
        return item, recognitions

    def _note_unrecognised(self, items: Iterable[Item]) -> None:
        self._unrecognised |= {item.id: item for item in items if item.awaits_words}

    def _note_words(self, item: Item, content_index: int, words: str) -> None:
        item.sounds[content_index].words = words
        if not item.awaits_words:
            self._unrecognised.pop(item.id, None)

    def _is_transcribed(self, item: Item) -> bool:
        """Whether the client wants to know the words: they were asked for, and the item has not been deleted."""
        return self._configuration.transcription is not None and self._conversation.get(item.id) is item

    def _give_words(self, item: Item, content_index: int, words: str) -> list[Effect]:
        self._note_words(item, content_index, words)
        if not self._is_transcribed(item):
            return []
        item.body["content"][content_index]["transcript"] = words
        seconds = item.sounds[content_index].milliseconds / 1000
        effects: list[Effect] = []
        if words:
            effects.append(self._tell_transcription("delta", item, content_index, delta=words))
        usage = {"type": "duration", "seconds": round(seconds, 3)}
        completed = self._tell_transcription("completed", item, content_index, transcript=words, usage=usage)
        return [*effects, completed]

    def _tell_transcription(self, what: str, item: Item, content_index: int, **fields: Any) -> Tell:
        place = {"item_id": item.id, "content_index": content_index}
        return self._tell(f"conversation.item.input_audio_transcription.{what}", **place, **fields)

    # Responses.

    def _given_context(self, entries: list[dict[str, Any]]) -> tuple[list[Item], list[Effect]]:
        context: list[Item] = []
        recognitions: list[Effect] = []
        for index, entry in enumerate(entries):
            param = f"response.input[{index}]"
            given = checked_input(entry, param)
            if isinstance(given, ItemReference):
                context.append(self._known_item(given.id, "invalid_value", f"{param}.id"))
                continue
            item, needed = self._made_item(given, param)
            context.append(item)
            recognitions += needed
        self._note_unrecognised(context)
        return context, recognitions

    def _respond(
        self,
        settings: dict[str, Any],
        context: list[Item],
        *,
        in_band: bool,
        metadata: dict[str, str] | None = None,
    ) -> list[Effect]:
        conversation = self._conversation if in_band else None
        response = Response(self._new_id("resp"), conversation, context, settings, metadata, self._new_id)
        self._responses[response.id] = response
        if in_band:
            self._speaker = response
            self._hearing.expect_speech(None)
        return [*self._tell_all(response.open()), *self._generate(response)]

    def _generate(self, response: Response) -> list[Effect]:
        """Have the answer produced, unless words that it depends on are still to come."""
        if response.plan is not None or response.awaits_words:
            return []
        response.plan = _plan(response.settings, response.context)
        return [Generate(response.id, response.plan)]

    def _generate_what_waited(self) -> list[Effect]:
        return [effect for response in list(self._responses.values()) for effect in self._generate(response)]

    def _stop(self, response: Response, reason: str) -> list[Effect]:
        return [Abandon(response.id), *self._close(response, "cancelled", {"reason": reason})]

    def _close(self, response: Response, outcome: Outcome, details: dict[str, Any] | None = None) -> list[Effect]:
        del self._responses[response.id]
        effects = self._tell_all(response.close(outcome, details))
        effects.append(self._tell("rate_limits.updated", rate_limits=[]))  # the local models have none
        if response is not self._speaker:
            return effects
        self._speaker = None
        played_ms = self._playing_from_ms + math.ceil(response.spoken_ms) if response.spoken_ms else 0
        self._hearing.expect_speech(max(played_ms, self._hearing.judged_ms))
        if self._answer_turn_later:
            self._answer_turn_later = False
            if self._configuration.turn_detection is not None:
                effects += self._answer_turn()
        return effects + self._prepare()

    def _prepare(self) -> list[Effect]:
        """Have the conversation read while nobody waits for it."""
        context = list(self._conversation)
        if self._configuration.transcribes_only or self._speaker is not None:
            return []
        if any(item.awaits_words for item in context):
            return []
        return [Prepare(_plan(self._configuration.for_response({}), context))]

    # The rest.

    def _known_item(self, item_id: str, code: MistakeCode, param: str = "item_id") -> Item:
        item = self._conversation.get(item_id)
        if item is None:
            raise ClientMistake(code, f"There is no item '{item_id}' in the conversation.", param)
        return item

    def _tell_item(self, item: Item) -> list[Effect]:
        fields = {"previous_item_id": self._conversation.previous_id(item), "item": item.shown()}
        return [self._tell("conversation.item.added", **fields), self._tell("conversation.item.done", **fields)]

    def _tell_all(self, events: Iterable[ServerEvent]) -> list[Effect]:
        return [self._stamped(event) for event in events]

    def _tell(self, type: str, **fields: Any) -> Tell:
        return self._stamped({"type": type, **fields})

    def _stamped(self, event: ServerEvent) -> Tell:
        # The type comes first: whoever relays the frame finds it without parsing.
        return Tell({"type": event["type"], "event_id": self._new_id("event"), **event})


def _plan(settings: dict[str, Any], context: list[Item]) -> Plan:
    output = settings["output"]
    limit = settings["max_output_tokens"]
    return Plan(
        instructions=settings["instructions"],
        messages=chat_messages(context),
        spoken=settings["output_modalities"] == ["audio"],
        format=FORMATS[output["format"]["type"]],
        speed=output["speed"],
        tools=settings["tools"],
        tool_choice=settings["tool_choice"],
        max_tokens=None if limit == "inf" else limit,
    )


def _clip_of(audio: bytes, format: AudioFormat) -> Clip:
    """Return a recording that the client gave whole."""
    samples = resample(format.decode(audio), format.rate, EAR_RATE) if audio else np.zeros(0, np.float32)
    return Clip(None, samples)
