"""The samples of the README and the docs, run as they are printed; only the port is that of the test's gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from tests.running import Address, gateway, run

ROOT = Path(__file__).parents[2]


def sample(language: str, address: Address, page: str = "README.md") -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    return str(found).replace("http://127.0.0.1:8787", address.http)


async def printed(command: list[str], code: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT / "web",  # where the npm client is installed
        env={"PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(code.encode())
    assert process.returncode == 0, errors.decode()
    return output.decode()


def test_every_sample_answers_paris() -> None:
    async def main() -> None:
        async with gateway() as address:
            assert "Paris" in await printed(["sh"], sample("sh", address))
            assert (await printed([sys.executable, "-"], sample("python", address))).count("Paris") == 2
            assert "Paris" in await printed(["node", "--input-type=module", "-"], sample("js", address))

    run(main(), 120)


def test_the_sample_of_a_client_secret_makes_one() -> None:
    async def main() -> None:
        async with gateway() as address:
            made = json.loads(await printed(["sh"], sample("sh", address, "docs/gateways.md")))
            assert made["value"].startswith("ek_tl_")
            assert made["trunkline"].pop("id").startswith("sec_")
            assert made["trunkline"] == {
                "mode": "brokered",
                "url": f"{address.ws}/v1/local/default/local/realtime?model=local",
                "uses": 1,
                "spend_cap": 0.5,
            }

    run(main())
