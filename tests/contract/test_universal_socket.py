"""The universal endpoint on a real server: requests side by side on one WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.contract.conftest import STRICT_KEY
from tests.contract.raw_server import answering, raw_server, read_head
from tests.contract.test_dataplane import Recorder, openai_at, read_request
from tests.contract.test_universal import OK_JSON, TOKEN, UNIVERSAL, UNREACHABLE, at
from tests.contract.test_voiceplane import close_of, dial
from tests.running import Address, gateway, run

NOTHING = {"x_unrelated": "1"}
STREAM_BEGUN = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


def create(event_id: str | None = "my-1", provider: str = "openai", key: str = "", **more: Any) -> str:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    told = {"provider": provider, "endpoint": "chat/completions", "headers": headers, "query": {"model": "m"}, **more}
    named = told if event_id is None else {"eventId": event_id, **told}
    return json.dumps({"type": "universal.create", "request": named})


def chat(event_id: str, model: str, words: str = "hello there", *, stream: bool = False) -> str:
    query = {"model": model, "messages": [{"role": "user", "content": words}], "stream": stream}
    return create(event_id, key=STRICT_KEY, query=query)


async def heard(socket: ClientConnection) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(await socket.recv())
    return said


async def asked(socket: ClientConnection, frame: str) -> dict[str, Any]:
    await socket.send(frame)
    return await heard(socket)


@asynccontextmanager
async def socket_before(upstream: Any, **settings: Any) -> AsyncIterator[ClientConnection]:
    """A socket on a gateway whose provider `openai` is the one given."""
    async with (
        gateway(**openai_at(upstream), **settings) as address,
        dial(address, UNIVERSAL, **NOTHING) as socket,
    ):
        yield socket


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_request_is_answered_in_one_frame(strict_upstream: Address, slash: str) -> None:
    async def main() -> None:
        async with (
            gateway(**openai_at(strict_upstream)) as address,
            dial(address, UNIVERSAL + slash, **NOTHING) as socket,
        ):
            said = await asked(socket, chat("my-1", "test/echo"))
        about = said["metadata"]
        assert ULID.fullmatch(about.pop("logId"))
        assert about == {
            "cacheStatus": "MISS",
            "eventId": "my-1",
            "step": "0",
            "contentType": "application/json",
            "status": 200,
        }
        assert said["type"] == "universal.created"
        assert said["response"]["choices"][0]["message"]["content"] == "hello there"

    run(main())


def test_a_stream_is_begun_then_its_chunks_then_done(strict_upstream: Address) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            await socket.send(chat("my-1", "test/echo", "one two three", stream=True))
            frames = [await heard(socket)]
            while frames[-1]["type"] != "universal.done":
                frames.append(await heard(socket))
        begun, *chunks, done = frames
        assert begun["type"] == "universal.created"
        assert "response" not in begun
        assert begun["metadata"]["contentType"].startswith("text/event-stream")
        assert {json.dumps(chunk["metadata"]) for chunk in chunks} == {'{"eventId": "my-1"}'}
        assert {chunk["type"] for chunk in chunks} == {"universal.stream"}
        words = [chunk["response"]["choices"][0]["delta"].get("content", "") for chunk in chunks]
        assert "".join(words) == "one two three"
        assert done["metadata"] == begun["metadata"]

    run(main())


def test_a_binary_frame_is_a_request_too_and_a_missing_event_id_is_given(strict_upstream: Address) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            query = {"model": "test/echo", "messages": [{"role": "user", "content": "hi"}]}
            await socket.send(create(None, key=STRICT_KEY, query=query).encode())
            said = await heard(socket)
        assert said["response"]["model"] == "test/echo"
        assert ULID.fullmatch(said["metadata"]["eventId"])

    run(main())


def test_an_answer_that_is_no_text_comes_as_base64() -> None:
    async def main() -> None:
        audio = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 3\r\n\r\n\xff\xfb\x90"
        async with raw_server(answering(audio)) as origin, socket_before(origin) as socket:
            said = await asked(socket, create(key="sk-1"))
        assert base64.b64decode(said["response"]) == b"\xff\xfb\x90"
        assert (said["metadata"]["contentType"], said["metadata"]["encoding"]) == ("audio/mpeg", "base64")

    run(main())


def test_the_provider_gets_one_http_request_without_anything_of_the_handshake() -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with raw_server(upstream) as origin, socket_before(origin) as socket:
            said = await asked(
                socket, create(key="sk-1", endpoint="/v1/x?a=b", headers={"X-A": "1", "Authorization": "Bearer sk-1"})
            )
        line, headers, body = upstream.requests[0]
        assert said["response"] == {"ok": True}
        assert line == "POST /v1/x?a=b HTTP/1.1"
        assert body == b'{"model": "m"}'
        assert headers["authorization"] == ["Bearer sk-1"]
        assert headers["x-a"] == ["1"]
        assert headers["accept-encoding"] == ["identity"]
        assert not [name for name in headers if name.startswith("sec-") or name in ("upgrade", "connection", "origin")]

    run(main())


# Many at once


def test_a_fast_answer_overtakes_a_slow_one_and_a_stream(strict_upstream: Address) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            await socket.send(chat("slow", "test/slow-600"))
            await socket.send(chat("stream", "test/slow-stream-10", stream=True))
            await socket.send(chat("fast", "test/echo"))
            order: list[str] = []
            counted = {"slow": 0, "stream": 0, "fast": 0}
            while {"slow", "stream", "fast"} - {*order}:
                said = await heard(socket)
                event_id = said["metadata"]["eventId"]
                counted[event_id] += 1
                if said["type"] == "universal.done" or ("response" in said and said["type"] == "universal.created"):
                    order.append(event_id)
        assert order[0] == "fast"
        assert counted["fast"] == counted["slow"] == 1
        assert counted["stream"] == 1 + 51 + 1

    run(main())


def test_fifty_requests_at_once_are_each_answered_with_their_own_words(strict_upstream: Address) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            for number in range(50):
                await socket.send(chat(f"event-{number}", "test/slow-50", f"words {number}"))
            answers = [await heard(socket) for _ in range(50)]
        for said in answers:
            number = said["metadata"]["eventId"].removeprefix("event-")
            assert said["response"]["choices"][0]["message"]["content"] == f"words {number}"
        assert len({said["metadata"]["logId"] for said in answers}) == 50

    run(main())


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def test_an_event_id_is_in_flight_once_and_free_afterwards(strict_upstream: Address) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            await socket.send(chat("my-1", "test/slow-200"))
            refused = await asked(socket, chat("my-1", "test/echo"))
            assert (await heard(socket))["response"]["model"] == "test/slow-200"
            assert (await asked(socket, chat("my-1", "test/echo")))["response"]["model"] == "test/echo"
        assert refused["type"] == "error"
        assert refused["metadata"] == {"eventId": "my-1"}
        assert "eventId is in flight" in refused["error"]["message"]

    run(main())


def test_only_so_many_are_in_flight_on_one_socket() -> None:
    async def main() -> None:
        async with raw_server(never) as origin, socket_before(origin) as socket:
            for number in range(64):
                await socket.send(create(f"event-{number}", key="sk-1"))
            refused = await asked(socket, create("one more", key="sk-1"))
            await socket.send('{"type":"universal.cancel","eventId":"event-7"}')
            assert (await heard(socket))["type"] == "universal.done"
            await socket.send(create("one more", key="sk-1"))
            await socket.send('{"type":"universal.cancel","eventId":"one more"}')
            assert (await heard(socket))["metadata"]["eventId"] == "one more"
        assert refused["metadata"] == {"eventId": "one more"}
        assert refused["error"]["code"] == "too_many_requests"
        assert "64 requests are in flight" in refused["error"]["message"]

    run(main())


def test_only_so_much_is_in_flight_on_one_socket() -> None:
    async def main() -> None:
        async with raw_server(never) as origin, socket_before(origin) as socket:
            await socket.send(create("first", key="sk-1", query="x" * (20 * 2**20)))
            refused = await asked(socket, create("second", key="sk-1", query="x" * (20 * 2**20)))
        assert refused["metadata"] == {"eventId": "second"}
        assert "MiB" in refused["error"]["message"]

    run(main())


# Cancelling and going away


@pytest.mark.parametrize("streaming", [True, False])
def test_cancelling_ends_the_providers_work_and_is_confirmed(strict_upstream: Address, streaming: bool) -> None:
    async def main() -> None:
        provider_was_asked, provider_saw_the_end = asyncio.Event(), asyncio.Event()

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            provider_was_asked.set()
            if streaming:
                writer.write(STREAM_BEGUN + b"a\r\ndata: {}\n\n\r\n")
            await reader.read()
            provider_saw_the_end.set()

        async with (
            raw_server(upstream) as origin,
            gateway(**at(groq=origin, openai=strict_upstream)) as address,
            dial(address, UNIVERSAL, **NOTHING) as socket,
        ):
            await socket.send(create("my-1", "groq", "sk-1"))
            await provider_was_asked.wait()
            if streaming:
                assert (await heard(socket))["type"] == "universal.created"
                assert (await heard(socket))["type"] == "universal.stream"
            done = await asked(socket, '{"type":"universal.cancel","eventId":"my-1"}')
            await provider_saw_the_end.wait()
            again = await asked(socket, '{"type":"universal.cancel","eventId":"my-1"}')
            assert (await asked(socket, chat("my-1", "test/echo")))["response"]["model"] == "test/echo"
        assert done["type"] == "universal.done"
        assert done["metadata"]["cancelled"] is True
        assert done["metadata"]["eventId"] == "my-1"
        assert ULID.fullmatch(done["metadata"]["logId"])
        assert (again["type"], again["metadata"]) == ("error", {"eventId": "my-1"})

    run(main())


@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_goes_away_ends_all_of_its_requests(politely: bool) -> None:
    async def main() -> None:
        begun, ended = 0, 0
        changed = asyncio.Condition()

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal begun, ended
            await read_head(reader)
            async with changed:
                begun += 1
                changed.notify_all()
            await reader.read()
            async with changed:
                ended += 1
                changed.notify_all()

        async with raw_server(upstream) as origin, socket_before(origin) as socket:
            for number in range(10):
                await socket.send(create(f"event-{number}", key="sk-1"))
            async with changed:
                await changed.wait_for(lambda: begun == 10)
            if politely:
                await socket.close()
            else:
                socket.transport.abort()
            async with changed:
                await changed.wait_for(lambda: ended == 10)

    run(main())


def test_a_slow_client_holds_its_providers_back() -> None:
    async def main() -> None:
        written = 0
        piece = b"data: " + json.dumps({"text": "x" * 16_000}).encode() + b"\n\n"
        chunk = b"%x\r\n%b\r\n" % (len(piece), piece)

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            await read_request(reader)
            writer.write(STREAM_BEGUN)
            while True:
                writer.write(chunk)
                await writer.drain()
                written += len(chunk)

        async with raw_server(upstream) as origin, socket_before(origin) as socket:
            for number in range(4):
                await socket.send(create(f"event-{number}", key="sk-1"))
            before = -1
            while written != before:  # the buffers on the way fill up, and then nothing moves
                before = written
                await asyncio.sleep(0.5)
            assert before < 64 * 2**20
            waiting = {f"event-{number}" for number in range(4)}
            while waiting:  # once the client reads on, all of them go on
                waiting.discard((await heard(socket))["metadata"]["eventId"])
            socket.transport.abort()

    run(main())


# Errors


@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_providers_error_is_its_own_with_all_that_a_client_needs_to_match_it(
    strict_upstream: Address, status: int
) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            said = await asked(socket, chat("my-1", f"test/refuse-{status}"))
            assert (await asked(socket, chat("my-2", "test/echo")))["metadata"]["status"] == 200
        assert said["type"] == "universal.created"
        assert said["metadata"]["status"] == status
        assert said["metadata"]["eventId"] == "my-1"
        assert ULID.fullmatch(said["metadata"]["logId"])
        assert said["metadata"]["contentType"] == "application/json"
        assert "asked for" in said["response"]["error"]["message"]

    run(main())


@pytest.mark.parametrize(
    ("frame", "status", "code"),
    [
        (create("my-1", "groq", "sk-1"), 502, 2005),
        (create("my-1", "anthropic"), 401, 2040),
        (create("my-1", "no-such-provider"), 400, 2008),
        (create("my-1", key="sk-1", endpoint="../../x"), 400, 2019),
    ],
)
def test_a_refusal_of_the_gateway_is_cloudflares_envelope_and_the_socket_stays_open(
    strict_upstream: Address, frame: str, status: int, code: int
) -> None:
    async def main() -> None:
        async with (
            gateway(**at(openai=strict_upstream, groq=UNREACHABLE)) as address,
            dial(address, UNIVERSAL, **NOTHING) as socket,
        ):
            said = await asked(socket, frame)
            assert (await asked(socket, chat("my-2", "test/echo")))["metadata"]["status"] == 200
        assert said["type"] == "universal.created"
        assert said["metadata"]["eventId"] == "my-1"
        assert said["metadata"]["status"] == status
        assert said["response"]["error"][0]["code"] == code

    run(main())


def test_an_answer_that_breaks_off_is_an_error_and_not_a_part_of_one(strict_upstream: Address) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            said = await asked(socket, chat("my-1", "test/break"))
            assert (await asked(socket, chat("my-2", "test/echo")))["metadata"]["status"] == 200
        assert (said["type"], said["metadata"]["status"]) == ("universal.created", 502)
        assert said["response"]["error"][0]["code"] == 2005

    run(main())


def test_a_stream_that_breaks_off_ends_in_an_error_and_is_never_done(strict_upstream: Address) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            await socket.send(chat("my-1", "test/break", "one two three four", stream=True))
            frames = [await heard(socket)]
            while frames[-1]["type"] in ("universal.created", "universal.stream"):
                frames.append(await heard(socket))
            assert (await asked(socket, chat("my-2", "test/echo")))["metadata"]["eventId"] == "my-2"
        assert len(frames) > 2
        assert frames[-1]["type"] == "error"
        assert frames[-1]["metadata"] == frames[0]["metadata"]
        assert frames[-1]["error"]["code"] == "upstream_broken"

    run(main())


def test_a_compressed_answer_that_nobody_asked_for_is_an_error() -> None:
    async def main() -> None:
        packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b"
        async with raw_server(answering(packed)) as origin, socket_before(origin) as socket:
            said = await asked(socket, create(key="sk-1"))
        assert "gzip" in said["response"]["message"]

    run(main())


def test_an_answer_too_large_for_a_frame_says_how_it_can_be_had() -> None:
    async def main() -> None:
        size = 25 * 2**20
        large = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
        fits = OK_JSON.replace(b"12", b"%d" % (2**22 + 2)).replace(b'{"ok": true}', b'"' + b"x" * 2**22 + b'"')
        async with (
            raw_server(answering(large)) as origin,
            raw_server(answering(fits)) as other,
            gateway(**at(openai=origin, groq=other)) as address,
            dial(address, UNIVERSAL, **NOTHING) as socket,
        ):
            for number in range(3):
                await socket.send(create(f"groq-{number}", "groq", "sk-1"))
                await socket.send(create(f"openai-{number}", "openai", "sk-1"))
            answers = {said["metadata"]["eventId"]: said for said in [await heard(socket) for _ in range(6)]}
        for number in range(3):
            assert len(answers[f"groq-{number}"]["response"]) == 2**22
            assert "over HTTP" in answers[f"openai-{number}"]["response"]["message"]

    run(main())


@pytest.mark.parametrize(
    "frame",
    ["", "nonsense", "[]", '{"type":"session.update"}', '{"type":"universal.create"}', b"\xff\x00", '{"type":5}'],
)
def test_a_frame_that_is_no_request_is_told_what_would_be(strict_upstream: Address, frame: str | bytes) -> None:
    async def main() -> None:
        async with socket_before(strict_upstream) as socket:
            await socket.send(frame)
            said = await heard(socket)
            assert (await asked(socket, chat("my-2", "test/echo")))["metadata"]["status"] == 200
        assert said["type"] == "error"
        assert said["metadata"] == {}
        assert '"universal.create"' in said["error"]["message"]

    run(main())


def test_a_request_at_fault_is_named_by_its_event_id() -> None:
    async def main() -> None:
        async with gateway() as address, dial(address, UNIVERSAL, **NOTHING) as socket:
            said = await asked(socket, create("my-1", headers={"Host": "x"}))
        assert (said["type"], said["metadata"]) == ("error", {"eventId": "my-1"})
        assert "'Host' in the request" in said["error"]["message"]

    run(main())


# Credentials


@pytest.mark.parametrize(
    ("headers", "protocols"),
    [
        ({"cf_aig_authorization": f"Bearer {TOKEN}"}, None),
        ({"cf_aig_authorization": TOKEN}, None),
        ({"authorization": f"Bearer {TOKEN}"}, None),
        ({"x_api_key": TOKEN}, None),
        (NOTHING, [f"cf-aig-authorization.{TOKEN}"]),
        (NOTHING, ["realtime", f"cf-aig-authorization.{TOKEN}"]),
        (NOTHING, ["realtime", f"openai-insecure-api-key.{TOKEN}"]),
    ],
)
def test_the_gateways_key_in_the_handshake_opens_every_request(
    headers: dict[str, str], protocols: list[str] | None
) -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with (
            raw_server(upstream) as origin,
            gateway(gateway_token=TOKEN, **openai_at(origin, api_key="sk-stored")) as address,
            dial(address, UNIVERSAL, protocols=protocols, **headers) as socket,
        ):
            stored = await asked(socket, create("my-1"))
            own = await asked(socket, create("my-2", key="sk-own"))
        assert (stored["response"], own["response"]) == ({"ok": True}, {"ok": True})
        assert [sent["authorization"] for _, sent, _ in upstream.requests] == [["Bearer sk-stored"], ["Bearer sk-own"]]
        assert TOKEN not in json.dumps(upstream.requests, default=repr)
        assert socket.subprotocol == (protocols[0] if protocols else None)

    run(main())


@pytest.mark.parametrize("headers", [{"cf-aig-authorization": f"Bearer {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}"}])
def test_the_gateways_key_may_come_with_each_request(headers: dict[str, str]) -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with (
            raw_server(upstream) as origin,
            gateway(gateway_token=TOKEN, **openai_at(origin, api_key="sk-stored")) as address,
            dial(address, UNIVERSAL, **NOTHING) as socket,
        ):
            refused = await asked(socket, create("my-1"))
            opened = await asked(socket, create("my-2", headers=headers))
        assert refused["type"] == "universal.created"
        assert refused["metadata"]["eventId"] == "my-1"
        assert refused["metadata"]["status"] == 401
        assert refused["response"]["error"][0]["code"] == 2009
        assert opened["response"] == {"ok": True}
        assert [sent["authorization"] for _, sent, _ in upstream.requests] == [["Bearer sk-stored"]]

    run(main())


@pytest.mark.parametrize(
    ("headers", "protocols", "place"),
    [
        ({"authorization": "Bearer sk-wrong"}, None, "header authorization"),
        ({"cf_aig_authorization": "sk-wrong"}, None, "header cf-aig-authorization"),
        (NOTHING, ["realtime", "cf-aig-authorization.sk-wrong"], "sub-protocol cf-aig-authorization.*"),
    ],
)
def test_the_refusal_of_a_wrong_key_names_the_place_it_sat_in(
    headers: dict[str, str], protocols: list[str] | None, place: str
) -> None:
    async def main() -> None:
        async with (
            gateway(gateway_token=TOKEN) as address,
            dial(address, UNIVERSAL, protocols=protocols, **headers) as socket,
        ):
            said = await asked(socket, create("my-1"))
        assert said["metadata"]["status"] == 401
        assert place in said["response"]["message"]
        assert "sk-wrong" not in json.dumps(said)

    run(main())


@pytest.mark.parametrize(
    ("headers", "protocols"),
    [
        ({"authorization": "Bearer sk-secret"}, None),
        ({"x_api_key": "sk-secret"}, None),
        (NOTHING, ["realtime", "openai-insecure-api-key.sk-secret"]),
    ],
)
def test_a_providers_key_in_the_handshake_reaches_nobody(headers: dict[str, str], protocols: list[str] | None) -> None:
    async def main() -> None:
        upstream = Recorder(OK_JSON)
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            dial(address, UNIVERSAL, protocols=protocols, **headers) as socket,
        ):
            await asked(socket, create("my-1"))
        assert "sk-secret" not in json.dumps(upstream.requests, default=repr)

    run(main())


# Who may not come in


@pytest.mark.parametrize(
    ("path", "headers", "close_code"),
    [
        (UNIVERSAL, {"origin": "https://evil.example"}, 4003),
        ("/v1/local/other", NOTHING, 4000),
        ("/v1/other/default/", NOTHING, 4000),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"gateway_token": TOKEN}])
def test_a_strangers_page_and_an_unknown_gateway_are_refused_in_band(
    path: str, headers: dict[str, str], close_code: int, settings: dict[str, Any]
) -> None:
    async def main() -> None:
        async with gateway(**settings) as address, dial(address, path, **headers) as socket:
            said = await heard(socket)
            code, _ = await close_of(socket)
        assert said["type"] == "error"
        assert said["error"]["message"]
        assert code == close_code

    run(main())


def test_a_page_that_may_come_in_is_let_in(strict_upstream: Address) -> None:
    async def main() -> None:
        async with (
            gateway(allowed_origins=("https://app.example",), **openai_at(strict_upstream)) as address,
            dial(address, UNIVERSAL, origin="https://app.example") as socket,
        ):
            assert (await asked(socket, chat("my-1", "test/echo")))["metadata"]["status"] == 200

    run(main())
