"""The shapes that every answer of Cloudflare's API has: an envelope, pages, and errors with a number and a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
import structlog
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from trunkline.errors import GatewayError, MalformedRequest, NotPermitted, SettingsError, UnknownGateway, first_line
from trunkline.store import AWAY

log = structlog.get_logger("trunkline.management")

T = TypeVar("T")

MAX_PER_PAGE: Final = 100
# Cloudflare's numbers: who asks is not known or may not, what was asked for is not there, what was sent is not right.
AUTHENTICATION: Final = 10000
NOT_FOUND: Final = 7003
INVALID: Final = 7001
UNAVAILABLE: Final = 7000
# And of custom providers.
PROVIDER_INVALID: Final = 1002
PROVIDER_TAKEN: Final = 1003
PROVIDER_NOT_FOUND: Final = 1004

_CUSTOM_PROVIDERS: Final = "/ai-gateway/custom-providers"


class Problem(BaseModel):
    """One thing that is wrong. ``path`` leads to the field at fault."""

    code: int
    message: str
    path: list[str | int] | None = None


class Envelope(BaseModel, Generic[T]):
    """An answer."""

    success: Literal[True] = True
    errors: list[Problem] = []
    messages: list[Problem] = []
    result: T


class ResultInfo(BaseModel):
    """Which page a list is. Further fields are what was asked for about all of it."""

    model_config = ConfigDict(extra="allow")

    page: int
    per_page: int
    count: int
    total_count: int
    total_pages: int


class Listing(Envelope[list[T]], Generic[T]):
    """A page of a list; those behind the last are empty."""

    result_info: ResultInfo


class Refused(BaseModel):
    """An answer to what could not be done."""

    success: Literal[False] = False
    errors: list[Problem]
    messages: list[Problem] = []
    result: None = None


class Paging(msgspec.Struct, frozen=True):
    """Which page is asked for, from 1."""

    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Query(ge=1, le=MAX_PER_PAGE)] = 20

    @property
    def offset(self) -> int:
        """How many entries come before it."""
        return (self.page - 1) * self.per_page

    def info(self, count: int, total: int, **more: Any) -> ResultInfo:
        """Describe a page with ``count`` entries of ``total``."""
        return ResultInfo(
            page=self.page,
            per_page=self.per_page,
            count=count,
            total_count=total,
            total_pages=math.ceil(total / self.per_page),
            **more,
        )

    def cut(self, entries: Sequence[T]) -> Listing[T]:
        """Return the page of a list that is known whole."""
        found = list(entries[self.offset : self.offset + self.per_page])
        return Listing(result=found, result_info=self.info(len(found), len(entries)))


def moment(at: float) -> datetime:
    """Return a time in Unix seconds as it is written in answers."""
    return datetime.fromtimestamp(at, UTC)


def matches(search: str | None, *texts: str) -> bool:
    """Whether any text contains what is searched for, whatever the case."""
    return not search or any(search.casefold() in text.casefold() for text in texts)


def answer_errors(api: FastAPI) -> None:
    """Make every error of an application an envelope."""
    api.add_exception_handler(GatewayError, _refuse)
    api.add_exception_handler(SettingsError, _complain_about_value)
    api.add_exception_handler(RequestValidationError, _complain)
    api.add_exception_handler(HTTPException, _explain)
    for away in AWAY:
        api.add_exception_handler(away, _put_off)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GatewayError)
    match error:
        case UnknownGateway():
            return _answer(404, Problem(code=NOT_FOUND, message=error.message))
        case MalformedRequest():
            return _answer(400, Problem(code=_invalid(request), message=error.message))
        case NotPermitted():
            return _answer(403, Problem(code=AUTHENTICATION, message=error.message))
        case _:
            code = AUTHENTICATION if error.status in (401, 403) else error.code
            return _answer(error.status, Problem(code=code, message=error.message))


async def _complain_about_value(request: Request, error: Exception) -> JSONResponse:
    return _answer(400, Problem(code=_invalid(request), message=str(error)))


async def _complain(request: Request, error: Exception) -> JSONResponse:
    """Say which fields are wrong and how, and never what was in them: it may be a key."""
    assert isinstance(error, RequestValidationError)
    problems = []
    for fault in error.errors():
        place = list(fault["loc"][1:])
        name = ".".join(map(str, place)) or str(fault["loc"][0])
        problems.append(Problem(code=_invalid(request), message=f"{name}: {fault['msg']}.", path=place))
    return _answer(400, *problems)


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """Answer for the framework: no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    message = f"{phrase}: {request.method} {request.url.path[:200]}; /client/v4/openapi.json lists what there is."
    return _answer(error.status_code, Problem(code=NOT_FOUND, message=message))


async def _put_off(request: Request, error: Exception) -> JSONResponse:
    log.error("the database cannot be used", why=first_line(error))
    message = "The gateway cannot use its database at the moment; try again in a while."
    return _answer(503, Problem(code=UNAVAILABLE, message=message))


def _answer(status: int, *problems: Problem) -> JSONResponse:
    return JSONResponse(Refused(errors=list(problems)).model_dump(exclude_none=True) | {"result": None}, status)


def _invalid(request: Request) -> int:
    return PROVIDER_INVALID if _CUSTOM_PROVIDERS in request.url.path else INVALID
