"""Behind a Cloudflare AI Gateway, as emulated: faulty as reported, and without the fault. No page shows a key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection

from tests.contract.administration import administration
from tests.contract.conftest import STRICT_KEY
from tests.contract.raw_server import raw_server
from tests.contract.test_client_secrets import mint
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.test_gateway_keys import dial
from tests.contract.test_voiceplane import echo, refusal_of, upstream_of
from tests.running import Address, data_directory, gateway, run
from trunkline import settings
from trunkline.errors import SettingsError
from trunkline.probe.emulation import Slot, emulated_gateway
from trunkline.providers import Catalogue, Via, chained_http, chained_realtime, chained_slots
from trunkline.upstream.address import Origin

EXAMPLE = Path(__file__).parents[2] / "examples" / "cloudflare.toml"
ENVIRONMENT = {"OPENAI_API_KEY": "sk-stored", "CF_AIG_TOKEN": "Bearer cf-token"}
TOKEN = "cloudflare-token-0123456789"
BASE = "/v1/local/default/openai"
ASK = {"model": "test/echo", "messages": [{"role": "user", "content": "one two"}]}


def through(url: str, *, api_key: str = STRICT_KEY, realtime_key: str = "auto") -> dict[str, Any]:
    """The settings that send OpenAI's traffic through another gateway."""
    via = {"base_url": url, "token": TOKEN, "realtime_key": realtime_key}
    return {"providers": {"openai": {"api_key": api_key, "via": via}}}


# The emulation


@pytest.mark.parametrize("slots", [["subprotocol"], ["header"], ["header", "subprotocol", "stored"]], ids="+".join)
def test_one_gateway_key_reaches_the_provider_over_every_transport_whatever_slot_works_there(
    strict_upstream: Address, slots: list[Slot]
) -> None:
    async def main() -> None:
        async with (
            emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN, websocket_slots=frozenset(slots)) as url,
            gateway(**through(url)) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(f"{address.http}{BASE}/chat/completions", json=ASK)
            assert answer.json()["choices"][0]["message"]["content"] == "one two"
            stream = await client.post(f"{address.http}{BASE}/v1/chat/completions", json={**ASK, "stream": True})
            assert stream.text.endswith("data: [DONE]\n\n")
            made = await mint(client, address, {"session": {"type": "realtime", "model": "local"}})
            for protocols in (("realtime", f"openai-insecure-api-key.{made['value']}"), ("realtime",), ()):
                for path in (f"{BASE}?model=local", f"{BASE}/realtime?model=local", "/v1/realtime?model=local"):
                    async with dial(address, path, *protocols) as socket:
                        assert json.loads(await socket.recv())["type"] == "session.created"
                        await socket.send('{"type": "input_audio_buffer.clear"}')
                        assert json.loads(await socket.recv())["type"] == "input_audio_buffer.cleared"

    run(main())


@pytest.mark.parametrize(("slot", "works"), [("subprotocol", True), ("header", False)])
def test_a_slot_that_was_named_is_the_only_one_tried(strict_upstream: Address, slot: str, works: bool) -> None:
    async def main() -> None:
        async with (
            emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN) as url,
            gateway(**through(url, realtime_key=slot)) as address,
            dial(address, f"{BASE}?model=local", "realtime") as socket,
        ):
            first = json.loads(await socket.recv())
            assert first["type"] == ("session.created" if works else "error")

    run(main())


def test_a_key_that_no_slot_takes_is_refused_in_the_words_of_the_last_one(strict_upstream: Address) -> None:
    async def main() -> None:
        async with (
            emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN) as url,
            gateway(**through(url, api_key="sk-wrong-0123456789")) as address,
            dial(address, f"{BASE}?model=local", "realtime") as socket,
        ):
            error, code = await refusal_of(socket)
            assert (error["code"], code) == ("invalid_api_key", 3000)

    run(main())


def test_a_key_held_by_the_other_gateway_needs_none_here(strict_upstream: Address) -> None:
    async def main() -> None:
        async with (
            emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN, stored_key=STRICT_KEY, fixed=True) as url,
            gateway(**through(url, api_key="")) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(f"{address.http}{BASE}/chat/completions", json=ASK)
            assert answer.status_code == 200
            async with dial(address, f"{BASE}?model=local") as socket:
                assert json.loads(await socket.recv())["type"] == "session.created"

    run(main())


def test_one_gateway_is_chained_by_its_administrator_and_another_is_not(strict_upstream: Address) -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with (
                administration(data_dir) as admin,
                emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN) as url,
            ):
                await admin.set_via("default", "openai", Via(url, TOKEN))
                async with (
                    gateway(data_dir=data_dir, providers={"openai": {"api_key": STRICT_KEY}}) as address,
                    dial(address, f"{BASE}?model=local", "realtime") as socket,
                ):
                    assert json.loads(await socket.recv())["type"] == "session.created"

    run(main())


# What arrives there


class Upgrades:
    """A server in Cloudflare's place that takes the key from one slot at a time, and notes where it was."""

    def __init__(self, slot: str) -> None:
        self.slot = slot
        self.seen: list[str] = []
        self.headers: dict[str, str] = {}
        self.path = ""

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.path = socket.request.path
        self.headers = {name.lower(): value for name, value in socket.request.headers.raw_items()}
        where = "subprotocol" if "sk-" in self.headers.get("sec-websocket-protocol", "") else "header"
        self.seen.append(where)
        if where == self.slot:
            await socket.send('{"type": "session.created"}')
            await echo(socket)
        else:
            await socket.send('{"type": "error", "error": {"message": "no key"}}')
            await socket.close(4001, "no key")


def test_the_slot_is_found_once_remembered_and_found_again_when_it_fails() -> None:
    async def main() -> None:
        there = Upgrades("subprotocol")
        async with (
            upstream_of(there) as origin,
            gateway(**through(f"http://{origin.host}:{origin.port}/v1/acct/gw", api_key="sk-stored")) as address,
        ):
            for slot in ("subprotocol", "subprotocol", "header", "header"):
                there.slot = slot
                async with dial(address, f"{BASE}?model=m", "realtime") as socket:
                    assert await socket.recv() == '{"type": "session.created"}'
                    await socket.send("hello")
                    assert await socket.recv() == "hello"
            assert there.seen == ["header", "subprotocol", "subprotocol", "subprotocol", "header", "header"]

    run(main())


def test_headers_for_the_other_gateway_pass_and_those_for_this_one_end_here() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(
                **through(f"http://{origin.host}:{origin.port}/v1/acct/gw", api_key="sk-stored"),
                gateway_token="gateway-token-of-many-characters",
            ) as address,
            httpx.AsyncClient() as client,
        ):
            await client.post(
                f"{address.http}{BASE}/chat/completions",
                content=b"{}",
                headers={
                    "cf-aig-authorization": "Bearer gateway-token-of-many-characters",
                    "cf-aig-cache-ttl": "60",
                    "cf-aig-metadata": '{"user": 1}',
                    "cf-aig-byok-alias": "default",
                    "cf-aig-step": "gateway-token-of-many-characters",
                },
            )
        line, headers, _ = upstream.requests[0]
        assert line == "POST /v1/acct/gw/openai/chat/completions HTTP/1.1"
        assert headers["cf-aig-authorization"] == [f"Bearer {TOKEN}"]
        assert headers["authorization"] == ["Bearer sk-stored"]
        assert headers["cf-aig-cache-ttl"] == ["60"]
        assert headers["cf-aig-metadata"] == ['{"user": 1}']
        assert not {"cf-aig-byok-alias", "cf-aig-step"} & headers.keys()

    run(main())


def test_an_alias_goes_on_where_the_other_gateway_holds_the_key() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**through(f"http://{origin.host}:{origin.port}/v1/acct/gw", api_key="")) as address,
            httpx.AsyncClient() as client,
        ):
            headers = {"cf-aig-byok-alias": "blue"}
            await client.post(f"{address.http}{BASE}/chat/completions", content=b"{}", headers=headers)
        assert upstream.requests[0][1]["cf-aig-byok-alias"] == ["blue"]
        assert "authorization" not in upstream.requests[0][1]

    run(main())


def test_a_key_that_no_sub_protocol_can_carry_says_so_where_nothing_else_is_tried() -> None:
    async def main() -> None:
        there = Upgrades("header")
        async with upstream_of(there) as origin:
            url = f"http://{origin.host}:{origin.port}/v1/acct/gw"
            key = {"authorization": "Bearer sk-with/and=in-it"}
            async with gateway(**through(url, api_key="", realtime_key="subprotocol")) as address:
                async with dial(address, f"{BASE}?model=m", **key) as socket:
                    error, code = await refusal_of(socket)
                assert code == 4000
                assert "no sub-protocol can carry" in error["message"]
                assert "sk-with" not in error["message"]
            async with (
                gateway(**through(url, api_key="")) as address,
                dial(address, f"{BASE}?model=m", **key) as socket,
            ):
                assert await socket.recv() == '{"type": "session.created"}'
            assert there.seen == ["header"]

    run(main())


def test_the_example_file_sends_http_and_websockets_to_cloudflares_paths() -> None:
    async def main() -> None:
        http, there = Recorder(), Upgrades("subprotocol")
        async with raw_server(http) as origin, gateway(providers=example_at(origin)) as address:
            async with httpx.AsyncClient() as client:
                await client.post(f"{address.http}{BASE}/chat/completions", content=b"{}")
            line, headers, _ = http.requests[0]
            assert line == "POST /v1/ACCOUNT_ID/GATEWAY_ID/openai/chat/completions HTTP/1.1"
            assert headers["authorization"] == ["Bearer sk-stored"]
            assert headers["cf-aig-authorization"] == ["Bearer cf-token"]
        async with (
            upstream_of(there) as origin,
            gateway(providers=example_at(origin)) as address,
            dial(address, f"{BASE}/realtime?model=gpt-realtime", "realtime") as socket,
        ):
            await socket.recv()
            assert there.path == "/v1/ACCOUNT_ID/GATEWAY_ID/openai?model=gpt-realtime"
            assert there.headers["sec-websocket-protocol"] == "realtime, openai-insecure-api-key.sk-stored"
            assert there.headers["cf-aig-authorization"] == "Bearer cf-token"

    def example_at(origin: Origin) -> dict[str, Any]:
        openai = dict(settings.load(environment=ENVIRONMENT, file=EXAMPLE).providers["openai"])
        cloudflare = "https://gateway.ai.cloudflare.com"
        via = dict(openai["via"])
        assert via["base_url"].startswith(f"{cloudflare}/v1/")
        via["base_url"] = via["base_url"].replace(cloudflare, f"http://{origin.host}:{origin.port}")
        return {"openai": {**openai, "via": via}}

    run(main())


# Addresses and slots


@pytest.mark.parametrize(
    ("slug", "rest", "path"),
    [
        ("openai", "chat/completions", "openai/chat/completions"),
        ("openai", "v1/chat/completions", "openai/chat/completions"),
        ("anthropic", "messages", "anthropic/v1/messages"),
        ("groq", "chat/completions", "groq/chat/completions"),
        ("azure-openai", "res/dep/chat/completions", "azure-openai/res/dep/chat/completions"),
        ("google-ai-studio", "v1beta/models/g:generateContent", "google-ai-studio/v1beta/models/g:generateContent"),
        ("workers-ai", "@cf/meta/llama", "workers-ai/@cf/meta/llama"),
        ("workers-ai", "v1/chat/completions", "workers-ai/v1/chat/completions"),
    ],
)
def test_a_request_goes_to_the_path_the_other_gateway_has_for_it(slug: str, rest: str, path: str) -> None:
    provider = Catalogue.build({"workers-ai": {"parameters": {"account": "a"}}}).find(slug)
    assert provider is not None
    assert chained_http(provider, Via("https://g.example/v1/a/b"), rest).url == f"https://g.example/v1/a/b/{path}"


@pytest.mark.parametrize(
    ("slug", "rest", "path", "kinds"),
    [
        ("openai", "v1/realtime", "openai", ["header", "subprotocol"]),
        ("openai", "realtime/translations", "openai/realtime/translations", ["header", "subprotocol"]),
        ("google-ai-studio", "", "google", ["header", "query"]),
        ("cartesia", "", "cartesia", ["header", "query"]),
        ("elevenlabs", "", "elevenlabs", ["header", "subprotocol"]),
        ("fal", "fal-ai/fast-lcm-diffusion", "fal/fal-ai/fast-lcm-diffusion", ["header", "subprotocol"]),
        ("deepgram", "v1/listen", "deepgram/v1/listen", ["header"]),
    ],
)
def test_a_websocket_goes_to_the_documented_path_and_the_key_into_a_documented_slot(
    slug: str, rest: str, path: str, kinds: Sequence[str]
) -> None:
    provider = Catalogue.build().find(slug)
    assert provider is not None
    via = Via("https://g.example/v1/a/b")
    target = chained_realtime(provider, via, rest, "model=m")
    assert target is not None
    assert (target.url, target.query) == (f"wss://g.example/v1/a/b/{path}", "model=m")
    assert [slot.kind for slot in chained_slots(provider, via)] == list(kinds)


@pytest.mark.parametrize(
    "via",
    [
        {"base_url": "http://elsewhere.example/v1/a/b"},
        {"base_url": "nothing"},
        {"base_url": "https://g.example/v1/a/b", "realtime_key": "body"},
        {"base_url": "https://g.example/v1/a/b", "token": "two words"},
        {"base_url": "https://g.example/v1/a/b", "tokn": "x"},
        {},
    ],
)
def test_a_gateway_behind_that_cannot_be_used_is_refused_at_the_start(via: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"providers\.openai"):
        Catalogue.build({"openai": {"via": via}})


def test_a_provider_in_front_of_nothing_is_reached_directly() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            headers = {"cf-aig-cache-ttl": "60"}
            await client.post(f"{address.http}{BASE}/chat/completions", content=b"{}", headers=headers)
        assert upstream.requests[0][0] == "POST /v1/chat/completions HTTP/1.1"
        assert not [name for name in upstream.requests[0][1] if name.startswith("cf-aig-")]

    run(main())
