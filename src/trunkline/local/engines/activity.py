"""Voice activity: whether somebody speaks in a frame (Silero, ONNX)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from trunkline.local.audio import FloatArray
from trunkline.local.engines.sessions import open_session

_RATE: Final = 16_000
_CONTEXT: Final = 64  # samples of the frame before, which the model wants in front of each


class ActivityModel:
    """The model, shared by all detectors. One evaluation takes about 0.1 ms."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, threads=1)
        self._rate = np.array(_RATE, np.int64)

    def evaluate(self, samples: FloatArray, state: FloatArray) -> tuple[float, FloatArray]:
        """Return the probability of speech and the next state."""
        probability, following = self._session.run(
            None, {"input": samples[np.newaxis], "state": state, "sr": self._rate}
        )
        return float(probability[0, 0]), following


class ActivityDetector:
    """The detector of one audio stream: it remembers what it has heard."""

    FRAME: Final = 512
    """Samples of one frame, 32 ms at 16 kHz."""

    def __init__(self, model: ActivityModel) -> None:
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._state: FloatArray = np.zeros((2, 1, 128), np.float32)
        self._context: FloatArray = np.zeros(_CONTEXT, np.float32)

    def probability(self, frame: FloatArray) -> float:
        """Return the probability, 0 to 1, that the next `FRAME` samples (16 kHz, mono) hold speech."""
        probability, self._state = self._model.evaluate(np.concatenate((self._context, frame)), self._state)
        self._context = frame[-_CONTEXT:]
        return probability
