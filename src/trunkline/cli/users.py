"""``trunkline users``: accounts of people who sign in to the console."""

from __future__ import annotations

import getpass
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from trunkline.cli.commands import Group, argument
from trunkline.cli.configuration import chosen_settings, with_database
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.output import day, err, out, table
from trunkline.errors import SettingsError
from trunkline.policy.accounts import checked_password
from trunkline.policy.keys import digest_of
from trunkline.policy.roles import Role
from trunkline.settings import Settings

if TYPE_CHECKING:
    from trunkline.store import User, Users

application = Group(help="Make, list, change and remove accounts of people.")

_LINK_SECONDS: Final = 24 * 3600
_FIRST_LINK_SECONDS: Final = 3600

Result = TypeVar("Result")

name_argument = argument("name", help="The name to sign in with, such as an e-mail address.")
role_choice: Final = click.Choice([role.value for role in Role])


@application.command()
@name_argument
@click.option(
    "--role",
    type=role_choice,
    required=True,
    help="viewer: look; editor: change gateways too; admin: everything.",
)
@click.option("--invite", is_flag=True, help="Ask for no password: print a link by which the person chooses one.")
@data_dir_option
def add(name: str, role: str, invite: bool, data_dir: Path | None) -> None:
    """Make an account. Its password is asked for, or read from standard input; it is kept as an argon2id hash."""
    chosen = chosen_settings(data_dir)
    if invite:
        token = _new_token()
        _with_users(chosen, lambda users: users.invite(name, Role(role), digest_of(token), time.time() + _LINK_SECONDS))
        _print_link(chosen, token, f"{name} chooses a password here, once, within a day:")
        return
    from trunkline.store.passwords import hash_password  # late: loads what only this needs

    kept = hash_password(checked_password(_password(), name))
    user = _with_users(chosen, lambda users: users.add(name, Role(role), kept))
    err(f"The account of {user.name} is made: {user.role.value}.")


@application.command("list")
@data_dir_option
def list_(data_dir: Path | None) -> None:
    """List the accounts."""
    users = _with_users(chosen_settings(data_dir), lambda users: users.all())
    if not users:
        err("There are no accounts, so nobody has to sign in. Make one: trunkline users add NAME --role admin")
        return
    rows = []
    for user in users:
        how = f"at {user.issuer}" if user.issuer else "with a password"
        last = day(user.last_login_at) if user.last_login_at else "never"
        rows.append((user.name, user.role.value, _state(user), how, day(user.created_at), last))
    out(table(("name", "role", "state", "signs in", "made", "last signed in"), rows))


@application.command()
@name_argument
@argument("role", type=role_choice, metavar="ROLE", help="viewer, editor or admin.")
@data_dir_option
def role(name: str, role: str, data_dir: Path | None) -> None:
    """Give somebody another role."""
    user = _with_user(data_dir, name, lambda users, user: users.change_role(user.id, Role(role)))
    err(f"{user.name} is {user.role.value} now.")


@application.command()
@name_argument
@data_dir_option
def disable(name: str, data_dir: Path | None) -> None:
    """Let somebody sign in no more: signed in, or in a realtime session, they are out within a second."""
    user = _with_user(data_dir, name, lambda users, user: users.disable(user.id))
    err(f"The account of {user.name} is disabled.")


@application.command()
@name_argument
@data_dir_option
def enable(name: str, data_dir: Path | None) -> None:
    """Let somebody sign in again."""
    user = _with_user(data_dir, name, lambda users, user: users.enable(user.id))
    err(f"The account of {user.name} is enabled.")


@application.command()
@name_argument
@data_dir_option
def delete(name: str, data_dir: Path | None) -> None:
    """Remove an account. What its owner changed stays in the audit log."""
    user = _with_user(data_dir, name, lambda users, user: users.delete(user.id))
    err(f"The account of {user.name} is removed.")


@application.command("reset-link")
@name_argument
@data_dir_option
def reset_link(name: str, data_dir: Path | None) -> None:
    """Print a link, good once, by which somebody chooses another password."""
    token = _new_token()
    end = time.time() + _LINK_SECONDS
    user = _with_user(data_dir, name, lambda users, user: users.offer_reset(user.id, digest_of(token), end))
    _print_link(chosen_settings(data_dir), token, f"{user.name} chooses a password here, once, within a day:")


@application.command("login-link")
@data_dir_option
def login_link(data_dir: Path | None) -> None:
    """Print a link, good once, by which the first account is made, as `serve` does while there is none."""
    chosen = chosen_settings(data_dir)
    token = _new_token()
    end = time.time() + _FIRST_LINK_SECONDS
    if not _with_users(chosen, lambda users: users.offer_first_account(digest_of(token), end)):
        raise SettingsError(
            "There are accounts already. For a forgotten password: trunkline users reset-link NAME; for another"
            " account: trunkline users add NAME --role ROLE --invite"
        )
    _print_link(chosen, token, "The first account is made here, within an hour:")


def _with_users(chosen: Settings, act: Callable[[Users], Awaitable[Result]]) -> Result:
    from trunkline.store import Users  # late, as the database

    return with_database(chosen, lambda database: act(Users(database)))


def _with_user(data_dir: Path | None, name: str, act: Callable[[Users, User], Awaitable[User]]) -> User:
    """Find an account by its name and act. Raises `SettingsError` when there is none."""

    async def found(users: Users) -> User:
        return await act(users, await users.named(name))

    return _with_users(chosen_settings(data_dir), found)


def _password() -> str:
    """Return a password typed twice unseen, or the first line of standard input. Never an argument: see `secrets`."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise SettingsError("The two passwords differ.")
    return password


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def _print_link(chosen: Settings, token: str, words: str) -> None:
    scheme = "http" if chosen.tls == "off" else "https"
    base = chosen.public_url.rstrip("/") or f"{scheme}://127.0.0.1:{chosen.port}"
    err(words)
    out(f"{base}/login#{token}")


def _state(user: User) -> str:
    if user.disabled_at is not None:
        return "disabled"
    return "active" if user.has_password or user.issuer else "invited"
