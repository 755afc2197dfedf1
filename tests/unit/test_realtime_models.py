"""Which models a realtime session names, in whatever protocol: what a key for some models only is judged by."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trunkline.policy.models import NamedModel, UnreadableFrame, models_in_frame, models_in_upgrade

AGENT = {
    "type": "Settings",
    "audio": {"input": {"encoding": "linear16", "sample_rate": 24000}},
    "agent": {
        "listen": {"provider": {"type": "deepgram", "model": "nova-3"}},
        "think": {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}},
        "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
    },
}


def named(frame: Any) -> list[str]:
    return [model.name for model in models_in_frame(json.dumps(frame))]


@pytest.mark.parametrize(
    ("frame", "models"),
    [
        ({"setup": {"model": "models/gemini-live", "generationConfig": {}}}, ["gemini-live"]),
        ({"setup": {"generationConfig": {}, "model": "gemini-live"}}, ["gemini-live"]),
        (AGENT, ["nova-3", "gpt-4o-mini", "aura-2-thalia-en"]),
        ({"type": "UpdateThink", "think": {"provider": {"type": "open_ai", "model": "gpt-5"}}}, ["gpt-5"]),
        ({"type": "UpdateSpeak", "speak": {"provider": {"type": "deepgram", "model": "aura-2"}}}, ["aura-2"]),
        ({"model_id": "sonic-3", "transcript": "Hello", "voice": {"mode": "id", "id": "v"}}, ["sonic-3"]),
        (
            {
                "type": "conversation_initiation_client_data",
                "conversation_config_override": {"agent": {"prompt": {"llm": "gpt-4o"}}},
            },
            ["gpt-4o"],
        ),
        ({"type": "session.start", "session": {"model": "gpt-live-1"}}, ["gpt-live-1"]),
    ],
    ids=["Gemini", "Gemini, last", "Deepgram agent", "its mind", "its voice", "Cartesia", "ElevenLabs", "OpenAI Live"],
)
def test_a_first_frame_names_its_models(frame: Any, models: list[str]) -> None:
    assert named(frame) == models


def test_every_provider_of_a_list_to_fall_back_to_counts() -> None:
    think = [{"provider": {"type": "open_ai", "model": "one"}}, {"provider": {"type": "google", "model": "two"}}]
    assert named({"type": "Settings", "agent": {"think": think}}) == ["one", "two"]


def test_what_a_deepgram_agent_listens_with_writes_down_what_was_spoken() -> None:
    assert models_in_frame(json.dumps(AGENT))[0] == NamedModel("nova-3", transcribes=True)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "session.update", "session": {"tools": [{"name": "order", "parameters": {"model": "T"}}]}},
        {"type": "Settings", "agent": {"think": {"functions": [{"name": "buy", "model": "T"}]}}},
        {"clientContent": {"turns": [{"role": "user", "model": "T"}]}},
        {"type": "response.create", "response": {"input": [{"type": "message", "model": "T"}]}},
        {"type": "conversation_initiation_client_data", "dynamic_variables": {"model": "T"}},
    ],
)
def test_what_people_and_their_tools_call_a_model_is_none(frame: Any) -> None:
    assert named(frame) == []


@pytest.mark.parametrize("text", ['{"model_id": "sonic-3"', '["llm", {"llm": "x"}]', '{"\\u006dodel_id": '])
def test_a_frame_that_may_name_a_model_and_cannot_be_read_is_not_let_pass(text: str) -> None:
    with pytest.raises(UnreadableFrame):
        models_in_frame(text)


@pytest.mark.parametrize(
    ("provider", "rest", "query", "models"),
    [
        ("openai", "realtime", "model=gpt-realtime", []),
        ("elevenlabs", "v1/text-to-speech/v/stream-input", "model_id=eleven_turbo&x=1", ["eleven_turbo"]),
        ("azure-openai", "acme/openai/realtime", "api-version=1&deployment=voice", ["voice"]),
        ("fal", "fal-ai/fast-lcm-diffusion/realtime", "", ["fal-ai/fast-lcm-diffusion"]),
        ("fal", "fal-ai/fast-lcm-diffusion", "", ["fal-ai/fast-lcm-diffusion"]),
        ("workers-ai", "run/@cf/deepgram/nova-3", "encoding=linear16", ["@cf/deepgram/nova-3"]),
        ("workers-ai", "@cf/deepgram%2Fflux", "", ["@cf/deepgram/flux"]),
        ("workers-ai", "", "model=@cf/deepgram/nova-3", []),
    ],
)
def test_an_upgrade_names_models_in_its_path_and_in_other_parameters_than_the_usual_one(
    provider: str, rest: str, query: str, models: list[str]
) -> None:
    assert models_in_upgrade(provider, rest, query) == models
