"""The ASGI application: one port for the data plane, the console and its API."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from trunkline.errors import ForbiddenOrigin, SettingsError
from trunkline.providers import resolve_realtime
from trunkline.server.asgi import KNOWN_HEADS, App, Receive, Scope, Send, Whole, head_of, respond, respond_to_upgrade
from trunkline.server.bodies import BoundedBodies
from trunkline.server.console import Console
from trunkline.server.dataplane import DataPlane
from trunkline.server.dispatch import Dispatch
from trunkline.server.express import Begun, Express
from trunkline.server.gateway import Gateway
from trunkline.server.known_heads import KnownHeads
from trunkline.server.late import Late
from trunkline.server.observability.operations import PATHS as OPERATION_PATHS
from trunkline.server.observability.operations import Operations
from trunkline.server.private_answers import PrivateAnswers
from trunkline.server.request_ids import NamedRequests
from trunkline.server.unified import UnifiedPlane
from trunkline.server.universal import UniversalPlane
from trunkline.server.universal_socket import UniversalSocketPlane
from trunkline.server.voice import VoicePlane, WebRtcCalls
from trunkline.settings import Settings
from trunkline.wire.head import Head
from trunkline.wire.path import GATEWAY_HEADER, is_unified, is_universal, of_rest
from trunkline.wire.refusal import Dialect, http_refusal

# Of the set-up: far more than any of it needs.
_MAX_API_BODY: Final = 2 * 1024 * 1024
_MANAGEMENT: Final = "/client/v4/"


class Application:
    """Routes by path; everything that knows more is behind it."""

    def __init__(self, settings: Settings) -> None:
        self.gateway = Gateway(settings)
        self._known_heads = KnownHeads(self._serve_whole)
        self.gateway.registry.on_change(self._known_heads.forget)
        self._express = Express(self.gateway)
        self._calls = WebRtcCalls(self.gateway)
        dispatch = Dispatch(self.gateway)
        self._data_plane = DataPlane(self.gateway, dispatch, self._calls, self._express)
        self._voice_plane = VoicePlane(self.gateway)
        self._universal_plane = UniversalPlane(self.gateway, dispatch, self._calls, self._express)
        self._unified_plane = UnifiedPlane(self.gateway, dispatch, self._calls, self._express)
        self._universal_socket_plane = UniversalSocketPlane(self.gateway, dispatch)
        self._operations = Operations(self.gateway)
        self._private_operations = PrivateAnswers(self._operations)
        self._console = Console(self._direct_origins)
        self._api = Late(self._make_api)
        self._management_api = Late(self._make_management_api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            scope.get("state", {})[KNOWN_HEADS] = self._known_heads
            await self._lifespan(receive, send)
            return
        head = head_of(scope)
        if scope["type"] == "http":
            await self._serve(head, scope, receive, send)
        elif scope["path"].startswith("/v1/"):
            plane = self._universal_socket_plane if is_universal(head.path) else self._voice_plane
            await plane(head, scope, receive, send)
        else:
            await receive()
            await respond_to_upgrade(send, 404, [], b"No WebSocket is served here.\n")

    def _serve_whole(self, whole: Whole) -> Coroutine[Any, Any, None] | None:
        """Answer a request whose head came before, if that can be done at once, or return what will."""
        return None if self._express.give_again(whole) else self._serve_soon(whole)

    async def _serve_soon(self, whole: Whole) -> None:
        """Serve a request on the short way, or on the general one from where it has come to."""
        left = await self._express.serve(whole)
        if left is not None:
            scope, receive, send = whole.as_asgi()
            await self._serve(head_of(scope), scope, receive, send, left.begun)

    async def _serve(self, head: Head, scope: Scope, receive: Receive, send: Send, begun: Begun | None = None) -> None:
        path: str = scope["path"]
        if path.startswith("/v1/"):
            await self._plane_of(head)(head, scope, receive, send, begun=begun)
        elif path in OPERATION_PATHS:
            await self._private_operations(scope, receive, send)
        elif path == "/api" or path.startswith("/api/"):
            await self._api(scope, receive, send)
        elif path.startswith(_MANAGEMENT):
            asked = of_rest(head.path, head.header(GATEWAY_HEADER) or self.gateway.settings.gateway)
            if asked is None:
                await self._management_api(scope, receive, send)
            else:
                head = replace(head, path=asked)
                await self._plane_of(head)(head, scope, receive, send, begun=begun)
        else:
            try:
                self.gateway.origins.check_host(head)
            except ForbiddenOrigin as error:
                await respond(send, *http_refusal(error, Dialect.OPENAI))
                return
            self._api.begin()  # the page's first question
            await self._console(head, scope, receive, send)

    def _plane_of(self, head: Head) -> DataPlane:
        if is_unified(head.path):
            return self._unified_plane
        return self._universal_plane if is_universal(head.path) else self._data_plane

    def _make_api(self) -> App:
        from trunkline.server.control import create_api

        api = create_api(self.gateway, self._console.build)
        bounded = BoundedBodies(api, _MAX_API_BODY, Dialect.OPENAI, unbounded=("/api/conversations",))
        return NamedRequests(PrivateAnswers(bounded))

    def _make_management_api(self) -> App:
        from trunkline.server.management import create_management_api

        return PrivateAnswers(BoundedBodies(create_management_api(self.gateway), _MAX_API_BODY, Dialect.CLOUDFLARE))

    async def leave(self, seconds: float) -> None:
        """Let open sessions finish what they are saying, for at most so many seconds, and end them."""
        self._operations.leave()
        self.gateway.live.close()
        await self._voice_plane.leave(seconds)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.gateway.start()
                except SettingsError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._calls.stop()
                await self.gateway.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _direct_origins(self) -> Iterable[str]:
        """The origins that the direct voice page may dial: those providers that mint secrets for browsers."""
        worker = urlsplit(self.gateway.worker.base_url)
        yield f"ws://{worker.netloc}"
        for provider in self.gateway.catalogue.all():
            if provider.client_secrets_path is None or provider.slug == "local":
                continue
            target = resolve_realtime(provider, "realtime", "")
            if target is not None:
                parts = urlsplit(target.url)
                yield f"{parts.scheme}://{parts.netloc}"
