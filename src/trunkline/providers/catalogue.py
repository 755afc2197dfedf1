"""All providers a gateway knows: the packaged data files, changed and added to by settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from trunkline.errors import SettingsError
from trunkline.providers.schema import Provider, Via
from trunkline.settings import is_loopback_host
from trunkline.wire.documents import converted
from trunkline.wire.public_addresses import broken_rule

_CUSTOM_PREFIX: Final = "custom-"
_CUSTOM_NAME: Final = re.compile(r"custom-[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
# What no URL holds, and no header; a header's value may hold blanks within.
_NOT_IN_A_URL: Final = re.compile(r"[^\x21-\x7e]|\\")
_NOT_IN_A_HEADER: Final = re.compile(r"[^\t\x20-\x7e]")
# Headers that say where a request goes and where it ends: a second one would be read differently by different servers.
_FRAMING: Final = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade")
)
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
    """Providers by slug and alias: those of the program and the settings, and those that were added since."""

    def __init__(self, providers: list[Provider]) -> None:
        self._fixed: dict[str, Provider] = {}
        for provider in providers:
            for name in (provider.slug, *provider.aliases):
                if name in self._fixed:
                    raise SettingsError(f"providers: {name} names two providers.")
                self._fixed[name] = provider
        self._by_name = self._fixed

    @classmethod
    def build(cls, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Catalogue:
        """Return the packaged providers with the tables ``[providers.X]`` laid over them.

        A table ``custom-NAME`` adds a provider. Raises `SettingsError` naming the table and field at fault.
        """
        packaged = packaged_data()
        names = {name: slug for slug, data in packaged.items() for name in (slug, *data.get("aliases", ()))}
        merged: dict[str, dict[str, Any]] = {slug: dict(data) for slug, data in packaged.items()}
        for name, override in (overrides or {}).items():
            if "slug" in override:
                raise SettingsError(f"providers.{name}: slug cannot be set; the table's name is the slug.")
            if name.startswith(_CUSTOM_PREFIX):
                merged[name] = _overlaid(_custom_data(name, f"providers.{name}"), override)
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
        return iter({provider.slug: provider for provider in self._by_name.values()}.values())

    def add(self, custom: Iterable[Provider]) -> None:
        """Know these custom providers too, instead of those added before; the settings' own keep their names."""
        self._by_name = {**{provider.slug: provider for provider in custom}, **self._fixed}


def custom_provider(name: str, table: Mapping[str, Any], private_hosts: Collection[str]) -> Provider:
    """Return the provider ``custom-...`` of a table that came over the network.

    It may be at one of ``private_hosts``, at any host where ``*`` is among them, and else only at a public address that
    is spoken to over TLS: it is then ``public_only``, since a name can lead anywhere. Raises `SettingsError` naming the
    field at fault.
    """
    data = {**_overlaid(_custom_data(name, name), table), "public_only": False}
    provider = provider_from(data, name, lambda address, where: _check_public_address(address, where, private_hosts))
    hosts = [_host_of(address, where) for where, address in _addresses(provider)]
    return msgspec.structs.replace(provider, public_only=not all(_is_exempt(host, private_hosts) for host in hosts))


def _custom_data(name: str, where: str) -> dict[str, Any]:
    if not _CUSTOM_NAME.fullmatch(name):
        raise SettingsError(f"{where}: a name has small letters, digits and hyphens only.")
    return {"slug": name, "name": name.removeprefix(_CUSTOM_PREFIX), **_CUSTOM_DEFAULTS}


def _check_public_address(address: str, where: str, private_hosts: Collection[str]) -> None:
    """Refuse an address that carries more than a place, and one that is not public or not protected by TLS."""
    parts = _place(address, where)
    host = _host_of(address, where)
    if _is_exempt(host, private_hosts):
        return
    remedy = f"If that is meant, add {host} to custom_provider_hosts (TRUNKLINE_CUSTOM_PROVIDER_HOSTS)."
    if parts.scheme not in ("https", "wss"):
        raise SettingsError(f"{where}: keys would be readable on the way to {host}; use https. {remedy}")
    if not _is_public(host):
        raise SettingsError(f"{where}: {host} is an address within this network. {remedy}")


def _host_of(address: str, where: str) -> str:
    return (_place(address, where).hostname or "").rstrip(".").lower()


def _is_exempt(host: str, private_hosts: Collection[str]) -> bool:
    return "*" in private_hosts or host in private_hosts


def _is_public(host: str) -> bool:
    """Whether a host may be one that everybody can reach; a name without a dot is one of this network.

    Where a name leads to is judged when it is connected to.
    """
    try:
        return broken_rule(host) is None
    except ValueError:
        # A last label of digits makes other spellings of an address, such as 127.1 or 0x7f.1.
        last = host.rpartition(".")[2]
        return "." in host and not last[:1].isdigit() and last not in ("localhost", "local", "internal", "lan", "home")


@cache
def packaged_data() -> dict[str, dict[str, Any]]:
    """Return the raw tables of the packaged data files by slug; ``local`` and ``openai`` come first."""
    directory = files("trunkline.providers").joinpath("data")
    tables = [tomllib.loads(entry.read_text("utf-8")) for entry in directory.iterdir() if entry.name.endswith(".toml")]
    return {table["slug"]: table for table in sorted(tables, key=_order)}


def _order(table: Mapping[str, Any]) -> tuple[int, str]:
    return {"local": 0, "openai": 1}.get(table["slug"], 2), table["name"].lower()


def provider_from(data: Mapping[str, Any], where: str, check: Callable[[str, str], None] | None = None) -> Provider:
    """Check one provider's table against the schema, and what becomes part of a request against the rules for that.

    Raises `SettingsError` naming the field at fault.
    """
    try:
        # Not strict, because variables of the environment are text: "false" is taken for a switch.
        provider = converted(data, Provider, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {str(error).replace('stored_key', 'api_key')}.") from error
    for field, address in _addresses(provider):
        (check or check_address)(address, f"{where}{field}")
    if not provider.credential_slots:
        raise SettingsError(f"{where}: credential_slots needs at least one place for a key.")
    _check_headers(provider, where)
    if provider.via is not None:
        via = check_via(provider.slug, msgspec.structs.asdict(provider.via), f"{where}.via")
        provider = msgspec.structs.replace(provider, via=via)
    socket = provider.socket
    if socket is not None and not socket.credential_slots:
        socket = msgspec.structs.replace(socket, credential_slots=provider.credential_slots)
        provider = msgspec.structs.replace(provider, realtime=socket)
    return provider


def _check_headers(provider: Provider, where: str) -> None:
    """Refuse a key or header that would break a request's head, or be a second credential in it."""
    if _NOT_IN_A_HEADER.search(provider.stored_key):
        raise SettingsError(f"{where}: api_key holds characters that no key has.")
    own = {slot.name for slot in provider.credential_slots if slot.kind == "header"}
    for name, value in provider.headers.items():
        if not name or not name.isascii() or _NOT_IN_A_HEADER.search(value) or not name.replace("-", "").isalnum():
            raise SettingsError(f"{where}: headers.{name!r} is not a header, or its value holds what none can hold.")
        if name.lower() in _FRAMING:
            raise SettingsError(f"{where}: headers.{name} is written by the gateway itself, for each request.")
        if name.lower() in own:
            raise SettingsError(
                f"{where}: headers.{name} is where the key goes: store it with `trunkline vault set {provider.slug}`,"
                " or set api_key in the settings file."
            )


def check_via(slug: str, data: Mapping[str, Any], where: str) -> Via:
    """Check what is said of a gateway in front of a provider. Raises `SettingsError` naming the field at fault."""
    if slug == "local":
        raise SettingsError(f"{where}: the local models run on this machine, behind no other gateway.")
    try:
        via = converted(data, Via)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {error}.") from error
    check_address(via.base_url, where)
    if _NOT_IN_A_HEADER.search(via.token) or " " in via.token.removeprefix("Bearer "):
        raise SettingsError(f"{where}: the token holds characters that no token has.")
    return msgspec.structs.replace(via, token=via.token.removeprefix("Bearer ").strip())


def check_address(address: str, where: str) -> None:
    """Refuse an address over which a key would travel unprotected, or that carries more than a place."""
    parts = _place(address, where)
    host = parts.hostname or ""
    if parts.scheme in ("http", "ws") and not is_loopback_host(host):
        raise SettingsError(
            f"{where}: plain {parts.scheme} is for this machine only, since keys would be readable on the way to"
            f" {host}; use https."
        )


def _place(address: str, where: str) -> SplitResult:
    """Return the parts of an address that carries nothing but a place."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise SettingsError(f"{where}: the base_url is not a URL: {error}.") from error
    if _NOT_IN_A_URL.search(address):
        raise SettingsError(f"{where}: a base_url has no blanks, backslashes or letters beyond ASCII.")
    if parts.scheme not in ("https", "http", "wss", "ws") or not host:
        raise SettingsError(f"{where}: a base_url begins with https:// and a host name.")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(f"{where}: a base_url has no user, query or fragment; keys go into api_key.")
    return parts


def _addresses(provider: Provider) -> Iterator[tuple[str, str]]:
    """Yield every address with the table it stands in."""
    if not provider.routes or provider.base_url:
        yield "", provider.base_url
    for route in provider.routes:
        yield ".routes", route.base_url
    if provider.socket is not None:
        if not provider.socket.routes or provider.socket.base_url or provider.base_url:
            yield ".realtime", provider.socket.base_url or provider.base_url
        for route in provider.socket.routes:
            yield ".realtime.routes", route.base_url


def _overlaid(data: dict[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a settings table over a provider's data: tables merge, everything else replaces."""
    changes = dict(override)
    if "api_key" in changes:
        key = changes.pop("api_key")
        changes["stored_key"] = key.strip() if isinstance(key, str) else key
    result = dict(data)
    if "base_url" in changes:
        # One address replaces all: another host does not share the provider's own routes.
        result.pop("routes", None)
        if isinstance(result.get("realtime"), dict):
            result["realtime"] = {
                key: value for key, value in result["realtime"].items() if key not in ("routes", "base_url")
            }
    for key, value in changes.items():
        below = result.get(key)
        result[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, Mapping) else value
    return result
