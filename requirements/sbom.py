"""Finishes the CycloneDX lists in dist/: ``python requirements/sbom.py core local teams console``.

The tools that make them leave out what a reader asks first, of which version a list is and what Trunkline itself asks
for, and put the moment and a random number in. As they are written here, the same commit makes the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXTRAS = {"core": [], "local": ["local"], "teams": ["postgres", "valkey", "oidc", "parquet", "otel"]}


def finished(name: str, made: dict[str, Any], version: str, project: dict[str, Any], moment: int) -> dict[str, Any]:
    """A list with its subject's version, and with the commit's time (seconds) for that of its making."""
    subject = made["metadata"]["component"]
    subject["version"] = version
    made["metadata"]["timestamp"] = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made.pop("serialNumber", None)
    if name == "console":
        subject["name"] = "trunkline-console"  # npm takes the folder's
        subject["purl"] = re.sub("@.*", f"@{version}", subject["purl"])
        return made
    places = {_plain(component["name"]): component["bom-ref"] for component in made["components"]}
    for component in made["components"]:
        component.pop("description", None)  # the line of the lock file, with all hashes, which stand below again
    asked = [
        *project["dependencies"],
        *(one for extra in EXTRAS[name] for one in project["optional-dependencies"][extra]),
    ]
    needed = {_plain(re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0]) for one in asked}
    made["dependencies"] = [one for one in made["dependencies"] if one["ref"] != subject["bom-ref"]]
    made["dependencies"].append({"ref": subject["bom-ref"], "dependsOn": sorted(places[one] for one in needed)})
    return made


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(names: list[str]) -> None:
    """Finish the lists of these names where they lie, and have the format's own schema look at them."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = re.findall(
        r'^__version__ = "(.+)"$', (ROOT / "src/trunkline/__init__.py").read_text("utf-8"), re.MULTILINE
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name in names:
        path = ROOT / "dist" / f"sbom-{name}.cdx.json"
        made = finished(
            name, json.loads(path.read_text("utf-8")), version[0], project, int(os.environ["SOURCE_DATE_EPOCH"])
        )
        text = json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        fault = JsonStrictValidator(SchemaVersion.from_version(made["specVersion"])).validate_str(text)
        if fault is not None:
            raise SystemExit(f"{path}: {fault}")
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
