"""The unified API over HTTP: a model of any provider, asked for in OpenAI's words or in Anthropic's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from trunkline.errors import MalformedRequest
from trunkline.server.answer import Answer
from trunkline.server.dataplane import DataPlane, Exchange
from trunkline.server.steps import MAX_ANSWER, StepSender, are_for_one_provider, check_entrance
from trunkline.server.unified_models import model_list
from trunkline.wire.documents import UNREADABLE, json_object, why_unreadable
from trunkline.wire.head import Head
from trunkline.wire.path import UNIFIED, parse_path
from trunkline.wire.refusal import Dialect, dialect_for
from trunkline.wire.universal import Step

_JSON: Final = (b"content-type", b"application/json")
_FIRST_ERROR_STATUS: Final = 400

_encoded: Final = msgspec.json.Encoder().encode


class UnifiedPlane(DataPlane):
    """Serves ``/v1/{account}/{gateway}/compat/...``, and ``run`` beside it."""

    _request_type = "unified"

    async def _relay(self, head: Head, exchange: Exchange) -> None:
        base = _without_endpoint(head)
        check_entrance(self._gateway, base)
        target = parse_path(head.path)
        rest = target.rest.strip("/")
        async with exchange:
            if target.provider == UNIFIED and rest.removeprefix("v1/") == "models":
                await self._list_models(head, base, exchange)
                return
            if head.method != "POST":
                raise MalformedRequest("The unified API takes POST, and GET for its models.")
            body = await exchange.whole_body(head) or b""
            if target.provider == "run":
                await self._run(head, base, exchange, body)
                return
            step = Step(UNIFIED, rest, head.query, [_JSON], body)
            await self._give(head, exchange, await self._sent(base, step, exchange))

    async def _sent(self, base: Head, step: Step, exchange: Exchange) -> Answer:
        is_one = are_for_one_provider(self._gateway, [step])
        return await StepSender(self._gateway, self._dispatch, base, shares_provider_keys=is_one).send(
            step, exchange.entry
        )

    async def _list_models(self, head: Head, base: Head, exchange: Exchange) -> None:
        models = await model_list(self._gateway, base, exchange.entry)
        await exchange.answer(200, [_JSON, *self._gateway.origins.cors_headers(head)], _encoded(models))

    async def _run(self, head: Head, base: Head, exchange: Exchange, body: bytes) -> None:
        """Answer in the form of Cloudflare's ``run``: what a model gave as a whole, or why it did not."""
        model, step = _step_of_run(body)
        answer = await self._sent(base, step, exchange)
        try:
            result = await answer.whole(MAX_ANSWER)
        finally:
            await answer.aclose()
        headers = [_JSON, *answer.told, *self._gateway.origins.cors_headers(head)]
        await exchange.answer(answer.status, headers, _encoded({**_outcome(answer.status, result), "model": model}))

    def _check_origin(self, head: Head) -> None:
        check_entrance(self._gateway, _without_endpoint(head))

    def _dialect(self, head: Head) -> Dialect:
        is_messages = head.path.rstrip("/").endswith("/messages")
        return dialect_for(head.headers, Dialect.ANTHROPIC if is_messages else Dialect.OPENAI)


def _without_endpoint(head: Head) -> Head:
    """Return a head on the path of its gateway alone."""
    return replace(head, path="/".join(head.path.split("/", 4)[:4]))


class _Run(msgspec.Struct, forbid_unknown_fields=True):
    """A request to ``run``. ``provider`` is named here or in ``model``."""

    model: str
    input: dict[str, Any]
    provider: str = ""


def _step_of_run(body: bytes) -> tuple[str, Step]:
    """Return the model that is meant, and the request to it. Raises `MalformedRequest`."""
    try:
        asked = msgspec.json.decode(body, type=_Run)
    except UNREADABLE as error:
        raise MalformedRequest(
            'The body is {"model": "provider/model", "input": {...}}, with messages or texts in input:'
            f" {why_unreadable(error)}."
        ) from error
    model = f"{asked.provider}/{asked.model}" if asked.provider else asked.model
    told = {**asked.input, "model": model}
    if told.pop("stream", False):
        raise MalformedRequest("run gives whole answers; ask compat/chat/completions for a stream.")
    if "prompt" in told and "messages" not in told:
        told["messages"] = [{"role": "user", "content": told.pop("prompt")}]
    if "text" in told and "messages" not in told:
        told["input"] = told.pop("text")
    return model, Step(UNIFIED, "chat/completions" if "messages" in told else "embeddings", "", [_JSON], _encoded(told))


def _outcome(status: int, result: bytes) -> dict[str, Any]:
    document = json_object(result)
    if status < _FIRST_ERROR_STATUS:
        return {"state": "Completed", "result": document}
    error = document.get("error")
    words = error.get("message") if isinstance(error, dict) else None
    return {"state": "Failed", "error": {"code": status, "message": words or "The provider gave no reason."}}
