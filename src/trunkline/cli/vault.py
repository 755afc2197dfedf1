"""``trunkline vault``: provider keys that the gateway keeps, sealed, for callers who bring none."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer
from rich.table import Table

from trunkline.cli.configuration import chosen_settings, provider_slug, with_configuration
from trunkline.cli.data_directory import DataDirOption
from trunkline.cli.output import day, err, out
from trunkline.cli.secrets import FromOption, ask
from trunkline.credentials import tail
from trunkline.errors import SettingsError
from trunkline.policy.registry import DEFAULT_ALIAS

application = typer.Typer(help="Keep provider keys on the gateway, sealed.", no_args_is_help=True)

_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

ProviderArgument = Annotated[str, typer.Argument(help="A provider of docs/providers.md.")]
GatewayOption = Annotated[str | None, typer.Option(help="Gateway that uses it; by default that of the settings.")]
AliasOption = Annotated[str, typer.Option(help="Name by which callers choose it, in cf-aig-byok-alias.")]


@application.command("set")
def set_(
    provider: ProviderArgument,
    gateway: GatewayOption = None,
    alias: AliasOption = DEFAULT_ALIAS,
    source: FromOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Store a provider key, or rotate the one that is there: it counts within a second, without a restart."""
    chosen = chosen_settings(data_dir)
    if not _ALIAS.fullmatch(alias):
        raise SettingsError("--alias: letters, digits and . _ - only, at most 64.")
    slug, owner = provider_slug(chosen, provider), gateway or chosen.gateway
    value = ask(f"{slug} key", source)
    rotated = with_configuration(
        chosen, lambda configuration: configuration.store_key(owner, slug, alias, value, tail(value))
    )
    done = "rotated" if rotated else "stored"
    err.print(f"The {slug} key {alias!r} of gateway {owner} is {done}.", markup=False)


@application.command("list")
def list_(gateway: GatewayOption = None, data_dir: DataDirOption = None) -> None:
    """List the stored keys by their last characters."""
    keys = with_configuration(chosen_settings(data_dir), lambda configuration: configuration.stored_keys(gateway))
    if not keys:
        err.print("The vault is empty. Store a key: trunkline vault set openai")
        return
    table = Table("gateway", "provider", "alias", "ends in", "stored", box=None, pad_edge=False)
    for key in keys:
        table.add_row(key.gateway, key.provider, key.alias, f"...{key.hint}", day(key.changed_at))
    out.print(table)


@application.command()
def remove(
    provider: ProviderArgument,
    gateway: GatewayOption = None,
    alias: AliasOption = DEFAULT_ALIAS,
    data_dir: DataDirOption = None,
) -> None:
    """Remove a stored key: callers who relied on it are refused from then on."""
    chosen = chosen_settings(data_dir)
    # Also a key of a custom provider that is gone: it stands in the way of another of that name.
    slug = provider if provider.startswith("custom-") else provider_slug(chosen, provider)
    owner = gateway or chosen.gateway
    with_configuration(chosen, lambda configuration: configuration.forget_key(owner, slug, alias))
    err.print(f"The {slug} key {alias!r} of gateway {owner} is removed.", markup=False)
