"""``trunkline cache``: what a running gateway keeps to give again."""

from __future__ import annotations

import json as json_module
from typing import Final
from urllib.parse import quote, urlencode

import click

from trunkline.cli.commands import Group, json_option
from trunkline.cli.configuration import chosen_settings
from trunkline.cli.output import facts, megabytes, out
from trunkline.cli.running_gateway import RunningGateway, token_option, url_option

application = Group(help="Show or empty a gateway's cache of answers.")

_PATH: Final = "/api/gateways/{gateway}/cache"

gateway_option = click.option(
    "--gateway", metavar="GATEWAY", default="", help="Which gateway; else the one of the settings."
)


@application.command()
@gateway_option
@url_option
@token_option
@json_option
def stats(gateway: str, url: str, token_from: str, json: bool) -> None:
    """Show how many answers are kept, and how often one was of use since the gateway started."""
    found = RunningGateway(url, token_from).get(_path(gateway))
    if json:
        out(json_module.dumps(found, indent=2))
        return
    asked = found["hits"] + found["misses"]
    hits = f"{found['hits']} of {asked}" + (f" ({found['hits'] / asked:.0%})" if asked else "")
    out(facts([("entries", str(found["entries"])), ("size", megabytes(found["bytes"])), ("hits", hits)]))


@application.command()
@gateway_option
@click.option("--key", default="", help="Only what callers keep under this cf-aig-cache-key.")
@click.option("--model", default="", help="Only answers of this model, as requests name it.")
@click.option("--provider", default="", help="Only answers of this provider.")
@url_option
@token_option
def purge(gateway: str, key: str, model: str, provider: str, url: str, token_from: str) -> None:
    """Remove what is kept, all of it or what fits all that is said: the next request is answered anew."""
    wanted = {name: value for name, value in (("key", key), ("model", model), ("provider", provider)) if value}
    query = f"?{urlencode(wanted)}" if wanted else ""
    found = RunningGateway(url, token_from).delete(f"{_path(gateway)}{query}")
    out(f"removed {found['purged']} kept answers")


def _path(gateway: str) -> str:
    return _PATH.format(gateway=quote(gateway or chosen_settings(None).gateway, safe=""))
