"""An application that is made when it is first asked for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from trunkline.server.asgi import App, Message, Receive, Scope, Send
from trunkline.server.late import Late


def test_first_requests_that_come_together_are_served_by_one_application() -> None:
    made: list[App] = []
    served: list[App] = []

    def make() -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            served.append(app)

        made.append(app)
        return app

    async def main() -> None:
        late = Late(make)
        assert made == []
        await asyncio.gather(*(late({}, _nothing, _ignored) for _ in range(5)))
        await late({}, _nothing, _ignored)

    asyncio.run(main())
    assert len(made) == 1
    assert served == made * 6


def test_a_client_who_leaves_does_not_keep_the_others_waiting() -> None:
    async def main() -> None:
        served = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            served.set()

        late = Late(lambda: app)
        first = asyncio.create_task(late({}, _nothing, _ignored))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await late({}, _nothing, _ignored)
        assert served.is_set()

    asyncio.run(main())


def test_a_gateway_starts_without_what_its_apis_need() -> None:
    script = "import sys, trunkline.server.serving\nprint({'fastapi', 'pydantic', 'sqlalchemy.orm'} & {*sys.modules})"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


PRICED_CHAT = """
import asyncio, json, sys
from tests.running import gateway, run
from trunkline.policy.price_list import find_offer

ANSWER = json.dumps({"model": "gpt-4o", "usage": {"prompt_tokens": 9, "completion_tokens": 3}, "choices": []}).encode()
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\nconnection: close\\r\\n"

async def answer(reader, writer):
    await reader.readuntil(b"{}")
    writer.write(HEAD + b"content-length: %d\\r\\n\\r\\n" % len(ANSWER) + ANSWER)
    writer.close()

async def main():
    upstream = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    async with gateway(providers={"openai": {"base_url": f"http://127.0.0.1:{port}/v1"}}) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        path = address.path("openai/chat/completions")
        head = f"POST {path} HTTP/1.1\\r\\nhost: 127.0.0.1\\r\\nauthorization: Bearer sk-1\\r\\nconnection: close\\r\\n"
        writer.write(f"{head}content-type: application/json\\r\\ncontent-length: 2\\r\\n\\r\\n{{}}".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
    upstream.close()

run(main())
assert find_offer.cache_info().currsize == 1, "no price was looked for"
print({"genai_prices", "httpx2", "pydantic"} & {*sys.modules})
"""


def test_a_chat_gets_its_price_without_the_library_that_the_list_is_made_from() -> None:
    root = Path(__file__).parents[2]
    shown = subprocess.run(
        [sys.executable, "-c", PRICED_CHAT], capture_output=True, text=True, check=False, cwd=root, timeout=60
    )
    assert shown.stdout == "set()\n", shown.stderr


async def _nothing() -> Message:
    raise AssertionError("nobody reads")


async def _ignored(message: Message) -> None:
    pass
