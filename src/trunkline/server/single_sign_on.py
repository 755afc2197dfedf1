"""Signing in at an OpenID Connect provider: the authorization code flow with PKCE, and the ID token verified.

Between the two requests of a sign-in nothing is kept here: what the second must know is sealed in a cookie, which binds
the answer to the browser that asked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import structlog

from trunkline.errors import NotPermitted, SettingsError, SignInRefused
from trunkline.policy.accounts import LONGEST_NAME
from trunkline.policy.roles import ClaimRules, Role
from trunkline.server.cookies import Cookie
from trunkline.settings import Settings, is_private_address
from trunkline.store import Vault
from trunkline.store.vault import Unsealable

log = structlog.get_logger("trunkline.single_sign_on")

# Signatures by a key of the provider's alone. One with the client's secret could be made by anybody who has that.
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
_PENDING_SECONDS: Final = 600
_TIMEOUT_SECONDS: Final = 10.0
_FRESH_SECONDS: Final = 3600.0
# A token signed with an unknown key may mean that the keys were changed; strangers must not make the gateway ask often.
_KEYS_AGAIN_SECONDS: Final = 10.0
_LEEWAY_SECONDS: Final = 60
_PLACE: Final = "single sign-on"


class Identity(msgspec.Struct, frozen=True):
    """Who signed in at the provider, and the role that is theirs here."""

    issuer: str
    subject: str
    name: str
    role: Role


class SingleSignOn:
    """One provider. Raises `SettingsError` when the packages for it are missing."""

    def __init__(self, settings: Settings) -> None:
        if any(find_spec(name) is None for name in ("authlib", "httpx", "joserfc")):  # an extra
            raise SettingsError(
                "oidc_issuer is set, and packages for single sign-on are missing: pip install 'trunkline[oidc]'"
            )
        self.issuer = settings.oidc_issuer
        self.host = urlsplit(self.issuer).netloc
        self.cookie = Cookie("trunkline_single_sign_on", secure=settings.is_secure, same_site="Lax")
        self._client_id = settings.oidc_client_id
        self._client_secret = settings.oidc_client_secret
        self._scope = " ".join(dict.fromkeys(["openid", *settings.oidc_scopes]))
        self._rules = ClaimRules(
            settings.oidc_role_claim,
            {Role.ADMIN: settings.oidc_admin, Role.EDITOR: settings.oidc_editor, Role.VIEWER: settings.oidc_viewer},
            None if settings.oidc_default_role == "none" else Role(settings.oidc_default_role),
        )
        self._asking = asyncio.Lock()
        self._described: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, Any] | None = None

    async def begin(self, redirect_uri: str, vault: Vault) -> tuple[str, str]:
        """Return the provider's address to send a browser to, and a ``Set-Cookie`` value for the way back.

        Raises `SignInRefused` when the provider cannot be asked.
        """
        described = await self._description()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        async with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                described["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        pending = {"state": state, "nonce": nonce, "verifier": verifier, "until": time.time() + _PENDING_SECONDS}
        sealed = base64.urlsafe_b64encode(vault.seal(json.dumps(pending), _PLACE)).decode().rstrip("=")
        return url, self.cookie.set(sealed, seconds=_PENDING_SECONDS)

    async def finish(self, query: Mapping[str, str], cookies: str | None, redirect_uri: str, vault: Vault) -> Identity:
        """Return who a provider says has signed in, from the query it sent the browser back with.

        Raises `SignInRefused` when that is not what was asked for, or not verified; `NotPermitted` for somebody whose
        claims give no role.
        """
        pending = self._pending(cookies, vault)
        if pending is None or not secrets.compare_digest(query.get("state", ""), pending["state"]):
            raise SignInRefused("This browser did not ask to sign in there, or too long ago. Begin again.")
        if query.get("iss", self.issuer) != self.issuer:
            raise SignInRefused("The answer comes from another provider than the one that was asked.")
        if "code" not in query:
            raise SignInRefused(f"The provider refused: {query.get('error', 'it sent no code')[:100]}.")
        claims = await self._claims(query["code"], pending, redirect_uri)
        role = self._rules.role(claims)
        if role is None:
            raise NotPermitted("The provider knows this person, and gives no role on this gateway.")
        return Identity(self.issuer, claims["sub"], _name(claims), role)

    def _pending(self, cookies: str | None, vault: Vault) -> dict[str, Any] | None:
        sealed = self.cookie.read(cookies)
        if sealed is None:
            return None
        try:
            value = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            pending: dict[str, Any] = json.loads(vault.open(value, _PLACE))
        except (binascii.Error, ValueError, Unsealable):
            return None
        return pending if pending["until"] > time.time() else None

    async def _claims(self, code: str, pending: Mapping[str, Any], redirect_uri: str) -> dict[str, Any]:
        from authlib.common.errors import AuthlibBaseError
        from httpx import HTTPError
        from joserfc.errors import InvalidKeyIdError, JoseError

        described = await self._description()
        try:
            async with self._client(redirect_uri) as client:
                answer = await client.fetch_token(
                    described["token_endpoint"], code=code, code_verifier=pending["verifier"]
                )
        except (AuthlibBaseError, HTTPError, ValueError) as error:
            raise _failed("did not take the code", error) from error
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInRefused("The provider sent no ID token.")
        try:
            try:
                return self._verified(token, await self._key_set(), pending["nonce"])
            except InvalidKeyIdError:
                return self._verified(token, await self._key_set(again=True), pending["nonce"])
        except (JoseError, ValueError) as error:
            raise _failed("sent an ID token that is not good", error) from error

    def _verified(self, token: str, keys: Any, nonce: str) -> dict[str, Any]:
        from joserfc import jwt

        claims: dict[str, Any] = jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self._client_id},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        registry.validate(claims)
        audience = claims["aud"]
        others = isinstance(audience, list) and len(audience) > 1
        if claims.get("azp", None if others else self._client_id) != self._client_id:
            raise ValueError("it was issued to another client")
        if not 1 <= len(claims["sub"]) <= 255:
            raise ValueError("its subject has no length that one may have")
        return claims

    async def _description(self) -> dict[str, Any]:
        """Return the provider's own description of itself, asked for once an hour."""
        async with self._asking:
            if self._described is not None and time.monotonic() - self._described[0] < _FRESH_SECONDS:
                return self._described[1]
            found = await self._get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise SignInRefused("The provider calls itself by another name than the setting oidc_issuer does.")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not isinstance(found.get(name), str):
                    raise SignInRefused(f"The provider's description of itself lacks {name}.")
                if not is_private_address(found[name].partition("?")[0]):
                    raise SignInRefused(f"The provider's {name} is not protected by TLS.")
            self._described = (time.monotonic(), found)
            return found

    async def _key_set(self, *, again: bool = False) -> Any:
        from joserfc.jwk import KeySet

        described = await self._description()
        async with self._asking:
            age = time.monotonic() - self._keys[0] if self._keys is not None else None
            if self._keys is not None and age is not None and age < (_KEYS_AGAIN_SECONDS if again else _FRESH_SECONDS):
                return self._keys[1]
            document: Any = await self._get(described["jwks_uri"])
            self._keys = (time.monotonic(), KeySet.import_key_set(document))
            return self._keys[1]

    async def _get(self, url: str) -> dict[str, Any]:
        import httpx

        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as client:
                answer = await client.get(url, headers={"accept": "application/json"})
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _failed("cannot be asked", error) from error
        if not isinstance(found, dict):
            raise SignInRefused("The provider did not answer with a JSON object.")
        return found

    def _client(self, redirect_uri: str) -> Any:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        return AsyncOAuth2Client(
            client_id=self._client_id,
            client_secret=self._client_secret or None,
            token_endpoint_auth_method=self._authentication(),
            scope=self._scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=_TIMEOUT_SECONDS,
        )

    def _authentication(self) -> str:
        if not self._client_secret:
            return "none"
        offered = (self._described[1] if self._described else {}).get("token_endpoint_auth_methods_supported")
        basic, post = "client_secret_basic", "client_secret_post"
        return post if isinstance(offered, list) and post in offered and basic not in offered else basic


def _name(claims: Mapping[str, Any]) -> str:
    # An address that the provider has not verified may be somebody else's.
    names = [claims.get("email") if claims.get("email_verified") is True else None]
    names += [claims.get("preferred_username"), claims.get("name"), claims["sub"]]
    return next(name for name in names if isinstance(name, str) and name.strip())[:LONGEST_NAME]


def _failed(what: str, error: Exception) -> SignInRefused:
    # The reason may quote what the provider sent, a token among it: its kind is enough to find out more.
    log.warning("single sign-on failed", what=what, error=type(error).__name__)
    return SignInRefused(f"The provider {what} ({type(error).__name__}).")
