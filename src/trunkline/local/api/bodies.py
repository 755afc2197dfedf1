"""Reading JSON request bodies, with OpenAI's words for what is wrong with them."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from trunkline.local.api.problems import Problem

# Pydantic names its choice of union members and validators in a path; a caller knows only keys and indexes.
_INTERNAL_MARKS = ("[", "(", "function-")
_INTERNAL_NAMES = frozenset({"str", "int", "float", "bool"})


class Body(BaseModel):
    """A request body: unknown parameters are refused, as OpenAI does, so that a typing error is not silent."""

    model_config = ConfigDict(extra="forbid")


B = TypeVar("B", bound=Body)


async def read(request: Request, kind: type[B]) -> B:
    """Return the request's JSON body as ``kind``. Raises `Problem` naming the parameter."""
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise _problem(error) from error


def _problem(error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = _parameter(first["loc"])
    match first["type"]:
        case "json_invalid":
            return Problem(400, "The body is not valid JSON.", code="invalid_json")
        case "missing":
            return Problem(400, f"Missing required parameter: {param}.", code="missing_required_parameter", param=param)
        case "extra_forbidden":
            return Problem(400, f"Unknown parameter: {param}.", code="unknown_parameter", param=param)
        case _:
            return Problem(
                400, f"Invalid value for {param}: {_words(first['msg'])}.", code="invalid_value", param=param
            )


def _words(message: str) -> str:
    return message.removeprefix("Value error, ")


def _parameter(location: tuple[int | str, ...]) -> str:
    words = ""
    for part in location:
        if isinstance(part, int):
            words += f"[{part}]"
        elif part not in _INTERNAL_NAMES and not any(mark in part for mark in _INTERNAL_MARKS):
            words += f".{part}" if words else part
    return words or "body"
