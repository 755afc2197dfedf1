"""What every driver shares: what it is told, and how it reports.

A driver is started with BASE_URL, API_KEY, MODEL, SPEECH (a file of 16-bit mono at 24 kHz) and SCENARIOS in its
environment. It goes through the scenarios one after another and prints one JSON object with what each of them saw.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

Report = dict[str, Any]

BASE_URL = os.environ["BASE_URL"]
API_KEY = os.environ["API_KEY"]
MODEL = os.environ["MODEL"]
CALL_ID = os.environ.get("CALL_ID", "")

RATE = 24_000
FRAME = 1920  # bytes of 40 ms
QUIET_FRAMES = 40
SECONDS = 60  # only ends a scenario that hangs

BRIEF = "Answer in one sentence."
LENGTHY = "You tell very long stories."
GREETING = "What is the capital of France?"
WEATHER = "What is the weather like in Paris?"
STORY = "Tell me a very long story about the sea. I want a long story."
REPORT_OF_WEATHER = "rain at nine degrees"
FUNCTION = "get_weather"
ABOUT_FUNCTION = "Get the weather in a city."
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def speech() -> bytes:
    return Path(os.environ["SPEECH"]).read_bytes()


async def microphone() -> AsyncIterator[bytes]:
    """Yield speech and the silence that ends the turn, about as fast as it is spoken."""
    audio = speech() + bytes(FRAME * QUIET_FRAMES)
    for at in range(0, len(audio), FRAME):
        yield audio[at : at + FRAME]
        await asyncio.sleep(0.02)


async def spoken_base64() -> AsyncIterator[str]:
    async for frame in microphone():
        yield base64.b64encode(frame).decode()


def run(**scenarios: Callable[[], Awaitable[Report]]) -> None:
    """Go through the scenarios that SCENARIOS names, and print what came of them."""

    async def main() -> dict[str, Report]:
        reports = {}
        for name in os.environ["SCENARIOS"].split():
            try:
                reports[name] = await asyncio.wait_for(scenarios[name](), SECONDS)
            except Exception:
                reports[name] = {"failure": traceback.format_exc()}
        return reports

    reports = asyncio.run(main())
    sys.stdout.write(json.dumps(reports) + "\n")
    sys.stdout.flush()
    # The libraries leave threads of their own behind, some of which never end.
    os._exit(0)
