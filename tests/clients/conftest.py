"""What the tests of all clients share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.clients.stage import Stage, stage
from tests.running import run
from trunkline.local.audio import to_pcm16
from trunkline.local.engines.synthesis import Synthesiser

SPOKEN = "What is the capital of France?"


class ByConversation(LoadScopeScheduling):
    """What a client says in one conversation is looked at by several tests of a file: they stay in one process.

    Marks of pytest-xdist for groups do not reach it with every release of pytest.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        _, has_parameters, parameters = test.partition("[")
        return f"{file}[{parameters}" if has_parameters else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByConversation:
    return ByConversation(config, log)


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
