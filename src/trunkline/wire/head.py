"""The head of a request: all that is known before its body, the same for HTTP and WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import wraps
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from trunkline.wire.path import GATEWAY_HEADER

_Result = TypeVar("_Result")


class Transport(Enum):
    """How the exchange travels. A server-sent stream is HTTP: its head is the same."""

    HTTP = "http"
    WEBSOCKET = "websocket"


@dataclass(frozen=True, slots=True)
class Head:
    """A request head as received.

    ``path`` is percent-encoded as the client sent it, ``query`` has no question mark, header names are lower case.
    Its ``repr`` leaves out whatever may hold a credential. ``memo`` keeps what was worked out from it, and may be that
    of an earlier head which differed in the length of its body alone.
    """

    transport: Transport
    method: str
    path: str
    query: str = field(repr=False)
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    subprotocols: Sequence[str] = field(default=(), repr=False)
    memo: dict[object, Any] = field(init=False, repr=False, compare=False, default_factory=dict)
    _first: Mapping[bytes, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the headers: dozens of them are asked for, and few are there."""
        object.__setattr__(self, "_first", dict(reversed(self.headers)))

    def share(self, memo: dict[object, Any]) -> None:
        """Take up the memo of a head like this one."""
        object.__setattr__(self, "memo", memo)

    def header(self, name: bytes) -> str | None:
        """Return the first value of a header, or None."""
        value = self._first.get(name)
        return None if value is None else value.decode("latin-1")

    def header_values(self, name: bytes) -> Sequence[str]:
        """Return every value of a header, in order."""
        if name not in self._first:
            return ()
        return [value.decode("latin-1") for found, value in self.headers if found == name]

    def has_any(self, names: Collection[bytes]) -> bool:
        """Whether one of these headers is there."""
        return not self._first.keys().isdisjoint(names)

    def query_value(self, name: str) -> str | None:
        """Return the first value of a query parameter, decoded, or None."""
        return next(iter(self.query_values(name)), None)

    def query_values(self, name: str) -> list[str]:
        """Return every value of a query parameter, decoded: whoever repeats one may mean any of them."""
        if name not in self.query and "%" not in self.query:
            return []
        return [value for found, value in parse_qsl(self.query, keep_blank_values=True) if found == name]


def once(function: Callable[[Head], _Result]) -> Callable[[Head], _Result]:
    """Have a pure function of a head, which does not read the length of its body, worked out once for heads alike.

    Whoever gets the result must not change it.
    """

    @wraps(function)
    def known(head: Head) -> _Result:
        memo = head.memo
        if function in memo:
            found: _Result = memo[function]
        else:
            found = memo[function] = function(head)
        return found

    return known


# RFC 9110 section 7.6.1, with the names proxies have used for it and those only one hop may read.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Of the browser and of the way to us: a provider has no use for them, and Anthropic and others refuse requests that
# look as if a web page had sent them. Cookies of this host belong to the console or to other programs on it.
_OURS_ALONE: Final = frozenset({b"host", b"content-length", b"expect", b"cookie", b"origin", b"referer", b"forwarded"})
_OURS_ALONE_PREFIXES: Final = (b"cf-access-", b"sec-", b"x-forwarded-", b"x-trunkline-")

# Cloudflare's headers for its gateway, two of which had another name at first.
_CLOUDFLARE_PREFIX: Final = b"cf-aig-"
_OLD_CLOUDFLARE_NAMES: Final = frozenset({b"cf-skip-cache", b"cf-cache-ttl"})

# Said by a provider about its own host; a browser would take it as said about the gateway's. A cookie could replace the
# console's session, HSTS and Alt-Svc would move the gateway's visitors elsewhere, Clear-Site-Data would log them out,
# and which pages may read an answer is the gateway's to say (a second Access-Control-Allow-Origin voids the first).
_OF_THE_PROVIDERS_HOST: Final = frozenset(
    {b"set-cookie", b"set-cookie2", b"strict-transport-security", b"alt-svc", b"clear-site-data", b"nel", b"report-to"}
)
_CORS_PREFIX: Final = b"access-control-"

# Answers that no browser shows as a page with scripts, however its user came to open their address. Whatever else a
# provider sends is shown as a page of nobody's: a script of the gateway's own host could do all that its user may.
_NO_PAGES: Final = (b"application/json", b"text/event-stream", b"audio/")
_OF_NOBODY: Final = (
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
)


def forwarded_headers(headers: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the request headers a provider may see; credentials are dealt with by `trunkline.credentials`."""
    nominated = connection_options(headers)
    for name, value in headers:
        if name in HOP_BY_HOP or name in _OURS_ALONE or name in nominated or name.startswith(_OURS_ALONE_PREFIXES):
            continue
        if not is_for_gateway(name):
            yield name, value


def is_for_gateway(name: bytes) -> bool:
    """Whether a header is one that Cloudflare's clients send to their gateway, and not to a provider."""
    return name.startswith(_CLOUDFLARE_PREFIX) or name in _OLD_CLOUDFLARE_NAMES


# Of the gateway that is in front, whatever comes behind it: who calls, which of its own keys it is to use, and how
# often it tries. Two gateways that try five times each would ask a provider that fails 25 times.
_TRIES: Final = frozenset({b"cf-aig-request-timeout", b"cf-aig-max-attempts", b"cf-aig-retry-delay", b"cf-aig-backoff"})
_CHAIN_ENDS: Final = frozenset({b"cf-aig-authorization", GATEWAY_HEADER}) | _TRIES
ALIAS_HEADER: Final = b"cf-aig-byok-alias"


def chained_headers(headers: Sequence[tuple[bytes, bytes]], *, key_is_there: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers of Cloudflare's gateway that another one behind this one is to see.

    What this gateway acts on ends here; what is asked of a gateway and left undone here (cache, metadata) goes on.
    ``key_is_there``: the other gateway holds the provider key, so which of its keys to use is for it to read.
    """
    for name, value in headers:
        if is_for_gateway(name) and name not in _CHAIN_ENDS and (name != ALIAS_HEADER or key_is_there):
            yield name, value


def returned_headers(headers: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the response headers a client may see, names in lower case.

    Left out, besides those of one hop, are the ones that a browser would apply to the gateway's own host.
    """
    nominated = connection_options(headers)
    for name, value in headers:
        lower = name.lower()
        if lower in HOP_BY_HOP or lower in nominated:
            continue
        if lower in _OF_THE_PROVIDERS_HOST or lower.startswith(_CORS_PREFIX):
            continue
        yield lower, value


def without_scripts(headers: Sequence[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
    """Return the headers that an answer needs besides, so that no browser runs it as a page; names are lower case."""
    kinds = [value.lower() for name, value in headers if name == b"content-type"]
    # Of several types, in one header or more, browsers take the last.
    is_no_page = len(kinds) == 1 and kinds[0].startswith(_NO_PAGES) and b"," not in kinds[0]
    return () if is_no_page else _OF_NOBODY


def connection_options(headers: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return the header names that ``Connection`` nominates as meant for one hop only."""
    options = [value for name, value in headers if name.lower() == b"connection"]
    if not options:
        return frozenset()
    return frozenset(token.strip().lower() for value in options for token in value.split(b","))
