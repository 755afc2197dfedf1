"""From a provider and the rest of a client's path to an upstream address. The caller can never choose the host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import quote, unquote, unquote_plus

import msgspec

from trunkline.errors import MalformedRequest, UnknownProvider
from trunkline.providers.schema import Provider, Realtime

_NAME: Final = re.compile(r"\{(\w+)\}")
# A value that becomes part of a host name must not be able to end it.
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~@:-]{1,128}")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\#?]")


class UpstreamTarget(msgspec.Struct, frozen=True):
    """An upstream address: ``url`` without query, and the query as it is to be sent, less credentials.

    ``public_only`` is as in `Provider`. ``tenant`` names whose machine it is, where the path alone says so.
    """

    url: str
    query: str = ""
    public_only: bool = False
    tenant: str = ""


def resolve_http(provider: Provider, rest: str) -> UpstreamTarget:
    """Return where a request with this rest of a path goes; the rest is kept as the client encoded it.

    Raises `MalformedRequest` for a path that could leave the provider's API, `UnknownProvider` for one that fits none
    of its routes.
    """
    check_path(rest)
    rest = rest.lstrip("/")
    for route in provider.routes:
        match = _match(route.path, rest)
        if match is not None:
            values, remaining = match
            return UpstreamTarget(
                _join(_filled(route.base_url, {**provider.parameters, **values}, provider), remaining),
                public_only=provider.public_only,
                tenant=_tenant(route.base_url, values, provider),
            )
    if not provider.base_url:
        forms = " or ".join(route.path for route in provider.routes)
        raise UnknownProvider(f"{provider.name}: the path after the provider begins with {forms}.")
    base = _filled(provider.base_url, provider.parameters, provider)
    return UpstreamTarget(_join(base, versioned(rest, provider.version, base)), public_only=provider.public_only)


def resolve_realtime(provider: Provider, rest: str, query: str) -> UpstreamTarget | None:
    """Return where a WebSocket with this rest of a path and query goes (``ws`` or ``wss``), or None if nowhere.

    Raises what `resolve_http` does.
    """
    socket = provider.socket
    if socket is None:
        return None
    rest, query = _path_from_query(socket, rest, query)
    place = realtime_place(provider, rest)
    if place is None:
        return None
    base = _filled(place.base_url, {**provider.parameters, **place.values}, provider)
    path = versioned(place.path, provider.version, base) if place.path else ""
    query = with_live_model(exclusive(query, socket.exclusive_query), socket.models)
    tenant = _tenant(place.base_url, place.values, provider)
    return UpstreamTarget(re.sub(r"^http", "ws", _join(base, path)), query, provider.public_only, tenant)


class RealtimePlace(msgspec.Struct, frozen=True):
    """Where a WebSocket's path belongs: a base URL, what fills its names, and the path behind it."""

    base_url: str
    values: Mapping[str, str]
    path: str


def realtime_place(provider: Provider, rest: str) -> RealtimePlace | None:
    """Return where a path belongs, or None if nowhere. Raises `MalformedRequest` for one that could leave the API."""
    socket = provider.socket
    if socket is None:
        return None
    check_path(rest)
    rest = rest.strip("/")
    base_url = socket.base_url or provider.base_url
    if rest in socket.paths and base_url:
        return RealtimePlace(base_url, {}, socket.paths[rest])
    for route in socket.routes:
        match = _match(route.path, rest)
        if match is not None:
            return RealtimePlace(route.base_url, *match)
    return RealtimePlace(base_url, {}, rest) if socket.any_path and base_url else None


def _path_from_query(socket: Realtime, rest: str, query: str) -> tuple[str, str]:
    """Take the path from the parameter that names it, where there is one."""
    if not socket.path_query or rest.strip("/"):
        return rest, query
    pairs = query.split("&")
    for place, pair in enumerate(pairs):
        name, _, value = pair.partition("=")
        if unquote_plus(name) == socket.path_query:
            return quote(unquote_plus(value), safe="/@:"), "&".join([*pairs[:place], *pairs[place + 1 :]])
    return rest, query


def with_live_model(query: str, models: Mapping[str, str]) -> str:
    """Name in a query, instead of a retired model, the one that took its place; the rest stays byte for byte."""
    if not models or not query:
        return query

    def live(pair: str) -> str:
        name, _, value = pair.partition("=")
        if unquote_plus(name) != "model":
            return pair
        model = unquote_plus(value)
        heir = next((heir for pattern, heir in models.items() if fnmatchcase(model, pattern)), None)
        return pair if heir is None else f"{name}={quote(heir, safe='')}"

    return "&".join(live(pair) for pair in query.split("&"))


def versioned(rest: str, version: str, base: str) -> str:
    """Put exactly one version segment between base and path, wherever the client had it."""
    if not version:
        return rest
    bare = "" if rest == version else rest.removeprefix(f"{version}/")
    return bare if base.rstrip("/").endswith(f"/{version}") else f"{version}/{bare}"


def check_path(rest: str) -> None:
    """Raise `MalformedRequest` when a path holds what servers read differently or climbs out of the base."""
    if _UNSAFE.search(rest):
        raise MalformedRequest("The path holds a character that does not belong in one; percent-encode it.")
    decoded = unquote(rest)
    if "\\" in decoded or "\x00" in decoded or any(part in (".", "..") for part in decoded.split("/")):
        raise MalformedRequest("The path may not hold '.' or '..' segments or backslashes.")


def _match(pattern: str, rest: str) -> tuple[dict[str, str], str] | None:
    """Match the leading segments of a path; return the named ones and what is left."""
    if not pattern:
        return {}, rest
    wanted = pattern.split("/")
    given = rest.split("/")
    if len(given) < len(wanted):
        return None
    values: dict[str, str] = {}
    for expected, segment in zip(wanted, given, strict=False):
        name = _NAME.fullmatch(expected)
        if name is not None:
            values[name[1]] = segment
        elif expected != segment:
            return None
    return values, "/".join(given[len(wanted) :])


def _filled(template: str, values: Mapping[str, str], provider: Provider) -> str:
    """Fill a template's names, those in the host part with host labels only."""
    scheme, _, remainder = template.partition("://")
    host, slash, path = remainder.partition("/")

    def fill(part: str, allowed: re.Pattern[str]) -> str:
        def value_of(match: re.Match[str]) -> str:
            name = match[1]
            if name not in values:
                raise UnknownProvider(
                    f"{provider.name} needs {name}: set it as [providers.{provider.slug}.parameters] {name} = ..."
                )
            value = values[name]
            if not allowed.fullmatch(value) or value in (".", ".."):
                raise MalformedRequest(f"{provider.name}: {name} in the path has characters it cannot have.")
            return value

        return _NAME.sub(value_of, part)

    return f"{scheme}://{fill(host, _HOST_LABEL)}{slash}{fill(path, _SEGMENT)}"


def _tenant(template: str, chosen: Mapping[str, str], provider: Provider) -> str:
    """Return the name and value by which a path chose whose machine is asked, unless the settings name that too."""
    host = template.partition("://")[2].partition("/")[0]
    for name, values in provider.tenants.items():
        value = chosen.get(name)
        if value is None or f"{{{name}}}" not in host or "*" in values:
            continue
        if value.lower() not in {known.lower() for known in (*values, provider.parameters.get(name, ""))}:
            return f"{name} = {value}"
    return ""


def _join(base: str, path: str) -> str:
    return f"{base.rstrip('/')}/{path}" if path else base.rstrip("/")


def exclusive(query: str, rules: Mapping[str, tuple[str, ...]]) -> str:
    """Drop the parameters that may not stand beside one that is there; leave the rest byte for byte."""
    if not rules or not query:
        return query
    names = [unquote_plus(pair.partition("=")[0]) for pair in query.split("&")]
    dropped = {name for present, others in rules.items() if present in names for name in others}
    if not dropped:
        return query
    return "&".join(pair for pair, name in zip(query.split("&"), names, strict=True) if name not in dropped)
