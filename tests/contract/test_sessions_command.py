"""``trunkline sessions`` beside a running gateway, and against what it left in the data directory."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.contract.test_dataplane import openai_at
from tests.contract.test_sessions_api import answering
from tests.contract.test_voiceplane import dial, refusal_of, upstream_of
from tests.running import Address, data_directory, gateway, run

TOKEN = "gateway-token-of-many-characters"
# A model whose name would colour a terminal.
STEERING = "/v1/local/default/openai/realtime?model=gpt-realtime%1B%5B31m%5Bred%5D"


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


async def sessions(*arguments: str, data_dir: Path, **environment: str) -> Result:
    """Run ``trunkline sessions ARGUMENTS`` and return what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trunkline", "sessions", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, "TRUNKLINE_DATA_DIR": str(data_dir), **environment},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def gateway_at(data_dir: Path, **settings: str) -> AsyncIterator[Address]:
    async with (
        upstream_of(answering) as origin,
        gateway(data_dir=data_dir, **settings, **openai_at(origin)) as address,
    ):
        yield address


def test_a_session_is_watched_killed_and_read_afterwards() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with gateway_at(data_dir) as address:
                at = ("--url", address.http)
                assert (await sessions(*at, data_dir=data_dir)).out == "No session is open.\n"
                async with dial(address, STEERING, authorization="Bearer sk-1234567890") as socket:
                    await socket.send("{}")
                    await socket.recv()
                    await socket.recv()
                    (seen,) = json.loads((await sessions(*at, "--json", data_dir=data_dir)).out)
                    table = (await sessions(*at, data_dir=data_dir)).out
                    assert seen["id"] in table
                    assert "gpt-realtime" in table
                    assert "\x1b" not in table
                    killed = await sessions("kill", seen["id"], *at, data_dir=data_dir)
                    assert (killed.status, killed.out) == (0, "")
                    error, _ = await refusal_of(socket)
                    assert error["code"] == "session_terminated"
                unknown = await sessions("kill", seen["id"], *at, data_dir=data_dir)
                assert unknown.status == 2
                assert "404" in unknown.err
            # The gateway has stopped: what it kept is in the data directory.
            listed = await sessions("list", "--provider", "openai", "--since", "1h", data_dir=data_dir)
            assert seen["id"] in listed.out
            assert "gateway 4000" in listed.out
            shown = (await sessions("show", seen["id"], data_dir=data_dir)).out
            assert "20 output text" in shown
            assert "by the gateway, 4000" in shown
            assert "Turn" in shown
            assert "\x1b" not in shown
            whole = json.loads((await sessions("show", seen["id"], "--json", data_dir=data_dir)).out)
            assert whole["report"]["turn_count"] == 1
            assert "sk-1234567890" not in shown + listed.out + json.dumps(whole)
            gone = await sessions("--url", address.http, data_dir=data_dir)
            assert gone.status == 2
            assert "Is `trunkline serve` running there?" in gone.err

    run(main())


def test_a_token_is_taken_from_a_variable_and_that_of_the_settings_goes_to_no_other_address() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with gateway_at(data_dir, gateway_token=TOKEN) as address:
                at = ("--url", address.http)
                port = str(address.port)
                refused = await sessions(*at, data_dir=data_dir, TRUNKLINE_GATEWAY_TOKEN=TOKEN)
                assert refused.status == 2
                assert "--token-from" in refused.err
                given = await sessions(*at, "--token-from", "T", data_dir=data_dir, T=TOKEN)
                assert (given.status, given.out) == (0, "No session is open.\n")
                here = await sessions(data_dir=data_dir, TRUNKLINE_GATEWAY_TOKEN=TOKEN, TRUNKLINE_PORT=port)
                assert (here.status, here.out) == (0, "No session is open.\n")
                assert TOKEN not in refused.err + given.err + here.err

    run(main())


def test_wrong_words_are_answered_with_what_to_do() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            for arguments, said in (
                (("show", "nothing"), "see `trunkline sessions list`"),
                (("list", "--since", "yesterday"), "7d"),
                (("kill", "../records"), "no id of a session"),
                (("--url", "ftp://x"), "https://HOST:8787"),
                (("--token-from", "NOT_SET"), "NOT_SET is not set"),
                (("--json", "kill", "X"), "behind the command"),
            ):
                result = await sessions(*arguments, data_dir=data_dir)
                assert (result.status, result.out) == (2, "")
                assert said in result.err

    run(main())
