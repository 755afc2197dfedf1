"""An application that is made when it is first needed: to import and make it takes most of a gateway's start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trunkline.server.asgi import App, Receive, Scope, Send


class Late:
    """What ``make`` returns, made once, in a thread beside the loop, by the first request for it."""

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._made: asyncio.Task[App] | None = None

    def begin(self) -> asyncio.Task[App]:
        """Make it now, for requests that are about to come."""
        if self._made is None:
            self._made = asyncio.create_task(asyncio.to_thread(self._make))
        return self._made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        app = await asyncio.shield(self.begin())
        await app(scope, receive, send)
