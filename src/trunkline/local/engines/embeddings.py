"""Text embeddings: MiniLM (int8) on onnxruntime."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np
from tokenizers import Tokenizer

from trunkline.local.audio import FloatArray
from trunkline.local.engines.sessions import open_session
from trunkline.local.models import ModelFiles

DIMENSIONS: Final = 384
_MAX_TOKENS: Final = 256  # what the model was trained on
_THREADS: Final = 2


class Embedded(msgspec.Struct, frozen=True):
    """Unit vectors, one row per text, shape (texts, 384), and the tokens that were read."""

    vectors: FloatArray
    tokens: int


class Embedder:
    """Embeds texts; each is read up to 256 tokens. The model is loaded by the first: voice and chat need none."""

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="embeddings")

    async def embed(self, texts: list[str]) -> Embedded:
        """Return the embeddings of texts, in order."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._embed, texts)

    @cached_property
    def _session(self) -> Any:
        return open_session(self._files.embeddings, threads=_THREADS)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self._files.embeddings_tokenizer))
        tokenizer.enable_truncation(_MAX_TOKENS)
        tokenizer.no_padding()
        return tokenizer

    def _embed(self, texts: list[str]) -> Embedded:
        # One by one: on a CPU several at once are no faster, and take many times the memory.
        tokens = [self._tokenizer.encode(text).ids for text in texts]
        return Embedded(np.stack([self._vector(ids) for ids in tokens]), sum(map(len, tokens)))

    def _vector(self, tokens: list[int]) -> FloatArray:
        ids = np.array([tokens], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(None, inputs)
        mean = hidden[0].mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)
