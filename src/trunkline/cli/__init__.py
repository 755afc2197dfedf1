"""The command ``trunkline``: one module per command, each parses, calls and prints."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Final

import typer

import trunkline
from trunkline.cli.output import complain
from trunkline.errors import TrunklineError

# Where each command is: module and name in it, of a function or of a group of commands.
_COMMANDS: Final = {
    "serve": "serve:flagged",
    "local": "local:local",
    "probe": "probe:probe",
    "reproduce": "reproduce:reproduce",
    "keys": "keys:application",
    "vault": "vault:application",
    "gateways": "gateways:application",
    "limits": "control:application",
    "cache": "cache:application",
    "providers": "providers:application",
    "routes": "routes:application",
    "users": "users:application",
    "models": "models:application",
    "sessions": "sessions:application",
    "conversations": "conversations:application",
    "logs": "logs:application",
    "analytics": "analytics:analytics",
    "export": "transfer:export",
    "import": "transfer:import_",
    "backup": "transfer:backup",
    "restore": "transfer:restore",
    "settings": "settings:settings",
    "bench": "bench:bench",
}


def application(asked: str = "") -> typer.Typer:
    """Return the command line; with no other command than ``asked``, if that is one: to load them all takes a while."""
    whole = typer.Typer(
        name="trunkline",
        help="AI gateway for text and real-time voice: one credential on every transport.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    whole.callback()(_options)
    for name in [asked] if asked in _COMMANDS else _COMMANDS:
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(import_module(f"trunkline.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            whole.add_typer(found, name=name)
        else:
            whole.command(name)(found)
    return whole


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trunkline {trunkline.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before a command."""


def main() -> None:
    """Run the command line; an error is one line on standard error and exit status 2."""
    try:
        application(*sys.argv[1:2])()
    except TrunklineError as error:
        complain(str(error))
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written
        complain(f"{error.filename}: {error.strerror}." if error.filename else f"{error}.")
        sys.exit(2)
