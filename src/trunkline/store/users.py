"""People who sign in: named reads and writes, each one transaction. Every change is in the audit log."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Row, delete, func, insert, or_, select, update

from trunkline.errors import SettingsError
from trunkline.policy.accounts import checked_name, folded
from trunkline.policy.roles import USER_PREFIX, Role
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.audit import Change, changing
from trunkline.store.conversations import Conversations
from trunkline.store.database import Database
from trunkline.store.schema.users import login_tokens, sign_ins, users

Purpose = Literal["first-admin", "invite", "reset"]

_ID_BYTES: Final = 8


class User(msgspec.Struct, frozen=True):
    """An account. ``issuer`` is that of OpenID Connect where the person signs in elsewhere; times are Unix seconds."""

    id: str
    name: str
    role: Role
    has_password: bool
    issuer: str
    created_at: float
    disabled_at: float | None
    last_login_at: float | None


class SignIn(msgspec.Struct, frozen=True):
    """A browser that is signed in."""

    user: str
    last_seen_at: float
    expires_at: float


class LoginToken(msgspec.Struct, frozen=True):
    """A link that is good once. ``user`` is None for the one that makes the first account."""

    purpose: Purpose
    user: User | None


class Users:
    """Accounts, who is signed in, and one-time links, of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[User]:
        """Return every account, by name."""
        async with self._database.reading() as connection:
            return [_user(row) for row in await connection.execute(select(users).order_by(users.c.folded))]

    async def load(self, now: float) -> tuple[dict[str, User], dict[bytes, SignIn]]:
        """Return the accounts by id, and by digest the sign-ins that have not expired."""
        async with self._database.reading() as connection:
            found = {row.id: _user(row) for row in await connection.execute(select(users))}
            live = await connection.execute(select(sign_ins).where(sign_ins.c.expires_at > now))
            return found, {row.digest: SignIn(row.user, row.last_seen_at, row.expires_at) for row in live}

    async def find(self, name: str) -> tuple[User, str | None] | None:
        """Return the account of a name, and the hash of its password; None when there is none."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(users).where(users.c.folded == folded(name)))).one_or_none()
        return None if row is None else (_user(row), row.password)

    async def named(self, name: str) -> User:
        """Return the account of a name. Raises `SettingsError` when there is none."""
        found = await self.find(name)
        if found is None:
            raise SettingsError(f"There is no account {name[:100]!r}; see `trunkline users list`.")
        return found[0]

    async def password_of(self, id: str) -> str | None:
        """Return the hash of an account's password."""
        async with self._database.reading() as connection:
            found: str | None = await connection.scalar(select(users.c.password).where(users.c.id == id))
            return found

    async def add(self, name: str, role: Role, password: str | None = None, *, id: str = "") -> User:
        """Make an account. ``password`` is a hash. Raises `SettingsError` when the name is taken or cannot be used."""
        change = Change("user.add", "user", id or new_user_id(), details={"name": name, "role": role.value})
        async with changing(self._database, change) as connection:
            return await _insert(connection, id=change.target_id, name=name, role=role, password=password)

    async def change_role(self, id: str, role: Role) -> User:
        """Give an account another role, and sign it out everywhere: no cookie comes to open more than it did.

        Raises `SettingsError` for the last administrator, or an unknown id.
        """
        change = Change("user.role", "user", id)
        async with changing(self._database, change) as connection:
            user = await _require(connection, id)
            change.details = {"name": user.name, "from": user.role.value, "to": role.value}
            if role is not Role.ADMIN:
                await _require_another_admin(connection, user)
            if role is not user.role:
                await _sign_out(connection, id)
            return await _update(connection, id, role=role.value)

    async def disable(self, id: str) -> User:
        """Let an account sign in no more, and sign it out everywhere. Raises as `change_role`."""
        change = Change("user.disable", "user", id)
        async with changing(self._database, change) as connection:
            user = await _require(connection, id)
            change.details = {"name": user.name}
            await _require_another_admin(connection, user)
            await _sign_out(connection, id)
            await connection.execute(delete(login_tokens).where(login_tokens.c.user == id))
            return await _update(connection, id, disabled_at=user.disabled_at or time.time())

    async def enable(self, id: str) -> User:
        """Let a disabled account sign in again. Raises `SettingsError` for an unknown id."""
        change = Change("user.enable", "user", id)
        async with changing(self._database, change) as connection:
            user = await _require(connection, id)
            change.details = {"name": user.name}
            return await _update(connection, id, disabled_at=None)

    async def delete(self, id: str) -> User:
        """Remove an account with its sign-ins, links and conversations. Raises as `change_role`."""
        change = Change("user.delete", "user", id)
        async with changing(self._database, change) as connection:
            user = await _require(connection, id)
            change.details = {"name": user.name, "role": user.role.value}
            await _require_another_admin(connection, user)
            await connection.execute(delete(users).where(users.c.id == id))
        await Conversations(self._database).delete(id, None)
        return user

    async def set_password(self, id: str, password: str) -> User:
        """Give an account another password, a hash, and sign it out everywhere."""
        change = Change("user.password", "user", id)
        async with changing(self._database, change) as connection:
            user = await _require(connection, id)
            change.details = {"name": user.name}
            await _sign_out(connection, id)
            await connection.execute(delete(login_tokens).where(login_tokens.c.user == id))
            return await _update(connection, id, password=password)

    async def renew_hash(self, id: str, password: str) -> None:
        """Keep the same password under a newer hash."""
        async with self._database.transaction() as connection:
            await connection.execute(update(users).where(users.c.id == id).values(password=password))

    # One-time links

    async def offer_first_account(self, digest: bytes, expires_at: float) -> bool:
        """Keep the link for the first account; return whether it may be made: not once there is an account."""
        async with self._database.transaction() as connection:
            if await connection.scalar(select(func.count()).select_from(users)):
                return False
            await connection.execute(delete(login_tokens).where(login_tokens.c.expires_at <= time.time()))
            await _keep_token(connection, digest, "first-admin", None, expires_at)
            return True

    async def invite(self, name: str, role: Role, digest: bytes, expires_at: float) -> User:
        """Make an account whose owner chooses a password by a link. Raises as `add`."""
        change = Change("user.invite", "user", new_user_id(), details={"name": name, "role": role.value})
        async with changing(self._database, change) as connection:
            user = await _insert(connection, id=change.target_id, name=name, role=role)
            await _keep_token(connection, digest, "invite", user.id, expires_at)
            return user

    async def offer_reset(self, id: str, digest: bytes, expires_at: float) -> User:
        """Keep a link by which the owner of an account chooses another password; older ones are void.

        Raises `SettingsError` for a disabled account, or one that signs in elsewhere.
        """
        change = Change("user.reset", "user", id)
        async with changing(self._database, change) as connection:
            user = await _require(connection, id)
            change.details = {"name": user.name}
            if user.issuer:
                raise SettingsError(f"{user.name} signs in at {user.issuer}, and has no password here.")
            if user.disabled_at is not None:
                raise SettingsError(f"The account of {user.name} is disabled; enable it first.")
            await connection.execute(delete(login_tokens).where(login_tokens.c.user == id))
            await _keep_token(connection, digest, "reset" if user.has_password else "invite", id, expires_at)
            return user

    async def token(self, digest: bytes, now: float) -> LoginToken | None:
        """Return what a link is for, or None when it is not good, or not any more."""
        async with self._database.reading() as connection:
            return await _token(connection, digest, now)

    async def redeem(self, digest: bytes, password: str, now: float, *, name: str = "", id: str = "") -> User | None:
        """Use a link: set a password, a hash, and for the first account its name and id. None when it is not good.

        Raises `SettingsError` for a name that cannot be used. Whoever was signed in as that account is so no more.
        """
        async with self._database.reading() as connection:  # an attempt that fails is no change
            if await _token(connection, digest, now) is None:
                return None
        change = Change("user.redeem", "user", id)
        async with changing(self._database, change) as connection:
            token = await _token(connection, digest, now)
            if token is None:
                raise SettingsError("The link was used just now.")
            await connection.execute(update(login_tokens).where(login_tokens.c.digest == digest).values(used_at=now))
            if token.user is None:
                user = await _insert(connection, id=id, name=name, role=Role.ADMIN, password=password)
                await connection.execute(delete(login_tokens).where(login_tokens.c.user.is_(None)))
            else:
                await _sign_out(connection, token.user.id)
                user = await _update(connection, token.user.id, password=password)
            change.target_id = user.id
            change.details = {"name": user.name, "link": token.purpose}
            return user

    # Signing in

    async def sign_in(self, user: User, digest: bytes, expires_at: float, *, instead_of: bytes | None = None) -> None:
        """Keep a sign-in, instead of the one that the browser had. Raises `SettingsError` for a disabled account."""
        now = time.time()
        change = Change("sign_in", "user", user.id, details={"name": user.name})
        async with changing(self._database, change) as connection:
            if (await _require(connection, user.id)).disabled_at is not None:
                raise SettingsError("This account is disabled.")
            gone = sign_ins.c.expires_at <= now
            if instead_of is not None:
                gone = or_(gone, sign_ins.c.digest == instead_of)
            await connection.execute(delete(sign_ins).where(gone))
            await connection.execute(
                insert(sign_ins).values(
                    digest=digest, user=user.id, created_at=now, last_seen_at=now, expires_at=expires_at
                )
            )
            await _update(connection, user.id, last_login_at=now)

    async def sign_out(self, user: User, digest: bytes) -> None:
        """End a sign-in."""
        change = Change("sign_out", "user", user.id, details={"name": user.name})
        async with changing(self._database, change) as connection:
            await connection.execute(delete(sign_ins).where(sign_ins.c.digest == digest))

    async def saw(self, seen: Mapping[bytes, float]) -> None:
        """Write down when browsers were last seen."""
        async with self._database.transaction() as connection:
            for digest, at in seen.items():
                await connection.execute(update(sign_ins).where(sign_ins.c.digest == digest).values(last_seen_at=at))

    async def from_issuer(self, issuer: str, subject: str, name: str, role: Role) -> User:
        """Return the account of somebody who signed in elsewhere, with the role given there; made when it is new.

        Raises `SettingsError` when the name is taken by another account: that two are one person nobody has said.
        """
        theirs = (users.c.oidc_issuer == issuer, users.c.oidc_subject == subject)
        async with self._database.reading() as connection:
            row = (await connection.execute(select(users).where(*theirs))).one_or_none()
        if row is not None and row.role == role.value:
            return _user(row)
        action = "user.add" if row is None else "user.role"
        target = new_user_id() if row is None else row.id
        change = Change(action, "user", target, details={"name": name, "role": role.value, "issuer": issuer})
        async with changing(self._database, change) as connection:
            if row is not None:
                await _sign_out(connection, target)
                return await _update(connection, target, role=role.value)
            return await _insert(connection, id=target, name=name, role=role, issuer=issuer, subject=subject)


def new_user_id() -> str:
    """Return the id of a new account."""
    return f"{USER_PREFIX}{secrets.token_hex(_ID_BYTES)}"


async def _insert(
    connection: AsyncConnection,
    *,
    id: str,
    name: str,
    role: Role,
    password: str | None = None,
    issuer: str | None = None,
    subject: str | None = None,
) -> User:
    name = checked_name(name)
    if await connection.scalar(select(users.c.id).where(users.c.folded == folded(name))):
        raise SettingsError(f"There is an account {name!r} already.")
    await connection.execute(
        insert(users).values(
            id=id,
            name=name,
            folded=folded(name),
            password=password,
            role=role.value,
            oidc_issuer=issuer,
            oidc_subject=subject,
            created_at=time.time(),
        )
    )
    return await _require(connection, id)


async def _update(connection: AsyncConnection, id: str, **values: Any) -> User:
    await connection.execute(update(users).where(users.c.id == id).values(**values))
    return await _require(connection, id)


async def _require(connection: AsyncConnection, id: str) -> User:
    row = (await connection.execute(select(users).where(users.c.id == id))).one_or_none()
    if row is None:
        raise SettingsError(f"There is no account with the id {id[:64]!r}.")
    return _user(row)


async def _require_another_admin(connection: AsyncConnection, user: User) -> None:
    """Raise `SettingsError` when this is the last administrator who can sign in."""
    can_come = or_(users.c.password.is_not(None), users.c.oidc_subject.is_not(None))
    others = select(users.c.id).where(
        users.c.role == Role.ADMIN.value, users.c.disabled_at.is_(None), users.c.id != user.id, can_come
    )
    is_admin = user.role is Role.ADMIN and user.disabled_at is None and bool(user.has_password or user.issuer)
    if is_admin and await connection.scalar(others.limit(1)) is None:
        raise SettingsError(f"{user.name} is the last administrator; make another one first.")


async def _sign_out(connection: AsyncConnection, id: str) -> None:
    await connection.execute(delete(sign_ins).where(sign_ins.c.user == id))


async def _keep_token(
    connection: AsyncConnection, digest: bytes, purpose: Purpose, user: str | None, expires_at: float
) -> None:
    now = time.time()
    await connection.execute(
        insert(login_tokens).values(digest=digest, purpose=purpose, user=user, created_at=now, expires_at=expires_at)
    )


async def _token(connection: AsyncConnection, digest: bytes, now: float) -> LoginToken | None:
    row = (await connection.execute(select(login_tokens).where(login_tokens.c.digest == digest))).one_or_none()
    if row is None or row.used_at is not None or row.expires_at <= now:
        return None
    if row.user is not None:
        user = await _require(connection, row.user)
        return None if user.disabled_at is not None else LoginToken(row.purpose, user)
    if await connection.scalar(select(func.count()).select_from(users)):
        return None
    return LoginToken(row.purpose, None)


def _user(row: Row[Any]) -> User:
    return User(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        has_password=row.password is not None,
        issuer=row.oidc_issuer or "",
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        last_login_at=row.last_login_at,
    )
