"""The console's documents: one for each page, any of which shows any page."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.running import gateway, run

PAGE = {"accept": "text/html"}


def test_the_document_of_a_page_names_the_files_of_that_page() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(base_url=address.http, headers=PAGE) as client:
            for path, page in (
                ("/", "OverviewPage"),
                ("/chat", "ChatPage"),
                ("/logs/some-id", "LogsPage"),
                ("/voice/", "VoicePage"),
            ):
                document = await client.get(path)
                named = re.findall(r'<link rel="modulepreload" crossorigin href="(/assets/[^"]+)" />', document.text)
                assert [name for name in named if page in name], path
                for name in named:
                    assert (await client.get(name)).headers["content-type"].startswith("text/javascript"), name
                assert "default-src 'none'" in document.headers["content-security-policy"]
                assert '<script type="module" crossorigin src="/assets/main-' in document.text
            # The application says what it does not know.
            assert (await client.get("/nowhere/at/all")).text == (await client.get("/")).text
            assert (await client.get("/direct")).text == (await client.get("/direct/")).text

    run(main())


@pytest.mark.parametrize("path", ["/nowhere", "/assets/gone.js", "/../secrets"])
def test_who_asks_for_no_document_gets_none_in_the_place_of_a_file(path: str) -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(base_url=address.http) as client:
            assert (await client.get(path, headers={"accept": "*/*"})).status_code == 404

    run(main())
