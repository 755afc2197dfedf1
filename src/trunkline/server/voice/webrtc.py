"""WebRTC calls: the offer goes to the provider with the right key; the media never crosses the gateway.

What a call says and uses is heard through a second socket that the gateway opens beside it (``?call_id=``), so that it
is recorded and charged like a session on a WebSocket.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec
import structlog

from trunkline.errors import (
    GatewayError,
    MalformedRequest,
    NotPermitted,
    RequestTooLarge,
    UpstreamBroken,
    UpstreamError,
)
from trunkline.policy.sessions import NO_LIMITS
from trunkline.realtime import closing
from trunkline.realtime.bounded import shown
from trunkline.realtime.frames import Frame
from trunkline.server.admission import Admission
from trunkline.server.gateway import Gateway
from trunkline.server.voice.dialling import Line, Route, dial
from trunkline.server.voice.opened import OpenedSession
from trunkline.upstream.http import Response
from trunkline.upstream.messages import Binary, Closed
from trunkline.wire.documents import json_object
from trunkline.wire.head import Head, Transport

log = structlog.get_logger("trunkline.voice")

_CALLS: Final = "realtime/calls"
# An offer with every codec and candidate there is has some ten thousand characters.
_MAX_OFFER: Final = 1024 * 1024
_CREATED: Final = 201
_SERVER_FAILS: Final = 500
# Seconds before each further try to hear a call, or to hang it up.
_WAITS: Final = (0.5, 2.0)
_SLASHES: Final = re.compile("/+")
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_PART_NAME: Final = re.compile(rb'(?i)content-disposition:[^\r\n]*?\bname="([^"\r\n]{1,100})"')


class WebRtcCalls:
    """The calls that were placed through this process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._listening: set[asyncio.Task[None]] = set()

    @staticmethod
    def is_offer(head: Head, admission: Admission) -> bool:
        """Whether a request places a call, however its path is written."""
        if "calls" not in admission.rest and "%" not in admission.rest:  # nearly always
            return False
        rest = _SLASHES.sub("/", unquote(admission.rest)).strip("/").removeprefix("v1/")
        return head.method == "POST" and rest == _CALLS and admission.provider.has_realtime

    async def place(
        self, head: Head, admission: Admission, body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Pass an offer on; return the status, headers and body that answer it. Raises `GatewayError`."""
        if len(body) > _MAX_OFFER:
            raise RequestTooLarge(f"The offer is larger than {_MAX_OFFER // 2**20} MiB.")
        offer = _Offer.read(head, body)
        head, offer = self._judged(head, admission, offer)
        ear = self._ear(head, admission, offer.model or head.query_value("model") or "")
        try:
            await ear.account.allowance.open()
            response = await self._send(head, admission, offer)
            try:
                answer = await _whole(response)
            finally:
                await response.aclose()
        except BaseException as error:
            ear.failure = error if isinstance(error, GatewayError) else None
            ear.finish()
            raise
        call_id = _call_id(response) if response.status == _CREATED else ""
        if call_id:
            task = asyncio.create_task(ear.run(call_id))
            self._listening.add(task)
            task.add_done_callback(self._listening.discard)
        else:
            ear.record.failed(
                "offer_refused", f"The provider answered the offer with {response.status}.", ear.elapsed()
            )
            ear.finish()
        return response.status, _returned(response, admission, call_id), answer

    async def stop(self) -> None:
        """Stop listening; the calls themselves go on with the provider."""
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    def _judged(self, head: Head, admission: Admission, offer: _Offer) -> tuple[Head, _Offer]:
        """Hold an offer to what its caller may do. What was judged is what leaves: it is written anew."""
        secret = admission.secret
        if secret is None and not admission.is_restricted:
            return head, offer
        admission.check_models(head.query_values("model"))
        bound = secret.model if secret is not None else ""
        named = bound or offer.model or head.query_value("model") or ""
        offer = offer.with_settings(secret.session if secret is not None else None, named)
        if admission.is_restricted:
            if not offer.model:
                raise NotPermitted(
                    "The gateway refused this call: its key is for some models only, and the offer names none. Send it"
                    " as multipart/form-data with a part session that has a model."
                )
            admission.check_models([offer.model])
            admission.check_frame(json.dumps({"type": "session.update", "session": offer.session}))
        others = [pair for pair in parse_qsl(head.query, keep_blank_values=True) if pair[0] != "model"]
        return replace(head, query=urlencode(others)), offer

    async def _send(self, head: Head, admission: Admission, offer: _Offer) -> Response:
        request = await self._gateway.outgoing_request(replace(head, headers=offer.headers(head)), admission)
        request.body, request.content_length = offer.body, len(offer.body)
        if admission.secret is not None:
            self._gateway.registry.broker.claim(admission.secret)
        return await self._gateway.http.send(request)

    def _ear(self, head: Head, admission: Admission, model: str) -> Sideband:
        """Return what will listen beside the call. Raises where the caller's limits allow no session."""
        headers = [pair for pair in head.headers if not pair[0].startswith((b"content-", b"transfer-", b"accept"))]
        path = f"/v1/{admission.account}/{admission.gateway}/{admission.provider.slug}/realtime"
        beside = Head(Transport.WEBSOCKET, "GET", path, "", headers)
        return Sideband(self._gateway, Route(beside, replace(admission, rest="realtime"), model))


class Sideband(OpenedSession):
    """The socket beside one call: it only listens, and hangs up when the call may not go on."""

    def __init__(self, gateway: Gateway, route: Route) -> None:
        super().__init__(gateway, route)
        self._route = route
        self._call_id = ""
        self._ended = asyncio.Event()
        self._ending: GatewayError | None = None
        self.judge()

    async def run(self, call_id: str) -> None:
        """Listen until the call is over."""
        self._call_id = call_id
        head = replace(self._route.head, query=urlencode({"call_id": call_id}))
        self._route = msgspec.structs.replace(self._route, head=head)
        hearing = asyncio.create_task(self._hear())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({hearing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
        except Exception as error:
            self._give_up(error)
        finally:
            for task in (hearing, ended):
                task.cancel()
            await asyncio.gather(hearing, ended, return_exceptions=True)
            try:
                if self._ending is not None:
                    await self._hang_up(self._ending)
            finally:
                # The gateway stops, or cannot hear it: the call may go on.
                self.record.closed("gateway", closing.GOING_AWAY, "no longer heard", self.elapsed())
                self.finish()

    def end(self, error: GatewayError) -> None:
        """Hang up for a reason of the gateway's own."""
        self._ending = self.failure = self._ending or error
        self._ended.set()

    def _give_up(self, error: Exception) -> None:
        """Go on without hearing the call, unless it may use so much only: then nobody would know when to end it."""
        log.warning("a call is not heard", call=self._call_id, why=shown(str(error)))
        self.record.failed("not_heard", str(error), self.elapsed())
        if self.account.lease.limits != NO_LIMITS or self.account.is_priced or self.account.allowance.is_limited:
            self._ending = self._ending or UpstreamError(
                "The gateway ended this call: it has limits, and the provider does not let the gateway hear it."
            )

    async def _hear(self) -> None:
        """Listen; dial again when the connection is lost. Raises `GatewayError` when that does not help."""
        self.record.dialled(self.elapsed())
        waits = iter(_WAITS)
        while True:
            try:
                line = await dial(self._gateway, self._route)
            except UpstreamError:
                wait = next(waits, None)
                if wait is None:
                    raise
                await asyncio.sleep(wait)
                continue
            self.record.connected(self.elapsed())
            try:
                closed = await self._hear_on(line)
            finally:
                line.socket.abort()
            if not closing.is_loss(closed.code, closed.reason):
                self.record.closed("provider", closed.code, closed.reason, self.elapsed())
                return
            wait = next(waits, None)
            if wait is None:
                raise UpstreamBroken("The connection beside the call was lost again and again.")
            await asyncio.sleep(wait)

    async def _hear_on(self, line: Line) -> Closed:
        while True:
            heard = await line.receive()
            match heard:
                case Closed():
                    return heard
                case Binary():
                    continue
            usage = self.record.provider_said(Frame(heard.payload), self.elapsed())
            if usage is not None:
                try:
                    self.account.charge(usage)
                except GatewayError as error:
                    self.end(error)

    async def _hang_up(self, error: GatewayError) -> None:
        log.warning("call ended by the gateway", call=self._call_id, code=error.code, why=shown(error.message))
        self.record.failed(error.reason, error.message, self.elapsed())
        self.record.closed("gateway", error.close_code, f"{error.type}.{error.reason}", self.elapsed())
        admission = replace(self._route.admission, rest=f"{_CALLS}/{self._call_id}/hangup")
        head = replace(self._route.head, transport=Transport.HTTP, method="POST", query="")
        for wait in (*_WAITS, None):
            try:
                request = await self._gateway.outgoing_request(head, admission)
                request.body, request.content_length = b"", 0
                response = await self._gateway.http.send(request)
                await response.aclose()
                if response.status < _SERVER_FAILS:
                    return
                why = f"HTTP {response.status}"
            except GatewayError as failure:
                why = shown(failure.message)
            if wait is not None:
                await asyncio.sleep(wait)
        log.error("a call could not be hung up", call=self._call_id, why=why)


class _Offer:
    """The body that places a call: an SDP offer alone, or beside the settings of the session in two parts."""

    def __init__(self, sdp: bytes, session: dict[str, Any], body: bytes, kind: str) -> None:
        self.sdp = sdp
        self.session = session
        self.body = body
        self._kind = kind

    @classmethod
    def read(cls, head: Head, body: bytes) -> _Offer:
        """Read a body as it came. Raises `MalformedRequest`."""
        kind = head.header(b"content-type") or ""
        if kind.partition(";")[0].strip().lower() == "application/sdp":
            return cls(body, {}, body, kind)
        parts = _parts(kind, body)
        return cls(parts.get("sdp", b""), json_object(parts.get("session", b"")), body, kind)

    @property
    def model(self) -> str:
        """The model that the session names, or nothing."""
        model = self.session.get("model")
        return model if isinstance(model, str) else ""

    def with_settings(self, promised: Mapping[str, Any] | None, model: str) -> _Offer:
        """Return the offer with settings that stand above its own, written anew."""
        session = {"type": "realtime", **self.session, **(promised or {})}
        if model:
            session["model"] = model
        boundary = f"trunkline-{secrets.token_hex(12)}"
        parts = (("sdp", "application/sdp", self.sdp), ("session", "application/json", json.dumps(session).encode()))
        pieces = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {kind}\r\n\r\n'.encode()
            + content
            + b"\r\n"
            for name, kind, content in parts
        ]
        body = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
        return _Offer(self.sdp, session, body, f"multipart/form-data; boundary={boundary}")

    def headers(self, head: Head) -> list[tuple[bytes, bytes]]:
        """Return the request's headers with the content type of this body."""
        kept = [pair for pair in head.headers if pair[0] not in (b"content-type", b"accept-encoding")]
        return [*kept, (b"content-type", self._kind.encode("latin-1", "replace"))]


def _parts(kind: str, body: bytes) -> dict[str, bytes]:
    """Return the parts of a form by name. Raises `MalformedRequest` for what others might read differently."""
    found = _BOUNDARY.search(kind)
    if found is None or not kind.strip().lower().startswith("multipart/form-data"):
        raise MalformedRequest(
            "A call is placed with an SDP offer: as application/sdp, or as multipart/form-data with the parts sdp and"
            " session."
        )
    parts: dict[str, bytes] = {}
    for piece in (b"\r\n" + body).split(b"\r\n--" + (found[1] or found[2]).encode("latin-1"))[1:-1]:
        about, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _PART_NAME.search(about)
        if name is None or b"transfer-encoding" in about.lower() or name[1].decode("latin-1") in parts:
            raise MalformedRequest(
                "The SDP offer's form cannot be read: each part has one name, which no other has, and is not encoded."
            )
        parts[name[1].decode("latin-1")] = content
    return parts


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
