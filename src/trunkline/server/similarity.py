"""Questions that were asked before in other words: found by how near their meanings are, told by the local model.

A process knows the questions that it answered itself since its start, the last few thousand of each kind. Kind means
that all else is the same: who asks whom, which model, what was said before, and the numbers in the question.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec
import structlog

from trunkline.errors import LocalError, TrunklineError, first_line
from trunkline.local.supervisor import LocalWorker
from trunkline.store.cache import Place
from trunkline.upstream.address import parse
from trunkline.upstream.http import HttpPool, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = structlog.get_logger("trunkline.cache")


class Embeddings(Protocol):
    """What tells the meaning of texts."""

    async def __call__(self, text: str) -> Sequence[float] | None:
        """Return the meaning of a text, or None where it cannot be told just now."""

    async def close(self) -> None:
        """Wait for nothing any more."""


PER_SCOPE: Final = 2000
_IN_ALL: Final = 20_000
_CANDIDATES: Final = 3


class Sought(NamedTuple):
    """A question: its kind, and its meaning as a vector of length one."""

    scope: str
    vector: NDArray[np.float32]


class Near(NamedTuple):
    """Where the answer to a question like it is, and how alike they are: the cosine of their meanings."""

    place: Place
    similarity: float


class Similarity:
    """The questions a process has answered."""

    def __init__(self, embed: Embeddings) -> None:
        self._embed = embed
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()
        self._count = 0

    async def seek(self, scope: str, text: str) -> Sought | None:
        """Return a question as it is compared, or None where it cannot be just now."""
        told = await self._embed(text)
        if told is None:
            return None
        try:
            import numpy as np  # late: with the extra `local`, and a quarter of a second
        except ImportError:
            return None
        vector = np.asarray(told, np.float32)
        length = float(np.linalg.norm(vector))
        return Sought(scope, vector / length) if length > 0 else None

    def near(self, sought: Sought, threshold: float) -> list[Near]:
        """Return the questions that are at least so alike, the nearest first."""
        scope = self._scopes.get(sought.scope)
        if scope is None:
            return []
        self._scopes.move_to_end(sought.scope)
        return [near for near in scope.nearest(sought.vector) if near.similarity >= threshold]

    def add(self, sought: Sought, place: Place) -> None:
        """Remember a question, and where its answer is kept; the oldest are forgotten."""
        scope = self._scopes.setdefault(sought.scope, _Scope())
        self._scopes.move_to_end(sought.scope)
        before = len(scope)
        scope.add(sought.vector, place)
        self._count += len(scope) - before
        while self._count > _IN_ALL:
            _, oldest = self._scopes.popitem(last=False)
            self._count -= len(oldest)

    async def close(self) -> None:
        """Wait for nothing any more."""
        await self._embed.close()


class _Scope:
    def __init__(self) -> None:
        self._vectors: deque[NDArray[np.float32]] = deque(maxlen=PER_SCOPE)
        self._places: deque[Place] = deque(maxlen=PER_SCOPE)
        self._matrix: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def add(self, vector: NDArray[np.float32], place: Place) -> None:
        self._vectors.append(vector)
        self._places.append(place)
        self._matrix = None

    def nearest(self, vector: NDArray[np.float32]) -> list[Near]:
        import numpy as np

        if self._matrix is None:
            self._matrix = np.stack(list(self._vectors))
        cosines = self._matrix @ vector
        best = np.argsort(cosines)[::-1][:_CANDIDATES]
        return [Near(self._places[int(at)], min(float(cosines[at]), 1.0)) for at in best]


class _Vector(msgspec.Struct, frozen=True):
    embedding: list[float]


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0


class _Embedded(msgspec.Struct, frozen=True):
    data: list[_Vector]
    usage: _Usage = _Usage()


_embedded: Final = msgspec.json.Decoder(_Embedded)
_SECONDS: Final = 2.0
_LARGEST: Final = 1024 * 1024
# The model reads no more, and texts that differ behind that would be the same to it.
_MAX_TOKENS: Final = 256
_MAX_CHARACTERS: Final = 4000


class LocalEmbeddings:
    """The meaning of texts, by the embedded model. A worker that does not run is started, and not waited for."""

    def __init__(self, worker: LocalWorker, http: HttpPool) -> None:
        self._worker = worker
        self._http = http
        self._starting: asyncio.Task[None] | None = None

    async def __call__(self, text: str) -> Sequence[float] | None:
        """Return the meaning of a text, or None: the worker is not there, or the text is too long for its model."""
        if len(text) > _MAX_CHARACTERS:
            return None
        if self._worker.status.state != "ready":
            self._start()
            return None
        try:
            async with asyncio.timeout(_SECONDS):
                embedded = await self._ask(text)
        except (TrunklineError, TimeoutError, msgspec.MsgspecError) as error:
            log.warning("no meaning of a question could be had", why=first_line(error))
            return None
        if embedded is None or embedded.usage.prompt_tokens >= _MAX_TOKENS or not embedded.data:
            return None
        return embedded.data[0].embedding

    async def close(self) -> None:
        """Stop waiting for the worker."""
        if self._starting is not None:
            self._starting.cancel()

    async def _ask(self, text: str) -> _Embedded | None:
        origin, path = parse(f"{self._worker.base_url}/embeddings")
        headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {self._worker.key}".encode())]
        body = msgspec.json.encode({"model": "local", "input": text.encode("utf-8", "replace").decode()})
        request = Request(b"POST", origin, path.encode(), headers, body, len(body))
        response = await self._http.send(request)
        try:
            found = bytearray()
            async for chunk in response:
                found += chunk
                if len(found) > _LARGEST:
                    return None
        finally:
            await response.aclose()
        return _embedded.decode(found) if response.status == 200 else None

    def _start(self) -> None:
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._started())

    async def _started(self) -> None:
        try:
            await self._worker.ensure_started()
        except LocalError as error:
            log.warning("questions cannot be compared: the local models do not run", why=str(error))


def words_of(similarity: float) -> str:
    """Return what is said of a likeness: cut, so that 1 means that the meanings are the same."""
    return f"{int(similarity * 1000) / 1000:.3f}"
