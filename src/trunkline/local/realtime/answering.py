"""The making of one answer: text streams in, is cut into passages, and each is spoken while the next is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import msgspec
import structlog

from trunkline.local.audio import FloatArray, Resampler, to_alaw, to_mulaw, to_pcm16
from trunkline.local.codes import failure
from trunkline.local.engines.synthesis import Synthesiser, UnspeakableText
from trunkline.local.realtime.brain import Brain, BrainError
from trunkline.local.realtime.hearing import AudioFormat
from trunkline.local.realtime.prompts import Plan
from trunkline.local.realtime.sentences import Passage, PassageCutter

log = structlog.get_logger("trunkline.local.realtime")

_DELTA_MS: Final = 200
"""The most audio in one event: clients with small frames must be able to take it."""

_ENCODERS: Final = {"audio/pcm": to_pcm16, "audio/pcmu": to_mulaw, "audio/pcma": to_alaw}


class Said(msgspec.Struct, frozen=True):
    """The next text."""

    text: str


class Sounded(msgspec.Struct, frozen=True):
    """The next audio, in the format of the plan."""

    audio: bytes


class Called(msgspec.Struct, frozen=True):
    """The next arguments of a call. ``name`` and ``call_id`` come with the first."""

    index: int
    name: str
    call_id: str
    arguments: str


class Finished(msgspec.Struct, frozen=True):
    """The answer is complete, or as complete as ``reason`` (a chat completion's ``finish_reason``) says."""

    reason: str
    usage: dict[str, Any] | None


class Broke(msgspec.Struct, frozen=True):
    """The answer ends here: an OpenAI error object."""

    error: dict[str, Any]


Output = Said | Sounded | Called | Finished | Broke


class Answering:
    """An answer in the making. It keeps what it has until `deliver` says where to; so it can begin before it is due."""

    def __init__(
        self, plan: Plan, brain: Brain, synthesiser: Synthesiser, make_room: Callable[[], Awaitable[None]]
    ) -> None:
        """Begin. ``make_room`` waits while the client is behind with reading."""
        self.plan = plan
        self._brain = brain
        self._synthesiser = synthesiser
        self._make_room = make_room
        self._encoder = _Encoder(plan.format)
        self._kept: list[Output] = []
        self._receiver: Callable[[Output], None] | None = None
        self.task = asyncio.create_task(self._run())

    def deliver(self, receiver: Callable[[Output], None]) -> None:
        """Hand over what there is, and from now on all that comes."""
        self._receiver = receiver
        kept, self._kept = self._kept, []
        for output in kept:
            receiver(output)

    def cancel(self) -> None:
        """Stop writing and speaking at once."""
        self._receiver, self._kept = _ignore, []
        self.task.cancel()

    def _give(self, output: Output) -> None:
        if self._receiver is None:
            self._kept.append(output)
        else:
            self._receiver(output)

    async def _run(self) -> None:
        try:
            finished = await (self._write_and_speak() if self.plan.spoken else self._write(self._give_text))
        except BrainError as error:
            self._give(Broke(error.error))
        except Exception:
            log.exception("answer failed")
            self._give(Broke(failure("internal_error", "The local voice failed.")))
        else:
            self._give(finished)

    async def _write_and_speak(self) -> Finished:
        passages: asyncio.Queue[Passage | None] = asyncio.Queue()
        cutter = PassageCutter()

        def cut(text: str) -> None:
            for passage in cutter.feed(text):
                passages.put_nowait(passage)

        speaking = asyncio.create_task(self._speak_all(passages))
        try:
            finished = await self._write(cut)
            for passage in (*cutter.finish(), None):
                passages.put_nowait(passage)
            await speaking
        except BrainError:
            # What was written before the failure is still said.
            passages.put_nowait(None)
            await speaking
            raise
        finally:
            speaking.cancel()
        return finished

    async def _write(self, take: Callable[[str], None]) -> Finished:
        """Have the brain write; its text goes to ``take``, its calls straight out."""
        reason, usage = "stop", None
        async with aclosing(self._brain.stream(self.plan)) as chunks:
            async for chunk in chunks:
                usage = chunk.get("usage") or usage
                for choice in chunk.get("choices") or ():
                    delta = choice.get("delta") or {}
                    if text := delta.get("content"):
                        take(text)
                    for call in delta.get("tool_calls") or ():
                        self._give_call(call)
                    reason = choice.get("finish_reason") or reason
                await self._make_room()
        return Finished(reason, usage)

    def _give_text(self, text: str) -> None:
        self._give(Said(text))

    def _give_call(self, call: dict[str, Any]) -> None:
        function = call.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        self._give(Called(call.get("index") or 0, name, call.get("id") or "", arguments))

    async def _speak_all(self, passages: asyncio.Queue[Passage | None]) -> None:
        while (passage := await passages.get()) is not None:
            samples = await self._speech(passage.speech)
            self._give(Said(passage.text))
            for audio in self._encoder.encode(samples):
                self._give(Sounded(audio))
                await self._make_room()
        for audio in self._encoder.finish():
            self._give(Sounded(audio))

    async def _speech(self, text: str) -> FloatArray | None:
        if not text:
            return None
        try:
            return await self._synthesiser.speak(text, speed=self.plan.speed)
        except UnspeakableText:
            return None  # the transcript shows what cannot be heard


class _Encoder:
    """Turns speech at 24 kHz into pieces of at most `_DELTA_MS` in a format of the protocol."""

    def __init__(self, format: AudioFormat) -> None:
        self._encode = _ENCODERS[format.name]
        self._piece = format.rate * _DELTA_MS // 1000
        self._resampler = (
            Resampler(Synthesiser.SAMPLE_RATE, format.rate) if format.rate != Synthesiser.SAMPLE_RATE else None
        )

    def encode(self, samples: FloatArray | None) -> list[bytes]:
        if samples is None:
            return []
        return self._pieces(self._resampler.feed(samples) if self._resampler else samples)

    def finish(self) -> list[bytes]:
        return self._pieces(self._resampler.finish()) if self._resampler else []

    def _pieces(self, samples: FloatArray) -> list[bytes]:
        return [self._encode(samples[at : at + self._piece]) for at in range(0, len(samples), self._piece)]


def _ignore(output: Output) -> None:
    """Drop what an answer still gives after it was stopped."""
