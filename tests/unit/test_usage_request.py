"""What a request says of itself is read from its path and body, and nothing that somebody sends makes that fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.usage import RequestFacts, kind_of, request_facts
from trunkline.providers.catalogue import Catalogue

PROVIDERS = {provider.slug: provider for provider in Catalogue.build().all()}
FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("chat/completions", "chat"),
        ("v1/chat/completions?api-version=1", "chat"),
        ("v1beta/openai/chat/completions", "chat"),
        ("v1/messages", "chat"),
        ("v1/messages/count_tokens", "other"),
        ("v2/chat", "chat"),
        ("v1/models/gemini-2.5-flash:streamGenerateContent", "chat"),
        ("v1/models/gemini-2.5-flash:countTokens", "other"),
        ("bedrock-runtime/eu-west-1/model/anthropic.claude/converse-stream", "chat"),
        ("bedrock-runtime/eu-west-1/model/amazon.titan-embed-text-v2:0/invoke", "embeddings"),
        ("bedrock-runtime/eu-west-1/model/amazon.nova-canvas-v1:0/invoke", "image"),
        ("completions", "completion"),
        ("v1/complete", "completion"),
        ("responses", "responses"),
        ("responses/resp_1", "other"),
        ("v1/embeddings", "embeddings"),
        ("v2/embed", "embeddings"),
        ("v1/models/gemini-embedding-001:batchEmbedContents", "embeddings"),
        ("v1/projects/p/locations/eu/publishers/google/models/imagen-4.0:predict", "image"),
        ("images/generations", "image"),
        ("res/dep/images/edits", "image"),
        ("audio/speech", "speech"),
        ("v1/text-to-speech/voice/stream", "speech"),
        ("v1/speak", "speech"),
        ("audio/transcriptions", "transcription"),
        ("audio/translations", "transcription"),
        ("v1/listen", "transcription"),
        ("moderations", "moderation"),
        ("v2/rerank", "rerank"),
        ("realtime", "realtime"),
        ("@cf/meta/llama-3.1-8b-instruct", "chat"),
        ("run/@cf/baai/bge-m3", "embeddings"),
        ("@cf/openai/whisper-large-v3-turbo", "transcription"),
        ("@cf/black-forest-labs/flux-1-schnell", "image"),
        ("models", "other"),
        ("files/file-1/content", "other"),
        ("", "other"),
    ],
)
def test_the_path_says_what_kind_of_work_it_is(path: str, kind: str) -> None:
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("provider", "rest", "body", "facts"),
    [
        ("openai", "chat/completions", {"model": "gpt-4o", "stream": True, "user": "u-1"},
         RequestFacts("gpt-4o", True, "chat", "u-1")),
        ("openai", "responses", {"model": "gpt-5", "safety_identifier": "s-1"},
         RequestFacts("gpt-5", False, "responses", "s-1")),
        ("anthropic", "v1/messages", {"model": "claude", "metadata": {"user_id": "m-1"}, "stream": False},
         RequestFacts("claude", False, "chat", "m-1")),
        ("google-ai-studio", "v1beta/models/gemini-2.5-flash:streamGenerateContent", {"contents": []},
         RequestFacts("gemini-2.5-flash", True, "chat")),
        ("azure-openai", "res/dep/chat/completions", {"messages": []}, RequestFacts("dep", False, "chat")),
        ("aws-bedrock", "bedrock-runtime/eu/model/us.anthropic.claude%3A0/converse-stream", {},
         RequestFacts("us.anthropic.claude:0", True, "chat")),
        ("openai", "audio/speech", {"model": "tts-1", "input": "Grüße 🌍", "voice": "x"},
         RequestFacts("tts-1", False, "speech", "", 7)),
        ("elevenlabs", "v1/text-to-speech/v", {"model_id": "eleven_v3", "text": "hello"},
         RequestFacts("eleven_v3", False, "speech", "", 5)),
        ("openai", "embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]},
         RequestFacts("text-embedding-3-small", False, "embeddings")),
        ("openai", "chat/completions", {"model": 7, "stream": "true", "user": ["u"], "metadata": {"user_id": None}},
         RequestFacts("", False, "chat")),
        ("openai", "chat/completions", ["gpt-4o"], RequestFacts("", False, "chat")),
    ],
)  # fmt: skip
def test_a_request_is_read(provider: str, rest: str, body: Any, facts: RequestFacts) -> None:
    assert request_facts(PROVIDERS[provider], rest, "application/json", json.dumps(body).encode()) == facts


def form(*fields: tuple[str, str], file: bytes = b"RIFF") -> bytes:
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return "".join(parts).encode() + head + file + b"\r\n"


@pytest.mark.parametrize("size", [4, 300_000])
def test_a_form_is_read_before_and_behind_its_file(size: int) -> None:
    ahead = form(("model", "gpt-4o-transcribe"), ("stream", "true"), file=b"x" * size)
    behind = b'--x\r\nContent-Disposition: form-data; name="user"\r\n\r\nu-1\r\n--x--\r\n'
    facts = request_facts(PROVIDERS["openai"], "audio/transcriptions", FORM, ahead + behind)
    assert facts == RequestFacts("gpt-4o-transcribe", True, "transcription", "u-1")


@given(
    st.sampled_from(["openai", "anthropic", "google-ai-studio", "azure-openai", "aws-bedrock"]),
    st.text(max_size=40) | st.sampled_from(["chat/completions", "audio/speech"]),
    st.sampled_from(["application/json", FORM, ""]),
    st.binary(max_size=80) | st.sampled_from([b'{"input":' + b"[" * 100_000, b'{"user":"\\ud800"}']),
)
def test_nothing_that_is_sent_makes_reading_fail(provider: str, rest: str, content_type: str, body: bytes) -> None:
    facts = request_facts(PROVIDERS[provider], rest, content_type, body)
    assert facts.kind == kind_of(rest)


@pytest.mark.parametrize("word", ["model/", "embed", "imag", "chat/completions/", ":", "embedding:predict/x"])
def test_a_long_path_asks_for_nothing_known(word: str) -> None:
    assert kind_of(word * 2_000_000 + "x") == "other"
    facts = request_facts(PROVIDERS["openai"], word * 20_000 + "?x", "application/json", b"{}")
    assert len(facts.model) <= 200


def test_a_form_without_an_end_is_read_all_the_same() -> None:
    body = b"name=model\r\n" * 200_000
    assert request_facts(PROVIDERS["openai"], "audio/transcriptions", FORM, body).model == ""


def test_long_names_are_cut() -> None:
    body = json.dumps({"model": "m" * 10_000, "user": "u" * 10_000}).encode()
    facts = request_facts(PROVIDERS["openai"], "chat/completions", "application/json", body)
    assert (len(facts.model), len(facts.user)) == (200, 200)
