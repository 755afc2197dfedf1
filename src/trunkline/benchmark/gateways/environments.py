"""Environments that gateways are installed in, each its own: of Python, of npm, of Debian's packages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from trunkline.benchmark.gateways.gateway import Size, run

# What makes an environment, and is no part of what was asked for.
_TOOLS: Final = frozenset({"pip", "setuptools", "wheel"})


class PythonEnvironment(msgspec.Struct, frozen=True):
    """A virtual environment with a distribution and what it requires."""

    distribution: str
    requirements: Sequence[str]
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)

    def install(self, home: Path) -> None:
        """Make it anew. Raises `BenchmarkError`."""
        run(sys.executable, "-m", "venv", "--clear", home)
        run(program(home, "pip"), "install", "--quiet", *self.requirements, environment=self.variables)

    def version(self, home: Path) -> str:
        """Return the distribution's version; empty when it is not there."""
        found = metadata.distributions(name=self.distribution, path=_packages(home))
        return next((one.version for one in found), "")

    def size(self, home: Path) -> Size | None:
        """Return the size without Python itself, what is compiled later, and the tools of an environment."""
        if not self.version(home):
            return None
        total, names = 0, set()
        for folder in _packages(home):
            total += _bytes(Path(folder), [Path(folder, name) for name in _TOOLS])
            for one in metadata.distributions(path=[folder]):
                names.add(one.name.lower().replace("_", "-"))
                # Commands, and whole programs that are no Python, are beside the packages.
                beside = [Path(str(one.locate_file(file))) for file in one.files or () if file.parts[0] == ".."]
                if one.name not in _TOOLS:
                    total += sum(file.stat().st_size for file in beside if file.is_file())
        return Size(total, len(names - _TOOLS))


def program(home: Path, name: str) -> Path:
    """Return a command of a virtual environment."""
    return home / "bin" / name


def _packages(home: Path) -> list[str]:
    return [str(one) for one in home.glob("lib/python*/site-packages")]


class NodeEnvironment(msgspec.Struct, frozen=True):
    """A folder with a package of npm and what it requires."""

    package: str

    def install(self, home: Path) -> None:
        """Install it; scripts of packages are not run. Raises `BenchmarkError`."""
        home.mkdir(parents=True, exist_ok=True)
        flags = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        run("npm", "install", "--prefix", home, *flags, self.package)

    def version(self, home: Path) -> str:
        """Return the package's version; empty when it is not there."""
        file = home / "node_modules" / self.package / "package.json"
        return str(json.loads(file.read_text("utf-8"))["version"]) if file.is_file() else ""

    def size(self, home: Path) -> Size | None:
        """Return the size, without Node.js itself."""
        if not self.version(home):
            return None
        lock = json.loads((home / "node_modules" / ".package-lock.json").read_text("utf-8"))
        return Size(_bytes(home / "node_modules"), len(lock["packages"]))


class DebianEnvironment(msgspec.Struct, frozen=True):
    """Packages of Debian, unpacked in a folder: nothing of the machine is changed, and nobody has to be root.

    The first one is the gateway, others are what it needs and machines do not have.
    """

    packages: Sequence[str]

    def install(self, home: Path) -> None:
        """Unpack them. Raises `BenchmarkError`."""
        home.mkdir(parents=True, exist_ok=True)
        run("apt-get", "download", *self.packages, folder=home)
        for archive in home.glob("*.deb"):
            run("dpkg-deb", "--extract", archive, home)

    def version(self, home: Path) -> str:
        """Return the first package's version; empty when it is not there."""
        archives = sorted(home.glob(f"{self.packages[0]}_*.deb"))
        return archives[-1].name.split("_")[1] if archives else ""

    def size(self, home: Path) -> Size | None:
        """Return the size of the packages; what they use of the system is not in it."""
        archives = set(home.glob("*.deb"))
        return Size(_bytes(home, archives), len(archives)) if archives else None


def libraries(home: Path) -> dict[str, str]:
    """Return the variable by which programs of Debian's packages find the libraries that were unpacked with them."""
    return {"LD_LIBRARY_PATH": ":".join(str(one) for one in home.glob("usr/lib/*-linux-gnu"))}


def _bytes(folder: Path, leaving_out: Iterable[Path] = ()) -> int:
    """Return the bytes of all files, without those of compiled modules and what is left out."""
    left_out = set(leaving_out)
    total = 0
    for where, folders, files in os.walk(folder):
        here = Path(where)
        folders[:] = [name for name in folders if name != "__pycache__" and here / name not in left_out]
        for name in files:
            file = here / name
            if file not in left_out and not file.is_symlink():
                total += file.stat().st_size
    return total
