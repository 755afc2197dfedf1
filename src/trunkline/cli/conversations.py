"""``trunkline conversations``: those of the console, in the database."""

from __future__ import annotations

import json as json_module
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.table import Column, Table

from trunkline.cli.configuration import chosen_settings, with_database
from trunkline.cli.data_directory import DataDirOption
from trunkline.cli.output import day, err, out, plain
from trunkline.errors import SettingsError

if TYPE_CHECKING:
    from trunkline.store import Database
    from trunkline.store.conversation_tree import ConversationSummary
    from trunkline.store.conversations import Conversations

Result = TypeVar("Result")

application = typer.Typer(help="List, search, export, import and delete conversations of the console.")

UserOption = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="Those of an account; by default those made without signing in."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_STANDARD: Final = "-"


@application.command("list")
def list_(
    user: UserOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List conversations, the pinned ones first, then those changed last."""
    from trunkline.store.conversations import ConversationFilter

    page = _with_conversations(data_dir, user, lambda store, owner: store.list(owner, ConversationFilter(), limit))
    if json:
        _print_json(page.conversations)
    elif page.conversations:
        out.print(_table(page.conversations), markup=False)
    else:
        err.print("There are no conversations.")


@application.command()
def search(
    words: Annotated[list[str], typer.Argument(help="All of these, or words that begin so.")],
    user: UserOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Find conversations by words of their titles and messages, the best first."""
    hits = _with_conversations(data_dir, user, lambda store, owner: store.search(owner, " ".join(words), limit))
    if json:
        _print_json(hits)
        return
    for hit in hits:
        out.print(f"{hit.conversation.id}  {plain(hit.conversation.title)}", markup=False)
        out.print("    " + plain("".join(piece.text for piece in hit.excerpt)), markup=False)
    if not hits:
        err.print("Nothing is found.")


@application.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, or - for standard output.")],
    id: Annotated[list[str] | None, typer.Option("--id", help="Only this one; may be given several times.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The branch that is shown as Markdown, of a single conversation.")
    ] = False,
    user: UserOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write conversations into a file, one a line with all their branches."""
    from trunkline.store.conversation_tree import as_markdown
    from trunkline.store.conversations import as_export_line

    if markdown and (id is None or len(id) != 1):
        raise SettingsError("--markdown is for a single conversation: name it with --id.")

    async def write(store: Conversations, owner: str) -> int:
        count = 0
        with sys.stdout.buffer if str(file) == _STANDARD else file.open("xb") as target:
            async for conversation in store.export(owner, id):
                count += 1
                target.write(as_markdown(conversation).encode() if markdown else as_export_line(conversation))
        return count

    try:
        count = _with_conversations(data_dir, user, write)
    except FileExistsError:
        raise SettingsError(f"{file} is there already; give another name.") from None
    if count < len(id or ()):
        raise SettingsError(f"{len(id or ()) - count} of the conversations named are not there.")
    err.print(f"Exported: {count}.")


@application.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="ChatGPT's .zip or conversations.json, Open WebUI's .json, or an export from here."
        ),
    ],
    user: UserOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Import conversations that another program exported; to do so again adds only what is new."""
    from trunkline.store.conversation_imports import ExportFile, ImportFault, take_in

    async def read(store: Conversations, owner: str) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        with file.open("rb") as opened:
            for entry in ExportFile(opened).read():
                outcome, why = await take_in(store, owner, entry)
                outcomes[outcome] += 1
                if why:
                    err.print(f"Left out: {why}", markup=False)
        return outcomes

    try:
        outcomes = _with_conversations(data_dir, user, read)
    except ImportFault as fault:
        raise SettingsError(str(fault)) from None
    err.print(
        f"Imported: {outcomes['added']} new, {outcomes['extended']} with more messages,"
        f" {outcomes['unchanged']} known already, {outcomes['skipped']} left out."
    )


@application.command()
def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids, from `trunkline conversations list`.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every one.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    user: UserOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete conversations. There is no way back but an export made before."""
    if all == bool(ids):
        raise SettingsError("Name the conversations to delete, or give --all.")
    if all and not yes:
        typer.confirm("Every conversation is deleted. Go on?", abort=True, err=True)
    count = _with_conversations(data_dir, user, lambda store, owner: store.delete(owner, None if all else ids))
    err.print(f"Deleted: {count}.")


@application.command()
def give(
    to: Annotated[str, typer.Argument(metavar="NAME", help="The account that gets them.")],
    user: UserOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give all conversations to an account: those from before there were accounts, or those of --user."""

    async def move(database: Database) -> int:
        from trunkline.store.conversations import Conversations

        return await Conversations(database).give(await _owner(database, user), await _owner(database, to))

    count = with_database(chosen_settings(data_dir), move)
    err.print(f"{plain(to)} has {count} more conversations.", markup=False)


def _with_conversations(
    data_dir: Path | None, user: str | None, act: Callable[[Conversations, str], Awaitable[Result]]
) -> Result:
    async def acting(database: Database) -> Result:
        from trunkline.store.conversations import Conversations

        return await act(Conversations(database), await _owner(database, user))

    return with_database(chosen_settings(data_dir), acting)


async def _owner(database: Database, user: str | None) -> str:
    from trunkline.store import Users

    return "" if user is None else (await Users(database).named(user)).id


def _table(found: Iterable[ConversationSummary]) -> Table:
    table = Table(
        Column("id"), "changed", "kind", Column("messages", justify="right"), "title", box=None, pad_edge=False
    )
    for one in found:
        title = f"{plain(one.title)} (pinned)" if one.pinned else plain(one.title)
        table.add_row(one.id, day(one.changed_at), one.kind, str(one.messages), title)
    return table


def _print_json(found: object) -> None:
    import msgspec

    typer.echo(json_module.dumps(msgspec.to_builtins(found), indent=2))
