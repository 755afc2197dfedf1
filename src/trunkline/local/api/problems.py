"""Refusals in OpenAI's words: an error object over HTTP, an event and a close code on a WebSocket."""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

from starlette.responses import JSONResponse

from trunkline.local.codes import ProblemCode

INVALID: Final = "invalid_request_error"


class Problem(Exception):
    """A request that is refused. ``close_code`` is used when it came as a WebSocket."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID,
        code: ProblemCode | None = None,
        param: str | None = None,
        close_code: int = 4000,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"message": message, "type": type, "param": param, "code": code}
        self.close_code = close_code
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """Return the HTTP answer."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return JSONResponse({"error": self.error}, self.status, headers)

    def event(self) -> str:
        """Return the ``error`` event for a WebSocket."""
        error = {**self.error, "event_id": None}
        return json.dumps({"type": "error", "event_id": f"event_{secrets.token_hex(10)}", "error": error})

    @property
    def close_reason(self) -> str:
        """The reason that goes with the close code."""
        return f"{self.error['type']}.{self.error['code']}"


def unknown_model(model: str, known: str) -> Problem:
    """Return the refusal of a model that is not served."""
    message = f"The model {model!r} does not exist here. Served is {known!r}, and test/... for tests."
    return Problem(404, message, code="model_not_found", param="model", close_code=4004)
