"""Every setting, once: its type, default, unit and one sentence of help.

The fields of `Settings` are the table. Command-line flags, ``TRUNKLINE_*`` variables, ``trunkline.toml`` and
``docs/settings.md`` are all made from it. A value is taken from the first that has one: flag, environment, file,
default.

Provider tables (``[providers.openai]``) are data for `trunkline.providers` and are carried as they are, except that
a value ``env:NAME`` is replaced by that variable, so that a file holds no secret.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import SplitResult, urlsplit

from trunkline.errors import SettingsError

ENVIRONMENT_PREFIX = "TRUNKLINE_"
PROVIDER_PREFIX = "TRUNKLINE_PROVIDERS__"
FILE_NAME = "trunkline.toml"

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
# What a header and a sub-protocol can both carry, so that one token works on every transport.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")


def default_data_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Where a fresh start keeps its data: ``$XDG_DATA_HOME/trunkline``, else ``~/.local/share/trunkline``."""
    base = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "trunkline"


def setting(
    default: Any = MISSING,
    *,
    help: str,
    default_factory: Any = MISSING,
    unit: str = "",
    section: str = "",
    secret: bool = False,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare one setting. ``section`` is its table in the file: ``local_model`` there is ``[local] model``."""
    metadata = {
        "help": help,
        "unit": unit,
        "section": section,
        "secret": secret,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
    }
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one process, checked."""

    host: str = setting("127.0.0.1", help="Address to listen on. Beyond loopback a gateway token is required.")
    port: int = setting(8787, help="Port to listen on; 0 takes any free one.", minimum=0, maximum=65535)
    data_dir: Path = setting(default_factory=default_data_dir, help="Where models, certificates and records are kept.")
    database_url: str = setting(
        "",
        help="Database: postgresql://USER:PASSWORD@HOST/NAME or sqlite:///PATH. Without it, a file in `data_dir`.",
        secret=True,
    )
    valkey_url: str = setting(
        "",
        help="Valkey or Redis server that several gateway processes share for their cache and limits:"
        " valkey://:PASSWORD@HOST:6379/0, valkeys:// with TLS. Without it, each process has its own.",
        secret=True,
    )
    log_level: str = setting(
        "info",
        help="How much is written to standard error.",
        choices=("debug", "info", "warning", "error"),
    )
    log_format: str = setting(
        "auto",
        help="`json` writes one object a line, `text` is for people; `auto` is text on a terminal and json elsewhere.",
        choices=("auto", "text", "json"),
    )

    account: str = setting("local", help="Account id in the path /v1/{account}/{gateway}/...")
    gateway: str = setting("default", help="Gateway id in the path /v1/{account}/{gateway}/...")
    gateway_token: str = setting(
        "",
        help="When set, the gateway is authenticated: callers must show this token.",
        secret=True,
    )
    master_key: str = setting(
        "",
        help="Seals stored provider keys: 32 bytes in hex or base64. Without it, the file master.key in `data_dir`.",
        secret=True,
    )
    root_provider: str = setting(
        "openai",
        help="Provider that answers root paths such as /v1/chat/completions, without account and gateway.",
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        help="Browser origins, besides the gateway's own and loopback ones, whose pages may call it.",
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        help="Host names, besides loopback ones and `host`, by which the gateway may be addressed.",
    )

    public_url: str = setting(
        "",
        help="Where browsers reach the gateway, such as https://gateway.example.org: for links to sign in with, and"
        " for single sign-on. Without it, the address that a browser shows, or the one the gateway listens on.",
    )
    oidc_issuer: str = setting(
        "",
        help="Issuer of OpenID Connect at which people sign in, such as https://login.example.org/realms/main.",
        section="oidc",
    )
    oidc_client_id: str = setting("", help="The gateway's client id there.", section="oidc")
    oidc_client_secret: str = setting(
        "", help="The gateway's client secret there; a public client has none.", section="oidc", secret=True
    )
    oidc_scopes: tuple[str, ...] = setting(("openid", "profile", "email"), help="Scopes to ask for.", section="oidc")
    oidc_role_claim: str = setting(
        "groups",
        help="Claim of the ID token that says what a person may do; a dotted path, such as realm_access.roles, names"
        " one within others.",
        section="oidc",
    )
    oidc_admin: tuple[str, ...] = setting((), help="Values of that claim that make an admin.", section="oidc")
    oidc_editor: tuple[str, ...] = setting((), help="Values of that claim that make an editor.", section="oidc")
    oidc_viewer: tuple[str, ...] = setting((), help="Values of that claim that make a viewer.", section="oidc")
    oidc_default_role: str = setting(
        "none",
        help="Role of people whose claim has none of these values; `none` lets them not in.",
        section="oidc",
        choices=("none", "viewer", "editor", "admin"),
    )

    prices_file: Path | None = setting(
        None,
        help="List of prices to use in place of the package's own: the price_list.json of a newer Trunkline.",
    )
    probe_allowed_hosts: tuple[str, ...] = setting(
        (),
        help="Hosts of private networks that the console's auth matrix may probe; public ones always may be.",
    )
    custom_provider_hosts: tuple[str, ...] = setting(
        (),
        help="Hosts at which custom providers of the management API may be though they are private, or spoken to over"
        " plain http; `*` is any.",
    )

    tls: str = setting(
        "off",
        help="`local` serves TLS with a certificate of an own local authority; `files` uses your certificate.",
        choices=("off", "local", "files"),
    )
    tls_certificate: Path | None = setting(None, help="Certificate chain (PEM) for `tls = files`.")
    tls_key: Path | None = setting(None, help="Private key (PEM) for `tls = files`.")

    connect_timeout: float = setting(
        10.0, help="Longest wait for a connection to a provider.", unit="s", section="upstream", minimum=0.001
    )
    first_byte_timeout: float = setting(
        300.0,
        help="Longest wait for an answer to begin: for the whole of its head.",
        unit="s",
        section="upstream",
        minimum=0.001,
    )
    idle_timeout: float = setting(
        300.0, help="Longest silence within an answer.", unit="s", section="upstream", minimum=0.001
    )
    max_connections: int = setting(
        512, help="Most connections to one provider at a time.", section="upstream", minimum=1
    )

    drain_timeout: float = setting(
        10.0,
        help="Longest time that streams and other answers, and realtime sessions, may finish when the gateway stops.",
        unit="s",
        minimum=0.0,
    )

    journal_limit: int = setting(
        1024,
        help="Most that may wait on the disk for a database that is away.",
        unit="MiB",
        section="journal",
        minimum=1,
    )
    journal_policy: str = setting(
        "stop",
        help="When that is reached: `stop` keeps no new records, `drop-oldest` drops the oldest. Requests go on.",
        section="journal",
        choices=("stop", "drop-oldest"),
    )
    journal_fsync: str = setting(
        "off",
        help="`interval` forces records to the disk every second, for when power fails. Killed processes need neither.",
        section="journal",
        choices=("off", "interval"),
    )

    cache_memory: int = setting(
        64,
        help="Most that kept answers may take in memory, in each process; 0 keeps none there.",
        unit="MiB",
        section="cache",
        minimum=0,
    )
    cache_disk: int = setting(
        1024,
        help="Most that kept answers may take in the file cache.db of `data_dir`; 0 makes no file. With `valkey_url`"
        " they are there instead, bounded by that server's own `maxmemory`.",
        unit="MiB",
        section="cache",
        minimum=0,
    )

    limits_fail: str = setting(
        "open",
        help="While the server of `valkey_url` is away: `open` counts limits in each process by itself, `closed`"
        " refuses what is limited.",
        choices=("open", "closed"),
    )

    otel_endpoint: str = setting(
        "",
        help="Where a span of each exchange is sent by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces.",
        section="otel",
    )
    otel_headers: tuple[str, ...] = setting(
        (), help="Headers for it, such as authorization=Bearer ...", section="otel", secret=True
    )
    otel_service_name: str = setting("trunkline", help="The name under which spans are sent.", section="otel")
    otel_payloads: bool = setting(
        False, help="Send prompts and answers with the spans, of gateways that keep them.", section="otel"
    )

    logpush_url: str = setting(
        "",
        help="Where each log row goes as a line of JSON besides the database: a file (file:///var/log/trunkline.ndjson)"
        " or an address that takes POST (https://...).",
        section="logpush",
    )
    logpush_headers: tuple[str, ...] = setting(
        (), help="Headers for it, such as authorization=Bearer ...", section="logpush", secret=True
    )
    logpush_payloads: bool = setting(
        False, help="Send prompts and answers with the rows, of gateways that keep them.", section="logpush"
    )
    logpush_limit: int = setting(
        256,
        help="Most rows to keep for a destination that is away; the oldest are given up beyond that.",
        unit="MiB",
        section="logpush",
        minimum=8,
    )

    local_model: str = setting(
        "",
        help="A GGUF file to answer with instead of the built-in demo model.",
        section="local",
    )

    providers: Mapping[str, Mapping[str, Any]] = setting(
        default_factory=dict, help="Overrides of providers and custom providers, one table each.", secret=True
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the listener."""
        return is_loopback_host(self.host)

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the gateway over TLS, its own or that of what stands before it."""
        return self.tls != "off" or self.public_url.startswith("https:")

    @property
    def authenticated(self) -> bool:
        """Whether callers must show the gateway token."""
        return bool(self.gateway_token)


def is_loopback_host(host: str) -> bool:
    """Whether a host name or address literal always means this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def table() -> Iterator[Field[Any]]:
    """The settings in order, for flags and documentation; `providers` is not a flag and comes last."""
    yield from fields(Settings)


def environment_name(entry: Field[Any]) -> str:
    """``TRUNKLINE_PORT`` for ``port``."""
    return ENVIRONMENT_PREFIX + entry.name.upper()


def file_key(entry: Field[Any]) -> tuple[str, ...]:
    """``("local", "model")`` for ``local_model``, whose table is ``[local]``."""
    section = str(entry.metadata["section"])
    if not section:
        return (entry.name,)
    return (section, entry.name.removeprefix(f"{section}_"))


def default_words(entry: Field[Any]) -> str:
    """Return a setting's default for people."""
    if entry.name == "data_dir":
        return "~/.local/share/trunkline"
    return "none" if entry.default is MISSING else value_words(entry, entry.default)


def value_words(entry: Field[Any], value: Any) -> str:
    """Return a value for people; a secret only as set or not."""
    if entry.metadata["secret"]:
        return "set, not shown" if value else "not set"
    if value in ("", None, ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    unit = f" {entry.metadata['unit']}" if entry.metadata["unit"] else ""
    return (
        ", ".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
    ) + unit


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Settings:
    """Read all sources into one checked `Settings`.

    ``flags`` holds only what the user typed (``None`` values count as absent). ``file`` is the path of
    ``trunkline.toml``; without it ``TRUNKLINE_CONFIG``, then ``./trunkline.toml``, then the one in the data
    directory is read when it exists.

    Raises `SettingsError` naming the setting, where its value came from and what would be right.
    """
    return load_with_sources(flags, environment, file)[0]


def load_with_sources(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> tuple[Settings, dict[str, str]]:
    """As `load`, and where each value came from: setting name -> words for a person."""
    read = examine(flags, environment, file)
    for fault in read.faults:
        raise fault
    return read.settings, read.sources


@dataclass(frozen=True)
class Examined:
    """What could be read of all sources. A setting at fault has its default in ``settings``."""

    settings: Settings
    sources: dict[str, str]
    file: Path | None
    faults: tuple[SettingsError, ...]


def examine(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Examined:
    """As `load_with_sources`, with all that is wrong instead of the first thing."""
    typed = {name: value for name, value in (flags or {}).items() if value is not None}
    faults: list[SettingsError] = []
    path: Path | None = None
    document: dict[str, Any] = {}
    with _noting(faults):
        path, document = _read_file(file, typed, environment)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for entry in table():
        if entry.name == "providers":
            continue
        found = _find(entry, typed, environment, document, path)
        if found is None:
            sources[entry.name] = "default"
            continue
        raw, source = found
        with _noting(faults):
            values[entry.name] = _checked(entry, raw, source)
        sources[entry.name] = source
    faults += (SettingsError(fault) for fault in _unknown_keys(document, path))
    faults += (SettingsError(fault) for fault in _unknown_variables(environment))
    with _noting(faults):
        values["providers"] = _providers(document, environment)
    sources["providers"] = f"{path} and {PROVIDER_PREFIX}*" if values.get("providers") else "default"
    settings = Settings(**values)
    faults += (SettingsError(fault) for fault in _contradictions(settings))
    return Examined(settings, sources, path, tuple(faults))


@contextmanager
def _noting(faults: list[SettingsError]) -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        faults.append(error)


def _read_file(
    file: Path | None, flags: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[Path | None, dict[str, Any]]:
    named = file or environment.get("TRUNKLINE_CONFIG")
    chosen = _path(named, "TRUNKLINE_CONFIG") if named else None
    if chosen is None:
        data_dir = flags.get("data_dir") or environment.get("TRUNKLINE_DATA_DIR") or default_data_dir(environment)
        candidates = (Path(FILE_NAME), _path(data_dir, "data_dir") / FILE_NAME)
        chosen = next((candidate for candidate in candidates if candidate.is_file()), None)
        if chosen is None:
            return None, {}
    try:
        return chosen, tomllib.loads(chosen.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"Cannot read {chosen}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{chosen} is not valid TOML: {error}.") from error


def _path(value: str | Path, source: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{source}: {value} names the home of a user this machine does not know.") from error


def _find(
    entry: Field[Any],
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    document: Mapping[str, Any],
    path: Path | None,
) -> tuple[Any, str] | None:
    if entry.name in flags:
        return flags[entry.name], f"--{entry.name.replace('_', '-')}"
    variable = environment_name(entry)
    if variable in environment:
        return environment[variable], variable
    value: Any = document
    for key in file_key(entry):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value, f"{'.'.join(file_key(entry))} in {path}"


def _checked(entry: Field[Any], raw: Any, source: str) -> Any:
    kind = get_type_hints(Settings)[entry.name]
    try:
        value = _converted(kind, raw)
    # RuntimeError: the ~user of a path is unknown. OverflowError: a whole number beyond any float.
    except (TypeError, ValueError, LookupError, RuntimeError, OverflowError) as error:
        raise SettingsError(f"{source}: expected {_type_words(kind)}, got {_shown(entry, raw)}.") from error
    choices = entry.metadata["choices"]
    if choices and value not in choices:
        raise SettingsError(f"{source}: expected one of {', '.join(choices)}, got {_shown(entry, raw)}.")
    minimum, maximum = entry.metadata["minimum"], entry.metadata["maximum"]
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise SettingsError(f"{source}: expected {bounds}, got {_shown(entry, raw)}.")
    return value


def _converted(kind: Any, raw: Any) -> Any:
    if kind is int:
        if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()):
            raise ValueError
        return int(raw)
    if kind is float:
        if isinstance(raw, bool):
            raise ValueError
        value = float(raw)
        if not math.isfinite(value):  # NaN passes every bound, and a wait must end
            raise ValueError
        return value
    if kind is bool:
        return _BOOLEANS[str(raw).strip().lower()]
    if kind is str:
        if not isinstance(raw, str):
            raise TypeError
        return raw.strip()
    if kind is Path or kind == Path | None:
        if not isinstance(raw, str | Path):
            raise TypeError
        if not str(raw).strip():  # which would be the working directory
            raise ValueError
        return Path(raw).expanduser()
    if kind == tuple[str, ...]:
        if isinstance(raw, str):
            raw = raw.split(",")
        if not isinstance(raw, list | tuple) or not all(isinstance(part, str) for part in raw):
            raise TypeError
        return tuple(part.strip() for part in raw if part.strip())
    raise TypeError(f"no conversion to {kind}")


def _type_words(kind: Any) -> str:
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        tuple[str, ...]: "a list of texts",
    }
    return words.get(kind, "a path")


def _shown(entry: Field[Any], raw: Any) -> str:
    return "a value that is not shown" if entry.metadata["secret"] else repr(raw)


def _unknown_keys(document: Mapping[str, Any], path: Path | None) -> Iterator[str]:
    known = {file_key(entry) for entry in table()}
    names = [".".join(key) for key in known]
    sections = {key[0] for key in known if len(key) > 1}
    for name, value in document.items():
        if name == "providers":
            continue
        if name in sections and isinstance(value, dict):
            for inner in value:
                if (name, inner) not in known:
                    yield f"{path}: unknown setting {name}.{inner}; {_nearest(f'{name}.{inner}', names)}"
        elif (name,) not in known:
            yield f"{path}: unknown setting {name}; {_nearest(name, names)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else "see `trunkline settings` for those there are."


# Read by other parts of Trunkline, and not settings of the gateway process.
OTHER_VARIABLES = frozenset({"TRUNKLINE_CONFIG", "TRUNKLINE_CONSOLE", "TRUNKLINE_URL", "TRUNKLINE_LOCAL_KEY"})


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    known = {environment_name(entry) for entry in table() if entry.name != "providers"} | OTHER_VARIABLES
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known and not name.startswith(PROVIDER_PREFIX):
            yield f"Unknown variable {name}; {_nearest(name, known)}"


def _providers(document: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    tables = document.get("providers", {})
    if not isinstance(tables, dict) or not all(isinstance(value, dict) for value in tables.values()):
        raise SettingsError("providers: expected tables such as [providers.openai].")
    merged: dict[str, dict[str, Any]] = {slug: dict(value) for slug, value in tables.items()}
    for name, value in environment.items():
        if not name.startswith(PROVIDER_PREFIX):
            continue
        slug, _, rest = name.removeprefix(PROVIDER_PREFIX).lower().partition("__")
        if not slug or not rest:
            raise SettingsError(f"{name}: expected {PROVIDER_PREFIX}<PROVIDER>__<FIELD>.")
        target = merged.setdefault(slug.replace("_", "-"), {})
        *tables_above, last = rest.split("__")
        for key in tables_above:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise SettingsError(f"{name}: {key} is already a value, not a table.")
        target[last] = value
    return {
        slug: {key: _from_environment(value, f"providers.{slug}.{key}", environment) for key, value in entry.items()}
        for slug, entry in merged.items()
    }


def _from_environment(value: Any, where: str, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _from_environment(inner, f"{where}.{key}", environment) for key, inner in value.items()}
    if not isinstance(value, str) or not value.startswith("env:"):
        return value
    name = value.removeprefix("env:")
    if name not in environment:
        raise SettingsError(f"{where} refers to the variable {name}, which is not set.")
    return environment[name]


def _contradictions(settings: Settings) -> Iterator[str]:
    if not settings.is_loopback and not settings.authenticated:
        yield (
            f"Refusing to listen on {settings.host} without authentication: anyone who reaches it could spend your"
            " keys. Set TRUNKLINE_GATEWAY_TOKEN to a long random value, or keep host = 127.0.0.1."
        )
    if settings.authenticated and len(settings.gateway_token) < 16:
        yield "gateway_token: use at least 16 characters, for example from `openssl rand -hex 24`."
    if settings.authenticated and not _TOKEN.fullmatch(settings.gateway_token):
        yield (
            "gateway_token: use only letters, digits and . _ ~ -, since a browser cannot send others on a WebSocket;"
            " for example from `openssl rand -hex 24`."
        )
    if settings.tls == "files" and not (settings.tls_certificate and settings.tls_key):
        yield "tls = files needs tls_certificate and tls_key."
    if settings.public_url and not is_private_address(settings.public_url, paths=False):
        yield "public_url: expected an address without a path, such as https://gateway.example.org."
    if settings.oidc_issuer and not is_private_address(settings.oidc_issuer):
        yield "oidc_issuer: expected https://..., as the issuer names itself; http:// only on loopback."
    for name, url, headers in (
        ("otel", settings.otel_endpoint, settings.otel_headers),
        ("logpush", settings.logpush_url, settings.logpush_headers),
    ):
        parts = _parts(url)
        if headers and parts is not None and parts.scheme == "http" and not is_loopback_host(parts.hostname or ""):
            yield f"{name}_headers would be readable on the way to {parts.hostname}: use https, or http:// on loopback."
    if settings.oidc_issuer and not settings.oidc_client_id:
        yield "oidc_issuer needs oidc_client_id, under which the gateway is known there."


def is_private_address(url: str, *, paths: bool = True) -> bool:
    """Whether a URL is that of a server, with nobody listening on the way: over TLS unless it is on this machine."""
    parts = _parts(url)
    if parts is None:
        return False
    port_is_number = parts.port is None or parts.port > 0
    host = parts.hostname or ""
    is_private = parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host))
    is_plain = not (parts.query or parts.fragment or parts.username)
    return bool(host) and is_private and port_is_number and is_plain and (paths or parts.path in ("", "/"))


def _parts(url: str) -> SplitResult | None:
    """Split a URL; None when it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts
