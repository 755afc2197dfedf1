"""From a request head to what the gateway will do with it: the same steps for HTTP, streams and WebSockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from trunkline import credentials
from trunkline.credentials import PLACEMENTS, Caller, Candidate, Carrier, Credentials, Placement, Role
from trunkline.errors import (
    GatewayError,
    MalformedRequest,
    NoProviderKey,
    NotPermitted,
    UnknownAlias,
    UnknownGateway,
    UnknownProvider,
)
from trunkline.policy.balancing import names
from trunkline.policy.client_secrets import ClientSecret
from trunkline.policy.models import UnreadableFrame, is_allowed, models_in_frame
from trunkline.policy.registry import DEFAULT_ALIAS, GatewayRules, Registry
from trunkline.policy.sessions import NO_LIMITS, SessionLimits
from trunkline.providers import Catalogue, Provider, Slot, Via
from trunkline.server.accounts import caller_of
from trunkline.server.origins import Origins
from trunkline.server.registry import LiveRegistry
from trunkline.server.sessions import ConsoleSession, Sessions
from trunkline.settings import Settings
from trunkline.wire.head import ALIAS_HEADER, Head, Transport
from trunkline.wire.path import UNIFIED, Target, parse_path

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """The key that will be shown to the provider and where it came from."""

    value: str = field(repr=False)
    source: str  # "caller", "session", "stored", "settings", "client secret" or "local"
    candidate: Candidate | None = None

    @property
    def is_gateways_own(self) -> bool:
        """Whether callers use it without seeing it."""
        return self.source in ("stored", "settings")


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may go on: who asks, which gateway and provider are meant, and the rest of the path as sent.

    ``is_ours`` tells the gateway's own keys, none of which may leave. ``secret`` is the client secret that opened it,
    ``via`` the gateway through which the provider is reached, ``alias`` that of the stored key, where one is used;
    ``limits`` are those of the caller's realtime sessions. ``is_lasting``: heads like its own get this very admission
    until the set-up changes. ``own_path`` is what of the path is no word of the caller's.
    """

    provider: Provider
    rest: str
    account: str
    gateway: str
    rules: GatewayRules
    caller: Caller | None
    key: ProviderKey | None
    alias: str = ""
    via: Via | None = None
    secret: ClientSecret | None = None
    limits: SessionLimits = NO_LIMITS
    is_ours: Callable[[str], object] = field(default=lambda value: None, repr=False)
    is_lasting: bool = False
    own_path: str = ""

    @property
    def is_restricted(self) -> bool:
        """Whether the caller may use some models only."""
        return self.caller is not None and bool(self.caller.models or self.caller.model)

    @property
    def is_capped(self) -> bool:
        """Whether a client secret that may spend so much only opened it."""
        return self.secret is not None and self.secret.spend_cap is not None

    def known(self, head: Head, kind: object) -> Any:
        """Return what was worked out from a head and this admission together, or None."""
        found = head.memo.get(kind)
        return found[1] if found is not None and found[0] is self else None

    def remember(self, head: Head, kind: object, found: _Found) -> _Found:
        """Keep that for heads alike, where it is good for them, and return it."""
        if self.is_lasting:
            head.memo[kind] = (self, found)
        return found

    def check_models(self, models: Sequence[str]) -> None:
        """Raise `NotPermitted` unless the caller may use every one of these models for its conversation."""
        for model in models:
            self._check_model(model, is_conversation=True)

    def check_frame(self, text: str) -> None:
        """Raise `NotPermitted` when a realtime frame gives the session a model that its opener may not use.

        Who opened it with a client secret for one model may still choose what writes down the speech.
        """
        try:
            models = models_in_frame(text)
        except UnreadableFrame as error:
            raise NotPermitted(
                "The gateway refused a frame: the key that opened the session is for some models only, and which one"
                " the frame names cannot be read."
            ) from error
        for named in models:
            self._check_model(named.name, is_conversation=not named.transcribes)

    def _check_model(self, model: str, *, is_conversation: bool) -> None:
        caller = self.caller
        if caller is None:
            return
        is_other = is_conversation and caller.model not in ("", model)
        if is_other or not is_allowed(model, caller.models, self.provider.slug):
            allowed = caller.model if is_other else ", ".join(caller.models)
            raise NotPermitted(
                f"The gateway refused this request: the {_words(caller)} is not good for the model {model[:200]!r}. It"
                f" is for: {allowed}."
            )


class Doorkeeper:
    """Admits request heads. Holds what the decision depends on; decides without waiting."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        origins: Origins,
        sessions: Sessions,
        registry: LiveRegistry,
        local_key: str,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._origins = origins
        self._sessions = sessions
        self._registry = registry
        self._local_key = local_key
        self._own_places = {provider.slug: _own_places(provider) for provider in catalogue.all()}

    def provider_of(self, head: Head) -> Provider | None:
        """Return the provider a head names, without judging anything else: a refusal is put in its dialect."""
        target = parse_path(head.path)
        return self._catalogue.find(target.provider or self._settings.root_provider)

    def check_origin(self, head: Head) -> None:
        """Raise `ForbiddenOrigin` unless pages of the head's origin may call the gateway of its path."""
        target = parse_path(head.path)
        rules = self._registry.rules(target.gateway or self._settings.gateway)
        self._origins.check(head, rules.allowed_origins if rules is not None else ())

    def check_entrance(self, head: Head) -> None:
        """Raise `ForbiddenOrigin` or `UnknownGateway` where nobody could be admitted, whoever asks."""
        self._origins.check_host(head)
        rules = self._rules(parse_path(head.path), None)
        self._origins.check_origin(head, rules.allowed_origins)

    def is_ours(self, value: str) -> bool:
        """Whether a value is one of the gateway's own keys, which never leave."""
        return self._registry.recognise(value) is not None

    def admit(self, head: Head, name: str = "") -> Admission:
        """Admit a head to the provider of its path, or to another one; or raise the `GatewayError` that refuses it."""
        now = self._registry.now
        known: tuple[Registry, Admission] | None = head.memo.get((Doorkeeper, name))
        if known is not None and known[0] is now:
            return known[1]
        admission = self._admit(head, name)
        if admission.is_lasting:
            head.memo[Doorkeeper, name] = (now, admission)
        return admission

    def _admit(self, head: Head, name: str) -> Admission:
        self._origins.check_host(head)
        target = parse_path(head.path)
        named = self._provider(name or target.provider or self._settings.root_provider)
        session = self._session(head)
        found = credentials.read(
            head,
            self._registry.recognise,
            query_names=named.query_names,
            own=self._places_of(named),
            known=self._known(head, session),
        )
        rules = self._rules(target, found.caller if isinstance(found, Credentials) else None)
        self._origins.check_origin(head, rules.allowed_origins)
        if isinstance(found, GatewayError):
            raise found
        if rules.authenticated and found.caller is None:
            raise found.unauthenticated()
        provider = self._permitted(found.caller, rules, target, named)
        secret = self._secret(found.caller)
        via = self._registry.now.vias.get((rules.id, provider.slug)) or provider.via
        alias = _alias(head, secret)
        try:
            key = self._key(provider, found, session, head.transport, rules, secret, alias, via)
        except NoProviderKey:
            if not _is_pooled(head, rules, provider, target.rest):
                raise
            key = None  # which key it is will be said by the pool
        return Admission(
            provider=provider,
            rest=target.rest,
            account=target.account or self._settings.account,
            gateway=rules.id,
            rules=rules,
            caller=found.caller,
            key=key,
            alias=alias,
            via=via,
            secret=secret,
            limits=self._registry.limits(rules.id, found.caller.key_id if found.caller is not None else ""),
            is_ours=self._registry.recognise,
            is_lasting=_is_lasting(head, found.caller),
        )

    def elsewhere(self, admission: Admission, name: str) -> Admission:
        """Return the admission of the same caller to another provider, which the gateway itself chose.

        Its key is the gateway's own: what the caller brought was for the first provider. Raises `UnknownProvider`, or
        `NoProviderKey` where the gateway holds none.
        """
        provider = self._provider(name)
        nothing = Credentials(admission.caller, ())
        via = self._registry.now.vias.get((admission.gateway, provider.slug)) or provider.via
        key = self._key(provider, nothing, None, Transport.WEBSOCKET, admission.rules, None, DEFAULT_ALIAS, via)
        return replace(admission, provider=provider, rest="realtime", key=key, alias=DEFAULT_ALIAS, via=via)

    def with_member(
        self, admission: Admission, provider: str, alias: str, rest: str | None, own_path: str = ""
    ) -> Admission:
        """Return the admission of the same caller to a member of a pool, with the gateway's key of that alias.

        ``provider`` is empty where it stays the same, ``rest`` None where the path does. ``own_path`` is that which the
        pool says of the path. Raises `UnknownProvider`, `UnknownAlias` or `NoProviderKey` for a member that is not
        there, and `NotPermitted` where the caller's key is good for the first provider only. Which models the caller
        may use is for `Admission.check_models` to say.
        """
        found = self._provider(provider) if provider else admission.provider
        caller = admission.caller
        if caller is not None and caller.provider not in (None, found.slug):
            raise NotPermitted(
                f"The gateway refused this request: the {_words(caller)} is good for {caller.provider}, not for"
                f" {found.slug}."
            )
        nothing = Credentials(caller, ())
        via = self._registry.now.vias.get((admission.gateway, found.slug)) or found.via
        key = self._key(found, nothing, None, Transport.HTTP, admission.rules, None, alias, via)
        path = admission.rest if rest is None else rest
        return replace(admission, provider=found, rest=path, key=key, alias=alias, via=via, own_path=own_path)

    def check_key(self, admission: Admission) -> None:
        """Raise `NoProviderKey` where a pool was to bring a key, and brought none."""
        if admission.key is None and admission.via is None and admission.provider.needs_key:
            raise _no_key(admission.provider)

    def _places_of(self, provider: Provider) -> list[Placement]:
        """Return a provider's own places, also those of one that was added since the start."""
        known = self._own_places.get(provider.slug)
        return _own_places(provider) if known is None else known

    def _rules(self, target: Target, caller: Caller | None) -> GatewayRules:
        """Return the switches of the gateway that the path names, or else the caller's key."""
        name = target.gateway or (caller.gateway if caller else None) or self._settings.gateway
        rules = self._registry.rules(name)
        account = self._settings.account
        if rules is None or target.account not in (None, account):
            raise UnknownGateway(
                f"There is no gateway {name!r} in account {target.account or account!r} here."
                f" This gateway's paths begin with /v1/{account}/{self._settings.gateway}/."
            )
        return rules

    def _permitted(self, caller: Caller | None, rules: GatewayRules, target: Target, named: Provider) -> Provider:
        """Return the provider to ask: the one named, or for a root path the caller's. Raises `NotPermitted`."""
        if caller is None:
            return named
        if caller.gateway not in (None, rules.id):
            raise NotPermitted(
                f"The gateway refused this request: the {_words(caller)} belongs to another gateway than {rules.id!r}."
            )
        if "run" not in caller.scopes:
            raise NotPermitted(
                f"The gateway refused this request: the {_words(caller)} lacks the scope 'run', which calling models"
                " needs."
            )
        if caller.provider in (None, named.slug):
            return named
        if target.provider is None:
            return self._provider(caller.provider or "")
        raise NotPermitted(
            f"The gateway refused this request: the {_words(caller)} is good for {caller.provider}, not for"
            f" {named.slug}."
        )

    def _provider(self, name: str) -> Provider:
        provider = self._catalogue.find(name)
        if provider is None and name == UNIFIED:
            raise UnknownProvider(
                f"The path {UNIFIED!r} has no such endpoint. It serves chat/completions and its like over HTTP, and"
                " realtime over WebSocket; docs/routes.md and docs/universal.md say more."
            )
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

    def _known(self, head: Head, session: ConsoleSession | None) -> Caller | None:
        """Return who is known by the console's cookies: by a key that was typed in to be used, or else signed in."""
        if session is not None and session.use_authenticated_gateway:
            caller = self._registry.recognise(session.gateway_token)
            if caller is not None and not caller.refusal:
                return caller
        if not self._origins.same_origin(head):
            return None
        user = self._registry.accounts.signed_in(head.header(b"cookie"))
        return caller_of(user) if user is not None else None

    def _secret(self, caller: Caller | None) -> ClientSecret | None:
        if caller is None or caller.kind != "client_secret":
            return None
        return self._registry.broker.secret(caller.id)

    def _key(
        self,
        provider: Provider,
        found: Credentials,
        session: ConsoleSession | None,
        transport: Transport,
        rules: GatewayRules,
        secret: ClientSecret | None,
        alias: str,
        via: Via | None,
    ) -> ProviderKey | None:
        """Return the key to show the provider: the caller's own before a stored one, unless the gateway's rule differs.

        Raises `NoProviderKey`, `UnknownAlias`, or `MalformedRequest` for two keys.
        """
        if provider.slug == "local":
            return ProviderKey(self._local_key, "local")
        if secret is not None and secret.provider_key:
            return ProviderKey(secret.provider_key, "client secret")
        stored = self._stored(provider, rules, alias)
        if stored is not None and rules.stored_key_wins:
            return stored
        if found.provider_keys:
            chosen = _chosen(provider, _slots(provider, transport), found.provider_keys)
            return ProviderKey(chosen.value, "caller", chosen)
        if session is not None and provider.slug in session.provider_keys:
            return ProviderKey(session.provider_keys[provider.slug], "session")
        if stored is not None:
            return stored
        if via is not None:  # the other gateway may hold the key
            return None
        if alias != DEFAULT_ALIAS:
            raise self._unknown_alias(provider, rules, alias, found.caller)
        if provider.needs_key:
            raise _no_key(provider)
        return None

    def _stored(self, provider: Provider, rules: GatewayRules, alias: str) -> ProviderKey | None:
        value = self._registry.now.stored_keys(rules.id, provider.slug).get(alias)
        if value is not None:
            return ProviderKey(value, "stored")
        if alias == DEFAULT_ALIAS and provider.stored_key:
            return ProviderKey(provider.stored_key, "settings")
        return None

    def _unknown_alias(
        self, provider: Provider, rules: GatewayRules, alias: str, caller: Caller | None
    ) -> UnknownAlias:
        message = f"The gateway holds no {provider.name} key under the alias {alias[:64]!r}."
        if caller is not None and caller.kind != "client_secret":  # the names are for those who may use the keys
            aliases = ", ".join(sorted(self._registry.now.stored_keys(rules.id, provider.slug))) or "none"
            message += f" It has: {aliases}."
        return UnknownAlias(f"{message} Store it with `trunkline vault set {provider.slug} --alias ...`.")


def _is_lasting(head: Head, caller: Caller | None) -> bool:
    """Whether a head like this one is admitted in the same way until the set-up changes.

    A cookie is good for as long as its session, a client secret for so many uses, and keys may have an end.
    """
    lasts = caller is None or (caller.kind in ("gateway_key", "gateway_token") and caller.expires_at is None)
    return lasts and not head.has_any((b"cookie",))


def _alias(head: Head, secret: ClientSecret | None) -> str:
    if secret is not None:  # which key it uses was for its maker to choose
        return secret.alias or DEFAULT_ALIAS
    return (head.header(ALIAS_HEADER) or "").strip() or DEFAULT_ALIAS


def _is_pooled(head: Head, rules: GatewayRules, provider: Provider, rest: str) -> bool:
    """Whether a request may get its key from a member of a pool. Sessions get none: they are not shared."""
    is_request = head.transport is Transport.HTTP and "realtime" not in rest
    return is_request and any(names(provider, pool.provider) for pool in rules.control.attempts.pools)


def _no_key(provider: Provider) -> NoProviderKey:
    variable = f"TRUNKLINE_PROVIDERS__{provider.slug.upper().replace('-', '_')}__API_KEY"
    return NoProviderKey(
        f"The gateway has no key for {provider.name}, and the request brought none. Send your"
        f" {provider.name} key in {provider.credential_slots[0]}, type it into the console's settings, store it"
        f" with `trunkline vault set {provider.slug}`, or set {variable}."
    )


def _words(caller: Caller) -> str:
    return caller.kind.replace("_", " ")


def _own_places(provider: Provider) -> list[Placement]:
    """Return the places in which only this provider takes a key: those of its slots that the common table lacks."""
    slots = (*provider.credential_slots, *(provider.socket.credential_slots if provider.socket else ()))
    places = [Placement(Carrier(slot.kind), slot.name, Role.PROVIDER) for slot in slots]
    return [place for place in dict.fromkeys(places) if place not in PLACEMENTS]


def _slots(provider: Provider, transport: Transport) -> Sequence[Slot]:
    if transport is Transport.WEBSOCKET and provider.socket is not None:
        return provider.socket.credential_slots
    return provider.credential_slots


def _chosen(provider: Provider, slots: Sequence[Slot], keys: tuple[Candidate, ...]) -> Candidate:
    """Choose among several keys the one in a place the provider itself has: others belong to other APIs.

    Raises `MalformedRequest` when its own places hold different keys: which one was meant is not to be guessed.
    """
    own = [candidate for slot in slots for candidate in keys if _is_in_place(candidate, slot)]
    if len({candidate.value for candidate in own}) > 1:
        places = " and ".join(dict.fromkeys(f"the {candidate.placement}" for candidate in own))
        raise MalformedRequest(f"The request shows two different {provider.name} keys, in {places}. Send one of them.")
    return own[0] if own else keys[0]


def sits_in(candidate: Candidate, slot: Slot) -> bool:
    """Whether a key was sent in a provider's own slot, scheme included, and may stay there."""
    return slot.takes(candidate.value) and _is_in_place(candidate, slot)


def _is_in_place(candidate: Candidate, slot: Slot) -> bool:
    if candidate.placement.carrier is Carrier.NEXT_SUBPROTOCOL:
        # ``token, KEY`` is a page's way of writing ``Authorization: Token KEY``.
        header = (slot.kind, slot.name, slot.scheme.lower())
        return header == ("header", "authorization", candidate.placement.name)
    if candidate.placement.carrier is not Carrier(slot.kind) or candidate.placement.name != slot.name:
        return False
    return not slot.scheme or candidate.scheme.lower() == slot.scheme.lower()
