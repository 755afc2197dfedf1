"""What goes into a build is fixed, and the same sources make the same packages."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.e2e.documents import blocks
from tests.scripts import script

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


def test_what_builds_the_packages_is_fixed_too() -> None:
    versions = locked("build")
    asked = (ROOT / "requirements" / "build.in").read_text("utf-8").splitlines()
    build_system = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert set(build_system) < set(asked)
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


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


# Tools that find what they are told to find. To pip-audit what is not known is no fault, unless it is to be strict.
_AUDITS = {
    "pip-audit": """#!/bin/sh
case " $* " in *" --strict "*) ;; *) exit 0;; esac
for last; do :; done
case "$PYTHON_FAULTS" in *"$last"*) echo "Found 1 known vulnerability in 1 package"; exit 1;; esac
case "$PYTHON_UNKNOWN" in *"$last"*) echo "ERROR: Dependency not found"; exit 1;; esac
""",
    "npm": """#!/bin/sh
case "$NPM_UNKNOWN" in *"$(basename "$PWD")"*) echo "npm error audit endpoint returned an error"; exit 1;; esac
grep -q "$NPM_FAULTS" package-lock.json || exit 0
echo "# npm audit report"; exit 1
""",
}
_ADVISED = {"PYTHON_FAULTS": "faulty.txt", "NPM_FAULTS": "minimist"}


@pytest.mark.parametrize(
    ("services", "said"),
    [
        (_ADVISED, []),
        ({**_ADVISED, "PYTHON_FAULTS": "faulty.txt requirements/core.txt"}, ["requirements/core.txt has known faults"]),
        ({**_ADVISED, "NPM_FAULTS": "minimist\\|marked"}, ["web/package-lock.json has known faults"]),
        ({**_ADVISED, "PYTHON_UNKNOWN": "requirements/core.txt"}, ["requirements/core.txt was not looked up whole"]),
        ({**_ADVISED, "NPM_UNKNOWN": "web"}, ["web/package-lock.json was not looked up whole"]),
        (
            {"PYTHON_UNKNOWN": "faulty.txt", "PYTHON_FAULTS": "", "NPM_FAULTS": "nothing"},
            ["no advisory service for Python packages answers", "no advisory service for npm packages answers"],
        ),
        (
            {"PYTHON_FAULTS": "", "NPM_FAULTS": "nothing"},
            ["no advisory service for Python packages answers", "no advisory service for npm packages answers"],
        ),
    ],
)
def test_an_audit_passes_where_services_that_know_of_faults_know_of_none(
    tmp_path: Path, services: dict[str, str], said: list[str]
) -> None:
    """The recipe itself. A mirror without advisories finds no fault in anything."""
    tools, node, stamps = (tmp_path / ".venv" / name for name in ("supply/bin", "node", "stamps"))
    for folder in (tools, node, stamps, tmp_path / "requirements", tmp_path / "web"):
        folder.mkdir(parents=True)
    for path in ("Makefile", "requirements/audit.py"):
        shutil.copy(ROOT / path, tmp_path / path)
    for path in ("pyproject.toml", "requirements/core.txt", "requirements/teams.txt"):
        (tmp_path / path).touch()
    (tmp_path / "web" / "package-lock.json").write_text("marked", "utf-8")
    (tools / "python").symlink_to(sys.executable)
    for folder, tool in ((tools, "pip-audit"), (node, "npm")):
        (folder / tool).write_text(_AUDITS[tool], "utf-8")
        (folder / tool).chmod(0o755)
    for name in ("venv", "supply", "node"):
        (stamps / name).touch()
    empty = dict.fromkeys(("PYTHON_FAULTS", "PYTHON_UNKNOWN", "NPM_FAULTS", "NPM_UNKNOWN"), "")
    done = subprocess.run(
        ["make", "audit"],
        cwd=tmp_path,
        env={**os.environ, **empty, **services},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (not said), done.stdout
    complaints = [line for line in done.stdout.splitlines() if line.startswith("make audit: ")]
    assert len(complaints) == len(said)
    assert all(one in complaint for one, complaint in zip(said, complaints, strict=True)), complaints
    assert ("requirements/teams.txt: no known faults" in done.stdout) == ("faulty.txt" in services["PYTHON_FAULTS"])


def test_a_release_is_what_a_commit_holds_and_nothing_besides(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True)
    author = ["-c", "user.name=A", "-c", "user.email=a@trunkline.example"]
    run(["git", "init", "--quiet"], check=True)
    assert run(["make", "committed"]).returncode != 0
    run(["git", "add", "Makefile"], check=True)
    run(["git", *author, "commit", "--quiet", "--message", "One"], check=True)
    assert run(["make", "committed"]).returncode == 0
    (tmp_path / "more.py").touch()
    refused = run(["make", "committed"])
    assert refused.returncode != 0
    assert "?? more.py" in refused.stdout


def test_a_list_of_packages_names_its_subject_what_that_asks_for_and_no_moment() -> None:
    sbom = script("requirements", "sbom.py")
    assert sbom.EXTRAS == LOCKS
    assert f"TEAMS = {' '.join(TEAMS)}\n" in (ROOT / "Makefile").read_text("utf-8")
    project = {"dependencies": ["One.Two[x]>=3"], "optional-dependencies": {"local": ["four==5"]}}

    def made(moment: str) -> dict[str, Any]:
        return {
            "serialNumber": moment,
            "metadata": {"timestamp": moment, "component": {"name": "trunkline", "bom-ref": "root"}},
            "components": [
                {"name": name, "bom-ref": f"L{number}", "description": "a line"}
                for number, name in enumerate(("one-two", "four", "six"))
            ],
            "dependencies": [{"ref": "root"}, {"ref": "L0"}],
        }

    first = sbom.finished("local", made("today"), "7.8", project, 1_700_000_000)
    assert first == sbom.finished("local", made("tomorrow"), "7.8", project, 1_700_000_000)
    assert first["metadata"]["component"] == {"name": "trunkline", "bom-ref": "root", "version": "7.8"}
    assert first["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert first["dependencies"] == [{"ref": "L0"}, {"ref": "root", "dependsOn": ["L0", "L1"]}]
    assert first["components"][2] == {"name": "six", "bom-ref": "L2"}


def test_a_signature_is_made_and_checked_by_the_commands_of_the_page(tmp_path: Path) -> None:
    assert shutil.which("ssh-keygen"), "`make unit` installs openssh-client or says so"
    shown = [block.text for block in blocks("docs/releasing.md") if "ssh-keygen" in block.text]
    sign, check = (text.replace("v0.2.0", "v9.9.9") for text in shown)
    line = next(block.text for block in blocks("docs/releasing.md") if block.text.startswith("releases@trunkline"))
    (tmp_path / "dist").mkdir()
    (tmp_path / "home").mkdir()
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "KEY": str(tmp_path / "key")}
    for name in ("key", "strangers"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)

    def shell(commands: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", commands], cwd=folder, env={**environment, **more}, capture_output=True, text=True
        )

    (tmp_path / "dist" / "a.whl").write_text("a wheel", "utf-8")
    sums = "".join(f"{hashlib.sha256(b'a wheel').hexdigest()}  {name}\n" for name in ("a.whl", "not-fetched.whl"))
    (tmp_path / "dist" / "SHA256SUMS").write_text(sums, "utf-8")
    author = "git config user.name A; git config user.email a@trunkline.example"
    assert shell(f"git init -q; {author}; git commit -q --allow-empty -m A", tmp_path).returncode == 0
    signed = shell(sign, tmp_path)
    assert signed.returncode == 0, signed.stderr
    public = (tmp_path / "key.pub").read_text("utf-8").rpartition(" ")[0]
    (tmp_path / "dist" / "allowed_signers").write_text(line.replace("ssh-ed25519 AAAA...", public) + "\n", "utf-8")
    good = shell(check, tmp_path / "dist")
    assert good.returncode == 0, good.stderr
    assert good.stdout.startswith('Good "trunkline-release" signature for releases@trunkline')
    (tag,) = re.findall(r"`(git [^`]+ verify-tag) v0\.2\.0`", (ROOT / "docs" / "releasing.md").read_text("utf-8"))
    signers = str(tmp_path / "dist" / "allowed_signers")
    assert shell(f"{tag} v9.9.9", tmp_path / "dist", SIGNERS=signers).returncode == 0
    assert shell(f"{tag} v9.9.9", tmp_path / "dist", SIGNERS="/dev/null").returncode != 0
    (tmp_path / "dist" / "a.whl").write_text("another", "utf-8")
    assert shell(check, tmp_path / "dist").returncode != 0
    (tmp_path / "dist" / "a.whl").write_text("a wheel", "utf-8")
    (tmp_path / "dist" / "SHA256SUMS.sig").unlink()
    assert shell(sign.partition("\n")[0], tmp_path, KEY=str(tmp_path / "strangers")).returncode == 0
    assert shell(check, tmp_path / "dist").returncode != 0


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
    """Install a wheel where nothing of this checkout is, and try it as a release is tried."""
    home = folder / "installed"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = str(home / "bin" / "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--no-compile", str(wheel)], check=True, capture_output=True)
    site = next((home / "lib").glob("python*")) / "site-packages"
    # What it needs is that of the tests: packages alone, and no file of theirs that leads back to the checkout.
    (site / "needed.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")), "utf-8")
    tried = [python, str(ROOT / "requirements" / "trial.py")]
    done = subprocess.run(tried, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("trunkline ")
    assert done.stdout.endswith("/healthz: 200\n/: 200\n")
    where = [python, "-I", "-c", "import trunkline; print(trunkline.__file__)"]
    assert str(site) in subprocess.run(where, cwd=folder, capture_output=True, text=True, check=True).stdout
