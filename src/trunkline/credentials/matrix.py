"""The matrix: every way in which documented clients show a credential, and what must come of it.

One table, `PRESENTATIONS`, drives the contract suite, the probe and docs/credentials.md. A row says what sits in which
place; `cases` multiplies the rows by transport, provider, authentication on or off, and stored key yes or no, and
`Case.expected` says by the rule alone, without the code under test, what must happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from trunkline.credentials.placements import PLACEMENTS, Carrier, Placement, Role


class Way(Enum):
    """A transport as a client knows it."""

    HTTP = "HTTP"
    SSE = "SSE"
    UNIVERSAL_HTTP = "universal HTTP"
    UNIVERSAL_WEBSOCKET = "universal WebSocket"
    REALTIME = "realtime WebSocket"
    REALTIME_BROWSER = "realtime WebSocket, browser"
    REALTIME_ROOT = "root /v1/realtime"


class Secret(Enum):
    """What may sit in a place."""

    GATEWAY_KEY = "gateway key"
    PROVIDER_KEY = "provider key"
    OTHER_PROVIDER_KEY = "another provider key"
    REVOKED_KEY = "revoked gateway key"
    WRONG_KEY = "wrong key"
    NOTHING = "no key"


class Outcome(Enum):
    """What becomes of a request: which key the provider sees, or which refusal the caller gets."""

    CALLERS_KEY = "the caller's key"
    STORED_KEY = "the stored key"
    NO_GATEWAY_KEY = "refused by the gateway: 2009"
    NO_PROVIDER_KEY = "refused by the gateway: 2040"
    TWO_KEYS = "refused by the gateway: 2019"
    WRONG_KEY = "refused by the provider"


@dataclass(frozen=True, slots=True)
class Shown:
    """One value in one place. ``form`` is written around it: ``Bearer {}``; without braces it is the whole value."""

    placement: Placement
    form: str
    secret: Secret

    def text(self, value: str) -> str:
        """Return what is sent in the place: for a sub-protocol with its prefix."""
        written = self.form.replace("{}", value)
        return self.placement.name + written if self.placement.carrier is Carrier.SUBPROTOCOL else written


@dataclass(frozen=True, slots=True)
class Presentation:
    """How one client shows what it has. ``client`` names it; ``trap`` says what went wrong there elsewhere."""

    name: str
    shown: tuple[Shown, ...]
    client: str
    trap: str = ""
    providers: tuple[str, ...] = ("openai",)
    ways: tuple[Way, ...] = ()
    subprotocols: tuple[str, ...] = ()  # offered besides, first
    probed: bool = False  # a row of the probe's table

    @property
    def carriers(self) -> frozenset[Carrier]:
        """The parts of a head that this row needs."""
        return frozenset(one.placement.carrier for one in self.shown)

    def holds(self, secret: Secret) -> bool:
        """Whether a secret of that kind is shown anywhere."""
        return any(one.secret is secret for one in self.shown)


@dataclass(frozen=True, slots=True)
class Case:
    """One cell: a row on one transport, before one provider, on one kind of gateway."""

    presentation: Presentation
    way: Way
    provider: str
    authenticated: bool
    stored: bool

    @property
    def id(self) -> str:
        """A name for test reports."""
        way = self.way.name.lower().replace("_", "-")
        gateway = f"{'locked' if self.authenticated else 'open'}{'-stored' if self.stored else ''}"
        return f"{self.presentation.name}/{way}/{self.provider}/{gateway}"

    @property
    def expected(self) -> Outcome:
        """What must happen. Rule by rule, as docs/credentials.md states them."""
        holds = self.presentation.holds
        if holds(Secret.REVOKED_KEY) and not holds(Secret.GATEWAY_KEY):
            return Outcome.NO_GATEWAY_KEY
        if self.authenticated and not holds(Secret.GATEWAY_KEY):
            return Outcome.NO_GATEWAY_KEY
        if holds(Secret.OTHER_PROVIDER_KEY):
            return Outcome.TWO_KEYS
        if holds(Secret.PROVIDER_KEY):
            return Outcome.CALLERS_KEY
        if any(
            one.secret is Secret.WRONG_KEY and one.placement.role is Role.PROVIDER for one in self.presentation.shown
        ):
            return Outcome.WRONG_KEY
        return Outcome.STORED_KEY if self.stored else Outcome.NO_PROVIDER_KEY


def _place(carrier: Carrier, name: str) -> Placement:
    return next(one for one in PLACEMENTS if one.carrier is carrier and one.name == name)


def _header(name: str, form: str, secret: Secret) -> Shown:
    return Shown(_place(Carrier.HEADER, name), form, secret)


def _protocol(name: str, secret: Secret) -> Shown:
    return Shown(_place(Carrier.SUBPROTOCOL, name), "{}", secret)


def _query(name: str, secret: Secret) -> Shown:
    return Shown(_place(Carrier.QUERY, name), "{}", secret)


_G: Final = Secret.GATEWAY_KEY
_P: Final = Secret.PROVIDER_KEY
_NONE: Final = Secret.NOTHING

# A socket opened by a browser carries sub-protocols and a query, and no header of the page's choice.
_SERVER_SIDE: Final = (
    Way.HTTP,
    Way.SSE,
    Way.UNIVERSAL_HTTP,
    Way.UNIVERSAL_WEBSOCKET,
    Way.REALTIME,
    Way.REALTIME_ROOT,
)
_REQUESTS: Final = (Way.HTTP, Way.SSE, Way.UNIVERSAL_HTTP, Way.UNIVERSAL_WEBSOCKET)
_SOCKETS: Final = (Way.REALTIME, Way.REALTIME_BROWSER, Way.REALTIME_ROOT)
_BROWSER: Final = (Way.REALTIME_BROWSER, Way.REALTIME_ROOT)
_EVERY_WAY: Final = tuple(Way)

PRESENTATIONS: Final = (
    Presentation("nothing", (), "a client without a key", ways=_EVERY_WAY, subprotocols=("realtime",), probed=True),
    # A provider key in its provider's own place.
    Presentation(
        "authorization-provider-key",
        (_header("authorization", "Bearer {}", _P),),
        "OpenAI and most SDKs",
        providers=("openai", "grok", "groq"),
        ways=_SERVER_SIDE,
        probed=True,
    ),
    Presentation(
        "authorization-token-provider-key",
        (_header("authorization", "Token {}", _P),),
        "Deepgram's SDK",
        providers=("deepgram",),
        ways=(*_REQUESTS, Way.REALTIME),
    ),
    Presentation(
        "authorization-key-provider-key",
        (_header("authorization", "Key {}", _P),),
        "fal's SDK",
        providers=("fal",),
        ways=(*_REQUESTS, Way.REALTIME),
    ),
    Presentation(
        "x-api-key-provider-key",
        (_header("x-api-key", "{}", _P),),
        "Anthropic SDKs until 2026, Cartesia",
        providers=("anthropic", "cartesia"),
        ways=_REQUESTS,
    ),
    Presentation(
        "anthropic-bearer-provider-key",
        (_header("authorization", "Bearer {}", _P),),
        "Anthropic SDKs since 2026",
        trap="the API key as a bearer token was answered with: x-api-key header is required",
        providers=("anthropic",),
        ways=_REQUESTS,
    ),
    Presentation(
        "api-key-provider-key",
        (_header("api-key", "{}", _P),),
        "Azure's SDKs",
        providers=("azure-openai",),
        ways=_REQUESTS,
    ),
    Presentation(
        "x-goog-api-key-provider-key",
        (_header("x-goog-api-key", "{}", _P),),
        "Google's SDKs",
        providers=("google-ai-studio",),
        ways=(*_REQUESTS, Way.REALTIME),
    ),
    Presentation(
        "xi-api-key-provider-key",
        (_header("xi-api-key", "{}", _P),),
        "ElevenLabs' SDKs",
        providers=("elevenlabs",),
        ways=(*_REQUESTS, Way.REALTIME),
    ),
    Presentation(
        "query-key-provider-key",
        (_query("key", _P),),
        "Google's REST examples",
        providers=("google-ai-studio",),
        ways=(Way.HTTP, Way.SSE, Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    # The gateway's key beside a provider key.
    Presentation(
        "cf-aig-bearer-and-provider-key",
        (_header("cf-aig-authorization", "Bearer {}", _G), _header("authorization", "Bearer {}", _P)),
        "Cloudflare's HTTP samples",
        providers=("openai", "groq", "mistral"),
        ways=_SERVER_SIDE,
        probed=True,
    ),
    Presentation(
        "cf-aig-raw-and-provider-key",
        (_header("cf-aig-authorization", "{}", _G), _header("authorization", "Bearer {}", _P)),
        "Cloudflare's realtime and Azure samples",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "anthropic-token-beside-key",
        (_header("authorization", "Bearer {}", _G), _header("x-api-key", "{}", _P)),
        "the Anthropic SDK with authToken and apiKey",
        providers=("anthropic",),
        ways=_REQUESTS,
    ),
    # The gateway's key alone: the provider key is stored.
    Presentation(
        "cf-aig-bearer",
        (_header("cf-aig-authorization", "Bearer {}", _G),),
        "Cloudflare's samples with a stored key",
        providers=("openai", "anthropic", "google-ai-studio", "elevenlabs"),
        ways=_SERVER_SIDE,
        probed=True,
    ),
    Presentation(
        "cf-aig-raw",
        (_header("cf-aig-authorization", "{}", _G),),
        "Cloudflare's samples with a stored key, without Bearer",
        providers=("openai", "deepgram"),
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "authorization-gateway-key",
        (_header("authorization", "Bearer {}", _G),),
        "any SDK whose apiKey is the gateway's key",
        providers=("openai", "anthropic", "grok"),
        ways=_SERVER_SIDE,
        probed=True,
    ),
    Presentation(
        "authorization-raw-gateway-key",
        (_header("authorization", "{}", _G),),
        "clients that send no scheme",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "authorization-key-gateway-key",
        (_header("authorization", "Key {}", _G),),
        "fal's SDK whose key is the gateway's",
        providers=("fal",),
        ways=(*_REQUESTS, Way.REALTIME),
    ),
    Presentation(
        "authorization-token-gateway-key",
        (_header("authorization", "Token {}", _G),),
        "Deepgram's SDK whose key is the gateway's",
        providers=("deepgram",),
        ways=(*_REQUESTS, Way.REALTIME),
    ),
    Presentation(
        "x-api-key-gateway-key",
        (_header("x-api-key", "{}", _G),),
        "Claude Code",
        trap="elsewhere the gateway's key in x-api-key is ignored",
        providers=("anthropic", "openai"),
        ways=_REQUESTS,
    ),
    Presentation(
        "api-key-gateway-key",
        (_header("api-key", "{}", _G),),
        "Azure's SDKs whose key is the gateway's",
        providers=("azure-openai",),
        ways=_REQUESTS,
    ),
    Presentation(
        "x-goog-api-key-gateway-key",
        (_header("x-goog-api-key", "{}", _G),),
        "Google's SDKs whose key is the gateway's",
        providers=("google-ai-studio",),
        ways=(*_REQUESTS, Way.REALTIME),
    ),
    Presentation(
        "xi-api-key-gateway-key",
        (_header("xi-api-key", "{}", _G),),
        "ElevenLabs' SDKs whose key is the gateway's",
        providers=("elevenlabs",),
        ways=(*_REQUESTS, Way.REALTIME),
    ),
    # Sub-protocols: all that a browser has.
    Presentation(
        "protocol-provider-key",
        (_protocol("openai-insecure-api-key.", _P),),
        "OpenAI's SDKs in a browser",
        ways=_BROWSER,
        subprotocols=("realtime",),
        probed=True,
    ),
    Presentation(
        "protocol-gateway-key",
        (_protocol("openai-insecure-api-key.", _G),),
        "OpenAI's SDKs in a browser whose key is the gateway's",
        ways=_BROWSER,
        subprotocols=("realtime",),
        probed=True,
    ),
    Presentation(
        "protocol-cf-aig",
        (_protocol("cf-aig-authorization.", _G),),
        "the proof of concept with a stored key",
        trap="the stored key is not used on a WebSocket",
        providers=("openai", "grok"),
        ways=(*_BROWSER, Way.UNIVERSAL_WEBSOCKET),
        subprotocols=("realtime",),
        probed=True,
    ),
    Presentation(
        "protocol-cf-aig-alone",
        (_protocol("cf-aig-authorization.", _G),),
        "Cloudflare's sample that offers nothing else",
        trap="without another name to select, the secret itself must be echoed or the browser drops the socket",
        providers=("openai", "google-ai-studio", "cartesia"),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-cf-aig-and-provider-key",
        (_protocol("cf-aig-authorization.", _G), _protocol("openai-insecure-api-key.", _P)),
        "the proof of concept",
        ways=_BROWSER,
        subprotocols=("realtime", "openai-organization.org-1", "openai-project.proj_1"),
        probed=True,
    ),
    Presentation(
        "protocol-xi-api-key",
        (_protocol("xi-api-key.", _P), _protocol("cf-aig-authorization.", _G)),
        "Cloudflare's ElevenLabs sample",
        providers=("elevenlabs",),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-fal-api-key",
        (_protocol("fal-api-key.", _P), _protocol("cf-aig-authorization.", _G)),
        "Cloudflare's fal sample",
        providers=("fal",),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-xai-client-secret",
        (_protocol("xai-client-secret.", _P),),
        "xAI in a browser",
        providers=("grok",),
        ways=(Way.REALTIME_BROWSER,),
        subprotocols=("realtime",),
    ),
    Presentation(
        "query-api-key-and-protocol",
        (_protocol("cf-aig-authorization.", _G), _query("api_key", _P)),
        "Cloudflare's Google and Cartesia samples",
        providers=("google-ai-studio", "cartesia"),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "authorization-gateway-key-and-protocol-provider-key",
        (_header("authorization", "Bearer {}", _G), _protocol("openai-insecure-api-key.", _P)),
        "a server that keeps a browser's sub-protocols",
        ways=(Way.REALTIME, Way.REALTIME_ROOT),
        subprotocols=("realtime",),
    ),
    # Traps: each was somebody's bug report.
    Presentation(
        "trap-placeholder",
        (_header("cf-aig-authorization", "Bearer {}", _G), _header("authorization", "Bearer unused", Secret.WRONG_KEY)),
        "SDKs that demand some key",
        trap="a placeholder counts as a key; the switch 'stored key wins' is the remedy",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-bearer-undefined",
        (_header("cf-aig-authorization", "Bearer {}", _G), _header("authorization", "Bearer undefined", _NONE)),
        "ai-gateway-provider without a key",
        trap="the word undefined was forwarded as a key",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-bearer-null",
        (_header("cf-aig-authorization", "Bearer {}", _G), _header("authorization", "Bearer null", _NONE)),
        "JavaScript clients without a key",
        trap="the word null was forwarded as a key",
        ways=(Way.HTTP, Way.REALTIME),
    ),
    Presentation(
        "trap-blank",
        (_header("cf-aig-authorization", "Bearer {}", _G), _header("authorization", "Bearer ", _NONE)),
        'OpenCode, whose page says apiKey: ""',
        trap="a blank key was forwarded, and hid the stored one",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-temporary-token",
        (_header("cf-aig-authorization", "Bearer {}", _G), _header("authorization", "Bearer CF_TEMP_TOKEN", _NONE)),
        "ai-gateway-provider's own dummy",
        trap="the dummy was forwarded as a key",
        ways=(Way.HTTP, Way.UNIVERSAL_HTTP),
    ),
    Presentation(
        "trap-bearer-colon",
        (_header("authorization", "Bearer: {}", _P),),
        "configuration written by hand",
        trap="a colon after Bearer was answered with 2009",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-bearer-colon-gateway-key",
        (_header("cf-aig-authorization", "Bearer: {}", _G),),
        "configuration written by hand",
        trap="a colon after Bearer was answered with 2009",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-lower-case-bearer",
        (_header("authorization", "bearer {}", _P),),
        "clients that write the scheme in small letters",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-gateway-key-in-both-slots",
        (_header("cf-aig-authorization", "Bearer {}", _G), _header("authorization", "Bearer {}", _G)),
        "clients that copy the gateway's key into every step",
        trap="the gateway's key was forwarded to the provider",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-gateway-key-in-every-slot",
        (
            _header("cf-aig-authorization", "Bearer {}", _G),
            _header("authorization", "Bearer {}", _G),
            _header("x-api-key", "{}", _G),
            _header("api-key", "{}", _G),
        ),
        "clients that try everything",
        trap="the gateway's key was forwarded to the provider",
        providers=("openai", "anthropic"),
        ways=_REQUESTS,
    ),
    Presentation(
        "trap-same-key-twice",
        (_header("authorization", "Bearer {}", _P), _header("api-key", "{}", _P)),
        "openai-realtime-api on a server",
        trap="OpenAI refuses a handshake that shows a key twice",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-header-and-protocol",
        (_header("authorization", "Bearer {}", _P), _protocol("openai-insecure-api-key.", _P)),
        "the AI SDK on a server",
        trap="OpenAI refuses a handshake that shows a key twice",
        ways=(Way.REALTIME, Way.REALTIME_ROOT),
        subprotocols=("realtime",),
    ),
    Presentation(
        "trap-two-keys",
        (
            _header("x-api-key", "{}", _P),
            _header("authorization", "Bearer {}", Secret.OTHER_PROVIDER_KEY),
            _header("cf-aig-authorization", "Bearer {}", _G),
        ),
        "an old key left in the environment",
        trap="one of two keys was taken silently",
        providers=("anthropic",),
        ways=_REQUESTS,
    ),
    Presentation(
        "trap-two-keys-on-a-socket",
        (
            _header("cf-aig-authorization", "Bearer {}", _G),
            _header("authorization", "Bearer {}", _P),
            _protocol("openai-insecure-api-key.", Secret.OTHER_PROVIDER_KEY),
        ),
        "an old key left in the environment",
        trap="one of two keys was taken silently",
        ways=(Way.REALTIME, Way.REALTIME_ROOT),
        subprotocols=("realtime",),
    ),
    Presentation(
        "trap-revoked-key",
        (_header("authorization", "Bearer {}", Secret.REVOKED_KEY),),
        "an app that was not told",
        trap="a key no longer known to the gateway was taken for a provider key and sent on",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "trap-revoked-key-in-protocol",
        (_protocol("openai-insecure-api-key.", Secret.REVOKED_KEY),),
        "a page that was left open",
        trap="a key no longer known to the gateway was taken for a provider key and sent on",
        ways=_BROWSER,
        subprotocols=("realtime",),
    ),
    # Controls: these must fail where a key is needed, or a success elsewhere means nothing.
    Presentation(
        "control-wrong-gateway-key",
        (_header("cf-aig-authorization", "Bearer {}", Secret.WRONG_KEY),),
        "a wrong gateway key",
        ways=_SERVER_SIDE,
    ),
    Presentation(
        "control-wrong-provider-key",
        (_header("authorization", "Bearer {}", Secret.WRONG_KEY),),
        "a wrong provider key",
        ways=_SERVER_SIDE,
        probed=True,
    ),
    Presentation(
        "control-wrong-protocol-key",
        (_protocol("openai-insecure-api-key.", Secret.WRONG_KEY),),
        "a wrong provider key",
        ways=_BROWSER,
        subprotocols=("realtime",),
        probed=True,
    ),
)


def cases() -> Iterator[Case]:
    """Yield every cell of the matrix."""
    for presentation in PRESENTATIONS:
        for provider in presentation.providers:
            for way in presentation.ways:
                if way is Way.REALTIME_ROOT and provider != "openai":
                    continue  # the root form names no provider
                if way in _SOCKETS and provider not in REALTIME_PROVIDERS:
                    continue
                for authenticated in (False, True):
                    for stored in (False, True):
                        yield Case(presentation, way, provider, authenticated, stored)


# Providers of the rows above that have a WebSocket of their own.
REALTIME_PROVIDERS: Final = frozenset(
    {"openai", "grok", "google-ai-studio", "elevenlabs", "fal", "deepgram", "cartesia"}
)
