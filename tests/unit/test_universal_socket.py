"""How the universal socket shares one client among many answers, with answers that a test holds in its hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

from tests.running import run
from trunkline.errors import UpstreamBroken
from trunkline.providers import Catalogue
from trunkline.server import answer
from trunkline.server.asgi import Message
from trunkline.server.logbook import Entry, Logbook
from trunkline.server.registry import LiveRegistry
from trunkline.server.steps import StepSender
from trunkline.server.universal_socket import UniversalSocket
from trunkline.settings import Settings
from trunkline.wire.head import Head, Transport
from trunkline.wire.universal import Step

Body = Callable[[], AsyncIterator[bytes]]

SETTINGS = Settings()
LOGBOOK = Logbook(SETTINGS, Catalogue.build({}), LiveRegistry(SETTINGS), lambda record: True)
HEAD = Head(Transport.WEBSOCKET, "GET", "/v1/local/default", "", [])


class Answer:
    """An answer whose body is an iterator; it knows whether it was given up."""

    def __init__(self, body: Body, kind: bytes = b"text/plain") -> None:
        self.status = 200
        self.headers = [(b"Content-Type", kind)]
        self.body = body()
        self.told: list[tuple[bytes, bytes]] = []
        self.is_closed = False

    header = answer.Answer.header

    async def aclose(self) -> None:
        self.is_closed = True


class Sender:
    """Answers steps with what it is given, by the name of their provider."""

    def __init__(self, **answers: Answer) -> None:
        self._answers = answers

    def entry(self, *, id: str = "", event_id: str = "") -> Entry:
        return LOGBOOK.open(HEAD, "websocket", id=id, event_id=event_id)

    async def send(self, step: Step, entry: Entry, number: int = 0) -> Answer:
        return self._answers[step.provider]


class Client:
    """One end of an ASGI WebSocket. ``send`` waits a moment, and counts how many wait in it at once."""

    def __init__(self, frames: Iterable[str]) -> None:
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.received: list[dict[str, Any]] = []
        self.sending = self.most_sending = 0
        for frame in frames:
            self._incoming.put_nowait({"type": "websocket.receive", "text": frame})

    async def receive(self) -> Message:
        return await self._incoming.get()

    async def send(self, message: Message) -> None:
        self.sending += 1
        self.most_sending = max(self.most_sending, self.sending)
        await asyncio.sleep(0.001)
        self.sending -= 1
        self.received.append(json.loads(message["text"]))

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def received_all(self, number: int) -> None:
        while len(self.received) < number:  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0.001)


def create(provider: str) -> str:
    request = {"eventId": provider, "provider": provider, "endpoint": "x", "query": {}}
    return json.dumps({"type": "universal.create", "request": request})


def socket_of(client: Client, **answers: Answer) -> UniversalSocket:
    return UniversalSocket(cast(StepSender, Sender(**answers)), client.receive, client.send)


def pieces(*given: bytes) -> Body:
    async def body() -> AsyncIterator[bytes]:
        for piece in given:
            yield piece

    return body


def test_frames_leave_one_at_a_time_whoever_has_them() -> None:
    async def main() -> None:
        stream = pieces(*[b"data: {}\n\n"] * 5)
        answers = {f"p{number}": Answer(stream, b"text/event-stream") for number in range(10)}
        client = Client(create(name) for name in answers)
        serving = asyncio.create_task(socket_of(client, **answers).run())
        await client.received_all(10 * 7)
        client.leave()
        await serving
        assert client.most_sending == 1
        assert all(answer.is_closed for answer in answers.values())

    run(main())


def test_large_answers_are_gathered_one_after_the_other_and_small_ones_pass_them() -> None:
    async def main() -> None:
        gathering = most_gathering = 0

        async def large() -> AsyncIterator[bytes]:
            nonlocal gathering, most_gathering
            yield b"x" * 200_000
            yield b"x" * 200_000
            gathering += 1
            most_gathering = max(most_gathering, gathering)
            await asyncio.sleep(0.01)
            yield b"x" * 200_000
            gathering -= 1

        answers = {f"large{number}": Answer(large) for number in range(5)}
        client = Client(create(name) for name in (*answers, "small"))
        serving = asyncio.create_task(socket_of(client, small=Answer(pieces(b"small")), **answers).run())
        await client.received_all(6)
        client.leave()
        await serving
        assert client.received[0]["response"] == "small"
        assert [len(said["response"]) for said in client.received[1:]] == [600_000] * 5
        assert most_gathering == 1

    run(main())


def test_a_request_may_be_cancelled_before_it_has_begun_and_its_event_id_is_free_at_once() -> None:
    async def main() -> None:
        cancel = '{"type":"universal.cancel","eventId":"p"}'
        client = Client([create("p"), cancel, create("p"), cancel, create("p")])
        serving = asyncio.create_task(socket_of(client, p=Answer(pieces(b"text"))).run())
        await client.received_all(3)
        client.leave()
        await serving
        assert [said["type"] for said in client.received] == ["universal.done", "universal.done", "universal.created"]

    run(main())


def test_an_event_id_is_free_when_the_last_frame_has_been_sent() -> None:
    async def main() -> None:
        class Eager(Client):
            async def send(self, message: Message) -> None:
                await super().send(message)
                if len(self.received) < 20:
                    self._incoming.put_nowait({"type": "websocket.receive", "text": create("p")})

        client = Eager([create("p")])
        serving = asyncio.create_task(socket_of(client, p=Answer(pieces(b"text"))).run())
        await client.received_all(20)
        client.leave()
        await serving
        assert {said["type"] for said in client.received} == {"universal.created"}

    run(main())


def test_a_client_that_leaves_closes_what_is_being_answered() -> None:
    async def main() -> None:
        async def never() -> AsyncIterator[bytes]:
            yield b"data: {}\n\n"
            await asyncio.get_running_loop().create_future()

        answer = Answer(never, b"text/event-stream")
        client = Client([create("p")])
        serving = asyncio.create_task(socket_of(client, p=answer).run())
        await client.received_all(2)
        client.leave()
        await serving
        assert answer.is_closed

    run(main())


def test_a_client_that_is_gone_when_it_is_told_something_disturbs_nobody() -> None:
    async def main() -> None:
        class Gone(Client):
            async def send(self, message: Message) -> None:
                raise OSError("gone")

        async def breaks() -> AsyncIterator[bytes]:
            yield b"data: {}\n\n"
            raise UpstreamBroken("It broke.")

        client = Gone([create("whole"), create("stream"), "nonsense"])
        answers = {"whole": Answer(pieces(b"{}")), "stream": Answer(breaks, b"text/event-stream")}
        serving = asyncio.create_task(socket_of(client, **answers).run())
        await asyncio.sleep(0.01)
        client.leave()
        await serving
        assert all(answer.is_closed for answer in answers.values())

    run(main())
