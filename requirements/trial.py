"""Tries an installed Trunkline as somebody would who has just installed it: ``bin/python requirements/trial.py``.

Nothing of the checkout is used: the program is the one beside this Python, in a folder of its own, on a free port.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

TRUNKLINE = str(Path(sys.executable).with_name("trunkline"))


def main() -> None:
    """Ask it for its version, look it through, serve, ask it how it is and for its console, and stop it."""
    with tempfile.TemporaryDirectory() as folder:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE", "PYTHON"))}
        clean["TRUNKLINE_DATA_DIR"] = f"{folder}/data"
        with socket.create_server(("127.0.0.1", 0)) as free:
            clean["TRUNKLINE_PORT"] = str(free.getsockname()[1])  # for the doctor, who looks at what is there
        for command in ("--version", "doctor"):
            subprocess.run([TRUNKLINE, command], cwd=folder, env=clean, check=True)
        serving = subprocess.Popen(
            [TRUNKLINE, "serve", "--port", "0"], cwd=folder, env=clean, stderr=subprocess.PIPE, text=True
        )
        try:
            served(serving)
        finally:
            serving.terminate()
            status = serving.wait(60)
    if status not in (0, -15, 143):
        raise SystemExit(f"make release: it ended with status {status}")


def served(serving: subprocess.Popen[str]) -> None:
    """Wait for the address that it announces, and ask there."""
    said = []
    assert serving.stderr is not None
    for line in serving.stderr:
        said.append(line)
        if found := re.search(r"ready: (http://\S+)", line):
            break
    else:
        raise SystemExit(f"make release: it does not serve:\n{''.join(said)}")
    for path, expected in (("/healthz", '{"status":"ok"}'), ("/", "<!doctype html>")):
        with urllib.request.urlopen(found[1].rstrip("/") + path, timeout=60) as answer:
            text = answer.read().decode()
        if expected not in text.lower():
            raise SystemExit(f"make release: {path} says {text[:200]!r}")
        print(f"{path}: {answer.status}")


if __name__ == "__main__":
    main()
