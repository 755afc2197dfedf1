"""What `make docs` does besides MkDocs: the menu follows the files, and links may leave docs/ as they do in a checkout.

MkDocs calls these functions by their names (mkdocs.yml, hooks).
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Where the site has the files of the checkout that pages point to.
SOURCE = "source"
_OUTWARD = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that exist into the menu."""
    config.nav = _existing(Path(config.docs_dir), config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages point to."""
    for page in files.documentation_pages():
        for link in _OUTWARD.findall(page.content_string):
            path = _of_checkout(link, page, config)
            if path and path.is_file() and files.get_file_from_path(_in_site(path, config)) is None:
                files.append(File.generated(config, _in_site(path, config), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links that leave docs/ to those files. One to a file that is not there stays, and is reported."""

    def led(match: re.Match[str]) -> str:
        path = _of_checkout(match[1], page.file, config)
        if path is None or files.get_file_from_path(_in_site(path, config)) is None:
            return match[0]
        start = PurePosixPath(page.file.src_uri).parent
        return "](" + os.path.relpath(_in_site(path, config), start)

    return _OUTWARD.sub(led, markdown)


def _existing(docs: Path, entry: Any) -> Any:
    match entry:
        case list():
            return [kept for one in entry if (kept := _existing(docs, one))]
        case dict():
            return {title: kept for title, inner in entry.items() if (kept := _existing(docs, inner))}
        case str() if entry.endswith("/"):
            return sorted(path.relative_to(docs).as_posix() for path in (docs / entry).glob("*.md"))
        case _:
            return entry if (docs / entry).is_file() else None


def _of_checkout(link: str, page: File, config: MkDocsConfig) -> Path | None:
    """Return what a page's link means, if that lies outside docs/ and in the checkout."""
    docs = Path(config.docs_dir)
    target = (docs / PurePosixPath(page.src_uri).parent / link).resolve()
    return target if target.is_relative_to(docs.parent) and not target.is_relative_to(docs) else None


def _in_site(path: Path, config: MkDocsConfig) -> str:
    # A page of the site would have to have all its own links here; as text it is shown as it is.
    name = path.relative_to(Path(config.docs_dir).parent).as_posix()
    return f"{SOURCE}/{name}.txt" if path.suffix == ".md" else f"{SOURCE}/{name}"
