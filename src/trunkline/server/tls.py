"""TLS for the listener: a local certificate authority made once, or the user's own files.

Some clients (npm ``openai`` among them) speak only ``wss:``. ``tls = local`` gives a laptop a certificate for its
loopback names, signed by an authority whose key never leaves the data directory and that the user trusts once.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from trunkline.errors import SettingsError
from trunkline.settings import Settings

# Browsers refuse leaf certificates that are valid for longer than 825 days; ours is made anew at each start.
_LEAF_DAYS = 90


class TlsFiles(msgspec.Struct, frozen=True):
    """What the listener needs; ``authority`` is the certificate a client must trust, when it is our own."""

    certificate: Path
    key: Path
    authority: Path | None


def prepare(settings: Settings) -> TlsFiles | None:
    """Return the listener's certificate files, made when needed, or None when TLS is off.

    Raises `SettingsError` when a named file cannot be read.
    """
    if settings.tls == "off":
        return None
    if settings.tls == "files":
        assert settings.tls_certificate is not None
        assert settings.tls_key is not None
        for path in (settings.tls_certificate, settings.tls_key):
            if not path.is_file():
                raise SettingsError(f"tls: cannot read {path}.")
        return TlsFiles(settings.tls_certificate, settings.tls_key, None)
    return _local(settings)


def _local(settings: Settings) -> TlsFiles:
    import trustme  # late: most listeners are plain, and it takes a while

    directory = settings.data_dir / "tls"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, key = directory / "authority.pem", directory / "authority.key"
    if certificate.is_file() and key.is_file():
        authority = trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    else:
        authority = trustme.CA(organization_name="Trunkline local authority")
        _write_private(key, authority.private_key_pem.bytes())
        certificate.write_bytes(authority.cert_pem.bytes())
    names = dict.fromkeys(["localhost", "127.0.0.1", "::1", settings.host, socket.gethostname()])
    leaf = authority.issue_cert(
        *(name for name in names if name not in ("0.0.0.0", "::")),
        not_after=datetime.now(UTC) + timedelta(days=_LEAF_DAYS),
    )
    chain, leaf_key = directory / "gateway.pem", directory / "gateway.key"
    _write_private(leaf_key, leaf.private_key_pem.bytes())
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return TlsFiles(chain, leaf_key, certificate)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
