"""Speech to text: Moonshine tiny (English) on onnxruntime."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trunkline.local.audio import FloatArray
from trunkline.local.engines.sessions import open_session
from trunkline.local.models import ModelFiles

SAMPLE_RATE: Final = 16_000

_THREADS: Final = 2
_START, _STOP = 1, 2
_LAYERS, _HEADS, _WIDTH = 6, 8, 36
_TOKENS_PER_SECOND: Final = 6.5
# Below this the model fails or answers a word nobody said.
_SHORTEST: Final = SAMPLE_RATE // 10
_LONGEST: Final = 30 * SAMPLE_RATE
# A long recording is cut at its quietest 20 ms within this reach before the window's end, between words if it can be.
_REACH: Final = 5 * SAMPLE_RATE
_HOP: Final = SAMPLE_RATE // 50


class Recogniser:
    """Recognises whole utterances. The model hears words in pure noise: give it speech only."""

    def __init__(self, files: ModelFiles) -> None:
        self._encoder = open_session(files.recognition_encoder, threads=_THREADS)
        self._decoder = open_session(files.recognition_decoder, threads=_THREADS)
        self._pieces = _read_pieces(files.recognition_tokenizer)
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="recognition")
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._recognise(np.zeros(SAMPLE_RATE, np.float32))

    async def transcribe(self, samples: FloatArray) -> str:
        """Return the words in mono audio at 16 kHz; empty below 0.1 s. Costs about 2 % of the audio's length."""
        if len(samples) < _SHORTEST:
            return ""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._transcribe, samples)

    def _transcribe(self, samples: FloatArray) -> str:
        texts = [self._recognise(window) for window in _windows(samples) if len(window) >= _SHORTEST]
        return " ".join(text for text in texts if text)

    def _recognise(self, window: FloatArray) -> str:
        audio = window[np.newaxis]
        audible = np.ones(audio.shape, np.int64)
        (hidden,) = self._encoder.run(None, {"input_values": audio, "attention_mask": audible})
        # This mask has the length of the audio, not of the encoder's frames; the frames' length crashes long clips.
        inputs: dict[str, Any] = {"encoder_attention_mask": audible, "encoder_hidden_states": hidden}
        inputs |= _empty_cache()
        token, tokens = _START, []
        for step in range(int(len(window) / SAMPLE_RATE * _TOKENS_PER_SECOND) + 1):
            inputs["input_ids"] = np.array([[token]], np.int64)
            inputs["use_cache_branch"] = np.array([step > 0])
            results = dict(zip(self._outputs, self._decoder.run(None, inputs), strict=True))
            token = int(results["logits"][0, -1].argmax())
            if token == _STOP:
                break
            tokens.append(token)
            for name, value in results.items():
                # The encoder's half of the cache never changes after the first step.
                if name.startswith("present.") and (step == 0 or ".decoder." in name):
                    inputs[name.replace("present", "past_key_values")] = value
        return self._text(tokens)

    def _text(self, tokens: list[int]) -> str:
        text = b"".join(self._pieces[token] for token in tokens).decode("utf-8", "replace")
        return text.replace("▁", " ").strip()


def _empty_cache() -> dict[str, NDArray[np.float32]]:
    empty = np.zeros((1, _HEADS, 0, _WIDTH), np.float32)
    return {
        f"past_key_values.{layer}.{side}.{part}": empty
        for layer in range(_LAYERS)
        for side in ("decoder", "encoder")
        for part in ("key", "value")
    }


def _windows(samples: FloatArray) -> list[FloatArray]:
    """Cut long audio into pieces of at most 30 s, at quiet places."""
    windows = []
    while len(samples) > _LONGEST:
        reach = samples[_LONGEST - _REACH : _LONGEST]
        loudness = np.square(reach[: len(reach) // _HOP * _HOP].reshape(-1, _HOP)).mean(axis=1)
        cut = _LONGEST - _REACH + int(loudness.argmin()) * _HOP + _HOP // 2
        windows.append(samples[:cut])
        samples = samples[cut:]
    return [*windows, samples]


def _read_pieces(path: Path) -> list[bytes]:
    """Read the vocabulary: byte strings, each behind its length in one byte, or two from 128 on."""
    data = path.read_bytes()
    pieces, at = [], 0
    while at < len(data):
        length = data[at]
        at += 1
        if length >= 128:
            length = data[at] * 128 + length - 128
            at += 1
        pieces.append(data[at : at + length])
        at += length
    return pieces
