"""``trunkline providers``: what the gateway can reach, and the custom providers that are added to it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from trunkline.cli.commands import Group, argument, yes_option
from trunkline.cli.configuration import chosen_settings, with_database
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.output import day, err, facts, out, table
from trunkline.errors import SettingsError
from trunkline.policy.registry import GatewayRules
from trunkline.providers import Catalogue
from trunkline.settings import Settings

if TYPE_CHECKING:
    from trunkline.store.custom_providers import CustomProvider, CustomProviders

application = Group(help="List providers, and add some of your own.")

_PREFIX: Final = "custom-"
Result = TypeVar("Result")

name_argument = argument("name", help="The name behind custom-, such as mine for custom-mine.")
title_option = click.option("--title", help="Its name for people.")
headers_option = click.option(
    "--header-from",
    "headers",
    metavar="NAME=VARIABLE",
    multiple=True,
    help="A header for every request to it, its value from an environment variable. May be repeated.",
)
chat_path_option = click.option(
    "--chat-path", help="Where its OpenAI-compatible chat is below the base URL: chat/completions."
)
models_path_option = click.option("--models-path", help="Where its list of models is below the base URL: models.")


@application.command("list")
@data_dir_option
def list_(data_dir: Path | None) -> None:
    """List every provider, and whether it is built in, in the settings file or was added."""
    chosen = chosen_settings(data_dir)
    rows = []
    fixed = list(Catalogue.build(chosen.providers).all())
    for provider in fixed:
        names = {provider.slug, *provider.aliases}
        source = "settings" if names & chosen.providers.keys() else "built in"
        rows.append((provider.slug, provider.name, provider.base_url or "by path", source, "enabled"))
    taken = {provider.slug for provider in fixed}
    for one in _with_providers(chosen, lambda providers: providers.all()):
        slug = f"{_PREFIX}{one.slug}"
        state = "hidden by the settings" if slug in taken else "enabled" if one.enable else "disabled"
        rows.append((slug, one.name, one.base_url, "added", state))
    out(table(("provider", "name", "base URL", "source", "state"), rows))


@application.command()
@name_argument
@data_dir_option
def show(name: str, data_dir: Path | None) -> None:
    """Show a custom provider that was added. Values of its headers are not shown."""
    one = _with_providers(chosen_settings(data_dir), lambda providers: _found(providers, name))
    rows = {
        "name": one.name,
        "path": f"/v1/{{account}}/{{gateway}}/{_PREFIX}{one.slug}/",
        "base URL": one.base_url,
        "state": "enabled" if one.enable else "disabled",
        "headers": ", ".join(sorted(one.headers)) or "none",
        "chat path": one.fields.get("chat_path") or "chat/completions",
        "models path": one.fields.get("models_path") or "models",
        "added": day(one.created_at),
        "changed": day(one.modified_at),
    }
    out(facts(rows.items()))


@application.command()
@name_argument
@click.option("--base-url", required=True, help="Its address, to which paths are appended: https://...")
@title_option
@headers_option
@chat_path_option
@models_path_option
@click.option("--disabled", is_flag=True, help="Do not serve it yet.")
@data_dir_option
def add(
    name: str,
    base_url: str,
    title: str | None,
    headers: Sequence[str],
    chat_path: str | None,
    models_path: str | None,
    disabled: bool,
    data_dir: Path | None,
) -> None:
    """Add a custom provider, which is reached as custom-NAME. Its key is stored with `trunkline vault set`."""
    chosen = chosen_settings(data_dir)
    slug = name.removeprefix(_PREFIX)
    if Catalogue.build(chosen.providers).find(f"{_PREFIX}{slug}") is not None:
        raise SettingsError(f"The settings have a provider {_PREFIX}{slug} already; choose another name.")
    paths = {"chat_path": chat_path, "models_path": models_path}
    fields = {field: path for field, path in paths.items() if path is not None}
    given = _headers(headers)
    made = _with_providers(
        chosen,
        lambda providers: providers.create(
            slug, name=title or slug, base_url=base_url, enable=not disabled, fields=fields, headers=given
        ),
    )
    err(
        f"Provider {_PREFIX}{made.slug} is at /v1/{chosen.account}/{{gateway}}/{_PREFIX}{made.slug}/."
        f" Store a key for it: trunkline vault set {_PREFIX}{made.slug}",
    )


@application.command()
@name_argument
@click.option("--base-url", help="Its new address.")
@title_option
@headers_option
@click.option("--no-headers", is_flag=True, help="Forget its headers.")
@chat_path_option
@models_path_option
@data_dir_option
def change(
    name: str,
    base_url: str | None,
    title: str | None,
    headers: Sequence[str],
    no_headers: bool,
    chat_path: str | None,
    models_path: str | None,
    data_dir: Path | None,
) -> None:
    """Change a custom provider; what is not named stays. With another host, name its headers anew."""
    named = {"base_url": base_url, "name": title}
    changes: dict[str, Any] = {field: value for field, value in named.items() if value is not None}
    if headers or no_headers:
        changes["headers"] = _headers(headers)
    paths = {"chat_path": chat_path, "models_path": models_path}
    fields = {field: path for field, path in paths.items() if path is not None}
    if not changes and not fields:
        raise SettingsError("Nothing to change was named; see trunkline providers change --help.")

    async def act(providers: CustomProviders) -> CustomProvider | None:
        one = await _found(providers, name)
        return await providers.change(one.id, **changes, **({"fields": {**one.fields, **fields}} if fields else {}))

    _with_providers(chosen_settings(data_dir), act)
    err(f"Provider {_PREFIX}{name.removeprefix(_PREFIX)} is changed.")


@application.command()
@name_argument
@data_dir_option
def enable(name: str, data_dir: Path | None) -> None:
    """Serve a custom provider."""
    _switch(name, True, data_dir)


@application.command()
@name_argument
@data_dir_option
def disable(name: str, data_dir: Path | None) -> None:
    """Serve a custom provider no more, and keep what is known of it."""
    _switch(name, False, data_dir)


@application.command()
@name_argument
@yes_option
@data_dir_option
def remove(name: str, yes: bool, data_dir: Path | None) -> None:
    """Remove a custom provider, with the keys that the vault holds for it."""
    if not yes:
        click.confirm(f"Remove the provider {name} with the keys that are stored for it?", abort=True, err=True)

    async def act(providers: CustomProviders) -> None:
        await providers.delete((await _found(providers, name)).id)

    _with_providers(chosen_settings(data_dir), act)
    err(f"Provider {_PREFIX}{name.removeprefix(_PREFIX)} is removed.")


def _switch(name: str, on: bool, data_dir: Path | None) -> None:
    async def act(providers: CustomProviders) -> None:
        await providers.change((await _found(providers, name)).id, enable=on)

    _with_providers(chosen_settings(data_dir), act)
    state = "enabled" if on else "disabled"
    err(f"Provider {_PREFIX}{name.removeprefix(_PREFIX)} is {state}.")


async def _found(providers: CustomProviders, name: str) -> CustomProvider:
    slug = name.removeprefix(_PREFIX)
    one = await providers.find(slug)
    if one is None:
        raise SettingsError(f"No custom provider {slug!r} was added; see `trunkline providers list`.")
    return one


def _with_providers(chosen: Settings, act: Callable[[CustomProviders], Awaitable[Result]]) -> Result:
    from trunkline.store import Configuration, Database, Vault  # late, as in `with_database`
    from trunkline.store.custom_providers import CustomProviders

    async def acting(database: Database) -> Result:
        vault = Vault.at(chosen.data_dir, chosen.master_key)
        await Configuration(database, vault, GatewayRules(chosen.gateway, authenticated=False)).check()
        return await act(CustomProviders(database, vault, chosen.custom_provider_hosts))

    return with_database(chosen, acting)


def _headers(given: Sequence[str]) -> dict[str, str]:
    """Return headers with their values: an argument would be in every list of processes."""
    headers = {}
    for text in given:
        name, equals, variable = text.partition("=")
        if not equals or not name.strip() or not variable.strip():
            raise SettingsError("--header-from: NAME=VARIABLE, such as x-tenant=TENANT_SECRET.")
        value = os.environ.get(variable.strip())
        if not value:
            raise SettingsError(f"--header-from: the variable {variable.strip()} is not set.")
        headers[name.strip().lower()] = value
    return headers
