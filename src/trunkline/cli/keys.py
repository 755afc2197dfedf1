"""``trunkline keys``: keys with which callers show who they are to the gateway."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from trunkline.cli.commands import Group, argument
from trunkline.cli.configuration import chosen_settings, with_configuration
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.moments import moment
from trunkline.cli.output import day, err, out, table
from trunkline.cli.session_flags import limits_words, takes_limits
from trunkline.errors import SettingsError
from trunkline.policy.keys import ID_DIGITS, VALUE_DIGITS, new_key
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.policy.sessions import NO_LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.store import Configuration

application = Group(help="Make, limit, list and revoke gateway keys.")

_UNNAMED: Final = "unnamed"

id_argument = argument("id", help="The key's id, from `trunkline keys list`.")


@application.command()
@argument("name", default=_UNNAMED, help=f"What the key is for, to tell it from others.  [default: {_UNNAMED}]")
@click.option("--gateway", help="Gateway it opens; by default that of the settings.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help=(
        "run: call models; read: look at the set-up and at what sessions said; edit: change it, and end sessions."
        " May be repeated; without it: run."
    ),
)
@click.option(
    "--models",
    metavar="A,B,...",
    default="",
    help="Models it may use, such as gpt-4o*,openai/gpt-realtime; else all.",
)
@click.option("--expires", metavar="30d|2027-01-31", help="When it ends: after s, m, h, d or w, or on a day (UTC).")
@data_dir_option
@takes_limits
def create(
    name: str,
    gateway: str | None,
    scopes: Sequence[str],
    models: str,
    expires: str | None,
    data_dir: Path | None,
    limits: dict[str, Any],
) -> None:
    """Make a key. It is printed once, on standard output, and kept only as a digest."""
    chosen = chosen_settings(data_dir)
    now = time.time()
    value, key = new_key(
        secrets.token_hex((VALUE_DIGITS + ID_DIGITS) // 2),
        gateway=gateway or chosen.gateway,
        name=name,
        scopes=[Scope(scope) for scope in scopes],
        models=[part.strip() for part in models.split(",") if part.strip()],
        now=now,
        expires_at=None if expires is None else _end(expires, now),
        limits=NO_LIMITS.changed(limits),
    )

    async def add(configuration: Configuration) -> list[GatewayRules]:
        await configuration.add_key(key)
        return await configuration.gateways()

    rules = with_configuration(chosen, add)
    err(f"Key {key.id} for gateway {key.gateway}. It is shown this once; store it now:")
    out(value)
    if not chosen.authenticated and not next(one for one in rules if one.id == key.gateway).authenticated:
        err(
            f"The gateway serves callers without a key too. To demand one: trunkline gateways set {key.gateway}"
            " --authenticated"
        )


@application.command("list")
@click.option("--gateway", help="Only the keys of this gateway.")
@data_dir_option
def list_(gateway: str | None, data_dir: Path | None) -> None:
    """List the keys: what they open and until when, never their values."""
    keys = with_configuration(chosen_settings(data_dir), lambda configuration: configuration.keys(gateway))
    if not keys:
        err("There are no gateway keys. Make one: trunkline keys create NAME")
        return
    now = time.time()
    rows = []
    for key in keys:
        scopes = ",".join(sorted(one.value for one in key.scopes))
        ends = day(key.expires_at) if key.expires_at else "never"
        models = ",".join(key.models) or "all"
        own = limits_words(key.limits) or "the gateway's"
        rows.append((key.id, key.name, key.gateway, f"...{key.hint}", scopes, models, own, ends, key.state(now)))
    columns = ("id", "name", "gateway", "ends in", "scopes", "models", "realtime limits", "expires", "state")
    out(table(columns, rows))


@application.command()
@id_argument
@data_dir_option
@takes_limits
def limit(id: str, data_dir: Path | None, limits: dict[str, Any]) -> None:
    """Set a key's own limits of realtime sessions, which stand instead of its gateway's; what is not named stays."""
    if not limits:
        raise SettingsError("No limit was named; see trunkline keys limit --help.")
    key = with_configuration(chosen_settings(data_dir), lambda configuration: configuration.limit_key(id, limits))
    words = limits_words(key.limits) or "none of its own, so the gateway's count"
    err(f"Limits of key {key.id} ({key.name}): {words}.")


@application.command()
@id_argument
@data_dir_option
def revoke(id: str, data_dir: Path | None) -> None:
    """Revoke a key: it opens nothing from now on, and open realtime sessions end within seconds."""
    key = with_configuration(chosen_settings(data_dir), lambda configuration: configuration.revoke_key(id))
    err(f"Key {key.id} ({key.name}) of gateway {key.gateway} is revoked.")


def _end(text: str, now: float) -> float:
    end = moment(text, now, option="--expires", example="30d", is_past=False)
    if end <= now:
        raise SettingsError(f"--expires: {text} has passed.")
    return end
