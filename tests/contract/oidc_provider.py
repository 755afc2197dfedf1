"""A small OpenID Connect provider on loopback: it signs real tokens, and is strict about what it is asked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID = "trunkline"
CLIENT_SECRET = "the-secret-of-the-client"


class Provider:
    """Knows one client and one person, who is always signed in. What it says of them is for the test to choose."""

    def __init__(self, redirect_uri: str = "") -> None:
        self.issuer = ""
        self.redirect_uris = {redirect_uri}
        self.claims: dict[str, Any] = {"sub": "person-1", "preferred_username": "ada", "groups": ["admins"]}
        self.algorithm = "RS256"
        self.named_issuer: str | None = None
        self.named_places: dict[str, str] = {}
        self.audience: Any = CLIENT_ID
        self.expires_in = 300
        self.nonce: str | None = None
        self.sends_kid = True
        self.refuses = False
        self.asked_for_keys = 0
        self.methods = ["client_secret_basic"]
        self._codes: dict[str, dict[str, str]] = {}
        self.rotate()

    def rotate(self) -> None:
        """Sign with new keys from now on, and know the old ones no more."""
        names = {"kid": secrets.token_hex(4)}, {"kid": secrets.token_hex(4)}
        self._rsa = RSAKey.generate_key(2048, {**names[0], "use": "sig"})
        self._ec = ECKey.generate_key("P-256", {**names[1], "use": "sig"})

    async def description(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.named_issuer or self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "token_endpoint_auth_methods_supported": self.methods,
                **self.named_places,
            }
        )

    async def keys(self, request: Request) -> Response:
        self.asked_for_keys += 1
        return JSONResponse(KeySet([self._rsa, self._ec]).as_dict(private=False))

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if asked.get("client_id") != CLIENT_ID or asked.get("redirect_uri") not in self.redirect_uris:
            return Response("unknown client or address", 400)
        back = {"state": asked["state"], "iss": self.issuer}
        complete = asked.get("response_type") == "code" and asked.get("code_challenge_method") == "S256"
        if self.refuses or not complete or not asked.get("nonce") or "openid" not in asked["scope"].split():
            return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({**back, 'error': 'access_denied'})}", 302)
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({**back, 'code': code})}", 302)

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self._codes.pop(form.get("code", ""), None)
        if not self._is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        same = asked is not None and form.get("redirect_uri") == asked["redirect_uri"]
        if asked is None or not same or challenge != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse(
            {"access_token": secrets.token_urlsafe(8), "token_type": "Bearer", "id_token": self._id_token(asked)}
        )

    def _is_client(self, request: Request, form: dict[str, str]) -> bool:
        if "client_secret_basic" in self.methods:
            expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
            return request.headers.get("authorization") == f"Basic {expected}"
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)

    def _id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "iat": now,
            "exp": now + self.expires_in,
            "nonce": asked["nonce"] if self.nonce is None else self.nonce,
            **self.claims,
        }
        if self.algorithm == "none":
            head, body = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"none"}', b"{}"))
            return f"{head}.{body}."
        if self.algorithm == "HS256":
            from joserfc.jwk import OctKey

            return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET))
        key = self._ec if self.algorithm.startswith("ES") else self._rsa
        header = {"alg": self.algorithm, **({"kid": key.kid} if self.sends_kid else {})}
        return jwt.encode(header, claims, key, algorithms=[self.algorithm])


@asynccontextmanager
async def oidc_provider() -> AsyncIterator[Provider]:
    """A running provider, whose client's address is still to be said."""
    provider = Provider()
    app = Starlette(
        routes=[
            Route("/realm/.well-known/openid-configuration", provider.description),
            Route("/realm/authorize", provider.authorize),
            Route("/realm/token", provider.token, methods=["POST"]),
            Route("/realm/keys", provider.keys),
        ]
    )
    listener = socket.create_server(("127.0.0.1", 0))
    provider.issuer = f"http://127.0.0.1:{listener.getsockname()[1]}/realm"
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        while not server.started:
            assert not serving.done(), serving.exception()
            await asyncio.sleep(0.005)
        yield provider
    finally:
        server.should_exit = True
        await serving
