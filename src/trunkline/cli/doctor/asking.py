"""Whom the gateway asks: the local models, and providers elsewhere."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from trunkline.cli.doctor.findings import Notes
from trunkline.cli.doctor.installation import Installation
from trunkline.errors import ModelsMissing, SettingsError, UpstreamError
from trunkline.local import models
from trunkline.policy.registry import Registry
from trunkline.providers import Catalogue, Provider
from trunkline.providers.catalogue import custom_provider
from trunkline.upstream.address import Origin, parse
from trunkline.upstream.connecting import Connector
from trunkline.upstream.failures import connecting

_SECONDS: Final = 10.0


class _Asked(msgspec.Struct, frozen=True):
    """A provider that is set up: where it is reached, and what of it is set up. Without an ``origin`` requests say."""

    slug: str
    origin: Origin | None
    what: tuple[str, ...]


def local_models(it: Installation, notes: Notes) -> None:
    """Whether the local provider has its models and packages."""
    directory = models.directory_in(it.settings.data_dir)
    language = Path(it.settings.local_model) if it.settings.local_model else None
    try:
        models.locate(directory, language)
    except ModelsMissing as error:
        some = any((directory / file.name).exists() for file in models.FILES)
        if it.settings.local_model or some:
            notes.fault(str(error), "`trunkline models install` fetches what is missing or cut short.")
        else:
            notes.warning(f"{error} The local provider answers nothing.", "If it is not needed, let it be.")
        return
    notes.ok(f"All are in {directory}, in full size; `trunkline models verify` checks their hashes.")


async def providers(it: Installation, notes: Notes) -> None:
    """Which providers have a key, whether their addresses are good, and with --online whether they can be reached."""
    try:
        catalogue = Catalogue.build(it.settings.providers)
    except SettingsError as error:
        notes.fault(str(error), "Correct it: `serve` does not start so.")
        return
    added = []
    for name, table in it.known.providers.items():
        try:
            added.append(custom_provider(name, table, it.settings.custom_provider_hosts))
        except SettingsError as error:
            notes.fault(str(error), f"`trunkline providers change {name}` corrects it; it is left out meanwhile.")
    catalogue.add(added)
    asked = list(_asked(it.known, catalogue))
    if not asked:
        notes.ok("None has a key here: callers bring their own, or use the local models.")
        return
    connector = Connector()
    found = await asyncio.gather(*(_reach(one, connector, online=it.is_online) for one in asked))
    for one, (seen, why) in zip(asked, found, strict=True):
        told = f"{one.slug} ({', '.join(one.what)}): {seen}"
        if why:
            notes.fault(f"{told} {why}", "Check base_url, DNS, the firewall and HTTPS_PROXY of this machine.")
        else:
            notes.ok(told)


def _asked(known: Registry, catalogue: Catalogue) -> Iterator[_Asked]:
    """Those that somebody has set up: with a key in the settings or the vault, or added."""
    for provider in catalogue.all():
        if provider.slug == "local":
            continue
        what = ["key in the settings"] if provider.stored_key else []
        what += [f"key in the vault of gateway {gateway}" for gateway, slug in known.stored if slug == provider.slug]
        chains = [
            (via, f"for gateway {gateway} behind another")
            for (gateway, slug), via in known.vias.items()
            if slug == provider.slug
        ]
        if provider.via is not None:
            chains.append((provider.via, "behind another gateway"))
        for via, words in chains:
            yield _Asked(provider.slug, parse(via.base_url)[0], (words,))
        if what or provider.slug.startswith("custom-"):
            yield _Asked(provider.slug, _origin(provider), tuple(what) or ("without a key",))


def _origin(provider: Provider) -> Origin | None:
    address = provider.base_url or next((route.base_url for route in provider.routes if not route.path), "")
    return None if not address or "{" in address else parse(address, public_only=provider.public_only)[0]


async def _reach(asked: _Asked, connector: Connector, *, online: bool) -> tuple[str, str]:
    """Return what was seen of a provider, and what stands in the way. Neither a key nor a request is sent."""
    origin = asked.origin
    if origin is None:
        return "its address depends on the request.", ""
    proxy = connector.proxy_for(origin)
    began = time.monotonic()
    try:
        async with asyncio.timeout(_SECONDS):
            if not online:
                if proxy is None:
                    await connector.resolve(origin)
                how = "is reached through a proxy." if proxy else "has an address."
                return f"{origin.netloc} {how}", ""
            await _handshake(connector, origin)
    except (UpstreamError, OSError) as error:
        return f"{origin.netloc} cannot be reached.", connecting(error, origin).message
    milliseconds = (time.monotonic() - began) * 1000
    how = "a TLS handshake" if origin.is_secure else "a connection"
    by = " through the proxy" if proxy else ""
    return f"{origin.netloc} took {how}{by} in {milliseconds:.0f} ms; no key and no request was sent.", ""


async def _handshake(connector: Connector, origin: Origin) -> None:
    """Connect, with TLS where the provider has it, and leave."""
    connected: socket.socket = await connector.open(origin)
    context = connector.ssl_for(origin)
    hostname = origin.host if context is not None else None
    _, writer = await asyncio.open_connection(sock=connected, ssl=context, server_hostname=hostname)
    writer.close()
