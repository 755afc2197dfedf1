"""Refusals, each in the shape its client can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import errors
from trunkline.errors import (
    ForbiddenOrigin,
    GatewayError,
    MalformedRequest,
    NoProviderKey,
    Unauthorized,
    UnknownProvider,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUpgradeRefused,
)
from trunkline.realtime.closing import may_be_sent
from trunkline.wire.refusal import MAX_CLOSE_REASON, Dialect, dialect_for, http_refusal, realtime_refusal


def tree(root: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


KINDS = [kind for kind in tree(GatewayError) if kind is not UpstreamUpgradeRefused]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
every_dialect = pytest.mark.parametrize("dialect", list(Dialect))


def body(error: GatewayError, dialect: Dialect) -> Any:
    return json.loads(http_refusal(error, dialect)[2])


def header(error: GatewayError, name: bytes) -> bytes | None:
    return dict(http_refusal(error, Dialect.OPENAI)[1]).get(name)


def test_the_client_of_cloudflares_headers_reads_its_envelope() -> None:
    headers = [(b"authorization", b"Bearer k"), (b"cf-aig-metadata", b"{}")]
    assert dialect_for(headers, Dialect.ANTHROPIC) is Dialect.CLOUDFLARE


def test_any_other_client_reads_the_providers_own_error() -> None:
    assert dialect_for([(b"authorization", b"Bearer k")], Dialect.GOOGLE) is Dialect.GOOGLE


@every_dialect
@every_kind
def test_an_http_refusal_has_status_code_length_and_message(kind: type[GatewayError], dialect: Dialect) -> None:
    status, headers, content = http_refusal(kind("What to do."), dialect)
    values = dict(headers)
    assert status == kind.status
    assert values[b"cf-aig-error-code"] == str(kind.code).encode()
    assert values[b"content-type"] == b"application/json"
    assert values[b"content-length"] == str(len(content)).encode()
    assert "What to do." in content.decode()


def test_openais_shape() -> None:
    assert body(Unauthorized("No."), Dialect.OPENAI) == {
        "error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MalformedRequest("No."), "invalid_request_error"),
        (Unauthorized("No."), "authentication_error"),
        (ForbiddenOrigin("No."), "permission_error"),
        (UpstreamTimeout("No."), "timeout_error"),
        (UpstreamError("No."), "api_error"),
    ],
)
def test_anthropics_shape(error: GatewayError, kind: str) -> None:
    assert body(error, Dialect.ANTHROPIC) == {"type": "error", "error": {"type": kind, "message": "No."}}


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (MalformedRequest("No."), 400, "INVALID_ARGUMENT"),
        (NoProviderKey("No."), 401, "UNAUTHENTICATED"),
        (ForbiddenOrigin("No."), 403, "PERMISSION_DENIED"),
        (UpstreamError("No."), 502, "UNAVAILABLE"),
        (UpstreamBusy("No."), 504, "DEADLINE_EXCEEDED"),
        (GatewayError("No."), 500, "INTERNAL"),
    ],
)
def test_googles_shape(error: GatewayError, code: int, status: str) -> None:
    assert body(error, Dialect.GOOGLE) == {"error": {"code": code, "message": "No.", "status": status}}


def test_cloudflares_envelope() -> None:
    envelope = body(UnknownProvider("No."), Dialect.CLOUDFLARE)
    assert envelope["success"] is False
    assert envelope["error"] == [{"code": 2008, "message": "No."}]
    assert (envelope["httpCode"], envelope["internalCode"]) == (400, 2008)
    assert envelope["message"] == "No."


def test_a_wait_is_told_in_seconds() -> None:
    assert header(GatewayError("Wait.", retry_after=7), b"retry-after") == b"7"
    assert header(GatewayError("Wait.", retry_after=0), b"retry-after") == b"0"
    assert header(GatewayError("No wait."), b"retry-after") is None


def test_a_401_says_how_to_authenticate_as_http_requires() -> None:
    assert header(Unauthorized("No."), b"www-authenticate") == b"Bearer"
    assert header(MalformedRequest("No."), b"www-authenticate") is None


@every_dialect
@every_kind
def test_a_websocket_refusal_is_one_event_and_a_close_that_may_be_sent(
    kind: type[GatewayError], dialect: Dialect
) -> None:
    event, code, reason = realtime_refusal(kind("What to do."), dialect, "event_1")
    assert "What to do." in json.dumps(json.loads(event), ensure_ascii=False)
    assert code == kind.close_code
    assert may_be_sent(code)
    assert reason == (kind.close_reason or f"{kind.type}.{kind.reason}")
    assert len(reason.encode()) <= MAX_CLOSE_REASON


def test_a_websocket_refusal_is_an_error_event_of_openais() -> None:
    event, code, reason = realtime_refusal(Unauthorized("No."), Dialect.OPENAI, "event_1")
    assert json.loads(event) == {
        "type": "error",
        "event_id": "event_1",
        "error": {
            "message": "No.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
            "event_id": None,
        },
    }
    assert (code, reason) == (3000, "invalid_request_error.invalid_api_key")


def test_googles_clients_get_googles_error_on_a_websocket() -> None:
    event, _, _ = realtime_refusal(Unauthorized("No."), Dialect.GOOGLE, "event_1")
    assert json.loads(event) == {"error": {"code": 401, "message": "No.", "status": "UNAUTHENTICATED"}}


@pytest.mark.parametrize(
    ("dialect", "kind", "where"),
    [
        (Dialect.ELEVENLABS, "error", ["error_event", "message"]),
        (Dialect.ELEVENLABS, "error", ["message"]),
        (Dialect.DEEPGRAM, "Error", ["description"]),
        (Dialect.CARTESIA, "error", ["error"]),
        (Dialect.CARTESIA, "error", ["message"]),
    ],
)
def test_a_refusal_among_frames_of_another_protocol_is_in_its_words(
    dialect: Dialect, kind: str, where: list[str]
) -> None:
    text, code, reason = realtime_refusal(Unauthorized("No."), dialect, "event_1")
    event = json.loads(text)
    assert event["type"] == kind
    for name in where:
        event = event[name]
    assert event == "No."
    assert (code, reason) == (3000, "invalid_request_error.invalid_api_key")


@pytest.mark.parametrize("dialect", [Dialect.ELEVENLABS, Dialect.DEEPGRAM, Dialect.CARTESIA])
def test_over_http_these_are_put_as_openai_puts_them(dialect: Dialect) -> None:
    assert body(Unauthorized("No."), dialect) == body(Unauthorized("No."), Dialect.OPENAI)


@pytest.mark.parametrize(
    ("status", "code"), [(400, 4000), (401, 3000), (403, 3000), (404, 4004), (429, 1013), (503, 1013)]
)
def test_a_refused_upgrade_closes_with_what_its_status_means(status: int, code: int) -> None:
    error = UpstreamUpgradeRefused("No.", upstream_status=status, headers=[], body=b"")
    assert realtime_refusal(error, Dialect.OPENAI, "e")[1] == code


def test_refusals_of_the_gateway_and_of_a_missing_key_can_be_told_apart() -> None:
    assert Unauthorized.code != NoProviderKey.code
    assert Unauthorized.reason != NoProviderKey.reason


def test_every_reason_belongs_to_one_kind_and_those_below_it() -> None:
    reasons = [kind.reason for kind in tree(GatewayError) if "reason" in vars(kind)]
    assert len(set(reasons)) == len(reasons)


def test_the_tree_at_the_top_of_the_module_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for kind in tree(GatewayError):
        assert kind.__name__ in errors.__doc__


def test_a_provider_without_an_answer_is_502_or_504_so_that_clients_try_again() -> None:
    assert {kind.status for kind in tree(UpstreamError)} == {502, 504}
    assert {kind.code for kind in tree(UpstreamError)} == {2005}


@given(st.text(max_size=300), st.sampled_from(KINDS), st.sampled_from(list(Dialect)))
def test_any_message_is_carried_whole(message: str, kind: type[GatewayError], dialect: Dialect) -> None:
    error = kind(message)
    _, headers, content = http_refusal(error, dialect)
    assert dict(headers)[b"content-length"] == str(len(content)).encode()
    assert json.dumps(message) in content.decode()
    event, _, _ = realtime_refusal(error, dialect, "e")
    assert json.dumps(message) in event
