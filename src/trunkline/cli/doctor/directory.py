"""The data directory: whether it can be used, whether others can read its secrets, and how much room it has."""

from __future__ import annotations

import os
import pwd
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from trunkline import settings as table
from trunkline.cli.doctor.findings import Notes
from trunkline.cli.doctor.installation import Installation
from trunkline.cli.output import megabytes
from trunkline.private import is_open_to_others

_MEBIBYTE: Final = 1 << 20
_LEAST_FREE: Final = 100 * _MEBIBYTE
# Below the data directory: keys, and what holds answers, digests and the log.
_KEYS: Final = ("master.key", "tls/*.key")
_RECORDS: Final = ("trunkline.db*", "cache.db*", "journal/*", "logpush/*")


def data_directory(it: Installation, notes: Notes) -> None:
    """Whether it is there and can be written to."""
    directory = it.settings.data_dir
    place = _existing(directory)
    owner = _user(place.stat().st_uid)
    if not place.is_dir():
        notes.fault(f"{directory} cannot be made: {place} is no folder.", "Name another data_dir.")
    elif not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        notes.fault(
            f"{place} cannot be read and written by {_user(os.geteuid())}.",
            f"Give it to that user (chown), or run this as the one that runs the gateway (it is {owner}'s).",
        )
    elif place != directory:
        notes.ok(f"{directory} is not there yet; `serve` makes it.")
    elif directory.stat().st_uid != os.geteuid():
        notes.warning(
            f"{directory} belongs to {owner}, and this is run by {_user(os.geteuid())}.",
            f"Run doctor and serve as {owner}: files that another user makes there may not be readable for it.",
        )
    else:
        notes.ok(f"{directory} belongs to {_user(os.geteuid())} and can be written to.")


def secret_files(it: Installation, notes: Notes) -> None:
    """Whether others on this machine can read what is secret."""
    for path in _secret_files(it):
        if is_open_to_others(path):
            notes.fault(
                f"Others on this machine can use {path}, which holds keys (mode {path.stat().st_mode & 0o777:03o}).",
                f"chmod 600 {path}; if others may have read it, replace the keys in it.",
            )
    open_records = [path for path in _found(it.settings.data_dir, _RECORDS) if is_open_to_others(path)]
    if open_records:
        notes.warning(
            f"Others on this machine can use {len(open_records)} files with records, such as {open_records[0]}.",
            f"chmod -R go= {it.settings.data_dir}",
        )
    if not notes.findings:
        notes.ok("Files with keys and records are for their owner alone.")


def disk(it: Installation, notes: Notes) -> None:
    """Whether there is room for what waits and what is kept."""
    place = _existing(it.settings.data_dir)
    free = shutil.disk_usage(place).free
    kept = it.settings.journal_limit + (0 if it.settings.valkey_url else it.settings.cache_disk)
    seen = f"{megabytes(free)} are free at {place}"
    if free < _LEAST_FREE:
        notes.fault(f"{seen}.", "Make room: without it no exchange is recorded.")
    elif free < kept * _MEBIBYTE:
        notes.warning(
            f"{seen}; journal_limit and cache_disk allow {megabytes(kept * _MEBIBYTE)}.",
            "Make room, or lower journal_limit and cache_disk.",
        )
    else:
        notes.ok(f"{seen}.")


def _existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that is there."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _secret_files(it: Installation) -> Iterator[Path]:
    yield from _found(it.settings.data_dir, _KEYS)
    if it.settings.tls_key is not None and it.settings.tls_key.is_file():
        yield it.settings.tls_key
    file = it.examined.file
    if file is not None and file.is_file() and _holds_secrets(file):
        yield file


def _found(directory: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in sorted(directory.glob(pattern)) if path.is_file())


def _holds_secrets(file: Path) -> bool:
    """Whether a settings file holds a secret itself, and not only the name of a variable that has it."""
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    for entry in table.table():
        value: Any = document
        for key in table.file_key(entry):
            value = value.get(key) if isinstance(value, dict) else None
        if entry.name != "providers" and entry.metadata["secret"] and value:
            return True
    providers = document.get("providers")
    return isinstance(providers, dict) and any(map(_is_provider_with_a_key, providers.values()))


def _is_provider_with_a_key(provider: Any) -> bool:
    if not isinstance(provider, dict):
        return False
    headers, via = provider.get("headers"), provider.get("via")
    values = [provider.get("api_key"), *(headers.values() if isinstance(headers, dict) else ())]
    values.append(via.get("token") if isinstance(via, dict) else None)
    return any(isinstance(value, str) and not value.startswith("env:") for value in values)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
