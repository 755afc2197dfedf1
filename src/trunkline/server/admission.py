"""From a request head to what the gateway will do with it: the same steps for HTTP, streams and WebSockets."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from trunkline import credentials
from trunkline.credentials import PLACEMENTS, Caller, Candidate, Carrier, Placement, Role
from trunkline.errors import NoProviderKey, UnknownGateway, UnknownProvider
from trunkline.providers import Catalogue, Provider, Slot
from trunkline.server.origins import Origins
from trunkline.server.sessions import ConsoleSession, Sessions
from trunkline.settings import Settings
from trunkline.wire.head import Head
from trunkline.wire.path import Target, parse_path


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """The key that will be shown to the provider and where it came from."""

    value: str = field(repr=False)
    source: str  # "caller", "session", "settings" or "local"
    candidate: Candidate | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may go on: who asks, which provider is meant, and the rest of the path as the client sent it.

    ``is_ours`` tells the gateway's own keys, none of which may leave.
    """

    provider: Provider
    rest: str
    account: str
    caller: Caller | None
    key: ProviderKey | None
    is_ours: Callable[[str], object] = field(default=lambda value: None, repr=False)


class Doorkeeper:
    """Admits request heads. Holds what the decision depends on; decides without waiting."""

    def __init__(
        self, settings: Settings, catalogue: Catalogue, origins: Origins, sessions: Sessions, local_key: str
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._origins = origins
        self._sessions = sessions
        self._local_key = local_key
        self._recognise = recogniser(settings.gateway_token)
        self._own_places = {provider.slug: _own_places(provider) for provider in catalogue.all()}

    def provider_of(self, head: Head) -> Provider | None:
        """Return the provider a head names, without judging anything else: a refusal is put in its dialect."""
        target = parse_path(head.path)
        return self._catalogue.find(target.provider or self._settings.root_provider)

    def admit(self, head: Head) -> Admission:
        """Admit a head, or raise the `GatewayError` that refuses it."""
        self._origins.check(head)
        target = parse_path(head.path)
        self._check_gateway(target)
        provider = self._provider(target)
        session = self._session(head)
        found = credentials.read(
            head,
            self._recognise,
            authenticated=self._settings.authenticated,
            query_names=provider.query_names,
            own=self._own_places[provider.slug],
            known=self._known(session),
        )
        if not isinstance(found, credentials.Credentials):
            raise found
        return Admission(
            provider=provider,
            rest=target.rest,
            account=target.account or self._settings.account,
            caller=found.caller,
            key=self._key(provider, found, session, head),
            is_ours=self._recognise,
        )

    def _check_gateway(self, target: Target) -> None:
        account, gateway = self._settings.account, self._settings.gateway
        if target.account not in (None, account) or target.gateway not in (None, gateway):
            raise UnknownGateway(
                f"There is no gateway {target.gateway!r} in account {target.account!r} here."
                f" This gateway's paths begin with /v1/{account}/{gateway}/."
            )

    def _provider(self, target: Target) -> Provider:
        name = target.provider or self._settings.root_provider
        provider = self._catalogue.find(name)
        if provider is None:
            raise UnknownProvider(
                f"The gateway knows no provider {name!r}. See docs/providers.md for the list, or add"
                " [providers.custom-NAME] with a base_url to trunkline.toml."
            )
        return provider

    def _session(self, head: Head) -> ConsoleSession | None:
        """Return the console session of a request that a page of the gateway itself sent.

        A cookie proves only which browser it is: any page open in that browser makes it send the cookie.
        """
        session = self._sessions.find(head)
        return session if session is not None and self._origins.same_origin(head) else None

    def _known(self, session: ConsoleSession | None) -> Caller | None:
        if session is None or not session.use_authenticated_gateway:
            return None
        return self._recognise(session.gateway_token)

    def _key(
        self, provider: Provider, found: credentials.Credentials, session: ConsoleSession | None, head: Head
    ) -> ProviderKey | None:
        if provider.slug == "local":
            return ProviderKey(self._local_key, "local")
        if found.provider_keys:
            chosen = _preferred(provider, found.provider_keys)
            return ProviderKey(chosen.value, "caller", chosen)
        if session is not None and provider.slug in session.provider_keys:
            return ProviderKey(session.provider_keys[provider.slug], "session")
        if provider.stored_key:
            return ProviderKey(provider.stored_key, "settings")
        if provider.needs_key:
            variable = f"TRUNKLINE_PROVIDERS__{provider.slug.upper().replace('-', '_')}__API_KEY"
            raise NoProviderKey(
                f"The gateway has no key for {provider.name}, and the request brought none. Send your"
                f" {provider.name} key in {provider.credential_slots[0]}, type it into the console's settings, or"
                f" set {variable}."
            )
        return None


def recogniser(gateway_token: str) -> Callable[[str], Caller | None]:
    """Return the function that tells the gateway's own token from other values, in constant time."""
    if not gateway_token:
        return lambda value: None
    expected = hashlib.sha256(gateway_token.encode()).digest()

    def recognise(value: str) -> Caller | None:
        given = hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
        return Caller("gateway_token", "gateway token") if hmac.compare_digest(given, expected) else None

    return recognise


def _own_places(provider: Provider) -> list[Placement]:
    """Return the places in which only this provider takes a key: those of its slots that the common table lacks."""
    slots = (*provider.credential_slots, *(provider.socket.credential_slots if provider.socket else ()))
    places = [Placement(Carrier(slot.kind), slot.name, Role.PROVIDER) for slot in slots]
    return [place for place in dict.fromkeys(places) if place not in PLACEMENTS]


def _preferred(provider: Provider, keys: tuple[Candidate, ...]) -> Candidate:
    """Choose among several keys the one in a place the provider itself has: others belong to other APIs.

    Azure's clients send ``api-key`` besides ``Authorization``, and old OpenAI clients do the same to OpenAI.
    """
    for slot in provider.credential_slots:
        for candidate in keys:
            if sits_in(candidate, slot):
                return candidate
    return keys[0]


def sits_in(candidate: Candidate, slot: Slot) -> bool:
    """Whether a key was sent in a provider's own slot, scheme included."""
    if candidate.placement.carrier is not Carrier(slot.kind) or candidate.placement.name != slot.name:
        return False
    if slot.except_prefix and candidate.value.startswith(slot.except_prefix):
        return False
    return not slot.scheme or candidate.scheme.lower() == slot.scheme.lower()
