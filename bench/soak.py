"""Hours of mixed traffic with faults: is a record lost, is an answer wrong, does memory or the number of files grow?

    python bench/soak.py                                        # two hours
    python bench/soak.py --minutes 10 --rate 40                 # ten minutes, 40 requests a second
    python bench/soak.py --database-url postgresql              # on a server of PostgreSQL that is started for it

A provider on loopback answers each chat with the SHA-256 of its question, whole or as a stream, and each frame of a
call's sound with the same frame. Between it and the gateway stands a proxy that now and then cuts a connection, holds
it up or writes what is no HTTP. Clients ask, leave in the middle, call, and look at the console. In the first third of
the time the gateway is besides killed, ended and started again, and its SQLite file is locked for seconds by somebody
else; then it is left to run, to see what grows.

What is complete has to be right, and each answer that was complete has to have its row in the log, once. Refusals are
counted by what they say. The report is written to bench/results/soak.json, and as a table to standard output; the
status is 1 if anything is wrong or lost.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import uvloop
from sqlalchemy import func, select
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.databases import postgres_server

from trunkline.settings import default_data_dir
from trunkline.store import Database, schema
from trunkline.store.location import FILE_NAME

RESULTS = Path(__file__).parent / "results" / "soak.json"
PLANE = "/v1/local/default"
CHATS = f"{PLANE}/openai/chat/completions"
CALL = f"{PLANE}/openai/realtime?model=gpt-realtime"
BEARER = {"authorization": "Bearer sk-soak-0123456789"}
FRAME_SECONDS = 0.04
FRAMES = 500
FAULTS = ("cut", "hold", "no http")
# Of a thousand pieces that a provider sends.
FAULTS_IN_THOUSAND = 2
SAMPLE_SECONDS = 5.0


# The provider


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def usage(question: str) -> dict[str, int]:
    return {"prompt_tokens": len(question), "completion_tokens": 64, "total_tokens": len(question) + 64}


async def provide(scope: Any, receive: Any, send: Any) -> None:
    """Answer as OpenAI's chat and realtime APIs do."""
    if scope["type"] == "websocket":
        await converse(receive, send)
    elif scope["type"] == "http":
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message.get("more_body"):
                break
        asked = json.loads(body)
        await (stream if asked.get("stream") else whole)(asked["messages"][-1]["content"], send)


async def whole(question: str, send: Any) -> None:
    message = {"role": "assistant", "content": digest(question)}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage(question),
    }
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(question: str, send: Any) -> None:
    shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})

    async def event(data: str) -> None:
        await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})

    text = digest(question)
    for at in range(0, 64, 4):
        choice = {"index": 0, "delta": {"content": text[at : at + 4]}, "finish_reason": None}
        await event(json.dumps({**shared, "choices": [choice]}))
        await asyncio.sleep(0.02)
    await event(json.dumps({**shared, "choices": [], "usage": usage(question)}))
    await event("[DONE]")
    await send({"type": "http.response.body", "body": b""})


async def converse(receive: Any, send: Any) -> None:
    async def tell(event: dict[str, Any]) -> None:
        await send({"type": "websocket.send", "text": json.dumps(event)})

    await receive()
    await send({"type": "websocket.accept"})
    session = {"type": "realtime", "id": "sess_1", "object": "realtime.session", "model": "gpt-realtime"}
    await tell({"type": "session.created", "event_id": "event_0", "session": session})
    number = 0
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        event = json.loads(message["text"])
        if event["type"] == "input_audio_buffer.append":
            number += 1
            place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
            delta = {"type": "response.output_audio.delta", "event_id": f"event_{number}", "delta": event["audio"]}
            await tell({**delta, **place})


@asynccontextmanager
async def provider() -> AsyncIterator[int]:
    """Serve on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    options: Any = {"lifespan": "off", "log_config": None, "access_log": False, "ws": "websockets-sansio"}
    server = uvicorn.Server(uvicorn.Config(provide, **options))
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await serving


class Chaos:
    """A proxy that passes bytes on, and faults."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._port = port
        self._chance = chance

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        pumps = [asyncio.create_task(self._pump(*ends)) for ends in ((reader, ours, 0), (theirs, writer, 1))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            for end in (ours, writer):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_fail: int) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                fault = self._fault() if may_fail else ""
                if fault == "cut":
                    writer.write(data[: len(data) // 2])
                    return
                if fault == "no http":
                    writer.write(b"\0\1\2 this is nobody's protocol\r\n\r\n")
                    return
                if fault == "hold":
                    await asyncio.sleep(2)
                writer.write(data)
                await writer.drain()

    def _fault(self) -> str:
        if self._chance.random() * 1000 >= FAULTS_IN_THOUSAND:
            return ""
        fault = self._chance.choice(FAULTS)
        self.counts[fault] += 1
        return fault


# The clients


@dataclass
class Seen:
    """What clients saw: ``complete`` are the ids of rows of answers that came to their end."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    complete: list[str] = field(default_factory=list)

    def right(self, kind: str, log_id: str) -> None:
        self.counts[f"{kind}: right"] += 1
        self.complete.append(log_id)

    def refused(self, kind: str, why: str) -> None:
        self.counts[f"{kind}: {why}"] += 1


class Clients:
    """Each method is one thing that a client does."""

    def __init__(self, base: str, seen: Seen, chance: random.Random) -> None:
        self._base = base
        self._seen = seen
        self._chance = chance
        self._client = httpx.AsyncClient(base_url=base, timeout=30, limits=httpx.Limits(max_connections=200))
        self._number = 0

    async def close(self) -> None:
        await self._client.aclose()

    def _asked(self, question: str = "", **more: Any) -> dict[str, Any]:
        self._number += 1
        text = question or f"{self._number} " + "x" * self._chance.randrange(2000)
        return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}

    async def chat(self) -> None:
        await self._chat("chat", self._asked(), BEARER)

    async def kept(self) -> None:
        question = f"One of fifty questions: {self._chance.randrange(50)}"
        await self._chat(
            "kept", self._asked(question), {**BEARER, "cf-aig-cache-ttl": "600", "cf-aig-cache-key": question}
        )

    async def _chat(self, kind: str, asked: dict[str, Any], headers: dict[str, str]) -> None:
        answer = await self._client.post(CHATS, json=asked, headers=headers)
        if answer.status_code != 200:
            self._seen.refused(kind, refusal(answer))
        elif answer.json()["choices"][0]["message"]["content"] != digest(asked["messages"][-1]["content"]):
            self._seen.wrong.append(f"{kind}: {answer.text[:300]}")
        else:
            self._seen.right(kind, answer.headers["cf-aig-log-id"])

    async def stream(self) -> None:
        await self._stream("stream", leaves_after=-1)

    async def cancel(self) -> None:
        await self._stream("cancel", leaves_after=self._chance.randrange(12))

    async def _stream(self, kind: str, leaves_after: int) -> None:
        asked = self._asked(stream=True, stream_options={"include_usage": True})
        text, is_done = "", False
        async with self._client.stream("POST", CHATS, json=asked, headers=BEARER) as answer:
            if answer.status_code != 200:
                await answer.aread()
                self._seen.refused(kind, refusal(answer))
                return
            async for line in answer.aiter_lines():
                data = line.removeprefix("data: ")
                if data == "[DONE]":
                    is_done = True
                elif data.startswith("{"):
                    event = json.loads(data)
                    if "error" in event:
                        self._seen.refused(kind, str(event["error"].get("code")))
                        return
                    text += "".join(choice["delta"].get("content", "") for choice in event["choices"])
                leaves_after -= 1
                if leaves_after == 0:
                    self._seen.refused(kind, "left")
                    return
        expected = digest(asked["messages"][-1]["content"])
        if not expected.startswith(text) or (is_done and text != expected):
            self._seen.wrong.append(f"{kind}: {text}")
        elif is_done:
            self._seen.right(kind, answer.headers["cf-aig-log-id"])
        else:
            self._seen.refused(kind, "cut")

    async def call(self) -> None:
        """Talk for twenty seconds; each frame has to come back, in order."""
        frames = [base64.b64encode(self._chance.randbytes(1920)).decode() for _ in range(20)]
        heard = 0
        options: Any = {"additional_headers": BEARER, "max_size": None, "open_timeout": 30}
        async with connect(self._base.replace("http", "ws") + CALL, **options) as call:

            async def talk() -> None:
                for number in range(FRAMES):
                    await call.send(json.dumps({"type": "input_audio_buffer.append", "audio": frames[number % 20]}))
                    await asyncio.sleep(FRAME_SECONDS)

            talking = asyncio.create_task(talk())
            try:
                while heard < FRAMES:
                    event = json.loads(await asyncio.wait_for(call.recv(), 30))
                    if event["type"] == "error":
                        self._seen.refused("call", str(event["error"].get("code")))
                        return
                    if event["type"] != "response.output_audio.delta":
                        continue
                    if event["delta"] != frames[heard % 20]:
                        self._seen.wrong.append(f"call: frame {heard}")
                        return
                    heard += 1
            finally:
                talking.cancel()
                await asyncio.gather(talking, return_exceptions=True)
        self._seen.counts["call: right"] += 1

    async def local(self) -> None:
        asked = {**self._asked("Say hello."), "model": "local", "max_tokens": 8}
        answer = await self._client.post(f"{PLANE}/local/chat/completions", json=asked, timeout=120)
        if answer.status_code != 200:
            self._seen.refused("local", refusal(answer))
        elif not answer.json()["choices"][0]["message"]["content"]:
            self._seen.wrong.append("local: an empty answer")
        else:
            self._seen.right("local", answer.headers["cf-aig-log-id"])

    async def console(self) -> None:
        for path in ("/", "/api/session", "/api/logs?limit=50", "/api/analytics/summary", "/metrics"):
            answer = await self._client.get(path)
            self._seen.counts[f"console: {answer.status_code}"] += 1

    async def attempt(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do it; a connection that is not there or breaks is counted."""
        kind = act.__name__
        try:
            await act()
        except (httpx.HTTPError, OSError, WebSocketException, TimeoutError) as error:
            self._seen.refused(kind, type(error).__name__)


def refusal(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code} {answer.json()['error']['code']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code}"


# The gateway


class Gateway:
    """A gateway as a process that can be killed and started again."""

    def __init__(self, folder: Path, upstream: int, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
        self._environment["TRUNKLINE_PROVIDERS__OPENAI__BASE_URL"] = f"http://127.0.0.1:{upstream}/v1"
        if url:
            self._environment["TRUNKLINE_DATABASE_URL"] = url
        # A call that goes on with another connection to the provider sends the sound of the last turn again.
        self._run("gateways", "set", "default", "--no-resume")
        self.process = self._started()
        self.samples: list[tuple[float, float, int]] = []

    def _run(self, *words: str) -> None:
        command = [sys.executable, "-m", "trunkline", *words, "--data-dir", str(self._folder)]
        subprocess.run(command, env=self._environment, check=True, stdout=subprocess.DEVNULL)

    def _started(self) -> subprocess.Popen[bytes]:
        options = ["--port", str(self.port), "--data-dir", str(self._folder)]
        command = [sys.executable, "-m", "trunkline", "serve", *options]
        with (self._folder / "serve.log").open("ab") as log:
            return subprocess.Popen(command, env=self._environment, stderr=log, stdout=log)

    async def restart(self, number: int) -> None:
        """End the process by a signal, and start another at once."""
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait)
        self.process = self._started()
        await self.until_ready()

    async def until_ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.base) as client:
            for _ in range(1200):
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get("/healthz")).status_code == 200:
                        return
                await asyncio.sleep(0.05)
        raise SystemExit(f"The gateway did not start: {(self._folder / 'serve.log').read_text()[-2000:]}")

    def sample(self) -> None:
        """Note the memory of the gateway's own process in MB, and how many files it has open."""
        with contextlib.suppress(OSError):
            process = Path(f"/proc/{self.process.pid}")
            resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            self.samples.append((time.monotonic(), resident, len(list((process / "fd").iterdir()))))


def lock(file: Path, seconds: float) -> None:
    """Keep everybody else from writing to a SQLite database."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(seconds)
    connection.execute("ROLLBACK")
    connection.close()


# The soak


async def every(seconds: float, act: Callable[[], Any]) -> None:
    """Begin something again and again, whether or not the last has ended."""
    pending: set[asyncio.Future[Any]] = set()
    try:
        while True:
            await asyncio.sleep(seconds)
            started = act()
            if started is not None:
                task = asyncio.ensure_future(started)
                pending.add(task)
                task.add_done_callback(pending.discard)
    except asyncio.CancelledError:
        await asyncio.gather(*pending, return_exceptions=True)


async def trouble(gateway: Gateway, file: Path | None, until: float, done: Counter[str]) -> None:
    """Kill, end and start the gateway, and lock its database, until some time."""
    acts = [signal.SIGKILL, signal.SIGTERM, *(["lock"] if file else [])]
    pause = max(10.0, (until - time.monotonic()) / 9)
    number = 0
    while time.monotonic() + pause < until:
        await asyncio.sleep(pause)
        act = acts[number % len(acts)]
        number += 1
        done[str(getattr(act, "name", act))] += 1
        if isinstance(act, signal.Signals):
            await gateway.restart(act)
        elif file is not None:
            await asyncio.to_thread(lock, file, 3.0)


async def soak(options: argparse.Namespace, folder: Path, url: str) -> dict[str, Any]:
    chance, seen, done = random.Random(options.seed), Seen(), Counter[str]()
    async with provider() as port:
        chaos = Chaos(port, chance)
        proxy = await asyncio.start_server(chaos.serve, "127.0.0.1", 0)
        gateway = Gateway(folder, proxy.sockets[0].getsockname()[1], url)
        try:
            await gateway.until_ready()
            clients = Clients(gateway.base, seen, chance)
            kinds = [clients.chat] * 6 + [clients.kept] * 3 + [clients.stream] * 3 + [clients.cancel]
            end = time.monotonic() + options.minutes * 60
            troubled = time.monotonic() + options.minutes * 20
            tasks = [
                every(1 / options.rate, lambda: clients.attempt(chance.choice(kinds))),
                every(20 / options.calls, lambda: clients.attempt(clients.call)),
                every(60, lambda: clients.attempt(clients.local)),
                every(10, lambda: clients.attempt(clients.console)),
                every(SAMPLE_SECONDS, gateway.sample),
            ]
            running = [asyncio.create_task(task) for task in tasks]
            await trouble(gateway, None if url else folder / FILE_NAME, troubled, done)
            left_alone = time.monotonic()
            while time.monotonic() < end:
                await asyncio.sleep(min(60.0, end - time.monotonic()))
                left = (end - time.monotonic()) / 60
                say(f"{left:.0f} minutes left, {len(seen.complete)} complete, {seen.wrong[:3]}")
            for task in running:
                task.cancel()
            await asyncio.gather(*running)
            await clients.close()
            gateway.process.terminate()
            await asyncio.to_thread(gateway.process.wait, 60)
        finally:
            gateway.process.kill()
            proxy.close()
    rows = await counted(folder, url, seen.complete)
    samples = [sample for sample in gateway.samples if sample[0] > left_alone]
    return {
        "minutes": options.minutes,
        "rate": options.rate,
        "database": "PostgreSQL" if url else "SQLite",
        "seen": dict(sorted(seen.counts.items())),
        "complete": len(seen.complete),
        "wrong": seen.wrong,
        "lost": [one for one in seen.complete if one not in rows],
        "doubled": [one for one, count in rows.items() if count > 1],
        "troubles": dict(done),
        "faults": dict(chaos.counts),
        "memory MB, by tenths of the time left alone": by_tenths([resident for _, resident, _ in samples]),
        "open files, by tenths": by_tenths([float(files) for _, _, files in samples]),
    }


async def counted(folder: Path, url: str, ids: Sequence[str]) -> dict[str, int]:
    """Return how many rows of the log have each id; a gateway that has ended has brought all into the database."""
    database = await Database.open(folder, url)
    try:
        async with database.reading() as connection:
            query = select(schema.logs.c.id, func.count()).group_by(schema.logs.c.id)
            found = {row[0]: row[1] for row in await connection.execute(query)}
    finally:
        await database.close()
    return {one: found[one] for one in ids if one in found}


def by_tenths(values: Sequence[float]) -> list[float]:
    size = max(1, len(values) // 10)
    return [round(statistics.median(values[at : at + size]), 1) for at in range(0, size * 10, size) if values[at:]]


def table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['minutes']:g} minutes on {found['database']}, {found['rate']:g} requests a second besides calls.",
        f"Complete answers {found['complete']:,}: wrong {len(found['wrong'])}, without a row {len(found['lost'])}, "
        f"with two {len(found['doubled'])}.",
        f"Troubles {found['troubles']}, faults on the way to the provider {found['faults']}.",
        *(f"  {what}: {count:,}" for what, count in found["seen"].items()),
        *(f"{name}: {values}" for name, values in found.items() if name.endswith(("alone", "tenths"))),
    ]
    return "\n".join(lines)


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--rate", type=float, default=20, help="requests a second, besides calls")
    parser.add_argument("--calls", type=float, default=4, help="calls at once")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--database-url", default="", help="'postgresql' starts a server for it")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    options = parsed()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-soak-")))
        (folder / "models").symlink_to(default_data_dir() / "models", target_is_directory=True)
        url = options.database_url
        if url == "postgresql":
            url = stack.enter_context(postgres_server()).fresh()
        found = uvloop.run(soak(options, folder, url))
        options.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(table(found))
    if found["wrong"] or found["lost"] or found["doubled"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
