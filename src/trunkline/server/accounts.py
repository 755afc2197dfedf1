"""Accounts as the running gateway sees them: who is signed in, and what makes and ends that.

Which browser is whose is known from memory, since every request asks; the database is the truth of it, read again
with the rest of the set-up whenever somebody changed something. Passwords and values of cookies and links are kept
nowhere, only their digests.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from trunkline.credentials import Caller
from trunkline.errors import SettingsError, SignInRefused, TooManyRequests
from trunkline.policy.accounts import Attempts, checked_name, checked_password, folded
from trunkline.policy.keys import digest_of
from trunkline.policy.roles import SCOPES
from trunkline.server.cookies import Cookie
from trunkline.settings import Settings
from trunkline.store import AWAY, Database, LoginToken, SignIn, User, Users, Vault
from trunkline.store.passwords import hash_password, is_outdated, is_password
from trunkline.store.vault import Unsealable

log = structlog.get_logger("trunkline.accounts")

SIGN_IN_PAGE: Final = "/login"
FIRST_LINK_SECONDS: Final = 3600
INVITATION_SECONDS: Final = 7 * 24 * 3600
RESET_SECONDS: Final = 24 * 3600

_SIGNED_IN_SECONDS: Final = 30 * 24 * 3600
_IDLE_SECONDS: Final = 7 * 24 * 3600
_KNOWN_SECONDS: Final = 180 * 24 * 3600
_KNOWN_BROWSER: Final = "known browser"
_NOTED_EVERY_SECONDS: Final = 60.0
# A hash takes 64 MiB and a tenth of a second of a core; more at once would only make each slower.
_HASHES_AT_ONCE: Final = 2
_HASHES_WAITING: Final = 32

Result = TypeVar("Result")


def sign_in_link(base: str, token: str) -> str:
    """Return a one-time link. The token stands behind ``#``, which browsers send to no server."""
    return f"{base}{SIGN_IN_PAGE}#{token}"


class Accounts:
    """Who is signed in. Before `start`, and while nobody has an account, nobody."""

    def __init__(self, settings: Settings) -> None:
        self._is_single_sign_on = bool(settings.oidc_issuer)
        self.cookie = Cookie("trunkline_sign_in", secure=settings.is_secure)
        self._users: dict[str, User] = {}
        self._sign_ins: dict[bytes, SignIn] = {}
        self._seen: dict[bytes, float] = {}
        self._unwritten: set[bytes] = set()
        self._noted_at = 0.0
        self._known_browser = Cookie("trunkline_known_browser", secure=settings.is_secure)
        self._vault: Vault | None = None
        self._attempts = Attempts()
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._waiting = 0
        self._stored: Users | None = None
        self._first_token = ""

    async def start(self, database: Database, vault: Vault) -> None:
        """Read the accounts; where there is none, make the link for the first."""
        self._stored = Users(database)
        self._vault = vault
        await self.load()
        if self.exist:
            return
        token = new_token()
        if await self._stored.offer_first_account(digest_of(token), time.time() + FIRST_LINK_SECONDS):
            self._first_token = token

    async def load(self) -> None:
        """Read the accounts again."""
        self._users, self._sign_ins = await self.stored.load(time.time())
        self._seen = {digest: at for digest, at in self._seen.items() if digest in self._sign_ins}

    @property
    def stored(self) -> Users:
        """The accounts in the database."""
        assert self._stored is not None
        return self._stored

    @property
    def exist(self) -> bool:
        """Whether anybody has an account."""
        return bool(self._users)

    @property
    def required(self) -> bool:
        """Whether the console's API asks people to sign in."""
        return self.exist or self._is_single_sign_on

    def take_first_token(self) -> str:
        """Return the one-time token for the first account, to be shown this once; empty where there is none."""
        token, self._first_token = self._first_token, ""
        return token

    # Who asks

    def signed_in(self, cookies: str | None) -> User | None:
        """Return whose browser sends a ``Cookie`` header, if it is signed in."""
        if not self._sign_ins:
            return None
        token = self.cookie.read(cookies)
        if token is None:
            return None
        digest, now = digest_of(token), time.time()
        found = self._sign_ins.get(digest)
        if found is None or found.expires_at <= now:
            return None
        if max(found.last_seen_at, self._seen.get(digest, 0.0)) + _IDLE_SECONDS <= now:
            return None
        self._seen[digest] = now
        self._unwritten.add(digest)
        user = self._users.get(found.user)
        return user if user is not None and user.disabled_at is None else None

    def why_dead(self, id: str) -> str:
        """Return why an account opens nothing more, in words that complete "the key that opened it"; empty if not."""
        user = self._users.get(id)
        if user is None:
            return "is of an account that is no more"
        if user.disabled_at is not None:
            return "is of an account that is disabled"
        return "" if "run" in SCOPES[user.role] else "is of an account that may only look"

    async def note_seen(self) -> None:
        """Write down, now and then, when browsers were last seen."""
        now = time.time()
        if not self._unwritten or now - self._noted_at < _NOTED_EVERY_SECONDS:
            return
        self._noted_at = now
        unwritten, self._unwritten = self._unwritten, set()
        try:
            await self.stored.saw({digest: self._seen[digest] for digest in unwritten if digest in self._seen})
        except AWAY as error:
            self._unwritten |= unwritten
            log.warning("when browsers were last seen is not written", why=type(error).__name__)

    # Signing in and out

    async def check_password(self, name: str, password: str, address: str, cookies: str | None) -> User:
        """Return who has this name and password. ``cookies`` tell a browser in which that name was signed in before.

        Raises `SignInRefused`, the same for a wrong name, a wrong password and a disabled account, and
        `TooManyRequests` after several wrong attempts.
        """
        browser = self._browser_known_to(name, cookies)
        wait = self._attempts.begin(name, address, time.monotonic(), browser)
        if wait:
            raise TooManyRequests(
                "Too many attempts to sign in failed. Try again in a moment.", retry_after=max(1, round(wait))
            )
        found = await self.stored.find(name)
        user, kept = found if found is not None else (None, None)
        is_right = await self._hashed(lambda: is_password(kept, password))
        if user is None or kept is None or not is_right or user.disabled_at is not None:
            # Without the name: people type passwords there by mistake.
            log.warning("a sign-in was refused", address=address)
            raise SignInRefused("The name or the password is wrong.")
        self._attempts.succeeded(name, address, browser)
        if is_outdated(kept):
            await self.stored.renew_hash(user.id, await self._hashed(lambda: hash_password(password)))
        return user

    def remembered(self, user: User) -> str:
        """Return the ``Set-Cookie`` value by which a browser is known as one in which this person signed in.

        It opens nothing: attempts to sign in from there are not held up by those of strangers.
        """
        assert self._vault is not None
        sealed = self._vault.seal(folded(user.name), _KNOWN_BROWSER)
        return self._known_browser.set(base64.urlsafe_b64encode(sealed).decode().rstrip("="), seconds=_KNOWN_SECONDS)

    def _browser_known_to(self, name: str, cookies: str | None) -> str:
        """Return what a browser is counted by in which this name was signed in; empty for any other."""
        shown = self._known_browser.read(cookies)
        if shown is None or self._vault is None:
            return ""
        try:
            sealed = base64.urlsafe_b64decode(shown + "=" * (-len(shown) % 4))
            is_theirs = self._vault.open(sealed, _KNOWN_BROWSER) == folded(name)
        except (ValueError, Unsealable):
            return ""
        return digest_of(shown).hex() if is_theirs else ""

    async def open(self, user: User, cookies: str | None) -> str:
        """Sign a browser in under a new cookie, whatever it had; return the ``Set-Cookie`` value.

        Raises `SignInRefused` for an account that was disabled meanwhile.
        """
        token = new_token()
        had = self.cookie.read(cookies)
        try:
            await self.stored.sign_in(
                user,
                digest_of(token),
                time.time() + _SIGNED_IN_SECONDS,
                instead_of=digest_of(had) if had is not None else None,
            )
        except SettingsError as error:
            raise SignInRefused(str(error)) from error
        return self.cookie.set(token, seconds=_SIGNED_IN_SECONDS)

    async def close(self, user: User, cookies: str | None) -> str:
        """Sign a browser out; return the ``Set-Cookie`` value that removes its cookie."""
        token = self.cookie.read(cookies)
        if token is not None:
            await self.stored.sign_out(user, digest_of(token))
        return self.cookie.remove()

    # Passwords and links

    async def new_hash(self, password: str, name: str) -> str:
        """Return what is kept of a new password. Raises `SettingsError` for one that is too weak."""
        checked = checked_password(password, name)
        return await self._hashed(lambda: hash_password(checked))

    async def token(self, value: str) -> LoginToken:
        """Return what a link is for. Raises `SignInRefused` when it is not good."""
        found = await self.stored.token(digest_of(value), time.time())
        if found is None:
            raise _not_good()
        return found

    async def redeem(self, value: str, password: str, name: str, id: str) -> User:
        """Use a link: set a password, and for the first account make it under ``name`` and ``id``.

        Raises `SignInRefused` when the link is not good, `SettingsError` for a name or password that cannot be used.
        """
        token = await self.token(value)
        owner = token.user.name if token.user is not None else checked_name(name)
        kept = await self.new_hash(password, owner)
        user = await self.stored.redeem(digest_of(value), kept, time.time(), name=owner, id=id)
        if user is None:
            raise _not_good()
        return user

    async def _hashed(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= _HASHES_WAITING:
            raise TooManyRequests("Many people sign in right now. Try again in a moment.", retry_after=5)
        self._waiting += 1
        try:
            async with self._hashing:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def caller_of(user: User) -> Caller:
    """Return the caller that a signed-in person is."""
    return Caller("user", user.name, id=user.id, scopes=SCOPES[user.role])


def new_token() -> str:
    """Return the value of a new cookie or link: 256 bits."""
    return secrets.token_urlsafe(32)


def _not_good() -> SignInRefused:
    return SignInRefused("This link was used, has expired, or was never one. Ask for another.")
