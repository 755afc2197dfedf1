"""The gateway's own client secrets: made, recognised, counted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from trunkline.credentials import Caller
from trunkline.errors import SpendCapReached, TooManySecrets, Unauthorized, first_line
from trunkline.policy.client_secrets import PREFIX, ClientSecret
from trunkline.policy.keys import digest_of
from trunkline.store import Configuration

log = structlog.get_logger("trunkline.broker")

_MAX_SECRETS: Final = 20_000
_SCOPES: Final = frozenset({"run"})
_REMEMBERED_SECONDS: Final = 3600


class Broker:
    """All live client secrets of this process, also kept in the database where there is one."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, ClientSecret] = {}
        self._by_id: dict[str, ClientSecret] = {}
        self._configuration: Configuration | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def start(self, configuration: Configuration, kept: Mapping[bytes, ClientSecret]) -> None:
        """Go on with the secrets that an earlier process kept."""
        self._configuration = configuration
        for digest, secret in kept.items():
            self._add(digest, secret)

    async def stop(self) -> None:
        """Return when every count is written down."""
        if self._writing:
            await asyncio.gather(*self._writing, return_exceptions=True)

    async def mint(self, secret: ClientSecret, now: float, *, in_memory: bool = False) -> str:
        """Keep a new client secret; return the value that opens it, which is kept nowhere.

        ``in_memory``: not beyond this process, because the key it holds was promised to stay there.
        """
        self._drop_expired(now)
        if len(self._secrets) >= _MAX_SECRETS:
            raise TooManySecrets("Too many client secrets are open on this gateway.", retry_after=60)
        value = PREFIX + secrets.token_hex(24)
        digest = digest_of(value)
        if self._configuration is not None and not in_memory:
            await self._configuration.keep_secret(digest, secret)
        self._add(digest, secret)
        return value

    def recognise(self, digest: bytes, now: float, parent_is_alive: Callable[[str], bool]) -> Caller | None:
        """Return who shows a secret: a caller whose ``refusal`` says so when it opens nothing any more."""
        secret = self._secrets.get(digest)
        if secret is None:
            return None
        refusal = secret.why_dead(now)
        if not refusal and not parent_is_alive(secret.parent):
            refusal = "was made with a gateway key that counts no more"
        return Caller(
            kind="client_secret",
            name=f"client secret {secret.id}",
            id=secret.id,
            gateway=secret.gateway,
            provider=secret.provider,
            models=tuple(secret.models),
            model=secret.model,
            scopes=_SCOPES,
            parent=secret.parent,
            refusal=refusal,
        )

    def secret(self, id: str) -> ClientSecret | None:
        """Return a live secret by its id."""
        return self._by_id.get(id)

    def claim(self, secret: ClientSecret) -> None:
        """Count one use. Raises `Unauthorized` when another request was faster."""
        if secret.is_spent or (secret.max_uses and secret.uses >= secret.max_uses):
            raise Unauthorized("The gateway refused this request: the client secret has been used up.")
        secret.uses += 1
        self._write(secret)

    def charge(self, secret: ClientSecret, cost: float) -> None:
        """Add what an exchange cost, in US dollars. Raises `SpendCapReached` when nothing is left."""
        secret.spent += cost
        self._write(secret)
        if secret.is_spent:
            raise SpendCapReached(
                f"The gateway ended this: its client secret may spend {secret.spend_cap:g} US dollars, and has. Ask"
                " the app's server for another."
            )

    def _add(self, digest: bytes, secret: ClientSecret) -> None:
        self._secrets[digest] = secret
        self._by_id[secret.id] = secret

    def _drop_expired(self, now: float) -> None:
        # Kept a while beyond its end, so that a page left open is told what happened.
        gone = [digest for digest, secret in self._secrets.items() if secret.expires_at + _REMEMBERED_SECONDS <= now]
        for digest in gone:
            self._by_id.pop(self._secrets.pop(digest).id, None)

    def _write(self, secret: ClientSecret) -> None:
        if self._configuration is None:
            return
        task = asyncio.create_task(self._count(self._configuration, secret))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _count(self, configuration: Configuration, secret: ClientSecret) -> None:
        try:
            await configuration.count_secret(secret)
        except SQLAlchemyError as error:
            log.error("a client secret's count was not written", id=secret.id, why=first_line(error))
