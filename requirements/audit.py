"""Looks for known faults in what is locked: ``python requirements/audit.py``; more arguments are pip-audit's.

Two services are asked, one for each kind of package, and first about a version whose faults are known: a mirror without
advisories finds none there either, and what it says of other packages means nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAULTY_PYTHON = "urllib3==1.24.1"
FAULTY_NPM = ("minimist", "0.0.8")
_FOUND = re.compile(r"^Found \d+ known vulnerabilit|^# npm audit report", re.MULTILINE)


def asked(folder: Path, *command: str) -> tuple[bool | None, str]:
    """Whether a tool found faults, or None where it could not look, and what it said."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if _FOUND.search(done.stdout):
        return True, done.stdout
    return (None if done.returncode else False), done.stdout


def python_packages(folder: Path, arguments: list[str]) -> bool:
    """Whether nothing is known against the lock files of Python packages."""
    tool = [str(Path(sys.executable).with_name("pip-audit")), "--strict", "--disable-pip", *arguments]
    (folder / "faulty.txt").write_text(FAULTY_PYTHON + "\n", "utf-8")
    answers, said = asked(folder, *tool, "--no-deps", "--requirement", "faulty.txt")
    if not answers:
        return _nobody("Python packages", f"{FAULTY_PYTHON} has faults, and it names none", said)
    locks = [f"requirements/{path.name}" for path in sorted((ROOT / "requirements").glob("*.txt"))]
    judged = [_judged(lock, asked(ROOT, *tool, "--require-hashes", "--requirement", lock)) for lock in locks]
    return all(judged)


def console(folder: Path) -> bool:
    """Whether nothing is known against what the console has of npm."""
    name, version = FAULTY_NPM
    wanted = {"name": "faulty", "version": "1.0.0", "dependencies": {name: version}}
    packages = {"": wanted, f"node_modules/{name}": {"version": version}}
    (folder / "package.json").write_text(json.dumps(wanted), "utf-8")
    (folder / "package-lock.json").write_text(
        json.dumps({**wanted, "lockfileVersion": 3, "requires": True, "packages": packages}), "utf-8"
    )
    answers, said = asked(folder, "npm", "audit")
    if not answers:
        return _nobody("npm packages", f"{name} {version} has faults, and it names none", said)
    return _judged("web/package-lock.json", asked(ROOT / "web", "npm", "audit", "--omit=dev"))


def _judged(name: str, answer: tuple[bool | None, str]) -> bool:
    found, said = answer
    if found is False:
        print(f"{name}: no known faults")
        return True
    print(said.rstrip())
    print(f"make audit: {name} {'has known faults' if found else 'was not looked up whole, so nothing is known of it'}")
    return False


def _nobody(kind: str, why: str, said: str) -> bool:
    print(said.rstrip())
    print(
        f"make audit: no advisory service for {kind} answers ({why}): nothing is known of them; see docs/releasing.md"
    )
    return False


def main(arguments: list[str]) -> int:
    """Ask both services, whatever the first one says."""
    with tempfile.TemporaryDirectory() as folder:
        return int(not all([python_packages(Path(folder), arguments), console(Path(folder))]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
