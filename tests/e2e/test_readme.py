"""The samples of the README, run as they are printed; only the port is that of the test's gateway."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.running import Address, gateway, run

ROOT = Path(__file__).parents[2]


def sample(language: str, address: Address) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
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
