"""Answers of the console's API whose types are the gateway's own structs: sent as JSON, described in OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response

NO_STORE: Final = {"cache-control": "no-store"}
REFERENCE: Final = "#/components/schemas/{name}"


class Deleted(msgspec.Struct, frozen=True):
    """How many were deleted."""

    deleted: int


def json_answer(answer: Any) -> Response:
    """Return an answer that nobody on the way keeps."""
    return Response(msgspec.json.encode(answer), media_type="application/json", headers=NO_STORE)


def schemas_of(*kinds: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schemas of structs and of all that is in them, by name."""
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    for schema in schemas.values():
        schema["description"] = "\n".join(line.strip() for line in schema.get("description", "").splitlines())
    return schemas


def content_of(kind: type[msgspec.Struct], others: Sequence[str] = ()) -> dict[str, Any]:
    """Describe a body: JSON of a struct, or text of ``others``, which are content types."""
    return {
        "application/json": {"schema": {"$ref": REFERENCE.format(name=kind.__name__)}},
        **{other: {"schema": {"type": "string"}} for other in others},
    }


def answers(kind: type[msgspec.Struct], *others: str) -> dict[int | str, dict[str, Any]]:
    """Describe what a route answers with, as `content_of` does."""
    return {200: {"content": content_of(kind, others)}}
