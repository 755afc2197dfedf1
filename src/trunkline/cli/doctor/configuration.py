"""The settings, and the packages that they need."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from trunkline import settings as table
from trunkline.cli.doctor.findings import Notes
from trunkline.cli.doctor.installation import Installation
from trunkline.errors import SettingsError
from trunkline.server.gateway import choose_prices
from trunkline.settings import Settings

# Settings that do nothing without another: their common beginning, and what they wait for.
_WAITING: Final = (
    ("oidc_", "oidc_issuer"),
    ("otel_", "otel_endpoint"),
    ("logpush_", "logpush_url"),
    ("limits_fail", "valkey_url"),
)
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+).*\bextra == ['\"]([a-z]+)['\"]")


def settings(it: Installation, notes: Notes) -> None:
    """What is set, where, and what of it cannot be used or does nothing."""
    for error in it.examined.faults:
        notes.fault(str(error), "Correct it: `serve` does not start so.")
    for entry in table.table():
        idle = next((needed for start, needed in _WAITING if entry.name.startswith(start)), entry.name)
        if idle != entry.name and it.is_set(entry.name) and not getattr(it.settings, idle):
            notes.warning(f"{entry.name} is set and does nothing without {idle}.", f"Set {idle}, or leave it out.")
    for name in ("tls_certificate", "tls_key"):
        if it.is_set(name) and it.settings.tls != "files":
            notes.warning(f"{name} is set, and tls is {it.settings.tls!r}.", "Set tls = files, or leave it out.")
    if it.settings.oidc_issuer:
        _look_at_roles(it.settings, notes)
    _look_at_files(it.settings, notes)
    given = [name for name, source in it.examined.sources.items() if source != "default"]
    if not it.examined.faults:
        place = f" The file is {it.examined.file}." if it.examined.file else " There is no trunkline.toml."
        notes.ok(f"{len(given)} set: {', '.join(given)}.{place}" if given else f"All are defaults.{place}")


def packages(it: Installation, notes: Notes) -> None:
    """The extras: which are there, and whether those that the settings need are."""
    try:
        requirements = metadata.requires("trunkline") or []
    except metadata.PackageNotFoundError:
        notes.warning("Trunkline runs from a folder, and is not installed as a package.", "Install it with pip.")
        return
    needed = {
        "postgres": it.settings.database_url.lower().startswith("postgres"),
        "valkey": bool(it.settings.valkey_url),
        "oidc": bool(it.settings.oidc_issuer),
        "otel": bool(it.settings.otel_endpoint),
    }
    missing: dict[str, list[str]] = {}
    for match in filter(None, map(_REQUIREMENT.match, requirements)):
        package, extra = match.groups()
        absent = missing.setdefault(extra, [])
        if not _is_installed(package):
            absent.append(package)
    for extra, absent in missing.items():
        if absent and needed.get(extra):
            notes.fault(
                f"The settings need the extra {extra!r}, and of its packages are missing: {', '.join(absent)}.",
                f"pip install 'trunkline[{extra}]'",
            )
    there = ", ".join(extra for extra, absent in missing.items() if not absent) or "none"
    others = ", ".join(extra for extra, absent in missing.items() if absent and not needed.get(extra)) or "none"
    notes.ok(f"Extras installed: {there}; not installed, and not needed: {others}.")


def _is_installed(package: str) -> bool:
    try:
        metadata.Distribution.from_name(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _look_at_roles(chosen: Settings, notes: Notes) -> None:
    if chosen.oidc_default_role == "none" and not (chosen.oidc_admin or chosen.oidc_editor or chosen.oidc_viewer):
        notes.fault(
            "Single sign-on lets nobody in: no value of the role claim gives a role.",
            "Set oidc_admin, oidc_editor, oidc_viewer or oidc_default_role.",
        )
    elif chosen.oidc_default_role != "admin" and not chosen.oidc_admin:
        notes.warning("Single sign-on makes nobody an admin.", "Set oidc_admin to a value of the role claim.")


def _look_at_files(chosen: Settings, notes: Notes) -> None:
    try:
        choose_prices(chosen)
    except SettingsError as error:
        notes.fault(str(error), "Correct or remove prices_file.")
    if chosen.logpush_url.startswith("file:"):
        folder = Path(unquote(urlsplit(chosen.logpush_url).path)).parent
        if not folder.is_dir():
            notes.fault(f"logpush_url writes into {folder}, which is no folder.", "Make it, or name another file.")
