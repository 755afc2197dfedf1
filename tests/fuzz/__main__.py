"""``python -m tests.fuzz``: see docs/fuzzing.md."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.fuzz.running import Run, atheris_or_none, keep, load_targets, run

BEGAN = time.monotonic()


def main() -> None:
    """Run targets, or one on a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; all where none is named")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long all of it takes (60)")
    parser.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many run side by side")
    parser.add_argument("--seed", type=int, help="begin as another run with this number did")
    parser.add_argument("--list", action="store_true", help="list the targets")
    parser.add_argument("--keep", action="store_true", help="take the best of what was found into the corpora")
    asked = parser.parse_args()
    if len(asked.names) == 2 and Path(asked.names[1]).is_file():
        _repeat(asked.names[0], Path(asked.names[1]))
        return
    atheris = None if asked.list or asked.keep else atheris_or_none()
    targets = load_targets(atheris)
    unknown = [name for name in asked.names if name not in targets]
    if unknown:
        parser.error(f"there is no target {unknown[0]!r}; --list names them")
    chosen = [targets[name] for name in asked.names] or list(targets.values())
    if asked.list:
        print("\n".join(targets))
        return
    if asked.keep:
        keep(chosen)
        return
    if atheris is None:
        print("No atheris here (it has wheels for CPython on Linux, x86-64): hypothesis alone, not guided by coverage.")
    seconds = asked.seconds if asked.minutes is None else asked.minutes * 60
    crashes = run(chosen, Run(seconds, asked.jobs, BEGAN, asked.seed), atheris)
    for path in crashes:
        name = path.parent.name
        print(f"FAILED: to see it again: python -m tests.fuzz {name} {os.path.relpath(path)}")
    print(f"{len(chosen)} targets in {time.monotonic() - BEGAN:.0f} s, {len(crashes)} inputs that fail")
    sys.exit(1 if crashes else 0)


def _repeat(name: str, file: Path) -> None:
    targets = load_targets(None)
    if name not in targets:
        sys.exit(f"There is no target {name!r}; --list names them.")
    targets[name].run(file.read_bytes())
    print(f"{name} takes {file} as it should.")


if __name__ == "__main__":
    main()
