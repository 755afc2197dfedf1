"""The command ``trunkline``: one module per command, each parses, calls and prints."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import trunkline
from trunkline.cli import (
    analytics,
    cache,
    control,
    conversations,
    gateways,
    keys,
    local,
    logs,
    models,
    probe,
    providers,
    reproduce,
    routes,
    serve,
    sessions,
    settings,
    transfer,
    users,
    vault,
)
from trunkline.cli.output import complain
from trunkline.errors import TrunklineError

application = typer.Typer(
    name="trunkline",
    help="AI gateway for text and real-time voice: one credential on every transport.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
application.command("serve")(serve.command())
application.command("local")(local.local)
application.command("probe")(probe.probe)
application.command("reproduce")(reproduce.reproduce)
application.add_typer(keys.application, name="keys")
application.add_typer(vault.application, name="vault")
application.add_typer(gateways.application, name="gateways")
application.add_typer(control.application, name="limits")
application.add_typer(cache.application, name="cache")
application.add_typer(providers.application, name="providers")
application.add_typer(routes.application, name="routes")
application.add_typer(users.application, name="users")
application.add_typer(models.application, name="models")
application.add_typer(sessions.application, name="sessions")
application.add_typer(conversations.application, name="conversations")
application.add_typer(logs.application, name="logs")
application.command("analytics")(analytics.analytics)
application.command("export")(transfer.export)
application.command("import")(transfer.import_)
application.command("backup")(transfer.backup)
application.command("restore")(transfer.restore)
application.command("settings")(settings.settings)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trunkline {trunkline.__version__}")
        raise typer.Exit


@application.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before a command."""


def main() -> None:
    """Run the command line; an error is one line on standard error and exit status 2."""
    try:
        application()
    except TrunklineError as error:
        complain(str(error))
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written
        complain(f"{error.filename}: {error.strerror}." if error.filename else f"{error}.")
        sys.exit(2)
