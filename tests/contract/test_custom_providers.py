"""Custom providers that were added over the network: where they lead, and what goes along."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import commands
from tests.commands import Done
from tests.contract.administration import administration, new_key
from tests.contract.raw_server import answering, raw_server
from tests.contract.test_dataplane import Recorder
from tests.running import Address, data_directory, gateway, run
from trunkline.errors import UpstreamNotPublic, UpstreamUpgradeRefused
from trunkline.policy.registry import Scope
from trunkline.upstream.address import Origin
from trunkline.upstream.http import HttpPool, Request
from trunkline.upstream.websocket import Dialer

TOKEN = "gateway-token-of-many-characters"
HOST = "api.stranger.example"
SECRET = "planted-tenant-secret"


@asynccontextmanager
async def api(address: Address, key: str = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=address.http, headers=headers) as client:
        yield client


async def called(client: httpx.AsyncClient, slug: str = "mine", path: str = "chat/completions") -> httpx.Response:
    return await client.post(f"/v1/local/default/custom-{slug}/{path}", json={"model": "m"})


def says(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["message"])


def leads(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> list[str]:
    """Have the stranger's name lead to one address after the other; return the list of look-ups to come."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> list[Any]:
        if host != HOST:
            return real(host, port, *rest, **more)
        found = addresses[min(len(asked), len(addresses) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", found)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


class Counter:
    """A server that counts who connects."""

    def __init__(self) -> None:
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1


def test_a_public_name_that_leads_into_this_network_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        inside = Counter()
        async with raw_server(inside) as origin, gateway(gateway_token=TOKEN) as address, api(address) as client:
            leads(monkeypatch, ("127.0.0.1", origin.port))
            wanted = {"slug": "mine", "base_url": f"https://{HOST}:{origin.port}/v1"}
            assert (await client.post("/api/providers/custom", json=wanted)).status_code == 201
            answer = await called(client)
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_not_public")
            assert "custom_provider_hosts" in says(answer)
            assert "127.0.0.1" not in answer.text
            assert inside.connections == 0

    asyncio.run(asyncio.wait_for(main(), 60))  # its event loop asks the resolver of this process


def test_a_host_of_the_settings_may_be_anywhere_and_its_name_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        upstream = Recorder()
        terms: dict[str, Any] = {"gateway_token": TOKEN, "custom_provider_hosts": (HOST,)}
        async with raw_server(upstream) as origin, gateway(**terms) as address, api(address) as client:
            leads(monkeypatch, ("127.0.0.1", origin.port))
            wanted = {"slug": "mine", "base_url": f"http://{HOST}:{origin.port}"}
            assert (await client.post("/api/providers/custom", json=wanted)).status_code == 201
            assert (await called(client)).status_code == 200
            assert len(upstream.requests) == 1

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_provider_of_the_settings_file_is_trusted() -> None:
    async def main() -> None:
        async with raw_server(Recorder()) as origin:
            tables = {"custom-own": {"base_url": f"http://127.0.0.1:{origin.port}"}}
            async with gateway(gateway_token=TOKEN, providers=tables) as address, api(address) as client:
                assert (await called(client, "own")).status_code == 200
                listed = {one["slug"]: one for one in (await client.get("/api/providers")).json()}
                assert (listed["custom-own"]["source"], listed["openai"]["source"]) == ("settings", "builtin")

    run(main())


async def dial(origin: Origin) -> None:
    await Dialer(proxies={}).dial(origin, b"/realtime", [])


async def send(origin: Origin) -> None:
    await HttpPool(proxies={}).send(Request(b"GET", origin, b"/", []))


@pytest.mark.parametrize("reach", [dial, send])
def test_a_websocket_is_held_to_the_same(
    reach: Callable[[Origin], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        inside = Counter()
        async with raw_server(inside) as origin:
            leads(monkeypatch, ("127.0.0.1", origin.port))
            chosen = Origin("https", HOST, origin.port, public_only=True)
            with pytest.raises(UpstreamNotPublic):
                await reach(chosen)
            assert inside.connections == 0

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    """Whoever answers could else choose another host than the one that was checked, and be sent the key there."""

    async def main() -> None:
        elsewhere = Counter()
        async with raw_server(elsewhere) as other:
            there = b"location: http://127.0.0.1:%d/\r\n" % other.port
            answer = b"HTTP/1.1 %d Elsewhere\r\n%bcontent-length: 0\r\n\r\n" % (status, there)
            terms: dict[str, Any] = {"gateway_token": TOKEN, "custom_provider_hosts": ("127.0.0.1",)}
            async with raw_server(answering(answer)) as origin, gateway(**terms) as address, api(address) as client:
                wanted = {"slug": "mine", "base_url": f"http://127.0.0.1:{origin.port}"}
                await client.post("/api/providers/custom", json=wanted)
                assert (await called(client)).status_code == status
                with pytest.raises(UpstreamUpgradeRefused) as refused:
                    await Dialer().dial(origin, b"/realtime", [])
                assert refused.value.upstream_status == status
            assert elsewhere.connections == 0

    run(main())


@asynccontextmanager
async def with_provider(**more: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Origin, Recorder, Recorder]]:
    """A gateway with the provider ``custom-mine`` that has a secret header, and two servers, where it is the first."""
    old, new = Recorder(), Recorder()
    terms: dict[str, Any] = {"gateway_token": TOKEN, "custom_provider_hosts": ("127.0.0.1",), **more}
    async with (
        raw_server(old) as here,
        raw_server(new) as there,
        gateway(**terms) as address,
        api(address) as client,
    ):
        wanted = {"slug": "mine", "base_url": f"http://127.0.0.1:{here.port}", "headers": {"x-tenant": SECRET}}
        assert (await client.post("/api/providers/custom", json=wanted)).status_code == 201
        yield client, there, old, new


Move = Callable[[httpx.AsyncClient, str, Any], Any]


async def by_ours(client: httpx.AsyncClient, base_url: str, headers: Any) -> httpx.Response:
    more = {} if headers is None else {"headers": headers}
    return await client.patch("/api/providers/custom/mine", json={"base_url": base_url, **more})


async def by_cloudflares(client: httpx.AsyncClient, base_url: str, headers: Any) -> httpx.Response:
    base = "/client/v4/accounts/local/ai-gateway/custom-providers"
    (one,) = (await client.get(base)).json()["result"]
    more = {} if headers is None else {"headers": json.dumps(headers)}
    return await client.patch(f"{base}/{one['id']}", json={"base_url": base_url, **more})


@pytest.mark.parametrize("move", [by_ours, by_cloudflares])
def test_headers_that_are_kept_do_not_go_along_to_another_host(move: Move) -> None:
    async def main() -> None:
        async with with_provider() as (client, there, old, new):
            elsewhere = f"http://127.0.0.1:{there.port}/v2"
            for headers in (None, {"x-tenant": "********"}):
                refused = await move(client, elsewhere, headers)
                assert refused.status_code == 400, refused.text
                assert "headers" in refused.text
            assert (await called(client)).status_code == 200
            assert old.requests[-1][1]["x-tenant"] == [SECRET]

            assert (await move(client, elsewhere, {"x-tenant": "another"})).status_code == 200
            assert (await called(client)).status_code == 200
            path, headers, _ = new.requests[-1]
            assert (path, headers["x-tenant"]) == ("POST /v2/chat/completions HTTP/1.1", ["another"])
            assert SECRET not in repr(new.requests)

    run(main())


@pytest.mark.parametrize("move", [by_ours, by_cloudflares])
def test_headers_stay_when_only_the_path_of_a_provider_changes(move: Move) -> None:
    async def main() -> None:
        async with with_provider() as (client, _, old, _):
            (one,) = (await client.get("/api/providers/custom")).json()
            assert (await move(client, f"{one['base_url']}/v3", {"x-tenant": "********", "x-more": "1"})).is_success
            assert (await move(client, f"{one['base_url']}/v4", None)).is_success
            await called(client)
            path, headers, _ = old.requests[-1]
            assert path == "POST /v4/chat/completions HTTP/1.1"
            assert (headers["x-tenant"], headers["x-more"]) == ([SECRET], ["1"])

    run(main())


def test_a_stored_key_goes_to_no_host_that_it_was_not_stored_for() -> None:
    async def main() -> None:
        async with with_provider() as (client, there, _, new):
            elsewhere = {"base_url": f"http://127.0.0.1:{there.port}", "headers": {}}
            key = "/api/gateways/default/stored-keys/custom-mine/default"
            assert (await client.put(key, json={"key": "sk-of-the-first-host"})).status_code == 200
            moved = await client.patch("/api/providers/custom/mine", json=elsewhere)
            assert moved.status_code == 400
            assert "default of gateway default" in says(moved)
            assert "sk-of" not in moved.text

            assert (await client.delete("/api/providers/custom/mine")).status_code == 204
            again = await client.post("/api/providers/custom", json={"slug": "mine", **elsewhere})
            assert again.status_code == 201
            await called(client)
            assert "sk-of-the-first-host" not in repr(new.requests)
            assert (await client.get("/api/gateways/default/stored-keys")).json() == []

    run(main())


def test_a_key_that_was_left_behind_stands_in_the_way_of_a_new_provider_of_that_name() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as configuration:
                await configuration.store_key("default", "custom-mine", "old", "sk-left-behind", "hind")
            async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address, api(address) as client:
                wanted = {"slug": "mine", "base_url": "https://api.example.com"}
                refused = await client.post("/api/providers/custom", json=wanted)
                assert refused.status_code == 400
                assert "vault remove" in says(refused)
                gone = await client.delete("/api/gateways/default/stored-keys/custom-mine/old")
                assert gone.status_code == 204
                assert (await client.post("/api/providers/custom", json=wanted)).status_code == 201

    run(main())


def test_a_provider_is_added_changed_listed_and_removed_over_http() -> None:
    async def main() -> None:
        upstream = Recorder()
        terms: dict[str, Any] = {"gateway_token": TOKEN, "custom_provider_hosts": ("127.0.0.1",)}
        async with raw_server(upstream) as origin, gateway(**terms) as address, api(address) as client:
            wanted = {
                "slug": "mine",
                "name": "Our models",
                "base_url": f"http://127.0.0.1:{origin.port}",
                "chat_path": "api/v9/chat",
                "headers": {"x-tenant": SECRET},
            }
            made = (await client.post("/api/providers/custom", json=wanted)).json()
            assert (made["enabled"], made["chat_path"], made["headers"]) == (
                True,
                "api/v9/chat",
                {"x-tenant": "********"},
            )
            assert (await client.post("/api/providers/custom", json=wanted)).status_code == 409
            shown = next(
                one for one in (await client.get("/api/config")).json()["providers"] if one["slug"] == "custom-mine"
            )
            assert (shown["name"], shown["chat_path"]) == ("Our models", "api/v9/chat")
            assert (await called(client)).status_code == 200

            off = await client.patch("/api/providers/custom/mine", json={"enabled": False})
            assert off.json()["enabled"] is False
            assert (await called(client)).status_code == 400
            listed = [one for one in (await client.get("/api/providers")).json() if one["source"] == "added"]
            assert [(one["slug"], one["enabled"]) for one in listed] == [("custom-mine", False)]
            everything = (await client.get("/api/providers/custom")).text + (await client.get("/api/providers")).text
            assert SECRET not in everything
            assert (await client.delete("/api/providers/custom/mine")).status_code == 204
            assert (await client.delete("/api/providers/custom/mine")).status_code == 404

    run(main())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_url": "http://api.example.com"}, "use https"),
        ({"base_url": "https://10.0.0.1"}, "within this network"),
        ({"base_url": "https://[::ffff:10.0.0.1]"}, "within this network"),
        ({"base_url": "https://[64:ff9b::a00:1]"}, "within this network"),
        ({"base_url": "https://168.63.129.16"}, "within this network"),
        ({"base_url": "https://2130706433"}, "within this network"),
        ({"base_url": "https://intranet"}, "within this network"),
        ({"base_url": "https://user:secret@api.example.com"}, "no user"),
        ({"chat_path": "../admin"}, "chat_path"),
        ({"chat_path": "chat?key=1"}, "chat_path"),
        ({"chat_path": "//elsewhere.example/chat"}, "chat_path"),
        ({"headers": {"host": "elsewhere"}}, "headers.host"),
        ({"headers": {"x": "a\r\nb: c"}}, "headers"),
        ({"slug": "Mine"}, "slug"),
    ],
)
def test_what_could_not_be_a_provider_is_refused_with_the_reason(change: dict[str, Any], said: str) -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, api(address) as client:
            wanted = {"slug": "mine", "base_url": "https://api.example.com", **change}
            answer = await client.post("/api/providers/custom", json=wanted)
            assert answer.status_code in (400, 422)
            assert said in answer.text
            assert (await client.get("/api/providers/custom")).json() == []

    run(main())


def test_a_key_of_one_gateway_adds_no_provider() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as configuration:
                value, _ = await new_key(configuration, scopes=[Scope.READ, Scope.EDIT])
            async with (
                gateway(data_dir=data_dir, gateway_token=TOKEN) as address,
                api(address, value) as client,
                httpx.AsyncClient(base_url=address.http) as stranger,
            ):
                wanted = {"slug": "mine", "base_url": "https://api.example.com"}
                assert (await client.get("/api/providers/custom")).status_code == 200
                assert (await client.post("/api/providers/custom", json=wanted)).status_code == 403
                assert (await client.patch("/api/providers/custom/mine", json={})).status_code == 403
                assert (await client.delete("/api/providers/custom/mine")).status_code == 403
                assert (await stranger.get("/api/providers")).status_code == 401
                assert (await stranger.post("/api/providers/custom", json=wanted)).status_code == 401

    run(main())


def command(data_dir: Path, *arguments: str, **environment: str) -> Done:
    return commands.command("providers", *arguments, "--data-dir", str(data_dir), environment=environment)


def test_providers_are_managed_by_command(tmp_path: Path) -> None:
    url = "https://api.example.com/v1"
    unset = command(tmp_path, "add", "mine", "--base-url", url, "--header-from", "x-tenant=TENANT")
    assert (unset.returncode, "TENANT is not set" in unset.stderr) == (2, True)
    made = command(tmp_path, "add", "mine", "--base-url", url, "--header-from", "x-tenant=TENANT", TENANT=SECRET)
    assert made.returncode == 0, made.stderr
    assert "custom-mine" in made.stderr
    listed = command(tmp_path, "list").stdout
    assert [line.split()[-2:] for line in listed.splitlines() if line.startswith("custom-mine")] == [
        ["added", "enabled"]
    ]
    assert any(line.startswith("openai ") and "built in" in line for line in listed.splitlines())
    shown = command(tmp_path, "show", "mine").stdout
    assert "x-tenant" in shown
    assert SECRET not in listed + shown + made.stderr
    moved = command(tmp_path, "change", "mine", "--base-url", "https://other.example.com")
    assert (moved.returncode, "headers" in moved.stderr) == (2, True)
    assert (
        command(tmp_path, "change", "mine", "--base-url", "https://other.example.com", "--no-headers").returncode == 0
    )
    assert command(tmp_path, "disable", "mine").returncode == 0
    assert "https://other.example.com" in command(tmp_path, "show", "custom-mine").stdout
    assert command(tmp_path, "remove", "mine", "--yes").returncode == 0
    assert "custom-mine" not in command(tmp_path, "list").stdout
    private = command(tmp_path, "add", "lan", "--base-url", "https://192.168.1.5")
    assert (private.returncode, "custom_provider_hosts" in private.stderr) == (2, True)
