"""The gateway process: an ASGI application on uvicorn."""

from __future__ import annotations

from trunkline.server.application import Application
from trunkline.server.serving import run

__all__ = ["Application", "run"]
