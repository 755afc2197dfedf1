"""Builds the console into the package when it is built from a checkout.

``TRUNKLINE_CONSOLE`` says what happens without npm: by default a warning; ``require`` fails; ``skip`` builds nothing.
A source distribution holds the built console, so that a wheel made from it needs no Node.js.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ConsoleHook(BuildHookInterface[Any]):
    """The build hook that hatchling calls."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the console unless it is there, not wanted or cannot be built."""
        wanted = os.environ.get("TRUNKLINE_CONSOLE", "")
        web = Path(self.root) / "web"
        index = Path(self.root) / "src" / "trunkline" / "_console" / "index.html"
        if wanted == "skip" or version == "editable":
            return
        if not web.is_dir():
            if not index.is_file():
                self._without(wanted, "this source distribution holds no console")
            return
        npm = shutil.which("npm")
        if npm is None:
            if not index.is_file():
                self._without(wanted, "npm is not installed")
            return
        if not (web / "node_modules").is_dir():
            subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=web, check=True)
        subprocess.run([npm, "run", "build"], cwd=web, check=True)

    def _without(self, wanted: str, why: str) -> None:
        message = f"The package is built without its console: {why}."
        if wanted == "require":
            raise RuntimeError(message)
        self.app.display_warning(message)
