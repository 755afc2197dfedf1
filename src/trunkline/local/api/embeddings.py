"""``/v1/embeddings``."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from trunkline.local.api.bodies import Body, read
from trunkline.local.api.problems import Problem, unknown_model
from trunkline.local.audio import FloatArray
from trunkline.local.engines import Embedder
from trunkline.local.engines.embeddings import DIMENSIONS
from trunkline.local.engines.language import MODEL_NAME

_Text = Annotated[str, Field(min_length=1)]


class EmbeddingRequest(Body):
    """Texts to embed. Token lists are refused: tokens of another model mean nothing here."""

    model: str
    input: _Text | Annotated[list[_Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


async def embed(request: Request, embedder: Embedder) -> JSONResponse:
    """Answer an embedding request."""
    body = await read(request, EmbeddingRequest)
    if body.model != MODEL_NAME:
        raise unknown_model(body.model, MODEL_NAME)
    if body.dimensions not in (None, DIMENSIONS):
        raise Problem(400, f"The local model's embeddings have {DIMENSIONS} dimensions.", param="dimensions")
    embedded = await embedder.embed([body.input] if isinstance(body.input, str) else body.input)
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, body.encoding_format)}
        for index, vector in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    return JSONResponse({"object": "list", "data": data, "model": body.model, "usage": usage})


def _encoded(vector: FloatArray, encoding: str) -> Any:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoding == "base64" else vector.tolist()
