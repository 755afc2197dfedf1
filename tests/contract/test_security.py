"""What docs/security.md promises and no other test holds: a gateway as a process, and as a browser sees it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.administration import administration, new_key
from tests.contract.log_rows import json_answer
from tests.contract.raw_server import answering, raw_server
from tests.contract.test_dataplane import read_request
from tests.contract.waiting import until
from tests.running import data_directory, gateway, program, run
from trunkline.policy.registry import GatewayRules
from trunkline.server.console import _EVERY_FILE
from trunkline.wire.head import _OF_NOBODY

TOKEN = "gateway-token-of-the-test-0001"
STORED = "stored-provider-key-of-the-test-0002"
CHAT = "/v1/local/default/openai/chat/completions"


# A process


@contextmanager
def core_files_wanted() -> Iterator[None]:
    """Have programs that are started write core files, as far as this machine lets them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def core_limit(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text("ascii").splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4]


def told(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def test_a_gateway_that_crashes_leaves_no_core_file_and_its_worker_shows_no_secret_in_a_process_list() -> None:
    async def main() -> None:
        environment = {"TRUNKLINE_GATEWAY_TOKEN": TOKEN, "TRUNKLINE_PROVIDERS__OPENAI__API_KEY": STORED}
        with (
            core_files_wanted(),
            data_directory() as directory,
            program("serve", "--port", "0", "--data-dir", str(directory), environment=environment) as served,
        ):
            pid = served.process.pid
            assert core_limit(pid) == "0"
            async with httpx.AsyncClient(base_url=served.address.http, timeout=60) as client:
                shown = {"authorization": f"Bearer {TOKEN}"}
                assert (await client.get("/v1/local/default/local/models", headers=shown)).status_code == 200
            worker = next(child for child in children(pid) if b"worker" in told(child, "cmdline"))
            assert core_limit(worker) == "0"
            seen = told(worker, "environ") + told(worker, "cmdline") + told(pid, "cmdline")
            assert b"PATH=" in seen
            assert not [secret for secret in (TOKEN, STORED) if secret.encode() in seen]
            assert b"TRUNKLINE" not in seen

    run(main())


def test_the_worker_switches_core_files_off_for_itself() -> None:
    command = [sys.executable, "-m", "trunkline.local.worker", "0"]
    with core_files_wanted(), subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        async def is_off() -> bool:
            assert process.poll() is None
            return core_limit(process.pid) == "0"

        try:
            asyncio.run(asyncio.wait_for(until(is_off), 60))  # it then waits for its key
        finally:
            process.kill()


def test_the_local_models_alone_are_served_to_no_network_without_a_key() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    command = [sys.executable, "-m", "trunkline", "local", "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 2
    assert "TRUNKLINE_LOCAL_KEY" in done.stderr


def test_all_that_a_gateway_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"

    async def main() -> None:
        before = os.umask(0)
        try:
            with program("serve", "--port", "0", "--data-dir", str(directory), "--tls", "local") as served:
                trust = ssl.create_default_context(cafile=directory / "tls" / "authority.pem")
                async with httpx.AsyncClient(base_url=served.address.http, verify=trust, timeout=60) as client:
                    await client.get("/v1/local/default/local/models")  # is written down
                    await client.post("/api/gateways/default/keys", json={"scopes": ["run"]})
                    assert (await client.get("/api/logs")).status_code == 200
                served.process.send_signal(signal.SIGTERM)
                served.process.wait(20)
        finally:
            os.umask(before)

    run(main())
    public = {"authority.pem", "gateway.pem"}
    found = {path.relative_to(directory): path.stat().st_mode & 0o777 for path in directory.rglob("*")}
    assert {path.name for path in found} >= {"master.key", "trunkline.db", "journal"}
    assert directory.stat().st_mode & 0o777 == 0o700
    open_to_others = {str(path): oct(mode) for path, mode in found.items() if mode & 0o077 and path.name not in public}
    assert not open_to_others


def test_a_folder_that_others_may_look_into_is_told_of_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with program("serve", "--port", "0", "--data-dir", str(tmp_path)) as served:
        pass
    assert "others on this machine may look into the data directory" in "".join(served.output)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


# Keys and the gateways they are for


def test_a_key_of_one_gateway_never_spends_the_stored_key_of_another() -> None:
    shown: list[str] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, headers, _ = await read_request(reader)
            shown.extend(headers.get("authorization", []))
            writer.write(json_answer({"choices": []}))
            await writer.drain()

    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                await configuration.create_gateway(GatewayRules("other", authenticated=True))
                await configuration.store_key("other", "openai", "default", STORED, "")
                await configuration.store_key("other", "openai", "second", STORED, "")
                key, _ = await new_key(configuration, "default")
                theirs, _ = await new_key(configuration, "other")
            async with raw_server(upstream) as origin:
                providers = {"openai": {"base_url": f"http://{origin.host}:{origin.port}/v1"}}
                async with (
                    gateway(data_dir=directory, providers=providers, gateway_token=TOKEN) as address,
                    httpx.AsyncClient(base_url=address.http, timeout=60) as client,
                ):
                    step = {"provider": "openai", "endpoint": "chat/completions", "query": {}}
                    other = "/v1/local/other/openai/chat/completions"
                    asked: list[tuple[str, Any, dict[str, str]]] = [
                        (other, {}, {}),
                        ("/v1/local/other", [step], {}),
                        ("/v1/local/default", [{**step, "headers": {"cf-aig-gateway-id": "other"}}], {}),
                        (CHAT, {}, {}),
                        (CHAT, {}, {"cf-aig-gateway-id": "other"}),
                        (CHAT, {}, {"cf-aig-byok-alias": "second"}),
                        ("/v1/chat/completions", {}, {"cf-aig-gateway-id": "other"}),
                        ("/v1/local/default/compat/chat/completions", {"model": "openai/gpt"}, {}),
                    ]
                    for path, body, headers in asked:
                        ours = {"cf-aig-authorization": f"Bearer {key}"}
                        refused = await client.post(path, json=body, headers={**headers, **ours})
                        assert refused.status_code in (400, 401, 403, 404), (path, refused.text)
                    assert shown == []
                    bearer = {"authorization": f"Bearer {theirs}"}
                    assert (await client.post(other, json={}, headers=bearer)).status_code == 200
                    assert shown == [f"Bearer {STORED}"]

    run(main())


# Who chooses the host that a key is sent to


@pytest.mark.parametrize(
    "path", ["azure-openai/mallory/gpt/chat/completions", "azure/Mallory/gpt/models", "baseten/model/mallory/predict"]
)
def test_a_stored_key_goes_to_no_machine_that_the_caller_alone_names(path: str) -> None:
    async def main() -> None:
        providers = {
            "azure-openai": {"api_key": STORED, "parameters": {"resource": "acme"}},
            "baseten": {"api_key": STORED},
        }
        async with (
            gateway(providers=providers) as address,
            httpx.AsyncClient(base_url=address.http, timeout=60) as client,
        ):
            answer = await client.post(f"/v1/local/default/{path}", json={})
            assert answer.status_code == 403, answer.text
            assert "settings" in answer.text
            assert STORED not in answer.text

    run(main())


# A browser


ANSWERS = [
    ("GET", "/api/account"),
    ("GET", "/api/gateways"),
    ("GET", "/api/logs"),
    ("GET", "/api/nowhere"),
    ("POST", "/api/account/sign-in"),
    ("GET", "/client/v4/accounts/local/ai-gateway/gateways"),
    ("GET", "/metrics"),
    ("GET", "/healthz"),
]


def test_an_answer_of_the_apis_is_kept_by_nobody_and_shown_on_no_page() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(base_url=address.http, timeout=60) as client:
            for method, path in ANSWERS:
                answer = await client.request(method, path)
                assert answer.headers["cache-control"] == "no-store", path
                assert answer.headers["x-content-type-options"] == "nosniff", path
                assert answer.headers["referrer-policy"] == "no-referrer", path
                assert answer.headers["cross-origin-resource-policy"] == "same-origin", path
                assert "default-src 'none'" in answer.headers["content-security-policy"], path
                assert len(answer.headers.get_list("cache-control")) == 1, path

    run(main())


def test_a_page_of_the_console_is_shown_within_no_other_and_runs_its_own_scripts_alone() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(base_url=address.http, timeout=60) as client:
            for path in ("/", "/chat", "/logs", "/login", "/direct/", "/nowhere/else"):
                answer = await client.get(path, headers={"accept": "text/html"})
                rules = answer.headers["content-security-policy"].split(";")
                policy = dict(rule.strip().partition(" ")[::2] for rule in rules)
                assert policy["frame-ancestors"] == "'none'"
                assert policy["script-src"] == "'self'"
                assert policy["base-uri"] == policy["object-src"] == policy["default-src"] == "'none'"
                assert policy["require-trusted-types-for"] == "'script'"
                assert answer.headers["cross-origin-opener-policy"] == "same-origin"
                assert {(name, value) for name, value in answer.headers.raw} >= set(_EVERY_FILE)

    run(main())


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/assets/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/%2e%2e%2f%2e%2e%2fconsole.py",
        "//etc/passwd",
        "/assets/..\\..\\console.py",
        "/etc/passwd%00.js",
    ],
)
def test_no_path_leads_out_of_the_consoles_files(path: str) -> None:
    async def main() -> None:
        async with gateway() as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: {address.host}\r\nconnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), answer[:200]
            assert b"root:" not in answer
            assert b"content_security_policy" not in answer

    run(main())


PAGE = b"<script>fetch('/api/gateways')</script>"


@pytest.mark.parametrize(
    "kind", ["text/html", "Text/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/plain", ""]
)
def test_what_a_provider_sends_is_no_page_of_the_gateways_host(kind: str) -> None:
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-length: {len(PAGE)}\r\n" + (f"content-type: {kind}\r\n" if kind else "") + "\r\n"
    )

    async def main() -> None:
        async with raw_server(answering(head.encode() + PAGE)) as origin:
            providers = {"custom-page": {"base_url": f"http://{origin.host}:{origin.port}"}}
            async with (
                gateway(providers=providers) as address,
                httpx.AsyncClient(base_url=address.http, timeout=60) as client,
            ):
                answer = await client.get("/v1/local/default/custom-page/x")
                assert answer.content == PAGE
                assert {pair for pair in answer.headers.raw if pair in _OF_NOBODY} == set(_OF_NOBODY)

    run(main())


def test_an_answer_in_json_gets_no_header_that_it_does_not_need() -> None:
    async def main() -> None:
        async with raw_server(answering(json_answer({"a": 1}))) as origin:
            providers = {"custom-page": {"base_url": f"http://{origin.host}:{origin.port}"}}
            async with (
                gateway(providers=providers) as address,
                httpx.AsyncClient(base_url=address.http, timeout=60) as client,
            ):
                answer = await client.get("/v1/local/default/custom-page/x")
                assert "content-security-policy" not in answer.headers

    run(main())


def test_trap_a_picture_in_a_strangers_page_spends_no_key_of_an_open_gateway() -> None:
    asked: list[str] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _, _ = await read_request(reader)
        asked.append(line)
        writer.write(json_answer({}))
        await writer.drain()

    async def main() -> None:
        async with raw_server(upstream) as origin:
            providers = {"openai": {"base_url": f"http://{origin.host}:{origin.port}/v1", "api_key": STORED}}
            async with (
                gateway(providers=providers) as address,
                httpx.AsyncClient(base_url=address.http, timeout=60) as client,
            ):
                from_a_page = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
                url = "/v1/local/default/openai/models"
                assert (await client.get(url, headers=from_a_page)).status_code == 403
                assert asked == []
                assert (await client.get(url)).status_code == 200
                assert len(asked) == 1

    run(main())
