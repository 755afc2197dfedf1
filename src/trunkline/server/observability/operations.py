"""``/healthz``, ``/readyz`` and ``/metrics``: what balancers, orchestrators and scrapers ask."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from sqlalchemy import text
from starlette.requests import Request

from trunkline.errors import GatewayError
from trunkline.server.asgi import Receive, Scope, Send, respond
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.wire.refusal import Dialect, http_refusal

PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_JSON: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_DATABASE_SECONDS: Final = 2.0


class Operations:
    """Answers them. `leave` makes the gateway not ready, so that a balancer sends nobody more."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._leaving = False

    def leave(self) -> None:
        """Say from now on that the gateway is about to stop."""
        self._leaving = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, [(b"allow", b"GET, HEAD"), (b"content-length", b"0")])
            return
        match scope["path"]:
            case "/healthz":
                await respond(send, 200, _JSON, b'{"status":"ok"}')
            case "/readyz":
                await self._say_readiness(send)
            case _:
                await self._say_metrics(scope, receive, send)

    async def _say_readiness(self, send: Send) -> None:
        """Tell whether requests should come here.

        A database that is away is told of and does not count: requests do not need it, and every gateway would leave
        its balancer at the same moment. Nor does a disk that is full, on which no records are kept.
        """
        checks = {
            "accepting": not self._leaving,
            "database": await self._database_answers(),
            "records": self._keeps_records(),
        }
        state = "leaving" if self._leaving else "ready" if all(checks.values()) else "degraded"
        body = json.dumps({"status": state, "checks": checks}).encode()
        await respond(send, 503 if self._leaving else 200, _JSON, body)

    async def _database_answers(self) -> bool:
        database = self._gateway.registry.database
        if database is None:
            return False
        try:
            async with asyncio.timeout(_DATABASE_SECONDS), database.reading() as connection:
                await connection.execute(text("SELECT version_num FROM alembic_version"))  # from the file itself
        except Exception:  # whatever a driver raises: it does not answer
            return False
        return True

    def _keeps_records(self) -> bool:
        return self._gateway.registry.database is not None and not self._gateway.journal.is_refusing

    async def _say_metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            caller = require_scope(self._gateway, request, "read", None)
        except GatewayError as error:
            await respond(send, *http_refusal(error, Dialect.OPENAI))
            return
        body, content_type = self._gateway.observability.metrics.page(request.headers.get("accept", ""), caller.gateway)
        await respond(send, 200, [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")], body)
