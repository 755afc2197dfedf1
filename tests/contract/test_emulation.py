"""The emulated gateway on real sockets, before the strict upstream: each cell of what its users reported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.contract.conftest import STRICT_KEY
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder
from tests.contract.test_voiceplane import close_of, refusal_of
from tests.running import Address, run
from trunkline import probe
from trunkline.probe.emulation import KEY_MISSING, Slot, emulated_gateway
from trunkline.probe.reproduction import Reproduction

TOKEN = "gateway-token-0123456789"
TOKEN_HEADER = {"cf-aig-authorization": f"Bearer {TOKEN}"}
KEY_HEADER = {"authorization": f"Bearer {STRICT_KEY}"}
TOKEN_PROTOCOL = f"cf-aig-authorization.{TOKEN}"
KEY_PROTOCOL = f"openai-insecure-api-key.{STRICT_KEY}"
ASK = {"model": "test/echo", "messages": [{"role": "user", "content": "one two three"}]}
CALL = "/openai?model=local"


async def ask(url: str, headers: Mapping[str, str], **more: object) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"{url}/openai/chat/completions", headers=headers, json={**ASK, **more})


def dial(
    url: str, path: str = CALL, protocols: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> connect:
    return connect(
        url.replace("http", "ws", 1) + path,
        additional_headers=headers or {},
        subprotocols=[Subprotocol(name) for name in protocols] or None,
        proxy=None,
    )


async def first_event(socket: ClientConnection) -> str:
    return str(json.loads(await socket.recv())["type"])


@pytest.mark.parametrize(
    ("headers", "stored_key"),
    [
        ({**TOKEN_HEADER, **KEY_HEADER}, ""),
        ({"cf-aig-authorization": TOKEN, **KEY_HEADER}, "sk-another"),
        (TOKEN_HEADER, STRICT_KEY),
        ({"authorization": f"Bearer {TOKEN}"}, STRICT_KEY),
        ({**TOKEN_HEADER, "authorization": f"Bearer {TOKEN}"}, STRICT_KEY),
    ],
    ids=["own key", "own key before the stored one", "stored key", "token as the API key", "token in both"],
)
def test_over_http_the_callers_key_and_the_stored_one_work(
    strict_upstream: Address, headers: dict[str, str], stored_key: str
) -> None:
    async def main() -> None:
        async with emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN, stored_key=stored_key) as url:
            answer = await ask(url, headers)
            assert answer.json()["choices"][0]["message"]["content"] == "one two three"
            streamed = await ask(url, headers, stream=True)
            assert streamed.headers["content-type"].startswith("text/event-stream")
            assert streamed.text.endswith("data: [DONE]\n\n")

    run(main())


def test_over_http_a_wrong_key_is_the_providers_to_refuse(strict_upstream: Address) -> None:
    async def main() -> None:
        async with emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN, stored_key=STRICT_KEY) as url:
            answer = await ask(url, {**TOKEN_HEADER, "authorization": "Bearer sk-wrong"})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"

    run(main())


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("headers", [{}, KEY_HEADER, {"cf-aig-authorization": "Bearer wrong", **KEY_HEADER}])
def test_without_its_token_the_gateway_refuses_on_both_transports(
    strict_upstream: Address, headers: dict[str, str], fixed: bool
) -> None:
    async def main() -> None:
        async with emulated_gateway(
            f"{strict_upstream.http}/v1", token=TOKEN, stored_key=STRICT_KEY, fixed=fixed
        ) as url:
            answer = await ask(url, headers)
            with pytest.raises(InvalidStatus) as refused:
                async with dial(url, protocols=["realtime", KEY_PROTOCOL], headers=headers):
                    pass
        response = refused.value.response
        for status, body in ((answer.status_code, answer.content), (response.status_code, response.body)):
            assert status == 401
            assert_is_envelope(json.loads(body), 2009)

    run(main())


def assert_is_envelope(envelope: dict[str, Any], code: int) -> None:
    assert envelope["success"] is False
    assert [error["code"] for error in envelope["error"]] == [code]


@pytest.mark.parametrize("path", [CALL, "/openai/realtime?model=local"])
@pytest.mark.parametrize("protocols", [("realtime", TOKEN_PROTOCOL), ("realtime", TOKEN_PROTOCOL, KEY_PROTOCOL)])
def test_as_reported_a_websocket_works_with_the_key_as_a_sub_protocol_and_not_with_the_stored_one(
    strict_upstream: Address, path: str, protocols: tuple[str, ...]
) -> None:
    async def main() -> None:
        async with (
            emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN, stored_key=STRICT_KEY) as url,
            dial(url, path, protocols) as socket,
        ):
            assert socket.subprotocol == "realtime"
            if KEY_PROTOCOL in protocols:
                assert await first_event(socket) == "session.created"
                return
            error, code = await refusal_of(socket)
            assert error["type"] == "invalid_request_error"
            assert "bearer or basic authentication" in error["message"]
            assert code == KEY_MISSING

    run(main())


@pytest.mark.parametrize("headers", [TOKEN_HEADER, {**TOKEN_HEADER, **KEY_HEADER}, {"cf-aig-authorization": TOKEN}])
def test_as_reported_a_websocket_ignores_the_authorization_header(
    strict_upstream: Address, headers: dict[str, str]
) -> None:
    async def main() -> None:
        async with (
            emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN, stored_key=STRICT_KEY) as url,
            dial(url, headers=headers) as socket,
        ):
            _, code = await refusal_of(socket)
            assert code == KEY_MISSING

    run(main())


@pytest.mark.parametrize(
    ("protocols", "headers"),
    [
        (("realtime", TOKEN_PROTOCOL), {}),
        (("realtime", TOKEN_PROTOCOL, KEY_PROTOCOL), {}),
        ((), TOKEN_HEADER),
        ((), {"authorization": f"Bearer {TOKEN}"}),
        (("realtime", KEY_PROTOCOL), {**TOKEN_HEADER, **KEY_HEADER}),
    ],
)
def test_when_fixed_a_websocket_works_with_every_slot(
    strict_upstream: Address, protocols: tuple[str, ...], headers: dict[str, str]
) -> None:
    async def main() -> None:
        async with (
            emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN, stored_key=STRICT_KEY, fixed=True) as url,
            dial(url, protocols=protocols, headers=headers) as socket,
        ):
            assert await first_event(socket) == "session.created"

    run(main())


@pytest.mark.parametrize("honoured", ["header", "subprotocol", "stored"])
def test_an_upgrade_honours_exactly_the_slots_it_is_told_to(strict_upstream: Address, honoured: Slot) -> None:
    async def main() -> None:
        shows: dict[Slot, connect] = {}
        async with emulated_gateway(
            f"{strict_upstream.http}/v1",
            token=TOKEN,
            stored_key=STRICT_KEY if honoured == "stored" else "",
            websocket_slots=frozenset({honoured}),
        ) as url:
            shows["header"] = dial(url, headers={**TOKEN_HEADER, **KEY_HEADER})
            shows["subprotocol"] = dial(url, protocols=["realtime", KEY_PROTOCOL], headers=TOKEN_HEADER)
            shows["stored"] = dial(url, headers=TOKEN_HEADER)
            for slot, dialled in shows.items():
                async with dialled as socket:
                    works = slot == honoured or honoured == "stored"
                    assert await first_event(socket) == ("session.created" if works else "error"), slot

    run(main())


def test_frames_and_closes_pass_untouched_both_ways(strict_upstream: Address) -> None:
    async def main() -> None:
        protocols = ["realtime", TOKEN_PROTOCOL, KEY_PROTOCOL]
        sent: list[str | bytes] = ['{"b":1,  "type":"x", "ü":"é"}', b"\x00\xff", "", "last"]
        async with emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN) as url:
            async with dial(url, "/openai?model=test/echo", protocols) as socket:
                for frame in sent:
                    await socket.send(frame)
                assert [await socket.recv() for _ in sent] == sent
            async with dial(url, "/openai?model=test/close-4321", protocols) as socket:
                await socket.send("now")
                assert await close_of(socket) == (4321, "asked.for")

    run(main())


def test_the_provider_sees_one_key_and_nothing_of_the_gateways() -> None:
    async def main() -> None:
        upstream = Recorder(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
        protocols = ["realtime", TOKEN_PROTOCOL, KEY_PROTOCOL]
        async with (
            raw_server(upstream) as origin,
            emulated_gateway(f"http://{origin}/v1", token=TOKEN, stored_key=STRICT_KEY, fixed=True) as url,
        ):
            await ask(url, {**TOKEN_HEADER, **KEY_HEADER, "cf-aig-metadata": "{}"})
            async with dial(url, "/openai?model=m", protocols, {**TOKEN_HEADER, **KEY_HEADER}) as socket:
                assert (await close_of(socket))[0] == 1011
        (line, headers, body), (upgrade, upgrade_headers, _) = upstream.requests
        assert line == "POST /v1/chat/completions HTTP/1.1"
        assert json.loads(body) == ASK
        assert headers["authorization"] == [f"Bearer {STRICT_KEY}"]
        assert upgrade == "GET /v1/realtime?model=m HTTP/1.1"
        assert "authorization" not in upgrade_headers
        assert upgrade_headers["sec-websocket-protocol"] == [f"realtime, {KEY_PROTOCOL}"]
        for seen in (headers, upgrade_headers):
            assert not [name for name in seen if name.startswith("cf-aig-")]
            assert TOKEN not in str(seen)

    run(main())


@pytest.mark.parametrize(
    ("path", "code"), [("/anthropic/v1/messages", 2008), ("/openai/models", 2005), ("/openai/v1/models", 2005)]
)
def test_what_it_cannot_answer_over_http_comes_as_400_in_the_envelope(path: str, code: int) -> None:
    async def main() -> None:
        async with (
            emulated_gateway("http://127.0.0.1:9/v1", token=TOKEN) as url,
            httpx.AsyncClient() as client,
        ):
            answer = await client.get(url + path, headers=TOKEN_HEADER)
        assert answer.status_code == 400
        assert_is_envelope(answer.json(), code)

    run(main())


def test_a_client_that_goes_away_ends_the_providers_exchange_too() -> None:
    async def main() -> None:
        left = asyncio.Event()

        async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(-1)
            left.set()

        async with (
            raw_server(waits) as origin,
            emulated_gateway(f"http://{origin}/v1", token=TOKEN, stored_key=STRICT_KEY) as url,
        ):
            with pytest.raises(httpx.ReadTimeout):
                async with httpx.AsyncClient(timeout=0.2) as client:
                    await client.get(f"{url}/openai/models", headers=TOKEN_HEADER)
            await asyncio.wait_for(left.wait(), 30)

    run(main())


def test_a_reproduction_needs_the_fault_there_and_none_here(strict_upstream: Address) -> None:
    async def report(*, fixed: bool) -> probe.Report:
        async with emulated_gateway(
            f"{strict_upstream.http}/v1", token=TOKEN, stored_key=STRICT_KEY, fixed=fixed
        ) as url:
            target = probe.Target(url, model="local", realtime_model="local")
            return await probe.run(target, probe.Keys(STRICT_KEY, TOKEN))

    async def main() -> None:
        faulty, fixed = await report(fixed=False), await report(fixed=True)
        reported = "cf-aig-authorization: Bearer [gateway key] over WS was to be"
        assert any(f"{reported} refused, and is accepted" in fault for fault in Reproduction(fixed, fixed).faults)
        assert any(f"{reported} accepted, and is refused" in fault for fault in Reproduction(faulty, faulty).faults)
        assert not Reproduction(fixed, fixed).succeeded
        assert not Reproduction(faulty, faulty).succeeded
        assert ("cf-aig-bearer", "refused") in {(c.row, c.verdict.word) for c in Reproduction(faulty, fixed).breaks}

    run(main())
