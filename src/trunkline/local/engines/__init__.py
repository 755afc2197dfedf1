"""The models of the worker, loaded once: language, recognition, synthesis, voice activity and embeddings.

Every engine is safe to call from the event loop: what takes longer than a millisecond runs in threads of its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trunkline.local import models
from trunkline.local.engines.activity import ActivityDetector, ActivityModel
from trunkline.local.engines.embeddings import Embedder
from trunkline.local.engines.language import LanguageError, LanguageModel
from trunkline.local.engines.recognition import Recogniser
from trunkline.local.engines.synthesis import Synthesiser, UnspeakableText

__all__ = [
    "ActivityDetector",
    "Embedder",
    "Engines",
    "LanguageError",
    "LanguageModel",
    "Recogniser",
    "Synthesiser",
    "UnspeakableText",
]


class Engines:
    """All engines of one process."""

    def __init__(self, models_directory: Path, language: Path | None = None) -> None:
        """Load and warm every model but the one for embeddings, which takes about a second.

        Raises `ModelsMissing` naming what is absent.
        """
        files = models.locate(models_directory, language)
        with ThreadPoolExecutor(thread_name_prefix="load") as pool:
            # The language model's load is mostly reading, the others' mostly building graphs: they overlap well.
            answering = pool.submit(LanguageModel, files.language, builtin=language is None)
            hearing = pool.submit(Recogniser, files)
            speaking = pool.submit(Synthesiser)
            self._activity = ActivityModel(files.voice_activity)
            self.embedder = Embedder(files)
            self.language = answering.result()
            self.recogniser = hearing.result()
            self.synthesiser = speaking.result()

    def activity(self) -> ActivityDetector:
        """Return a voice activity detector for one session."""
        return ActivityDetector(self._activity)

    def close(self) -> None:
        """Stop all generation and release the language model: the process may then end without a crash."""
        self.language.close()
