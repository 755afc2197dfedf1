"""``trunkline cache``: what a running gateway keeps to give again."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Final
from urllib.parse import quote, urlencode

import typer
from rich.table import Column, Table

from trunkline.cli.configuration import chosen_settings
from trunkline.cli.output import megabytes, out
from trunkline.cli.running_gateway import RunningGateway, TokenOption, UrlOption

application = typer.Typer(help="Show or empty a gateway's cache of answers.", no_args_is_help=True)

_PATH: Final = "/api/gateways/{gateway}/cache"

GatewayOption = Annotated[
    str, typer.Option("--gateway", metavar="GATEWAY", help="Which gateway; else the one of the settings.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@application.command()
def stats(
    gateway: GatewayOption = "", url: UrlOption = "", token_from: TokenOption = "", json: JsonOption = False
) -> None:
    """Show how many answers are kept, and how often one was of use since the gateway started."""
    found = RunningGateway(url, token_from).get(_path(gateway))
    if json:
        typer.echo(json_module.dumps(found, indent=2))
        return
    asked = found["hits"] + found["misses"]
    table = Table(Column(style="dim"), Column(), box=None, show_header=False, pad_edge=False)
    table.add_row("entries", str(found["entries"]))
    table.add_row("size", megabytes(found["bytes"]))
    table.add_row("hits", f"{found['hits']} of {asked}" + (f" ({found['hits'] / asked:.0%})" if asked else ""))
    out.print(table)


@application.command()
def purge(
    gateway: GatewayOption = "",
    key: Annotated[str, typer.Option(help="Only what callers keep under this cf-aig-cache-key.")] = "",
    model: Annotated[str, typer.Option(help="Only answers of this model, as requests name it.")] = "",
    provider: Annotated[str, typer.Option(help="Only answers of this provider.")] = "",
    url: UrlOption = "",
    token_from: TokenOption = "",
) -> None:
    """Remove what is kept, all of it or what fits all that is said: the next request is answered anew."""
    wanted = {name: value for name, value in (("key", key), ("model", model), ("provider", provider)) if value}
    query = f"?{urlencode(wanted)}" if wanted else ""
    found = RunningGateway(url, token_from).delete(f"{_path(gateway)}{query}")
    typer.echo(f"removed {found['purged']} kept answers")


def _path(gateway: str) -> str:
    return _PATH.format(gateway=quote(gateway or chosen_settings(None).gateway, safe=""))
