"""Pipecat's service for OpenAI's realtime models, in a pipeline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from driving import (
    ABOUT_FUNCTION,
    API_KEY,
    BASE_URL,
    BRIEF,
    FUNCTION,
    GREETING,
    LENGTHY,
    MODEL,
    PARAMETERS,
    RATE,
    REPORT_OF_WEATHER,
    STORY,
    WEATHER,
    Report,
    microphone,
    run,
)
from loguru import logger
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    FunctionCallResultFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    LLMTextFrame,
    MetricsFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SessionProperties,
    TurnDetection,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

logger.remove()


class Witness(FrameProcessor):
    """Stands in the pipeline and tells what passes."""

    def __init__(self, seen: Callable[[Frame], None]) -> None:
        super().__init__()
        self._seen = seen

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self._seen(frame)
        await self.push_frame(frame, direction)


class Talk:
    """A running pipeline, and the frames that passed at both ends of the service."""

    def __init__(self, worker: PipelineWorker, service: OpenAIRealtimeLLMService) -> None:
        self.worker = worker
        self.service = service
        self.frames: list[Frame] = []
        self._changed = asyncio.Event()

    def saw(self, frame: Frame) -> None:
        if frame not in self.frames:
            self.frames.append(frame)
            self._changed.set()

    def of(self, kind: type[Any]) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    async def until(self, wanted: Callable[[], object]) -> None:
        while not wanted():
            assert self.of(ErrorFrame) == [], self.of(ErrorFrame)
            self._changed.clear()
            await self._changed.wait()

    def said(self) -> str:
        return "".join(frame.text for frame in self.of(LLMTextFrame))

    async def speak(self) -> None:
        async for frame in microphone():
            await self.worker.queue_frame(InputAudioRawFrame(audio=frame, sample_rate=RATE, num_channels=1))


@asynccontextmanager
async def talk(
    modality: Any, first: str = "", instructions: str = BRIEF, **functions: Callable[..., Awaitable[None]]
) -> AsyncIterator[Talk]:
    listening = AudioInput(
        transcription=InputAudioTranscription(model="gpt-4o-mini-transcribe"),
        turn_detection=TurnDetection(type="server_vad", silence_duration_ms=500),
    )
    service = OpenAIRealtimeLLMService(
        api_key=API_KEY,
        base_url=BASE_URL,
        settings=OpenAIRealtimeLLMService.Settings(
            model=MODEL,
            session_properties=SessionProperties(
                output_modalities=[modality],
                instructions=instructions,
                audio=AudioConfiguration(input=listening),
            ),
        ),
    )
    schema = FunctionSchema(FUNCTION, ABOUT_FUNCTION, PARAMETERS["properties"], PARAMETERS["required"])
    for name, function in functions.items():
        service.register_function(name, function)
    messages: Any = [{"role": "user", "content": first}] if first else []
    context = LLMContext(messages, ToolsSchema(standard_tools=[schema])) if functions else LLMContext(messages)
    pair = LLMContextAggregatorPair(context)
    heard: list[Callable[[Frame], None]] = []
    before, after = (Witness(lambda frame: heard[0](frame)) for _ in range(2))
    pipeline = Pipeline([pair.user(), before, service, after, pair.assistant()])
    worker = PipelineWorker(
        pipeline,
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
        params=PipelineParams(audio_in_sample_rate=RATE, enable_metrics=True, enable_usage_metrics=True),
    )
    one = Talk(worker, service)
    heard.append(one.saw)
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def begun(worker: Any, frame: Any) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await started.wait()
    if first:
        await worker.queue_frame(LLMRunFrame())
    try:
        yield one
    finally:
        await worker.cancel()
        await running


def used(one: Talk) -> int:
    """The tokens that the service has reported."""
    data = [data for frame in one.of(MetricsFrame) for data in frame.data if isinstance(data, LLMUsageMetricsData)]
    return sum(usage.value.total_tokens for usage in data)


def ended_after(one: Talk, kind: type[Any]) -> bool:
    """Whether an answer has ended since a frame of this kind passed."""
    kinds = [type(frame) for frame in one.frames]
    return kind in kinds and LLMFullResponseEndFrame in kinds[kinds.index(kind) :]


async def text() -> Report:
    async with talk("text", GREETING) as one:
        await one.until(lambda: ended_after(one, LLMTextFrame) and used(one))
        return {"said": one.said(), "tokens": used(one)}


async def speech() -> Report:
    async with talk("audio") as one:
        await one.speak()
        await one.until(lambda: one.of(TranscriptionFrame) and ended_after(one, TTSTextFrame))
        kinds = [type(frame) for frame in one.frames]
        return {
            "heard": one.of(TranscriptionFrame)[0].text,
            "said": one.said(),
            "audio_bytes": sum(len(frame.audio) for frame in one.of(TTSAudioRawFrame)),
            # The service proposes a turn; who decides it is a task of its own, whose frames may come after the sound.
            "in_order": kinds.index(ProposedUserStartedSpeakingFrame)
            < kinds.index(ProposedUserStoppedSpeakingFrame)
            < kinds.index(TTSAudioRawFrame),
        }


async def function() -> Report:
    called: list[FunctionCallParams] = []

    async def weather(parameters: FunctionCallParams) -> None:
        called.append(parameters)
        await parameters.result_callback(REPORT_OF_WEATHER)

    async with talk("text", WEATHER, **{FUNCTION: weather}) as one:
        await one.until(lambda: one.of(FunctionCallResultFrame) and ended_after(one, LLMTextFrame))
        (call,) = called
        return {
            "name": call.function_name,
            "arguments": json.dumps(dict(call.arguments)),
            "said": one.said(),
        }


async def barge_in() -> Report:
    async with talk("audio", STORY, LENGTHY) as one:
        await one.until(lambda: one.of(TTSAudioRawFrame))
        await one.speak()
        await one.until(lambda: ended_after(one, InterruptionFrame) and one.of(TranscriptionFrame))
        return {"truncated": True}


run(text=text, speech=speech, function=function, barge_in=barge_in)
