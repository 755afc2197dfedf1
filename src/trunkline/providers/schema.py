"""The shape of a provider's data file. Unknown fields are refused, so that a misspelt one is not a silent no-op."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Dialect = Literal["openai", "anthropic", "google"]
# Whose events a WebSocket carries: how a session's record reads them.
Protocol = Literal["openai", "google", "elevenlabs", "deepgram", "cartesia", "none"]
Usage = Literal["openai", "anthropic", "google", "cohere", "bedrock", "none"]
# In whose words the unified API asks a provider: its own OpenAI-compatible ones, or those that it is translated to.
Unified = Literal["openai", "azure", "anthropic", "google", "bedrock", "cohere", "none"]


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place in which a provider takes a credential.

    ``name`` is a header in lower case, a sub-protocol prefix, or a query parameter. ``scheme`` is the word before the
    value in a header; an empty one matches any that a caller sends. A value that begins with ``except_prefix``, or
    without ``only_prefix``, is understood here but does not stay: it goes into the provider's first slot that takes it.
    """

    kind: Literal["header", "subprotocol", "query"]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9._-]+$")]
    scheme: str = ""
    except_prefix: str = ""
    only_prefix: str = ""

    @property
    def is_particular(self) -> bool:
        """Whether it is for one kind of credential, such as a signature, which is good nowhere else."""
        return self.kind == "query" or bool(self.only_prefix)

    def takes(self, value: str) -> bool:
        """Whether a credential that begins like this one may be written here."""
        return value.startswith(self.only_prefix) and not (self.except_prefix and value.startswith(self.except_prefix))

    def __str__(self) -> str:
        match self.kind:
            case "header":
                return f"the header {self.name}" + (f" ({self.scheme} ...)" if self.scheme else "")
            case "subprotocol":
                return f"the sub-protocol {self.name}..."
            case "query":
                return f"the query parameter {self.name}"


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a path goes that begins with ``path``, whose ``{names}`` fill the same names in ``base_url``.

    An empty ``path`` fits every one.
    """

    path: str
    base_url: str


class Realtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The provider's WebSocket surface.

    ``paths`` maps what a client may put after the slug to the upstream path, relative to ``base_url`` (the
    provider's own when empty); ``routes`` come next, for other hosts, and ``any_path`` relays what is left as it is.
    The parameter ``path_query`` names, where a client gives it, is the path instead. When a parameter named in
    ``exclusive_query`` is present, those listed with it are dropped. ``credential_slots`` are the provider's own when
    none are given. ``subprotocols`` are offered upstream besides the client's own. ``via_slug`` and ``via_slots`` are
    the provider's name and further places for its key at a Cloudflare AI Gateway, where they differ there.
    ``protocol`` says whose events its frames are. ``models`` maps names, or patterns such as ``gpt-4o-*``, of models
    that are retired to those that took their place: the first that fits replaces ``model`` in the query. A table
    ``[providers.X.realtime.models]`` in the settings takes the place of the packaged one.
    """

    paths: dict[str, str] = {}
    routes: tuple[Route, ...] = ()
    any_path: bool = False
    path_query: str = ""
    base_url: str = ""
    credential_slots: tuple[Slot, ...] = ()
    subprotocols: tuple[str, ...] = ()
    exclusive_query: dict[str, tuple[str, ...]] = {}
    via_slug: str = ""
    via_slots: tuple[Slot, ...] = ()
    protocol: Protocol = "openai"
    models: dict[str, str] = {}


class Via(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Cloudflare AI Gateway in front of a provider. ``base_url`` ends in its account and gateway.

    ``token`` opens it, where it is authenticated. ``realtime_key`` says in which slot it takes the provider's key on a
    WebSocket; ``auto`` finds out.
    """

    base_url: str
    token: str = ""
    realtime_key: Literal["auto", "header", "subprotocol", "query"] = "auto"

    def __repr__(self) -> str:
        return f"Via({self.base_url!r})"


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One provider: where to send a request, which credential goes where, and how its answers are read.

    ``tenants`` are the names in its hosts that say whose machine is meant, with the values for which a key of the
    gateway's own is good besides that in ``parameters``; ``*`` is any. ``version`` is a path segment such as ``v1``
    that clients put before the path or leave out: one is added or one duplicate removed, as ``base_url`` needs it.
    ``parameters`` fill names of templates that no path carries. ``chat_path``, ``models_path`` and
    ``client_secrets_path`` are relative to ``base_url`` and absent where the provider has no OpenAI-compatible surface
    of that kind; so is ``responses_path``, of OpenAI's Responses. ``unified`` says how the unified API asks it; left
    out, at ``chat_path`` where there is one. ``credential_slots``: the first is where a stored key is written; a
    caller's own key may stay in any of them. ``realtime`` is ``"cascade"`` when the local voice speaks for the
    provider's chat. ``stored_key`` and ``via`` come from settings only. ``public_only``: it is connected to at public
    addresses alone, whatever its host's name leads to, because its address was given over the network.
    """

    slug: str
    name: str
    base_url: str = ""
    aliases: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    version: str = ""
    parameters: dict[str, str] = {}
    tenants: dict[str, tuple[str, ...]] = {}
    headers: dict[str, str] = {}
    needs_key: bool = True
    credential_slots: tuple[Slot, ...] = (Slot("header", "authorization", "Bearer"),)
    query_keys: tuple[str, ...] = ()
    realtime: Realtime | Literal["cascade"] | None = None
    dialect: Dialect = "openai"
    usage: Usage = "openai"
    chat_path: str | None = None
    models_path: str | None = None
    responses_path: str | None = None
    unified: Literal["", Unified] = ""
    client_secrets_path: str | None = None
    stored_key: str = ""
    via: Via | None = None
    public_only: bool = False

    @property
    def is_cascade(self) -> bool:
        """Whether a text model becomes a voice through the local pipeline."""
        return self.realtime == "cascade"

    @property
    def unified_words(self) -> Unified:
        """How the unified API asks it."""
        return self.unified or ("none" if self.chat_path is None else "openai")

    @property
    def socket(self) -> Realtime | None:
        """The provider's own WebSocket surface, if it has one."""
        return None if isinstance(self.realtime, str) else self.realtime

    @property
    def has_realtime(self) -> bool:
        """Whether it can be spoken with in OpenAI's Realtime protocol, by its own voice or the local one."""
        return self.is_cascade or (self.socket is not None and self.socket.protocol == "openai")

    @property
    def query_names(self) -> frozenset[str]:
        """The query parameters in which the provider's own API takes a key."""
        slots = (*self.credential_slots, *(self.socket.credential_slots if self.socket is not None else ()))
        return frozenset(self.query_keys).union(slot.name for slot in slots if slot.kind == "query")

    def at(self, base_url: str) -> Provider:
        """Return the same provider at another address."""
        return msgspec.structs.replace(self, base_url=base_url, routes=())

    def __repr__(self) -> str:
        return f"Provider({self.slug!r})"
