"""Settings: one table, four sources, and a refusal that names the setting and where its value came from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import settings
from trunkline.errors import SettingsError
from trunkline.settings import Settings, is_loopback_host

TOKEN = "gateway-token-of-many-characters"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a home without any file of settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def load(text: str = "", environment: dict[str, str] | None = None, **flags: Any) -> Settings:
    """Load from a file with this text, these variables and these flags."""
    file = Path("given.toml")
    file.write_text(text, "utf-8")
    return settings.load(flags, environment or {}, file)


def refusal(text: str = "", environment: dict[str, str] | None = None, **flags: Any) -> str:
    with pytest.raises(SettingsError) as error:
        load(text, environment, **flags)
    return str(error.value)


def entry(name: str) -> Any:
    return next(field for field in settings.table() if field.name == name)


# A fresh start


def test_a_fresh_start_has_the_names_and_the_address_of_the_examples() -> None:
    fresh = settings.load({}, {})
    assert (fresh.host, fresh.port) == ("127.0.0.1", 8787)
    assert (fresh.account, fresh.gateway) == ("local", "default")
    assert fresh.root_provider == "openai"
    assert fresh.is_loopback
    assert not fresh.authenticated
    assert fresh.tls == "off"
    assert fresh.providers == {}


def test_data_are_kept_in_the_users_data_folder() -> None:
    assert settings.default_data_dir({"XDG_DATA_HOME": "/srv/data"}) == Path("/srv/data/trunkline")
    assert settings.default_data_dir({}) == Path.home() / ".local/share/trunkline"


def test_settings_cannot_change_while_the_process_runs() -> None:
    with pytest.raises(AttributeError):
        load().port = 1  # type: ignore[misc]


# Sources and their order


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default() -> None:
    text, variables = "port = 1", {"TRUNKLINE_PORT": "2"}
    assert load().port == 8787
    assert load(text).port == 1
    assert load(text, variables).port == 2
    assert load(text, variables, port=3).port == 3


def test_a_flag_that_was_not_typed_is_none_and_does_not_count() -> None:
    assert load("port = 1", port=None).port == 1


def test_each_value_is_said_to_come_from_its_source() -> None:
    Path("given.toml").write_text('account = "acme"\n[providers.openai]\napi_key = "k"\n')
    _, sources = settings.load_with_sources(
        {"port": 1, "host": None}, {"TRUNKLINE_GATEWAY": "voice"}, Path("given.toml")
    )
    assert sources["port"] == "--port"
    assert sources["gateway"] == "TRUNKLINE_GATEWAY"
    assert sources["account"] == "account in given.toml"
    assert sources["host"] == "default"
    assert "given.toml" in sources["providers"]
    assert sources.keys() == {field.name for field in settings.table()}


def test_a_section_of_the_file_holds_the_settings_of_a_part() -> None:
    loaded = load('[local]\nmodel = "/m.gguf"\n[upstream]\nconnect_timeout = 5\nmax_connections = 7\n')
    assert (loaded.local_model, loaded.connect_timeout, loaded.max_connections) == ("/m.gguf", 5.0, 7)


@pytest.mark.parametrize("field", [field.name for field in settings.table() if field.name != "providers"])
def test_every_setting_can_be_given_in_the_environment_and_in_the_file(field: str) -> None:
    samples = {
        "host": "localhost",
        "log_level": "debug",
        "tls": "local",
        "gateway_token": TOKEN,
        "allowed_origins": "https://a.example, https://b.example",
        "allowed_hosts": "a.example",
        "public_url": "https://gateway.example",
        "oidc_issuer": "https://login.example",
        "logpush_limit": "8",
    }
    others = [choice for choice in entry(field).metadata["choices"] if choice != entry(field).default]
    sample = samples.get(field) or (others[0] if others else "1")
    needed = {"TRUNKLINE_OIDC_CLIENT_ID": "gateway"} if field == "oidc_issuer" else {}
    by_environment = load("", {settings.environment_name(entry(field)): sample, **needed})
    key = settings.file_key(entry(field))
    by_file = load(f'[{key[0]}]\n{key[1]} = "{sample}"' if len(key) > 1 else f'{key[0]} = "{sample}"', needed)
    assert getattr(by_environment, field) == getattr(by_file, field) != getattr(load(), field)


def test_the_file_is_the_named_one_else_the_one_here_else_the_one_in_the_data_directory(elsewhere: Path) -> None:
    data = elsewhere / "data"
    data.mkdir()
    variables = {"TRUNKLINE_DATA_DIR": str(data)}
    assert settings.load({}, variables).port == 8787
    (data / "trunkline.toml").write_text("port = 1")
    assert settings.load({}, variables).port == 1
    assert settings.load({"data_dir": data}, {}).port == 1
    Path("trunkline.toml").write_text("port = 2")
    assert settings.load({}, variables).port == 2
    Path("named.toml").write_text("port = 3")
    assert settings.load({}, {**variables, "TRUNKLINE_CONFIG": "named.toml"}).port == 3
    Path("flag.toml").write_text("port = 4")
    assert settings.load({}, {**variables, "TRUNKLINE_CONFIG": "named.toml"}, Path("flag.toml")).port == 4


def test_a_tilde_is_the_home_directory_wherever_a_path_is_given(elsewhere: Path) -> None:
    home = elsewhere / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "trunkline.toml").write_text("port = 1")
    (home / "named.toml").write_text("port = 2")
    found = settings.load({}, {"TRUNKLINE_DATA_DIR": "~/data"})
    assert (found.data_dir, found.port) == (home / "data", 1)
    assert settings.load({}, {"TRUNKLINE_CONFIG": "~/named.toml"}).port == 2
    assert load('tls_key = "~/key.pem"').tls_key == home / "key.pem"


@pytest.mark.parametrize("variable", ["TRUNKLINE_DATA_DIR", "TRUNKLINE_CONFIG", "TRUNKLINE_TLS_KEY"])
def test_the_home_of_an_unknown_user_is_refused(variable: str) -> None:
    with pytest.raises(SettingsError, match="no-such-user"):
        settings.load({}, {variable: "~no-such-user/x"})


def test_a_named_file_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"Cannot read absent\.toml"):
        settings.load({}, {}, Path("absent.toml"))
    with pytest.raises(SettingsError, match=r"Cannot read absent\.toml"):
        settings.load({}, {"TRUNKLINE_CONFIG": "absent.toml"})


@pytest.mark.parametrize("content", [b"port =", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_named(content: bytes) -> None:
    Path("broken.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=r"broken\.toml is not valid TOML"):
        settings.load({}, {}, Path("broken.toml"))


# Values that cannot be used


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TRUNKLINE_PORT", "many", "TRUNKLINE_PORT: expected a whole number, got 'many'"),
        ("TRUNKLINE_PORT", "", "TRUNKLINE_PORT: expected a whole number"),
        ("TRUNKLINE_PORT", "80.5", "a whole number"),
        ("TRUNKLINE_PORT", "-1", "between 0 and 65535"),
        ("TRUNKLINE_PORT", "65536", "between 0 and 65535"),
        ("TRUNKLINE_CONNECT_TIMEOUT", "soon", "TRUNKLINE_CONNECT_TIMEOUT: expected a number, got 'soon'"),
        ("TRUNKLINE_CONNECT_TIMEOUT", "0", "at least 0.001"),
        ("TRUNKLINE_CONNECT_TIMEOUT", "nan", "a number"),
        ("TRUNKLINE_IDLE_TIMEOUT", "inf", "a number"),
        ("TRUNKLINE_MAX_CONNECTIONS", "0", "at least 1"),
        ("TRUNKLINE_LOG_LEVEL", "loud", "one of debug, info, warning, error, got 'loud'"),
        ("TRUNKLINE_TLS", "on", "one of off, local, files"),
        ("TRUNKLINE_DATA_DIR", "", "expected a path"),
        ("TRUNKLINE_TLS_KEY", " ", "expected a path"),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(variable: str, value: str, words: str) -> None:
    message = refusal("", {variable: value})
    assert message.startswith(variable)
    assert words in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = true", "port in given.toml: expected a whole number, got True"),
        ('port = "x"', "port in given.toml"),
        ("port = inf", "a whole number"),
        ("port = [1]", "a whole number"),
        ("host = 1", "host in given.toml: expected text, got 1"),
        ("data_dir = 1", "data_dir in given.toml: expected a path"),
        ("allowed_origins = 1", "allowed_origins in given.toml: expected a list of texts"),
        ("allowed_origins = [1]", "a list of texts"),
        ("allowed_origins = { a = 1 }", "a list of texts"),
        ("[upstream]\nconnect_timeout = true", "upstream.connect_timeout in given.toml: expected a number"),
        ("[upstream]\nidle_timeout = inf", "upstream.idle_timeout in given.toml"),
        ("[host]\na = 1", "expected text"),
    ],
)
def test_a_bad_line_of_the_file_is_refused_by_its_name(text: str, words: str) -> None:
    assert words in refusal(text)


def test_a_bad_flag_is_refused_as_it_was_typed() -> None:
    assert refusal(connect_timeout="soon").startswith("--connect-timeout: expected a number")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("prot = 1", "prot"),
        ("[local]\nmodle = 'x'", "local.modle"),
        ("[upstream]\nport = 1", "upstream.port"),
        ("local = 'x'", "local"),
        ("local_model = 'x'", "local_model"),
        ("[section]\na = 1", "section"),
    ],
)
def test_a_misspelt_name_in_the_file_is_an_error(text: str, name: str) -> None:
    assert f"unknown setting {name};" in refusal(text)


@pytest.mark.parametrize("variable", ["TRUNKLINE_PROT", "TRUNKLINE_", "TRUNKLINE_PROVIDERS", "TRUNKLINE_LOCAL__MODEL"])
def test_a_misspelt_variable_is_an_error(variable: str) -> None:
    assert f"Unknown variable {variable};" in refusal("", {variable: "x"})


def test_variables_of_other_programs_are_left_alone() -> None:
    assert load("", {"PORT": "1", "trunkline_port": "2", "TRUNKLINE_URL": "x"}).port == 8787


@pytest.mark.parametrize("text", ["8080", " 8080 ", "8_080"])
def test_a_number_in_a_variable_may_be_written_as_people_do(text: str) -> None:
    assert load("", {"TRUNKLINE_PORT": text}).port == 8080


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://a.example,https://b.example", ("https://a.example", "https://b.example")),
        (" https://a.example , ", ("https://a.example",)),
        ("", ()),
    ],
)
def test_a_list_in_a_variable_is_separated_by_commas(written: str, read: tuple[str, ...]) -> None:
    assert load("", {"TRUNKLINE_ALLOWED_ORIGINS": written}).allowed_origins == read


def test_a_list_in_the_file_is_a_list() -> None:
    assert load('allowed_hosts = ["a.example", " b.example "]').allowed_hosts == ("a.example", "b.example")


# Secrets


def test_a_secret_is_shown_neither_in_a_refusal_nor_in_the_representation() -> None:
    assert "hunter2" not in refusal("", {"TRUNKLINE_GATEWAY_TOKEN": "hunter2"})
    assert "1234567" not in refusal("gateway_token = 1234567")
    assert TOKEN not in repr(load("", {"TRUNKLINE_GATEWAY_TOKEN": TOKEN}))


def test_a_secret_is_shown_to_people_as_set_or_not() -> None:
    assert settings.value_words(entry("gateway_token"), TOKEN) == "set, not shown"
    assert settings.value_words(entry("gateway_token"), "") == "not set"


def test_other_values_are_shown_with_their_unit() -> None:
    assert settings.value_words(entry("connect_timeout"), 10.0) == "10 s"
    assert settings.value_words(entry("port"), 8787) == "8787"
    assert settings.value_words(entry("allowed_hosts"), ("a", "b")) == "a, b"
    assert settings.value_words(entry("allowed_hosts"), ()) == "none"
    assert settings.default_words(entry("idle_timeout")) == "300 s"
    assert settings.default_words(entry("data_dir")) == "~/.local/share/trunkline"


# Settings that belong together


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "gateway.example", ""])
def test_beyond_loopback_a_gateway_without_a_token_does_not_start(host: str) -> None:
    assert "without authentication" in refusal("", {"TRUNKLINE_HOST": host})
    assert load("", {"TRUNKLINE_HOST": host, "TRUNKLINE_GATEWAY_TOKEN": TOKEN}).authenticated


def test_a_short_token_is_refused() -> None:
    assert "at least 16 characters" in refusal("", {"TRUNKLINE_GATEWAY_TOKEN": "x" * 15})
    assert load("", {"TRUNKLINE_GATEWAY_TOKEN": "x" * 16}).authenticated


@pytest.mark.parametrize("character", ["/", "=", "+", ":", " ", "é", ",", '"'])
def test_a_token_that_a_browser_could_not_send_on_a_websocket_is_refused(character: str) -> None:
    token = f"{TOKEN}{character}more"
    message = refusal("", {"TRUNKLINE_GATEWAY_TOKEN": token})
    assert message.startswith("gateway_token")
    assert token not in message


def test_blanks_around_a_token_are_not_part_of_it() -> None:
    assert load("", {"TRUNKLINE_GATEWAY_TOKEN": f" {TOKEN}\n"}).gateway_token == TOKEN


def test_a_certificate_of_ones_own_needs_its_key() -> None:
    assert "needs tls_certificate and tls_key" in refusal('tls = "files"')
    assert "needs tls_certificate and tls_key" in refusal('tls = "files"\ntls_certificate = "c.pem"')
    whole = load('tls = "files"\ntls_certificate = "c.pem"\ntls_key = "k.pem"')
    assert (whole.tls_certificate, whole.tls_key) == (Path("c.pem"), Path("k.pem"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LocalHost", "localhost."])
def test_these_hosts_are_this_machine(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    ["", "0.0.0.0", "::", "128.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example", "127.1", "xlocalhost"],
)
def test_these_hosts_are_not_surely_this_machine(host: str) -> None:
    assert not is_loopback_host(host)


# Providers


def test_provider_tables_are_carried_as_they_are() -> None:
    text = '[providers.openai]\nbase_url = "https://x.example/v1"\n[providers.openai.headers]\na = "b"\n'
    assert load(text).providers == {"openai": {"base_url": "https://x.example/v1", "headers": {"a": "b"}}}


def test_a_variable_sets_one_field_of_a_provider() -> None:
    variables = {
        "TRUNKLINE_PROVIDERS__OPENAI__BASE_URL": "https://x.example/v1",
        "TRUNKLINE_PROVIDERS__AZURE_OPENAI__API_KEY": "k",
        "TRUNKLINE_PROVIDERS__WORKERS_AI__PARAMETERS__ACCOUNT": "0123",
    }
    assert load("", variables).providers == {
        "openai": {"base_url": "https://x.example/v1"},
        "azure-openai": {"api_key": "k"},
        "workers-ai": {"parameters": {"account": "0123"}},
    }


def test_a_variable_beats_the_field_of_the_file_and_leaves_the_others() -> None:
    text = '[providers.openai]\nbase_url = "https://file.example"\nversion = "v1"\n'
    loaded = load(text, {"TRUNKLINE_PROVIDERS__OPENAI__BASE_URL": "https://variable.example"})
    assert loaded.providers == {"openai": {"base_url": "https://variable.example", "version": "v1"}}


@pytest.mark.parametrize(
    "variable", ["TRUNKLINE_PROVIDERS__OPENAI", "TRUNKLINE_PROVIDERS__", "TRUNKLINE_PROVIDERS____X"]
)
def test_a_variable_that_names_no_field_is_refused(variable: str) -> None:
    assert "expected TRUNKLINE_PROVIDERS__<PROVIDER>__<FIELD>" in refusal("", {variable: "x"})


def test_a_variable_below_a_value_is_refused() -> None:
    message = refusal('[providers.openai]\nrealtime = "cascade"', {"TRUNKLINE_PROVIDERS__OPENAI__REALTIME__PATHS": "x"})
    assert "realtime is already a value" in message


@pytest.mark.parametrize("text", ["providers = 1", "providers = []", "[providers]\nopenai = 'x'"])
def test_providers_are_tables(text: str) -> None:
    assert "[providers.openai]" in refusal(text)


def test_a_file_refers_to_secrets_by_the_name_of_their_variable() -> None:
    text = '[providers.openai]\napi_key = "env:KEY"\n[providers.openai.headers]\nx-token = "env:OTHER"\n'
    assert load(text, {"KEY": "sk-1", "OTHER": "t"}).providers == {
        "openai": {"api_key": "sk-1", "headers": {"x-token": "t"}}
    }


def test_a_variable_that_is_not_set_is_named_with_the_field_that_wants_it() -> None:
    assert "providers.openai.api_key refers to the variable KEY" in refusal('[providers.openai]\napi_key = "env:KEY"')
    nested = '[providers.openai.headers]\nx-token = "env:KEY"'
    assert "providers.openai.headers.x-token refers to the variable KEY" in refusal(nested)


def test_the_representation_of_settings_holds_no_key_of_a_provider() -> None:
    assert "sk-stored" not in repr(load('[providers.openai]\napi_key = "sk-stored"'))


# Whatever arrives


@given(
    st.sampled_from([field.name for field in settings.table() if field.name != "providers"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
)
def test_any_text_for_any_setting_is_taken_or_refused_by_name(name: str, text: str) -> None:
    variable = settings.environment_name(entry(name))
    try:
        loaded = settings.load({}, {variable: text})
    except SettingsError as error:
        message = str(error)
        assert variable in message or name in message or "Refusing to listen" in message
    else:
        value = getattr(loaded, name)
        assert not isinstance(value, float) or math.isfinite(value)


toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["port", "host", "allowed_hosts", "upstream", "local", "providers", "tls", "data_dir", "odd"]),
        toml_values | st.dictionaries(st.sampled_from(["model", "idle_timeout", "openai"]), toml_values, max_size=2),
        max_size=3,
    )
)
def test_any_document_is_taken_or_refused(document: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_read_file", lambda *_: (Path("given.toml"), document))
        try:
            settings.load({}, {})
        except SettingsError:
            return
