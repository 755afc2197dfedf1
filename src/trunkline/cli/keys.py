"""``trunkline keys``: keys with which callers show who they are to the gateway."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from trunkline.cli.configuration import chosen_settings, with_configuration
from trunkline.cli.data_directory import DataDirOption
from trunkline.cli.moments import moment
from trunkline.cli.output import day, err, out
from trunkline.cli.session_flags import limits_words, takes_limits
from trunkline.errors import SettingsError
from trunkline.policy.keys import ID_DIGITS, VALUE_DIGITS, new_key
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.policy.sessions import NO_LIMITS

if TYPE_CHECKING:
    from trunkline.store import Configuration

application = typer.Typer(help="Make, limit, list and revoke gateway keys.", no_args_is_help=True)


@application.command()
@takes_limits
def create(
    limits: dict[str, Any],
    name: Annotated[str, typer.Argument(help="What the key is for, to tell it from others.")] = "unnamed",
    gateway: Annotated[str | None, typer.Option(help="Gateway it opens; by default that of the settings.")] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="run: call models; read: look at the set-up and at what sessions said; edit: change it, and end"
            " sessions. May be repeated; without it: run."
        ),
    ] = None,
    models: Annotated[
        str, typer.Option(metavar="A,B,...", help="Models it may use, such as gpt-4o*,openai/gpt-realtime; else all.")
    ] = "",
    expires: Annotated[
        str | None,
        typer.Option(metavar="30d|2027-01-31", help="When it ends: after s, m, h, d or w, or on a day (UTC)."),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a key. It is printed once, on standard output, and kept only as a digest."""
    chosen = chosen_settings(data_dir)
    now = time.time()
    value, key = new_key(
        secrets.token_hex((VALUE_DIGITS + ID_DIGITS) // 2),
        gateway=gateway or chosen.gateway,
        name=name,
        scopes=scope or [],
        models=[part.strip() for part in models.split(",") if part.strip()],
        now=now,
        expires_at=None if expires is None else _end(expires, now),
        limits=NO_LIMITS.changed(limits),
    )

    async def add(configuration: Configuration) -> list[GatewayRules]:
        await configuration.add_key(key)
        return await configuration.gateways()

    rules = with_configuration(chosen, add)
    err.print(f"Key {key.id} for gateway {key.gateway}. It is shown this once; store it now:")
    out.print(value, markup=False)
    if not chosen.authenticated and not next(one for one in rules if one.id == key.gateway).authenticated:
        err.print(
            f"The gateway serves callers without a key too. To demand one: trunkline gateways set {key.gateway}"
            " --authenticated"
        )


@application.command("list")
def list_(
    gateway: Annotated[str | None, typer.Option(help="Only the keys of this gateway.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """List the keys: what they open and until when, never their values."""
    keys = with_configuration(chosen_settings(data_dir), lambda configuration: configuration.keys(gateway))
    if not keys:
        err.print("There are no gateway keys. Make one: trunkline keys create NAME")
        return
    columns = ("name", "gateway", "ends in", "scopes", "models", "realtime limits", "expires", "state")
    table = Table(Column("id", no_wrap=True), *columns, box=None, pad_edge=False)
    now = time.time()
    for key in keys:
        scopes = ",".join(sorted(one.value for one in key.scopes))
        ends = day(key.expires_at) if key.expires_at else "never"
        models = ",".join(key.models) or "all"
        own = limits_words(key.limits) or "the gateway's"
        table.add_row(key.id, key.name, key.gateway, f"...{key.hint}", scopes, models, own, ends, key.state(now))
    out.print(table)


@application.command()
@takes_limits
def limit(
    id: Annotated[str, typer.Argument(help="The key's id, from `trunkline keys list`.")],
    limits: dict[str, Any],
    data_dir: DataDirOption = None,
) -> None:
    """Set a key's own limits of realtime sessions, which stand instead of its gateway's; what is not named stays."""
    if not limits:
        raise SettingsError("No limit was named; see trunkline keys limit --help.")
    key = with_configuration(chosen_settings(data_dir), lambda configuration: configuration.limit_key(id, limits))
    words = limits_words(key.limits) or "none of its own, so the gateway's count"
    err.print(f"Limits of key {key.id} ({key.name}): {words}.", markup=False)


@application.command()
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, from `trunkline keys list`.")],
    data_dir: DataDirOption = None,
) -> None:
    """Revoke a key: it opens nothing from now on, and open realtime sessions end within seconds."""
    key = with_configuration(chosen_settings(data_dir), lambda configuration: configuration.revoke_key(id))
    err.print(f"Key {key.id} ({key.name}) of gateway {key.gateway} is revoked.", markup=False)


def _end(text: str, now: float) -> float:
    end = moment(text, now, option="--expires", example="30d", is_past=False)
    if end <= now:
        raise SettingsError(f"--expires: {text} has passed.")
    return end
