"""The shell around the session, with engines that do what the test says."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from trunkline.local.audio import FloatArray, to_pcm16
from trunkline.local.engines import Engines, UnspeakableText
from trunkline.local.realtime.brain import BrainError
from trunkline.local.realtime.cascade import Cascade
from trunkline.local.realtime.prompts import Plan
from trunkline.local.realtime.session import RealtimeSession

RATE = 24_000


def sound(ms: int, level: float = 0.5) -> bytes:
    return to_pcm16(np.full(ms * RATE // 1000, level, np.float32))


def silence(ms: int) -> bytes:
    return sound(ms, 0.0)


class Recogniser:
    def __init__(self) -> None:
        self.words = "hello"
        self.clips: list[FloatArray] = []
        self.gate: asyncio.Event | None = None

    async def transcribe(self, samples: FloatArray) -> str:
        self.clips.append(samples)
        if self.gate is not None:
            await self.gate.wait()
        if self.words == "broken":
            raise RuntimeError("no")
        return self.words


class Synthesiser:
    """A second of sound for every passage."""

    def __init__(self) -> None:
        self.spoken: list[str] = []

    async def speak(self, text: str, *, speed: float = 1.0) -> FloatArray:
        await asyncio.sleep(0)
        if not text.isascii():
            raise UnspeakableText(text)
        self.spoken.append(text)
        return np.full(RATE, 0.25, np.float32)


class Brain:
    """Answers with the texts it is given; the last piece may be an error, or None to wait for ever."""

    def __init__(self, *pieces: Any, thinks_ahead: bool = True) -> None:
        self.pieces = pieces
        self.thinks_ahead = thinks_ahead
        self.plans: list[Plan] = []
        self.prepared: list[Plan] = []
        self.closed = 0

    async def prepare(self, plan: Plan) -> None:
        self.prepared.append(plan)

    async def stream(self, plan: Plan) -> AsyncGenerator[dict[str, Any], None]:
        self.plans.append(plan)
        try:
            for piece in self.pieces:
                await asyncio.sleep(0)
                if isinstance(piece, Exception):
                    raise piece
                if piece is None:
                    await asyncio.Event().wait()
                yield {"choices": [{"delta": {"content": piece}, "finish_reason": None}]}
            yield {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": None}
        finally:
            self.closed += 1


class Room:
    """A session on scripted engines, and what it has told the client."""

    def __init__(self, brain: Brain) -> None:
        self.brain = brain
        self.recogniser, self.synthesiser = Recogniser(), Synthesiser()
        self.events: list[dict[str, Any]] = []
        self.told = asyncio.Event()
        numbers = itertools.count(1)
        detector = SimpleNamespace(probability=lambda frame: float(np.abs(frame).mean() > 0.1))
        engines = SimpleNamespace(recogniser=self.recogniser, synthesiser=self.synthesiser, activity=lambda: detector)
        session = RealtimeSession(
            "realtime",
            "local",
            probability=detector.probability,
            new_id=lambda prefix: f"{prefix}_{next(numbers)}",
            expires_at=1,
        )
        self.cascade = Cascade(session, cast(Engines, engines), brain, self)

    def send(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.told.set()

    async def make_room(self) -> None:
        await asyncio.sleep(0)

    async def say(self, type: str, **fields: Any) -> None:
        await self.cascade.take(json.dumps({"type": type, **fields}))

    async def append(self, *audio: bytes) -> None:
        for piece in audio:
            await self.say("input_audio_buffer.append", audio=base64.b64encode(piece).decode())

    async def settle(self) -> None:
        """Let everything happen that needs no more input."""
        for _ in range(200):
            await asyncio.sleep(0)

    async def until(self, type: str) -> None:
        async with asyncio.timeout(10):
            while type not in self.types():
                self.told.clear()
                await self.told.wait()

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def transcript(self) -> str:
        return "".join(
            event["delta"] for event in self.events if event["type"] == "response.output_audio_transcript.delta"
        )

    def audio_ms(self) -> list[float]:
        deltas = [event["delta"] for event in self.events if event["type"] == "response.output_audio.delta"]
        return [len(base64.b64decode(delta)) * 1000 / RATE / 2 for delta in deltas]


def play(brain: Brain, scene: Callable[[Room], Awaitable[None]]) -> Room:
    async def run() -> Room:
        room = Room(brain)
        room.cascade.open()
        try:
            await scene(room)
        finally:
            await room.cascade.close()
        return room

    return asyncio.run(run())


def test_a_turn_is_heard_answered_and_spoken() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(700))
        await room.until("response.done")

    room = play(Brain("It is", " noon. And", " sunny."), scene)
    assert room.transcript() == "It is noon. And sunny."
    assert room.synthesiser.spoken == ["It is noon.", "And sunny."]
    assert sum(room.audio_ms()) == 2000
    assert max(room.audio_ms()) <= 200
    assert room.events[-2]["response"]["status"] == "completed"


def test_the_text_of_each_passage_comes_before_its_sound() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(700))
        await room.until("response.done")

    room = play(Brain("One. ", "Two."), scene)
    kinds = [kind.removeprefix("response.output_audio") for kind in room.types() if kind.endswith("delta")]
    assert [kind for kind, _ in itertools.groupby(kinds)] == ["_transcript.delta", ".delta"] * 2


def test_recognition_and_answer_begin_before_the_turn_has_ended_and_are_not_done_twice() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(280))
        await room.settle()
        assert len(room.recogniser.clips) == 1
        assert len(room.brain.plans) == 1
        assert room.synthesiser.spoken == ["Hi."]
        assert "response.created" not in room.types()
        await room.append(silence(400))
        await room.until("response.done")

    room = play(Brain("Hi."), scene)
    assert len(room.recogniser.clips) == 1
    assert len(room.brain.plans) == 1
    assert room.types().index("response.created") < room.types().index("response.output_item.added")
    assert room.transcript() == "Hi."


def test_an_early_answer_is_dropped_when_speech_goes_on() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(280))
        await room.settle()
        room.recogniser.words = "hello again"
        await room.append(sound(400))
        await room.settle()
        assert room.brain.closed == 1
        await room.append(silence(700))
        await room.settle()

    room = play(Brain("Hi.", None), scene)
    assert [plan.messages[-1]["content"] for plan in room.brain.plans] == ["hello", "hello again"]
    assert room.types().count("response.created") == 1


def test_an_early_answer_that_is_no_longer_right_is_not_given() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(280))
        await room.settle()
        await room.say("session.update", session={"type": "realtime", "instructions": "Rhyme."})
        await room.append(silence(400))
        await room.until("response.done")

    room = play(Brain("Hi."), scene)
    assert [plan.instructions for plan in room.brain.plans] == ["", "Rhyme."]
    assert room.transcript() == "Hi."


def test_a_turn_that_ends_before_its_words_are_known_is_answered_when_they_are() -> None:
    async def scene(room: Room) -> None:
        room.recogniser.gate = asyncio.Event()
        await room.append(sound(800), silence(700))
        await room.settle()
        assert room.types()[-1] == "response.created"
        assert room.brain.plans == []
        room.recogniser.gate.set()
        await room.until("response.done")

    room = play(Brain("Hi."), scene)
    assert len(room.recogniser.clips) == 1
    assert len(room.brain.plans) == 1


def test_a_brain_that_costs_money_is_asked_only_once_the_turn_has_ended() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(280))
        await room.settle()
        assert len(room.recogniser.clips) == 1
        assert room.brain.plans == []
        await room.append(silence(400))
        await room.until("response.done")

    room = play(Brain("Hi.", thinks_ahead=False), scene)
    assert len(room.brain.plans) == 1
    assert room.brain.prepared == []


def test_speech_stops_the_answer_and_its_sound_at_once() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(700))
        await room.until("response.output_audio.delta")
        await room.append(sound(200))
        done = next(event for event in room.events if event["type"] == "response.done")
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        told = len(room.events)
        await room.settle()
        assert room.brain.closed == 1
        assert len(room.events) == told

    play(Brain("One. ", "Two. ", None), scene)


def test_a_failure_of_the_brain_is_told_behind_what_it_said_before() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(700))
        await room.until("response.done")

    room = play(Brain("Before. ", BrainError({"type": "server_error", "code": "gone", "message": "Gone."})), scene)
    response = next(event for event in room.events if event["type"] == "response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "gone"
    assert room.transcript() == "Before."


def test_an_unexpected_failure_ends_the_answer_and_not_the_session() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(700))
        await room.until("response.done")
        await room.say("input_audio_buffer.clear")

    room = play(Brain(ZeroDivisionError()), scene)
    response = next(event for event in room.events if event["type"] == "response.done")["response"]
    assert response["status_details"]["error"]["code"] == "internal_error"
    assert room.types()[-1] == "input_audio_buffer.cleared"


def test_a_failure_of_the_recogniser_is_told() -> None:
    async def scene(room: Room) -> None:
        room.recogniser.words = "broken"
        transcription = {"input": {"transcription": {"model": "local"}}}
        await room.say("session.update", session={"type": "realtime", "audio": transcription})
        await room.append(sound(800), silence(700))
        await room.until("response.done")

    assert "conversation.item.input_audio_transcription.failed" in play(Brain("Pardon?"), scene).types()


def test_what_cannot_be_spoken_is_still_written() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(700))
        await room.until("response.done")

    room = play(Brain("Hello. ", "你好。"), scene)
    assert room.transcript() == "Hello. 你好。"
    assert sum(room.audio_ms()) == 1000


@pytest.mark.parametrize(
    ("name", "bytes_per_second"), [("audio/pcm", 48_000), ("audio/pcmu", 8_000), ("audio/pcma", 8_000)]
)
def test_speech_comes_in_the_format_that_was_asked_for(name: str, bytes_per_second: int) -> None:
    async def scene(room: Room) -> None:
        audio = {"output": {"format": {"type": name}}}
        await room.say("response.create", response={"audio": audio})
        await room.until("response.done")

    room = play(Brain("One. ", "Two."), scene)
    deltas = [event["delta"] for event in room.events if event["type"] == "response.output_audio.delta"]
    assert sum(len(base64.b64decode(delta)) for delta in deltas) == 2 * bytes_per_second


def test_a_long_append_lets_others_have_their_turn() -> None:
    async def scene(room: Room) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        waiting = asyncio.create_task(others())
        await room.append(silence(20_000))
        waiting.cancel()
        assert turns >= 20

    play(Brain(), scene)


def test_the_next_question_is_prepared_for_and_closing_leaves_nothing_running() -> None:
    async def scene(room: Room) -> None:
        await room.append(sound(800), silence(700))
        await room.until("response.done")
        await room.settle()
        assert [message["content"] for message in room.brain.prepared[-1].messages[:2]] == ["hello", "Hi."]
        room.brain.pieces = (None,)
        await room.say("response.create")
        await room.settle()
        await room.cascade.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    assert play(Brain("Hi."), scene).brain.closed == 2


def test_silence_given_as_an_item_is_not_sent_to_the_recogniser() -> None:
    async def scene(room: Room) -> None:
        content = [{"type": "input_audio", "audio": base64.b64encode(silence(1000)).decode()}]
        await room.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await room.say("response.create")
        await room.until("response.done")

    room = play(Brain("Hello?"), scene)
    assert room.recogniser.clips == []
    assert room.brain.plans[-1].messages == [{"role": "user", "content": "(silence)"}]
