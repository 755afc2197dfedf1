"""The way of a request that was admitted, to its provider and back: one for every endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from trunkline.policy.usage import UsageStripper
from trunkline.server import governing, observing
from trunkline.server.admission import Admission
from trunkline.server.answer import Answer
from trunkline.server.gateway import Gateway
from trunkline.server.logbook import Entry
from trunkline.server.metering import Meter
from trunkline.upstream.http import Response
from trunkline.wire.head import Head

# For bodies that are judged before they are sent on: some base64 images, or an audio file of OpenAI's limit.
MAX_WHOLE_BODY: Final = 32 * 1024 * 1024


class Sent(NamedTuple):
    """A request's body: in one piece, or as it comes with the length that was declared, or None."""

    body: bytes | AsyncIterator[bytes] | None
    length: int | None = None


class Dispatch:
    """Sends requests on, and has their answers seen."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def needs_whole(self, head: Head, admission: Admission) -> bool:
        """Whether the body must be there in one piece before anything is sent."""
        return governing.is_governed(admission) or observing.may_ask_for_usage(head, admission, MAX_WHOLE_BODY)

    async def send(self, head: Head, admission: Admission, sent: Sent, entry: Entry) -> Answer:
        """Send a request; return its answer when the head of that is there. Raises `GatewayError`."""
        entry_body = entry.sees_request(sent.body)
        meter = governing.begin(self._gateway.registry.broker, head, admission, sent.body)
        body, stripper = observing.asking_for_usage(admission, entry_body)
        request = await self._gateway.outgoing_request(head, admission)
        request.body = body
        request.content_length = None if stripper is not None else sent.length
        # What is read, or taken out of, must be plain.
        observing.make_readable(request, plain=meter is not None or stripper is not None)
        entry.sent()
        response = await self._gateway.http.send(request)
        return self._seen(response, admission, entry, meter, stripper)

    def _seen(
        self,
        response: Response,
        admission: Admission,
        entry: Entry,
        meter: Meter | None,
        stripper: UsageStripper | None,
    ) -> Answer:
        """Return a provider's answer, of which everything is seen that is read of it."""
        broker = self._gateway.registry.broker
        if meter is not None:
            meter.begin(response.headers)
        entry.begin(response.status, response.headers, connect_ms=response.connect_ms)
        headers = response.headers
        if stripper is not None:
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]

        async def close() -> None:
            await response.aclose()
            governing.end(broker, admission, meter)

        return Answer(response.status, headers, _observed(response, entry, meter, stripper), close)


async def _observed(
    response: Response, entry: Entry, meter: Meter | None, stripper: UsageStripper | None
) -> AsyncIterator[bytes]:
    async for chunk in response:
        if meter is not None:
            meter.feed(chunk)
        entry.feed(chunk)
        passed = stripper.feed(chunk) if stripper is not None else chunk
        if passed:
            yield passed
    if stripper is not None and (rest := stripper.finish()):
        yield rest
