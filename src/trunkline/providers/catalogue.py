"""All providers a gateway knows: the packaged data files, changed and added to by settings."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from trunkline.errors import SettingsError
from trunkline.providers.schema import Provider
from trunkline.settings import is_loopback_host

_CUSTOM_PREFIX: Final = "custom-"
_CUSTOM_DEFAULTS: Final[dict[str, Any]] = {
    "needs_key": False,
    "chat_path": "chat/completions",
    "models_path": "models",
    "credential_slots": [
        {"kind": "header", "name": "authorization", "scheme": "Bearer"},
        {"kind": "header", "name": "authorization"},
        {"kind": "header", "name": "x-api-key"},
        {"kind": "header", "name": "api-key"},
    ],
}


class Catalogue:
    """Providers by slug and alias."""

    def __init__(self, providers: list[Provider]) -> None:
        self._providers = providers
        self._by_name: dict[str, Provider] = {}
        for provider in providers:
            for name in (provider.slug, *provider.aliases):
                if name in self._by_name:
                    raise SettingsError(f"providers: {name} names two providers.")
                self._by_name[name] = provider

    @classmethod
    def build(cls, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Catalogue:
        """Return the packaged providers with the tables ``[providers.X]`` laid over them.

        A table ``custom-NAME`` adds a provider. Raises `SettingsError` naming the table and field at fault.
        """
        packaged = packaged_data()
        names = {name: slug for slug, data in packaged.items() for name in (slug, *data.get("aliases", ()))}
        merged: dict[str, dict[str, Any]] = {slug: dict(data) for slug, data in packaged.items()}
        for name, override in (overrides or {}).items():
            if name.startswith(_CUSTOM_PREFIX):
                base = {"slug": name, "name": name.removeprefix(_CUSTOM_PREFIX), **_CUSTOM_DEFAULTS}
                merged[name] = _overlaid(base, override)
            elif name in names:
                merged[names[name]] = _overlaid(merged[names[name]], override)
            else:
                raise SettingsError(
                    f"providers.{name}: no such provider. To add one, call it custom-{name} and give it a base_url."
                )
        return cls([provider_from(data, f"providers.{slug}") for slug, data in merged.items()])

    def find(self, name: str) -> Provider | None:
        """Return the provider of a slug or alias, or None."""
        return self._by_name.get(name)

    def all(self) -> Iterator[Provider]:
        """Yield every provider, each once."""
        return iter(self._providers)


@cache
def packaged_data() -> dict[str, dict[str, Any]]:
    """Return the raw tables of the packaged data files by slug; ``local`` and ``openai`` come first."""
    directory = files("trunkline.providers").joinpath("data")
    tables = [tomllib.loads(entry.read_text("utf-8")) for entry in directory.iterdir() if entry.name.endswith(".toml")]
    return {table["slug"]: table for table in sorted(tables, key=_order)}


def _order(table: Mapping[str, Any]) -> tuple[int, str]:
    return {"local": 0, "openai": 1}.get(table["slug"], 2), table["name"].lower()


def provider_from(data: Mapping[str, Any], where: str) -> Provider:
    """Check one provider's table against the schema and its addresses against the rules for them."""
    try:
        provider = msgspec.convert(data, Provider)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {error}.") from error
    for address in _addresses(provider):
        check_address(address, where)
    if not provider.credential_slots:
        raise SettingsError(f"{where}: credential_slots needs at least one place for a key.")
    return provider


def check_address(address: str, where: str) -> None:
    """Refuse an address over which a key would travel unprotected, or that carries more than a place."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise SettingsError(f"{where}: {address!r} is not a URL.") from error
    if parts.scheme not in ("https", "http", "wss", "ws") or not host:
        raise SettingsError(f"{where}: a base_url begins with https:// and a host name.")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(f"{where}: a base_url has no user, query or fragment; keys go into api_key.")
    if parts.scheme in ("http", "ws") and not is_loopback_host(host):
        raise SettingsError(
            f"{where}: plain {parts.scheme} is for this machine only, since keys would be readable on the way to"
            f" {host}; use https."
        )


def _addresses(provider: Provider) -> Iterator[str]:
    if not provider.routes or provider.base_url:
        yield provider.base_url
    for route in provider.routes:
        yield route.base_url
    if provider.socket is not None and provider.socket.base_url:
        yield provider.socket.base_url


def _overlaid(data: dict[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a settings table over a provider's data: tables merge, everything else replaces."""
    changes = dict(override)
    if "api_key" in changes:
        changes["stored_key"] = str(changes.pop("api_key")).strip()
    result = dict(data)
    if "base_url" in changes:
        # One address replaces all: another host does not share the provider's own routes.
        result.pop("routes", None)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, Mapping) else value
    return result
