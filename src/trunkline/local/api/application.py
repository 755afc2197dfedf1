"""The embedded provider as an ASGI application."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from trunkline.local.api import audio, chat, embeddings, secrets
from trunkline.local.api.behaviours import PREFIX, Behaviour
from trunkline.local.api.bodies import read
from trunkline.local.api.connection import EndsWithItsClient, Stream
from trunkline.local.api.keys import Keys
from trunkline.local.api.problems import Problem, unknown_model
from trunkline.local.engines import Engines
from trunkline.local.realtime.socket import serve
from trunkline.wire.subprotocols import BETA_MARKER, select

# Sent by the gateway alone: the session's words come from another provider's chat model.
BRAIN_HEADER: Final = "x-trunkline-brain"

_Answer = Response | Stream
_Endpoint = Callable[[Request], Awaitable[_Answer]]


def create_application(engines: Engines, keys: Keys) -> ASGIApp:
    """Return the application that serves the engines to callers with a key."""
    api = _Api(engines, keys)
    routes = [
        Route("/healthz", lambda request: JSONResponse({"status": "ok"})),
        Route("/v1/models", api.guarded(api.models)),
        Route("/v1/models/{model:path}", api.guarded(api.model)),
        Route("/v1/chat/completions", api.guarded(api.chat), methods=["POST"]),
        Route("/v1/embeddings", api.guarded(api.embeddings), methods=["POST"]),
        Route("/v1/audio/transcriptions", api.guarded(api.transcriptions), methods=["POST"]),
        Route("/v1/audio/speech", api.guarded(api.speech), methods=["POST"]),
        Route("/v1/realtime/client_secrets", api.guarded(api.client_secrets), methods=["POST"]),
        WebSocketRoute("/v1/realtime", api.realtime),
    ]
    return EndsWithItsClient(Starlette(routes=routes, exception_handlers={HTTPException: _no_such_route}))


async def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"There is no {request.method} {request.url.path} here."
    return Problem(error.status_code, message, code="unknown_url").response()


class _Api:
    def __init__(self, engines: Engines, keys: Keys) -> None:
        self._engines = engines
        self._keys = keys
        self._started = int(time.time())

    def guarded(self, endpoint: _Endpoint) -> Callable[[Request], Awaitable[Any]]:
        """Check the key before an endpoint, and answer with its refusals."""

        async def answer(request: Request) -> _Answer:
            try:
                self._keys.check(request.scope["headers"])
                return await endpoint(request)
            except Problem as problem:
                return problem.response()

        return answer

    async def models(self, request: Request) -> _Answer:
        return JSONResponse({"object": "list", "data": [self._model_object()]})

    async def model(self, request: Request) -> _Answer:
        name = request.path_params["model"]
        if name != self._engines.language.name:
            raise unknown_model(name, self._engines.language.name)
        return JSONResponse(self._model_object())

    def _model_object(self) -> dict[str, Any]:
        name = self._engines.language.name
        return {"id": name, "object": "model", "created": self._started, "owned_by": "trunkline"}

    async def chat(self, request: Request) -> _Answer:
        body = await read(request, chat.ChatRequest)
        if body.model.startswith(PREFIX):
            return await Behaviour(body.model).respond(body)
        return await chat.complete(body, self._engines.language)

    async def embeddings(self, request: Request) -> _Answer:
        return await embeddings.embed(request, self._engines.embedder)

    async def transcriptions(self, request: Request) -> _Answer:
        return await audio.transcribe(request, self._engines)

    async def speech(self, request: Request) -> _Answer:
        return await audio.speak(request, self._engines.synthesiser)

    async def client_secrets(self, request: Request) -> _Answer:
        return await secrets.mint(request, self._keys)

    async def realtime(self, websocket: WebSocket) -> None:
        offered = websocket.scope["subprotocols"]
        model = websocket.query_params.get("model", "")
        remote_brain = websocket.headers.get(BRAIN_HEADER) == "remote"
        try:
            self._keys.check(websocket.scope["headers"], offered, realtime=True)
            if model.startswith(PREFIX) and not remote_brain:
                await Behaviour(model).converse(websocket, select(offered))
                return
            kind = self._session_kind(websocket, model, any_model=remote_brain)
        except Problem as problem:
            await websocket.accept(select(offered))
            await websocket.send_text(problem.event())
            await websocket.close(problem.close_code, problem.close_reason)
            return
        await websocket.accept(select(offered))
        name = model or self._engines.language.name
        await serve(websocket, self._engines, kind=kind, model=name, remote_brain=remote_brain)

    def _session_kind(
        self, websocket: WebSocket, model: str, *, any_model: bool
    ) -> Literal["realtime", "transcription"]:
        """Return ``realtime`` or ``transcription``. Raises `Problem` as OpenAI refuses a handshake."""
        if BETA_MARKER in websocket.scope["subprotocols"] or "realtime=v1" in websocket.headers.get("openai-beta", ""):
            message = "The beta dialect of the Realtime API is not served; leave out its header or sub-protocol."
            raise Problem(400, message, code="beta_api_shape_disabled")
        intent = websocket.query_params.get("intent")
        if intent == "transcription":
            return "transcription"
        if intent is not None:
            raise Problem(400, f"Unknown intent {intent!r}; it may be 'transcription'.", code="invalid_intent")
        if not model:
            raise Problem(400, "Name a model: ?model=local", code="missing_model", param="model")
        if model != self._engines.language.name and not any_model:
            raise unknown_model(model, self._engines.language.name)
        return "realtime"
