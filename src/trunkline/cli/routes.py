"""``trunkline routes``: dynamic routes, which choose a model for each request to ``dynamic/NAME``."""

from __future__ import annotations

import json as json_module
import random
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from trunkline.cli.commands import Group, argument, json_option
from trunkline.cli.configuration import chosen_settings, with_configuration, with_database
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.endings import judged
from trunkline.cli.output import day, err, out, plain, table
from trunkline.errors import SettingsError
from trunkline.policy.facts import Tag
from trunkline.policy.routes import DeployedRoute, parse_route
from trunkline.policy.routing import Outcome, Simulation, simulate, simulated_facts
from trunkline.providers import Catalogue
from trunkline.settings import Settings

if TYPE_CHECKING:
    from trunkline.store import Configuration
    from trunkline.store.routes import Route, Routes, RouteVersion

Result = TypeVar("Result")

application = Group(help="Keep, deploy and simulate dynamic routes: graphs that choose a model for each request.")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

name_argument = argument("name", help="The route's name: requests ask for the model dynamic/NAME.")
gateway_option = click.option("--gateway", help="Gateway it belongs to; by default that of the settings.")
version_option = click.option("--version", help="One of its versions; by default the one that is deployed.")


@application.command("list")
@gateway_option
@json_option
@data_dir_option
def list_(gateway: str | None, json: bool, data_dir: Path | None) -> None:
    """List a gateway's routes, with the version that requests walk."""
    chosen = chosen_settings(data_dir)
    owner = gateway or chosen.gateway
    found = _with_routes(chosen, lambda routes: routes.all(owner))
    if json:
        out(json_module.dumps([_summary(route) for route in found], indent=2))
        return
    if not found:
        err(f"The gateway {owner} has no dynamic routes. Add one: trunkline routes import NAME FILE")
        return
    rows = []
    for route in found:
        deployed = route.deployed
        counts = (str(len(route.versions)), str(len(deployed.elements)))
        rows.append((route.name, deployed.id, *counts, day(route.modified_at)))
    out(table(("name", "deployed version", "versions", "elements", "changed"), rows))


@application.command()
@name_argument
@gateway_option
@json_option
@data_dir_option
def show(name: str, gateway: str | None, json: bool, data_dir: Path | None) -> None:
    """Show a route: its elements as they are deployed, and its versions."""
    chosen = chosen_settings(data_dir)
    route = _found(chosen, gateway, name)
    if json:
        out(json_module.dumps({**_summary(route), "elements": route.deployed.elements}, indent=2))
        return
    elements = []
    for one in route.deployed.elements:
        outputs = ", ".join(f"{output}: {to.get('elementId')}" for output, to in one.get("outputs", {}).items())
        properties = json_module.dumps(one["properties"]) if one.get("properties") else ""
        cells = (one.get("id"), one.get("type"), properties, outputs)
        elements.append([plain(str(cell)) for cell in cells])
    out(table(("element", "type", "properties", "goes on at"), elements))
    versions = [
        (version.id, day(version.created_at), "deployed" if version.id == route.deployed.id else "")
        for version in route.versions
    ]
    out("\n" + table(("version", "made", ""), versions))


@application.command()
@name_argument
@argument(
    "file",
    type=click.Path(path_type=Path),
    required=False,
    help="File to write; without it, standard output.",
)
@gateway_option
@version_option
@data_dir_option
def export(name: str, file: Path | None, gateway: str | None, version: str | None, data_dir: Path | None) -> None:
    """Write a route as JSON, in the form of Cloudflare's API: its name and its elements."""
    route = _found(chosen_settings(data_dir), gateway, name)
    document = {"name": route.name, "elements": _version(route, version).elements}
    text = json_module.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if file is None:
        click.echo(text, nl=False)
    else:
        file.write_text(text, "utf-8")
        err(f"The route {route.name} is written to {file}.")


@application.command("import")
@name_argument
@argument("file", metavar="FILE|-", help="JSON with elements, as `export` and Cloudflare's API write it.")
@gateway_option
@data_dir_option
def import_(name: str, file: str, gateway: str | None, data_dir: Path | None) -> None:
    """Make a version of a route from JSON and deploy it; the route is made if there is none of that name."""
    chosen = chosen_settings(data_dir)
    owner = gateway or chosen.gateway
    if not _NAME.fullmatch(name):
        raise SettingsError("A route's name has letters, digits and . _ - only, at most 64, and begins with no mark.")
    elements = _elements(_read(file), file)
    parse_route(elements, _provider_names(chosen, owner))
    route, is_new = _with_routes(chosen, lambda routes: routes.put(owner, name, elements))
    done = "made and deployed" if is_new else "deployed"
    err(f"The route {name} of gateway {owner} is {done}: version {route.deployed.id}.")


@application.command()
@name_argument
@argument("version", help="The version, from `trunkline routes show NAME`.")
@gateway_option
@data_dir_option
def deploy(name: str, version: str, gateway: str | None, data_dir: Path | None) -> None:
    """Put a version of a route into use, an older one too: requests walk it within a second."""
    chosen = chosen_settings(data_dir)
    owner = gateway or chosen.gateway
    route = _found(chosen, owner, name)
    wanted = _version(route, version)
    parse_route(wanted.elements, _provider_names(chosen, owner))  # a provider may be gone since
    _with_routes(chosen, lambda routes: routes.deploy(owner, route.id, wanted.id))
    err(f"Version {wanted.id} of the route {name} is in use.")


@application.command()
@name_argument
@gateway_option
@data_dir_option
def delete(name: str, gateway: str | None, data_dir: Path | None) -> None:
    """Delete a route with its versions: requests for it are refused within a second."""
    chosen = chosen_settings(data_dir)
    owner = gateway or chosen.gateway
    route = _found(chosen, owner, name)
    _with_routes(chosen, lambda routes: routes.delete(owner, route.id))
    err(f"The route {name} of gateway {owner} is deleted.")


@application.command("simulate")
@name_argument
@click.option("--request", metavar="FILE|-", help="The request's body, as JSON; without it, an empty one.")
@click.option("--metadata", metavar="NAME=VALUE", multiple=True, help="A tag of the request; may be repeated.")
@click.option("--key", default="", help="Id of the gateway key that asks.")
@click.option("--user", default="", help="The end user; by default the one that the body names.")
@click.option(
    "--fail",
    metavar="ELEMENT",
    multiple=True,
    help="A model that fails, or a quota that is used up; may be repeated.",
)
@click.option(
    "--chance",
    type=float,
    help="What is drawn where shares divide requests, from 0 up to 1; else by chance.",
)
@version_option
@gateway_option
@json_option
@data_dir_option
def simulate_(
    name: str,
    request: str | None,
    metadata: Sequence[str],
    key: str,
    user: str,
    fail: Sequence[str],
    chance: float | None,
    version: str | None,
    gateway: str | None,
    json: bool,
    data_dir: Path | None,
) -> None:
    """Say where a request would go, and why. No provider is asked, and no quota is touched.

    Exit status 0: a model answers; 1: none does.
    """
    chosen = chosen_settings(data_dir)
    if chance is not None and not 0 <= chance < 1:
        raise SettingsError(f"--chance: {chance:g} is not from 0 up to, but not, 1.")
    drawn = random.random() if chance is None else chance  # noqa: S311 (which way a request goes is no secret)
    route = _found(chosen, gateway, name)
    walked = _version(route, version)
    body = _body(request)
    facts = simulated_facts(route.gateway, name, body, dict(_tag(one) for one in metadata), key=key, user=user)
    outcomes: dict[str, Outcome] = dict.fromkeys(fail, "failure")
    deployed = DeployedRoute.of(route.id, walked.id, name, walked.elements)
    found = simulate(deployed, facts, body, outcomes, drawn)
    if json:
        out(json_module.dumps(msgspec.to_builtins(found), indent=2))
    else:
        _print(found)
    raise judged(is_good=found.result.answered)


def _print(found: Simulation) -> None:
    rows = []
    for line in found.trace:
        onwards = line.output if line.output is not None else "- the end -"
        rows.append([*map(plain, (line.element, line.type, line.looked_at, onwards, line.why))])
    out(table(("element", "type", "looked at", "goes on at", "why"), rows))
    result = found.result
    if result.answered:
        model = plain(f"{result.provider}/{result.model}")
        out(f"\n{model} answers (element {plain(result.element)}, cf-aig-step {result.step}).")
    else:
        out("\nNo model answers: the request is refused.")


def _with_routes(chosen: Settings, act: Callable[[Routes], Awaitable[Result]]) -> Result:
    from trunkline.store.routes import Routes  # late: commands that need no database start without it

    return with_database(chosen, lambda database: act(Routes(database)))


def _found(chosen: Settings, gateway: str | None, name: str) -> Route:
    owner = gateway or chosen.gateway
    route = _with_routes(chosen, lambda routes: routes.named(owner, name))
    if route is None:
        raise SettingsError(f"The gateway {owner!r} has no dynamic route {name!r}; see `trunkline routes list`.")
    return route


def _version(route: Route, id: str | None) -> RouteVersion:
    if id is None:
        return route.deployed
    found = next((version for version in route.versions if version.id == id), None)
    if found is None:
        raise SettingsError(
            f"The route {route.name!r} has no version {id!r}; see `trunkline routes show {route.name}`."
        )
    return found


def _provider_names(chosen: Settings, gateway: str) -> set[str]:
    """Return the names of providers that a route of a gateway may have, which is made sure to have its row."""

    async def prepared(configuration: Configuration) -> set[str]:
        await configuration.ensure_gateway(gateway)
        _, registry = await configuration.load()
        return set(registry.providers)

    packaged = {name for one in Catalogue.build(chosen.providers).all() for name in (one.slug, *one.aliases)}
    return packaged | with_configuration(chosen, prepared)


def _read(file: str) -> Any:
    text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    try:
        return json_module.loads(text)
    except ValueError as error:
        raise SettingsError(f"{file} is no JSON: {error}.") from error


def _elements(document: Any, file: str) -> list[dict[str, Any]]:
    found = document.get("elements") if isinstance(document, dict) else document
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SettingsError(f'{file} is no route: expected {{"name": ..., "elements": [...]}}.')
    return found


def _body(file: str | None) -> dict[str, Any]:
    found = {} if file is None else _read(file)
    if not isinstance(found, dict):
        raise SettingsError(f"{file} is no request: expected a JSON object.")
    return found


def _tag(text: str) -> tuple[str, Tag]:
    """Read ``NAME=VALUE``; numbers, true and false are what they are in JSON, all else is text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise SettingsError(f"--metadata: {text[:80]!r} is not NAME=VALUE.")
    try:
        read = json_module.loads(value)
    except ValueError:
        read = value
    return name, read if isinstance(read, str | int | float | bool) else value


def _summary(route: Route) -> dict[str, Any]:
    deployed = route.deployed.id
    return {
        "name": route.name,
        "id": route.id,
        "gateway": route.gateway,
        "version": deployed,
        "versions": [
            {"id": one.id, "created_at": one.created_at, "deployed": one.id == deployed} for one in route.versions
        ],
        "created_at": route.created_at,
        "modified_at": route.modified_at,
    }
