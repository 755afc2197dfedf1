"""What is in deploy/: judged by nginx, systemd and Helm themselves, and against the settings that the product has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
import yaml

from trunkline import __version__, settings

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
CHART: Final = DEPLOY / "helm" / "trunkline"
GIVEN: Final = {
    "secret.databaseUrl": "postgresql://u:p@db/trunkline",
    "secret.valkeyUrl": "valkey://cache",
    "secret.masterKey": "0" * 64,
    "secret.gatewayToken": "t" * 24,
}


def program(name: str) -> str:
    """A program that `make test` installs where it is missing; /usr/sbin is on no ordinary user's path."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:{ROOT / '.venv' / 'bin'}")
    assert found is not None, f"{name} is missing; `make unit` installs it or says what to install"
    return found


def done(*command: str | Path) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


# nginx


def nginx_accepts(folder: Path, configuration: str) -> None:
    leaf = trustme.CA().issue_cert("gateway.example")
    leaf.private_key_pem.write_to_path(folder / "gateway.example.key")
    leaf.cert_chain_pems[0].write_to_path(folder / "gateway.example.pem")
    (folder / "trunkline.conf").write_text(configuration.replace("/etc/nginx/tls/", f"{folder}/"))
    main = folder / "nginx.conf"
    main.write_text(f"pid {folder}/pid; events {{}} http {{ include {folder}/trunkline.conf; }}")
    done(program("nginx"), "-t", "-q", "-e", f"{folder}/error.log", "-p", folder, "-c", main)


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    text = (DEPLOY / "nginx" / "trunkline.conf").read_text()
    nginx_accepts(tmp_path, text)
    for line in ("proxy_buffering off;", "proxy_set_header Upgrade $http_upgrade;", "proxy_http_version 1.1;"):
        assert line in text
    assert float(re.findall(r"keepalive_timeout (\d+)s", text)[0]) < 75
    waits = max(settings.Settings.first_byte_timeout, settings.Settings.idle_timeout)
    assert float(re.findall(r"proxy_read_timeout (\d+)s", text)[0]) > waits


def test_composes_nginx_is_the_same_but_for_names_and_tls(tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / "nginx.conf").read_text()
    own = (DEPLOY / "nginx" / "trunkline.conf").read_text()
    for number in (1, 2, 3):
        own = own.replace(f"server 127.0.0.1:{8786 + number} ", f"server gateway-{number}:8787 ")
        assert f"gateway-{number}" in compose()["services"]
    own = re.sub(
        r"  listen 443.*\n  listen.*\n  server_name .*\n(?:  ssl_.*\n)+", "  listen 8080;\n  server_name _;\n", own
    )
    assert text.partition("\n")[2] == own.partition("\n")[2]
    nginx_accepts(tmp_path, text.replace("gateway-", "127.0.0."))


# systemd


def test_systemd_takes_the_unit_and_finds_little_exposed(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "trunkline@.service").read_text()
    unit = tmp_path / "trunkline@8787.service"
    unit.write_text(text.replace("/opt/trunkline/bin/trunkline", str(Path(sys.executable).with_name("trunkline"))))
    said = done(program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit)
    assert unit.name not in said, said
    # Of 100, in tenths; a service without any protection has 96.
    said = done(program("systemd-analyze"), "security", "--offline=yes", "--threshold=20", unit)
    assert "OK" in said


def test_systemd_waits_for_longer_than_a_stop_may_take() -> None:
    unit = (DEPLOY / "systemd" / "trunkline@.service").read_text()
    drain = int(re.findall(r"DRAIN_TIMEOUT=(\d+)", (DEPLOY / "systemd" / "trunkline.env").read_text())[0])
    assert int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]) >= drain + 20


# Settings


def test_every_setting_that_is_named_there_is_one() -> None:
    known = {settings.environment_name(entry) for entry in settings.table()} | settings.OTHER_VARIABLES
    named = {
        name
        for path in DEPLOY.rglob("*")
        if path.is_file()
        for name in re.findall(r"\bTRUNKLINE_[A-Z_]+(?!\w|\{)", path.read_text("utf-8"))
    }
    assert named > {"TRUNKLINE_DATABASE_URL", "TRUNKLINE_DRAIN_TIMEOUT"}
    assert {name for name in named if not name.endswith("_")} <= known


def test_no_secret_stands_in_a_recipe() -> None:
    for path in DEPLOY.rglob("*"):
        for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
            assert not re.search(r"(?:TOKEN|MASTER_KEY|PASSWORD)=\S", line.partition("#")[0]), (path, line)


# The image


def test_the_image_is_built_in_stages_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 3
    assert not [base for base in bases if "/" in base], "an image of the user's own registry, whichever that is"
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "/readyz" in last[last.index("HEALTHCHECK") :]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for given in re.findall(r"ARG EXTRAS=(\S+)", text):
        assert set(given.split(",")) <= extras.keys()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
            assert f"!{source.partition('/')[0]}" in ignored


# Compose


@cache
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    return found


def test_compose_has_three_gateways_alike_that_wait_for_what_they_share() -> None:
    services = compose()["services"]
    gateways = {name: service for name, service in services.items() if name.startswith("gateway-")}
    assert len(gateways) == 3
    for service in gateways.values():
        assert (ROOT / "deploy" / "compose" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        drain = int(service["environment"]["TRUNKLINE_DRAIN_TIMEOUT"])
        assert int(service["stop_grace_period"].removesuffix("s")) >= drain + 20
        for name in service["depends_on"]:
            assert services[name]["healthcheck"]["test"]
    volumes = [volume.partition(":")[0] for service in gateways.values() for volume in service["volumes"]]
    assert len(set(volumes)) == 3, "each has a journal of its own"
    assert set(volumes) | {"postgres", "valkey"} == compose()["volumes"].keys()
    assert set(services["nginx"]["depends_on"]) == gateways.keys()


def test_compose_takes_every_secret_from_its_environment_and_refuses_to_start_without() -> None:
    text = (DEPLOY / "compose" / "compose.yaml").read_text()
    example = set(re.findall(r"^([A-Z_]+)=$", (DEPLOY / "compose" / ".env.example").read_text(), re.MULTILINE))
    demanded, offered = set(re.findall(r"\$\{([A-Z_]+):\?\}", text)), set(re.findall(r"\$\{([A-Z_]+):-\}", text))
    assert demanded | offered == example
    assert {name for name in example if re.search("TOKEN|KEY|PASSWORD", name)} == demanded


# Helm


def helm(*arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    flags = [part for name, value in {**GIVEN, **values}.items() for part in ("--set", f"{name}={value}")]
    return subprocess.run([program("helm"), *arguments, str(CHART), *flags], capture_output=True, text=True)


def rendered(**values: str) -> dict[str, dict[str, Any]]:
    """The chart's objects by their kinds; of Services the first."""
    result = helm("template", "try", **values)
    assert result.returncode == 0, result.stderr
    found: dict[str, dict[str, Any]] = {}
    for document in yaml.safe_load_all(result.stdout):
        found.setdefault(document["kind"], document)
    return found


def test_helm_finds_no_fault_in_the_chart() -> None:
    result = helm("lint", "--strict")
    assert result.returncode == 0, result.stdout
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def test_a_pod_of_the_chart_is_kept_on_a_short_rein_and_stopped_with_care() -> None:
    objects = rendered(**{"settings.public_url": "https://gateway.example", "drainSeconds": "90"})
    spec = objects["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]
    assert pod["terminationGracePeriodSeconds"] == 5 + 90 + 20
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment == {"TRUNKLINE_DRAIN_TIMEOUT": "90", "TRUNKLINE_PUBLIC_URL": "https://gateway.example"}
    assert objects["Secret"]["stringData"]["TRUNKLINE_GATEWAY_TOKEN"] == "t" * 24
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert objects["Service"]["spec"]["selector"] == spec["selector"]["matchLabels"]
    assert spec["volumeClaimTemplates"]


def test_the_charts_switches_do_what_they_say() -> None:
    off = rendered(**{"secret.existing": "mine", "persistence.enabled": "false"})
    assert "Secret" not in off
    spec = off["StatefulSet"]["spec"]
    assert "volumeClaimTemplates" not in spec
    assert {volume["name"] for volume in spec["template"]["spec"]["volumes"]} == {"data", "tmp"}
    assert spec["template"]["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "mine"}}]
    assert spec["replicas"] == 3
    on = rendered(**{"ingress.enabled": "true", "ingress.host": "gateway.example", "autoscaling.enabled": "true"})
    assert on["Ingress"]["spec"]["rules"][0]["host"] == "gateway.example"
    assert "replicas" not in on["StatefulSet"]["spec"]
    assert on["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == on["StatefulSet"]["metadata"]["name"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("secret.databaseUrl", "", "several pods share one PostgreSQL"),
        ("secret.databaseUrl", "mysql://x", "/secret/databaseUrl"),
        ("secret.gatewayToken", "short", "/secret/gatewayToken"),
        ("replicas", "0", "/replicas"),
        ("replica", "2", "replica"),
        ("settings.Public-Url", "x", "Public-Url"),
    ],
)
def test_values_that_cannot_be_right_are_refused(name: str, value: str, said: str) -> None:
    result = helm("template", "try", **{name: value})
    assert result.returncode != 0
    assert said in result.stderr
