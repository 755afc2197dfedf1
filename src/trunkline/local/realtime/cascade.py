"""Carries out what a session asks for: recognition, answers, and both ahead of time where that saves waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator
from typing import Any, Final, Protocol, TypeVar

import structlog

from trunkline.local.engines import Engines
from trunkline.local.realtime.answering import Answering, Broke, Called, Finished, Output, Said, Sounded
from trunkline.local.realtime.brain import Brain
from trunkline.local.realtime.hearing import Clip, voiced_part
from trunkline.local.realtime.prompts import Plan
from trunkline.local.realtime.session import (
    Abandon,
    Anticipate,
    Effect,
    Generate,
    Listen,
    Prepare,
    RealtimeSession,
    Recognise,
    Reconsider,
    Tell,
)

log = structlog.get_logger("trunkline.local.realtime")

Result = TypeVar("Result")

# About half a second of sound in any format: judging it takes 2 ms, then others have their turn.
_SLICE_BYTES: Final = 24_000


class Outlet(Protocol):
    """Where events go."""

    def send(self, event: dict[str, Any]) -> None:
        """Queue an event."""

    async def make_room(self) -> None:
        """Wait while too much is queued."""


class _Anticipation:
    """A turn that has probably ended: its words, and perhaps an answer to them that is being made already."""

    def __init__(self, clip: Clip, words: asyncio.Task[str]) -> None:
        self.clip = clip
        self.words = words
        self.answering: Answering | None = None


class Cascade:
    """Runs one session on the engines. All methods belong to one event loop."""

    def __init__(self, session: RealtimeSession, engines: Engines, brain: Brain, outlet: Outlet) -> None:
        self._session = session
        self._engines = engines
        self._brain = brain
        self._outlet = outlet
        self._effects: deque[Effect] = deque()
        self._performing = False
        self._preparation: asyncio.Task[None] | None = None
        self._anticipation: _Anticipation | None = None
        self._answers: dict[str, Answering] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def open(self) -> None:
        """Greet the client."""
        self._perform(self._session.open())

    async def take(self, text: str) -> None:
        """Take a frame of the client; return when the session is ready for the next."""
        for effect in self._session.receive(text):
            if isinstance(effect, Listen):
                await self._listen(effect.audio)
            else:
                self._perform([effect])

    async def close(self) -> None:
        """Stop everything and wait until it has stopped."""
        for answering in self._answers.values():
            answering.cancel()
        self._drop_anticipation()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, audio: bytes) -> None:
        for piece in _slices(audio):
            self._perform(self._session.hear(piece))
            if len(audio) > _SLICE_BYTES:
                await asyncio.sleep(0)

    def _perform(self, effects: list[Effect]) -> None:
        """Carry out effects in order; those that follow from one come after all that were there before it."""
        self._effects.extend(effects)
        if self._performing:
            return
        self._performing = True
        try:
            while self._effects:
                self._perform_one(self._effects.popleft())
        finally:
            self._performing = False

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case Tell(event):
                self._outlet.send(event)
            case Anticipate(clip, answer):
                self._anticipate(clip, answer)
            case Reconsider():
                self._drop_anticipation()
            case Recognise():
                self._recognise(effect)
            case Generate(response_id, plan):
                self._answer(response_id, self._answering_for(plan))
            case Prepare(plan):
                self._prepare(plan)
            case Abandon(response_id):
                answering = self._answers.pop(response_id, None)
                if answering is not None:
                    answering.cancel()
            case Listen():
                raise AssertionError("audio is listened to where it came in")

    # Ahead of time.

    def _prepare(self, plan: Plan) -> None:
        self._drop_preparation()
        if self._brain.thinks_ahead:
            self._preparation = self._start(self._brain.prepare(plan))

    def _drop_preparation(self) -> None:
        """Make way: while the model still reads, it would read the next request from its beginning."""
        if self._preparation is not None:
            self._preparation.cancel()
            self._preparation = None

    def _anticipate(self, clip: Clip, answer: bool) -> None:
        self._drop_anticipation()
        anticipation = _Anticipation(clip, self._start(self._words(clip)))
        self._anticipation = anticipation
        if answer and self._brain.thinks_ahead:
            anticipation.words.add_done_callback(lambda words: self._think_ahead(anticipation, words))

    def _think_ahead(self, anticipation: _Anticipation, words: asyncio.Task[str]) -> None:
        if anticipation is not self._anticipation or words.cancelled() or words.exception() is not None:
            return
        plan = self._session.draft(words.result())
        if plan is not None:
            anticipation.answering = self._begin_answering_with(plan)

    def _drop_anticipation(self) -> None:
        anticipation, self._anticipation = self._anticipation, None
        if anticipation is not None:
            anticipation.words.cancel()
            if anticipation.answering is not None:
                anticipation.answering.cancel()

    # When it is due.

    def _recognise(self, effect: Recognise) -> None:
        anticipation = self._anticipation
        if anticipation is not None and effect.clip.span == anticipation.clip.span:
            words = anticipation.words
        else:
            if effect.clip.span is not None:
                self._drop_anticipation()
            words = self._start(self._words(effect.clip))
        if words.done():
            self._report_words(effect, words)
        else:
            words.add_done_callback(lambda done: self._report_words(effect, done))

    def _report_words(self, effect: Recognise, words: asyncio.Task[str]) -> None:
        if words.cancelled():
            return
        if (error := words.exception()) is not None:
            log.error("recognition failed", exc_info=error)
            reason = "The local recogniser failed."
            self._perform(self._session.not_recognised(effect.item_id, effect.content_index, reason))
            return
        self._perform(self._session.recognised(effect.item_id, effect.content_index, words.result()))

    async def _words(self, clip: Clip) -> str:
        samples = clip.samples
        if clip.span is None:
            # The recogniser hears words in silence: only where somebody speaks it is asked.
            voiced = await asyncio.to_thread(voiced_part, samples, self._engines.activity().probability)
            if voiced is None:
                return ""
            samples = voiced
        return await self._engines.recogniser.transcribe(samples)

    def _answering_for(self, plan: Plan) -> Answering:
        anticipation = self._anticipation
        if anticipation is not None and anticipation.answering is not None and anticipation.answering.plan == plan:
            self._anticipation = None
            return anticipation.answering
        self._drop_anticipation()
        return self._begin_answering_with(plan)

    def _begin_answering_with(self, plan: Plan) -> Answering:
        self._drop_preparation()
        answering = Answering(plan, self._brain, self._engines.synthesiser, self._outlet.make_room)
        self._keep(answering.task)
        return answering

    def _answer(self, response_id: str, answering: Answering) -> None:
        self._answers[response_id] = answering
        answering.deliver(lambda output: self._report(response_id, output))

    def _report(self, response_id: str, output: Output) -> None:
        session = self._session
        match output:
            case Said(text):
                effects = session.said(response_id, text)
            case Sounded(audio):
                effects = session.sounded(response_id, audio)
            case Called(index, name, call_id, arguments):
                effects = session.called(response_id, index, name, call_id, arguments)
            case Finished(reason, usage):
                del self._answers[response_id]
                effects = session.finished(response_id, reason, usage)
            case Broke(error):
                del self._answers[response_id]
                effects = session.failed(response_id, error)
        self._perform(effects)

    def _start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._keep(task)
        return task

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task until it ends; the event loop itself does not."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _slices(audio: bytes) -> Iterator[bytes]:
    for at in range(0, len(audio), _SLICE_BYTES):
        yield audio[at : at + _SLICE_BYTES]
