"""The universal endpoint over HTTP: steps in one request, tried in order until one answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from trunkline.errors import MalformedRequest, NoProviderKey, UnknownAlias, UnknownProvider, UpstreamError
from trunkline.server.answer import Answer
from trunkline.server.dataplane import DataPlane, Exchange
from trunkline.server.routing import STEP_HEADER
from trunkline.server.steps import StepSender, are_for_one_provider, check_entrance
from trunkline.wire.head import Head
from trunkline.wire.refusal import Dialect
from trunkline.wire.universal import Step, parse_steps

log = structlog.get_logger("trunkline.http")


# These say something of the step, so that another may do better. Every other refusal is the caller's.
_FAILURES_OF_A_STEP: Final = (UpstreamError, NoProviderKey, UnknownAlias, UnknownProvider)
_FIRST_ERROR_STATUS: Final = 400


class UniversalPlane(DataPlane):
    """Serves ``/v1/{account}/{gateway}`` over HTTP. A refusal is always Cloudflare's envelope: its clients test it."""

    _request_type = "universal"

    async def _relay(self, head: Head, exchange: Exchange) -> None:
        check_entrance(self._gateway, head)
        if head.method != "POST":
            raise MalformedRequest("The universal endpoint takes POST with an array of steps, or a WebSocket.")
        async with exchange:
            steps = parse_steps(await exchange.whole_body(head) or b"")
            answer = await self._first_success(head, exchange, steps)
            await self._give(head, exchange, answer)

    async def _first_success(self, head: Head, exchange: Exchange, steps: Sequence[Step]) -> Answer:
        """Return the answer of the first step that does not fail, or that of the last, whatever it is."""
        is_one = are_for_one_provider(self._gateway, steps)
        sender = StepSender(self._gateway, self._dispatch, head, shares_provider_keys=is_one)
        *others, last = enumerate(steps)
        for number, step in others:
            answer = await self._success_of(sender, exchange, number, step)
            if answer is not None:
                return answer
        number, step = last
        _say_step(exchange, number)
        return await sender.send(step, exchange.entry, number)

    async def _success_of(self, sender: StepSender, exchange: Exchange, number: int, step: Step) -> Answer | None:
        _say_step(exchange, number)
        try:
            answer = await sender.send(step, exchange.entry, number, is_last=False)
        except _FAILURES_OF_A_STEP as error:
            log.info("step failed", step=number, provider=step.provider, code=error.code, why=error.message)
            return None
        status = answer.status
        if status < _FIRST_ERROR_STATUS:
            return answer
        await answer.aclose()
        log.info("step failed", step=number, provider=step.provider, status=status)
        return None

    def _check_origin(self, head: Head) -> None:
        check_entrance(self._gateway, head)

    def _dialect(self, head: Head) -> Dialect:
        return Dialect.CLOUDFLARE


def _say_step(exchange: Exchange, number: int) -> None:
    exchange.extra = [(STEP_HEADER, str(number).encode())]
