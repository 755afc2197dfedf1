"""How many connections clients may have, by the limit of open files."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from trunkline.server.open_files import connections_for, raise_limit

LIMITED = """
import resource
from trunkline.server.open_files import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 1000))
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_a_process_opens_as_many_files_as_it_may() -> None:
    ran = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["372", "1000", "1000"]


def test_where_the_limit_cannot_be_raised_it_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit() == 384


@pytest.mark.parametrize(
    ("files", "connections"), [(65_536, 32_640), (1024, 384), (64, 1), (resource.RLIM_INFINITY, 0)]
)
def test_half_of_what_is_left_is_for_clients(files: int, connections: int) -> None:
    assert connections_for(files) == connections
