"""``trunkline gateways``: gateways beside the one of the settings, and the switches of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from trunkline.cli.commands import Group, argument, yes_option
from trunkline.cli.configuration import chosen_settings, provider_slug, with_configuration
from trunkline.cli.control import control as control_command
from trunkline.cli.control import control_words, takes_control
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.log_flags import logging_words, takes_logging
from trunkline.cli.output import err, out, table
from trunkline.cli.secrets import ask
from trunkline.cli.session_flags import realtime_words, takes_realtime
from trunkline.errors import SettingsError
from trunkline.policy.control import ControlRules
from trunkline.policy.logging import LoggingRules
from trunkline.policy.registry import ClientSecretMode, GatewayRules
from trunkline.policy.sessions import RealtimeRules, checked_fallbacks
from trunkline.providers import Catalogue, check_via
from trunkline.settings import Settings

application = Group(help="Make gateways and set their switches.")

application.add_command(control_command)

# Cloudflare's limit of 64 characters, and what a path segment holds without being encoded.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CLOUDFLARE: Final = "https://gateway.ai.cloudflare.com/v1"

name_argument = argument("name", help="The gateway's id in the path /v1/{account}/{gateway}/...")

# Of `create` and `set`.
_FLAGS: Final = (
    click.option("--authenticated/--open", default=None, help="Whether callers must show a key of the gateway."),
    click.option(
        "--stored-key-wins/--callers-key-wins",
        default=None,
        help="Whose key counts when there are two. A placeholder that a client must send hides the vault's key.",
    ),
    click.option(
        "--client-secrets",
        type=click.Choice([mode.value for mode in ClientSecretMode]),
        help="Who answers a request for a client secret: the gateway (brokered) or the provider (relay).",
    ),
    click.option(
        "--origins",
        metavar="A,B,...",
        help="The browser origins that may call it, instead of allowed_origins; '' for none.",
    ),
    data_dir_option,
    takes_control,
    takes_logging,
    takes_realtime,
)


def takes_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all flags of a gateway."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command


@application.command()
@name_argument
@takes_flags
def create(
    name: str,
    authenticated: bool | None,
    stored_key_wins: bool | None,
    client_secrets: str | None,
    origins: str | None,
    data_dir: Path | None,
    control: dict[str, Any],
    logging: dict[str, Any],
    realtime: dict[str, Any],
) -> None:
    """Make a gateway. It demands a key of its own unless --open is given."""
    if not _NAME.fullmatch(name):
        raise SettingsError("A gateway's name has letters, digits, - and _ only, at most 64.")
    chosen = chosen_settings(data_dir)
    changes = _changes(authenticated, stored_key_wins, client_secrets, origins)
    rules = GatewayRules(
        name,
        realtime=RealtimeRules().changed(_checked(chosen, realtime)),
        logging=LoggingRules().changed(logging),
        control=ControlRules().changed(control),
        **changes,
    )
    with_configuration(chosen, lambda configuration: configuration.create_gateway(rules))
    err(f"Gateway {name} is at /v1/{chosen.account}/{name}/. Make a key for it: trunkline keys create --gateway {name}")


@application.command("set")
@name_argument
@takes_flags
def set_(
    name: str,
    authenticated: bool | None,
    stored_key_wins: bool | None,
    client_secrets: str | None,
    origins: str | None,
    data_dir: Path | None,
    control: dict[str, Any],
    logging: dict[str, Any],
    realtime: dict[str, Any],
) -> None:
    """Change a gateway's switches; what is not named stays. It counts within a second."""
    changes = _changes(authenticated, stored_key_wins, client_secrets, origins)
    if not any((changes, realtime, logging, control)):
        raise SettingsError("Nothing to change was named; see trunkline gateways set --help.")
    chosen = chosen_settings(data_dir)
    told = _checked(chosen, realtime)
    rules = with_configuration(
        chosen,
        lambda configuration: configuration.change_gateway(
            name, realtime=told, logging=logging, control=control, **changes
        ),
    )
    err(f"Gateway {name}: {_words(rules)}.")


@application.command("list")
@data_dir_option
def list_(data_dir: Path | None) -> None:
    """List the gateways and their switches."""
    chosen = chosen_settings(data_dir)
    _, registry = with_configuration(chosen, lambda configuration: configuration.load())
    rows = []
    for rules in sorted(registry.gateways.values(), key=lambda one: one.id):
        chained = [
            f"{provider} through {urlsplit(via.base_url).netloc}"
            for (owner, provider), via in registry.vias.items()
            if owner == rules.id
        ]
        rows.append((rules.id, f"/v1/{chosen.account}/{rules.id}/", ", ".join([_words(rules), *chained])))
    out(table(("gateway", "path", "switches"), rows))


@application.command()
@name_argument
@yes_option
@data_dir_option
def delete(name: str, yes: bool, data_dir: Path | None) -> None:
    """Delete a gateway with its keys and stored provider keys."""
    if not yes:
        click.confirm(f"Delete gateway {name} with its keys and stored provider keys?", abort=True, err=True)
    chosen = chosen_settings(data_dir)
    with_configuration(chosen, lambda configuration: configuration.delete_gateway(name))
    err(f"Gateway {name} is deleted.")


@application.command()
@argument("provider", help="The provider to reach so.")
@click.option("--gateway", help="Which gateway; by default that of the settings.")
@click.option("--account", help="Cloudflare's account id.")
@click.option("--gateway-id", help="The id of the gateway there.")
@click.option("--url", help="Instead of both: the other gateway's URL up to where the provider stands.")
@click.option("--token-from", metavar="VARIABLE", help="Variable that holds the token of that gateway.")
@click.option(
    "--realtime-key",
    default="auto",
    show_default=True,
    help="Where the key goes on a WebSocket there: header, subprotocol or query; auto finds out.",
)
@click.option("--off", is_flag=True, help="Reach the provider directly again.")
@data_dir_option
def via(
    provider: str,
    gateway: str | None,
    account: str | None,
    gateway_id: str | None,
    url: str | None,
    token_from: str | None,
    realtime_key: str,
    off: bool,
    data_dir: Path | None,
) -> None:
    """Reach a provider through a Cloudflare AI Gateway, or another of its kind."""
    chosen = chosen_settings(data_dir)
    slug, owner = provider_slug(chosen, provider), gateway or chosen.gateway
    if off:
        with_configuration(chosen, lambda configuration: configuration.remove_via(owner, slug))
        err(f"Gateway {owner} reaches {slug} directly.")
        return
    if url is None:
        if not account or not gateway_id:
            raise SettingsError("Name the other gateway: --account and --gateway-id, or --url.")
        url = f"{_CLOUDFLARE}/{account}/{gateway_id}"
    token = ask("token", token_from) if token_from else ""
    chain = check_via(slug, {"base_url": url, "token": token, "realtime_key": realtime_key}, "via")
    with_configuration(chosen, lambda configuration: configuration.set_via(owner, slug, chain))
    err(f"Gateway {owner} reaches {slug} through {urlsplit(url).netloc}.")


def _changes(
    authenticated: bool | None,
    stored_key_wins: bool | None,
    client_secrets: str | None,
    origins: str | None,
) -> dict[str, Any]:
    listed = None if origins is None else tuple(_origin(one) for one in origins.split(",") if one.strip())
    given = {
        "authenticated": authenticated,
        "stored_key_wins": stored_key_wins,
        "client_secrets": ClientSecretMode(client_secrets) if client_secrets else None,
        "allowed_origins": listed,
    }
    return {name: value for name, value in given.items() if value is not None}


def _checked(chosen: Settings, realtime: dict[str, Any]) -> dict[str, Any]:
    if "fallbacks" not in realtime:
        return realtime
    return {**realtime, "fallbacks": checked_fallbacks(realtime["fallbacks"], Catalogue.build(chosen.providers))}


def _origin(text: str) -> str:
    origin = text.strip().lower().rstrip("/")
    parts = urlsplit(origin)
    if origin != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query):
        raise SettingsError(f"--origins: {text.strip()!r} is no origin, such as https://app.example.com.")
    return origin


def _words(rules: GatewayRules) -> str:
    words = [
        "authenticated" if rules.authenticated else "open",
        "the stored key wins" if rules.stored_key_wins else "the caller's key wins",
        f"client secrets {rules.client_secrets.value}",
    ]
    if rules.allowed_origins:
        words.append("pages of " + " ".join(rules.allowed_origins))
    realtime = realtime_words(rules.realtime)
    if realtime:
        words.append(f"realtime: {realtime}")
    logging = logging_words(rules.logging)
    if logging:
        words.append(logging)
    done = control_words(rules.control)
    if done:
        words.append(done)
    return ", ".join(words)
