"""The command ``trunkline``: one module per command, each parses, calls and prints."""

from __future__ import annotations

import errno
from importlib import import_module
from typing import Any, Final

import click

import trunkline
from trunkline.cli.commands import Group
from trunkline.cli.endings import Ending
from trunkline.cli.output import complain
from trunkline.errors import TrunklineError

# Where each command is: module and name in it, of a function or of a group of commands.
_COMMANDS: Final = {
    "serve": "serve:command",
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
    "doctor": "doctor:doctor",
    "settings": "settings:settings",
    "bench": "bench:bench",
}


class _Commands(Group):
    """All commands; a module is loaded when its command is asked for, for to load them all takes a while."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one, or None where there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(import_module(f"trunkline.cli.{module}"), attribute)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for. An error is one line on standard error and exit status 2.

        Ctrl+C ends it with the status that shells know it by.
        """
        try:
            return super().invoke(ctx)
        except TrunklineError as error:
            complain(str(error))
            ctx.exit(Ending.REFUSED)
        except OSError as error:  # a full disk, a folder that may not be written
            if error.errno == errno.EPIPE:  # whoever reads has enough of it, which click knows how to end
                raise
            complain(f"{error.filename}: {error.strerror}." if error.filename else f"{error}.")
            ctx.exit(Ending.REFUSED)
        except KeyboardInterrupt:
            ctx.exit(Ending.INTERRUPTED)


@click.group(cls=_Commands, context_settings={"max_content_width": 100})
@click.version_option(trunkline.__version__, message="trunkline %(version)s", help="Print the version and stop.")
def application() -> None:
    """AI gateway for text and real-time voice: one credential on every transport."""


def main() -> None:
    """Run the command line."""
    application()
