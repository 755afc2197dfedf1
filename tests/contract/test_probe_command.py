"""``trunkline probe`` as a person or a CI job runs it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.commands import command
from tests.contract.conftest import STRICT_KEY
from tests.contract.raw_server import raw_server
from tests.contract.test_probe import TOKEN, server
from tests.running import Address, gateway, run
from trunkline.probe import PRESETS, Keys, Target, plan
from trunkline.probe.emulation import emulated_gateway

MODELS = ("--model", "test/echo", "--realtime-model", "local")
SECRETS = {"OPENAI_API_KEY": STRICT_KEY, "CF_AIG_TOKEN": TOKEN}


@dataclass
class Ended:
    status: int | None
    out: str
    err: str


async def started(*arguments: str, keys: dict[str, str]) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trunkline", "probe", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, "COLUMNS": "140", **keys},
    )


async def probed(*arguments: str, keys: dict[str, str] | None = None) -> Ended:
    process = await started(*arguments, keys=SECRETS if keys is None else keys)
    out, err = await process.communicate()
    return Ended(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def our_gateway(upstream: Address) -> AsyncIterator[str]:
    providers = {"openai": {"base_url": f"{upstream.http}/v1", "api_key": STRICT_KEY}}
    async with gateway(providers=providers, gateway_token=TOKEN) as address:
        yield f"{address.http}/v1/local/default"


def row(table: str, words: str) -> Sequence[str]:
    """The cells of the first row of a printed table whose head has these words."""
    line = next(line for line in table.splitlines() if words in line)
    return re.split(r" {2,}", line)[1:]


def test_the_same_everywhere_is_status_0_and_a_table_that_needs_no_colour(strict_upstream: Address) -> None:
    async def main() -> None:
        async with our_gateway(strict_upstream) as url:
            ended = await probed(url, *MODELS)
        assert ended.status == 0, ended
        assert row(ended.out, "Shown") == ["HTTP", "SSE", "WS", "WS (browser)"]
        accepted = row(ended.out, "authorization: Bearer [gateway key]")
        assert [cell.split()[0] for cell in accepted] == ["✓", "✓", "✓", "-"]
        assert all(cell.endswith(" ms") for cell in accepted[:3])
        assert row(ended.out, "control: must be refused") == ["✗ 401", "✗ 401", "✗ 3000", "-"]
        assert "✓ accepted, ✗ refused, - not applicable" in ended.out
        assert ended.out.splitlines()[-1] == "Same credential, same result everywhere: yes"
        assert ended.err == ""
        assert "\x1b" not in ended.out

    run(main())


def test_without_a_url_it_asks_the_gateway_of_this_machine(strict_upstream: Address) -> None:
    async def main() -> None:
        async with our_gateway(strict_upstream) as url:
            here = {**SECRETS, "TRUNKLINE_PORT": url.split(":")[2].partition("/")[0]}
            for preset in PRESETS:
                ended = await probed("--preset", preset, *MODELS, keys=here)
                assert ended.status == 0, ended.out + ended.err
                assert url in ended.out

    run(main(), 120)


def test_a_difference_is_status_1_and_explained_before_the_last_line(strict_upstream: Address) -> None:
    async def main() -> None:
        async with emulated_gateway(f"{strict_upstream.http}/v1", token=TOKEN, stored_key=STRICT_KEY) as url:
            ended = await probed(url, *MODELS, "--preset", "realtime")
        assert ended.status == 1, ended
        assert row(ended.out, "Shown") == ["WS", "WS (browser)"]
        *_, explained, last = ended.out.splitlines()
        assert last.startswith("Same credential, same result everywhere: no (")
        assert "Elsewhere the same credential" in explained

    run(main())


def test_an_accepted_wrong_key_is_status_3_and_the_last_word() -> None:
    async def main() -> None:
        async with server() as (url, _):
            ended = await probed(url, *MODELS)
        assert ended.status == 3, ended
        assert ended.out.splitlines()[-1].startswith("A wrong key was accepted (HTTP, SSE, WS, WS (browser))")

    run(main())


def test_without_keys_it_says_which_to_set_and_ends_with_2(strict_upstream: Address) -> None:
    async def main() -> None:
        ended = await probed(f"{strict_upstream.http}/v1", *MODELS, keys={})
        assert ended.status == 2, ended
        assert "Skipped: there is no provider key; set OPENAI_API_KEY." in ended.out
        assert "Skipped: there is no gateway key; set CF_AIG_TOKEN." in ended.out
        assert ended.out.splitlines()[-1] == "Same credential, same result everywhere: nothing to compare"

    run(main())


def test_another_providers_key_is_never_sent() -> None:
    async def main() -> None:
        async with server() as (url, manners):
            ended = await probed(url, "--provider", "groq")
        assert "set GROQ_API_KEY" in ended.out
        assert not [headers for _, headers, _ in manners.requests if STRICT_KEY in json.dumps(headers)]
        assert [headers for _, headers, _ in manners.requests if TOKEN in json.dumps(headers)]

    run(main())


def test_keys_come_from_the_variables_that_are_named() -> None:
    async def main() -> None:
        async with server() as (url, manners):
            keys = {"MY_KEY": "sk-mine", "MY_TOKEN": "gw-mine", **SECRETS}
            await probed(url, "--key-from", "MY_KEY", "--token-from", "MY_TOKEN", keys=keys)
        sent = json.dumps([headers for _, headers, _ in manners.requests])
        assert "sk-mine" in sent
        assert "gw-mine" in sent
        assert STRICT_KEY not in sent
        assert TOKEN not in sent

    run(main())


def test_reports_go_to_files_and_hold_no_key(strict_upstream: Address, tmp_path: Path) -> None:
    async def main() -> None:
        names = {form: tmp_path / f"report.{form}" for form in ("json", "markdown", "junit", "html")}
        flags = [part for form, path in names.items() for part in (f"--{form}", str(path))]
        async with our_gateway(strict_upstream) as url:
            ended = await probed(url, *MODELS, *flags)
        texts = {form: path.read_text("utf-8") for form, path in names.items()}
        assert json.loads(texts["json"])["same_everywhere"] is True
        assert ElementTree.fromstring(texts["junit"]).get("failures") == "0"
        assert "| authorization: Bearer" in texts["markdown"]
        assert texts["html"].startswith("<!doctype html>")
        for text in (*texts.values(), ended.out, ended.err):
            assert "sk-strict" not in text
            assert "gateway-token" not in text
            assert "sk-wrong" not in text

    run(main())


@pytest.mark.parametrize("form", ["json", "markdown", "junit", "html"])
def test_a_report_on_standard_output_has_it_for_itself(form: str) -> None:
    async def main() -> None:
        async with server() as (url, _):
            ended = await probed(url, *MODELS, f"--{form}", "-")
        assert ended.status == 3
        starts = {"json": "{", "markdown": "# Auth matrix", "junit": "<?xml", "html": "<!doctype"}
        assert ended.out.startswith(starts[form])
        assert "Same credential, same result everywhere: yes" in ended.err
        assert "the figure is a time" not in ended.out

    run(main())


def test_ctrl_c_reports_what_was_done() -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(1):  # the first connection only looks whether anybody is there
                asked.set()
                await reader.read()

        async with raw_server(hold) as origin:
            process = await started(f"http://{origin}/v1", "--json", "-", keys=SECRETS)
            await asked.wait()
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
        assert process.returncode == 130, err
        planned = len(plan(Target("https://host/v1"), Keys("sk", "gw")))
        assert f"Stopped after 0 of {planned} cells." in err.decode()
        assert json.loads(out)["complete"] is False
        assert "Traceback" not in err.decode()

    run(main())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://127.0.0.1:1/v1",), "127.0.0.1:1 cannot be probed"),
        (("nonsense",), "begins with http"),
        (("https://user:hidden@host/v1",), "no user, query or fragment"),
        (("https://host/v1", "--provider", "nobody"), "no provider 'nobody'"),
        (("https://host/v1", "--preset", "nothing"), "chat-completion, realtime"),
        (("https://host/v1", "--json", "-", "--html", "-"), "Two reports"),
        (("http://127.0.0.1:1/v1", "--key-from", "BAD"), "BAD holds characters"),
    ],
)
def test_a_mistake_is_one_clear_line_and_status_2(arguments: tuple[str, ...], said: str) -> None:
    ended = command("probe", *arguments, environment={"BAD": "sk-hidden\nkey"})
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert "hidden" not in ended.stderr


def test_help_names_every_exit_status_and_preset_and_takes_no_key() -> None:
    page = command("probe", "--help").stdout
    for status in ("0  the same", "1  it had not", "2  nothing", "3  a wrong key"):
        assert status in page
    for preset in PRESETS:
        assert preset in page
    assert "--key " not in page
    assert "--token " not in page
