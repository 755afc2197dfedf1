from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from trunkline.local.engines.language import LanguageError, LanguageModel
from trunkline.local.realtime.brain import BrainError, LocalBrain, RemoteBrain, local_request, remote_request
from trunkline.local.realtime.hearing import FORMATS
from trunkline.local.realtime.prompts import Plan

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
LIGHTS = {"type": "function", "name": "lightsOn", "description": "Switches lamps."}


def plan(*messages: tuple[str, str], **fields: Any) -> Plan:
    said = [{"role": role, "content": content} for role, content in messages or (("user", "Hello"),)]
    settings = {"instructions": "", "spoken": True, "format": FORMATS["audio/pcm"], "messages": said}
    return Plan(**{**settings, **fields})


def chunk(text: str = "", finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    delta = {"content": text} if text else {}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **fields}


class ScriptedModel:
    """A language model that says what it is told to, and remembers what it was asked."""

    builtin = True

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []
        self.stopped = 0

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        self.requests.append(request)
        try:
            for text in self.answers.pop(0):
                await asyncio.sleep(0)
                yield chunk(text)
            yield chunk(finish_reason="stop")
            yield {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
        finally:
            self.stopped += 1

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        return {"choices": [{"message": {"content": "".join(self.answers.pop(0))}}]}


def collect(model: ScriptedModel, wanted: Plan) -> list[dict[str, Any]]:
    async def run() -> list[dict[str, Any]]:
        return [part async for part in LocalBrain(cast(LanguageModel, model)).stream(wanted)]

    return asyncio.run(run())


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for part in chunks for choice in part["choices"])


def calls_of(chunks: list[dict[str, Any]]) -> tuple[str, str]:
    deltas = [call for part in chunks for choice in part["choices"] for call in choice["delta"].get("tool_calls", ())]
    names = "".join(call["function"].get("name", "") for call in deltas)
    return names, "".join(call["function"].get("arguments", "") for call in deltas)


# The model in this process.


def test_a_spoken_answer_without_instructions_has_a_spoken_style() -> None:
    assert local_request(plan())["messages"][0]["role"] == "system"
    assert local_request(plan(spoken=False))["messages"][0] == {"role": "user", "content": "Hello"}
    assert local_request(plan(instructions="Rhyme."))["messages"][0] == {"role": "system", "content": "Rhyme."}


def test_the_limit_of_an_answer_is_the_clients_or_the_models() -> None:
    assert local_request(plan(max_tokens=7))["max_tokens"] == 7
    assert local_request(plan())["max_tokens"] == local_request(plan(max_tokens=4096))["max_tokens"]


def test_history_is_cut_rarely_and_only_behind_an_answer() -> None:
    history: list[tuple[str, str]] = []
    first_messages = []
    for turn in range(60):
        for role in ("user", "assistant"):
            history.append((role, f"{turn} " + "word " * 40))
            first_messages.append((role, local_request(plan(*history))["messages"][1]["content"]))
    changes = [role for (_, before), (role, after) in itertools.pairwise(first_messages) if before != after]
    assert 0 < len(changes) < 12
    assert set(changes) == {"assistant"}


def test_what_the_user_said_last_is_never_cut() -> None:
    messages = local_request(plan(("assistant", "x " * 9000), ("user", "y " * 3000)))["messages"]
    assert messages[-1]["content"].startswith("y")


def test_images_and_calls_are_put_into_words() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]
    plain = local_request(plan(messages=messages))["messages"][1:]
    assert all(isinstance(message["content"], str) for message in plain)
    assert "get_weather" in plain[-1]["content"]
    assert "rain" in plain[-1]["content"]


def test_the_built_in_model_stops_at_a_sentence_once_it_has_said_much() -> None:
    sentence = [" one", " two", " three", " four", " five", " six", " seven", " eight", " nine", " ten", "."]
    chunks = collect(ScriptedModel(sentence * 9), plan())
    assert text_of(chunks) == "".join(sentence * 3)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_an_answer_with_a_limit_of_the_clients_is_left_alone() -> None:
    words = [" word."] * 60
    assert text_of(collect(ScriptedModel(words), plan(max_tokens=100))) == "".join(words)
    assert text_of(collect(ScriptedModel(words), plan(spoken=False))) == "".join(words)


def test_a_refusal_of_the_model_is_a_failure_of_the_answer() -> None:
    class Refusing(ScriptedModel):
        async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
            raise LanguageError(400, {"message": "too long", "code": "context_length_exceeded"})
            yield {}

    with pytest.raises(BrainError) as failure:
        collect(Refusing(), plan())
    assert failure.value.error["code"] == "context_length_exceeded"
    asyncio.run(LocalBrain(cast(LanguageModel, Refusing())).prepare(plan()))


def test_closing_an_answer_stops_the_model() -> None:
    model = ScriptedModel(["a"] * 1000)

    async def run() -> None:
        answer = LocalBrain(cast(LanguageModel, model)).stream(plan())
        await anext(answer)
        await answer.aclose()

    asyncio.run(run())
    assert model.stopped == 1


# Functions for the model in this process.


def test_a_demanded_function_is_called_with_arguments_under_its_schema() -> None:
    model = ScriptedModel(['{"city"', ': "Paris"}'])
    chunks = collect(model, plan(tools=[LIGHTS, WEATHER], tool_choice={"type": "function", "name": "get_weather"}))
    assert calls_of(chunks) == ("get_weather", '{"city": "Paris"}')
    assert model.requests[0]["response_format"]["json_schema"]["schema"] == WEATHER["parameters"]
    reasons = [choice["finish_reason"] for part in chunks for choice in part["choices"] if choice["finish_reason"]]
    assert reasons == ["tool_calls"]


def test_a_function_without_parameters_is_called_without_asking() -> None:
    model = ScriptedModel()
    assert calls_of(collect(model, plan(tools=[LIGHTS], tool_choice="required"))) == ("lightsOn", "{}")
    assert model.requests == []


def test_of_several_the_model_picks_one() -> None:
    model = ScriptedModel(['{"function": "get_weather"}'], ["{}"])
    wanted = plan(("user", "The weather and the lamps"), tools=[LIGHTS, WEATHER], tool_choice="required")
    assert calls_of(collect(model, wanted))[0] == "get_weather"


def test_a_function_is_offered_only_when_the_words_are_about_it() -> None:
    model = ScriptedModel(["Hi."])
    assert text_of(collect(model, plan(("user", "Good morning"), tools=[WEATHER]))) == "Hi."
    model = ScriptedModel(['{"function": "get_weather"}'], ["{}"])
    assert calls_of(collect(model, plan(("user", "How is the weather?"), tools=[WEATHER])))[0] == "get_weather"
    model = ScriptedModel(['{"function": "none"}'], ["Fine."])
    assert text_of(collect(model, plan(("user", "I love weather"), tools=[WEATHER]))) == "Fine."
    model = ScriptedModel(["No."])
    assert text_of(collect(model, plan(("user", "The weather?"), tools=[WEATHER], tool_choice="none"))) == "No."


def test_the_result_of_a_call_is_told_and_not_called_for_again() -> None:
    messages = [
        {"role": "user", "content": "How is the weather?"},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]
    assert text_of(collect(ScriptedModel(["Rain."]), plan(messages=messages, tools=[WEATHER]))) == "Rain."


# A provider behind the gateway.


class Wire:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.brain = RemoteBrain(self.sent.append, lambda prefix: f"{prefix}_1")

    def answer(self, *frames: dict[str, Any]) -> None:
        for frame in frames:
            self.brain.take({"id": "ask_1", **frame})


def test_a_remote_answer_is_asked_for_and_taken_chunk_by_chunk() -> None:
    wire = Wire()

    async def run() -> list[dict[str, Any]]:
        answer = wire.brain.stream(plan())
        first = asyncio.ensure_future(anext(answer))
        await asyncio.sleep(0)
        wire.answer(
            {"type": "trunkline.brain.chunk", "chunk": chunk("a")},
            {"type": "trunkline.brain.chunk", "chunk": chunk("b")},
            {"type": "trunkline.brain.done"},
        )
        return [await first, *[part async for part in answer]]

    assert text_of(asyncio.run(run())) == "ab"
    (request,) = wire.sent
    assert list(request) == ["type", "id", "body"]
    assert request["type"] == "trunkline.brain.request"
    assert request["body"]["messages"][-1] == {"role": "user", "content": "Hello"}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "trunkline.brain.failed", "error": {"code": "no_provider_key"}},
        {"type": "trunkline.brain.chunk", "chunk": {"error": {"code": "no_provider_key"}}},
    ],
)
def test_a_remote_failure_is_a_failure_of_the_answer(frame: dict[str, Any]) -> None:
    wire = Wire()

    async def run() -> None:
        answer = asyncio.ensure_future(anext(wire.brain.stream(plan())))
        await asyncio.sleep(0)
        wire.answer(frame)
        await answer

    with pytest.raises(BrainError) as failure:
        asyncio.run(run())
    assert failure.value.error == {"code": "no_provider_key"}


def test_closing_a_remote_answer_cancels_it_once() -> None:
    wire = Wire()

    async def run() -> None:
        answer = wire.brain.stream(plan())
        first = asyncio.ensure_future(anext(answer))
        await asyncio.sleep(0)
        wire.answer({"type": "trunkline.brain.chunk", "chunk": chunk("a")})
        await first
        await answer.aclose()
        wire.answer({"type": "trunkline.brain.chunk", "chunk": chunk("late")})

    asyncio.run(run())
    assert [frame["type"] for frame in wire.sent] == ["trunkline.brain.request", "trunkline.brain.cancel"]
    assert wire.sent[1]["id"] == wire.sent[0]["id"]


def test_a_remote_request_speaks_chat_completions() -> None:
    body = remote_request(
        plan(
            instructions="Rhyme.",
            tools=[WEATHER],
            tool_choice={"type": "function", "name": "get_weather"},
            max_tokens=9,
        )
    )
    assert body["messages"][0]["role"] == "system"
    assert body["messages"][0]["content"].startswith("Rhyme.")
    assert body["tools"] == [{"type": "function", "function": {k: v for k, v in WEATHER.items() if k != "type"}}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert body["max_tokens"] == 9
    assert body["stream_options"] == {"include_usage": True}
    assert "tools" not in remote_request(plan())
    assert remote_request(plan(spoken=False))["messages"] == [{"role": "user", "content": "Hello"}]
