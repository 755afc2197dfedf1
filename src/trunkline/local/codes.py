"""The codes in what the local provider says went wrong: OpenAI's own where it has one.

docs/troubleshooting.md explains each.
"""

from __future__ import annotations

from typing import Any, Literal

ProblemCode = Literal[
    "beta_api_shape_disabled",
    "context_length_exceeded",
    "duplicate_api_key",
    "invalid_api_key",
    "invalid_audio",
    "invalid_intent",
    "invalid_json",
    "invalid_multipart",
    "invalid_value",
    "missing_api_key",
    "missing_model",
    "missing_required_parameter",
    "model_not_found",
    "rate_limit_exceeded",
    "request_too_large",
    "unknown_parameter",
    "unknown_url",
    "unspeakable_text",
    "unsupported_language",
]
"""Of a request, or of a WebSocket that is refused."""

MistakeCode = Literal[
    "cannot_update_voice",
    "conversation_already_has_active_response",
    "input_audio_buffer_commit_empty",
    "input_audio_buffer_full",
    "invalid_event",
    "invalid_json",
    "invalid_value",
    "item_create_invalid_previous_item_id",
    "item_delete_invalid_item_id",
    "item_retrieve_invalid_item_id",
    "item_truncate_invalid_item_id",
    "missing_required_parameter",
    "response_cancel_not_active",
    "session_expired",
    "unknown_parameter",
]
"""Of an event within a realtime session; the session goes on."""

FailureCode = Literal["generation_failed", "internal_error", "malformed_answer", "transcription_failed"]
"""Of an answer, or of words, that did not come about."""


def failure(code: FailureCode, message: str) -> dict[str, Any]:
    """Return the error object of what did not come about."""
    return {"type": "server_error", "code": code, "message": message, "param": None}
