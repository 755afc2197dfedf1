"""Rules of docs/security.md that can be read off the code: comparisons of secrets, places that open connections."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import argon2
import click
import pytest
from argon2.exceptions import VerifyMismatchError

from trunkline.cli import application
from trunkline.errors import NotPermitted, SettingsError
from trunkline.policy.registry import KEY_PREFIX, GatewayKey, GatewayRules, Registry, Scope
from trunkline.providers import Catalogue, resolve_http, resolve_realtime
from trunkline.server import registry as registry_module
from trunkline.server.admission import Admission, ProviderKey
from trunkline.server.gateway import _check_tenant
from trunkline.server.registry import LiveRegistry
from trunkline.settings import Settings, load
from trunkline.store.passwords import _NOBODYS, hash_password

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "trunkline"


def modules(words: str) -> Iterator[tuple[str, ast.Module]]:
    """The modules that have one of these words: to parse all of them takes long."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text("utf-8")
        if re.search(words, text):
            yield path.relative_to(SOURCE).as_posix(), ast.parse(text)


# Memory


def test_nobody_may_look_into_the_memory_of_a_process_that_asks_for_that() -> None:
    tell = "print(ctypes.CDLL(None).prctl(3))"  # PR_GET_DUMPABLE
    asked = f"import ctypes, trunkline.private as p; {tell}; p.keep_memory_private(); {tell}"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]


# Comparisons

_SECRETS = re.compile(r"(token|secret|password|digest|signature|api_key|verifier|nonce|credential)s?", re.IGNORECASE)

# Comparisons of what is no secret to anybody who could measure them, with the reason.
NO_SECRETS = {
    "cli/users.py: getpass.getpass('Once more: ') != password": "both are typed by the same person",
    "local/engines/recognition.py: token == _STOP": "a token of the speech model",
    "local/models.py: _digest(copy) != carrier.sha256": "the public hash of a file",
    "local/models.py: _digest(partial) != file.sha256": "the public hash of a file",
    "local/models.py: _digest(path) == sha256": "the public hash of a file",
    "policy/accounts.py: folded(password) == folded(name)": "both are typed by the same person",
    "probe/report.py: credential(row) == shown": "kinds of secrets",
    "probe/rows.py: credential(row) == {Secret.WRONG_KEY}": "kinds of secrets",
    "store/users.py: sign_ins.c.digest == digest": "a condition of a query",
    "store/users.py: login_tokens.c.digest == digest": "a condition of a query",
    "store/users.py: sign_ins.c.digest == instead_of": "a condition of a query",
}


def names_in(node: ast.expr) -> Iterator[str]:
    """The names that a side of a comparison is made of, and not what is asked of their values."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Call(func=function, args=arguments):
            yield from names_in(function)
            for argument in arguments:
                yield from names_in(argument)
        case ast.Subscript(value=value, slice=at):
            yield from names_in(value)
            if isinstance(at, ast.Constant) and isinstance(at.value, str):
                yield at.value


def compared_secrets() -> Iterator[str]:
    for path, tree in modules(rf"(?im)^.*{_SECRETS.pattern}.*[!=]=|[!=]=.*{_SECRETS.pattern}"):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            sides = (node.left, node.comparators[0])
            if any(isinstance(side, ast.Constant | ast.Tuple) for side in sides):
                continue
            names = [name for side in sides for name in names_in(side)]
            if "len" not in names and any(_SECRETS.fullmatch(name.strip("_")) for name in names):
                yield f"{path}: {ast.unparse(node)}"


def test_no_secret_is_compared_in_a_time_that_tells_of_it() -> None:
    found = set(compared_secrets())
    assert found - NO_SECRETS.keys() == set(), "use hmac.compare_digest, or look the digest up"
    assert NO_SECRETS.keys() - found == set(), "these are gone"


def test_a_key_that_nobody_has_and_one_that_was_revoked_cost_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counter[str]()
    digest_of = registry_module.digest_of

    def counting(value: str) -> bytes:
        counted[value] += 1
        return digest_of(value)

    live = LiveRegistry(Settings(gateway_token="x" * 40))
    good, revoked, unknown = (KEY_PREFIX + letter * 48 for letter in "abc")
    keys = [
        GatewayKey(name, "default", name, digest_of(name), "", frozenset({Scope.RUN}), (), 0.0, None, end)
        for name, end in ((good, None), (revoked, 1.0))
    ]
    live._take(Registry({"default": GatewayRules("default", True)}, keys={key.digest: key for key in keys}))
    monkeypatch.setattr(registry_module, "digest_of", counting)
    answers = [live.recognise(value) for value in (good, revoked, unknown, "x" * 39 + "y", "x" * 40)]
    assert [answer and answer.refusal for answer in answers] == ["", "was revoked", "is not known here", None, ""]
    assert set(counted.values()) == {1}
    assert len(counted) == 5


def test_passwords_are_hashed_with_argon2id_at_the_cost_of_rfc_9106() -> None:
    assert hash_password("a horse that staples batteries").startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    # A hash that could not be read would be refused at once, and tell that a name has no account.
    with pytest.raises(VerifyMismatchError):
        argon2.PasswordHasher().verify(_NOBODYS, "whatever")
    cost = [argon2.extract_parameters(kept) for kept in (_NOBODYS, hash_password("a horse that staples batteries"))]
    assert len({(one.type, one.version, one.memory_cost, one.time_cost, one.parallelism) for one in cost}) == 1


# Process lists

_SAYS_A_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)
# Flags that are no secrets: ids, numbers, names and switches.
NO_SECRET_FLAGS = {
    ("sessions list", "--key"),
    ("logs list", "--key"),
    ("logs tail", "--key"),
    ("logs export", "--key"),
    ("routes simulate", "--key"),
    ("cache purge", "--key"),
    ("gateways via", "--realtime-key"),
    ("gateways create", "--client-secrets"),
    ("gateways set", "--client-secrets"),
    ("serve", "--tls-key"),
}


def options(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Option]]:
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for one in command.list_commands(context):
                found = command.get_command(context, one)
                assert found is not None
                yield from options(found, f"{name} {one}".strip())
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield name, parameter


def test_no_command_takes_a_secret_as_an_argument_that_a_process_list_shows() -> None:
    taken = set()
    for name, option in options(application):
        flag = max(option.opts, key=len)
        is_number = isinstance(option.type, click.types.IntParamType) or flag in ("--tokens", "--max-tokens")
        if _SAYS_A_SECRET.search(flag) and not option.is_flag and option.metavar != "VARIABLE" and not is_number:
            taken.add((name, flag))
    assert taken - NO_SECRET_FLAGS == set()


# Connections

_OPENS = re.compile(
    r"(?<!def )\b(?:open_connection|start_connection|create_connection|sock_connect|urlopen)\("
    r"|\b(?:Connector|HTTPS?Connection)\("
    r"|\bsocket\.socket\(|\bhttpx\.(?:Async)?Client\(|\brequests\.(?:get|post|put|request|Session)\(|\baiohttp\."
)
# Where connections are made, and who chose the address. Every provider, webhook and destination of log rows is dialled
# by `Connector.open`, which looks a stranger's host up itself and connects to what it checked and nothing else.
OPENERS = {
    "cli/doctor/asking.py": "a command: what its user has set up; nothing is sent",
    "cli/running_gateway.py": "a command: the gateway of its user",
    "local/worker.py": "listens",
    "probe/guard.py": "checks the address of a probe, and pins it",
    "probe/running.py": "a command: the address is its user's; a page's probe brings the guard's",
    "server/serving.py": "listens",
    "server/single_sign_on.py": "the issuer of the settings, and what it says of itself, over TLS",
    "upstream/connecting.py": "the one dial",
    "upstream/http.py": "by the one dial",
    "upstream/websocket.py": "by the one dial",
}


def test_connections_are_made_in_places_that_are_known_and_to_providers_in_one() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if "benchmark" not in path.parts and _OPENS.search(path.read_text("utf-8"))  # that starts all it speaks with
    }
    assert found == OPENERS.keys()


# Who chooses the host that a key is sent to


def refuses(admission_key: str, rest: str, *, own_path: str = "", **table: object) -> bool:
    provider = Catalogue.build({"azure-openai": table}).find("azure")
    assert provider is not None
    key = ProviderKey("k", admission_key) if admission_key else None
    admission = Admission(provider, rest, "a", "g", GatewayRules("g", False), None, key, own_path=own_path)
    try:
        _check_tenant(admission, resolve_http(provider, rest))
    except NotPermitted as error:
        return "tenants" in error.message
    return False


@pytest.mark.parametrize("source", ["stored", "settings", "client secret"])
def test_a_key_that_its_user_does_not_have_goes_to_named_resources_alone(source: str) -> None:
    assert refuses(source, "mallory/gpt/chat/completions")
    assert refuses(source, "mallory/gpt/chat/completions", parameters={"resource": "acme"})
    assert refuses(source, "mallory/gpt/chat/completions", own_path="acme")
    assert not refuses(source, "ACME/gpt/chat/completions", parameters={"resource": "acme"})
    assert not refuses(source, "acme-eu/gpt/chat/completions", tenants={"resource": ["acme", "acme-eu"]})
    assert not refuses(source, "anything/gpt/chat/completions", tenants={"resource": ["*"]})
    assert not refuses(source, "acme/gpt/chat/completions", own_path="acme/gpt")
    assert not refuses(source, "mallory/gpt/chat/completions", base_url="https://proxy.example/openai")


@pytest.mark.parametrize("source", ["caller", "session", ""])
def test_callers_send_their_own_keys_wherever_the_provider_is(source: str) -> None:
    assert not refuses(source, "mallory/gpt/chat/completions")


def test_a_websocket_says_as_well_whose_machine_it_is_for() -> None:
    azure = Catalogue.build({"azure": {"parameters": {"resource": "acme"}}}).find("azure")
    assert azure is not None
    for rest, tenant in (("mallory/realtime", "resource = mallory"), ("realtime", ""), ("acme/realtime", "")):
        target = resolve_realtime(azure, rest, "model=d")
        assert target is not None
        assert target.tenant == tenant


def test_every_name_in_a_host_is_of_the_provider_itself_or_a_tenant() -> None:
    """A host that a caller's word is part of may be a stranger's: somebody has to say who hands these names out."""
    the_providers_own = {("aws-bedrock", "region"), ("google-vertex-ai", "region")}
    found = set()
    for provider in Catalogue.build().all():
        socket = provider.socket
        routes = [*provider.routes, *(socket.routes if socket else ())]
        for base in (provider.base_url, socket.base_url if socket else "", *(route.base_url for route in routes)):
            host = base.partition("://")[2].partition("/")[0]
            found |= {(provider.slug, name) for name in re.findall(r"\{(\w+)\}", host)}
    tenants = {(provider.slug, name) for provider in Catalogue.build().all() for name in provider.tenants}
    assert found == the_providers_own | tenants


@pytest.mark.parametrize(
    ("name", "url"), [("OTEL", "http://collector.example:4318/v1/traces"), ("LOGPUSH", "http://logs.example/take")]
)
def test_no_header_with_a_key_is_sent_where_others_could_read_it(name: str, url: str) -> None:
    place = {"OTEL": "TRUNKLINE_OTEL_ENDPOINT", "LOGPUSH": "TRUNKLINE_LOGPUSH_URL"}[name]
    headers = {f"TRUNKLINE_{name}_HEADERS": "authorization=Bearer secret"}
    with pytest.raises(SettingsError, match="https") as refusal:
        load({}, {place: url, **headers})
    assert "secret" not in str(refusal.value)
    load({}, {place: url})
    load({}, {place: url.replace("http:", "https:"), **headers})
    load({}, {place: "http://127.0.0.1:4318/x", **headers})


# The console's sources


def test_the_console_makes_no_markup_of_text() -> None:
    """All that a model, a provider or a caller wrote reaches a page as text, and Trusted Types would stop the rest."""
    marks = re.compile(
        r"\{@html|\.(?:inner|outer)HTML\s*\+?=[^=]|insertAdjacentHTML|document\.write|\beval\(|new Function\(|srcdoc="
        r"|setHTMLUnsafe|createContextualFragment|DOMParser|javascript:"
    )
    sources = [path for path in (ROOT / "web" / "src").rglob("*") if path.suffix in (".ts", ".svelte", ".js")]
    assert len(sources) > 100
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sources
        if not path.name.endswith(".test.ts")
        for match in marks.finditer(path.read_text("utf-8"))
    ]
    assert found == []


def test_the_browser_keeps_no_secret() -> None:
    """What the console writes into the browser's own storage goes through one module, whose tests say what that is."""
    used = re.compile(r"\b(?:localStorage|sessionStorage|indexedDB)\b")
    found = {
        path.relative_to(ROOT / "web" / "src").as_posix()
        for path in (ROOT / "web" / "src").rglob("*")
        if path.suffix in (".ts", ".svelte") and not path.name.endswith(".test.ts") and "i18n" not in path.parts
        if used.search(path.read_text("utf-8"))
    }
    assert found <= {"core/storage.ts", "pages/settings/PocSection.svelte"}
