"""Who gets in, and whether the address that people use leads here."""

from __future__ import annotations

from urllib.parse import urlsplit

from trunkline.cli.doctor.findings import Notes
from trunkline.cli.doctor.installation import Installation
from trunkline.errors import ForbiddenOrigin
from trunkline.server.origins import Origins
from trunkline.settings import is_loopback_host
from trunkline.wire.head import Head, Transport


def access(it: Installation, notes: Notes) -> None:
    """Whether strangers are kept out, and whether somebody can sign in."""
    chosen = it.settings
    users = it.contents.users if it.contents else 0
    people = bool(users or chosen.oidc_issuer)
    rules = it.known.gateways.get(chosen.gateway)
    is_authenticated = chosen.authenticated or (rules is not None and rules.authenticated)
    is_published = not chosen.is_loopback or not is_loopback_host(urlsplit(chosen.public_url).hostname or "localhost")
    if is_published and not people and not is_authenticated:
        notes.fault(
            "The gateway can be reached from elsewhere, asks callers for no key, and has no accounts: whoever"
            " reaches it can spend its keys and change its set-up.",
            "Make an account (`trunkline users add NAME`) and have callers show a key"
            f" (`trunkline gateways set {chosen.gateway} --authenticated`), or set gateway_token.",
        )
    elif is_published and not people:
        notes.warning(
            "The gateway can be reached from elsewhere and has no accounts: whoever has its token or a key with"
            " the scope 'edit' can do everything, and the audit log has no names.",
            "Make the first account: `trunkline users login-link`, or `trunkline users add NAME`.",
        )
    elif not is_authenticated and is_published:
        notes.warning(
            f"The gateway {chosen.gateway} can be reached from elsewhere, and callers need no key for models.",
            f"`trunkline gateways set {chosen.gateway} --authenticated`, after making keys for them.",
        )
    else:
        accounts = f"{users} accounts" if users else "single sign-on" if people else "no accounts"
        callers = "callers show a key" if is_authenticated else "callers need none"
        reach = "from elsewhere" if is_published else "from this machine alone"
        notes.ok(f"It is reached {reach}; {callers}; {accounts}.")


def public_address(it: Installation, notes: Notes) -> None:
    """Whether public_url, allowed_hosts and allowed_origins fit each other and what stands before the gateway."""
    chosen = it.settings
    parts = urlsplit(chosen.public_url)
    if parts.hostname:
        asked = Head(Transport.HTTP, "GET", "/", "", [(b"host", parts.netloc.encode())])
        try:
            Origins(chosen).check_host(asked)
        except ForbiddenOrigin as error:
            notes.fault(
                f"Requests to {chosen.public_url} are refused: {error.message}",
                f'Set allowed_hosts = ["{parts.hostname}"].',
            )
        if chosen.tls != "off" and parts.scheme == "http":
            notes.warning(
                f"public_url is {chosen.public_url}, and the listener speaks TLS.", "Write https:// in public_url."
            )
    elif not chosen.is_loopback and chosen.tls == "off":
        notes.warning(
            f"The listener at {chosen.host} is plain HTTP, and no public_url names a proxy with TLS before it: keys can"
            " be read on the way.",
            "Set tls, or put a proxy with TLS before it and set public_url to its address.",
        )
    for name in chosen.allowed_hosts:
        if name != "*" and (urlsplit(f"//{name}").hostname or "") != name.strip("[]").lower():
            notes.fault(
                f"allowed_hosts has {name!r}, which fits no request.",
                "Write names alone, without scheme and port.",
            )
    for origin in chosen.allowed_origins:
        found = urlsplit(origin)
        if origin != "*" and (not found.scheme or not found.netloc or found.path.strip("/") or found.query):
            notes.fault(
                f"allowed_origins has {origin!r}, which no browser sends.", "Write https://HOST, with the port if any."
            )
    if not notes.findings:
        notes.ok(chosen.public_url or "No public_url: links show the address that a browser shows.")
