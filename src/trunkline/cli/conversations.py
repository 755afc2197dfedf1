"""``trunkline conversations``: those of the console, in the database."""

from __future__ import annotations

import json as json_module
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from trunkline.cli.commands import Group, argument, json_option, yes_option
from trunkline.cli.configuration import chosen_settings, with_database
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.output import day, err, out, plain, table
from trunkline.errors import SettingsError

if TYPE_CHECKING:
    from trunkline.store import Database
    from trunkline.store.conversation_tree import ConversationSummary
    from trunkline.store.conversations import Conversations

Result = TypeVar("Result")

application = Group(help="List, search, export, import and delete conversations of the console.", no_args_is_help=False)

user_option = click.option(
    "--user", metavar="NAME", help="Those of an account; by default those made without signing in."
)

_STANDARD: Final = "-"


@application.command("list")
@user_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@json_option
@data_dir_option
def list_(user: str | None, limit: int, json: bool, data_dir: Path | None) -> None:
    """List conversations, the pinned ones first, then those changed last."""
    from trunkline.store.conversations import ConversationFilter

    page = _with_conversations(data_dir, user, lambda store, owner: store.list(owner, ConversationFilter(), limit))
    if json:
        _print_json(page.conversations)
    elif page.conversations:
        out(_table(page.conversations))
    else:
        err("There are no conversations.")


@application.command()
@argument("words", nargs=-1, required=True, help="All of these, or words that begin so.")
@user_option
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@json_option
@data_dir_option
def search(words: Sequence[str], user: str | None, limit: int, json: bool, data_dir: Path | None) -> None:
    """Find conversations by words of their titles and messages, the best first."""
    hits = _with_conversations(data_dir, user, lambda store, owner: store.search(owner, " ".join(words), limit))
    if json:
        _print_json(hits)
        return
    for hit in hits:
        out(f"{hit.conversation.id}  {plain(hit.conversation.title)}")
        out("    " + plain("".join(piece.text for piece in hit.excerpt)))
    if not hits:
        err("Nothing is found.")


@application.command()
@argument("file", type=click.Path(path_type=Path), metavar="FILE", help="A new file, or - for standard output.")
@click.option("--id", "ids", multiple=True, help="Only this one; may be given several times.")
@click.option("--markdown", is_flag=True, help="The branch that is shown as Markdown, of a single conversation.")
@user_option
@data_dir_option
def export(file: Path, ids: Sequence[str], markdown: bool, user: str | None, data_dir: Path | None) -> None:
    """Write conversations into a file, one a line with all their branches."""
    from trunkline.store.conversation_tree import as_markdown
    from trunkline.store.conversations import as_export_line

    if markdown and len(ids) != 1:
        raise SettingsError("--markdown is for a single conversation: name it with --id.")

    async def write(store: Conversations, owner: str) -> int:
        count = 0
        with nullcontext(sys.stdout.buffer) if str(file) == _STANDARD else file.open("xb") as target:
            async for conversation in store.export(owner, ids or None):
                count += 1
                target.write(as_markdown(conversation).encode() if markdown else as_export_line(conversation))
        return count

    try:
        count = _with_conversations(data_dir, user, write)
    except FileExistsError:
        raise SettingsError(f"{file} is there already; give another name.") from None
    if count < len(ids):
        raise SettingsError(f"{len(ids) - count} of the conversations named are not there.")
    err(f"Exported: {count}.")


@application.command("import")
@argument(
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="ChatGPT's .zip or conversations.json, Open WebUI's .json, or an export from here.",
)
@user_option
@data_dir_option
def import_(file: Path, user: str | None, data_dir: Path | None) -> None:
    """Import conversations that another program exported; to do so again adds only what is new."""
    from trunkline.store.conversation_imports import ExportFile, ImportFault, take_in

    async def read(store: Conversations, owner: str) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        with file.open("rb") as opened:
            for entry in ExportFile(opened).read():
                outcome, why = await take_in(store, owner, entry)
                outcomes[outcome] += 1
                if why:
                    err(f"Left out: {why}")
        return outcomes

    try:
        outcomes = _with_conversations(data_dir, user, read)
    except ImportFault as fault:
        raise SettingsError(str(fault)) from None
    err(
        f"Imported: {outcomes['added']} new, {outcomes['extended']} with more messages,"
        f" {outcomes['unchanged']} known already, {outcomes['skipped']} left out."
    )


@application.command()
@argument("ids", nargs=-1, help="Ids, from `trunkline conversations list`.")
@click.option("--all", is_flag=True, help="Every one.")
@yes_option
@user_option
@data_dir_option
def delete(ids: Sequence[str], all: bool, yes: bool, user: str | None, data_dir: Path | None) -> None:
    """Delete conversations. There is no way back but an export made before."""
    if all == bool(ids):
        raise SettingsError("Name the conversations to delete, or give --all.")
    if all and not yes:
        click.confirm("Every conversation is deleted. Go on?", abort=True, err=True)
    count = _with_conversations(data_dir, user, lambda store, owner: store.delete(owner, None if all else ids))
    err(f"Deleted: {count}.")


@application.command()
@argument("to", metavar="NAME", help="The account that gets them.")
@user_option
@data_dir_option
def give(to: str, user: str | None, data_dir: Path | None) -> None:
    """Give all conversations to an account: those from before there were accounts, or those of --user."""

    async def move(database: Database) -> int:
        from trunkline.store.conversations import Conversations

        return await Conversations(database).give(await _owner(database, user), await _owner(database, to))

    count = with_database(chosen_settings(data_dir), move)
    err(f"{plain(to)} has {count} more conversations.")


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


def _table(found: Iterable[ConversationSummary]) -> str:
    rows = []
    for one in found:
        title = f"{plain(one.title)} (pinned)" if one.pinned else plain(one.title)
        rows.append((one.id, day(one.changed_at), one.kind, str(one.messages), title))
    return table(("id", "changed", "kind", "messages", "title"), rows, right=("messages",))


def _print_json(found: object) -> None:
    import msgspec

    out(json_module.dumps(msgspec.to_builtins(found), indent=2))
