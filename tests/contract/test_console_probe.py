"""The console's auth matrix: run by the server, told line by line, and bounded in where it may go."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.contract.administration import administration, new_key
from tests.contract.conftest import STRICT_KEY
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, silent
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.registry import Scope

TOKEN = "gateway-token-of-many-characters"


def page(address: Address) -> dict[str, str]:
    return {"x-trunkline-console": "1", "origin": address.http}


async def signed_in(client: httpx.AsyncClient, address: Address, **change: Any) -> None:
    answer = await client.put(f"{address.http}/api/session", json=change, headers=page(address))
    assert answer.status_code == 200, answer.text


async def probed(client: httpx.AsyncClient, address: Address, **wanted: Any) -> list[dict[str, Any]]:
    answer = await client.post(f"{address.http}/api/probe", json=wanted, headers=page(address), timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_this_gateway_is_probed_with_the_sessions_keys_and_none_is_told(strict_upstream: Address) -> None:
    async def main() -> None:
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1", "api_key": STRICT_KEY}}
        async with (
            gateway(providers=providers, gateway_token=TOKEN) as address,
            httpx.AsyncClient() as client,
        ):
            await signed_in(client, address, gateway_token=TOKEN, provider="openai", provider_key=STRICT_KEY)
            plan, *cells, report = await probed(client, address, realtime_model="local")
        assert plan["type"] == "plan"
        assert plan["target"].startswith(address.http)
        assert [column["title"] for column in plan["columns"]] == ["HTTP", "SSE", "WS", "WS (browser)"]
        assert len(cells) == plan["cells"]
        assert {cell["row"] for cell in cells} == {row["name"] for row in plan["rows"]}
        assert report["controls_hold"]
        assert report["same_everywhere"] is True
        verdicts = {(cell["row"], cell["way"]): cell["verdict"] for cell in cells}
        assert verdicts["cf-aig-bearer", "http"] == verdicts["cf-aig-bearer", "realtime"] == "accepted"
        assert verdicts["control-wrong-provider-key", "sse"] == "refused"
        everything = json.dumps([plan, cells, report])
        assert TOKEN not in everything
        assert STRICT_KEY not in everything
        assert set(report["reports"]) == {"markdown", "json", "junit", "html"}

    run(main())


def test_a_gateway_with_tls_of_its_own_authority_can_be_probed() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with (
                gateway(tls="local", data_dir=data_dir) as address,
                httpx.AsyncClient(verify=False) as client,
            ):
                _, *cells, report = await probed(client, address, provider="local")
        assert {cell["verdict"] for cell in cells if cell["row"] == "nothing"} == {"accepted"}
        assert not report["controls_hold"]  # the local models take any key, and say so

    run(main())


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("http://127.0.0.1:1/v1", "loopback"),
        ("http://localhost:1/v1", "loopback"),
        ("http://10.0.0.1/v1", "private"),
        ("http://169.254.169.254/v1", "metadata"),
        ("http://[::1]/v1", "loopback"),
        ("http://[::ffff:127.0.0.1]/v1", "loopback"),
        ("http://2130706433/v1", "loopback"),
        ("http://0.0.0.0/v1", ""),
    ],
)
def test_the_servers_own_network_is_not_reached(target: str, rule: str) -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            answer = await client.post(f"{address.http}/api/probe", json={"target": target}, headers=page(address))
            assert answer.status_code == 403
            assert rule in answer.json()["error"]["message"]

    run(main())


def test_a_host_that_the_operator_vouches_for_is_reached(strict_upstream: Address) -> None:
    async def main() -> None:
        async with gateway(probe_allowed_hosts=("127.0.0.1",)) as address, httpx.AsyncClient() as client:
            target = f"{strict_upstream.http}/v1"
            wanted = {"target": target, "provider_key": STRICT_KEY, "realtime_model": "local"}
            _, *cells, report = await probed(client, address, **wanted)
        verdicts = {(cell["row"], cell["way"]): cell["verdict"] for cell in cells}
        assert verdicts["authorization-provider-key", "http"] == "accepted"
        assert report["controls_hold"]

    run(main())


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"target": "nonsense"}, "http"),
        ({"target": "https://user:secret@host.example/v1"}, "may have no user"),
        ({"provider": "nobody"}, "nobody"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_before_anything_is_asked(wanted: dict[str, str], words: str) -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            answer = await client.post(f"{address.http}/api/probe", json=wanted, headers=page(address))
            assert answer.status_code == 400
            assert words in answer.json()["error"]["message"]
            assert "secret" not in answer.text

    run(main())


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            wanted = {"provider_key": "two words"}
            answer = await client.post(f"{address.http}/api/probe", json=wanted, headers=page(address))
            assert answer.status_code == 422
            assert "provider_key" in answer.json()["error"]["message"]
            assert "two words" not in answer.text

    run(main())


def test_the_sessions_keys_are_sent_to_no_other_host() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(probe_allowed_hosts=("127.0.0.1",), gateway_token=TOKEN) as address,
            httpx.AsyncClient() as client,
        ):
            await signed_in(client, address, gateway_token=TOKEN, provider="openai", provider_key="sk-typed-0123456789")
            target = f"http://{origin.host}:{origin.port}/v1"
            _, *cells, _ = await probed(client, address, target=target)
        assert [cell for cell in cells if cell["verdict"] == "skipped"]
        sent = str(upstream.requests)
        assert "sk-typed" not in sent
        assert TOKEN not in sent

    run(main())


def test_only_a_page_of_the_console_and_an_administrator_may_probe() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin:
                user, _ = await new_key(admin)
                editor, _ = await new_key(admin, scopes=frozenset({Scope.EDIT}))
                async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address:

                    async def status(**session: str) -> int:
                        async with httpx.AsyncClient() as client:
                            await signed_in(client, address, **session)
                            url = f"{address.http}/api/probe"
                            wanted = {"provider": "local"}
                            answer = await client.post(url, json=wanted, headers=page(address), timeout=60)
                            return answer.status_code

                    assert await status(provider="local") == 403
                    assert await status(gateway_token=user) == 403
                    assert await status(gateway_token=editor) == 200
                    assert await status(gateway_token=TOKEN) == 200
                    async with httpx.AsyncClient() as client:
                        for headers in ({}, {"x-trunkline-console": "1", "origin": "https://evil.example"}):
                            answer = await client.post(f"{address.http}/api/probe", json={}, headers=headers)
                            assert answer.status_code == 403

    run(main())


def test_closing_the_page_ends_the_run() -> None:
    async def main() -> None:
        asked, opened, closed = asyncio.Event(), 0, 0

        async def watching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened, closed
            opened += 1
            if opened > 1:  # the first only sees whether anybody is there
                asked.set()
            try:
                await silent(reader, writer)
            finally:
                closed += 1

        async with (
            raw_server(watching) as origin,
            gateway(probe_allowed_hosts=("127.0.0.1",)) as address,
            httpx.AsyncClient() as client,
        ):
            wanted = {"target": f"http://{origin.host}:{origin.port}/v1", "provider_key": "sk-any"}
            async with client.stream("POST", f"{address.http}/api/probe", json=wanted, headers=page(address)):
                await asked.wait()
                assert closed < opened
            await asyncio.sleep(0.5)  # a run that goes on keeps its first row's connections open for ten seconds
            assert closed == opened > 0

    run(main())
