"""Sealing of what must be readable again: AES-256-GCM under one master key, bound to the place it is kept in.

A value sealed for one gateway, provider and alias does not open in another's row.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from trunkline.errors import SettingsError
from trunkline.private import make_folder

FILE_NAME: Final = "master.key"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # NIST SP 800-38D section 8.2: the length for which GCM is defined without a hash
_VERSION: Final = b"\x01"


class Unsealable(Exception):
    """A value was sealed with another key, for another place, or is damaged."""


class Vault:
    """Seals and opens with one master key."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise ValueError(f"a master key has {_KEY_BYTES} bytes")
        self._cipher = AESGCM(master_key)

    @classmethod
    def at(cls, data_dir: Path, master_key: str = "") -> Vault:
        """Return the vault of a setting, else of the key file in the data directory, which is made on first use.

        Raises `SettingsError` saying what a master key looks like.
        """
        if master_key:
            return cls(_decoded(master_key, "master_key (TRUNKLINE_MASTER_KEY)"))
        return cls(_from_file(data_dir / FILE_NAME))

    def seal(self, value: str, *place: str) -> bytes:
        """Return the sealed form of a value, to be kept in ``place``."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, value.encode(), _associated(place))

    def open(self, sealed: bytes, *place: str) -> str:
        """Return what was sealed for ``place``. Raises `Unsealable`."""
        nonce, encrypted = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
            raise Unsealable
        try:
            return self._cipher.decrypt(nonce, encrypted, _associated(place)).decode()
        except InvalidTag as error:
            raise Unsealable from error


def _associated(place: tuple[str, ...]) -> bytes:
    # Lengths before the parts: ("a", "bc") and ("ab", "c") are two places.
    return b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in place)


def _from_file(path: Path) -> bytes:
    try:
        return _decoded(path.read_text("ascii").strip(), str(path))
    except FileNotFoundError:
        pass
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not a master key: 32 bytes in base64 or hex.") from error
    except OSError as error:
        raise SettingsError(f"Cannot read the master key {path}: {error.strerror}.") from error
    make_folder(path.parent)
    key = secrets.token_bytes(_KEY_BYTES)
    # Written aside and linked into place: another process that starts now finds a whole key or none.
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(aside, path)
    except FileExistsError:
        return _from_file(path)
    finally:
        aside.unlink()
    return key


def _decoded(text: str, where: str) -> bytes:
    for decode in (bytes.fromhex, _from_base64):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == _KEY_BYTES:
            return key
    raise SettingsError(
        f"{where} is not a master key: 32 bytes in base64 or hex, as `openssl rand -hex 32` makes them."
    )


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
