"""The README and the documentation, done as they are printed, and built as a site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.databases import Postgres, postgres_server
from tests.e2e.documents import ROOT, blocks, check_known, commands_in_words, pages, words_of
from tests.e2e.reading import Samples, SharedModels, check_by_sight, machine
from tests.running import program, run

TOKEN = "the-gateways-own-token-of-the-docs"
LIMIT = 120  # seconds; it only ends a test that hangs
# What a page's samples have to say, together, and how often.
SAID = {"README.md": ("Paris", 5), "docs/gateways.md": ('"value": "ek_tl_', 1)}
NOT_RUN = 13  # at most; two are run by a test of their own
IN_NEED_OF_A_MACHINE = {"sh", "bash", "console", "python", "js", "toml"}


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[[], Postgres]]:
    """A server of PostgreSQL, once a page asks for one."""
    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(postgres_server()))


@pytest.fixture(scope="module")
def samples() -> Iterator[Callable[[], Samples]]:
    """What runs samples of Python, once there is one."""
    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(Samples()))


@pytest.fixture(scope="module", autouse=True)
def models() -> Iterator[None]:
    """One process with the local models for all pages, once one uses them."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        start = cache(lambda: stack.enter_context(program("local", "--port", "0")).address)
        patch.setattr(SharedModels, "address", staticmethod(start), raising=False)
        patch.setattr("trunkline.server.gateway.LocalWorker", SharedModels)
        yield


@pytest.mark.parametrize("page", pages())
def test_what_a_page_shows_works(
    page: str, tmp_path: Path, samples: Callable[[], Samples], server: Callable[[], Postgres]
) -> None:
    found = blocks(page)
    if not any(block.language in IN_NEED_OF_A_MACHINE and "not run" not in block.notes for block in found):
        for block in found:
            check_by_sight(block)
        return

    shows_token = any("$TOKEN" in block.text for block in found)

    async def main() -> None:
        async with machine(tmp_path, samples, server, TOKEN if shows_token else "") as reader:
            await reader.read(page)
            words, times = SAID.get(page, ("", 0))
            assert reader.said.count(words) >= times, reader.said
            assert reader.upstream.leaks == []

    run(main(), LIMIT)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    found = [
        (block.where, block.notes["not run"]) for page in pages() for block in blocks(page) if "not run" in block.notes
    ]
    assert len(found) <= NOT_RUN, "\n".join(f"{where} is not run: {why}" for where, why in found)


@pytest.mark.parametrize("page", pages())
def test_a_command_that_a_sentence_names_exists(page: str) -> None:
    for command in commands_in_words(page):
        check_known(words_of(command))


def test_the_site_builds_with_every_page_and_every_link_and_fetches_nothing(tmp_path: Path) -> None:
    # Not with --quiet: what is not said is not counted either, and nothing would be an error.
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    for page in (ROOT / "docs").rglob("*.md"):
        assert (tmp_path / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?(https?:[^\s\">]+)", page.read_text("utf-8"))
        linked = re.findall(r"<link[^>]+href=\"?(https?:[^\s\">]+)", page.read_text("utf-8"))
        assert (page.name, fetched, linked) == (page.name, [], [])
        assert 'class="mermaid"' not in page.read_text("utf-8")  # the theme would fetch what draws it
