"""Gateway keys, gateways and stored keys on a real server: what an administrator changes counts at once, everywhere."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.typing import Subprotocol

from tests.contract.administration import administration, new_key
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.test_voiceplane import echo, refusal_of, upstream_of
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.store import Configuration

CHAT = b'{"model": "gpt-4o", "messages": []}'
JSON = {"content-type": "application/json"}


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[tuple[Address, Configuration, Path]]:
    """A running gateway and the administrator of its data directory."""
    with data_directory() as data_dir:
        async with (
            administration(data_dir) as admin,
            gateway(data_dir=data_dir, **settings) as address,
        ):
            yield address, admin, data_dir


async def eventually(question: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a running gateway has noticed a change: the test's own time limit ends the wait."""
    while not await question():  # noqa: ASYNC110 - what changes is in another process
        await asyncio.sleep(0.05)


def dial(address: Address, path: str, *protocols: str, **headers: str) -> connect:
    return connect(
        address.ws + path,
        additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
        subprotocols=[Subprotocol(name) for name in protocols] or None,
        proxy=None,
    )


async def answers(client: httpx.AsyncClient, url: str, status: int, **headers: str) -> bool:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.post(url, content=CHAT, headers={**JSON, **named})
    return answer.status_code == status


async def credentials_seen(socket: ServerConnection) -> None:
    """Say which credentials the handshake carried, then echo."""
    assert socket.request is not None
    headers = {name.lower(): value for name, value in socket.request.headers.raw_items()}
    await socket.send(json.dumps([headers.get("authorization", ""), headers.get("sec-websocket-protocol", "")]))
    await echo(socket)


# Keys made by the command, while the gateway runs


def trunkline(data_dir: Path, *arguments: str, given: str = "") -> str:
    command = [sys.executable, "-m", "trunkline", *arguments, "--data-dir", str(data_dir)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_a_key_made_by_the_command_opens_the_running_gateway_and_revoked_it_ends_the_open_session() -> None:
    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            served(**openai_at(origin, api_key="sk-stored")) as (address, _, data_dir),
        ):
            key = await asyncio.to_thread(trunkline, data_dir, "keys", "create", "phone app")
            await asyncio.to_thread(trunkline, data_dir, "gateways", "set", "default", "--authenticated")
            path = "/v1/local/default/openai/realtime?model=m"
            listed = await asyncio.to_thread(trunkline, data_dir, "keys", "list")
            assert key not in listed
            key_id = next(word for word in listed.split() if word.startswith("key_"))
            async with httpx.AsyncClient() as client:
                url = f"{address.http}/v1/local/default/local/chat/completions"
                await eventually(lambda: answers(client, url, 401))
            async with dial(address, path, "realtime", f"openai-insecure-api-key.{key}") as socket:
                await socket.send("hello")
                assert await socket.recv() == "hello"
                await asyncio.to_thread(trunkline, data_dir, "keys", "revoke", key_id)
                error, code = await refusal_of(socket)
            assert code == 3000
            assert "was revoked" in error["message"]
            assert error["code"] == "invalid_api_key"
            async with dial(address, path, authorization=f"Bearer {key}") as socket:
                error, code = await refusal_of(socket)
            assert code == 3000
            assert "was revoked" in error["message"]
            assert key not in error["message"]

    run(main())


def test_a_session_ends_when_its_key_expires() -> None:
    async def main() -> None:
        async with upstream_of(echo) as origin, served(**openai_at(origin, api_key="sk-stored")) as (address, admin, _):
            key, _id = await new_key(admin, expires_at=time.time() + 3)
            async with httpx.AsyncClient() as client:
                url = f"{address.http}/v1/local/default/openai/models"
                # An unknown key of ours is refused as such, so any other answer says that it is known.
                await eventually(lambda: is_known(client, url, key))
            async with dial(address, "/v1/local/default/openai?model=m", authorization=f"Bearer {key}") as socket:
                await socket.send("hello")
                assert await socket.recv() == "hello"
                error, code = await refusal_of(socket)
            assert code == 3000
            assert "has expired" in error["message"]

    run(main())


async def is_known(client: httpx.AsyncClient, url: str, key: str) -> bool:
    answer = await client.get(url, headers={"authorization": f"Bearer {key}"})
    return "is not known here" not in answer.text


def test_other_sessions_go_on_when_a_key_is_revoked() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, upstream_of(echo) as origin:
                (good, _), (bad, bad_id) = await new_key(admin), await new_key(admin)
                async with (
                    gateway(data_dir=data_dir, **openai_at(origin, api_key="sk-stored")) as address,
                    dial(address, "/v1/local/default/openai?model=m", authorization=f"Bearer {good}") as kept,
                    dial(address, "/v1/local/default/openai?model=m", authorization=f"Bearer {bad}") as ended,
                ):
                    await admin.revoke_key(bad_id)
                    await refusal_of(ended)
                    await kept.send("still here")
                    assert await kept.recv() == "still here"

    run(main())


def test_a_client_that_does_not_read_cannot_outlive_its_key() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def flood(socket: ServerConnection) -> None:
            try:
                while True:
                    await socket.send(b"x" * 1_000_000)
            finally:
                ended.set()

        with data_directory() as data_dir:
            async with administration(data_dir) as admin, upstream_of(flood) as origin:
                key, key_id = await new_key(admin)
                async with gateway(data_dir=data_dir, **openai_at(origin, api_key="sk-stored")) as address:
                    reader, writer = await asyncio.open_connection(address.host, address.port)
                    writer.write(
                        b"GET /v1/local/default/openai?model=m HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n"
                        b"connection: upgrade\r\nsec-websocket-version: 13\r\n"
                        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        b"authorization: Bearer " + key.encode() + b"\r\n\r\n"
                    )
                    await reader.readuntil(b"\r\n\r\n")
                    writer.transport.pause_reading()
                    await admin.revoke_key(key_id)
                    await ended.wait()
                    writer.close()

    run(main())


# What a key is good for


def test_a_key_opens_its_own_gateway_alone() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, upstream_of(echo) as origin:
                await admin.create_gateway(GatewayRules("other"))
                key, _ = await new_key(admin, "other")
                async with (
                    gateway(data_dir=data_dir, **openai_at(origin, api_key="sk-stored")) as address,
                    httpx.AsyncClient() as client,
                ):
                    authorization = {"authorization": f"Bearer {key}"}
                    wrong = await client.get(f"{address.http}/v1/local/default/local/models", headers=authorization)
                    assert wrong.status_code == 403
                    assert "another gateway" in wrong.json()["error"]["message"]
                    async with dial(address, "/v1/local/default/openai?model=m", **authorization) as socket:
                        error, code = await refusal_of(socket)
                        assert (error["code"], code) == ("not_permitted", 4003)
                    async with dial(address, "/v1/local/other/openai?model=m", **authorization) as socket:
                        await socket.send("hello")
                        assert await socket.recv() == "hello"

    run(main())


def test_at_the_root_the_key_says_which_gateway_is_meant() -> None:
    """Some clients keep only the host of a base URL."""

    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, upstream_of(credentials_seen) as origin:
                await admin.create_gateway(GatewayRules("other"))
                await admin.store_key("other", "openai", "default", "sk-of-the-other", "")
                key, _ = await new_key(admin, "other")
                async with gateway(data_dir=data_dir, **openai_at(origin, api_key="sk-default")) as address:
                    protocols = ("realtime", f"openai-insecure-api-key.{key}")
                    async with dial(address, "/v1/realtime?model=m", *protocols) as socket:
                        assert json.loads(await socket.recv())[0] == "Bearer sk-of-the-other"
                    async with dial(address, "/v1/realtime?model=m") as socket:
                        assert json.loads(await socket.recv())[0] == "Bearer sk-default"

    run(main())


@pytest.mark.parametrize("scope", [Scope.READ, Scope.EDIT])
def test_a_key_without_the_scope_run_calls_no_model(scope: Scope) -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin:
                key, _ = await new_key(admin, scopes=frozenset({scope}))
                async with gateway(data_dir=data_dir) as address, httpx.AsyncClient() as client:
                    headers = {"authorization": f"Bearer {key}", **JSON}
                    answer = await client.post(
                        f"{address.http}/v1/local/default/local/chat/completions", headers=headers, content=CHAT
                    )
                    assert answer.status_code == 403
                    assert "'run'" in answer.json()["error"]["message"]

    run(main())


def test_a_key_for_some_models_reaches_no_other_over_any_transport() -> None:
    async def main() -> None:
        upstream = Recorder()
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, raw_server(upstream) as origin, upstream_of(echo) as voice:
                key, _ = await new_key(admin, models=("gpt-4o*", "gpt-realtime"))
                realtime = {"base_url": f"http://{voice.host}:{voice.port}/v1"}
                settings = openai_at(origin, api_key="sk-stored", realtime=realtime)
                headers = {"authorization": f"Bearer {key}", **JSON}
                base = "/v1/local/default/openai"
                async with gateway(data_dir=data_dir, **settings) as address, httpx.AsyncClient() as client:
                    for body, status in (
                        (b'{"model": "gpt-4o-mini"}', 200),
                        (b'{"model": "o3"}', 403),
                        (b'{"model": "gpt-4o", "model": "o3"}', 403),
                        (b"{}", 403),
                    ):
                        url = f"{address.http}{base}/chat/completions"
                        answer = await client.post(url, headers=headers, content=body)
                        assert answer.status_code == status, body
                    listed = await client.get(f"{address.http}{base}/models", headers=headers)
                    assert listed.status_code == 200
                    assert len(upstream.requests) == 2

                    async with dial(address, f"{base}?model=o3", authorization=f"Bearer {key}") as socket:
                        error, code = await refusal_of(socket)
                        assert (error["code"], code) == ("not_permitted", 4003)
                    for query in ("%6dodel=o3", "model=gpt-realtime&model=o3"):
                        async with dial(address, f"{base}?{query}", authorization=f"Bearer {key}") as socket:
                            error, code = await refusal_of(socket)
                            assert (error["code"], code) == ("not_permitted", 4003)
                    hidden = '{"type": "session.update", "session": {"model": "o3"}, "x": ' + "9" * 5000 + "}"
                    for frame in (hidden, b'{"type": "response.create", "response": {"model": "o3"}}'):
                        path = f"{base}?model=gpt-realtime"
                        async with dial(address, path, authorization=f"Bearer {key}") as socket:
                            await socket.send(b"\x7b\xff\x00 sound is not looked into")
                            assert await socket.recv() == b"\x7b\xff\x00 sound is not looked into"
                            await socket.send(frame)
                            error, code = await refusal_of(socket)
                            assert (error["code"], code) == ("not_permitted", 4003)
                    async with dial(address, f"{base}?model=gpt-realtime", authorization=f"Bearer {key}") as socket:
                        fine = '{"type": "session.update", "session": {"model": "gpt-realtime"}}'
                        await socket.send(fine)
                        assert await socket.recv() == fine
                        await socket.send('{"type": "response.create", "response": {"model": "o3"}}')
                        error, code = await refusal_of(socket)
                        assert (error["code"], code) == ("not_permitted", 4003)

    run(main())


# Stored keys


def test_a_stored_key_is_used_alike_over_http_and_on_a_websocket_and_rotated_without_a_restart() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with raw_server(upstream) as origin, upstream_of(credentials_seen) as voice:
            realtime = {"base_url": f"http://{voice.host}:{voice.port}/v1"}
            async with (
                served(**openai_at(origin, realtime=realtime)) as (address, _, data_dir),
                httpx.AsyncClient() as client,
            ):
                url = f"{address.http}/v1/local/default/openai/chat/completions"
                refused = await client.post(url, content=CHAT, headers=JSON)
                assert (refused.status_code, refused.headers["cf-aig-error-code"]) == (401, "2040")
                for key in ("sk-first-0123456789abcdef", "sk-second-0123456789abcdef"):
                    await asyncio.to_thread(trunkline, data_dir, "vault", "set", "openai", given=key)

                    async def arrived(key: str = key) -> bool:
                        answer = await client.post(url, content=CHAT, headers=JSON)
                        return answer.is_success and upstream.requests[-1][1]["authorization"] == [f"Bearer {key}"]

                    await eventually(arrived)
                    for protocols in ((), ("realtime",)):
                        async with dial(address, "/v1/local/default/openai?model=m", *protocols) as socket:
                            assert json.loads(await socket.recv())[0] == f"Bearer {key}"

    run(main())


def test_an_alias_chooses_a_stored_key_and_an_unknown_one_is_refused_without_naming_the_others() -> None:
    async def main() -> None:
        upstream = Recorder()
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, raw_server(upstream) as origin:
                await admin.create_gateway(GatewayRules("locked"))
                key, _ = await new_key(admin, "locked")
                for owner in ("default", "locked"):
                    await admin.store_key(owner, "openai", "default", "sk-default", "")
                    await admin.store_key(owner, "openai", "team-blue", "sk-blue", "")
                async with gateway(data_dir=data_dir, **openai_at(origin)) as address, httpx.AsyncClient() as client:

                    async def ask(owner: str, **headers: str) -> httpx.Response:
                        url = f"{address.http}/v1/local/{owner}/openai/chat/completions"
                        named = {name.replace("_", "-"): value for name, value in headers.items()}
                        return await client.post(url, content=CHAT, headers={**JSON, **named})

                    await ask("default", cf_aig_byok_alias="team-blue")
                    assert upstream.requests[-1][1]["authorization"] == ["Bearer sk-blue"]
                    assert "cf-aig-byok-alias" not in upstream.requests[-1][1]
                    stranger = await ask("default", cf_aig_byok_alias="nobody")
                    assert stranger.status_code == 400
                    assert stranger.json()["error"][0]["code"] == 2040
                    assert "team-blue" not in stranger.text
                    known = await ask("locked", cf_aig_byok_alias="nobody", cf_aig_authorization=f"Bearer {key}")
                    assert known.status_code == 400
                    assert "team-blue" in known.text
                    assert "sk-" not in known.text + stranger.text

    run(main())


def test_trap_a_placeholder_does_not_hide_the_stored_key_where_the_stored_key_wins() -> None:
    async def main() -> None:
        upstream = Recorder()
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, raw_server(upstream) as origin:
                await admin.create_gateway(GatewayRules("firm", authenticated=False, stored_key_wins=True))
                for owner in ("default", "firm"):
                    await admin.store_key(owner, "openai", "default", "sk-stored", "")
                async with gateway(data_dir=data_dir, **openai_at(origin)) as address, httpx.AsyncClient() as client:
                    for owner, arrives in (("default", "Bearer unused"), ("firm", "Bearer sk-stored")):
                        url = f"{address.http}/v1/local/{owner}/openai/chat/completions"
                        await client.post(url, content=CHAT, headers={**JSON, "authorization": "Bearer unused"})
                        assert upstream.requests[-1][1]["authorization"] == [arrives]
                    # A provider for which the vault holds nothing is still called with the caller's own key.
                    groq = f"{address.http}/v1/local/firm/groq/models"
                    answer = await client.get(groq, headers={"authorization": "Bearer own"})
                    assert answer.headers.get("cf-aig-error-code") != "2040"

    run(main())


# Gateways


def test_authentication_is_switched_for_one_gateway_without_a_restart() -> None:
    async def main() -> None:
        async with served() as (address, admin, _), httpx.AsyncClient() as client:
            await admin.create_gateway(GatewayRules("free", authenticated=False))

            def path(owner: str) -> str:
                return f"{address.http}/v1/local/{owner}/openai/chat/completions"

            await eventually(lambda: answers(client, path("free"), 401))  # 2040: known, and without a key
            await admin.change_gateway("free", authenticated=True)

            async def locked() -> bool:
                answer = await client.post(path("free"), content=CHAT, headers=JSON)
                return answer.headers["cf-aig-error-code"] == "2009"

            await eventually(locked)
            other = await client.post(path("default"), content=CHAT, headers=JSON)
            assert other.headers["cf-aig-error-code"] == "2040"

    run(main())


def test_a_gateway_beyond_loopback_is_authenticated_whatever_its_switch_says() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin:
                await admin.create_gateway(GatewayRules("free", authenticated=False))
                token = "gateway-token-of-many-characters"
                async with (
                    gateway(data_dir=data_dir, host="0.0.0.0", gateway_token=token) as address,
                    httpx.AsyncClient() as client,
                ):
                    base = f"http://127.0.0.1:{address.port}"
                    refused = await client.get(f"{base}/v1/local/free/local/models")
                    assert refused.headers["cf-aig-error-code"] == "2009"

    run(main())


def test_a_gateway_with_a_list_of_origins_refuses_pages_of_every_other() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, upstream_of(echo) as origin:
                await admin.create_gateway(
                    GatewayRules("web", authenticated=False, allowed_origins=("https://app.example",))
                )
                await admin.store_key("web", "openai", "default", "sk-stored", "")
                async with gateway(data_dir=data_dir, **openai_at(origin)) as address, httpx.AsyncClient() as client:
                    for page, code in (("https://app.example", None), ("http://localhost:3000", 4003)):
                        async with dial(address, "/v1/local/web/openai?model=m", "realtime", origin=page) as socket:
                            if code is None:
                                await socket.send("hello")
                                assert await socket.recv() == "hello"
                            else:
                                error, closed = await refusal_of(socket)
                                assert (error["code"], closed) == ("origin_not_allowed", code)
                        asked = {"origin": page, "access-control-request-method": "POST"}
                        preflight = await client.options(f"{address.http}/v1/local/web/openai/models", headers=asked)
                        assert preflight.is_success is (code is None)

    run(main())


def test_a_database_that_cannot_be_used_stops_the_start_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "trunkline.db").write_bytes(b"no database" * 1000)
    command = [sys.executable, "-m", "trunkline", "serve", "--port", "0", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "trunkline.db cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
