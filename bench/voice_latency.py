"""How long a spoken question waits for the first sound of its answer, and how well it was understood.

Speaks to a running gateway in real time, as a browser does, and prints the figures that docs/local.md reports:

    trunkline serve &
    python bench/voice_latency.py [--url ws://...] [--clips DIRECTORY] [--window 500]

The questions are spoken by the local voice. ``--clips`` adds recordings: every WAV file there, with its words
in a ``.txt`` file of the same name where there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import websockets

from trunkline.local.audio import FloatArray, resample, to_pcm16
from trunkline.local.engines.synthesis import Synthesiser

URL = "ws://127.0.0.1:8787/v1/local/default/local/realtime?model=local"
RATE = 24_000
FRAME_MS = 40
FRAME = RATE * FRAME_MS // 1000
# The end of speech is the last sample this loud: the synthesiser's own trailing silence is none of the user's.
AUDIBLE = 0.01

QUESTIONS = (
    "What is the capital of France?",
    "Tell me something interesting about the moon.",
    "How many days are there in a week?",
    "Can you recommend a good book for a long journey?",
    "Why is the sky blue during the day?",
    "What should I cook for dinner tonight?",
    "Who wrote the play about Romeo and Juliet?",
    "Please explain how a bicycle stays upright.",
    "What is the largest animal in the ocean?",
    "Give me some advice about learning a language.",
    "Where do penguins live?",
    "What is the difference between a lake and a river?",
    "Thank you, that was very helpful.",
)


@dataclass(frozen=True)
class Utterance:
    """A clip at 24 kHz, when its speech ends (ms), and its words where they are known."""

    name: str
    samples: FloatArray
    end_ms: float
    words: str | None


@dataclass
class Turn:
    """What one utterance led to. Times are seconds of the monotonic clock."""

    utterance: Utterance
    speech_ended: float = 0.0
    speech_stopped: float = 0.0
    first_audio: float = 0.0
    transcript: str = ""
    answer: str = ""

    @property
    def end_to_audio_ms(self) -> float:
        return (self.first_audio - self.speech_ended) * 1000

    @property
    def stop_to_audio_ms(self) -> float:
        return (self.first_audio - self.speech_stopped) * 1000


async def spoken_questions() -> list[Utterance]:
    voice = Synthesiser()
    return [utterance(text, await voice.speak(text), text) for text in QUESTIONS]


def recordings(directory: Path) -> list[Utterance]:
    found = []
    for path in sorted(directory.rglob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        words = path.with_suffix(".txt")
        found.append(
            utterance(
                path.name,
                resample(np.ascontiguousarray(samples[:, 0]), rate, RATE),
                words.read_text().strip() if words.exists() else None,
            )
        )
    return found


def utterance(name: str, samples: FloatArray, words: str | None) -> Utterance:
    audible = np.flatnonzero(np.abs(samples) > AUDIBLE)
    end = int(audible[-1]) + 1 if len(audible) else len(samples)
    return Utterance(name, samples, end * 1000 / RATE, words)


class Call:
    """One session: a microphone that never pauses, and a listener."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._queue: list[FloatArray] = []
        self._speech_ended: asyncio.Future[float] | None = None
        self._microphone = asyncio.create_task(self._run_microphone())

    async def set_up(self, window_ms: int) -> None:
        detection = {"type": "server_vad", "silence_duration_ms": window_ms}
        audio = {"input": {"turn_detection": detection, "transcription": {"model": "local"}}}
        await self._send({"type": "session.update", "session": {"type": "realtime", "audio": audio}})
        while (event := await self._event())["type"] != "session.updated":
            if event["type"] == "error":
                raise SystemExit(f"The session cannot be set up: {event['error']['message']}")

    async def ask(self, utterance: Utterance) -> list[Turn]:
        """Say an utterance; return one turn, or none if it was cut into several turns."""
        turn = Turn(utterance)
        self._speech_ended = asyncio.get_running_loop().create_future()
        self._say(utterance)
        stops = 0
        transcribed = answered = False
        while not (transcribed and answered and self._speech_ended.done()):
            event = await self._event()
            match event["type"]:
                case "input_audio_buffer.speech_stopped":
                    stops += 1
                    turn.speech_stopped, turn.first_audio = time.perf_counter(), 0.0
                    transcribed = answered = False
                case "response.output_audio.delta":
                    turn.first_audio = turn.first_audio or time.perf_counter()
                case "response.output_audio_transcript.delta":
                    turn.answer += event["delta"]
                case "conversation.item.input_audio_transcription.completed":
                    turn.transcript = f"{turn.transcript} {event['transcript']}".strip()
                    transcribed = True
                case "response.done":
                    answered = event["response"]["status"] != "cancelled"
                case "error":
                    raise SystemExit(event["error"]["message"])
        turn.speech_ended = self._speech_ended.result()
        return [turn] if stops == 1 and turn.first_audio else []

    def close(self) -> None:
        self._microphone.cancel()

    def _say(self, utterance: Utterance) -> None:
        padding = np.zeros(-len(utterance.samples) % FRAME, np.float32)
        self._ends_after_ms = utterance.end_ms
        self._queue = list(np.concatenate((utterance.samples, padding)).reshape(-1, FRAME))

    async def _run_microphone(self) -> None:
        """Send a frame when its sound would have been recorded: never earlier, silence when nothing is to be said."""
        silence = np.zeros(FRAME, np.float32)
        start, frames = time.perf_counter(), 0
        while True:
            frame_began = start + frames * FRAME_MS / 1000
            frames += 1
            await asyncio.sleep(max(0.0, frame_began + FRAME_MS / 1000 - time.perf_counter()))
            frame = silence
            if self._queue:
                frame = self._queue.pop(0)
                if self._speech_ended and not self._speech_ended.done():
                    if self._ends_after_ms <= FRAME_MS:
                        self._speech_ended.set_result(frame_began + self._ends_after_ms / 1000)
                    self._ends_after_ms -= FRAME_MS
            audio = base64.b64encode(to_pcm16(frame)).decode()
            await self._send({"type": "input_audio_buffer.append", "audio": audio})

    async def _send(self, event: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(event))

    async def _event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await self._socket.recv())
        return event


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def word_errors(reference: list[str], heard: list[str]) -> int:
    """Count the substitutions, insertions and deletions between two texts."""
    row = list(range(len(heard) + 1))
    for count, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], count
        for place, other in enumerate(heard, 1):
            diagonal, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other)),
            )
    return row[-1]


def report(turns: list[Turn], cut: list[str], window_ms: int) -> None:
    print(f"{'end -> audio':>13} {'stop -> audio':>14}  heard")
    for turn in turns:
        print(f"{turn.end_to_audio_ms:>10.0f} ms {turn.stop_to_audio_ms:>11.0f} ms  {turn.transcript}")
    for name in cut:
        print(f"{'cut into several turns':>28}  {name}")
    known = [(words_of(turn.utterance.words), words_of(turn.transcript)) for turn in turns if turn.utterance.words]
    errors = sum(word_errors(reference, heard) for reference, heard in known)
    total = sum(len(reference) for reference, _ in known)
    ends = [turn.end_to_audio_ms for turn in turns]
    stops = [turn.stop_to_audio_ms for turn in turns]
    figures = {
        "window_ms": window_ms,
        "turns": len(turns),
        "end_of_speech_to_audio_ms": {
            "median": round(float(np.median(ends))),
            "p95": round(float(np.percentile(ends, 95))),
        },
        "speech_stopped_to_audio_ms": {
            "median": round(float(np.median(stops))),
            "p95": round(float(np.percentile(stops, 95))),
        },
        "words": total,
        "word_error_percent": round(100 * errors / total, 1) if total else None,
    }
    print(json.dumps(figures, indent=2))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=URL)
    parser.add_argument("--clips", type=Path, help="a directory of WAV files to say too")
    parser.add_argument("--window", type=int, default=500, help="the silence that ends a turn, in ms")
    parser.add_argument("--token", default="", help="the gateway's token, if it asks for one")
    options = parser.parse_args()
    utterances = await spoken_questions()
    if options.clips:
        utterances += recordings(options.clips)
    headers = {"authorization": f"Bearer {options.token}"} if options.token else {}
    turns: list[Turn] = []
    cut: list[str] = []
    async with websockets.connect(options.url, additional_headers=headers, max_size=None, proxy=None) as socket:
        call = Call(socket)
        try:
            await call.set_up(options.window)
            for utterance in utterances:
                heard = await call.ask(utterance)
                turns += heard
                if not heard:
                    cut.append(utterance.name)
        finally:
            call.close()
    report(turns, cut, options.window)


if __name__ == "__main__":
    asyncio.run(main())
