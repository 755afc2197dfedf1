"""What an answer used is read from every provider's formats, whole or in pieces, and from nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.usage import Answered, TokenUsage, UsageReader
from trunkline.providers.catalogue import Catalogue

PROVIDERS = {provider.slug: provider for provider in Catalogue.build().all()}

JSON = "application/json"
SSE = "text/event-stream"
AWS = "application/vnd.amazon.eventstream"


class Case(NamedTuple):
    """An answer and what it tells; ``told`` are the fields of `Answered` that are not their defaults."""

    name: str
    provider: str
    rest: str
    kind: str
    body: bytes
    usage: TokenUsage | None
    told: dict[str, Any] = {}
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status: int = 200
    characters: int = 0


def told(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()


def events(*documents: Any, named: bool = False, done: bool = False) -> bytes:
    lines = [
        (f"event: {document['type']}\n" if named else "") + f"data: {json.dumps(document)}\n\n"
        for document in documents
    ]
    return ("".join(lines) + ("data: [DONE]\n\n" if done else "")).encode()


def aws_message(kind: str, payload: Any, header: str = ":event-type") -> bytes:
    block = b""
    for name, value in ((header, kind), (":content-type", JSON), (":message-type", "event")):
        block += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    block += b"\x05:date\x08" + bytes(8) + b"\x03:ok\x00"
    data = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(block) + len(data), len(block))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + data
    return message + struct.pack(">I", zlib.crc32(message))


def aws_chunk(document: Any) -> bytes:
    return aws_message("chunk", {"bytes": base64.b64encode(json.dumps(document).encode()).decode(), "p": "abc"})


CHAT_USAGE = {
    "prompt_tokens": 1117,
    "completion_tokens": 46,
    "total_tokens": 1163,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 7},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 5, "accepted_prediction_tokens": 0},
}
CHAT_TOKENS = TokenUsage(
    input=1117, output=46, cached=1024, reasoning=20, input_audio=7, output_audio=5, tier="default"
)
PLAIN_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
PLAIN_TOKENS = TokenUsage(input=10, output=5)


def chat_chunk(text: str | None = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        **more,
    }


ANTHROPIC_START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 1000,
            "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
            "output_tokens": 1,
            "service_tier": "standard",
        },
    },
}
ANTHROPIC_EVENTS = (
    ANTHROPIC_START,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 'say "usage": {}'}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 89, "server_tool_use": {"web_search_requests": 2}},
    },
    {"type": "message_stop"},
)
ANTHROPIC_TOKENS = TokenUsage(
    input=1312,
    output=89,
    cached=1000,
    cache_write=300,
    cache_write_1h=100,
    searches=2,
    tier="standard",
)
GEMINI_USAGE = {
    "trafficType": "ON_DEMAND_PRIORITY",
    "promptTokenCount": 500,
    "cachedContentTokenCount": 200,
    "candidatesTokenCount": 30,
    "thoughtsTokenCount": 70,
    "toolUsePromptTokenCount": 10,
    "totalTokenCount": 610,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 100},
        {"modality": "AUDIO", "tokenCount": 250},
        {"modality": "IMAGE", "tokenCount": 100},
        {"modality": "VIDEO", "tokenCount": 50},
    ],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 150}, {"modality": "TEXT", "tokenCount": 50}],
    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 30}],
}
GEMINI_TOKENS = TokenUsage(
    input=510,
    output=100,
    cached=200,
    reasoning=70,
    input_audio=250,
    cached_audio=150,
    input_image=100,
    input_video=50,
    tier="priority",
)


def gemini(text: str, reason: str | None = None, usage: Any = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": usage or {}, "modelVersion": "gemini-2.5-flash"}


GEMINI_CHUNKS = (
    gemini("Wel[l", usage={"promptTokenCount": 500, "totalTokenCount": 500}),
    gemini('"}],{\\', usage={"promptTokenCount": 500, "candidatesTokenCount": 3, "totalTokenCount": 503}),
    gemini(".", "STOP", GEMINI_USAGE),
)
GEMINI_PATH = "v1beta/models/gemini-2.5-flash"

RESPONSES_USAGE = {
    "input_tokens": 300,
    "input_tokens_details": {"cached_tokens": 128},
    "output_tokens": 90,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 390,
}
RESPONSES_TOKENS = TokenUsage(input=300, output=90, cached=128, reasoning=64, tier="flex")
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-5-2025-08-07",
    "service_tier": "flex",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
    "usage": RESPONSES_USAGE,
}
BEDROCK_MODEL = "anthropic.claude-sonnet-4-20250514-v1:0"
BEDROCK = f"bedrock-runtime/eu-west-1/model/{BEDROCK_MODEL}"
CONVERSE_USAGE = {
    "inputTokens": 20,
    "outputTokens": 9,
    "totalTokens": 129,
    "cacheReadInputTokens": 60,
    "cacheWriteInputTokens": 40,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 30}, {"ttl": "5m", "inputTokens": 10}],
}
CONVERSE_TOKENS = TokenUsage(input=120, output=9, cached=60, cache_write=40, cache_write_1h=30)
COHERE_USAGE = {
    "billed_units": {"input_tokens": 5, "output_tokens": 418},
    "tokens": {"input_tokens": 71, "output_tokens": 418},
    "cached_tokens": 3,
}

CASES = [
    Case(
        "openai chat",
        "openai",
        "chat/completions",
        JSON,
        told(
            {
                "id": "c",
                "model": "gpt-4o-2024-08-06",
                "choices": [{"message": {"content": "x" * 900}, "finish_reason": "stop"}],
                "usage": CHAT_USAGE,
                "service_tier": "default",
            }
        ),
        CHAT_TOKENS,
        {"model": "gpt-4o-2024-08-06", "finish_reason": "stop"},
    ),
    Case(
        "openai chat, streamed",
        "openai",
        "v1/chat/completions",
        f"{SSE}; charset=utf-8",
        events(
            chat_chunk("", usage=None),
            chat_chunk('"usage": {"prompt_tokens": 9999}', usage=None),
            chat_chunk(None, "length", usage=None),
            {"model": "gpt-4o-2024-08-06", "choices": [], "usage": CHAT_USAGE, "service_tier": "default"},
            done=True,
        ),
        CHAT_TOKENS,
        {"model": "gpt-4o-2024-08-06", "finish_reason": "length", "events": 4, "is_done": True},
    ),
    Case(
        "openai chat, streamed without usage",
        "openai",
        "chat/completions",
        SSE,
        events(chat_chunk("hello"), chat_chunk(None, "stop"), done=True),
        None,
        {"model": "gpt-4o-2024-08-06", "finish_reason": "stop", "events": 2, "is_done": True},
    ),
    Case(
        "openai chat, streamed, an error on the way",
        "openai",
        "chat/completions",
        SSE,
        events(chat_chunk("hello"), {"error": {"message": "The server had an error", "type": "server_error"}}),
        None,
        {"model": "gpt-4o-2024-08-06", "events": 2, "error": "server_error: The server had an error"},
    ),
    Case(
        "openai completion",
        "openai",
        "completions",
        JSON,
        told({"model": "gpt-3.5-turbo-instruct", "choices": [{"text": "x"}], "usage": PLAIN_USAGE}),
        PLAIN_TOKENS,
        {"model": "gpt-3.5-turbo-instruct"},
    ),
    Case(
        "openai responses",
        "openai",
        "responses",
        JSON,
        told(RESPONSE),
        RESPONSES_TOKENS,
        {"model": "gpt-5-2025-08-07", "finish_reason": "completed"},
    ),
    Case(
        "openai responses, streamed",
        "openai",
        "responses",
        SSE,
        events(
            {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "usage": None}},
            {"type": "response.output_text.delta", "delta": "hi"},
            {"type": "response.completed", "response": RESPONSE},
            named=True,
        ),
        RESPONSES_TOKENS,
        {"model": "gpt-5-2025-08-07", "finish_reason": "completed", "events": 3, "is_done": True},
    ),
    Case(
        "openai responses, streamed, failed",
        "openai",
        "responses",
        SSE,
        events(
            {"type": "response.created", "response": {"model": "gpt-5", "object": "response", "usage": None}},
            {
                "type": "response.failed",
                "response": {
                    "object": "response",
                    "status": "failed",
                    "model": "gpt-5",
                    "error": {"code": "server_error", "message": "went wrong"},
                },
            },
            named=True,
        ),
        None,
        {
            "model": "gpt-5",
            "finish_reason": "failed",
            "events": 2,
            "is_done": True,
            "error": "server_error: went wrong",
        },
    ),
    Case(
        "openai responses, cut short",
        "openai",
        "responses",
        JSON,
        told({**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}),
        RESPONSES_TOKENS,
        {"model": "gpt-5-2025-08-07", "finish_reason": "max_output_tokens"},
    ),
    Case(
        "openai embeddings",
        "openai",
        "embeddings",
        JSON,
        told(
            {
                "object": "list",
                "data": [{"embedding": [0.25, -1e-3] * 500, "index": 0}],
                "model": "text-embedding-3-small",
                "usage": {"prompt_tokens": 8, "total_tokens": 8},
            }
        ),
        TokenUsage(input=8),
        {"model": "text-embedding-3-small"},
    ),
    Case(
        "openai images by tokens",
        "openai",
        "images/generations",
        JSON,
        told(
            {
                "created": 1,
                "data": [{"b64_json": "QUJD" * 200}, {"b64_json": "QUJD"}],
                "usage": {
                    "total_tokens": 4300,
                    "input_tokens": 140,
                    "input_tokens_details": {"text_tokens": 40, "image_tokens": 100},
                    "output_tokens": 4160,
                    "output_tokens_details": {"text_tokens": 0, "image_tokens": 4160},
                },
            }
        ),
        TokenUsage(input=140, input_image=100, output=4160, output_image=4160, images=2),
        {"model": "asked"},
    ),
    Case(
        "openai images by count",
        "openai",
        "images/generations",
        JSON,
        told({"created": 1, "data": [{"url": "https://x"}] * 3}),
        TokenUsage(images=3),
        {"model": "asked"},
    ),
    Case(
        "openai images, streamed",
        "openai",
        "images/generations",
        SSE,
        events(
            {"type": "image_generation.partial_image", "b64_json": "QUJD"},
            {
                "type": "image_generation.completed",
                "b64_json": "QUJD",
                "usage": {"total_tokens": 100, "input_tokens": 50, "output_tokens": 50},
            },
            named=True,
        ),
        TokenUsage(input=50, output=50),
        {"model": "asked", "events": 2, "is_done": True},
    ),
    Case(
        "openai speech",
        "openai",
        "audio/speech",
        "audio/mpeg",
        b"\xff\xf3\x00" * 50,
        TokenUsage(characters=19),
        {"model": "asked"},
        characters=19,
    ),
    Case(
        "openai speech, streamed",
        "openai",
        "audio/speech",
        SSE,
        events(
            {"type": "speech.audio.delta", "audio": "AAAA"},
            {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}},
        ),
        TokenUsage(input=14, output=101),
        {"model": "asked", "events": 2, "is_done": True},
        characters=19,
    ),
    Case(
        "openai transcription by tokens",
        "openai",
        "audio/transcriptions",
        JSON,
        told(
            {
                "text": "hello",
                "usage": {
                    "type": "tokens",
                    "input_tokens": 14,
                    "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
                    "output_tokens": 45,
                    "total_tokens": 59,
                },
            }
        ),
        TokenUsage(input=14, input_audio=14, output=45),
        {"model": "asked"},
    ),
    Case(
        "openai transcription by time",
        "openai",
        "audio/transcriptions",
        JSON,
        told({"text": "hello", "usage": {"type": "duration", "seconds": 3}}),
        TokenUsage(seconds=3),
        {"model": "asked"},
    ),
    Case(
        "openai transcription, verbose",
        "openai",
        "audio/transcriptions",
        JSON,
        told({"task": "transcribe", "duration": 8.47, "text": "x", "segments": [{"id": 0, "tokens": [1, 2]}]}),
        TokenUsage(seconds=8.47),
        {"model": "asked"},
    ),
    Case(
        "deepgram listens",
        "deepgram",
        "v1/listen?model=nova-3",
        JSON,
        told({"metadata": {"duration": 25.93, "channels": 1}, "results": {"channels": [{"alternatives": []}]}}),
        TokenUsage(seconds=25.93),
        {"model": "asked"},
    ),
    Case(
        "elevenlabs listens",
        "elevenlabs",
        "v1/speech-to-text",
        JSON,
        told({"language_code": "en", "text": "x", "words": [], "audio_duration_secs": 3.5}),
        TokenUsage(seconds=3.5),
        {"model": "asked"},
    ),
    Case(
        "a chat that took a while",
        "openai",
        "chat/completions",
        JSON,
        told({"model": "m", "choices": [], "usage": PLAIN_USAGE, "duration": 12.5}),
        PLAIN_TOKENS,
        {"model": "m"},
    ),
    Case(
        "openai transcription as text",
        "openai",
        "audio/transcriptions",
        "text/plain",
        b"[hello] there\n",
        None,
        {"model": "asked"},
    ),
    Case(
        "openai transcription, streamed",
        "openai",
        "audio/transcriptions",
        SSE,
        events(
            {"type": "transcript.text.delta", "delta": "hi"},
            {
                "type": "transcript.text.done",
                "text": "hi",
                "usage": {"type": "tokens", "input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
            },
        ),
        TokenUsage(input=5, output=2),
        {"model": "asked", "events": 2, "is_done": True},
    ),
    Case(
        "openai moderation",
        "openai",
        "moderations",
        JSON,
        told({"model": "omni", "results": [{"flagged": False}]}),
        None,
        {"model": "omni"},
    ),
    Case("openai, a stored response", "openai", "responses/resp_1", JSON, told(RESPONSE), None, {"model": "asked"}),
    Case(
        "openai, a refusal",
        "openai",
        "chat/completions",
        JSON,
        told({"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}),
        None,
        {"model": "asked", "error": "rate_limit_exceeded: Rate limit reached"},
        status=429,
    ),
    Case(
        "anthropic",
        "anthropic",
        "v1/messages",
        JSON,
        told(
            {
                "type": "message",
                "model": "claude-sonnet-4-5-20250929",
                "content": [{"type": "text", "text": "hi"}],
                "stop_reason": "tool_use",
                "usage": {**ANTHROPIC_START["message"]["usage"], "output_tokens": 89},  # type: ignore[index]
            }
        ),
        TokenUsage(input=1312, output=89, cached=1000, cache_write=300, cache_write_1h=100, tier="standard"),
        {"model": "claude-sonnet-4-5-20250929", "finish_reason": "tool_use"},
    ),
    Case(
        "anthropic, streamed",
        "anthropic",
        "v1/messages",
        SSE,
        events(*ANTHROPIC_EVENTS, named=True),
        ANTHROPIC_TOKENS,
        {"model": "claude-sonnet-4-5-20250929", "finish_reason": "end_turn", "events": 6, "is_done": True},
    ),
    Case(
        "anthropic, streamed, overloaded",
        "anthropic",
        "v1/messages",
        SSE,
        events(
            ANTHROPIC_START,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            named=True,
        ),
        TokenUsage(input=1312, output=1, cached=1000, cache_write=300, cache_write_1h=100, tier="standard"),
        {"model": "claude-sonnet-4-5-20250929", "events": 2, "is_done": True, "error": "overloaded_error: Overloaded"},
    ),
    Case(
        "anthropic, counting tokens",
        "anthropic",
        "v1/messages/count_tokens",
        JSON,
        told({"input_tokens": 2095}),
        None,
        {"model": "asked"},
    ),
    Case(
        "anthropic at vertex",
        "google-vertex-ai",
        "v1/projects/p/locations/eu/publishers/anthropic/models/claude-sonnet-4-5:streamRawPredict",
        SSE,
        events(*ANTHROPIC_EVENTS, named=True),
        ANTHROPIC_TOKENS,
        {"model": "claude-sonnet-4-5-20250929", "finish_reason": "end_turn", "events": 6, "is_done": True},
    ),
    Case(
        "gemini",
        "google-ai-studio",
        f"{GEMINI_PATH}:generateContent",
        JSON,
        told(GEMINI_CHUNKS[2]),
        GEMINI_TOKENS,
        {"model": "gemini-2.5-flash", "finish_reason": "STOP", "is_done": True},
    ),
    Case(
        "gemini, streamed as events",
        "google-ai-studio",
        f"{GEMINI_PATH}:streamGenerateContent?alt=sse",
        SSE,
        events(*GEMINI_CHUNKS),
        GEMINI_TOKENS,
        {"model": "gemini-2.5-flash", "finish_reason": "STOP", "events": 3, "is_done": True},
    ),
    Case(
        "gemini, streamed as an array",
        "google-ai-studio",
        f"{GEMINI_PATH}:streamGenerateContent",
        JSON,
        b"[" + b"\r\n,\r\n".join(told(chunk) for chunk in GEMINI_CHUNKS) + b"\n]\n",
        GEMINI_TOKENS,
        {"model": "gemini-2.5-flash", "finish_reason": "STOP", "events": 3, "is_done": True},
    ),
    Case(
        "gemini, blocked",
        "google-ai-studio",
        f"{GEMINI_PATH}:generateContent",
        JSON,
        told(
            {
                "promptFeedback": {"blockReason": "SAFETY"},
                "usageMetadata": {"promptTokenCount": 4},
                "modelVersion": "gemini-2.5-flash",
            }
        ),
        TokenUsage(input=4),
        {"model": "gemini-2.5-flash", "finish_reason": "SAFETY", "is_done": True},
    ),
    Case(
        "gemini, a refusal in an array",
        "google-ai-studio",
        f"{GEMINI_PATH}:streamGenerateContent",
        JSON,
        told([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}]),
        None,
        {"model": "asked", "events": 1, "error": "400: API key not valid."},
        status=400,
    ),
    Case(
        "gemini embeddings",
        "google-ai-studio",
        "v1beta/models/gemini-embedding-001:embedContent",
        JSON,
        told({"embedding": {"values": [0.5] * 100}, "usageMetadata": {"promptTokenCount": 6}}),
        TokenUsage(input=6),
        {"model": "asked"},
    ),
    Case(
        "gemini interactions, streamed",
        "google-ai-studio",
        "v1beta/interactions",
        SSE,
        events(
            {"event_type": "interaction.created", "interaction": {"id": "1", "model": "gemini-2.5-flash"}},
            {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "hi"}},
            {
                "event_type": "interaction.completed",
                "interaction": {
                    "id": "1",
                    "model": "gemini-2.5-flash",
                    "status": "completed",
                    "service_tier": "flex",
                    "usage": {
                        "total_input_tokens": 60,
                        "total_output_tokens": 7,
                        "total_thought_tokens": 5,
                        "total_cached_tokens": 20,
                        "total_tool_use_tokens": 3,
                        "input_tokens_by_modality": [{"modality": "audio", "tokens": 50}],
                        "total_tokens": 75,
                    },
                },
            },
            done=True,
        ),
        TokenUsage(input=63, output=12, cached=20, reasoning=5, input_audio=50, tier="flex"),
        {"model": "gemini-2.5-flash", "finish_reason": "completed", "events": 3, "is_done": True},
    ),
    Case(
        "gemini, counting tokens",
        "google-ai-studio",
        f"{GEMINI_PATH}:countTokens",
        JSON,
        told({"totalTokens": 31}),
        None,
        {"model": "asked"},
    ),
    Case(
        "gemini by openai's api",
        "google-ai-studio",
        "v1beta/openai/chat/completions",
        JSON,
        told(
            {
                "model": "gemini-2.5-flash",
                "choices": [{"finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115},
            }
        ),
        TokenUsage(input=10, output=105),
        {"model": "gemini-2.5-flash", "finish_reason": "stop"},
    ),
    Case(
        "vertex embeddings",
        "google-vertex-ai",
        "v1/projects/p/locations/eu/publishers/google/models/text-embedding-005:predict",
        JSON,
        told({"predictions": [{"embeddings": {"values": [0.1], "statistics": {"token_count": n}}} for n in (4, 6)]}),
        TokenUsage(input=10),
        {"model": "asked"},
    ),
    Case(
        "vertex images",
        "google-vertex-ai",
        "v1/projects/p/locations/eu/publishers/google/models/imagen-4.0-generate-001:predict",
        JSON,
        told({"predictions": [{"bytesBase64Encoded": "QUJD", "mimeType": "image/png"}] * 2}),
        TokenUsage(images=2),
        {"model": "asked"},
    ),
    Case(
        "cohere",
        "cohere",
        "v2/chat",
        JSON,
        told({"id": "1", "finish_reason": "COMPLETE", "message": {"content": []}, "usage": COHERE_USAGE}),
        TokenUsage(input=5, output=418, cached=3),
        {"model": "asked", "finish_reason": "COMPLETE"},
    ),
    Case(
        "cohere, streamed",
        "cohere",
        "v2/chat",
        SSE,
        events(
            {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant"}}},
            {"type": "content-delta", "delta": {"message": {"content": {"text": "hi"}}}},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE_USAGE}},
            named=True,
        ),
        TokenUsage(input=5, output=418, cached=3),
        {"model": "asked", "finish_reason": "COMPLETE", "events": 3, "is_done": True},
    ),
    Case(
        "cohere, first version, streamed",
        "cohere",
        "v1/chat",
        "application/stream+json",
        b"".join(
            json.dumps(one).encode() + b"\n"
            for one in (
                {"event_type": "stream-start", "generation_id": "1"},
                {"event_type": "text-generation", "text": "hi"},
                {
                    "event_type": "stream-end",
                    "finish_reason": "COMPLETE",
                    "response": {"text": "hi", "meta": {"billed_units": {"input_tokens": 3, "output_tokens": 2}}},
                },
            )
        ),
        TokenUsage(input=3, output=2),
        {"model": "asked", "finish_reason": "COMPLETE", "events": 3, "is_done": True},
    ),
    Case(
        "cohere embeddings",
        "cohere",
        "v2/embed",
        JSON,
        told({"embeddings": {"float": [[0.1]]}, "meta": {"billed_units": {"input_tokens": 7}}}),
        TokenUsage(input=7),
        {"model": "asked"},
    ),
    Case(
        "cohere rerank",
        "cohere",
        "v2/rerank",
        JSON,
        told({"results": [{"index": 1}], "meta": {"billed_units": {"search_units": 1}}}),
        TokenUsage(searches=1),
        {"model": "asked"},
    ),
    Case(
        "bedrock converse",
        "aws-bedrock",
        f"{BEDROCK}/converse",
        JSON,
        told({"output": {"message": {"content": [{"text": "hi"}]}}, "stopReason": "end_turn", "usage": CONVERSE_USAGE}),
        CONVERSE_TOKENS,
        {"model": "asked", "finish_reason": "end_turn"},
    ),
    Case(
        "bedrock converse, streamed",
        "aws-bedrock",
        f"{BEDROCK}/converse-stream",
        AWS,
        aws_message("messageStart", {"role": "assistant"})
        + aws_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hi"}})
        + aws_message("messageStop", {"stopReason": "max_tokens"})
        + aws_message("metadata", {"usage": CONVERSE_USAGE, "metrics": {"latencyMs": 12}}),
        CONVERSE_TOKENS,
        {"model": "asked", "finish_reason": "max_tokens", "events": 4, "is_done": True},
    ),
    Case(
        "bedrock converse, streamed, throttled",
        "aws-bedrock",
        f"{BEDROCK}/converse-stream",
        AWS,
        aws_message("messageStart", {"role": "assistant"})
        + aws_message("throttlingException", {"message": "Too many"}, ":exception-type"),
        None,
        {"model": "asked", "events": 2, "is_done": True, "error": "throttlingException: Too many"},
    ),
    Case(
        "bedrock invoke, counted in its head",
        "aws-bedrock",
        "bedrock-runtime/eu/model/meta.llama3-8b/invoke",
        JSON,
        told({"generation": "hi", "prompt_token_count": 5, "generation_token_count": 2}),
        TokenUsage(input=5, output=2),
        {"model": "asked"},
        ((b"X-Amzn-Bedrock-Input-Token-Count", b"5"), (b"X-Amzn-Bedrock-Output-Token-Count", b"2")),
    ),
    Case(
        "bedrock invoke, anthropic",
        "aws-bedrock",
        f"{BEDROCK}/invoke",
        JSON,
        told(
            {
                "type": "message",
                "model": "claude-sonnet-4",
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": 100},
            }
        ),
        TokenUsage(input=109, output=3, cached=100),
        {"model": "claude-sonnet-4", "finish_reason": "end_turn"},
        ((b"x-amzn-bedrock-input-token-count", b"9"), (b"x-amzn-bedrock-output-token-count", b"3")),
    ),
    Case(
        "bedrock invoke, an open model",
        "aws-bedrock",
        "bedrock-runtime/us/model/openai.gpt-oss-20b-1:0/invoke",
        JSON,
        told({"model": "gpt-oss-20b", "choices": [{"finish_reason": "stop"}], "usage": PLAIN_USAGE}),
        PLAIN_TOKENS,
        {"model": "gpt-oss-20b"},
    ),
    Case(
        "bedrock invoke, streamed, anthropic",
        "aws-bedrock",
        f"{BEDROCK}/invoke-with-response-stream",
        AWS,
        b"".join(aws_chunk(document) for document in ANTHROPIC_EVENTS[:-1])
        + aws_chunk(
            {
                "type": "message_stop",
                "amazon-bedrock-invocationMetrics": {
                    "inputTokenCount": 12,
                    "outputTokenCount": 89,
                    "cacheReadInputTokenCount": 1000,
                    "cacheWriteInputTokenCount": 300,
                },
            }
        ),
        TokenUsage(input=1312, output=89, cached=1000, cache_write=300),
        {"model": "claude-sonnet-4-5-20250929", "finish_reason": "end_turn", "events": 7, "is_done": True},
    ),
    Case(
        "bedrock, a refusal",
        "aws-bedrock",
        f"{BEDROCK}/converse",
        JSON,
        told({"message": "The provided model identifier is invalid."}),
        None,
        {"model": "asked", "error": "The provided model identifier is invalid."},
        status=400,
    ),
    Case(
        "deepseek",
        "deepseek",
        "chat/completions",
        JSON,
        told(
            {
                "model": "deepseek-chat",
                "choices": [{"finish_reason": "stop"}],
                "usage": {**PLAIN_USAGE, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
            }
        ),
        TokenUsage(input=10, output=5, cached=8),
        {"model": "deepseek-chat", "finish_reason": "stop"},
    ),
    Case(
        "groq, streamed",
        "groq",
        "chat/completions",
        SSE,
        events(chat_chunk("hi"), chat_chunk(None, "stop", x_groq={"id": "req_1", "usage": PLAIN_USAGE}), done=True),
        PLAIN_TOKENS,
        {"model": "gpt-4o-2024-08-06", "finish_reason": "stop", "events": 2, "is_done": True},
    ),
    Case(
        "mistral, streamed",
        "mistral",
        "v1/chat/completions",
        SSE,
        events(chat_chunk("hi"), chat_chunk("", "stop", usage=PLAIN_USAGE), done=True),
        PLAIN_TOKENS,
        {"model": "gpt-4o-2024-08-06", "finish_reason": "stop", "events": 2, "is_done": True},
    ),
    Case(
        "groq, streamed, an error on the way",
        "groq",
        "chat/completions",
        SSE,
        events(chat_chunk("hi"), chat_chunk(x_groq={"id": "req_1", "error": "over capacity"})),
        None,
        {"model": "gpt-4o-2024-08-06", "events": 2, "error": "over capacity"},
    ),
    Case(
        "mistral, reading pages",
        "mistral",
        "v1/ocr",
        JSON,
        told({"model": "mistral-ocr-latest", "pages": [{"index": 0}], "usage_info": {"pages_processed": 4}}),
        TokenUsage(pages=4),
        {"model": "mistral-ocr-latest"},
    ),
    Case(
        "xai thinks apart",
        "grok",
        "v1/chat/completions",
        JSON,
        told(
            {
                "model": "grok-4-0709",
                "choices": [{"finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": 32,
                    "completion_tokens": 9,
                    "total_tokens": 135,
                    "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 6},
                    "completion_tokens_details": {"reasoning_tokens": 94},
                },
            }
        ),
        TokenUsage(input=32, output=103, cached=6, reasoning=94),
        {"model": "grok-4-0709", "finish_reason": "stop"},
    ),
    Case(
        "openrouter",
        "openrouter",
        "v1/chat/completions",
        JSON,
        told(
            {"model": "openai/gpt-4o", "choices": [{"finish_reason": "stop"}], "usage": {**PLAIN_USAGE, "cost": 0.0125}}
        ),
        PLAIN_TOKENS,
        {"model": "openai/gpt-4o", "finish_reason": "stop", "stated_cost": 0.0125},
    ),
    Case(
        "openrouter with a key of one's own",
        "openrouter",
        "v1/chat/completions",
        JSON,
        told(
            {
                "model": "openai/gpt-4o",
                "choices": [{"finish_reason": "stop"}],
                "usage": {**PLAIN_USAGE, "cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 10}},
            }
        ),
        PLAIN_TOKENS,
        {"model": "openai/gpt-4o", "finish_reason": "stop", "stated_cost": 10.5},
    ),
    Case(
        "perplexity",
        "perplexity-ai",
        "chat/completions",
        JSON,
        told(
            {
                "model": "sonar-deep-research",
                "choices": [{"finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": 33,
                    "completion_tokens": 7163,
                    "total_tokens": 7196,
                    "citation_tokens": 20016,
                    "num_search_queries": 21,
                    "reasoning_tokens": 73997,
                    "cost": {"total_cost": 0.42},
                },
            }
        ),
        TokenUsage(input=33, output=7163 + 73997 + 20016, reasoning=73997, citations=20016, searches=21),
        {"model": "sonar-deep-research", "finish_reason": "stop", "stated_cost": 0.42},
    ),
    Case(
        "workers ai, native",
        "workers-ai",
        "@cf/meta/llama-3.1-8b-instruct",
        JSON,
        told({"result": {"response": "hi", "usage": PLAIN_USAGE}, "success": True, "errors": [], "messages": []}),
        PLAIN_TOKENS,
        {"model": "asked"},
    ),
    Case(
        "workers ai, native, streamed",
        "workers-ai",
        "run/@cf/meta/llama-3.1-8b-instruct",
        SSE,
        events({"response": "hi", "p": "abc"}, {"response": "", "usage": PLAIN_USAGE}, done=True),
        PLAIN_TOKENS,
        {"model": "asked", "events": 2, "is_done": True},
    ),
    Case(
        "local",
        "local",
        "v1/chat/completions",
        JSON,
        told({"model": "local", "choices": [{"finish_reason": "stop"}], "usage": PLAIN_USAGE}),
        PLAIN_TOKENS,
        {"model": "local", "finish_reason": "stop"},
    ),
    Case(
        "azure, a deployment",
        "azure-openai",
        "res/dep/chat/completions?api-version=2024-10-21",
        JSON,
        told({"model": "gpt-4o-2024-11-20", "choices": [{"finish_reason": "content_filter"}], "usage": PLAIN_USAGE}),
        PLAIN_TOKENS,
        {"model": "gpt-4o-2024-11-20", "finish_reason": "content_filter"},
    ),
    Case(
        "elevenlabs speaks",
        "elevenlabs",
        "v1/text-to-speech/voice",
        "audio/mpeg",
        b"ID3" * 9,
        TokenUsage(characters=44),
        {"model": "asked"},
        characters=44,
    ),
    Case("something unknown", "openai", "files", JSON, told({"usage": PLAIN_USAGE}), None, {"model": "asked"}),
]


def read(case: Case, pieces: list[bytes]) -> Answered:
    reader = UsageReader(PROVIDERS[case.provider], case.rest, "asked", characters=case.characters)
    reader.begin(case.status, [(b"Content-Type", case.kind.encode()), *case.headers])
    for piece in pieces:
        reader.feed(piece)
    was_done = reader.is_done
    answered = reader.finish()
    assert reader.finish() is answered
    assert answered.is_done == was_done or not reader.is_stream
    return answered


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_format_is_read_whole_and_byte_by_byte(case: Case) -> None:
    expected = Answered(**{"asked_model": "asked", "usage": case.usage, **case.told})
    assert read(case, [case.body]) == expected
    assert read(case, [case.body[at : at + 1] for at in range(len(case.body))]) == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_answer_that_breaks_off_states_no_more_than_it_did(case: Case) -> None:
    for at in range(0, len(case.body), 7):
        answered = read(case, [case.body[:at]])
        if case.usage is None:
            assert answered.usage is None
        elif answered.usage is not None and not case.headers and not case.characters:
            assert answered.usage.input <= case.usage.input
            assert answered.usage.output <= case.usage.output


@given(
    st.sampled_from(CASES),
    st.sampled_from([JSON, SSE, AWS, "application/x-ndjson", "text/plain", "", "audio/mpeg"]),
    st.lists(st.binary(max_size=60) | st.sampled_from([b"[", b"{", b'"', b"}", b"]", b"data: ", b"\n\n", b"\\"])),
    st.sampled_from([200, 400]),
)
def test_no_bytes_make_it_raise(case: Case, kind: str, pieces: list[bytes], status: int) -> None:
    reader = UsageReader(PROVIDERS[case.provider], case.rest)
    reader.begin(status, [(b"content-type", kind.encode("latin-1"))])
    for piece in pieces:
        reader.feed(piece)
    assert isinstance(reader.finish(), Answered)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "type",
        "object",
        "event_type",
        "model",
        "modelVersion",
        "status",
        "stop_reason",
        "usage",
        "usageMetadata",
        "usage_info",
        "x_groq",
        "meta",
        "duration",
        "service_tier",
        "incomplete_details",
        "error",
        "errors",
        "promptFeedback",
        "choices",
        "candidates",
        "predictions",
        "data",
        "delta",
        "message",
        "response",
        "result",
        "interaction",
        "metadata",
        "bytes",
        "amazon-bedrock-invocationMetrics",
        "finish_reason",
        "billed_units",
        "tokens",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "input_tokens",
        "output_tokens",
        "cost",
        "cost_details",
        "is_byok",
        "promptTokensDetails",
        "cacheDetails",
        "inputTokens",
        "cache_creation",
        "server_tool_use",
    ]
)
DOCUMENTS = st.recursive(
    JSON_VALUES, lambda inner: st.dictionaries(MEMBERS, inner, max_size=5) | st.lists(inner, max_size=2), max_leaves=20
)


@given(st.sampled_from(CASES), DOCUMENTS, st.sampled_from([JSON, SSE]))
def test_no_document_makes_it_raise_or_count_what_nobody_can_use(case: Case, document: Any, kind: str) -> None:
    text = json.dumps(document)
    body = text.encode() if kind == JSON else b"data: " + text.encode() + b"\n\n"
    answered = read_silently(case, kind, body)
    if answered.usage is not None:
        counts = answered.usage.counts()
        assert all(0 <= value < 10**14 for name, value in counts.items() if name != "tier")


def read_silently(case: Case, kind: str, body: bytes) -> Answered:
    reader = UsageReader(PROVIDERS[case.provider], case.rest)
    reader.begin(200, [(b"content-type", kind.encode())])
    reader.feed(body)
    return reader.finish()


@pytest.mark.parametrize("depth", [1000, 100_000])
@pytest.mark.parametrize("kind", [JSON, SSE])
def test_nesting_without_end_is_no_document(depth: int, kind: str) -> None:
    body = b'{"usage": ' + b'{"a":[' * depth
    case = next(case for case in CASES if case.name == "openai chat")
    assert read_silently(case, kind, b"data: " + body + b"\n\n" if kind == SSE else body).usage is None


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
        ("identity", bytes),
    ],
)
def test_a_compressed_answer_is_unpacked_for_reading(encoding: str, packed: Any) -> None:
    case = next(case for case in CASES if case.name == "openai chat, streamed")
    body = packed(case.body)
    for size in (1, 7, len(body)):
        reader = UsageReader(PROVIDERS["openai"], case.rest)
        reader.begin(200, [(b"content-type", SSE.encode()), (b"content-encoding", encoding.encode())])
        for at in range(0, len(body), size):
            reader.feed(body[at : at + size])
        assert reader.finish().usage == case.usage


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_what_cannot_be_unpacked_states_nothing(encoding: str) -> None:
    reader = UsageReader(PROVIDERS["openai"], "chat/completions", "gpt-4o")
    reader.begin(200, [(b"content-type", JSON.encode()), (b"content-encoding", encoding.encode())])
    for _ in range(3):
        reader.feed(told({"usage": PLAIN_USAGE}))
    assert reader.finish() == Answered(model="gpt-4o", asked_model="gpt-4o", usage=None)


def test_no_more_is_held_than_the_longest_body_that_is_read() -> None:
    for kind, opening in ((JSON, b'{"usage": "'), (SSE, b"data: "), ("application/x-ndjson", b"")):
        reader = UsageReader(PROVIDERS["openai"], "chat/completions")
        reader.begin(200, [(b"content-type", kind.encode())])
        reader.feed(opening)
        piece = b"x" * 2**20
        for _ in range(40):
            reader.feed(piece)
        if kind == SSE:
            # The event that was too long is left out, and the next one is read.
            reader.feed(b"\n\n" + events({"choices": [], "usage": PLAIN_USAGE}, done=True))
            assert reader.finish().usage == PLAIN_TOKENS
        else:
            assert reader.finish().usage is None


def test_the_model_is_that_of_the_path_where_neither_answer_nor_caller_names_one() -> None:
    for slug, rest, model in (
        ("aws-bedrock", f"{BEDROCK}/converse", BEDROCK_MODEL),
        ("google-ai-studio", f"{GEMINI_PATH}:generateContent", "gemini-2.5-flash"),
        ("azure-openai", "res/dep/chat/completions", "dep"),
    ):
        reader = UsageReader(PROVIDERS[slug], rest)
        reader.begin(200, [])
        assert reader.finish().model == model


def test_a_long_error_is_cut() -> None:
    reader = UsageReader(PROVIDERS["openai"], "chat/completions")
    reader.begin(500, [(b"content-type", b"application/json")])
    reader.feed(told({"error": {"message": "no " * 5000}}))
    assert 100 < len(reader.finish().error) <= 500
