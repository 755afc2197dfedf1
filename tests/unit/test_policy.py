"""Decisions that are pure functions: models a key is good for, dead keys, client secrets, prices."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.client_secrets import ClientSecret
from trunkline.policy.cost import (
    cost_by_length,
    cost_of_unfinished_turn,
    cost_of_usage,
    price_is_known,
)
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


def test_trap_a_model_by_another_spelling_or_to_fall_back_to_is_judged_too() -> None:
    """Parsers of some languages make no difference between capital and small letters."""
    body = b'{"model": "allowed", "Model": "dear", "MODELS": ["dearer", 4], "models": "none"}'
    assert models_in_request("openai", "chat/completions", "application/json", body) == ["allowed", "dear", "dearer"]
    path = "v1beta/models/allowed:embedContent"
    assert models_in_request("google-ai-studio", path, "", b'{"model": "models/dear"}') == ["allowed", "dear"]
    assert models_in_frame('{"session": {"MODEL": "dear"}}') == [("dear", False)]
    named = MULTIPART.replace(b'"model"', b'" Model[]"')
    assert models_in_request("openai", "audio/speech", "Multipart/form-data; boundary=b", named) == ["whisper-1"]


@pytest.mark.parametrize(
    "part",
    [
        b'Content-Disposition: form-data; name="mo\\del"\r\n\r\ndear\r\n',
        b'Content-Disposition: form-data;\r\n name="model"\r\n\r\ndear\r\n',
        b'Content-Disposition: form-data; name="model"\n\ndear\n',
        b"Content-Disposition: form-data; name*=utf-8''mod%65l\r\n\r\ndear\r\n",
    ],
)
def test_trap_a_form_that_others_may_read_otherwise_names_no_model_that_is_allowed(part: bytes) -> None:
    kind, form = "multipart/form-data; boundary=b", MULTIPART.replace(b"--b--", b"--b\r\n" + part + b"--b--")
    assert models_in_request("openai", "audio/transcriptions", kind, form) == []


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
    assert models_in_frame('{"session": {"\\u004D\\u004fdel": "dear"}}') == [("dear", False)]
    with pytest.raises(UnreadableFrame):
        models_in_frame('{"session": {"\\u006dodel": "dear"}')
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


@pytest.mark.parametrize("frame", [b"{\x5c\x75\x80 sound", b"{\x5c\x75\x30\x30\x66\x66", b'{"audio": "\\u006doo'])
def test_sound_that_begins_like_json_names_no_model(frame: bytes) -> None:
    """Of binary frames every 256th begins so, and the marks of an escape stand in one of some hundred."""
    assert models_in_frame(frame.decode("utf-8", "replace")) == []


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


# US dollars for a million tokens, from the providers' price pages: gpt-realtime has text 4 (from a cache 0.40, out 16),
# audio 32 (0.40, 64), images 5 (0.50); gpt-realtime-mini has text 0.60 (0.06, 2.40), audio 10 (0.30, 20).
@pytest.mark.parametrize(
    ("provider", "model", "used", "millionths"),
    [
        ("openai", "gpt-realtime", {"input_text": 1000}, 1000 * 4),
        ("openai", "gpt-realtime", {"input_audio": 1000}, 1000 * 32),
        ("openai", "gpt-realtime", {"input_image": 1000}, 1000 * 5),
        ("openai", "gpt-realtime", {"output_text": 1000}, 1000 * 16),
        ("openai", "gpt-realtime", {"output_audio": 1000}, 1000 * 64),
        ("openai", "gpt-realtime", {"input_text": 1000, "cached_text": 600}, 400 * 4 + 600 * 0.4),
        ("openai", "gpt-realtime", {"input_audio": 1000, "cached_audio": 900}, 100 * 32 + 900 * 0.4),
        ("openai", "gpt-realtime", {"input_image": 1000, "cached_image": 400}, 600 * 5 + 400 * 0.5),
        (
            "openai",
            "gpt-realtime-2025-08-28",
            {
                "input_text": 100,
                "input_audio": 500,
                "input_image": 50,
                "cached_text": 40,
                "cached_audio": 200,
                "cached_image": 10,
                "output_text": 30,
                "output_audio": 400,
            },
            60 * 4 + 40 * 0.4 + 300 * 32 + 200 * 0.4 + 40 * 5 + 10 * 0.5 + 30 * 16 + 400 * 64,
        ),
        (
            "azure-openai",
            "gpt-realtime-mini",
            {"input_text": 100, "input_audio": 500, "cached_text": 50, "cached_audio": 100, "output_audio": 10},
            50 * 0.6 + 50 * 0.06 + 400 * 10 + 100 * 0.3 + 10 * 20,
        ),
        ("google-ai-studio", "gemini-live-2.5-flash", {"input_audio": 1000, "output_audio": 100}, 1000 * 3 + 100 * 12),
        # More from a cache than went in is a slip of the provider's.
        ("openai", "gpt-realtime", {"input_audio": 100, "cached_audio": 900}, 100 * 0.4),
        # Writing down: text 1.25, audio 3, out 5 a million; or by the hour, 0.36 dollars.
        (
            "openai",
            "gpt-4o-mini-transcribe",
            {"input_text": 10, "input_audio": 1000, "output_text": 50},
            10 * 1.25 + 1000 * 3 + 50 * 5,
        ),
        ("openai", "whisper-1", {"seconds": 90.0}, 90 / 3600 * 360_000),
        ("openai", "gpt-live-transcribe", {"seconds": 60.0}, 60 / 3600 * 1_020_000),
        # Stated in seconds, billed by tokens: ten a second.
        ("openai", "gpt-4o-transcribe", {"seconds": 2.5}, 25 * 6),
    ],
)
def test_each_modality_has_its_own_price(provider: str, model: str, used: dict[str, float], millionths: float) -> None:
    assert cost_of_usage(provider, model, **used) == pytest.approx(millionths / 1e6)  # type: ignore[arg-type]


def test_what_a_model_has_no_price_for_is_not_free() -> None:
    assert cost_of_usage("openai", "my-own-finetune-of-nothing", input_text=10) is None
    assert cost_of_usage("openai", "whisper-1", input_audio=10) is None  # billed by the hour
    assert cost_of_usage("deepgram", "nova-3", seconds=10.0) is None
    assert cost_of_usage("openai", "", output_audio=10) is None
    assert cost_of_usage("local", "anything", input_text=10, seconds=3.0) == 0.0
    assert cost_of_usage("openai", "gpt-realtime") == 0.0


def test_a_turn_that_broke_off_is_estimated_from_its_length() -> None:
    # 500 bytes of frames for a token of speech, and one more; as many were heard.
    assert cost_of_unfinished_turn("openai", "gpt-realtime", 50_000) == pytest.approx(101 * (32 + 64) / 1e6)
    assert cost_of_unfinished_turn("openai", "my-own-finetune-of-nothing", 50_000) is None
    assert cost_of_unfinished_turn("local", "local", 50_000) == 0.0


def test_what_costs_nothing_known_is_told_from_what_is_free() -> None:
    assert price_is_known("local", "local")
    assert price_is_known("openai", "gpt-realtime")
    assert not price_is_known("openai", "my-own-finetune-of-nothing")
    assert cost_by_length("local", "local", 3000, 3000) == 0.0
    assert cost_by_length("openai", "gpt-4o", 3000, 3000) > 0.0
