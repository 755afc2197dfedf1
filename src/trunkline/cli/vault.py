"""``trunkline vault``: provider keys that the gateway keeps, sealed, for callers who bring none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from trunkline.cli.commands import Group, argument
from trunkline.cli.configuration import chosen_settings, provider_slug, with_configuration
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.output import day, err, out, table
from trunkline.cli.secrets import ask, from_option
from trunkline.credentials import tail
from trunkline.errors import SettingsError
from trunkline.policy.registry import DEFAULT_ALIAS

application = Group(help="Keep provider keys on the gateway, sealed.")

_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

provider_argument = argument("provider", help="A provider of docs/providers.md.")
gateway_option = click.option("--gateway", help="Gateway that uses it; by default that of the settings.")
alias_option = click.option(
    "--alias",
    default=DEFAULT_ALIAS,
    show_default=True,
    help="Name by which callers choose it, in cf-aig-byok-alias.",
)


@application.command("set")
@provider_argument
@gateway_option
@alias_option
@from_option
@data_dir_option
def set_(provider: str, gateway: str | None, alias: str, source: str | None, data_dir: Path | None) -> None:
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
    err(f"The {slug} key {alias!r} of gateway {owner} is {done}.")


@application.command("list")
@gateway_option
@data_dir_option
def list_(gateway: str | None, data_dir: Path | None) -> None:
    """List the stored keys by their last characters."""
    keys = with_configuration(chosen_settings(data_dir), lambda configuration: configuration.stored_keys(gateway))
    if not keys:
        err("The vault is empty. Store a key: trunkline vault set openai")
        return
    rows = [(key.gateway, key.provider, key.alias, f"...{key.hint}", day(key.changed_at)) for key in keys]
    out(table(("gateway", "provider", "alias", "ends in", "stored"), rows))


@application.command()
@provider_argument
@gateway_option
@alias_option
@data_dir_option
def remove(provider: str, gateway: str | None, alias: str, data_dir: Path | None) -> None:
    """Remove a stored key: callers who relied on it are refused from then on."""
    chosen = chosen_settings(data_dir)
    # Also a key of a custom provider that is gone: it stands in the way of another of that name.
    slug = provider if provider.startswith("custom-") else provider_slug(chosen, provider)
    owner = gateway or chosen.gateway
    with_configuration(chosen, lambda configuration: configuration.forget_key(owner, slug, alias))
    err(f"The {slug} key {alias!r} of gateway {owner} is removed.")
