"""A gateway that stops: in good order with everything open, or killed; and its worker, killed while it answers."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.contract.log_rows import chunk, stream_of
from tests.contract.test_journal_survives import rows
from tests.contract.test_voiceplane import dial, upstream_of
from tests.contract.waiting import until
from tests.faults.stage import Act, Client, Got, chat_of, provider
from tests.running import Address, data_directory, program, run
from trunkline.store import Database
from trunkline.store.schema import logs

BEGUN = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + stream_of("Hi")[1]
REST = stream_of("there")[1] + chunk("data: [DONE]\n\n") + b"0\r\n\r\n"


@pytest.fixture
def many_files() -> Iterator[None]:
    """Each stream takes three descriptors of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Streams:
    """A provider of streams and sessions that go on until they are let end, or for ever."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    def http(self, *, ends: bool) -> Act:
        async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            writer.write(BEGUN)
            await writer.drain()
            if not ends:
                await reader.read()
                return False
            await self.may_end.wait()
            writer.write(REST)
            await writer.drain()
            return True

        return act

    async def session(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        ends = "ends" in socket.request.path
        await socket.send(json.dumps({"type": "session.created", "session": {"type": "realtime", "id": "s"}}))
        async for _ in socket:
            response = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
            await socket.send(json.dumps({"type": "response.created", "response": response}))
            if ends:
                await self.may_end.wait()
                done = {**response, "status": "completed"}
                await socket.send(json.dumps({"type": "response.done", "response": done}))


async def stream(port: int, model: str, begun: list[str]) -> Got:
    async with await Client.to(port) as client:
        client.ask(chat_of(model, stream=True), "/v1/local/default/groq/chat/completions")
        head = await client.reader.readuntil(b"\r\n\r\n")
        event = await client.reader.readuntil(b"\n\n")
        begun.append(model)
        body = event + await client.reader.read()
        assert head.startswith(b"HTTP/1.1 200")
        return Got(200, {}, body, is_whole=body.endswith(b"0\r\n\r\n"))


async def call(address: Address, model: str, begun: list[str]) -> tuple[str, int | None]:
    """Return how the response ended, and the close code."""
    socket = await dial(address, f"/v1/local/default/openai/realtime?model={model}")
    status = ""
    try:
        await socket.recv()
        await socket.send('{"type":"response.create"}')
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "response.created":
                begun.append(model)
            if event["type"] == "response.done":
                status = event["response"]["status"]
    except ConnectionClosed:
        pass
    return status, socket.close_code


async def until_refused(port: int) -> None:
    """Wait until nobody new is served."""

    async def is_refused() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return True
        writer.close()
        return False

    await until(is_refused)


async def ends_in(directory: Path) -> list[str]:
    database = await Database.open(directory)
    async with database.reading() as connection:
        found = [*(await connection.execute(select(logs.c.end_reason))).scalars()]
    await database.close()
    return sorted(found)


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize(
    ("streams", "calls", "grace"), [(40, 10, 3), pytest.param(500, 100, 15, marks=pytest.mark.whole)]
)
def test_a_gateway_that_is_told_to_stop_cuts_nothing_before_its_time_and_ends_the_rest_in_order(
    streams: int, calls: int, grace: int
) -> None:
    async def main() -> None:
        both = Streams()
        acts = {"ends": both.http(ends=True), "endless": both.http(ends=False)}
        with data_directory() as directory:
            async with provider(acts) as (_, chats), upstream_of(both.session) as sessions:
                environment = {
                    "TRUNKLINE_DATA_DIR": str(directory),
                    "TRUNKLINE_DRAIN_TIMEOUT": str(grace),
                    "TRUNKLINE_PROVIDERS__GROQ__BASE_URL": f"http://{chats.host}:{chats.port}/v1",
                    "TRUNKLINE_PROVIDERS__OPENAI__BASE_URL": f"http://{sessions.host}:{sessions.port}/v1",
                }
                started = program("serve", "--port", "0", environment=environment)
                running = await asyncio.to_thread(started.__enter__)
                try:
                    begun: list[str] = []
                    address = running.address
                    models = ["ends", "endless"]
                    listening = [
                        asyncio.create_task(stream(address.port, models[number % 2], begun))
                        for number in range(streams)
                    ]
                    talking = [asyncio.create_task(call(address, models[number % 2], begun)) for number in range(calls)]

                    async def all_began() -> bool:
                        failed = [task for task in (*listening, *talking) if task.done()]
                        assert not failed, failed[0]
                        return len(begun) == streams + calls

                    await until(all_began)
                    running.process.send_signal(signal.SIGTERM)
                    await until_refused(address.port)
                    assert not any(task.done() for task in (*listening, *talking))
                    both.may_end.set()
                    heard = await asyncio.gather(*listening)
                    assert [one.is_whole for one in heard] == [number % 2 == 0 for number in range(streams)]
                    talked = await asyncio.gather(*talking)
                    assert talked[0::2] == [("completed", 1012)] * len(talked[0::2])
                    assert talked[1::2] == [("failed", 1012)] * len(talked[1::2])
                    assert await asyncio.to_thread(running.process.wait, 30) in (0, -signal.SIGTERM)
                finally:
                    await asyncio.to_thread(started.__exit__, None, None, None)
            assert len(await rows(directory, "")) == streams + calls
            ends = await ends_in(directory)
            assert ends.count("cancelled") == streams // 2
            assert ends.count("complete") == streams // 2

    run(main(), 180)


# The local models' worker


def worker_of(gateway: int) -> int:
    """The process id of the worker, which is a child of the gateway's."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{name}/cmdline") as file:
                words = file.read()
        except OSError:
            continue
        if parent == gateway and "trunkline.local.worker" in words:
            return int(name)
    raise AssertionError("no worker")


LOCAL = "/v1/local/default/local/chat/completions"


@pytest.mark.whole
def test_a_worker_that_is_killed_in_the_middle_of_an_answer_costs_that_answer_alone() -> None:
    async def main() -> None:
        with data_directory() as directory:
            started = program("serve", "--port", "0", environment={"TRUNKLINE_DATA_DIR": str(directory)})
            running = await asyncio.to_thread(started.__enter__)
            try:
                port = running.address.port
                story = chat_of("local", stream=True, max_tokens=1500, logit_bias={"2": -100})
                async with await Client.to(port) as client:
                    client.ask(story, LOCAL)
                    await client.reader.readuntil(b"\n\n")
                    os.kill(worker_of(running.process.pid), signal.SIGKILL)
                    assert not (await client.reader.read()).endswith(b"0\r\n\r\n")
                async with await Client.to(port) as client:
                    client.ask(chat_of("local", max_tokens=5), LOCAL)
                    assert (await client.answer()).status == 200
            finally:
                await asyncio.to_thread(started.__exit__, None, None, None)
            assert len(await rows(directory, "")) == 2
            assert await ends_in(directory) == ["complete", "upstream_broken"]

    run(main(), 120)


@pytest.mark.whole
def test_a_worker_that_is_killed_while_it_speaks_costs_that_response_alone() -> None:
    async def main() -> None:
        with data_directory() as directory:
            started = program("serve", "--port", "0", environment={"TRUNKLINE_DATA_DIR": str(directory)})
            running = await asyncio.to_thread(started.__enter__)
            try:
                path = "/v1/local/default/local/realtime?model=local"
                async with dial(running.address, path) as socket:

                    async def heard(last: str) -> dict[str, object]:
                        while True:
                            event: dict[str, object] = json.loads(await socket.recv())
                            if event["type"] == last:
                                return event

                    await heard("session.created")
                    said = [{"type": "input_text", "text": "Tell me a long story about the sea."}]
                    item = {"type": "message", "role": "user", "content": said}
                    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
                    await socket.send('{"type":"response.create"}')
                    await heard("response.output_audio.delta")
                    os.kill(worker_of(running.process.pid), signal.SIGKILL)
                    done = await heard("response.done")
                    assert done["response"]["status"] == "failed"  # type: ignore[index]
                    text = {"output_modalities": ["text"]}
                    await socket.send(json.dumps({"type": "response.create", "response": text}))
                    done = await heard("response.done")
                    assert done["response"]["status"] == "completed"  # type: ignore[index]
            finally:
                await asyncio.to_thread(started.__exit__, None, None, None)
            assert len(await rows(directory, "")) == 1

    run(main(), 120)
