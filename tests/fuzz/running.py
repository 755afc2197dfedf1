"""Runs targets for as long as it is told: guided by coverage where atheris is, else with hypothesis alone."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from random import Random
from types import FrameType, ModuleType
from typing import Any, NamedTuple

from tests.fuzz.mutation import LONGEST, mutated
from tests.fuzz.target import CORPUS, Target

HERE = Path(__file__).parent
CRASHES = HERE / "crashes"
FOUND = HERE / "found"
# An input that takes longer hangs, on however slow a machine.
_HANGS_SECONDS = 20
_SHRINK_SECONDS = 3.0
# What no target needs longer for than to stop.
_MARGIN_SECONDS = 4.0
# So many inputs for each target where runs are to be alike: a faster machine goes no further.
_INPUTS_ALIKE = 2000
_MOST_KEPT = 12
_LONGEST_KEPT = 3000
# What decides; to watch all of the gateway takes as long again before the first input.
_WATCHED = [
    f"trunkline.{name}"
    for name in (
        *("wire", "credentials", "providers", "policy", "unified", "realtime", "store", "upstream"),
        *("server.heads", "server.known_heads"),
    )
]
_PACKAGE = f"{os.sep}trunkline{os.sep}"


def atheris_or_none() -> ModuleType | None:
    """Return atheris where it is: it has wheels for Linux on x86-64 alone."""
    try:
        import atheris
    except ImportError:
        return None
    found: ModuleType = atheris
    return found


def load_targets(atheris: ModuleType | None) -> dict[str, Target]:
    """Import the table; with atheris, so that what runs of Trunkline is seen."""
    if atheris is not None:
        # It names every module.
        with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=_WATCHED):
            from tests.fuzz.targets import TARGETS
    else:
        from tests.fuzz.targets import TARGETS
    return TARGETS


class Run(NamedTuple):
    """How targets are run: for how long in all, since when, how many side by side, and from which ``seed`` on.

    Without a seed no run is like another. With one they begin alike, and go as far as there is time, or a few thousand
    inputs.
    """

    seconds: float
    jobs: int
    began: float
    seed: int | None = None


def run(targets: Sequence[Target], way: Run, atheris: ModuleType | None) -> list[Path]:
    """Run targets side by side, and share the time among them; return new inputs for which one failed."""
    before = {path for path in CRASHES.rglob("*") if path.is_file()}
    end = way.began + way.seconds - _MARGIN_SECONDS
    waiting, running = list(targets), dict[int, tuple[Target, float]]()
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < way.jobs:
                target = waiting.pop(0)
                share = max(1.0, (end - time.monotonic()) * way.jobs / (len(waiting) + 1 + len(running)))
                running[_started(target, share, way.seed, atheris, Path(folder))] = target, time.monotonic()
            ended, status = os.wait()
            target, since = running.pop(ended)
            code = os.waitstatus_to_exitcode(status)
            words = "ok" if code == 0 else "FAILED"
            print(f"  {target.name:24} {words:6} {time.monotonic() - since:5.1f} s", flush=True)
            if code:
                print(_end_of(Path(folder) / f"{target.name}.log"), file=sys.stderr)
    return sorted({path for path in CRASHES.rglob("*") if path.is_file()} - before)


def _started(target: Target, seconds: float, seed: int | None, atheris: ModuleType | None, folder: Path) -> int:
    process = os.fork()
    if process:
        return process
    # From here on this is the child, which never returns to what its parent was about.
    code = 1
    try:
        output = os.open(folder / f"{target.name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _be_quiet()
        if atheris is None:
            code = _with_hypothesis(target, seconds, seed)
        else:
            _with_atheris(target, seconds, seed, atheris, folder)
    except SystemExit as error:
        code = int(error.code not in (0, None))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _with_atheris(target: Target, seconds: float, seed: int | None, atheris: ModuleType, folder: Path) -> None:
    seeds, crashes = folder / f"{target.name}.seeds", CRASHES / target.name
    # What other runs found would make of this one another.
    found = (FOUND if seed is None else folder / "found") / target.name
    for path in (seeds, found, crashes):
        path.mkdir(parents=True, exist_ok=True)
    for number, written in enumerate(target.seeds):
        (seeds / str(number)).write_bytes(written)

    def mutate(data: bytes, most: int, number: int) -> bytes:
        chance = Random(number)
        if chance.random() < (0.1 if target.is_json else 0.5):
            changed: bytes = atheris.Mutate(data, most)
            return changed
        return mutated(data, chance, target.words, is_json=target.is_json, most=most)

    def try_one(data: bytes) -> None:
        try:
            target.run(data)
        except Exception:
            note_crash(target, data)
            raise

    kept = [str(CORPUS / target.name)] if target.kept else []
    options = [
        *(f"-max_total_time={max(1, int(seconds))}", f"-timeout={_HANGS_SECONDS}", f"-max_len={LONGEST}"),
        *("-rss_limit_mb=3000", "-verbosity=0", f"-artifact_prefix={crashes}/libfuzzer-"),
        *([] if seed is None else [f"-seed={seed}", f"-runs={_INPUTS_ALIKE}"]),
    ]
    atheris.Setup([sys.argv[0], *options, str(found), str(seeds), *kept], try_one, custom_mutator=mutate)
    atheris.Fuzz()  # it ends the process


def _with_hypothesis(target: Target, seconds: float, seed: int | None) -> int:
    from tests.fuzz.examples import failing_example

    end = time.monotonic() + seconds
    round_number = seed or 0
    while time.monotonic() < end:
        failure = failing_example(target, examples=100, seed=round_number)
        if failure is not None:
            note_crash(target, failure)
            traceback.print_exc()
            return 1
        round_number += 1
    return 0


def note_crash(target: Target, data: bytes) -> Path:
    """Keep an input for which a target failed, and a smaller one that fails alike."""
    smaller = _shrunk(target, data)
    folder = CRASHES / target.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(smaller).hexdigest()[:12]
    path.write_bytes(smaller)
    return path


def failure_of(target: Target, data: bytes) -> tuple[str, str, int] | None:
    """Return what goes wrong with an input, and where."""
    try:
        target.run(data)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return type(error).__name__, last.filename, last.lineno or 0
    return None


def _shrunk(target: Target, data: bytes) -> bytes:
    """Leave out pieces for as long as the same goes wrong."""
    wanted, end = failure_of(target, data), time.monotonic() + _SHRINK_SECONDS
    size = len(data) // 2
    while size and wanted is not None:
        at = 0
        while at < len(data) and time.monotonic() < end:
            shorter = data[:at] + data[at + size :]
            if failure_of(target, shorter) == wanted:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def keep(targets: Sequence[Target]) -> None:
    """Take into the corpus of each target, of what was found, the small inputs that see what its seeds do not."""
    _be_quiet()
    for target in targets:
        folder = FOUND / target.name
        found = folder.iterdir() if folder.is_dir() else ()
        inputs = {path.read_bytes() for path in (*target.kept, *found) if path.stat().st_size <= _LONGEST_KEPT}
        seen = {step for seed in target.seeds for step in _steps(target, seed)}
        chosen = []
        for data in sorted(inputs, key=len):
            steps = _steps(target, data)
            if len(chosen) < _MOST_KEPT and not steps <= seen:
                chosen.append(data)
                seen |= steps
        _replace_corpus(target, chosen)


def _steps(target: Target, data: bytes) -> set[tuple[str, int, int]]:
    """Return which steps from line to line of Trunkline are taken for an input."""
    seen: set[tuple[str, int, int]] = set()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if _PACKAGE not in name:
            return None
        before = frame.f_lineno

        def follow(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            seen.add((name, before, frame.f_lineno))
            before = frame.f_lineno
            return follow

        return follow

    sys.settrace(trace)
    try:
        target.run(data)
    finally:
        sys.settrace(None)
    return seen


def _replace_corpus(target: Target, contents: Sequence[bytes]) -> None:
    folder = CORPUS / target.name
    shutil.rmtree(folder, ignore_errors=True)
    if contents:
        folder.mkdir(parents=True)
    for content in contents:
        (folder / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)
    print(f"  {target.name:24} {len(contents):3} inputs, {sum(map(len, contents)):6} bytes", flush=True)


def _end_of(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
    return "\n".join(f"    {line[:300]}" for line in lines[-30:])


def _be_quiet() -> None:
    """What the code logs about odd inputs is as it should be, and would be most of the output."""
    import structlog

    nothing: Any = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=nothing)
