"""Decisions that are pure functions: models a key is good for, dead keys, client secrets, prices."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.client_secrets import ClientSecret
from trunkline.policy.cost import cost_by_length, cost_of_answer, cost_of_turn, price_is_known, reading_of
from trunkline.policy.models import UnreadableFrame, is_allowed, models_in_frame, models_in_request
from trunkline.policy.registry import GatewayKey, Scope


@pytest.mark.parametrize(
    ("model", "patterns", "allowed"),
    [
        ("gpt-4o", (), True),
        ("gpt-4o", ("gpt-4o",), True),
        ("gpt-4o-mini", ("gpt-4o",), False),
        ("gpt-4o-mini", ("gpt-4o*",), True),
        ("GPT-4o", ("gpt-4o",), False),
        ("gpt-4o", ("claude-*", "gpt-4o"), True),
        ("gpt-4o", ("openai/gpt-4o",), True),
        ("gpt-4o", ("groq/*",), False),
        ("gpt-4o", ("openai/*",), True),
        ("", ("gpt-4o",), False),
    ],
)
def test_a_model_fits_the_patterns_of_a_key(model: str, patterns: tuple[str, ...], allowed: bool) -> None:
    assert is_allowed(model, patterns, "openai") is allowed


MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("provider", "rest", "content_type", "body", "models"),
    [
        ("openai", "chat/completions", "application/json", b'{"model": "gpt-4o"}', ["gpt-4o"]),
        ("openai", "chat/completions", "application/json", b'{"a": {"model": "hidden"}}', []),
        ("openai", "chat/completions", "application/json", b"", []),
        ("openai", "chat/completions", "application/json", b"[]", []),
        ("openai", "chat/completions", "application/json", b'{"model": 4}', []),
        ("openai", "chat/completions", "application/json", b"[" * 100_000, []),
        ("openai", "audio/transcriptions", "multipart/form-data; boundary=b", MULTIPART, ["whisper-1"]),
        ("google-ai-studio", "v1beta/models/gemini-2:generateContent", "application/json", b"{}", ["gemini-2"]),
        ("aws-bedrock", "bedrock-runtime/us-east-1/model/anthropic.claude/invoke", "", b"{}", ["anthropic.claude"]),
        ("workers-ai", "run/@cf/meta/llama", "", b"{}", ["@cf/meta/llama"]),
        ("azure-openai", "resource/deployment/chat/completions", "", b'{"model": "x"}', ["deployment"]),
    ],
)
def test_a_request_names_its_models(
    provider: str, rest: str, content_type: str, body: bytes, models: list[str]
) -> None:
    assert models_in_request(provider, rest, content_type, body) == models


def test_trap_a_model_named_twice_is_judged_by_both() -> None:
    """Which one counts is the provider's to say: parsers differ."""
    body = b'{"model": "allowed", "model": "dear"}'
    assert models_in_request("openai", "chat/completions", "application/json", body) == ["allowed", "dear"]
    twice = MULTIPART.replace(b"--b--", b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\ndear\r\n--b--")
    found = models_in_request("openai", "audio/transcriptions", "multipart/form-data; boundary=b", twice)
    assert found == ["whisper-1", "dear"]
    disguised = b'{"a": "name=model"\r\n\r\n, "model": "dear"}'
    assert "dear" in models_in_request("openai", "chat/completions", "multipart/form-data; boundary=b", disguised)


@pytest.mark.parametrize(
    ("frame", "models"),
    [
        ({"type": "session.update", "session": {"model": "dear"}}, [("dear", False)]),
        (
            {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "dear"}}}}},
            [("dear", True)],
        ),
        ({"session": {"input_audio_transcription": {"model": "dear"}}}, [("dear", True)]),
        ({"type": "response.create", "response": {"model": "dear"}}, [("dear", False)]),
        ({"setup": {"model": "models/gemini-live"}}, [("gemini-live", False)]),
        ({"type": "conversation.item.create", "item": {"content": [{"text": 'say "model"'}]}}, []),
        ({"type": "session.update", "session": {"tools": [{"parameters": {"properties": {"model": {}}}}]}}, []),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, []),
    ],
)
def test_a_realtime_frame_names_its_models(frame: dict[str, object], models: list[tuple[str, bool]]) -> None:
    assert models_in_frame(json.dumps(frame)) == models


def test_trap_a_model_is_found_behind_escapes_and_repetition() -> None:
    assert models_in_frame('{"session": {"\\u006dodel": "dear"}}') == [("dear", False)]
    assert models_in_frame('{"session": {"model": "dear"}, "session": {}}') == [("dear", False)]


@given(st.text())
def test_a_frame_that_may_name_a_model_and_cannot_be_read_is_told_apart(text: str) -> None:
    """Other parsers may read it: numbers without end, a byte order mark."""
    with pytest.raises(UnreadableFrame):
        models_in_frame(text + '"model"')


@pytest.mark.parametrize(
    "frame", ['{"model": "dear", "x": ' + "9" * 5000 + "}", '\ufeff{"model": "dear"}', '["model"]']
)
def test_trap_what_only_others_can_read_is_not_taken_for_nothing(frame: str) -> None:
    with pytest.raises(UnreadableFrame):
        models_in_frame(frame)


def key(**changes: object) -> GatewayKey:
    given = {"expires_at": None, "revoked_at": None, **changes}
    return GatewayKey("key_1", "default", "app", b"", "abcd", frozenset({Scope.RUN}), (), 0.0, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "active"),
        ({"expires_at": 101.0}, "active"),
        ({"expires_at": 100.0}, "expired"),
        ({"revoked_at": 99.0}, "revoked"),
        ({"revoked_at": 99.0, "expires_at": 50.0}, "revoked"),
    ],
)
def test_a_key_is_dead_from_the_moment_it_ends(changes: dict[str, float], state: str) -> None:
    assert key(**changes).state(100.0) == state


def secret(**changes: object) -> ClientSecret:
    return ClientSecret("sec_1", "default", "openai", "gpt-realtime", 100.0, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"uses": 5}, ""),
        ({"max_uses": 2, "uses": 1}, ""),
        ({"max_uses": 2, "uses": 2}, "as often as it may be"),
        ({"max_uses": 1, "uses": 1}, "has been used"),
        ({"spend_cap": 1.0, "spent": 0.99}, ""),
        ({"spend_cap": 1.0, "spent": 1.0}, "spend cap"),
    ],
)
def test_a_client_secret_says_why_it_opens_nothing_more(changes: dict[str, object], words: str) -> None:
    found = secret(**changes).why_dead(99.0)
    assert (words in found) if words else found == ""


def test_a_client_secret_ends_with_its_time() -> None:
    assert "expired" in secret().why_dead(100.0)


def test_what_is_granted_holds_no_key_and_makes_the_same_secret_again() -> None:
    made = secret(session={"type": "realtime"}, max_uses=3, spend_cap=0.5, provider_key="sk-own", parent="key_1")
    grant = json.loads(json.dumps(made.grant()))
    assert "sk-own" not in json.dumps(grant)
    held = {"provider_key": "sk-own", "session": {"type": "realtime"}}
    again = ClientSecret.from_grant(grant, id="sec_1", gateway="default", expires_at=100.0, **held)
    assert again == made
    assert "sk-own" not in repr(made)


DONE = {
    "type": "response.done",
    "response": {
        "usage": {
            "total_tokens": 1100,
            "input_tokens": 600,
            "output_tokens": 500,
            "input_token_details": {"text_tokens": 100, "audio_tokens": 500, "cached_tokens": 0},
            "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
        }
    },
}


def test_audio_tokens_of_a_turn_cost_more_than_text_tokens() -> None:
    spoken = cost_of_turn("openai", "gpt-realtime", DONE)
    usage = {"total_tokens": 1100, "input_tokens": 600, "output_tokens": 500}
    usage |= {"input_token_details": {"text_tokens": 600}, "output_token_details": {"text_tokens": 500}}
    written = cost_of_turn("openai", "gpt-realtime", {"type": "response.done", "response": {"usage": usage}})
    assert spoken is not None
    assert written is not None
    assert spoken > written > 0


@pytest.mark.parametrize(
    ("provider", "model", "rest", "answer"),
    [
        ("openai", "gpt-4o", "chat/completions", {"usage": {"prompt_tokens": 1000, "completion_tokens": 100}}),
        ("openai", "gpt-4o", "responses", {"usage": {"input_tokens": 1000, "output_tokens": 100}}),
        ("anthropic", "claude-sonnet-4-0", "v1/messages", {"usage": {"input_tokens": 1000, "output_tokens": 100}}),
        (
            "google-ai-studio",
            "gemini-2.5-flash",
            "v1beta/models/gemini-2.5-flash:generateContent",
            {"usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100}},
        ),
    ],
)
def test_the_usage_of_each_apis_answer_has_a_price(
    provider: str, model: str, rest: str, answer: dict[str, object]
) -> None:
    reading = reading_of(rest)
    assert reading is not None
    found = cost_of_answer(provider, model, reading, {"model": model, **answer})
    assert found is not None
    assert 0.0001 < found < 0.1


def test_what_costs_nothing_known_is_told_from_what_is_free() -> None:
    assert price_is_known("local", "local")
    assert price_is_known("openai", "gpt-realtime")
    assert not price_is_known("openai", "my-own-finetune-of-nothing")
    assert reading_of("audio/speech") is None
    assert cost_of_answer("openai", "gpt-4o", ("openai", "chat"), {"no": "usage"}) is None
    assert cost_by_length("local", "local", 3000, 3000) == 0.0
    assert cost_by_length("openai", "gpt-4o", 3000, 3000) > 0.0
