"""What commands have beyond click's own: arguments with help, options in sections, and flags that several share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, NamedTuple, TypeVar

import click

from trunkline.cli.endings import Ending

_ARGUMENTS: Final = "Arguments"
_OPTIONS: Final = "Options"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Argument(click.Argument):
    """An argument with help. click itself has that from 8.5 on."""

    section: Final = _ARGUMENTS

    def __init__(self, *declarations: Any, help: str, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.help = help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return how it is written, and its help."""
        return " ".join(self.get_usage_pieces(ctx)), f"{self.help}{'  [required]' if self.required else ''}"


class SectionOption(click.Option):
    """An option that help lists under a heading of its own."""

    def __init__(self, *declarations: Any, section: str, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.section = section


class Command(click.Command):
    """A command whose help lists arguments too, and options by their sections."""

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: arguments are the first of the sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments, then the options."""
        sections: dict[str, list[tuple[str, str]]] = {_ARGUMENTS: [], _OPTIONS: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", _OPTIONS), []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first paragraph of the help, of whatever length."""
        return _first_paragraph(self)


class Group(click.Group):
    """Commands in the order in which they were added."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words behind the group; where there are none, show its help, and have it a mistake."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(Ending.REFUSED)
        return super().parse_args(ctx, args)

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first paragraph of the help, of whatever length."""
        return _first_paragraph(self)


class Flag(NamedTuple):
    """An option of commands that share it: a text, or of ``--this/--not-this`` a switch. Not given, it is None."""

    declaration: str
    help: str
    metavar: str | None = None


json_option = click.option("--json", is_flag=True, help="Print JSON, for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def argument(name: str, *, help: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Give a command an argument, as `click.argument` does, with help."""
    return click.argument(name, cls=Argument, help=help, **attributes)


def taking(
    into: str, sections: Mapping[str, Mapping[str, Flag]], gather: Callable[[dict[str, Any]], Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command flags, by the names of what they set, in sections of its help.

    Its argument ``into`` is what ``gather`` makes of those that were given.
    """
    flags = {name: (section, flag) for section, found in sections.items() for name, flag in found.items()}

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def gathering(**given: Any) -> None:
            picked = {name: given.pop(name) for name in flags}
            given[into] = gather({name: value for name, value in picked.items() if value is not None})
            command(**given)

        for name, (section, flag) in reversed(flags.items()):
            click.option(
                flag.declaration,
                name,
                cls=SectionOption,
                section=section,
                default=None,
                metavar=flag.metavar,
                help=flag.help,
            )(gathering)
        return gathering

    return decorated


def _first_paragraph(command: click.Command) -> str:
    return " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())
