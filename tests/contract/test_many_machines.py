"""Three gateways with folders of their own behind nginx, one PostgreSQL and one Valkey: as three machines are."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import websockets

from tests.commands import command
from tests.contract.conftest import STRICT_KEY
from tests.contract.test_deploy import DEPLOY
from tests.contract.test_deploy import program as installed
from tests.contract.waiting import until
from tests.databases import Postgres
from tests.running import Address, Program, program, run
from tests.valkeys import ValkeyServer, valkey_server

TOKEN: Final = "machines-token-0123456789abcdef"
CLIENTS: Final = 6
# Between a client's questions: gateways that start are to have some of the machine.
PAUSE: Final = 0.05
# As much as a rule lets pass, of twice that.
LIMIT: Final = 30
PRICE: Final = 0.01
PATH: Final = "/v1/local/default/openai"


@dataclass
class Machine:
    """A gateway with a folder of its own, that is stopped and started again at the same address."""

    folder: Path
    environment: dict[str, str]
    port: int = 0
    running: Program | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        arguments = ("serve", "--port", str(self.port), "--data-dir", str(self.folder))
        self.running = self._stack.enter_context(program(*arguments, environment=self.environment))
        self.port = self.running.address.port

    def restart(self) -> None:
        """As systemd does it."""
        assert self.running is not None
        self.running.process.send_signal(signal.SIGTERM)
        assert self.running.process.wait(60) == -signal.SIGTERM, "it ended in good order"
        self._stack.close()
        self.start()

    def stop(self) -> None:
        self._stack.close()


@dataclass
class Fleet:
    machines: Sequence[Machine]
    front: Address
    postgres: Postgres
    database: str

    def rows(self, where: str) -> list[Any]:
        return self.postgres.fetch(f"SELECT status, count(*) FROM logs WHERE {where} GROUP BY status", self.database)


@contextmanager
def nginx(folder: Path, ports: Sequence[int]) -> Iterator[Address]:
    """Run nginx with the configuration of deploy/, with these addresses and without TLS."""
    port = free_port()
    text = (DEPLOY / "compose" / "nginx.conf").read_text()
    for number, other in enumerate(ports, 1):
        text = text.replace(f"gateway-{number}:8787", f"127.0.0.1:{other}")
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    (folder / "trunkline.conf").write_text(text)
    main = folder / "nginx.conf"
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    main.write_text(
        f"daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{ worker_connections 1024; }} http {{ {temporary} include {folder}/trunkline.conf; }}"
    )
    process = subprocess.Popen([installed("nginx"), "-p", folder, "-e", f"{folder}/error.log", "-c", main])
    try:
        yield Address("http", "127.0.0.1", port)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(20)


TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
        return found


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="module")
def fleet(
    strict_upstream: Address, postgres: Postgres, valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    url = postgres.fresh()
    environment = {
        "TRUNKLINE_DATABASE_URL": url,
        "TRUNKLINE_VALKEY_URL": valkey.url,
        "TRUNKLINE_MASTER_KEY": "5" * 64,
        "TRUNKLINE_GATEWAY_TOKEN": TOKEN,
        "TRUNKLINE_DRAIN_TIMEOUT": "5",
        "TRUNKLINE_PROVIDERS__OPENAI__BASE_URL": f"{strict_upstream.http}/v1",
        "TRUNKLINE_PROVIDERS__OPENAI__API_KEY": STRICT_KEY,
    }
    for rule in (
        ("--measure", "requests", "--limit", str(LIMIT), "--where", "metadata.kind=counted", "--id", "counted"),
        ("--measure", "cost", "--limit", str(LIMIT * PRICE), "--where", "metadata.kind=paid", "--id", "paid"),
    ):
        made = command("limits", "add", "default", *rule, "--window", "1d", environment=environment)
        assert made.returncode == 0, made.stderr
    machines = [Machine(tmp_path_factory.mktemp("machine"), environment) for _ in range(3)]
    try:
        machines[0].start()
        give_prices(machines[0].port)
        with ThreadPoolExecutor() as at_once:
            list(at_once.map(Machine.start, machines[1:]))
        with nginx(tmp_path_factory.mktemp("nginx"), [machine.port for machine in machines]) as front:
            wait_for(front)
            yield Fleet(machines, front, postgres, url.rpartition("/")[2])
    finally:
        for machine in machines:
            machine.stop()
        postgres.drop(url)


def give_prices(port: int) -> None:
    """Have every answer cost as much; those who start later read it with the rest of the set-up."""
    prices = {"logging": {"custom_costs": [{"model": "*", "prices": {"total_cost": PRICE}}]}}
    headers = {"authorization": f"Bearer {TOKEN}"}
    httpx.patch(
        f"http://127.0.0.1:{port}/api/gateways/default", json=prices, headers=headers, timeout=60
    ).raise_for_status()


def wait_for(front: Address) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            assert httpx.get(f"{front.http}/readyz").status_code == 200
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def client(front: Address) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=front.http, headers={"cf-aig-authorization": f"Bearer {TOKEN}"}, timeout=60)


def question(words: str, *, stream: bool = False) -> dict[str, Any]:
    return {"model": "test/echo", "messages": [{"role": "user", "content": words}], "stream": stream}


def words_of(stream: str) -> str:
    chunks = [json.loads(data) for data in re.findall(r"^data: (\{.*)$", stream, re.MULTILINE)]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


async def ask_until(over: asyncio.Event, front: Address, name: str) -> int:
    """Ask one question after the other, whole and streamed in turn; return how many were answered, each rightly."""
    number = 0
    async with client(front) as asking:
        while not over.is_set():
            number += 1
            words, stream = f"{name} asks number {number} of many words", number % 2 == 0
            answer = await asking.post(f"{PATH}/chat/completions", json=question(words, stream=stream))
            assert answer.status_code == 200, answer.text
            if stream:
                assert answer.text.rstrip().endswith("data: [DONE]")
                assert words_of(answer.text) == words
            else:
                assert answer.json()["choices"][0]["message"]["content"] == words
            await asyncio.sleep(PAUSE)
    return number


def test_a_rolling_restart_under_load_fails_no_request_and_loses_no_row(fleet: Fleet) -> None:
    async def main() -> None:
        over = asyncio.Event()
        asking = [asyncio.create_task(ask_until(over, fleet.front, f"client {number}")) for number in range(CLIENTS)]
        for machine in fleet.machines:
            await asyncio.to_thread(machine.restart)
            assert not [task for task in asking if task.done()], "all of them go on asking"
        over.set()
        answered = sum(await asyncio.gather(*asking))
        assert answered > CLIENTS * 3

        async def all_rows() -> list[Any] | None:
            found = await asyncio.to_thread(fleet.rows, "provider = 'openai'")
            return found if sum(count for _, count in found) >= answered else None

        assert await until(all_rows) == [(200, answered)]

    run(main(), 300)


@pytest.mark.parametrize(("kind", "refused"), [("counted", "2003"), ("paid", "2041")])
def test_a_limit_and_a_budget_are_exact_across_machines_and_a_restart(fleet: Fleet, kind: str, refused: str) -> None:
    headers = {"cf-aig-metadata": json.dumps({"kind": kind})}

    async def main() -> None:
        async with client(fleet.front) as asking:

            async def ask(_: int) -> tuple[int, str]:
                answer = await asking.post(f"{PATH}/chat/completions", json=question("x"), headers=headers)
                return answer.status_code, answer.headers.get("cf-aig-error-code", "")

            first = await asyncio.gather(*map(ask, range(LIMIT // 2)))
            if kind == "counted":
                await asyncio.to_thread(fleet.machines[0].restart)
            rest = await asyncio.gather(*map(ask, range(2 * LIMIT - LIMIT // 2)))
            assert sorted([*first, *rest]) == [(200, "")] * LIMIT + [(429, refused)] * LIMIT

    run(main(), 300)


def test_a_websocket_passes_nginx_and_a_stream_comes_piece_by_piece(fleet: Fleet) -> None:
    async def main() -> None:
        protocols = ["realtime", f"openai-insecure-api-key.{TOKEN}"]
        url = f"{fleet.front.ws}{PATH}/realtime?model=test/echo"
        async with websockets.connect(url, subprotocols=protocols) as socket:  # type: ignore[arg-type]
            await socket.send('{"type": "hello"}')
            assert await socket.recv() == '{"type": "hello"}'
        async with client(fleet.front) as asking:
            slow = {**question("x", stream=True), "model": "test/slow-stream-20"}
            pieces = 0
            async with asking.stream("POST", f"{PATH}/chat/completions", json=slow) as answer:
                async for _ in answer.aiter_raw():
                    pieces += 1
        assert pieces > 25, "half of them at least came by themselves"

    run(main())


def test_figures_are_for_the_network_within_and_have_the_names_that_alerts_ask_for(fleet: Fleet) -> None:
    assert httpx.get(f"{fleet.front.http}/metrics").status_code == 404
    own = f"http://127.0.0.1:{fleet.machines[0].port}/metrics"
    page = httpx.get(own, headers={"authorization": f"Bearer {TOKEN}"}, timeout=60).raise_for_status().text
    text = (DEPLOY.parent / "docs" / "operations.md").read_text("utf-8")
    asked = set(re.findall(r"\btrunkline_[a-z_]+", text))
    assert len(asked) > 5
    assert asked <= set(re.findall(r"^trunkline_[a-z_]+", page, re.MULTILINE))
