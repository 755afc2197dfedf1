"""A connection without a network: what a server or a client writes to it."""

from __future__ import annotations

import asyncio
from typing import Any


class Wire(asyncio.Transport):
    """A connection's other side: what was written to it, and whether it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self._is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 5) if name in ("peername", "sockname") else default

    def write(self, data: Any) -> None:
        assert not self._is_closed, "written to a closed connection"
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True

    def abort(self) -> None:
        self._is_closed = True
