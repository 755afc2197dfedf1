"""The worker process behind a gateway: started on first use, replaced when it dies, and stopped from generating."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.running import gateway, run
from trunkline.errors import ModelsMissing
from trunkline.local.supervisor import LocalWorker
from trunkline.settings import default_data_dir

END_OF_TURN = "2"  # the built-in model's token
ASK = {"model": "local", "messages": [{"role": "user", "content": "What is the capital of France?"}]}


def test_the_worker_starts_with_the_first_request_and_is_replaced_when_it_dies() -> None:
    async def main() -> None:
        async with gateway(has_own_models=True) as address, httpx.AsyncClient(timeout=60) as client:
            url = f"{address.http}/v1/local/default/local/chat/completions"

            async def status() -> str:
                config = (await client.get(f"{address.http}/api/config")).json()
                return str(config["local"]["status"])

            assert await status() == "stopped"
            others = _children()
            first = await client.post(url, json=ASK)
            assert "Paris" in first.json()["choices"][0]["message"]["content"]
            assert await status() == "ready"
            (worker,) = _children() - others
            os.kill(worker, signal.SIGKILL)
            while await status() == "ready":
                pass
            again = await client.post(url, json=ASK)
            assert again.json()["choices"][0]["message"] == first.json()["choices"][0]["message"]

    run(main(), 120)


def _children() -> set[int]:
    """Return the process ids of this process's workers: other gateways of the test run may have theirs."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
            if int(fields[1]) == os.getpid() and b"trunkline.local.worker" in command:
                found.add(int(path.parent.name))
    return found


def test_a_request_whose_client_goes_away_stops_generating() -> None:
    async def main() -> None:
        async with gateway(has_own_models=True) as address, httpx.AsyncClient(timeout=60) as client:
            url = f"{address.http}/v1/local/default/local/chat/completions"
            endless = {
                "model": "local",
                "messages": [{"role": "user", "content": "Write the longest story you can."}],
                "logit_bias": {END_OF_TURN: -100},
                "max_tokens": 1900,
            }
            # The model answers four at a time, and each of these takes it a quarter of a minute at least: had they gone
            # on, the last request would wait for three times four of them.
            async with client.stream("POST", url, json={**endless, "stream": True}) as first:
                pieces = first.aiter_bytes()
                await anext(pieces)
                asking = [asyncio.create_task(client.post(url, json=endless)) for _ in range(12)]
                for _ in range(100):
                    await anext(pieces)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            answer = await client.post(url, json=ASK)
            assert "Paris" in answer.json()["choices"][0]["message"]["content"]

    run(main(), 90)


def test_without_models_the_answer_names_the_command_that_brings_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(data_dir=tmp_path) as address, httpx.AsyncClient() as client:
            answer = await client.post(f"{address.http}/v1/local/default/local/chat/completions", json=ASK)
            config = (await client.get(f"{address.http}/api/config")).json()
        assert answer.status_code == 502
        assert "trunkline models install" in answer.json()["error"]["message"]
        assert config["local"]["status"] == "missing-models"

    run(main())


def test_a_model_file_that_is_not_there_is_named() -> None:
    async def main() -> None:
        worker = LocalWorker(default_data_dir(), "/nowhere/brain.gguf")
        try:
            with pytest.raises(ModelsMissing, match=r"/nowhere/brain\.gguf"):
                await worker.ensure_started()
        finally:
            await worker.stop()

    run(main())


def test_loading_the_models_leaves_nothing_in_the_users_home(tmp_path: Path) -> None:
    """One of their libraries reports to its maker, and writes an identity there, unless it is told not to."""
    load = (
        "import pathlib, sys\nfrom trunkline.local.engines import Engines\nEngines(pathlib.Path(sys.argv[1])).close()"
    )
    command = [sys.executable, "-c", load, str(default_data_dir() / "models")]
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run(command, env=environment, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []
