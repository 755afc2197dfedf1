"""What an answer says about a credential: tables of answers as APIs and gateways give them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trunkline.credentials.matrix import Way
from trunkline.errors import UpstreamBroken, UpstreamRefused, UpstreamTimeout, UpstreamUnresolved, UpstreamUntrusted
from trunkline.probe import Verdict
from trunkline.probe.exchange import HttpAnswer, SocketAnswer
from trunkline.probe.reading import read_failure, read_http, read_socket

ACCEPTED, REFUSED, UNCLEAR = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNCLEAR
HTTP, SSE, WS, BROWSER = Way.HTTP, Way.SSE, Way.REALTIME, Way.REALTIME_BROWSER

MODELS = {"object": "list", "data": [{"id": "m"}]}
EMPTY = {
    "error": {"message": "Invalid 'messages': empty array.", "type": "invalid_request_error", "code": "empty_array"}
}
BAD_KEY = {
    "error": {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "invalid_api_key"}
}
NO_MODEL = {
    "error": {"message": "The model does not exist.", "type": "invalid_request_error", "code": "model_not_found"}
}
NO_QUOTA = {"error": {"message": "You exceeded it.", "type": "insufficient_quota", "code": "insufficient_quota"}}
ANTHROPIC_EMPTY = {"type": "error", "error": {"type": "invalid_request_error", "message": "messages: at least one"}}
ANTHROPIC_KEY = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
ANTHROPIC_EVENT = {"type": "message_start", "message": {"id": "msg_1"}}
GOOGLE_KEY = {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}
GOOGLE_EMPTY = {"error": {"code": 400, "message": "contents is not specified", "status": "INVALID_ARGUMENT"}}
FASTAPI = {"detail": [{"loc": ["body", "messages"], "msg": "List should have at least 1 item"}]}


def envelope(code: int, message: str = "…") -> dict[str, Any]:
    return {"success": False, "result": [], "messages": [], "error": [{"code": code, "message": message}]}


def answer(status: int, body: object = "", **headers: str) -> HttpAnswer:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HttpAnswer(status, pairs, body if isinstance(body, str) else json.dumps(body))


@pytest.mark.parametrize(
    ("came", "way", "verdict", "said"),
    [
        (answer(200, MODELS), HTTP, ACCEPTED, "answered 200"),
        (answer(200, [MODELS]), HTTP, ACCEPTED, "answered 200"),
        (answer(200, "<!doctype html>"), HTTP, UNCLEAR, "not the API's JSON"),
        (answer(200, ""), HTTP, UNCLEAR, "not the API's JSON"),
        (answer(200, "{"), SSE, UNCLEAR, "not the API's JSON"),
        (answer(200, "42"), HTTP, UNCLEAR, "not the API's JSON"),
        (answer(200, "[DONE]"), SSE, ACCEPTED, "answered 200"),
        (HttpAnswer(200, [], '{"data": [', is_whole=False), HTTP, ACCEPTED, "answered 200"),
        (HttpAnswer(200, [], "<html>", is_whole=False), HTTP, UNCLEAR, "not the API's JSON"),
        (answer(204), HTTP, UNCLEAR, "not the API's JSON"),
        (answer(200, BAD_KEY), SSE, REFUSED, "invalid_api_key"),
        (answer(200, {"error": {"message": "overloaded"}}), SSE, UNCLEAR, "overloaded"),
        (answer(200, {"choices": [], "error": None}), SSE, ACCEPTED, "answered 200"),
        (answer(200, ANTHROPIC_EVENT), SSE, ACCEPTED, "answered 200"),
        (answer(200, MODELS), WS, UNCLEAR, "in place of 101"),
        (answer(301, location="https://elsewhere.example/v1"), HTTP, UNCLEAR, "to elsewhere.example"),
        (answer(307, location="http://[broken"), HTTP, UNCLEAR, "a redirect;"),
        (answer(304), HTTP, UNCLEAR, "a redirect;"),
        # The provider speaks, or something in its manner.
        (answer(401, BAD_KEY), HTTP, REFUSED, "invalid_api_key"),
        (answer(401, ANTHROPIC_KEY), HTTP, REFUSED, "authentication_error"),
        (answer(403, {"error": "no access"}), HTTP, REFUSED, "no access"),
        (answer(401), HTTP, REFUSED, "without saying who refused"),
        (answer(403, "<h1>Forbidden</h1>"), HTTP, REFUSED, "without saying who refused"),
        (answer(400, GOOGLE_KEY), HTTP, REFUSED, "API key not valid"),
        (answer(400, GOOGLE_KEY), SSE, REFUSED, "API key not valid"),
        (answer(400, [GOOGLE_KEY]), SSE, REFUSED, "API key not valid"),
        (answer(400, EMPTY), SSE, ACCEPTED, "refused what is in it, not the key"),
        (answer(400, GOOGLE_EMPTY), SSE, ACCEPTED, "refused what is in it, not the key"),
        (answer(400, ANTHROPIC_EMPTY), SSE, ACCEPTED, "refused what is in it, not the key"),
        (answer(422, FASTAPI), SSE, ACCEPTED, "at least 1 item"),
        (answer(422, {"message": "bad body"}), SSE, ACCEPTED, "bad body"),
        (answer(400, EMPTY), HTTP, UNCLEAR, "says nothing about the key"),
        (answer(400), SSE, UNCLEAR, "says nothing about the key"),
        (answer(400, "Bad Request"), SSE, UNCLEAR, "says nothing about the key"),
        (answer(404, NO_MODEL), SSE, ACCEPTED, "only the model is not there"),
        (answer(429, NO_QUOTA), SSE, ACCEPTED, "whose quota is spent"),
        (answer(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), HTTP, UNCLEAR, "429"),
        (answer(404, {"error": {"message": "Unknown url"}}), HTTP, UNCLEAR, "answered 404"),
        (answer(405), SSE, UNCLEAR, "answered 405"),
        (answer(426), WS, UNCLEAR, "answered 426"),
        (answer(503, {"error": {"message": "overloaded"}}), HTTP, UNCLEAR, "answered 503"),
        (answer(520), HTTP, UNCLEAR, "answered 520"),
        # The gateway speaks: in Cloudflare's envelope, or by its number in a header.
        (answer(401, envelope(2009)), HTTP, REFUSED, "the gateway answered 2009: it wants its own key"),
        (answer(401, envelope(2009)), WS, REFUSED, "the gateway answered 2009"),
        (answer(401, BAD_KEY, cf_aig_error_code="2009"), HTTP, REFUSED, "the gateway answered 2009"),
        (answer(400, envelope(2040)), SSE, REFUSED, "holds no key for the provider"),
        (answer(402, envelope(2021)), SSE, REFUSED, "neither a provider key nor credits"),
        (answer(401, {"success": False, "errors": [{"code": 10000, "message": "x"}]}), HTTP, REFUSED, "10000"),
        (answer(400, envelope(2001)), SSE, UNCLEAR, "no gateway of this name"),
        (answer(400, envelope(2008)), SSE, UNCLEAR, "does not serve this provider"),
        (answer(400, envelope(2019)), SSE, UNCLEAR, "could not make sense"),
        (answer(502, EMPTY, cf_aig_error_code="2005"), SSE, UNCLEAR, "no usable answer from the provider"),
        (answer(429, envelope(2003)), HTTP, UNCLEAR, "rate limit"),
        (answer(403, envelope(2999, "blocked here")), HTTP, REFUSED, "2999 (403): blocked here"),
        (answer(400, envelope(2999, "")), SSE, UNCLEAR, "2999 (400): without a word"),
        (answer(403, envelope(2009, "not for this model")), HTTP, REFUSED, "2009 (403): not for this model"),
        (answer(401, BAD_KEY, cf_aig_error_code="many"), HTTP, REFUSED, "invalid_api_key"),
        (answer(401, BAD_KEY, cf_aig_error_code="9" * 5000), HTTP, REFUSED, "invalid_api_key"),
        (answer(401, f'{{"error": [{{"code": {"9" * 5000}}}]}}'), HTTP, REFUSED, "without saying who refused"),
        # Bodies that are no help.
        (answer(401, "{" * 100_000), HTTP, REFUSED, "without saying who refused"),
        (answer(401, "[" * 100_000), HTTP, REFUSED, "without saying who refused"),
        (answer(401, "[]"), HTTP, REFUSED, "without saying who refused"),
        (answer(401, '{"error": []}'), HTTP, REFUSED, "without saying who refused"),
        (answer(401, '{"error": {}}'), HTTP, REFUSED, "without saying who refused"),
        (answer(401, '{"error": {"code": {}, "type": 3, "message": null}}'), HTTP, REFUSED, "an error object"),
    ],
)
def test_an_http_answer_is_read(came: HttpAnswer, way: Way, verdict: Verdict, said: str) -> None:
    reading = read_http(came, way)
    assert (reading.verdict, said in reading.why) == (verdict, True), reading


def test_an_answer_that_broke_off_is_no_acceptance() -> None:
    reading = read_http(HttpAnswer(200, [], '{"object": "li', cut_off="it stopped in the middle"), HTTP)
    assert reading.verdict is UNCLEAR
    assert "it stopped in the middle" in reading.why


def error(code: str | None, message: str = "", kind: str = "invalid_request_error") -> str:
    return json.dumps({"type": "error", "error": {"type": kind, "code": code, "message": message}})


def socket(
    frame: str | bytes | None = None,
    code: int | None = None,
    reason: str = "",
    *,
    selected: str | None = "realtime",
    offered: tuple[str, ...] = ("realtime",),
) -> SocketAnswer:
    return SocketAnswer(frame, code, reason, selected, offered)


CREATED = '{"type": "session.created", "session": {}}'


@pytest.mark.parametrize(
    ("came", "way", "verdict", "said"),
    [
        (socket(CREATED), WS, ACCEPTED, "session was created"),
        (socket(CREATED), BROWSER, ACCEPTED, "session was created"),
        (socket(error("invalid_api_key"), 3000, "invalid_request_error.invalid_api_key"), WS, REFUSED, "3000"),
        (socket(error("no_provider_key"), 3000), WS, REFUSED, "no_provider_key"),
        (socket(error(None, "Missing bearer or basic authentication in header"), 4001), WS, REFUSED, "4001"),
        (socket(error(None, "Missing bearer or basic authentication in header")), WS, REFUSED, "Missing bearer"),
        (socket(error("x", "no"), 4001), WS, REFUSED, "4001"),
        (socket(error("model_not_found", "no access"), 4004), WS, ACCEPTED, "only the model is not there"),
        (socket(error("beta_api_shape_disabled"), 4000), WS, UNCLEAR, "beta_api_shape_disabled"),
        (socket('{"type": "error"}', 1011), WS, UNCLEAR, "without an error"),
        (socket(None, 3000, "invalid_request_error.invalid_api_key"), WS, REFUSED, "closed with 3000"),
        (socket(None, 1008), WS, REFUSED, "closed with 1008"),
        (socket(None, 4003), WS, REFUSED, "closed with 4003"),
        (socket(None, 4999, "bad credential"), WS, REFUSED, "bad credential"),
        (socket(None, 4000, "no model"), WS, UNCLEAR, "4000 no model"),
        (socket(None, 1006), WS, UNCLEAR, "ended with 1006"),
        (socket(None), WS, UNCLEAR, "nothing came"),
        (socket(b"\x00"), WS, UNCLEAR, "binary"),
        (socket('{"type": "conversation.created"}'), WS, UNCLEAR, "conversation.created"),
        (socket("hello"), WS, UNCLEAR, "no event"),
        (socket("[]"), WS, UNCLEAR, "no event"),
        (socket("{" * 100_000), WS, UNCLEAR, "no event"),
        # What a browser does is its own; a server-side client does not mind.
        (socket(CREATED, selected=None), BROWSER, REFUSED, "selected none"),
        (socket(CREATED, selected=None), WS, ACCEPTED, "session was created"),
        (socket(CREATED, selected="other"), BROWSER, REFUSED, "nobody offered"),
        (socket(CREATED, selected=None, offered=()), BROWSER, ACCEPTED, "session was created"),
        (socket(CREATED, selected="realtime", offered=()), BROWSER, REFUSED, "nobody offered"),
    ],
)
def test_a_socket_is_read(came: SocketAnswer, way: Way, verdict: Verdict, said: str) -> None:
    reading = read_socket(came, way)
    assert (reading.verdict, said in reading.why) == (verdict, True), reading


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (UpstreamUnresolved("x"), "no address"),
        (UpstreamRefused("Check base_url."), "refused the connection or cannot be reached"),
        (UpstreamTimeout("(upstream.connect_timeout)"), "no answer within 10 seconds"),
        (TimeoutError(), "no answer within 10 seconds"),
        (UpstreamUntrusted("h:443 showed a certificate that is not trusted: self-signed."), "not trusted"),
        (UpstreamBroken("h:443 closed the connection without an answer."), "without an answer"),
    ],
)
def test_no_answer_is_put_into_words_of_the_probe(failure: UpstreamBroken | TimeoutError, said: str) -> None:
    reading = read_failure(failure, 10.0)
    assert reading.verdict is Verdict.UNREACHABLE
    assert said in reading.why
    assert "base_url" not in reading.why
    assert "upstream." not in reading.why
    assert not reading.why.endswith(".")
