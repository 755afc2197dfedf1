"""What the tests of all clients share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import run
from trunkline.local.audio import to_pcm16
from trunkline.local.engines.synthesis import Synthesiser

SPOKEN = "What is the capital of France?"


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question, spoken by the local voice."""
    path = tmp_path_factory.mktemp("speech") / "question.pcm"

    async def main() -> None:
        path.write_bytes(to_pcm16(await Synthesiser().speak(SPOKEN)))

    run(main())
    return path
