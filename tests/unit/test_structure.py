"""The repository keeps its own rules: fresh generated files, documented settings, names it must not know."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.scripts import script
from trunkline import settings

ROOT = Path(__file__).parents[2]
PICTURES_AND_SOUNDS = {".png", ".webp", ".ico", ".wav", ".mp3"}


def tracked(*patterns: str) -> list[Path]:
    """The files of text that belong to the project."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and path.suffix not in PICTURES_AND_SOUNDS]


@pytest.mark.parametrize(
    "path",
    [
        "docs/settings.md",
        "docs/providers.md",
        "docs/credentials.md",
        "web/src/gen/openapi.json",
        "web/src/gen/constants.ts",
        "src/trunkline/policy/price_list.json",
        "docs/costs.md",
    ],
)
def test_a_generated_file_is_what_its_source_makes_of_it(path: str) -> None:
    made = script("docs", "generate.py").PAGES[ROOT / path]()
    assert (ROOT / path).read_text("utf-8") == made, "run `make gen`"


def test_imports_point_downwards_and_the_cores_know_no_shell() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_every_folder_of_the_package_has_a_layer() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    layers = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    package = ROOT / "src" / "trunkline"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    assert layers == folders | modules


def test_every_setting_is_documented_and_has_a_sentence_of_help() -> None:
    page = (ROOT / "docs/settings.md").read_text("utf-8")
    for entry in settings.table():
        assert entry.metadata["help"].endswith("."), entry.name
        if entry.name != "providers":
            assert f"`{settings.environment_name(entry)}`" in page


def test_no_package_registry_is_named_and_no_lock_file_holds_addresses() -> None:
    hosts = ("pypi" + ".org", "npm" + "js.org", "python" + "hosted.org", "hugging" + "face.co/")
    for path in tracked():
        # One of the hosts has a subdomain that is a provider's API and no registry.
        text = path.read_text("utf-8", errors="replace").replace("api-inference." + hosts[3], "")
        assert not [host for host in hosts if host in text], path
    for lock in tracked("*package-lock.json"):
        assert '"resolved"' not in lock.read_text("utf-8"), lock


def test_the_continuous_integration_runs_what_a_contributor_runs() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8")
    assert "\nmake test\n" in script
    assert " nice make fuzz " in script
    assert "\nwait $fuzzing || " in script
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_unfinished_work_is_not_marked_in_the_code() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X:")
    for path in tracked("src/*.py", "web/src/*", "tests/*.py"):
        text = path.read_text("utf-8")
        assert not [mark for mark in marks if mark in text], path
