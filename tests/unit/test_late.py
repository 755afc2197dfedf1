"""An application that is made when it is first asked for."""

from __future__ import annotations

import asyncio
import subprocess
import sys

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


async def _nothing() -> Message:
    raise AssertionError("nobody reads")


async def _ignored(message: Message) -> None:
    pass
