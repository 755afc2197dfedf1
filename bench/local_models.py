"""What the local models do in a second, and what memory they take.

Starts the local provider alone and asks it over HTTP, as the gateway does; prints the figures that docs/local.md
reports:

    python bench/local_models.py [--rounds 5] [--model FILE.gguf]

Let the machine do nothing else meanwhile. Memory is what is resident of the worker's process; most of it is the
models' weights, and what the language model keeps of four conversations.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import soundfile

SHORT = "Tell me about the sea."
LONG = "Here is what happened. " + "The cat sat on the mat, and the dog looked at it. " * 110 + "What did the dog do?"
SPEECH = "The quick brown fox jumps over the lazy dog, and runs away into the forest. " * 3
TEXTS = ["How do I bake bread at home?", "The committee met on Tuesday to discuss the budget."] * 16
ANSWER_TOKENS = 120


@contextmanager
def provider(model: str | None) -> Iterator[tuple[httpx.Client, int, float]]:
    """Run the local provider; give a client, the process's id, and how long it took to be ready, in seconds."""
    command = [sys.executable, "-m", "trunkline", "local", "--port", "0"]
    began = time.monotonic()
    process = subprocess.Popen([*command, *(["--model", model] if model else [])], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        address = next(line.split()[-1] for line in process.stderr if "ready" in line)
        with httpx.Client(base_url=address, timeout=300) as client:
            yield client, process.pid, time.monotonic() - began
    finally:
        process.terminate()
        process.wait()


def resident(process: int) -> float:
    """Return a process's resident memory, in MB."""
    lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def chat(client: httpx.Client, words: str) -> tuple[float, float, float]:
    """Return the time to the first word in ms, and the tokens read and written a second."""
    asked = {"model": "local", "messages": [{"role": "user", "content": words}], "max_tokens": ANSWER_TOKENS}
    first, usage = 0.0, {}
    began = time.perf_counter()
    with client.stream(
        "POST", "chat/completions", json={**asked, "stream": True, "stream_options": {"include_usage": True}}
    ) as answer:
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            event: dict[str, Any] = json.loads(line[6:])
            usage = event.get("usage") or usage
            if not first and any(choice["delta"].get("content") for choice in event["choices"]):
                first = time.perf_counter() - began
    writing = time.perf_counter() - began - first
    return first * 1000, usage["prompt_tokens"] / first, (usage["completion_tokens"] - 1) / writing


def four_chats(client: httpx.Client) -> float:
    """Return the tokens a second of four answers at once, together."""
    began = time.perf_counter()
    asked = {"model": "local", "max_tokens": ANSWER_TOKENS}
    questions = [f"{SHORT} {subject}" for subject in ("Its fish.", "Its ships.", "Its storms.", "Its islands.")]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(
            lambda words: client.post(
                "chat/completions", json={**asked, "messages": [{"role": "user", "content": words}]}
            ).json(),
            questions,
        )
        tokens = sum(answer["usage"]["completion_tokens"] for answer in answers)
    return tokens / (time.perf_counter() - began)


def speak(client: httpx.Client) -> tuple[float, bytes, float]:
    """Return seconds of speech made in a second; the speech, and how long it is in seconds."""
    began = time.perf_counter()
    asked = {"model": "local", "input": SPEECH, "voice": "alloy", "response_format": "wav"}
    sound = client.post("audio/speech", json=asked).content
    took = time.perf_counter() - began
    length = soundfile.info(io.BytesIO(sound)).duration
    return length / took, sound, length


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="a GGUF file in place of the built-in language model")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    with provider(arguments.model) as (client, process, ready):
        print(f"ready after {ready:.1f} s")
        print(f"memory when ready: {resident(process):.0f} MB")
        _, sound, length = speak(client)  # all of them once, for what only the first of a kind takes
        speech = {"file": ("speech.wav", sound)}
        for number in range(arguments.rounds):
            # Different each time: what was read a moment ago is not read again.
            for name, words in (("short", SHORT), ("long", LONG)):
                first, read, written = chat(client, f"({number}) {words}")
                note(f"first word, {name} question, ms", first)
                note(f"tokens read a second, {name} question", read)
                note(f"tokens written a second, {name} question", written)
            note("tokens written a second, four answers at once", four_chats(client))
            note("seconds spoken in a second", speak(client)[0])
            took = timed(lambda: client.post("audio/transcriptions", files=speech, data={"model": "local"}))
            note(f"seconds heard in a second, of {length:.0f}", length / took)
        print(f"memory after chats and voice: {resident(process):.0f} MB")
        for _ in range(arguments.rounds):
            took = timed(lambda: client.post("embeddings", json={"model": "local", "input": TEXTS}))
            note("sentences embedded in a second", len(TEXTS) / took)
        print(f"memory after embeddings too: {resident(process):.0f} MB")
    for name, values in found.items():
        print(f"{name}: {statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})")


if __name__ == "__main__":
    main()
