"""Every exchange is a row of the log, whichever way it came and however it ended."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection

from tests.contract.log_rows import ANSWER, chunk, http_answer, json_answer, logged, stream_of
from tests.contract.raw_server import answering, raw_server
from tests.contract.test_dataplane import OK, Recorder, openai_at, read_request, silent
from tests.contract.test_universal import OK_JSON, UNIVERSAL, UNREACHABLE, at, step
from tests.contract.test_voiceplane import dial, echo, refusal_of, upstream_of
from tests.running import run
from trunkline.server.seen import MAX_PAYLOAD
from trunkline.store import Database, RealtimeSessions, SessionFilter

CHAT = "/v1/local/default/openai/chat/completions"
KEY = {"authorization": "Bearer sk-caller-12345678"}
ASKED = {"model": "gpt-4o", "user": "end-user-7", "messages": [{"role": "user", "content": "Hello"}]}
BUSY = {"error": {"message": "Too many requests for now."}}


def test_a_row_tells_who_asked_what_and_what_it_came_to() -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            headers = {
                **KEY,
                "cf-aig-metadata": '{"team": "blue", "paid": true, "tries": 2}',
                "cf-aig-event-id": "my-event",
                "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
                "user-agent": "test/1",
            }
            answer = await client.post(gateway.http + CHAT, params={"x": "1"}, headers=headers, json=ASKED)
        row = gateway.row
        assert answer.headers["cf-aig-log-id"] == row.id
        assert answer.headers["cf-aig-event-id"] == "my-event"
        assert (row.gateway, row.provider, row.model, row.model_type) == ("default", "openai", "gpt-4o", "chat")
        assert (row.method, row.path, row.request_type) == ("POST", "chat/completions", "http")
        assert (row.status, row.success, row.end_reason, row.attempts) == (200, True, "complete", 1)
        assert (row.tokens_in, row.tokens_out, row.tokens_cached) == (11, 3, 4)
        assert row.usage == {"input": 11, "output": 3, "cached": 4}
        assert row.cost == pytest.approx((7 * 2.5 + 4 * 1.25 + 3 * 10) / 1e6)
        assert (row.user, row.key_source, row.caller) == ("end-user-7", "caller", "")
        assert row.metadata == {"team": "blue", "paid": True, "tries": 2}
        assert (row.event_id, row.trace_id, row.parent_span_id) == ("my-event", "a" * 32, "b" * 16)
        assert row.user_agent == "test/1"
        assert row.request_size == len(answer.request.content)
        assert row.response_size == len(answer.content)
        assert (row.request_content_type, row.response_content_type) == ("application/json", "application/json")
        assert row.first_byte_ms is not None
        assert 0 < row.first_byte_ms <= row.duration_ms
        assert gateway.payload is None

    run(main())


def test_a_stream_has_the_time_between_its_events() -> None:
    async def main() -> None:
        async with (
            raw_server(answering(*stream_of("Hel", "lo", "."))) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(gateway.http + CHAT, headers=KEY, json={**ASKED, "stream": True})
        row = gateway.row
        assert answer.text.endswith("data: [DONE]\n\n")
        assert (row.end_reason, row.success, row.tokens_in, row.tokens_out) == ("complete", True, 5, 2)
        assert row.inter_token_p50_ms is not None
        assert row.inter_token_p99_ms is not None
        assert 0 <= row.inter_token_p50_ms <= row.inter_token_p99_ms

    run(main())


@pytest.mark.parametrize(
    ("answer", "is_framed"),
    [
        (json_answer(ANSWER), True),
        (b"".join(stream_of("a", "b")[:-1]), False),
    ],
    ids=["content length", "last event"],
)
def test_what_a_client_sees_answered_is_in_the_journal_already(answer: bytes, is_framed: bool) -> None:
    async def main() -> None:
        async with (
            raw_server(answering(answer)) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
            client.stream("POST", gateway.http + CHAT, headers=KEY, json=ASKED) as response,
        ):
            log_id = response.headers["cf-aig-log-id"].encode()
            seen = b""
            async for piece in response.aiter_raw():
                seen += piece
                if is_framed or b"[DONE]" in seen:
                    break
            kept = b"".join(file.read_bytes() for file in (gateway.directory / "journal").glob("*.segment"))
            assert log_id in kept

    run(main())


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [({}, 2009, 401), ({"authorization": "Bearer wrong-token-of-somebody"}, 2009, 401)],
)
def test_a_refused_caller_is_a_row_and_learns_its_id(headers: dict[str, str], code: int, status: int) -> None:
    async def main() -> None:
        async with logged(gateway_token="the-right-token-0123") as gateway, httpx.AsyncClient() as client:
            answer = await client.post(gateway.http + CHAT, headers=headers, json=ASKED)
            assert answer.status_code == status
        row = gateway.row
        assert answer.headers["cf-aig-log-id"] == row.id
        assert (row.status, row.success, row.end_reason, row.error_code) == (status, False, "refused", code)
        assert (row.provider, row.path, row.attempts) == ("openai", "chat/completions", 0)
        assert "is authenticated" in row.error
        assert "somebody" not in row.error

    run(main())


@pytest.mark.parametrize(
    "path", ["/v1/", "/v1/wp-login.php", "/v1/other/default/openai/models", "/v1/local/x/openai/y"]
)
def test_a_scan_for_paths_that_nobody_has_is_no_row(path: str) -> None:
    async def main() -> None:
        async with logged() as gateway, httpx.AsyncClient() as client:
            answer = await client.get(gateway.http + path)
            assert "cf-aig-log-id" not in answer.headers
        assert gateway.rows == []

    run(main())


def test_a_provider_that_cannot_be_reached_is_a_row() -> None:
    async def main() -> None:
        async with logged(**at(openai=UNREACHABLE)) as gateway, httpx.AsyncClient() as client:
            answer = await client.post(gateway.http + CHAT, headers=KEY, json=ASKED)
        row = gateway.row
        assert answer.headers["cf-aig-log-id"] == row.id
        assert (row.status, row.end_reason, row.success) == (answer.status_code, "upstream_error", False)
        assert row.model == "gpt-4o"
        assert row.error

    run(main())


def test_an_answer_that_breaks_off_is_a_row_that_says_so() -> None:
    async def main() -> None:
        pieces = stream_of("a", "b", usage=False)[:-2]
        async with (
            raw_server(answering(*pieces, then_close=True)) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(gateway.http + CHAT, headers=KEY, json={**ASKED, "stream": True})
        row = gateway.row
        assert (row.status, row.success, row.end_reason) == (200, False, "upstream_broken")
        assert row.response_size > 0

    run(main())


def test_an_error_of_the_providers_is_a_row_with_its_words() -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(BUSY, "429 Too Many Requests"))) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            await client.post(gateway.http + CHAT, headers=KEY, json=ASKED)
        row = gateway.row
        assert (row.status, row.success, row.end_reason, row.cost) == (429, False, "complete", None)
        assert row.error == "Too many requests for now."

    run(main())


def test_a_client_that_goes_away_is_a_row_that_says_so() -> None:
    async def main() -> None:
        async with raw_server(silent) as origin, logged(**openai_at(origin)) as gateway:
            async with httpx.AsyncClient() as client:
                asking = asyncio.create_task(client.post(gateway.http + CHAT, headers=KEY, json=ASKED))
                await asyncio.sleep(0.2)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            await gateway.until_there_is_a_row()
        row = gateway.row
        assert (row.end_reason, row.success, row.model) == ("client_gone", False, "gpt-4o")

    run(main())


def test_a_client_that_has_read_enough_is_no_failure() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"8\r\ndata: 1\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    async def main() -> None:
        async with raw_server(endless) as origin, logged(**openai_at(origin)) as gateway:
            async with (
                httpx.AsyncClient() as client,
                client.stream("POST", gateway.http + CHAT, headers=KEY, json={**ASKED, "stream": True}) as answer,
            ):
                await anext(answer.aiter_bytes())
            await gateway.until_there_is_a_row()
        row = gateway.row
        assert (row.end_reason, row.success, row.status) == ("client_gone", True, 200)

    run(main())


@pytest.mark.parametrize(("method", "path"), [("GET", "models"), ("HEAD", "models"), ("DELETE", "files/1")])
def test_what_causes_no_work_of_a_model_is_a_row_as_well(method: str, path: str) -> None:
    async def main() -> None:
        head_only = OK.removesuffix(b"ok") if method == "HEAD" else OK
        async with (
            raw_server(Recorder(head_only)) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            await client.request(method, f"{gateway.http}/v1/local/default/openai/{path}", headers=KEY)
        row = gateway.row
        assert (row.method, row.path, row.model_type, row.cost) == (method, path, "other", None)
        assert row.success

    run(main())


def test_an_answer_without_a_body_is_complete() -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(b"HTTP/1.1 204 No Content\r\n\r\n")) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            await client.delete(f"{gateway.http}/v1/local/default/openai/files/1", headers=KEY)
        assert (gateway.row.status, gateway.row.end_reason) == (204, "complete")

    run(main())


# Whether to keep it


@pytest.mark.parametrize(
    ("rules", "header", "is_kept"),
    [
        ({}, None, True),
        ({}, "false", False),
        ({"collect": False}, None, False),
        ({"collect": False}, "true", True),
        ({}, "nonsense", True),
    ],
)
def test_the_callers_header_overrides_the_gateways_switch_for_rows(
    rules: dict[str, Any], header: str | None, is_kept: bool
) -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            logged(rules, **openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            wish = {} if header is None else {"cf-aig-collect-log": header}
            answer = await client.post(gateway.http + CHAT, headers={**KEY, **wish}, json=ASKED)
        assert ("cf-aig-log-id" in answer.headers) is is_kept
        assert len(gateway.rows) == int(is_kept)

    run(main())


@pytest.mark.parametrize(
    ("switch", "header", "is_kept"),
    [(True, None, True), (True, "false", False), (True, "true", True), (False, "true", False), (False, None, False)],
)
def test_bodies_are_kept_where_both_the_gateway_and_the_caller_have_it_so(
    switch: bool, header: str | None, is_kept: bool
) -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            logged({"payloads": switch}, **openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            wish = {} if header is None else {"cf-aig-collect-log-payload": header}
            answer = await client.post(gateway.http + CHAT, headers={**KEY, **wish}, json=ASKED)
        assert gateway.row.tokens_in == 11
        assert gateway.row.has_payload is is_kept
        if is_kept:
            assert gateway.payload is not None
            assert gateway.payload.request == answer.request.content
            assert gateway.payload.response == answer.content

    run(main())


def test_a_compressed_answer_passes_as_it_is_and_is_kept_unpacked() -> None:
    async def main() -> None:
        packed = gzip.compress(json.dumps(ANSWER).encode())
        upstream = Recorder(http_answer(packed, "application/json", "200 OK", "content-encoding: gzip"))
        async with (
            raw_server(upstream) as origin,
            logged({"payloads": True}, **openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            headers = {**KEY, "accept-encoding": "br, gzip, zstd"}
            async with client.stream("POST", gateway.http + CHAT, headers=headers, json=ASKED) as response:
                raw = b"".join([piece async for piece in response.aiter_raw()])
        assert raw == packed
        assert upstream.requests[0][1]["accept-encoding"] == ["gzip"]
        assert gateway.row.tokens_out == 3
        assert gateway.payload is not None
        assert json.loads(gateway.payload.response or b"") == ANSWER

    run(main())


def test_a_body_that_is_too_long_to_keep_is_told_by_its_size() -> None:
    async def main() -> None:
        long = json.dumps({"messages": [{"role": "user", "content": "x" * MAX_PAYLOAD}], "model": "gpt-4o"}).encode()

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, _, body = await read_request(reader)
            assert body == long
            writer.write(json_answer(ANSWER))

        async with (
            raw_server(upstream) as origin,
            logged({"payloads": True}, **openai_at(origin)) as gateway,
            httpx.AsyncClient(timeout=30) as client,
        ):
            headers = {**KEY, "content-type": "application/json"}
            answer = await client.post(gateway.http + CHAT, headers=headers, content=long)
        assert gateway.row.request_size == len(long)
        assert gateway.payload is not None
        assert gateway.payload.request is None
        assert gateway.payload.response == answer.content

    run(main())


def test_a_body_that_is_no_text_is_not_kept() -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(http_answer(b"\x00\x01sound", "audio/mpeg"))) as origin,
            logged({"payloads": True}, **openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            body = {"model": "tts-1", "input": "Hello", "voice": "a"}
            answer = await client.post(f"{gateway.http}/v1/local/default/openai/audio/speech", headers=KEY, json=body)
        row = gateway.row
        assert (row.model_type, row.response_content_type, row.response_size) == ("speech", "audio/mpeg", 7)
        assert gateway.payload is not None
        assert gateway.payload.request == answer.request.content
        assert gateway.payload.response is None

    run(main())


def test_the_model_of_a_body_that_is_sent_on_in_pieces_is_found() -> None:
    async def main() -> None:
        document = {"messages": [{"role": "user", "content": "word " * 60_000}], "model": "gpt-4o", "user": "me"}
        async with (
            raw_server(Recorder(OK)) as origin,
            logged(**openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(gateway.http + CHAT, headers=KEY, json=document)
        row = gateway.row
        assert (row.model, row.user, row.request_size) == ("gpt-4o", "me", len(answer.request.content))

    run(main())


# Usage and cost


def test_the_usage_of_a_stream_is_asked_for_and_kept_from_a_caller_who_did_not() -> None:
    async def main() -> None:
        asked: list[dict[str, Any]] = []

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, _, body = await read_request(reader)
            asked.append(json.loads(body))
            writer.write(b"".join(stream_of("Hel", "lo")))

        async with (
            raw_server(upstream) as origin,
            logged({"usage_in_streams": True}, **openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(gateway.http + CHAT, headers=KEY, json={**ASKED, "stream": True})
        assert asked[0]["stream_options"] == {"include_usage": True}
        assert "usage" not in answer.text
        assert answer.text.count("data: ") == 3
        assert (gateway.row.tokens_in, gateway.row.tokens_out) == (5, 2)

    run(main())


def test_a_price_of_the_callers_own_counts_before_that_of_the_gateway() -> None:
    async def main() -> None:
        rules = {"custom_costs": [{"model": "gpt-4o*", "prices": {"per_token_in": 1, "per_token_out": 2}}]}
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            logged(rules, **openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            own = {"cf-aig-custom-cost": '{"per_token_in": 10, "per_token_out": 0}'}
            await client.post(gateway.http + CHAT, headers=KEY, json=ASKED)
            await client.post(gateway.http + CHAT, headers={**KEY, **own}, json=ASKED)
        assert [(row.cost, row.custom_cost) for row in gateway.rows] == [(17, True), (110, True)]

    run(main())


# The other planes


def test_a_universal_request_is_one_row_with_the_step_that_answered() -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(OK_JSON)) as origin,
            logged(**at(openai=UNREACHABLE, groq=f"http://{origin.host}:{origin.port}")) as gateway,
            httpx.AsyncClient() as client,
        ):
            steps = [step(key="sk-1-of-openai"), step("groq", key="gsk_of_somebody")]
            answer = await client.post(gateway.http + UNIVERSAL, json=steps)
        row = gateway.row
        assert answer.headers["cf-aig-log-id"] == row.id
        assert (row.request_type, row.provider, row.step, row.attempts) == ("universal", "groq", 1, 2)
        assert (row.model, row.path, row.success) == ("m", "chat/completions", True)

    run(main())


def test_a_universal_request_that_nobody_can_answer_is_one_row() -> None:
    async def main() -> None:
        async with logged() as gateway, httpx.AsyncClient() as client:
            await client.post(gateway.http + UNIVERSAL, json=[step("nobody")])
            await client.post(gateway.http + UNIVERSAL, content=b"[")
        first, second = gateway.rows
        assert (first.error_code, first.provider, first.end_reason) == (2008, "", "refused")
        assert "'nobody'" in first.error
        assert (second.status, second.error_code, second.end_reason) == (400, 2019, "refused")

    run(main())


def test_each_request_on_a_universal_socket_is_a_row_with_its_log_id() -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            logged(**openai_at(origin)) as gateway,
            dial(gateway.address, UNIVERSAL) as socket,
        ):
            request = {"eventId": "e-1", **step(key="sk-1-of-openai")}
            await socket.send(json.dumps({"type": "universal.create", "request": request}))
            said = json.loads(await socket.recv())
            refused = {"eventId": "e-2", **step("nobody")}
            await socket.send(json.dumps({"type": "universal.create", "request": refused}))
            told = json.loads(await socket.recv())
        first, second = gateway.rows
        assert (first.id, first.event_id) == (said["metadata"]["logId"], "e-1")
        assert (first.request_type, first.status, first.tokens_in, first.success) == ("websocket", 200, 11, True)
        assert (second.id, second.event_id, second.end_reason) == (told["metadata"]["logId"], "e-2", "refused")

    run(main())


def test_a_request_that_is_cancelled_on_a_universal_socket_is_a_row() -> None:
    async def main() -> None:
        async with (
            raw_server(silent) as origin,
            logged(**openai_at(origin)) as gateway,
            dial(gateway.address, UNIVERSAL) as socket,
        ):
            request = {"eventId": "e-1", **step(key="sk-1-of-openai")}
            await socket.send(json.dumps({"type": "universal.create", "request": request}))
            await asyncio.sleep(0.1)
            await socket.send('{"type":"universal.cancel","eventId":"e-1"}')
            said = json.loads(await socket.recv())
            assert said["metadata"]["cancelled"] is True
        assert (gateway.row.end_reason, gateway.row.provider) == ("cancelled", "openai")

    run(main())


def test_a_realtime_session_is_one_row_with_its_own_id() -> None:
    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            logged(**openai_at(origin)) as gateway,
        ):
            async with dial(gateway.address) as socket:
                await socket.send("x")
                await socket.recv()
            await gateway.until_there_is_a_row()
        row = gateway.row
        assert row.id == row.session_id
        assert (row.request_type, row.model_type, row.status, row.success) == ("realtime", "realtime", 101, True)
        assert (row.provider, row.model, row.end_reason) == ("openai", "gpt-realtime", "client")
        assert (row.request_size, row.response_size) == (1, 1)

    run(main())


def test_a_session_that_is_refused_or_cannot_begin_is_a_row() -> None:
    async def main() -> None:
        async with logged(gateway_token="the-right-token-0123", **at(openai=UNREACHABLE)) as gateway:
            async with dial(gateway.address) as socket:
                await refusal_of(socket)
            key = {"cf_aig_authorization": "the-right-token-0123", "authorization": "Bearer sk-of-somebody-1"}
            async with dial(gateway.address, **key) as socket:
                await refusal_of(socket)
        first, second = gateway.rows
        assert (first.end_reason, first.error_code, first.success) == ("refused", 2009, False)
        assert (second.end_reason, second.success, second.request_type) == ("upstream_error", False, "realtime")

    run(main())


def test_a_page_of_another_origin_may_read_the_id() -> None:
    async def main() -> None:
        async with (
            raw_server(Recorder(json_answer(ANSWER))) as origin,
            logged(allowed_origins=("https://app.example",), **openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            headers = {**KEY, "origin": "https://app.example"}
            answer = await client.post(gateway.http + CHAT, headers=headers, json=ASKED)
            assert answer.headers["access-control-expose-headers"] == "*"
            assert answer.headers["cf-aig-log-id"]
            preflight = {**headers, "access-control-request-method": "POST"}
            await client.options(gateway.http + CHAT, headers=preflight)
        assert len(gateway.rows) == 1

    run(main())


def test_events_of_a_stream_that_come_in_pieces_are_counted_once() -> None:
    async def main() -> None:
        text = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
        head = stream_of()[0]
        pieces = [head, *(chunk(character) for character in text), chunk("data: [DONE]\n\n"), b"0\r\n\r\n"]
        async with (
            raw_server(answering(*pieces)) as origin,
            logged({"payloads": True}, **openai_at(origin)) as gateway,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(gateway.http + CHAT, headers=KEY, json={**ASKED, "stream": True})
        assert gateway.row.inter_token_p50_ms is None
        assert gateway.payload is not None
        assert gateway.payload.response == answer.content

    run(main())


async def spoken(socket: ServerConnection) -> None:
    """A provider that has heard something and answers it."""
    created = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
    usage = {"input_tokens": 9, "output_tokens": 4, "output_token_details": {"text_tokens": 4}}
    heard = {"item_id": "i", "transcript": "My key is sk-0123456789abcdef"}
    for event in (
        {"type": "session.created", "session": {"model": "gpt-realtime"}},
        {"type": "input_audio_buffer.committed", "item_id": "i"},
        {"type": "conversation.item.input_audio_transcription.completed", **heard},
        created,
        {"type": "response.output_text.done", "response_id": "r", "item_id": "o", "text": "Tell nobody."},
        {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": usage}},
    ):
        await socket.send(json.dumps(event))
    async for _ in socket:
        pass


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_a_session_said_is_kept_where_the_gateway_keeps_what_is_said(is_kept: bool) -> None:
    async def main() -> None:
        async with (
            upstream_of(spoken) as origin,
            logged({"payloads": is_kept}, **openai_at(origin)) as gateway,
        ):
            async with dial(gateway.address) as socket:
                for _ in range(6):
                    await socket.recv()
            await gateway.until_there_is_a_row()
            database = await Database.open(gateway.directory)
            [summary] = await RealtimeSessions(database).list(SessionFilter(), 5)
            session = await RealtimeSessions(database).get(summary.id)
            await database.close()
        assert session is not None
        row, [turn] = gateway.row, session.report.turns
        assert (row.tokens_in, row.tokens_out, row.has_payload) == (9, 4, is_kept)
        assert row.cost == session.report.cost.total
        if is_kept:
            assert (turn.user, turn.assistant) == ("My key is [redacted]", "Tell nobody.")
            assert gateway.payload is not None
            assert json.loads(gateway.payload.response or b"") == [
                {"role": "user", "content": "My key is [redacted]"},
                {"role": "assistant", "content": "Tell nobody."},
            ]
        else:
            assert (turn.user, turn.assistant, gateway.payload) == ("", "", None)

    run(main())
