"""What the tests of all clients share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests.clients.stage import Stage, stage
from tests.running import run
from trunkline.local.audio import to_pcm16
from trunkline.local.engines.synthesis import Synthesiser

SPOKEN = "What is the capital of France?"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a client says in one conversation is looked at by several tests: they stay in one process."""
    for item in items:
        told = getattr(item, "callspec", None)
        if told is not None and "with_local" in item.fixturenames or "with_openai" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group(f"{item.path.name}-{told.params['client']}"))


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question, spoken by the local voice."""
    path = tmp_path_factory.mktemp("speech") / "question.pcm"

    async def main() -> None:
        path.write_bytes(to_pcm16(await Synthesiser().speak(SPOKEN)))

    run(main())
    return path


@pytest.fixture(scope="package")
def models() -> Iterator[Stage]:
    """A gateway whose local models are loaded once, for all clients that talk with them."""
    with (
        start_blocking_portal(backend_options={"use_uvloop": True}) as portal,
        portal.wrap_async_context_manager(stage()) as on,
    ):
        yield on
