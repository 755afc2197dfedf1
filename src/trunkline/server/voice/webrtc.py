"""WebRTC calls: the offer goes to the provider with the right key; the media never crosses the gateway.

What a call says and uses is heard through a second socket that the gateway opens beside it (``?call_id=``), so that it
is recorded and charged like a session on a WebSocket.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import structlog

from trunkline.errors import GatewayError, MalformedRequest, NotPermitted, RequestTooLarge
from trunkline.realtime.frames import Frame
from trunkline.server.admission import Admission
from trunkline.server.gateway import Gateway
from trunkline.server.voice.dialling import Line, Route, dial
from trunkline.server.voice.opened import OpenedSession
from trunkline.upstream.http import Response
from trunkline.upstream.websocket import Binary, Closed
from trunkline.wire.documents import json_object
from trunkline.wire.head import Head, Transport

log = structlog.get_logger("trunkline.voice")

_CALLS: Final = "realtime/calls"
# An offer with every codec and candidate there is has some ten thousand characters.
_MAX_OFFER: Final = 1024 * 1024
_CREATED: Final = 201
_AGENT: Final = b"user-agent"


class WebRtcCalls:
    """The calls that were placed through this process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._listening: set[asyncio.Task[None]] = set()

    @staticmethod
    def is_offer(head: Head, admission: Admission) -> bool:
        """Whether a request places a call."""
        rest = admission.rest.strip("/").removeprefix("v1/")
        return head.method == "POST" and rest == _CALLS and admission.provider.has_realtime

    async def place(
        self, head: Head, admission: Admission, body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Pass an offer on; return the status, headers and body that answer it. Raises `GatewayError`."""
        if len(body) > _MAX_OFFER:
            raise RequestTooLarge(f"The offer is larger than {_MAX_OFFER // 2**20} MiB.")
        offer = _Offer.read(head, body)
        model = offer.model or head.query_value("model") or ""
        if admission.secret is not None:
            offer = offer.with_settings(admission.secret.session, admission.secret.model)
            model = offer.model or model
        self._check(admission, offer, model)
        head = replace(head, headers=offer.headers(head))
        request = await self._gateway.outgoing_request(head, admission)
        request.body = offer.body
        request.content_length = len(offer.body)
        if admission.secret is not None:
            self._gateway.registry.broker.claim(admission.secret)
        response = await self._gateway.http.send(request)
        try:
            answer = await _whole(response)
        finally:
            await response.aclose()
        call_id = _call_id(response) if response.status == _CREATED else ""
        if call_id:
            self._listen(head, admission, call_id, model)
        return response.status, _returned(response, admission, call_id), answer

    async def stop(self) -> None:
        """Stop listening; the calls themselves go on with the provider."""
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    def _check(self, admission: Admission, offer: _Offer, model: str) -> None:
        if not admission.is_restricted:
            return
        if not model:
            raise NotPermitted(
                "The gateway refused this call: its key is for some models only, and the offer names none. Send it as"
                " multipart/form-data with a part session that has a model."
            )
        admission.check_models([model])
        admission.check_frame(json.dumps({"type": "session.update", "session": offer.session}))

    def _listen(self, head: Head, admission: Admission, call_id: str, model: str) -> None:
        agent = [pair for pair in head.headers if pair[0] == _AGENT]
        path = f"/v1/{admission.account}/{admission.gateway}/{admission.provider.slug}/realtime"
        beside = Head(Transport.WEBSOCKET, "GET", path, urlencode({"call_id": call_id}), agent)
        route = Route(beside, replace(admission, rest="realtime"), model)
        task = asyncio.create_task(Sideband(self._gateway, route, call_id).run())
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)


class Sideband(OpenedSession):
    """The socket beside one call: it only listens, and hangs up when the call may not go on."""

    def __init__(self, gateway: Gateway, route: Route, call_id: str) -> None:
        super().__init__(gateway, route)
        self._route = route
        self._call_id = call_id
        self._ended = asyncio.Event()
        self._ending: GatewayError | None = None
        self._active_at = 0.0
        self.judge()

    @property
    def active_at(self) -> float:
        """When last the provider said something of the call."""
        return self._active_at

    async def run(self) -> None:
        """Listen until the call is over."""
        try:
            self.record.dialled(self.elapsed())
            line = await dial(self._gateway, self._route)
            self.record.connected(self.elapsed())
            await self._listen(line)
        except GatewayError as error:
            log.warning("a call is not heard, and its usage not counted", call=self._call_id, why=error.message)
            self.record.failed(error.reason, error.message, self.elapsed())
        finally:
            self.finish()

    async def _listen(self, line: Line) -> None:
        listening = asyncio.create_task(self._hear(line))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
            if self._ending is not None:
                await self._hang_up(self._ending)
        finally:
            for task in (listening, ended):
                task.cancel()
            await asyncio.gather(listening, ended, return_exceptions=True)
            line.socket.abort()

    def end(self, error: GatewayError) -> None:
        """Hang up for a reason of the gateway's own."""
        self._ending = self._ending or error
        self._ended.set()

    async def _hear(self, line: Line) -> None:
        while True:
            heard = await line.receive()
            match heard:
                case Closed(code, reason):
                    self.record.closed("provider", code, reason, self.elapsed())
                    return
                case Binary():
                    continue
            self._active_at = self.elapsed()
            usage = self.record.provider_said(Frame(heard.payload), self._active_at)
            if usage is not None:
                try:
                    self.account.charge(usage)
                except GatewayError as error:
                    self.end(error)

    async def _hang_up(self, error: GatewayError) -> None:
        log.warning("call ended by the gateway", call=self._call_id, code=error.code, why=error.message)
        self.record.failed(error.reason, error.message, self.elapsed())
        self.record.closed("gateway", error.close_code, f"{error.type}.{error.reason}", self.elapsed())
        admission = replace(self._route.admission, rest=f"{_CALLS}/{self._call_id}/hangup")
        head = Head(Transport.HTTP, "POST", "", "", [])
        request = await self._gateway.outgoing_request(head, admission)
        request.body, request.content_length = b"", 0
        with suppress(GatewayError):
            response = await self._gateway.http.send(request)
            await response.aclose()


class _Offer:
    """The body that places a call: an SDP offer alone, or beside the settings of the session in two parts."""

    def __init__(self, sdp: str, session: dict[str, Any], body: bytes, kind: str) -> None:
        self.sdp = sdp
        self.session = session
        self.body = body
        self._kind = kind

    @classmethod
    def read(cls, head: Head, body: bytes) -> _Offer:
        """Read a body as it came. Raises `MalformedRequest`."""
        kind = head.header(b"content-type") or ""
        if kind.partition(";")[0].strip().lower() == "application/sdp":
            return cls(body.decode("utf-8", "replace"), {}, body, kind)
        message = message_from_bytes(b"content-type: " + kind.encode("latin-1", "replace") + b"\r\n\r\n" + body)
        if not message.is_multipart():
            raise MalformedRequest(
                "A call is placed with an SDP offer: as application/sdp, or as multipart/form-data with the parts sdp"
                " and session."
            )
        parts = {str(part.get_param("name", header="content-disposition")): _content(part) for part in message.walk()}
        return cls(parts.get("sdp", b"").decode("utf-8", "replace"), json_object(parts.get("session", b"")), body, kind)

    @property
    def model(self) -> str:
        """The model that the session names, or nothing."""
        model = self.session.get("model")
        return model if isinstance(model, str) else ""

    def with_settings(self, promised: Any, model: str) -> _Offer:
        """Return the offer with the settings that its client secret promises; they stand above its own."""
        session = {"type": "realtime", **self.session, **(promised or {})}
        if model:
            session["model"] = model
        boundary = f"trunkline-{secrets.token_hex(12)}"
        fields = (("sdp", "application/sdp", self.sdp), ("session", "application/json", json.dumps(session)))
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {kind}\r\n\r\n{text}\r\n'
            for name, kind, text in fields
        ]
        body = f"{''.join(parts)}--{boundary}--\r\n".encode()
        return _Offer(self.sdp, session, body, f"multipart/form-data; boundary={boundary}")

    def headers(self, head: Head) -> list[tuple[bytes, bytes]]:
        """Return the request's headers with the content type of this body."""
        kept = [pair for pair in head.headers if pair[0] not in (b"content-type", b"accept-encoding")]
        return [*kept, (b"content-type", self._kind.encode("latin-1", "replace"))]


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""  # of a part that holds parts


def _call_id(response: Response) -> str:
    location = next((value for name, value in response.headers if name.lower() == b"location"), b"")
    path = urlsplit(location.decode("latin-1")).path
    return path.rpartition("/")[2] if f"{_CALLS}/" in path else ""


def _returned(response: Response, admission: Admission, call_id: str) -> list[tuple[bytes, bytes]]:
    """Return the answer's headers, its location being a path of the gateway's own."""
    kind = [(b"content-type", value) for name, value in response.headers if name.lower() == b"content-type"]
    if not call_id:
        return kind
    path = f"/v1/{admission.account}/{admission.gateway}/{admission.provider.slug}/{_CALLS}/{call_id}"
    return [*kind, (b"location", path.encode("latin-1"))]


async def _whole(response: Response) -> bytes:
    answer = b""
    async for chunk in response:
        answer += chunk
        if len(answer) > _MAX_OFFER:
            raise RequestTooLarge("The provider's answer to the offer is larger than any is.")
    return answer
