"""Asking a model whether a text breaks a rule. Any provider with OpenAI-compatible chat completions will do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from trunkline.errors import GatewayError, UpstreamError
from trunkline.policy.guards.findings import NO_VERDICT, Finding
from trunkline.policy.guards.guarding import Guard
from trunkline.policy.guards.judging import NoVerdict, messages, schema, verdict
from trunkline.policy.guards.rules import JudgeOptions, Side
from trunkline.server.admission import Admission
from trunkline.server.logbook import failed
from trunkline.wire.documents import json_object
from trunkline.wire.head import Head, Transport

if TYPE_CHECKING:
    from trunkline.server.gateway import Gateway  # which has these checks

log = structlog.get_logger("trunkline.guards")

_MAX_ANSWER: Final = 256 * 1024
_REMEMBERED: Final = 1024
_LOCAL_ANSWER_TOKENS: Final = 120
# What the caller wishes to be kept of the exchange counts for what is judged of it, too.
_WISHES: Final = b"cf-aig-collect-log"


class Judge:
    """Gets verdicts. One that was given of the same text by the same rule is given again without asking."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._given: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()

    async def find(self, guard: Guard, side: Side, text: str, admission: Admission, head: Head) -> Finding | None:
        """Return what a rule finds in a text of an exchange, None when it may pass.

        Without a verdict in time the rule's ``on_failure`` decides.
        """
        options = guard.judge
        if options is None or not text.strip():
            return None
        known = _digest(guard, side, text)
        kinds = self._given.get(known)
        if kinds is None:
            try:
                async with asyncio.timeout(options.timeout_ms / 1000):
                    kinds = await self._ask(options, side, text, admission, head)
            except (GatewayError, NoVerdict, TimeoutError) as error:
                why = error.message if isinstance(error, GatewayError) else type(error).__name__
                log.warning("a judge gave no verdict", rule=guard.rule.id, gateway=admission.gateway, why=why)
                return self._without_verdict(guard, options, side)
            self._given[known] = kinds
            if len(self._given) > _REMEMBERED:
                self._given.popitem(last=False)
        return Finding(guard.rule, side, kinds) if kinds else None

    @staticmethod
    def _without_verdict(guard: Guard, options: JudgeOptions, side: Side) -> Finding | None:
        closed = options.on_failure == "block" or (not options.on_failure and guard.rule.action == "block")
        return Finding(guard.rule, side, (NO_VERDICT,)) if closed else None

    async def _ask(
        self, options: JudgeOptions, side: Side, text: str, admission: Admission, asking: Head
    ) -> tuple[str, ...]:
        admission = self._gateway.doorkeeper.elsewhere(admission, options.provider)
        rest = admission.provider.chat_path or ""
        admission = replace(admission, rest=rest)
        wishes = [pair for pair in asking.headers if pair[0].startswith(_WISHES)]
        head = Head(
            Transport.HTTP,
            "POST",
            f"/v1/{admission.account}/{admission.gateway}/{admission.provider.slug}/{rest}",
            "",
            [(b"content-type", b"application/json"), (b"accept-encoding", b"identity"), *wishes],
        )
        body = _question(options, side, text)
        entry = self._gateway.logbook.open(head, "guard")
        try:
            entry.admitted(admission)
            request = await self._gateway.chat_request(head, admission)
            request.body, request.content_length = body, len(body)
            entry.sees_request(body)
            entry.sent()
            response = await self._gateway.http.send(request)
            try:
                entry.begin(response.status, response.headers, connect_ms=response.connect_ms)
                answer = b""
                async for chunk in response:
                    entry.feed(chunk)
                    answer += chunk
                    if len(answer) > _MAX_ANSWER:
                        raise NoVerdict
            finally:
                await response.aclose()
            if response.status != 200:
                raise UpstreamError(f"{admission.provider.name} answered a judge's question with {response.status}.")
            await entry.finish()
        except GatewayError as error:
            await entry.finish(failed(error), error)
            raise
        finally:
            entry.finish_now("cancelled")
        return verdict(options, _said(answer))


def _question(options: JudgeOptions, side: Side, text: str) -> bytes:
    asked: dict[str, object] = {
        "model": options.model or options.provider,
        "messages": messages(options, side, text, f"=={secrets.token_hex(8)}=="),
    }
    if options.provider == "local":
        # Other providers have models that refuse one or the other.
        shape = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema(options)}}
        asked |= {"temperature": 0, "max_tokens": _LOCAL_ANSWER_TOKENS, "response_format": shape}
    return json.dumps(asked).encode()


def _said(answer: bytes) -> str:
    choices = json_object(answer).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str):
        raise NoVerdict
    return content


def _digest(guard: Guard, side: Side, text: str) -> bytes:
    rule = msgspec.json.encode(guard.rule)
    return hashlib.sha256(b"\0".join((rule, side.encode(), text.encode(errors="replace")))).digest()
