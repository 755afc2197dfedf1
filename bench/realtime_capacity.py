"""How many realtime sessions one worker carries, and what each costs: idle ones in memory, talking ones in time.

Starts a gateway, a provider that speaks like a conversation, and clients, all on loopback, and prints the figures that
docs/realtime.md reports:

    python bench/realtime_capacity.py [--idle 1000] [--talking 200] [--seconds 20]

A talking session sends 25 frames of 40 ms of sound a second and gets as many: each is numbered, and every side checks
that none is missing, doubled or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from trunkline.upstream.address import Origin
from trunkline.upstream.messages import Closed, Text
from trunkline.upstream.websocket import Dialer

FRAME_SECONDS = 0.04
SOUND = base64.b64encode(bytes(24_000 * 2 * 40 // 1000)).decode()
PATH = "/v1/local/default/openai/realtime?model=gpt-realtime"
CREATED = {"type": "session.created", "event_id": "event_0", "session": {"type": "realtime", "id": "sess_1"}}


# The provider


async def provide(connection: Connection, port: int) -> None:
    """Answer each frame of sound with one, in the form of a provider's."""
    from websockets.asyncio.server import ServerConnection, serve

    async def converse(socket: ServerConnection) -> None:
        await socket.send(json.dumps(CREATED))
        expected = 0
        async for message in socket:
            number = int(message[-9:-2])
            if number != expected:
                await socket.close(4000, f"frame {number} instead of {expected}")
                return
            expected += 1
            await socket.send(
                f'{{"type":"response.output_audio.delta","event_id":"event_{number}","response_id":"r",'
                f'"item_id":"i","output_index":0,"content_index":0,"delta":"{SOUND}","n":"{number:07}"}}'
            )

    async with serve(converse, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None) as server:
        connection.send(next(iter(server.sockets)).getsockname()[1])
        await asyncio.get_running_loop().run_in_executor(None, connection.recv)


# The clients


async def talk(origin: Origin, dialer: Dialer, start: float, seconds: float) -> list[float]:
    """Talk for so long; return the way there and back of every frame, in seconds."""
    socket = await dialer.dial(origin, PATH.encode(), [])
    first = await socket.receive()
    assert isinstance(first, Text), first
    sent: list[float] = []
    taken: list[float] = []

    async def hear() -> None:
        count = int(seconds / FRAME_SECONDS)
        while len(taken) < count:
            heard = await socket.receive()
            now = time.perf_counter()
            assert isinstance(heard, Text), heard
            number = int(heard.payload[-9:-2])
            assert number == len(taken), f"heard {number} instead of {len(taken)}"
            taken.append(now - sent[number])

    hearing = asyncio.create_task(hear())
    loop = asyncio.get_running_loop()
    for number in range(int(seconds / FRAME_SECONDS)):
        await asyncio.sleep(max(0.0, start + number * FRAME_SECONDS - loop.time()))
        sent.append(time.perf_counter())
        await socket.send(f'{{"type":"input_audio_buffer.append","audio":"{SOUND}","n":"{number:07}"}}')
    await hearing
    await socket.close(1000, "")
    return taken


async def talk_all(connection: Connection, port: int, count: int, seconds: float) -> None:
    origin, dialer = Origin("http", "127.0.0.1", port), Dialer()
    loop = asyncio.get_running_loop()
    # Spread over one frame's length, as real clients are.
    starts = [loop.time() + 3 + FRAME_SECONDS * place / count for place in range(count)]
    ways = await asyncio.gather(*(talk(origin, dialer, start, seconds) for start in starts))
    connection.send([way for one in ways for way in one])


async def idle_all(connection: Connection, port: int, count: int) -> None:
    """Open sessions and say nothing; report when all are open, close them when told."""
    origin, dialer = Origin("http", "127.0.0.1", port), Dialer()
    sockets = []
    for _ in range(count):
        socket = await dialer.dial(origin, PATH.encode(), [])
        assert not isinstance(await socket.receive(), Closed)
        sockets.append(socket)
    connection.send("open")
    await asyncio.get_running_loop().run_in_executor(None, connection.recv)
    for socket in sockets:
        socket.abort()
    connection.send("closed")


# The measurement


def process(target: Any, *arguments: Any) -> Connection:
    """Run a coroutine function in a process of its own; return the near end of its pipe."""
    near, far = multiprocessing.get_context("fork").Pipe()
    multiprocessing.get_context("fork").Process(target=_run, args=(target, far, *arguments), daemon=True).start()
    return near


def _run(target: Any, *arguments: Any) -> None:
    uvloop.run(target(*arguments))


def start_gateway(provider_port: int, data: Path) -> tuple[subprocess.Popen[str], int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    environment["TRUNKLINE_PROVIDERS__OPENAI__BASE_URL"] = f"http://127.0.0.1:{provider_port}/v1"
    environment["TRUNKLINE_PROVIDERS__OPENAI__API_KEY"] = "sk-bench"
    command = [sys.executable, "-m", "trunkline", "serve", "--port", "0", "--data-dir", str(data)]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    for line in server.stderr:
        if "ready:" in line:
            return server, int(line.rsplit(":", 1)[1])
    raise SystemExit("The gateway did not start.")


def memory(pid: int) -> int:
    """Resident memory in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--talking", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    chosen = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    provider = process(provide, 0)
    with tempfile.TemporaryDirectory() as data:
        server, port = start_gateway(provider.recv(), Path(data))
        try:
            warm = process(idle_all, port, 20)
            warm.recv()
            warm.send("close")
            warm.recv()
            before = memory(server.pid)
            idle = process(idle_all, port, chosen.idle)
            idle.recv()
            time.sleep(2)
            each = (memory(server.pid) - before) / chosen.idle
            print(f"{chosen.idle} idle sessions: {each / 1024:.1f} KiB of memory each")
            spent, since = cpu_seconds(server.pid), time.perf_counter()
            time.sleep(5)
            share = (cpu_seconds(server.pid) - spent) / (time.perf_counter() - since)
            print(f"  and {share:.1%} of one core together")
            talking = process(talk_all, port, chosen.talking, chosen.seconds)
            time.sleep(4)
            spent, since = cpu_seconds(server.pid), time.perf_counter()
            time.sleep(max(1.0, chosen.seconds - 3))
            share = (cpu_seconds(server.pid) - spent) / (time.perf_counter() - since)
            ways = sorted(way * 1000 for way in talking.recv())
            frames = len(ways) * 2
            print(f"{chosen.talking} talking sessions beside them, {chosen.seconds:.0f} s, {frames} frames: none lost")
            print(f"  {share:.0%} of one core, {share / (chosen.talking * 50) * 1e6:.0f} us a frame")
            median, last = statistics.median(ways), ways[int(len(ways) * 0.99)]
            print(f"  there and back {median:.1f} ms median, {last:.1f} ms for 99 of 100")
            idle.send("close")
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
