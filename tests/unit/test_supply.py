"""What goes into a build is fixed, and the same sources make the same packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TEAMS = ["postgres", "valkey", "oidc", "parquet", "otel"]
LOCKS = {"core": [], "local": ["local"], "teams": TEAMS}
_PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ; .*)?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)"
)


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    found = list(_PINNED.finditer(text))
    assert (
        _PINNED.sub("", text).strip() == ""
    )  # there is nothing else: no address, no option, no package without a hash
    return {canonicalize_name(one["name"]): one["version"] for one in found}


@pytest.mark.parametrize(("name", "extras"), LOCKS.items())
def test_a_lock_file_fixes_every_package_by_its_hash_and_agrees_with_the_project(name: str, extras: list[str]) -> None:
    versions = locked(name)
    wanted = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    for line in wanted:
        requirement = Requirement(line)
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{line} is not locked: run `make lock`"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{line}: {version} is locked; run `make lock`"
        )
    core = locked("core")
    assert {package: version for package, version in versions.items() if package in core} == core


def test_what_is_locked_is_what_the_tests_ran_with() -> None:
    """A release that has other major versions than the tests had was never tested."""
    from importlib.metadata import version

    for name, pinned in locked("core").items():
        assert pinned.split(".")[0] == version(name).split(".")[0], name


def test_the_consoles_lock_file_fixes_every_package_by_its_hash() -> None:
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((ROOT / "web" / "package.json").read_text("utf-8"))
    root = lock["packages"].pop("")
    assert all(root[kind] == wanted[kind] for kind in ("dependencies", "devDependencies"))
    assert len(lock["packages"]) > 100
    for name, package in lock["packages"].items():
        assert package.get("link") or re.match(r"sha(512|1)-", package["integrity"]), name
        assert "resolved" not in package, name


def test_nothing_says_to_look_for_packages_in_a_second_place() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    places = re.compile(
        r"^\s*(--?(extra-)?index-url|-i |--find-links|registry\s*=|@\w+:registry)|\[\[?tool\.uv\.index", re.MULTILINE
    )
    read = [
        name
        for name in listed
        if Path(name).name in ("pyproject.toml", ".npmrc", "pip.conf", "Makefile") or name.startswith("requirements/")
    ]
    assert len(read) >= 6
    assert [name for name in read if places.search((ROOT / name).read_text("utf-8"))] == []


def test_no_script_of_an_npm_package_is_run() -> None:
    for name in ("Makefile", "hatch_build.py"):
        text = (ROOT / name).read_text("utf-8")
        runs = re.findall(r"npm[\"\], ]*(?:ci|install)\b.*", text)
        assert runs
        assert all("--ignore-scripts" in run for run in runs), name


def test_an_audit_without_an_advisory_service_fails_and_says_so(tmp_path: Path) -> None:
    """The recipe itself, with tools that find nobody to ask."""
    tools = tmp_path / ".venv" / "supply" / "bin"
    stamps = tmp_path / ".venv" / "stamps"
    for folder in (tools, stamps, tmp_path / "requirements", tmp_path / "web"):
        folder.mkdir(parents=True)
    for name in ("venv", "supply", "node"):
        (stamps / name).touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    os.utime(tmp_path / "Makefile", (0, 0))
    # As pip-audit does: what nobody could be asked about is no fault, unless it is told to be strict.
    (tools / "pip-audit").write_text('#!/bin/sh\ncase " $* " in *" --strict "*) exit 1;; esac\n', "utf-8")
    (tools / "pip-audit").chmod(0o755)
    (tmp_path / "pyproject.toml").touch()
    os.utime(tmp_path / "pyproject.toml", (0, 0))
    done = subprocess.run(["make", "audit"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "requirements/core.txt has known faults, or no advisory service answered" in done.stdout


def test_packages_that_are_built_twice_are_the_same_bytes(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "src", "hatch_build.py", "pyproject.toml", "CHANGELOG.md", "LICENSE", "README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    made: list[dict[str, bytes]] = []
    for place, mask, moment in (
        (tmp_path / "one", 0o022, 1_000_000_000),
        (tmp_path / "other" / "deeper", 0o077, 1_700_000_000),
    ):
        for name in listed if not made else reversed(listed):
            if (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, place / name)
                os.utime(place / name, (moment, moment))
                (place / name).chmod(0o666 & ~mask)
        console = place / "src" / "trunkline" / "_console"
        console.mkdir(exist_ok=True)
        (console / "index.html").write_text("<!doctype html><title>A console</title>", "utf-8")
        environment = {**os.environ, "TRUNKLINE_CONSOLE": "skip", "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", str(place / "dist")],
            cwd=place,
            env=environment,
            check=True,
            capture_output=True,
        )
        made.append({path.name: path.read_bytes() for path in (place / "dist").iterdir()})
    assert {Path(name).suffix for name in made[0]} == {".whl", ".gz"}
    assert made[0].keys() == made[1].keys()
    for name in made[0]:
        assert made[0][name] == made[1][name], name
    smoke(tmp_path, next((tmp_path / "one" / "dist").glob("*.whl")))


def smoke(folder: Path, wheel: Path) -> None:
    """Install a wheel where nothing of this checkout is, and ask it for its version and its console."""
    home = folder / "installed"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next((home / "lib").glob("python*")) / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True, capture_output=True)
    # What it needs is that of the tests: packages alone, and no file of theirs that leads back to the checkout.
    (site / "needed.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")), "utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE", "PYTHON"))}
    asked = (
        "import asyncio, trunkline, httpx; from pathlib import Path\n"
        "from trunkline.server.application import Application; from trunkline.settings import Settings\n"
        "async def main():\n"
        f"    application = Application(Settings(data_dir=Path({str(folder / 'data')!r})))\n"
        "    await application.gateway.start()\n"
        "    transport = httpx.ASGITransport(application)\n"
        "    async with httpx.AsyncClient(transport=transport, base_url='http://localhost') as client:\n"
        "        print((await client.get('/healthz')).text, (await client.get('/')).text)\n"
        "    await application.gateway.close()\n"
        "print(trunkline.__file__); asyncio.run(main())"
    )
    python = str(home / "bin" / "python")
    done = subprocess.run([python, "-c", asked], cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert '{"status":"ok"}' in done.stdout
    assert "A console" in done.stdout
    version = subprocess.run(
        [python, "-m", "trunkline", "--version"], cwd=folder, env=clean, capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("trunkline ")
