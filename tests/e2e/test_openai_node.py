"""The official npm client, unmodified, over the TLS listener: it refuses to speak ``ws:``."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from tests.contract.conftest import STRICT_KEY
from tests.running import Address, gateway, run
from trunkline.local import models
from trunkline.settings import default_data_dir

CLIENT = Path(__file__).parents[2] / "web" / "tests" / "clients" / "openai-realtime.mjs"


async def answers(address: Address, provider: str, key: str, authority: Path) -> dict[str, str]:
    process = await asyncio.create_subprocess_exec(
        "node",
        CLIENT,
        env={
            "PATH": os.environ["PATH"],
            "BASE_URL": f"{address.http}/v1/local/default/{provider}",
            "API_KEY": key,
            "NODE_EXTRA_CA_CERTS": str(authority),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    found: dict[str, str] = json.loads(output)
    return found


def test_the_npm_client_chats_and_talks_with_one_key(tmp_path: Path, strict_upstream: Address) -> None:
    async def main() -> None:
        models.directory_in(tmp_path).symlink_to(models.directory_in(default_data_dir()))
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1"}}
        async with gateway(tls="local", data_dir=tmp_path, providers=providers) as address:
            authority = tmp_path / "tls" / "authority.pem"
            for provider, key in (("local", "unused"), ("openai", STRICT_KEY)):
                found = await answers(address, provider, key, authority)
                assert all("Paris" in said for said in found.values()), found

    run(main(), 120)
