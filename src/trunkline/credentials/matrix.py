"""The matrix: every way in which documented clients show a credential, and what must come of it.

One table, `PRESENTATIONS`, drives the contract suite, the probe and docs/credentials.md. A row says what sits in which
place; `cases` multiplies the rows by transport, provider, authentication on or off, and stored key yes or no, and
`Case.expected` says by the rule alone, without the code under test, what must happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

import msgspec

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

    @property
    def is_realtime(self) -> bool:
        """Whether the provider is spoken to over a WebSocket too."""
        return self in (Way.REALTIME, Way.REALTIME_BROWSER, Way.REALTIME_ROOT)

    @property
    def is_universal(self) -> bool:
        """Whether a request holds steps, which have headers of their own."""
        return self in (Way.UNIVERSAL_HTTP, Way.UNIVERSAL_WEBSOCKET)


class Secret(Enum):
    """What may sit in a place."""

    GATEWAY_KEY = "gateway key"
    PROVIDER_KEY = "provider key"
    ACCESS_TOKEN = "access token of the provider"  # noqa: S105
    CLIENT_SECRET = "client secret"  # noqa: S105 - of the gateway, made with the provider key
    OTHER_PROVIDER_KEY = "another provider key"
    FOREIGN_KEY = "key of another provider"
    OTHER_GATEWAYS_KEY = "key of another gateway"
    REVOKED_KEY = "revoked gateway key"
    EXPIRED_KEY = "expired gateway key"
    WRONG_KEY = "wrong key"
    NOTHING = "no key"


_ALIVE: Final = (Secret.GATEWAY_KEY, Secret.CLIENT_SECRET, Secret.OTHER_GATEWAYS_KEY)
_DEAD: Final = frozenset({Secret.REVOKED_KEY, Secret.EXPIRED_KEY})


class Outcome(Enum):
    """What becomes of a request: which key the provider sees, or who refuses it."""

    CALLERS_KEY = "the caller's key"
    STORED_KEY = "the stored key"
    WRONG_KEY = "refused by the provider"
    NO_GATEWAY_KEY = "refused by the gateway: 2009"
    NOT_PERMITTED = "refused by the gateway: 2009, not permitted"
    NO_PROVIDER_KEY = "refused by the gateway: 2040"
    TWO_KEYS = "refused by the gateway: 2019"


class Seat(Enum):
    """Which part of a universal request shows something. Every other request has one part only."""

    REQUEST = "the request's own head"
    STEP = "the step's headers, or its endpoint's query"
    STEP_FIELD = "a field of the step, as old samples have it"


class Shown(msgspec.Struct, frozen=True):
    """One value in one place. ``form`` is written around it: ``Bearer {}``; without braces it is the whole value.

    ``spelt`` is the place's name as this client writes it, where that is not the usual spelling.
    """

    placement: Placement
    form: str
    secret: Secret
    seat: Seat
    spelt: str = ""

    @property
    def name(self) -> str:
        """The name of the place as it is sent."""
        return self.spelt or self.placement.name

    def text(self, value: str) -> str:
        """Return what is sent in the place: for a sub-protocol with its prefix."""
        written = self.form.replace("{}", value)
        return self.name + written if self.placement.carrier is Carrier.SUBPROTOCOL else written

    def subprotocols(self, value: str) -> list[str]:
        """Return the sub-protocols that are offered for it: none where it is shown elsewhere."""
        match self.placement.carrier:
            case Carrier.SUBPROTOCOL:
                return [self.text(value)]
            case Carrier.NEXT_SUBPROTOCOL:
                return [self.name, self.text(value)]
            case _:
                return []


# A socket opened by a browser carries sub-protocols and a query, and no header of the page's choice.
_SERVER_SIDE: Final = (
    Way.HTTP,
    Way.SSE,
    Way.UNIVERSAL_HTTP,
    Way.UNIVERSAL_WEBSOCKET,
    Way.REALTIME,
    Way.REALTIME_ROOT,
)
_ONE_HEAD: Final = (Way.HTTP, Way.SSE, Way.REALTIME, Way.REALTIME_ROOT)
_UNIVERSAL: Final = (Way.UNIVERSAL_HTTP, Way.UNIVERSAL_WEBSOCKET)
_HANDSHAKE: Final = (Way.REALTIME, Way.REALTIME_ROOT)
_BROWSER: Final = (Way.REALTIME_BROWSER, Way.REALTIME_ROOT)
_QUERY: Final = (Way.HTTP, Way.SSE, *_UNIVERSAL, Way.REALTIME, Way.REALTIME_BROWSER)


class Presentation(msgspec.Struct, frozen=True):
    """How one client shows what it has. ``client`` names it.

    ``trap`` says what went wrong there elsewhere, ``here`` what happens instead, or what rule the row is about.
    ``ways`` are the transports on which the client exists; `cases` leaves out those that a provider does not have.
    """

    name: str
    shown: tuple[Shown, ...]
    client: str
    trap: str = ""
    here: str = ""
    providers: tuple[str, ...] = ("openai",)
    ways: tuple[Way, ...] = _SERVER_SIDE
    subprotocols: tuple[str, ...] = ()  # offered besides, first
    probed: bool = False  # a row of the probe's table

    @property
    def carriers(self) -> frozenset[Carrier]:
        """The parts of a head that this row needs."""
        return frozenset(one.placement.carrier for one in self.shown)

    @property
    def in_table_order(self) -> list[Shown]:
        """What is shown, in the order in which the places are looked at."""
        return sorted(self.shown, key=lambda one: PLACEMENTS.index(one.placement))

    def holds(self, secret: Secret) -> bool:
        """Whether a secret of that kind is shown anywhere."""
        return any(one.secret is secret for one in self.shown)


class Case(msgspec.Struct, frozen=True):
    """One cell: a row on one transport, before one provider, on one kind of gateway."""

    presentation: Presentation
    way: Way
    provider: str
    authenticated: bool
    stored: bool

    @property
    def gateway(self) -> str:
        """The kind of gateway, as a name: ``open``, ``locked-stored``."""
        return f"{'locked' if self.authenticated else 'open'}{'-stored' if self.stored else ''}"

    @property
    def id(self) -> str:
        """A name for test reports."""
        way = self.way.name.lower().replace("_", "-")
        return f"{self.presentation.name}/{way}/{self.provider}/{self.gateway}"

    @property
    def expected(self) -> Outcome:
        """What must happen. Rule by rule, as docs/credentials.md states them."""
        ordered = self.presentation.in_table_order
        everywhere = [one.secret for one in ordered]
        caller = next((secret for secret in everywhere if secret in _ALIVE), None)
        if caller is None and (self.authenticated or not _DEAD.isdisjoint(everywhere)):
            return Outcome.NO_GATEWAY_KEY
        if caller is Secret.OTHER_GATEWAYS_KEY:
            return Outcome.NOT_PERMITTED
        if caller is Secret.CLIENT_SECRET:
            return Outcome.CALLERS_KEY
        shown = {one.secret for one in ordered if one.placement.role is Role.PROVIDER}
        if Secret.OTHER_PROVIDER_KEY in shown:
            return Outcome.TWO_KEYS
        if not shown.isdisjoint({Secret.PROVIDER_KEY, Secret.ACCESS_TOKEN}):
            return Outcome.CALLERS_KEY
        if Secret.WRONG_KEY in shown:
            return Outcome.WRONG_KEY
        return Outcome.STORED_KEY if self.stored else Outcome.NO_PROVIDER_KEY


def _place(carrier: Carrier, name: str) -> Placement:
    return next(one for one in PLACEMENTS if one.carrier is carrier and one.name == name)


def _header(name: str, form: str, secret: Secret, seat: Seat | None = None) -> Shown:
    """Show something in a header. On the universal endpoint a provider's key is the step's, the gateway's is not."""
    place = _place(Carrier.HEADER, name.lower())
    usual = Seat.REQUEST if place.role is Role.GATEWAY else Seat.STEP
    return Shown(place, form, secret, seat or usual, "" if name == place.name else name)


def _protocol(name: str, secret: Secret, form: str = "{}") -> Shown:
    place = _place(Carrier.SUBPROTOCOL, name.lower())
    return Shown(place, form, secret, Seat.REQUEST, "" if name == place.name else name)


def _behind(scheme: str, secret: Secret) -> Shown:
    """Show something as the sub-protocol after one that names its scheme."""
    return Shown(_place(Carrier.NEXT_SUBPROTOCOL, scheme), "{}", secret, Seat.REQUEST)


def _query(name: str, secret: Secret, form: str = "{}") -> Shown:
    return Shown(_place(Carrier.QUERY, name), form, secret, Seat.STEP)


_G: Final = Secret.GATEWAY_KEY
_P: Final = Secret.PROVIDER_KEY
_NONE: Final = Secret.NOTHING

_TOKEN: Final = _header("cf-aig-authorization", "Bearer {}", _G)
_SIGNED: Final = (
    "AWS4-HMAC-SHA256 Credential={}/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0f"
)

# A provider that settings add: it takes a key wherever its client puts one.
CUSTOM_PROVIDER: Final = "custom-mine"
# Providers of the rows below that have a WebSocket of their own.
REALTIME_PROVIDERS: Final = frozenset(
    {
        "openai",
        "azure-openai",
        "grok",
        "google-ai-studio",
        "elevenlabs",
        "fal",
        "deepgram",
        "cartesia",
        "workers-ai",
    }
)
# Providers whose documentation asks for ``Authorization: Bearer``.
_BEARER: Final = (
    "openai",
    "grok",
    "groq",
    "mistral",
    "deepseek",
    "cerebras",
    "openrouter",
    "perplexity-ai",
    "fireworks",
    "huggingface",
    "replicate",
    "baseten",
    "workers-ai",
    "google-vertex-ai",
    "aws-bedrock",
    CUSTOM_PROVIDER,
)
_EVERY_PROVIDER: Final = (
    *_BEARER,
    "anthropic",
    "azure-openai",
    "google-ai-studio",
    "cohere",
    "deepgram",
    "cartesia",
    "elevenlabs",
    "fal",
    "ideogram",
    "parallel",
)

# What happens in more than one row.
_PLACEHOLDER: Final = (
    "It counts here too: some word is always somebody's key. Switch on 'stored key wins' for that gateway, or put the"
    " gateway's key there."
)
_BOTH_NAMED: Final = "Which of two keys in its own places is meant is not guessed: the refusal names the places."
_DEAD_REFUSES: Final = "It refuses the request, also where no key is demanded, and goes nowhere."

PRESENTATIONS: Final = (
    Presentation(
        "nothing",
        (),
        "a client without a key",
        providers=("openai", "anthropic", "google-ai-studio", "deepgram"),
        ways=tuple(Way),
        subprotocols=("realtime",),
        probed=True,
    ),
    # A provider key in its provider's own place.
    Presentation(
        "authorization-provider-key",
        (_header("authorization", "Bearer {}", _P),),
        "OpenAI and most SDKs",
        providers=(*_BEARER, "cohere", "deepgram", "cartesia", "google-ai-studio"),
        probed=True,
    ),
    Presentation(
        "authorization-raw-provider-key",
        (_header("authorization", "{}", _P),),
        "clients that send no scheme",
        providers=("openai", "deepgram"),
    ),
    Presentation(
        "authorization-lower-case-provider-key",
        (_header("authorization", "bearer {}", _P),),
        "clients that write the scheme in small letters",
    ),
    Presentation(
        "authorization-token-provider-key",
        (_header("authorization", "Token {}", _P),),
        "the SDKs of Deepgram, Cohere and Replicate",
        providers=("deepgram", "cohere", "replicate"),
    ),
    Presentation(
        "authorization-key-provider-key",
        (_header("authorization", "Key {}", _P),),
        "fal's SDK",
        providers=("fal",),
    ),
    Presentation(
        "authorization-api-key-provider-key",
        (_header("authorization", "Api-Key {}", _P),),
        "Baseten's own examples",
        providers=("baseten",),
    ),
    Presentation(
        "authorization-signature",
        (_header("authorization", _SIGNED, _P),),
        "AWS SDKs, which sign what they send",
        providers=("aws-bedrock",),
    ),
    Presentation(
        "authorization-access-token",
        (_header("authorization", "Bearer {}", Secret.ACCESS_TOKEN),),
        "logins with Anthropic, Entra ID or Google Cloud",
        providers=("anthropic", "azure-openai", "google-vertex-ai"),
    ),
    Presentation(
        "x-api-key-provider-key",
        (_header("x-api-key", "{}", _P),),
        "Anthropic SDKs until 2026, Cartesia, Parallel",
        providers=("anthropic", "cartesia", "parallel", CUSTOM_PROVIDER),
    ),
    Presentation(
        "anthropic-bearer-provider-key",
        (_header("authorization", "Bearer {}", _P),),
        "Anthropic SDKs since 2026",
        trap="an API key sent as a bearer token was answered with: x-api-key header is required",
        here="The key is moved to x-api-key. A login's access token stays where it is: Anthropic takes it only there.",
        providers=("anthropic",),
    ),
    Presentation(
        "azure-bearer-provider-key",
        (_header("authorization", "Bearer {}", _P),),
        "OpenAI's SDKs pointed at an Azure deployment",
        trap="Azure takes a bearer token for a login and refuses an API key there",
        here="The key is moved to api-key. A login's access token stays where it is.",
        providers=("azure-openai",),
    ),
    Presentation(
        "api-key-provider-key",
        (_header("api-key", "{}", _P),),
        "Azure's SDKs, OpenAI's with AzureOpenAI, Ideogram",
        providers=("azure-openai", "ideogram", CUSTOM_PROVIDER),
    ),
    Presentation(
        "x-goog-api-key-provider-key",
        (_header("x-goog-api-key", "{}", _P),),
        "Google's SDKs",
        providers=("google-ai-studio",),
    ),
    Presentation(
        "xi-api-key-provider-key",
        (_header("xi-api-key", "{}", _P),),
        "ElevenLabs' SDKs",
        providers=("elevenlabs",),
    ),
    Presentation(
        "query-key-provider-key",
        (_query("key", _P),),
        "Google's REST examples",
        providers=("google-ai-studio",),
        ways=_QUERY,
    ),
    Presentation(
        "query-api-key-provider-key",
        (_query("api_key", _P),),
        "Cartesia's browser examples, Google in a browser",
        providers=("google-ai-studio", "cartesia"),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    Presentation(
        "authorization-ephemeral-token",
        (_header("authorization", "Token {}", Secret.ACCESS_TOKEN),),
        "Google's SDK for Python with an ephemeral token",
        providers=("google-ai-studio",),
        ways=(Way.REALTIME,),
    ),
    Presentation(
        "query-ephemeral-token",
        (_query("access_token", Secret.ACCESS_TOKEN),),
        "Google's SDK for JavaScript with an ephemeral token",
        providers=("google-ai-studio",),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    Presentation(
        "trap-ephemeral-token-as-key",
        (_header("x-goog-api-key", "{}", Secret.ACCESS_TOKEN),),
        "an ephemeral token put where the API key was",
        trap="Google takes an ephemeral token for a wrong API key there",
        here="It is moved to Authorization: Token, which takes one.",
        providers=("google-ai-studio",),
        ways=(Way.REALTIME,),
    ),
    Presentation(
        "query-access-token",
        (_query("access_token", _P),),
        "Cartesia in a browser, whose server made it a token; a login with Google",
        providers=("cartesia", "google-ai-studio"),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    Presentation(
        "query-conversation-signature",
        (_query("conversation_signature", _P),),
        "signed URLs of ElevenLabs' agents",
        providers=("elevenlabs",),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    Presentation(
        "query-single-use-token",
        (_query("single_use_token", _P),),
        "ElevenLabs' text to speech in a browser",
        providers=("elevenlabs",),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    Presentation(
        "query-token",
        (_query("token", _P),),
        "ElevenLabs' speech to text in a browser",
        providers=("elevenlabs",),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    Presentation(
        "query-fal-jwt-token",
        (_query("fal_jwt_token", _P),),
        "fal's SDK with a realtime app",
        providers=("fal",),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    # The gateway's key beside a provider key.
    Presentation(
        "cf-aig-bearer-and-provider-key",
        (_TOKEN, _header("authorization", "Bearer {}", _P)),
        "Cloudflare's HTTP samples",
        providers=("openai", "groq", "mistral", "grok", "workers-ai", CUSTOM_PROVIDER),
        probed=True,
    ),
    Presentation(
        "cf-aig-raw-and-provider-key",
        (_header("cf-aig-authorization", "{}", _G), _header("authorization", "Bearer {}", _P)),
        "Cloudflare's realtime sample",
    ),
    Presentation(
        "cf-aig-bearer-and-token",
        (_TOKEN, _header("authorization", "Token {}", _P)),
        "the SDKs of Deepgram and Cohere with one more header",
        providers=("deepgram", "cohere"),
    ),
    Presentation(
        "cf-aig-bearer-and-key",
        (_TOKEN, _header("authorization", "Key {}", _P)),
        "fal's SDK with one more header",
        providers=("fal",),
    ),
    Presentation(
        "cf-aig-bearer-and-signature",
        (_TOKEN, _header("authorization", _SIGNED, _P)),
        "AWS SDKs with one more header",
        providers=("aws-bedrock",),
    ),
    Presentation(
        "cf-aig-bearer-and-access-token",
        (_TOKEN, _header("authorization", "Bearer {}", Secret.ACCESS_TOKEN)),
        "Cloudflare's Vertex AI sample, and other logins",
        providers=("google-vertex-ai", "anthropic", "azure-openai"),
    ),
    Presentation(
        "cf-aig-bearer-and-x-api-key",
        (_TOKEN, _header("x-api-key", "{}", _P)),
        "Cloudflare's Anthropic and Cartesia samples",
        providers=("anthropic", "cartesia", "parallel"),
    ),
    Presentation(
        "cf-aig-raw-and-api-key",
        (_header("cf-aig-authorization", "{}", _G), _header("api-key", "{}", _P)),
        "Cloudflare's Azure sample",
        providers=("azure-openai", "ideogram"),
    ),
    Presentation(
        "cf-aig-bearer-and-x-goog-api-key",
        (_TOKEN, _header("x-goog-api-key", "{}", _P)),
        "Google's SDKs with one more header",
        providers=("google-ai-studio",),
    ),
    Presentation(
        "cf-aig-bearer-and-xi-api-key",
        (_TOKEN, _header("xi-api-key", "{}", _P)),
        "ElevenLabs' SDKs with one more header",
        providers=("elevenlabs",),
    ),
    Presentation(
        "anthropic-token-beside-key",
        (_header("authorization", "Bearer {}", _G), _header("x-api-key", "{}", _P)),
        "the Anthropic SDK with authToken and apiKey",
        providers=("anthropic",),
    ),
    # The gateway's key alone: the provider key is stored.
    Presentation(
        "cf-aig-bearer",
        (_TOKEN,),
        "Cloudflare's samples with a stored key",
        providers=_EVERY_PROVIDER,
        probed=True,
    ),
    Presentation(
        "cf-aig-raw",
        (_header("cf-aig-authorization", "{}", _G),),
        "Cloudflare's samples with a stored key, without Bearer",
        providers=("openai", "deepgram", "azure-openai"),
    ),
    Presentation(
        "authorization-gateway-key",
        (_header("authorization", "Bearer {}", _G),),
        "Codex, LiveKit, pipecat, mastra and every SDK whose API key is the gateway's",
        providers=(
            "openai",
            "anthropic",
            "grok",
            "workers-ai",
            "azure-openai",
            "aws-bedrock",
            "google-ai-studio",
            "cartesia",
        ),
        probed=True,
    ),
    Presentation(
        "authorization-raw-gateway-key",
        (_header("authorization", "{}", _G),),
        "clients that send no scheme",
    ),
    Presentation(
        "authorization-key-gateway-key",
        (_header("authorization", "Key {}", _G),),
        "fal's SDK whose key is the gateway's",
        providers=("fal",),
    ),
    Presentation(
        "authorization-token-gateway-key",
        (_header("authorization", "Token {}", _G),),
        "the SDKs of Deepgram and Cohere whose key is the gateway's",
        providers=("deepgram", "cohere"),
    ),
    Presentation(
        "x-api-key-gateway-key",
        (_header("x-api-key", "{}", _G),),
        "Claude Code",
        trap="the gateway's key in x-api-key was ignored",
        here="It opens the gateway, as it does in every place.",
        providers=("anthropic", "openai", "cartesia"),
    ),
    Presentation(
        "api-key-gateway-key",
        (_header("api-key", "{}", _G),),
        "Azure's SDKs whose key is the gateway's",
        providers=("azure-openai", "ideogram"),
    ),
    Presentation(
        "x-goog-api-key-gateway-key",
        (_header("x-goog-api-key", "{}", _G),),
        "Google's SDKs whose key is the gateway's",
        providers=("google-ai-studio",),
    ),
    Presentation(
        "xi-api-key-gateway-key",
        (_header("xi-api-key", "{}", _G),),
        "ElevenLabs' SDKs whose key is the gateway's",
        providers=("elevenlabs",),
    ),
    Presentation(
        "query-key-gateway-key",
        (_query("key", _G),),
        "Google's REST examples whose key is the gateway's",
        providers=("google-ai-studio",),
        ways=_QUERY,
    ),
    Presentation(
        "query-api-key-gateway-key",
        (_query("api_key", _G),),
        "pages for Cartesia or Google whose key is the gateway's",
        providers=("google-ai-studio", "cartesia"),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    Presentation(
        "query-access-token-gateway-key",
        (_query("access_token", _G),),
        "pages for Cartesia or Google whose token is the gateway's key",
        providers=("cartesia", "google-ai-studio"),
        ways=(Way.REALTIME, Way.REALTIME_BROWSER),
    ),
    *(
        Presentation(
            f"query-{name.replace('_', '-')}-gateway-key",
            (_query(name, _G),),
            client,
            providers=(provider,),
            ways=(Way.REALTIME, Way.REALTIME_BROWSER),
        )
        for name, client, provider in (
            ("conversation_signature", "a signed URL whose signature was replaced by the gateway's key", "elevenlabs"),
            ("single_use_token", "ElevenLabs' text to speech in a browser, with the gateway's key", "elevenlabs"),
            ("token", "ElevenLabs' speech to text in a browser, with the gateway's key", "elevenlabs"),
            ("fal_jwt_token", "fal's SDK with a realtime app, whose token is the gateway's key", "fal"),
        )
    ),
    Presentation(
        "authorization-client-secret",
        (_header("authorization", "Bearer {}", Secret.CLIENT_SECRET),),
        "apps that were given a client secret by their own server",
    ),
    # The universal endpoint, whose steps have headers of their own.
    Presentation(
        "step-cf-aig-repeated",
        (
            _TOKEN,
            _header("cf-aig-authorization", "Bearer {}", _G, Seat.STEP),
            _header("authorization", "Bearer {}", _P),
        ),
        "ai-gateway-provider, which copies the gateway's header into each step",
        trap="the gateway's key was forwarded to the provider",
        here="It is taken out of the step too.",
        ways=_UNIVERSAL,
    ),
    Presentation(
        "step-cf-aig-alone",
        (_header("cf-aig-authorization", "Bearer {}", _G, Seat.STEP),),
        "clients whose socket cannot have headers",
        providers=("openai", "workers-ai"),
        ways=_UNIVERSAL,
    ),
    Presentation(
        "step-field-provider-key",
        (_TOKEN, _header("authorization", "Bearer {}", _P, Seat.STEP_FIELD)),
        "Cloudflare's old universal samples",
        ways=_UNIVERSAL,
    ),
    Presentation(
        "step-field-gateway-key",
        (_header("authorization", "Bearer {}", _G, Seat.STEP_FIELD),),
        "Cloudflare's old universal samples whose key is the gateway's",
        ways=_UNIVERSAL,
    ),
    Presentation(
        "request-authorization-gateway-key",
        (_header("authorization", "Bearer {}", _G, Seat.REQUEST),),
        "SDKs whose API key is the gateway's, in front of steps without a key",
        providers=("openai", "anthropic"),
        ways=_UNIVERSAL,
    ),
    Presentation(
        "request-authorization-gateway-key-and-provider-key",
        (_header("authorization", "Bearer {}", _G, Seat.REQUEST), _header("authorization", "Bearer {}", _P)),
        "SDKs whose API key is the gateway's, in front of steps with a key",
        ways=_UNIVERSAL,
    ),
    Presentation(
        "request-authorization-provider-key",
        (_TOKEN, _header("authorization", "Bearer {}", _P, Seat.REQUEST)),
        "SDKs that know of no headers in a step",
        ways=(Way.UNIVERSAL_HTTP,),
    ),
    # Sub-protocols: all that a browser has.
    Presentation(
        "protocol-provider-key",
        (_protocol("openai-insecure-api-key.", _P),),
        "OpenAI's SDKs in a browser",
        providers=("openai", "grok", "azure-openai"),
        ways=_BROWSER,
        subprotocols=("realtime",),
        probed=True,
    ),
    Presentation(
        "protocol-gateway-key",
        (_protocol("openai-insecure-api-key.", _G),),
        "OpenAI's SDKs in a browser whose key is the gateway's",
        providers=("openai", "grok", "azure-openai"),
        ways=(*_BROWSER, Way.UNIVERSAL_WEBSOCKET),
        subprotocols=("realtime",),
        probed=True,
    ),
    Presentation(
        "protocol-client-secret",
        (_protocol("openai-insecure-api-key.", Secret.CLIENT_SECRET),),
        "OpenAI's Agents SDK and the AI SDK in a browser",
        ways=_BROWSER,
        subprotocols=("realtime", "openai-agents-sdk.0.20.0"),
    ),
    Presentation(
        "protocol-cf-aig",
        (_protocol("cf-aig-authorization.", _G),),
        "the proof of concept with a stored key",
        trap="the stored key was not used on a WebSocket",
        here="The stored key is used on every transport.",
        providers=("openai", "grok"),
        ways=(*_BROWSER, Way.UNIVERSAL_WEBSOCKET),
        subprotocols=("realtime",),
        probed=True,
    ),
    Presentation(
        "protocol-cf-aig-alone",
        (_protocol("cf-aig-authorization.", _G),),
        "Cloudflare's samples that offer nothing else",
        trap="no sub-protocol was selected, and the browser dropped the socket",
        here="One is always selected. A secret is echoed only when nothing else was offered, to whoever sent it.",
        providers=("openai", "google-ai-studio", "cartesia"),
        ways=(Way.REALTIME_BROWSER, Way.UNIVERSAL_WEBSOCKET),
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
        "protocol-in-capitals",
        (_protocol("CF-AIG-Authorization.", _G), _protocol("OpenAI-Insecure-API-Key.", _P)),
        "pages that write sub-protocols as header names are written",
        ways=_BROWSER,
        subprotocols=("realtime",),
    ),
    Presentation(
        "protocol-cf-aig-and-step-provider-key",
        (_protocol("cf-aig-authorization.", _G), _header("authorization", "Bearer {}", _P)),
        "a page with a universal WebSocket",
        providers=("openai", "workers-ai"),
        ways=(Way.UNIVERSAL_WEBSOCKET,),
    ),
    Presentation(
        "protocol-xi-api-key",
        (_protocol("xi-api-key.", _P), _protocol("cf-aig-authorization.", _G)),
        "Cloudflare's ElevenLabs sample",
        providers=("elevenlabs",),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-xi-api-key-alone",
        (_protocol("xi-api-key.", _P),),
        "ElevenLabs in a browser",
        providers=("elevenlabs",),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-xi-api-key-gateway-key",
        (_protocol("xi-api-key.", _G),),
        "ElevenLabs in a browser whose key is the gateway's",
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
        "protocol-fal-api-key-alone",
        (_protocol("fal-api-key.", _P),),
        "fal in a browser",
        providers=("fal",),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-fal-api-key-gateway-key",
        (_protocol("fal-api-key.", _G),),
        "fal in a browser whose key is the gateway's",
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
        "protocol-xai-client-secret-gateway-key",
        (_protocol("xai-client-secret.", _G),),
        "xAI in a browser whose key is the gateway's",
        providers=("grok",),
        ways=(Way.REALTIME_BROWSER,),
        subprotocols=("realtime",),
    ),
    Presentation(
        "protocol-behind-token",
        (_behind("token", _P),),
        "Deepgram in a browser",
        providers=("deepgram",),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-behind-token-gateway-key",
        (_behind("token", _G),),
        "Deepgram in a browser whose key is the gateway's",
        providers=("deepgram", "workers-ai"),
        ways=(Way.REALTIME_BROWSER, Way.UNIVERSAL_WEBSOCKET),
    ),
    Presentation(
        "protocol-behind-token-and-cf-aig",
        (_behind("token", _P), _protocol("cf-aig-authorization.", _G)),
        "Deepgram in a browser with one more sub-protocol",
        providers=("deepgram",),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-behind-bearer",
        (_behind("bearer", _P),),
        "Deepgram in a browser, whose server made it a temporary token",
        providers=("deepgram",),
        ways=(Way.REALTIME_BROWSER,),
    ),
    Presentation(
        "protocol-behind-bearer-gateway-key",
        (_behind("bearer", _G),),
        "Deepgram in a browser whose temporary token is the gateway's key",
        providers=("deepgram",),
        ways=(Way.REALTIME_BROWSER,),
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
        ways=_HANDSHAKE,
        subprotocols=("realtime",),
    ),
    # Keys that meet, or sit where they do not belong.
    Presentation(
        "misplaced-provider-key",
        (_header("x-api-key", "{}", _P),),
        "a client of one API pointed at another",
        here="The only key shown is moved to the provider's own place.",
        providers=("openai", "grok", "deepgram"),
    ),
    Presentation(
        "key-of-another-provider",
        (_TOKEN, _header("authorization", "Bearer {}", _P), _header("x-api-key", "{}", Secret.FOREIGN_KEY)),
        "a client that sends every key of its environment",
        here="A key in a place the provider does not have is dropped when another is in its own.",
        providers=("openai", "grok"),
    ),
    Presentation(
        "key-of-another-provider-in-an-earlier-place",
        (_TOKEN, _header("authorization", "Bearer {}", Secret.FOREIGN_KEY), _header("xi-api-key", "{}", _P)),
        "a client that sends every key of its environment",
        here="The order of the places says nothing of providers' keys: the one in the provider's own place is taken.",
        providers=("elevenlabs",),
    ),
    Presentation(
        "provider-key-in-the-gateways-place",
        (_header("cf-aig-authorization", "Bearer {}", _P),),
        "a key put into the wrong variable",
        here="A provider's key in the gateway's place is ignored and goes nowhere; a refusal names the place.",
    ),
    Presentation(
        "two-authorization-lines",
        (_header("authorization", "Bearer {}", _G), _header("authorization", "Bearer {}", _P)),
        "a proxy that adds a second Authorization line",
        here="Every line is looked at: the gateway's key is taken out, the other is the provider's.",
        ways=_ONE_HEAD,
    ),
    Presentation(
        "first-gateway-key-counts",
        (_TOKEN, _header("authorization", "Bearer {}", Secret.OTHER_GATEWAYS_KEY)),
        "a client with a key for each gateway",
        here="The first in the order of the places counts, everywhere; both are taken out.",
        ways=(Way.HTTP, Way.SSE, *_UNIVERSAL, Way.REALTIME),
    ),
    Presentation(
        "revoked-key-beside-a-good-one",
        (_header("cf-aig-authorization", "Bearer {}", Secret.REVOKED_KEY), _header("authorization", "Bearer {}", _G)),
        "a key that was replaced in one of two variables",
        here="A key that counts opens the gateway; the old one is taken out.",
    ),
    Presentation(
        "expired-key-beside-a-provider-key",
        (_header("cf-aig-authorization", "Bearer {}", Secret.EXPIRED_KEY), _header("authorization", "Bearer {}", _P)),
        "an app that was not told",
        here="A dead gateway key refuses the request whatever else it shows.",
    ),
    # Traps: each was somebody's bug report.
    Presentation(
        "trap-placeholder",
        (_TOKEN, _header("authorization", "Bearer unused", Secret.WRONG_KEY)),
        "SDKs that demand some key",
        trap="a placeholder counted as a key, so that the stored one was skipped",
        here=_PLACEHOLDER,
    ),
    Presentation(
        "trap-placeholder-in-x-api-key",
        (_TOKEN, _header("x-api-key", "unused", Secret.WRONG_KEY)),
        "coding agents that demand some key",
        trap="a placeholder counted as a key, so that the stored one was skipped",
        here=_PLACEHOLDER,
        providers=("anthropic",),
    ),
    Presentation(
        "trap-placeholder-in-protocol",
        (_protocol("cf-aig-authorization.", _G), _protocol("openai-insecure-api-key.", Secret.WRONG_KEY, "unused")),
        "browser SDKs that demand some key",
        trap="a placeholder counted as a key, so that the stored one was skipped",
        here=_PLACEHOLDER,
        ways=_BROWSER,
        subprotocols=("realtime",),
    ),
    Presentation(
        "trap-bearer-undefined",
        (_TOKEN, _header("authorization", "Bearer undefined", _NONE)),
        "ai-gateway-provider without a key",
        trap="the word undefined was forwarded as a key",
        here="It counts as no key.",
        providers=("openai", "groq"),
    ),
    Presentation(
        "trap-bearer-null",
        (_TOKEN, _header("authorization", "Bearer null", _NONE)),
        "JavaScript clients without a key",
        trap="the word null was forwarded as a key",
        here="It counts as no key.",
    ),
    Presentation(
        "trap-undefined-elsewhere",
        (_TOKEN, _header("x-api-key", "undefined", _NONE), _header("x-goog-api-key", "null", _NONE)),
        "JavaScript clients without a key",
        trap="the word undefined was forwarded as a key",
        here="It counts as no key, in every place.",
        providers=("anthropic", "google-ai-studio"),
    ),
    Presentation(
        "trap-protocol-undefined",
        (_protocol("cf-aig-authorization.", _G), _protocol("openai-insecure-api-key.", _NONE, "undefined")),
        "pages without a key",
        trap="the word undefined was forwarded as a key",
        here="It counts as no key, in every place.",
        ways=_BROWSER,
        subprotocols=("realtime",),
    ),
    Presentation(
        "trap-blank",
        (_TOKEN, _header("authorization", "Bearer ", _NONE)),
        'OpenCode, whose page says apiKey: ""',
        trap="a blank key was forwarded, and hid the stored one",
        here="It counts as no key. OpenAI's SDKs refuse a blank key themselves: give them the gateway's.",
        providers=("openai", "groq"),
    ),
    Presentation(
        "trap-blank-elsewhere",
        (_TOKEN, _header("x-api-key", "", _NONE), _header("api-key", " ", _NONE)),
        "SDKs whose key is an empty string",
        trap="a blank key was forwarded, and hid the stored one",
        here="It counts as no key, in every place.",
        providers=("anthropic", "azure-openai"),
    ),
    Presentation(
        "trap-blank-query",
        (_TOKEN, _query("key", _NONE, "")),
        "Google's REST examples with an empty variable",
        trap="a blank key was forwarded, and hid the stored one",
        here="It counts as no key, in every place.",
        providers=("google-ai-studio",),
        ways=(Way.HTTP, Way.UNIVERSAL_HTTP, Way.REALTIME),
    ),
    Presentation(
        "trap-scheme-alone",
        (_TOKEN, _header("authorization", "Bearer", _NONE)),
        "clients that trim the header of a blank key",
        trap="the word Bearer was forwarded as a key",
        here="It counts as no key.",
    ),
    Presentation(
        "trap-temporary-token",
        (_TOKEN, _header("authorization", "Bearer CF_TEMP_TOKEN", _NONE)),
        "ai-gateway-provider's own dummy",
        trap="the dummy was forwarded as a key",
        here="It counts as no key.",
    ),
    Presentation(
        "trap-bearer-colon",
        (_header("authorization", "Bearer: {}", _P),),
        "configuration written by hand",
        trap="a colon after Bearer was answered with 2009",
        here="The colon is ignored.",
        providers=("openai", "deepgram"),
    ),
    Presentation(
        "trap-bearer-colon-gateway-key",
        (_header("cf-aig-authorization", "Bearer: {}", _G),),
        "configuration written by hand",
        trap="a colon after Bearer was answered with 2009",
        here="The colon is ignored.",
    ),
    Presentation(
        "trap-bearer-colon-without-a-blank",
        (_header("cf-aig-authorization", "Bearer:{}", _G),),
        "configuration written by hand",
        trap="a colon after Bearer was answered with 2009",
        here="The colon is ignored.",
    ),
    Presentation(
        "trap-header-names-in-capitals",
        (_header("CF-AIG-Authorization", "Bearer {}", _G), _header("AUTHORIZATION", "Bearer {}", _P)),
        "clients that write header names in their own way",
        trap="an SDK looked for a header by its exact spelling and missed it",
        here="Header names are the same in large and small letters, in a step's headers too.",
        providers=("openai", "groq"),
    ),
    Presentation(
        "trap-gateway-key-in-both-slots",
        (_TOKEN, _header("authorization", "Bearer {}", _G)),
        "OpenCode, and clients that repeat the gateway's key in every step",
        trap="the gateway's key was forwarded to the provider",
        here="It is taken out wherever it sits, and the stored key is used.",
        providers=("openai", "workers-ai"),
    ),
    Presentation(
        "trap-gateway-key-in-every-slot",
        (
            _TOKEN,
            _header("authorization", "Bearer {}", _G),
            _header("x-api-key", "{}", _G),
            _header("api-key", "{}", _G),
        ),
        "clients that try everything",
        trap="the gateway's key was forwarded to the provider",
        here="It is taken out wherever it sits, and the stored key is used.",
        providers=("openai", "anthropic"),
    ),
    Presentation(
        "trap-gateway-key-twice",
        (_header("authorization", "Bearer {}", _G), _header("api-key", "{}", _G)),
        "openai-realtime-api on a server, whose key is the gateway's",
        trap="the gateway's key was forwarded to the provider",
        here="It is taken out wherever it sits, and the stored key is used.",
        ways=_HANDSHAKE,
    ),
    Presentation(
        "trap-same-key-twice",
        (_header("authorization", "Bearer {}", _P), _header("api-key", "{}", _P)),
        "openai-realtime-api on a server",
        trap="OpenAI refuses a handshake that shows a key twice",
        here="It is sent on once.",
    ),
    Presentation(
        "trap-header-and-protocol",
        (_header("authorization", "Bearer {}", _P), _protocol("openai-insecure-api-key.", _P)),
        "the AI SDK on a server",
        trap="OpenAI refuses a handshake that shows a key twice",
        here="It is sent on once.",
        ways=_HANDSHAKE,
        subprotocols=("realtime",),
    ),
    Presentation(
        "trap-two-keys",
        (
            _header("x-api-key", "{}", _P),
            _header("authorization", "Bearer {}", Secret.OTHER_PROVIDER_KEY),
            _TOKEN,
        ),
        "an old key left in the environment",
        trap="one of two keys was taken silently",
        here=_BOTH_NAMED,
        providers=("anthropic",),
    ),
    Presentation(
        "trap-two-keys-on-a-socket",
        (
            _TOKEN,
            _header("authorization", "Bearer {}", _P),
            _protocol("openai-insecure-api-key.", Secret.OTHER_PROVIDER_KEY),
        ),
        "an old key left in the environment",
        trap="one of two keys was taken silently",
        here=_BOTH_NAMED,
        ways=_HANDSHAKE,
        subprotocols=("realtime",),
    ),
    Presentation(
        "trap-two-keys-in-two-lines",
        (
            _header("authorization", "Bearer {}", _P),
            _header("authorization", "Bearer {}", Secret.OTHER_PROVIDER_KEY),
        ),
        "a proxy that adds a key of its own",
        trap="one of two keys was taken silently",
        here=_BOTH_NAMED,
        ways=_ONE_HEAD,
    ),
    Presentation(
        "trap-key-of-another-gateway",
        (_header("cf-aig-authorization", "Bearer {}", Secret.OTHER_GATEWAYS_KEY), _header("authorization", "{}", _G)),
        "a client pointed at another gateway",
        trap="a key spent the stored keys of every gateway of its account",
        here="A key opens its own gateway alone, also where none is demanded.",
        ways=(Way.HTTP, Way.SSE, *_UNIVERSAL, Way.REALTIME),
    ),
    Presentation(
        "trap-revoked-key",
        (_header("authorization", "Bearer {}", Secret.REVOKED_KEY),),
        "an app that was not told",
        trap="a key no longer known to the gateway was taken for a provider key and sent on",
        here=_DEAD_REFUSES,
        providers=("openai", "anthropic"),
    ),
    Presentation(
        "trap-revoked-key-in-protocol",
        (_protocol("openai-insecure-api-key.", Secret.REVOKED_KEY),),
        "a page that was left open",
        trap="a key no longer known to the gateway was taken for a provider key and sent on",
        here=_DEAD_REFUSES,
        ways=_BROWSER,
        subprotocols=("realtime",),
    ),
    # Controls: these must fail where a key is needed, or a success elsewhere means nothing.
    Presentation(
        "control-wrong-gateway-key",
        (_header("cf-aig-authorization", "Bearer {}", Secret.WRONG_KEY),),
        "a wrong gateway key",
        probed=True,
    ),
    Presentation(
        "control-wrong-gateway-key-in-protocol",
        (_protocol("cf-aig-authorization.", Secret.WRONG_KEY),),
        "a wrong gateway key",
        ways=(*_BROWSER, Way.UNIVERSAL_WEBSOCKET),
        subprotocols=("realtime",),
        probed=True,
    ),
    Presentation(
        "control-wrong-provider-key",
        (_header("authorization", "Bearer {}", Secret.WRONG_KEY),),
        "a wrong provider key",
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
                if way.is_realtime and provider not in REALTIME_PROVIDERS:
                    continue
                for authenticated in (False, True):
                    for stored in (False, True):
                        yield Case(presentation, way, provider, authenticated, stored)
