"""Text embeddings: MiniLM (int8) on onnxruntime."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import numpy as np
from tokenizers import Tokenizer

from trunkline.local.audio import FloatArray
from trunkline.local.engines.sessions import open_session
from trunkline.local.models import ModelFiles

DIMENSIONS: Final = 384
_MAX_TOKENS: Final = 256  # what the model was trained on
_BATCH: Final = 16
_THREADS: Final = 2


class Embedded(msgspec.Struct, frozen=True):
    """Unit vectors, one row per text, shape (texts, 384), and the tokens that were read."""

    vectors: FloatArray
    tokens: int


class Embedder:
    """Embeds texts; each is read up to 256 tokens."""

    def __init__(self, files: ModelFiles) -> None:
        self._session = open_session(files.embeddings, threads=_THREADS)
        self._tokenizer = Tokenizer.from_file(str(files.embeddings_tokenizer))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="embeddings")

    async def embed(self, texts: list[str]) -> Embedded:
        """Return the embeddings of texts, in order."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._embed, texts)

    def _embed(self, texts: list[str]) -> Embedded:
        batches = [self._embed_batch(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
        return Embedded(np.concatenate([batch.vectors for batch in batches]), sum(batch.tokens for batch in batches))

    def _embed_batch(self, texts: list[str]) -> Embedded:
        encodings = self._tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        (hidden,) = self._session.run(
            None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        )
        weights = mask[:, :, np.newaxis].astype(np.float32)
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        vectors = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return Embedded(vectors.astype(np.float32), int(mask.sum()))
