"""Where a probe goes: from the address a person has to the addresses of each transport."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from trunkline.credentials.matrix import Way
from trunkline.probe.cell import SOCKETS
from trunkline.probe.errors import ProbeError
from trunkline.providers import Catalogue, Provider
from trunkline.providers.resolution import versioned
from trunkline.upstream.address import Origin, parse
from trunkline.wire.path import ROOT_RESOURCES

_NOT_IN_A_URL: Final = re.compile(r"[^\x21-\x7e]|\\")
_SCHEMES: Final = ("http", "https", "ws", "wss")

# Asked for by name where the caller names none. A model that is not there changes no verdict: see `reading`.
_MODELS: Final = {
    "anthropic": "claude-haiku-4-5",
    "google-ai-studio": "gemini-2.5-flash",
    "local": "local",
    "openai": "gpt-4o-mini",
}
_REALTIME_MODELS: Final = {"local": "local", "openai": "gpt-realtime"}
_ANY_MODEL: Final = "default"

# Of providers that are asked in their own manner; what the catalogue names is their imitation of OpenAI's.
_OWN_PATHS: Final = {
    ("anthropic", Way.HTTP): "v1/models",
    ("anthropic", Way.SSE): "v1/messages",
    ("google-ai-studio", Way.HTTP): "v1beta/models",
    ("google-ai-studio", Way.SSE): "v1beta/models/{model}:streamGenerateContent?alt=sse",
}


@dataclass(frozen=True)
class Target:
    """A base URL and the provider that is asked for there.

    Three forms are understood: ``.../v1/{account}/{gateway}``, to which the provider's slug is added; the same with the
    slug, or any URL that ends in it; and every other URL, taken for the base of the provider's own API
    (``https://api.openai.com/v1``). Raises `ProbeError` for what is none of them; a URL with a user, a query or a
    fragment is refused unread, since those hold keys.
    """

    url: str
    provider: str = "openai"
    model: str = ""
    realtime_model: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.strip().rstrip("/"))
        parts = _parts(self.url)
        _refuse_a_resource(parts)
        slug = self.described.slug
        object.__setattr__(self, "provider", slug)
        object.__setattr__(self, "model", self.model or _MODELS.get(slug, _ANY_MODEL))
        object.__setattr__(self, "realtime_model", self.realtime_model or _REALTIME_MODELS.get(slug, _ANY_MODEL))
        if not self.ways:
            raise ProbeError(
                f"{self.described.name} has no list of models, chat or realtime session in OpenAI's manner, and the"
                " probe knows no other request that costs nothing."
            )

    @cached_property
    def described(self) -> Provider:
        """The catalogue's page on the provider."""
        catalogue = Catalogue.build()
        found = catalogue.find(self.provider)
        if found is None:
            known = ", ".join(sorted(provider.slug for provider in catalogue.all()))
            raise ProbeError(f"There is no provider {self.provider!r}. Known are {known}.")
        return found

    @property
    def origin(self) -> Origin:
        """The host that is connected to, on every transport."""
        return parse(self.url)[0]

    @property
    def ways(self) -> tuple[Way, ...]:
        """The transports on which something can be asked."""
        return tuple(way for way in (Way.HTTP, Way.SSE, Way.REALTIME, Way.REALTIME_BROWSER) if self.address(way))

    def address(self, way: Way) -> str | None:
        """Return the URL that is asked on a transport, or None where the provider has nothing there."""
        path = _path(self.described, way, self.model)
        if path is None:
            return None
        if way not in SOCKETS:
            return f"{_with_scheme(self._base, 'http')}/{self._placed(path)}"
        # Cloudflare documents the provider's own address for its realtime API, and Trunkline serves both.
        place = "" if self._names_provider else f"/{self._placed(path)}"
        return f"{_with_scheme(self._base, 'ws')}{place}?model={quote(self.realtime_model, safe='')}"

    def _placed(self, path: str) -> str:
        """Return a path as it is written behind the base, whose last part may be the version already."""
        version = "v1beta" if self.described.dialect == "google" else self.described.version
        return path if self._names_provider else versioned(path, version, self._base)

    @cached_property
    def _base(self) -> str:
        return f"{self.url}/{self.provider}" if self._is_gateway else self.url

    @property
    def _names_provider(self) -> bool:
        return self._is_gateway or self._segments[-1:] in [[name] for name in (self.provider, *self.described.aliases)]

    @property
    def _is_gateway(self) -> bool:
        """Whether the URL ends in ``/v1/{account}/{gateway}``."""
        return len(self._segments) >= 3 and self._segments[-3] == "v1"

    @cached_property
    def _segments(self) -> list[str]:
        return urlsplit(self.url).path.strip("/").split("/")


def _parts(url: str) -> SplitResult:
    """Split a URL. Raises `ProbeError`, whose message shows nothing of it but its scheme."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ProbeError("The address is not a URL.") from error
    if parts.username is not None or parts.query or parts.fragment:
        raise ProbeError("The address may have no user, query or fragment; keys come from the environment.")
    if parts.scheme not in _SCHEMES or not host or _NOT_IN_A_URL.search(url):
        raise ProbeError(
            "The address begins with http:// or https:// (or ws://, wss://) and a host, for example"
            " https://gateway.ai.cloudflare.com/v1/ACCOUNT/GATEWAY."
        )
    return parts


def _refuse_a_resource(parts: SplitResult) -> None:
    segments = parts.path.strip("/").split("/")
    if any(before == "v1" and segment in ROOT_RESOURCES for before, segment in pairwise(segments)):
        raise ProbeError("The address names one resource of the API; leave out what follows /v1.")


def _with_scheme(url: str, plain: str) -> str:
    """Return a URL as ``http(s)`` or ``ws(s)``."""
    scheme, _, rest = url.partition("://")
    return f"{plain}{'s' if scheme in ('https', 'wss') else ''}://{rest}"


def _path(provider: Provider, way: Way, model: str) -> str | None:
    """Return the path that is asked, as the provider's clients write it behind its slug."""
    if way in SOCKETS:
        return provider.socket.paths.get("realtime") if provider.socket is not None else None
    own = _OWN_PATHS.get((provider.slug, way))
    if own is not None:
        return own.format(model=quote(model, safe=""))
    return provider.models_path if way is Way.HTTP else provider.chat_path
