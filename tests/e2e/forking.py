"""A program that runs Python samples, each in a process of its own that has the large libraries imported already.

A line of JSON asks for a sample (``code``, ``folder``, ``environment``, and ``output``, a file for what it prints); the
line that answers is its exit status. To import OpenAI's library takes a second of a core, and there are many samples.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

import cloudflare
import openai

LIBRARIES = (cloudflare.Cloudflare, openai.AsyncOpenAI, openai.OpenAI)


def main() -> None:
    openai.OpenAI(api_key="none").chat.completions  # noqa: B018 - its parts are imported when first they are used
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(run(asked))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def run(asked: dict[str, Any]) -> int:
    with open(asked["output"], "w", encoding="utf-8") as output:
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.stdout = sys.stderr = output
        try:
            exec(compile(asked["code"], "<sample>", "exec"), {"__name__": "__main__"})
        except SystemExit as ending:
            return int(ending.code or 0)
        except BaseException:
            traceback.print_exc()
            return 1
        return 0


if __name__ == "__main__":
    main()
