"""The WebSocket data plane on a real server: frames, closes, sub-protocols and refusals."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.contract.raw_server import raw_server, read_head
from tests.contract.test_dataplane import openai_at, silent
from tests.running import Address, gateway, run
from trunkline.upstream.address import Origin

KEY = {"authorization": "Bearer sk-caller-1234"}
REALTIME = "/v1/local/default/openai/realtime?model=gpt-realtime"

Conversation = Callable[[ServerConnection], Awaitable[None]]


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@asynccontextmanager
async def upstream_of(conversation: Conversation, **options: Any) -> AsyncIterator[Origin]:
    def select(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return Subprotocol("realtime") if "realtime" in offered else None

    async with serve(
        conversation, "127.0.0.1", 0, max_size=None, compression=None, select_subprotocol=select, **options
    ) as server:
        yield Origin("http", "127.0.0.1", next(iter(server.sockets)).getsockname()[1])


def dial(address: Address, path: str = REALTIME, *, protocols: list[str] | None = None, **headers: str) -> connect:
    return connect(
        address.ws + path,
        additional_headers={name.replace("_", "-"): value for name, value in headers.items()} or KEY,
        subprotocols=[Subprotocol(name) for name in protocols] if protocols else None,
        max_size=None,
        proxy=None,
    )


async def close_of(socket: ClientConnection) -> tuple[int, str]:
    """Wait for the close; return its code and reason."""
    await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


async def refusal_of(socket: ClientConnection) -> tuple[dict[str, Any], int]:
    """Read the one in-band error and the close code."""
    event = json.loads(await socket.recv())
    assert event["type"] == "error"
    code, _ = await close_of(socket)
    return event["error"], code


def test_text_and_binary_frames_pass_untouched_and_in_order() -> None:
    async def main() -> None:
        sent = ['{"b":1,  "type":"x", "ü":"é\\u0000"}', b"\x00\xff\x80", "", b"", "last"]
        async with upstream_of(echo) as origin, gateway(**openai_at(origin)) as address, dial(address) as socket:
            for message in sent:
                await socket.send(message)
            assert [await socket.recv() for _ in sent] == sent

    run(main())


def test_a_fragmented_message_arrives_whole() -> None:
    async def main() -> None:
        async with upstream_of(echo) as origin, gateway(**openai_at(origin)) as address, dial(address) as socket:
            await socket.send(["one ", "two ", "three"])
            assert await socket.recv() == "one two three"

    run(main())


def test_a_frame_of_twenty_megabytes_passes_both_ways() -> None:
    async def main() -> None:
        large = "x" * (20 * 1024 * 1024)
        async with upstream_of(echo) as origin, gateway(**openai_at(origin)) as address, dial(address) as socket:
            await socket.send(large)
            assert await socket.recv() == large

    run(main())


@pytest.mark.parametrize(
    ("path", "arrives_as"),
    [
        ("/v1/local/default/openai?model=m", "/v1/realtime?model=m"),
        ("/v1/local/default/openai/realtime?model=m", "/v1/realtime?model=m"),
        ("/v1/local/default/openai/v1/realtime?model=m", "/v1/realtime?model=m"),
        ("/v1/realtime?model=m", "/v1/realtime?model=m"),
        ("/v1/local/default/openai/realtime?intent=transcription&model=m", "/v1/realtime?intent=transcription"),
        ("/v1/local/default/openai/realtime?call_id=rtc_1", "/v1/realtime?call_id=rtc_1"),
    ],
)
def test_every_form_of_a_realtime_path_reaches_the_provider(path: str, arrives_as: str) -> None:
    async def main() -> None:
        async def tell(socket: ServerConnection) -> None:
            assert socket.request is not None
            await socket.send(socket.request.path)

        async with upstream_of(tell) as origin, gateway(**openai_at(origin)) as address, dial(address, path) as socket:
            assert await socket.recv() == arrives_as

    run(main())


@pytest.mark.parametrize(
    ("headers", "protocols"),
    [
        ({"authorization": "Bearer sk-1"}, None),
        ({"authorization": "bearer sk-1"}, ["realtime"]),
        ({"x_unrelated": "1"}, ["realtime", "openai-insecure-api-key.sk-1"]),
        ({"x_unrelated": "1"}, ["openai-insecure-api-key.sk-1", "openai-organization.org-1", "realtime"]),
        ({"api_key": "sk-1"}, ["realtime"]),
        ({"authorization": "Bearer sk-1"}, ["realtime", "openai-insecure-api-key.sk-1"]),
    ],
)
def test_a_key_in_any_slot_arrives_exactly_once(headers: dict[str, str], protocols: list[str] | None) -> None:
    async def main() -> None:
        async def tell(socket: ServerConnection) -> None:
            assert socket.request is not None
            await socket.send(json.dumps(list(socket.request.headers.raw_items())))

        async with (
            upstream_of(tell) as origin,
            gateway(**openai_at(origin)) as address,
            dial(address, protocols=protocols, **headers) as socket,
        ):
            received = json.loads(await socket.recv())
        shown = [value for name, value in received if name.lower() in ("authorization", "api-key")]
        offered = ", ".join(value for name, value in received if name.lower() == "sec-websocket-protocol")
        shown += re.findall(r"openai-insecure-api-key\.(\S+)", offered)
        assert len(shown) == 1
        assert shown[0].split()[-1].rstrip(",") == "sk-1"

    run(main())


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (["openai-insecure-api-key.sk-1", "realtime"], "realtime"),
        (["openai-insecure-api-key.sk-1", "openai-agents-sdk.1"], "openai-agents-sdk.1"),
        (["openai-insecure-api-key.sk-1"], "openai-insecure-api-key.sk-1"),
    ],
)
def test_a_sub_protocol_is_always_selected_and_a_secret_one_only_when_it_is_alone(
    offered: list[str], selected: str
) -> None:
    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            gateway(**openai_at(origin)) as address,
            dial(address, protocols=offered, x_unrelated="1") as socket,
        ):
            assert socket.subprotocol == selected

    run(main())


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "session hit the maximum duration"), (4321, "own")])
def test_the_providers_close_reaches_the_client_after_its_last_frame(code: int, reason: str) -> None:
    async def main() -> None:
        async def farewell(socket: ServerConnection) -> None:
            await socket.send("last words")
            await socket.close(code, reason)

        async with upstream_of(farewell) as origin, gateway(**openai_at(origin)) as address, dial(address) as socket:
            assert await socket.recv() == "last words"
            assert await close_of(socket) == (code, reason)

    run(main())


def test_the_clients_close_reaches_the_provider() -> None:
    async def main() -> None:
        closed = asyncio.get_running_loop().create_future()

        async def wait(socket: ServerConnection) -> None:
            await socket.send("here")
            await socket.wait_closed()
            closed.set_result((socket.close_code, socket.close_reason))

        async with upstream_of(wait) as origin, gateway(**openai_at(origin)) as address:
            async with dial(address) as socket:
                await socket.recv()
                await socket.close(4200, "done here")
            assert await closed == (4200, "done here")

    run(main())


def test_a_client_that_vanishes_ends_the_providers_session() -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def wait(socket: ServerConnection) -> None:
            await socket.send("here")
            await socket.wait_closed()
            closed.set()

        async with upstream_of(wait) as origin, gateway(**openai_at(origin)) as address:
            async with dial(address) as socket:
                await socket.recv()
                socket.transport.abort()
            await closed.wait()

    run(main())


def test_a_provider_that_vanishes_is_not_shown_as_a_clean_end() -> None:
    async def main() -> None:
        async def vanish(socket: ServerConnection) -> None:
            await socket.recv()
            socket.transport.abort()

        async with (
            upstream_of(vanish) as origin,
            gateway(providers={"fal": {"base_url": f"http://{origin}", "api_key": "k"}}) as address,
            dial(address, "/v1/local/default/fal/app") as socket,  # no conversation to go on with elsewhere
        ):
            await socket.send("x")
            code, _ = await close_of(socket)
        assert code == 1011

    run(main())


def test_a_refused_upgrade_is_told_in_band_with_the_providers_words() -> None:
    async def main() -> None:
        def refuse(socket: ServerConnection, request: Request) -> Response:
            return Response(401, "Unauthorized", Headers(), b'{"error": {"message": "the key is bad"}}')

        async with (
            upstream_of(echo, process_request=refuse) as origin,
            gateway(**openai_at(origin)) as address,
            dial(address, protocols=["realtime"], x_unrelated="1", authorization="Bearer sk-1") as socket,
        ):
            error, code = await refusal_of(socket)
        assert "401" in error["message"]
        assert "the key is bad" in error["message"]
        assert code == 3000

    run(main())


def test_an_upstream_that_cannot_be_reached_is_told_in_band() -> None:
    async def main() -> None:
        async with gateway(**openai_at(Origin("http", "127.0.0.1", 9))) as address, dial(address) as socket:
            error, code = await refusal_of(socket)
        assert error["code"] == "upstream_refused"
        assert code == 1013

    run(main())


def test_an_upstream_that_never_answers_the_handshake_is_told_in_band() -> None:
    async def main() -> None:
        async with (
            raw_server(silent) as origin,
            gateway(**openai_at(origin), connect_timeout=0.3) as address,
            dial(address) as socket,
        ):
            error, code = await refusal_of(socket)
        assert error["code"] == "upstream_timeout"
        assert code == 1013

    run(main())


def test_a_caller_without_a_key_is_refused_in_band_before_anything_is_dialled() -> None:
    async def main() -> None:
        dialled = False

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal dialled
            dialled = True
            await read_head(reader)

        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            dial(address, protocols=["realtime"], x_unrelated="1") as socket,
        ):
            error, code = await refusal_of(socket)
        assert error["code"] == "no_provider_key"
        assert code == 3000
        assert not dialled

    run(main())


def test_a_page_of_a_stranger_is_refused() -> None:
    async def main() -> None:
        async with gateway() as address, dial(address, origin="https://evil.example", **KEY) as socket:
            error, code = await refusal_of(socket)
        assert error["code"] == "origin_not_allowed"
        assert code == 4003

    run(main())


def test_a_responses_upgrade_is_answered_426_so_that_clients_fall_back_to_http() -> None:
    async def main() -> None:
        async with gateway() as address:
            with pytest.raises(InvalidStatus) as refused:
                async with dial(address, "/v1/local/default/openai/responses"):
                    pass
        assert refused.value.response.status_code == 426

    run(main())


def test_what_the_client_says_before_the_provider_is_there_is_not_lost() -> None:
    async def main() -> None:
        may_answer = asyncio.Event()

        async def hesitate(socket: ServerConnection, request: Request) -> None:
            await may_answer.wait()

        async with (
            upstream_of(echo, process_request=hesitate) as origin,
            gateway(**openai_at(origin)) as address,
            dial(address) as socket,
        ):
            for word in ("one", "two", "three"):
                await socket.send(word)
            may_answer.set()
            assert [await socket.recv() for _ in range(3)] == ["one", "two", "three"]

    run(main())


def test_gateway_and_stored_key_mean_the_same_on_a_websocket_as_over_http() -> None:
    async def main() -> None:
        token = "gateway-token-0123456789"

        async def tell(socket: ServerConnection) -> None:
            assert socket.request is not None
            await socket.send(json.dumps(list(socket.request.headers.raw_items())))

        async with upstream_of(tell) as origin:
            settings = openai_at(origin, api_key="sk-stored")
            async with gateway(gateway_token=token, **settings) as address:
                places: list[tuple[dict[str, str], list[str] | None]] = [
                    ({"cf_aig_authorization": f"Bearer {token}"}, None),
                    ({"authorization": f"Bearer {token}"}, None),
                    ({"x_unrelated": "1"}, ["realtime", f"cf-aig-authorization.{token}"]),
                    ({"x_unrelated": "1"}, ["realtime", f"openai-insecure-api-key.{token}"]),
                ]
                for headers, protocols in places:
                    async with dial(address, protocols=protocols, **headers) as socket:
                        received = await socket.recv()
                    assert isinstance(received, str)
                    assert token not in received
                    assert "Bearer sk-stored" in received

    run(main())
