"""The gateway: the one place where its parts are put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from trunkline.errors import (
    LocalError,
    MalformedRequest,
    NotPermitted,
    SettingsError,
    UnknownProvider,
    UpstreamError,
    first_line,
)
from trunkline.local.supervisor import LocalWorker
from trunkline.policy.logging import LoggingRules
from trunkline.policy.models import models_in_upgrade
from trunkline.policy.price_list import use_price_list
from trunkline.policy.sessions import LONGEST_WINDOW
from trunkline.providers import (
    Catalogue,
    Provider,
    Slot,
    UpstreamTarget,
    chained_http,
    chained_realtime,
    chained_slots,
    custom_provider,
    resolve_http,
    resolve_realtime,
)
from trunkline.providers.schema import Protocol
from trunkline.server.admission import Admission, Doorkeeper, ProviderKey, sits_in
from trunkline.server.attempts import Attempts
from trunkline.server.caching import Caching
from trunkline.server.chaining import KnownSlots
from trunkline.server.clock import steady_time
from trunkline.server.drain import Drain
from trunkline.server.guarding import Guards
from trunkline.server.health import Health
from trunkline.server.ledger import Ledger
from trunkline.server.limiting import Limiter, counters_for
from trunkline.server.live_sessions import LiveSessions
from trunkline.server.logbook import Logbook
from trunkline.server.observability import Observability
from trunkline.server.observing import make_readable
from trunkline.server.origins import Origins
from trunkline.server.outgoing import OutgoingCall, compose
from trunkline.server.registry import LiveRegistry
from trunkline.server.session_keeper import SessionKeeper
from trunkline.server.sessions import Sessions
from trunkline.server.similarity import LocalEmbeddings, Similarity
from trunkline.settings import Settings
from trunkline.store import (
    Configuration,
    Database,
    Journal,
    LogRecord,
    LogRow,
    Logs,
    RealtimeSessions,
    Vault,
    usage_since,
)
from trunkline.store.analytics import Analytics
from trunkline.store.cache import open_cache
from trunkline.store.conversations import Conversations
from trunkline.store.journal import Fsync, Policy
from trunkline.store.log_record import encoded
from trunkline.store.rollups import Rollups
from trunkline.store.valkey import Valkey
from trunkline.upstream.address import parse
from trunkline.upstream.http import HttpPool, Request, head_lines
from trunkline.upstream.timeouts import Timeouts
from trunkline.wire.head import Head, Transport
from trunkline.wire.refusal import Dialect
from trunkline.wire.subprotocols import is_token

if TYPE_CHECKING:
    from trunkline.upstream.websocket import Dialer

log = structlog.get_logger("trunkline.gateway")

# In whose words a refusal is put among frames of a protocol.
_DIALECTS: Final[dict[Protocol, Dialect]] = {
    "openai": Dialect.OPENAI,
    "google": Dialect.GOOGLE,
    "elevenlabs": Dialect.ELEVENLABS,
    "deepgram": Dialect.DEEPGRAM,
    "cartesia": Dialect.CARTESIA,
    "none": Dialect.OPENAI,
}


def choose_prices(settings: Settings) -> None:
    """From now on let the prices count that the settings name. Raises `SettingsError` for a file that has none."""
    path = settings.prices_file
    try:
        use_price_list(path.read_bytes() if path is not None else None)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"prices_file: {path} cannot be used as a list of prices ({first_line(error)}). Take the"
            " price_list.json of a newer Trunkline, or leave the setting out."
        ) from error


class Gateway:
    """One account's gateways and what they stand on. Start and stop belong to the application's lifespan."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalogue = Catalogue.build(settings.providers)
        self._customs: dict[str, tuple[Mapping[str, Any], Provider | None]] = {}
        self.origins = Origins(settings)
        self.sessions = Sessions(settings.account, settings.gateway, secure=settings.is_secure)
        self.worker = LocalWorker(settings.data_dir, settings.local_model)
        self.registry = LiveRegistry(settings)
        self.accounts = self.registry.accounts
        self.doorkeeper = Doorkeeper(
            settings, self.catalogue, self.origins, self.sessions, self.registry, self.worker.key
        )
        self.known_slots = KnownSlots()
        self.ledger = Ledger()
        self.live = LiveSessions()
        self.keeper = SessionKeeper(self.live)
        self.conversations: Conversations
        self.journal: Journal
        self.logs: Logs
        self.analytics: Analytics
        self.rollups = Rollups()
        self.drain: Drain
        self.observability = Observability(self._gauges, self._counters)
        self.logbook = Logbook(settings, self.catalogue, self.registry, lambda record: self.journal.append(record))
        self.logbook.on_record(self.observability.take)
        self.logbook.on_record(self.observability.metrics.take, kept=False)
        timeouts = Timeouts(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout)
        self.http = HttpPool(timeouts=timeouts, max_connections_per_origin=settings.max_connections)
        self.health = Health()
        self.attempts = Attempts(self.http, self.health, self.doorkeeper, self.catalogue)
        self.valkey = Valkey.open(settings.valkey_url) if settings.valkey_url else None
        self.limiter = Limiter(counters_for(settings, self.valkey), self.http, settings.custom_provider_hosts)
        cache = open_cache(
            settings.data_dir,
            memory_bytes=settings.cache_memory << 20,
            disk_bytes=settings.cache_disk << 20,
            valkey=self.valkey,
        )
        self.caching = Caching(cache, self.registry, Similarity(LocalEmbeddings(self.worker, self.http)))
        self.guards = Guards(self)

    @cached_property
    def dialer(self) -> Dialer:
        """What opens WebSockets to providers."""
        from trunkline.upstream.websocket import Dialer  # late: its library takes a while, and chats need none

        return Dialer(timeouts=self.http.timeouts)

    async def start(self) -> None:
        """Read the set-up. Raises `SettingsError` when it cannot be read."""
        choose_prices(self.settings)
        await self.registry.start()
        now = steady_time()
        self.ledger = Ledger(await usage_since(self.database, now - LONGEST_WINDOW), now)
        self.keeper.start(RealtimeSessions(self.database))
        self.conversations = Conversations(self.database)
        self._start_log(self.database)
        self._know_providers()
        self.registry.on_change(self._know_providers)
        self.registry.on_change(self._judge_sessions)
        await self.limiter.start(self.database)
        await self.caching.start()
        self.observability.start(self.settings, self.http)

    async def close(self) -> None:
        """Close all connections and the database, and end the worker."""
        await self.keeper.stop()
        await self.caching.close()
        await self.limiter.close()
        if self.valkey is not None:
            await self.valkey.close()
        await self.drain.stop()
        await self.rollups.stop()
        self.journal.close()
        await self.registry.stop()
        await self.observability.close()
        await self.http.aclose()
        await self.worker.stop()

    @property
    def database(self) -> Database:
        """The database. It is there from the start on, as are the next two."""
        assert self.registry.database is not None
        return self.registry.database

    @property
    def configuration(self) -> Configuration:
        """The set-up in the database."""
        assert self.registry.configuration is not None
        return self.registry.configuration

    @property
    def vault(self) -> Vault:
        """What seals provider keys."""
        assert self.registry.vault is not None
        return self.registry.vault

    async def log_row(self, id: str, gateway: str | None) -> LogRow | None:
        """Return a row of the log, of one gateway or of any, also one that still waits in the journal."""
        row = await self.logs.get(id, gateway)
        if row is None:
            await self.drain.flush()
            row = await self.logs.get(id, gateway)
        return row

    def _start_log(self, database: Database) -> None:
        self.journal = Journal.open(
            self.settings.data_dir / "journal",
            limit_bytes=self.settings.journal_limit << 20,
            policy=cast(Policy, self.settings.journal_policy),
            fsync=cast(Fsync, self.settings.journal_fsync),
        )
        self.analytics = Analytics(database)
        self.rollups.start(database)
        self.logs = Logs(database, [self.rollups.add], rules_of=self._logging_rules, on_rejected=self._set_aside)
        self.drain = Drain(self.journal, self.logs, self._all_logging_rules)
        self.drain.start()

    def _logging_rules(self, gateway: str) -> LoggingRules | None:
        rules = self.registry.rules(gateway)
        return rules.logging if rules is not None else None

    def _all_logging_rules(self) -> list[tuple[str, LoggingRules]]:
        return [(name, rules.logging) for name, rules in self.registry.now.gateways.items()]

    def _set_aside(self, record: LogRecord) -> None:
        self.journal.set_aside(encoded(record))

    def _know_providers(self) -> None:
        """Take up the custom providers of the set-up. One that cannot be used does not keep the others out."""
        known: dict[str, tuple[Mapping[str, Any], Provider | None]] = {}
        for name, table in self.registry.now.providers.items():
            before = self._customs.get(name)
            known[name] = before if before is not None and before[0] is table else (table, self._custom(name, table))
        self._customs = known
        self.catalogue.add(provider for _, provider in known.values() if provider is not None)

    def _custom(self, name: str, table: Mapping[str, Any]) -> Provider | None:
        try:
            return custom_provider(name, table, self.settings.custom_provider_hosts)
        except SettingsError as error:
            log.warning("a custom provider cannot be used", provider=name, why=str(error))
            return None

    def _judge_sessions(self) -> None:
        """Judge every open session again: its key may be revoked, its limits may be others."""
        for session in self.live.all():
            session.judge()

    def _gauges(self) -> dict[str, float]:
        """What `Metrics` shows of this moment."""
        journal = self.journal.stats()
        return {
            "open_sessions": len(self.live.all()),
            "journal_bytes": journal.bytes,
            "journal_waiting_bytes": journal.waiting_bytes,
            "journal_segments": journal.segments,
        }

    def _counters(self) -> dict[str, float]:
        """What `Metrics` shows of what was counted elsewhere since the start."""
        journal = self.journal.stats()
        return {
            "journal_records_appended": journal.appended,
            "journal_records_drained": journal.drained,
            "journal_records_refused": journal.refused,
            "journal_records_dropped": journal.dropped,
            "journal_records_torn": journal.torn,
            "journal_records_set_aside": journal.set_aside,
            "journal_damaged_places": journal.corrupt,
            "log_rows_not_kept": sum(self.logs.not_kept.values()),
            "headers_ignored": self.logbook.ignored.total(),
            **self.limiter.counts(),
        }

    def dialect_of(self, head: Head) -> Dialect:
        """Return whose error object the client of a head expects: on a WebSocket, that of the frames spoken there."""
        try:
            provider = self.doorkeeper.provider_of(head)
        except MalformedRequest:
            provider = None
        if provider is None:
            return Dialect.OPENAI
        if head.transport is Transport.WEBSOCKET and provider.socket is not None:
            return _DIALECTS[provider.socket.protocol]
        return Dialect(provider.dialect)

    async def outgoing_request(self, head: Head, admission: Admission) -> Request:
        """Return the provider's request for an admitted head; its body is still to be filled in."""
        return self._request(head, admission, await self._address(admission, admission.rest))

    async def relayed_request(self, head: Head, admission: Admission, *, plain: bool) -> Request:
        """As `outgoing_request`, for an answer that is read beside its way; worked out once for heads alike.

        ``plain``: the answer must not be compressed.
        """
        known: Request | None = admission.known(head, (Request, plain))
        if known is not None:
            return known
        request = await self.outgoing_request(head, admission)
        make_readable(request, plain=plain)
        request.lines = head_lines(request)
        # The address of the local worker changes with it.
        is_local = admission.provider.slug == "local"
        return request if is_local else admission.remember(head, (Request, plain), request)

    async def chat_request(self, head: Head, admission: Admission) -> Request:
        """Return a request to the OpenAI-compatible chat completions of an admitted head's provider."""
        provider = admission.provider
        if provider.chat_path is None:
            raise UnknownProvider(f"{provider.name} has no OpenAI-compatible chat completions to speak with.")
        return self._request(head, admission, await self._address(admission, provider.chat_path))

    async def outgoing_calls(self, head: Head, admission: Admission) -> list[OutgoingCall]:
        """Return where to dial for an admitted WebSocket head: the calls to try, in order, until one is taken."""
        provider, via = admission.provider, admission.via
        if provider.is_cascade:
            return [await self._cascade_call(head)]
        if via is None:
            target = resolve_realtime(await self.located(provider), admission.rest, head.query)
        else:
            target = chained_realtime(provider, via, admission.rest, head.query)
        socket = provider.socket
        if target is None or socket is None:
            raise UnknownProvider(f"{provider.name} has no WebSocket at {admission.rest!r}.")
        admission.check_models(models_in_upgrade(provider.slug, admission.rest, head.query))
        key = admission.key
        if via is None or key is None or _stays(key, socket.credential_slots):
            return [self._call(head, admission, target, socket.credential_slots)]
        slots = self.known_slots.in_order(admission, _able_to_carry(key, chained_slots(provider, via)))
        return [self._call(head, admission, target, (slot,), slot if len(slots) > 1 else None) for slot in slots]

    def _call(
        self,
        head: Head,
        admission: Admission,
        target: UpstreamTarget,
        slots: Sequence[Slot],
        tried: Slot | None = None,
    ) -> OutgoingCall:
        socket = admission.provider.socket
        offered = _merged(socket.subprotocols if socket is not None else (), head.subprotocols)
        _check_tenant(admission, target)
        outgoing = compose(head, admission, slots, query=target.query, subprotocols=offered)
        origin, path = parse(target.url, public_only=target.public_only)
        return OutgoingCall(
            origin, _with_query(path, outgoing.query), outgoing.headers, outgoing.subprotocols, slot=tried
        )

    async def _cascade_call(self, head: Head) -> OutgoingCall:
        origin, path = parse(await self._worker_url())
        headers = [
            (b"authorization", f"Bearer {self.worker.key}".encode()),
            (b"x-trunkline-brain", b"remote"),
        ]
        return OutgoingCall(origin, _with_query(f"{path}/realtime", head.query), headers, ["realtime"], cascade=True)

    async def _address(self, admission: Admission, rest: str) -> UpstreamTarget:
        if admission.via is not None:
            return chained_http(admission.provider, admission.via, rest)
        return resolve_http(await self.located(admission.provider), rest)

    def _request(self, head: Head, admission: Admission, target: UpstreamTarget) -> Request:
        _check_tenant(admission, target)
        outgoing = compose(head, admission, admission.provider.credential_slots)
        origin, path = parse(target.url, public_only=target.public_only)
        return Request(
            method=head.method.encode(),
            origin=origin,
            target=_with_query(path, outgoing.query),
            headers=outgoing.headers,
            body=None,
            content_length=None,
        )

    async def located(self, provider: Provider) -> Provider:
        """Fill in the address of the local worker, which is started on first use."""
        return provider.at(await self._worker_url()) if provider.slug == "local" else provider

    async def _worker_url(self) -> str:
        try:
            await self.worker.ensure_started()
        except LocalError as error:
            raise UpstreamError(f"The local provider cannot answer: {error}") from error
        return self.worker.base_url


def _check_tenant(admission: Admission, target: UpstreamTarget) -> None:
    """Raise `NotPermitted` where a key that its user does not have would go to a machine of that user's choice."""
    key = admission.key
    if not target.tenant or key is None or key.source in ("caller", "session"):
        return
    name, _, value = target.tenant.partition(" = ")
    if value in admission.own_path.split("/"):
        return
    slug = admission.provider.slug
    raise NotPermitted(
        f"The gateway sends its own key for {admission.provider.name} to no {name} but those of its settings. If"
        f" {value!r} is meant, whoever runs the gateway adds it to [providers.{slug}.tenants] {name} = [...], or names"
        f" it in [providers.{slug}.parameters]."
    )


def _stays(key: ProviderKey, slots: Sequence[Slot]) -> bool:
    """Whether the caller's credential is of a kind that is good only where it is: no other slot is tried for it."""
    found = key.candidate
    return found is not None and any(slot.is_particular and sits_in(found, slot) for slot in slots)


def _able_to_carry(key: ProviderKey, slots: Sequence[Slot]) -> Sequence[Slot]:
    """Leave out sub-protocols for a key that none can carry, unless there is nothing else: that is then refused."""
    able = [slot for slot in slots if slot.kind != "subprotocol" or is_token(key.value)]
    return able or slots


def _with_query(path: str, query: str) -> bytes:
    return f"{path}?{query}".encode("latin-1") if query else path.encode("latin-1")


def _merged(first: Sequence[str], then: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *then]))
