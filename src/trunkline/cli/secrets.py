"""How a command is given a secret: never as an argument, which every process list shows."""

from __future__ import annotations

import getpass
import os
import sys

import click

from trunkline.errors import SettingsError

from_option = click.option(
    "--from", "source", metavar="VARIABLE", help="Environment variable to read it from; else it is asked for."
)


def ask(what: str, variable: str | None) -> str:
    """Return a secret from a variable, from standard input when that is no terminal, or typed unseen.

    Raises `SettingsError` when it is missing, or holds what no key has.
    """
    if variable is not None:
        if variable not in os.environ:
            raise SettingsError(f"The variable {variable} is not set.")
        value = os.environ[variable]
    elif sys.stdin.isatty():
        value = getpass.getpass(f"{what}: ")
    else:
        value = sys.stdin.read()
    value = value.strip().removeprefix("Bearer ").strip()
    if not value:
        raise SettingsError(f"No {what} was given.")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingsError(f"The {what} holds a blank or a character that no key has.")
    return value
