"""`examples/cloudflare.toml` in front of a server in Cloudflare's place: what arrives there over HTTP and WebSocket."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection

from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder
from tests.contract.test_voiceplane import upstream_of
from tests.running import gateway, run
from trunkline import settings
from trunkline.upstream.address import Origin

EXAMPLE = Path(__file__).parents[2] / "examples" / "cloudflare.toml"
ENVIRONMENT = {"OPENAI_API_KEY": "sk-stored", "CF_AIG_TOKEN": "Bearer cf-token"}


def providers_at(origin: Origin) -> dict[str, object]:
    tables = settings.load(environment=ENVIRONMENT, file=EXAMPLE).providers
    openai = dict(tables["openai"])
    assert openai["base_url"].startswith("https://gateway.ai.cloudflare.com/")
    openai["base_url"] = openai["base_url"].replace(
        "https://gateway.ai.cloudflare.com", f"http://{origin.host}:{origin.port}"
    )
    return {"openai": openai}


def test_http_keeps_the_key_in_the_authorization_header() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(providers=providers_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            await client.post(f"{address.http}/v1/local/default/openai/chat/completions", content=b"{}")
        line, headers, _ = upstream.requests[0]
        assert line == "POST /v1/ACCOUNT_ID/GATEWAY_ID/openai/chat/completions HTTP/1.1"
        assert headers["authorization"] == ["Bearer sk-stored"]
        assert headers["cf-aig-authorization"] == ["Bearer cf-token"]

    run(main())


def test_a_websocket_carries_the_key_where_that_gateway_reads_it() -> None:
    async def main() -> None:
        async def tell(socket: ServerConnection) -> None:
            assert socket.request is not None
            await socket.send(json.dumps([socket.request.path, list(socket.request.headers.raw_items())]))

        async with upstream_of(tell) as origin, gateway(providers=providers_at(origin)) as address:
            for path in ("openai", "openai/realtime"):
                async with connect(f"{address.ws}/v1/local/default/{path}?model=gpt-realtime", proxy=None) as socket:
                    arrived, headers = json.loads(await socket.recv())
                found = {name.lower(): value for name, value in headers}
                assert arrived == "/v1/ACCOUNT_ID/GATEWAY_ID/openai?model=gpt-realtime"
                assert found["sec-websocket-protocol"].endswith("openai-insecure-api-key.sk-stored")
                assert "authorization" not in found
                assert found["cf-aig-authorization"] == "Bearer cf-token"

    run(main())
