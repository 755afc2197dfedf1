"""Where the gateway listens, what it shows there, and whether one is there already."""

from __future__ import annotations

import ssl
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509

import trunkline
from trunkline.cli.doctor.findings import Notes
from trunkline.cli.doctor.installation import Installation
from trunkline.cli.running_gateway import RunningGateway
from trunkline.errors import SettingsError
from trunkline.server.console import Console
from trunkline.server.serving import listen
from trunkline.settings import Settings, is_loopback_host

_SOON: Final = timedelta(days=21)
_SECONDS: Final = 5.0
_ANYWHERE: Final = ("0.0.0.0", "::")


def address(it: Installation, notes: Notes) -> None:
    """Whether the port is free, or a Trunkline is there, which version, and how it is."""
    place = f"{it.settings.host}:{it.settings.port}"
    try:
        with closing(listen(it.settings)):
            notes.ok(f"{place} is free.")
            return
    except SettingsError as error:
        why = str(error)
    try:
        # Without the token: who listens there is not known yet.
        stranger = RunningGateway("", "", replace(it.settings, gateway_token=""), timeout=_SECONDS)
        checks = stranger.get("/readyz")["checks"]
    except SettingsError as error:
        if "answered 503" in str(error):
            notes.warning(f"A Trunkline at {place} is about to stop.", "Wait until it has.")
        else:
            notes.fault(why, "See who has it (`ss -ltnp`), or choose another port.")
        return
    except (KeyError, TypeError):
        notes.fault(why, "Something listens there that is no Trunkline: choose another port, or stop it.")
        return
    version = _version_of(RunningGateway("", "", it.settings, timeout=_SECONDS))
    if not checks.get("database"):
        notes.fault(f"A Trunkline runs at {place}, and its database does not answer.", "Its log says why.")
    elif version and version != trunkline.__version__:
        notes.warning(
            f"Trunkline {version} runs at {place}; this one is {trunkline.__version__}.", "Restart it after an upgrade."
        )
    else:
        notes.ok(f"Trunkline {version or '(its version is for those who may see it)'} runs at {place}, and is well.")


def tls(it: Installation, notes: Notes) -> None:
    """Whether the listener's certificate can be used, fits its key and names, and for how long."""
    match it.settings.tls:
        case "off":
            notes.ok("Off: the listener is plain HTTP.")
        case "local":
            authority = it.settings.data_dir / "tls" / "authority.pem"
            if authority.is_file():
                _look_at_certificate(authority, it.settings, notes, names=False)
            else:
                notes.ok("`serve` makes an authority and a certificate.")
        case _:
            _look_at_pair(it.settings, notes)


def console(it: Installation, notes: Notes) -> None:
    """Whether the console's files are there."""
    build = Console(lambda: ()).build
    if build:
        notes.ok(f"Its files are there (build {build[:12]}).")
    else:
        notes.warning(
            "This installation was built without the console.",
            "Install a wheel, which has it; in a checkout `make run` builds it.",
        )


def _version_of(gateway: RunningGateway) -> str:
    """Return the version of a running gateway, or nothing where it is not told to whoever asks."""
    try:
        said: dict[str, Any] = gateway.get("/api/config")
    except SettingsError:
        return ""
    return str(said.get("version", ""))


def _look_at_pair(chosen: Settings, notes: Notes) -> None:
    certificate, key = chosen.tls_certificate, chosen.tls_key
    if certificate is None or key is None:
        notes.fault("tls = files needs tls_certificate and tls_key.", "Name both.")
        return
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            notes.fault(f"{path} cannot be read: {error.strerror}.", "Name a file that the gateway's user can read.")
            return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        what = "do not fit each other" if "MISMATCH" in (error.reason or "") else "are no certificate and key in PEM"
        notes.fault(f"{certificate} and {key} {what}.", "Name the chain (the own certificate first) and its own key.")
        return
    _look_at_certificate(certificate, chosen, notes, names=True)


def _look_at_certificate(path: Path, chosen: Settings, notes: Notes, *, names: bool) -> None:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    end = certificate.not_valid_after_utc
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= end:
        notes.fault(
            f"{path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to {end:%Y-%m-%d}, and not now.",
            "Renew it; of an authority of `tls = local`, delete the folder tls and trust the new one.",
        )
    elif end - now < _SOON:
        notes.warning(f"{path} ends on {end:%Y-%m-%d %H:%M} UTC.", "Renew it, and restart the gateway.")
    wanted = {urlsplit(chosen.public_url).hostname, chosen.host} - {None, "", *_ANYWHERE}
    missing = sorted(str(name) for name in wanted if not _covers(certificate, str(name))) if names else []
    if missing:
        notes.warning(
            f"{path} is not for {', '.join(missing)}, but for {', '.join(_names(certificate)) or 'no name'}.",
            "Clients refuse it under other names: use one that has them, or set host and public_url to its names.",
        )
    if not notes.findings:
        notes.ok(f"{path} is valid until {end:%Y-%m-%d}.")


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _covers(certificate: x509.Certificate, host: str) -> bool:
    names = [name.lower() for name in _names(certificate)]
    # A listener on loopback is what a proxy on this machine dials, which need not look at names.
    return is_loopback_host(host) or host.lower() in names or f"*.{host.lower().partition('.')[2]}" in names
