"""A real network between a gateway and its provider, which loses packets, delays them, and is cut."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.contract.log_rows import stream_of
from tests.contract.raw_server import raw_server
from tests.contract.test_journal_survives import rows
from tests.contract.waiting import until
from tests.faults.network import HOSTS, Cable, network, within
from tests.faults.stage import ANSWER, Act, Client, Got, Provider, chat_of, says
from tests.running import data_directory, program, run

pytestmark = pytest.mark.whole

WORDS = [f"word {number} " * 200 for number in range(20)]
STREAM = stream_of(*WORDS)
BEGUN = STREAM[:3]
ACTS: dict[str, Act] = {"streams": says(*STREAM), "begins": says(*BEGUN, then="hangs")}

Ask = Callable[..., Awaitable[Got]]


@contextmanager
def gateway_and_provider(tmp_path: Path, directory: Path) -> Iterator[tuple[Cable, int, socket.socket, ssl.SSLContext]]:
    """A gateway on one host, and on the other one the socket at which its provider listens."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOSTS["tl-provider"]).configure_cert(context)
    with network() as cable:
        with within("tl-provider"):
            listening = socket.create_server((HOSTS["tl-provider"], 0))
        environment = {
            "TRUNKLINE_DATA_DIR": str(directory),
            "TRUNKLINE_PROVIDERS__OPENAI__BASE_URL": f"https://{HOSTS['tl-provider']}:{listening.getsockname()[1]}/v1",
            "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
            "TRUNKLINE_CONNECT_TIMEOUT": "10",
            "TRUNKLINE_FIRST_BYTE_TIMEOUT": "10",
            "TRUNKLINE_IDLE_TIMEOUT": "5",
        }
        started = program("serve", "--port", "0", environment=environment)
        with within("tl-gateway"):
            running = started.__enter__()
        try:
            yield cable, running.address.port, listening, context
        finally:
            started.__exit__(None, None, None)
            listening.close()


async def client_of(port: int) -> Client:
    """A client on the gateway's host."""
    with within("tl-gateway"):
        there = socket.create_connection(("127.0.0.1", port))
    there.setblocking(False)
    return Client(*await asyncio.open_connection(sock=there))


async def ask(port: int, model: str) -> Got:
    async with await client_of(port) as client:
        client.ask(chat_of(model, stream=model != "good"))
        return await client.answer()


def test_a_network_that_loses_and_delays_packets_costs_time_and_no_answer(tmp_path: Path) -> None:
    with data_directory() as directory:
        with gateway_and_provider(tmp_path, directory) as (cable, port, listening, tls):

            async def main() -> None:
                async with raw_server(Provider(ACTS), sock=listening, tls=tls):
                    cable.delay, cable.loss = 0.02, 0.03
                    streams = [ask(port, "streams") for _ in range(30)]
                    chats = [ask(port, "good") for _ in range(60)]
                    got = await asyncio.gather(*streams, *chats)
                    assert all(one.status == 200 and one.is_whole for one in got)
                    assert len({one.body for one in got[:30]}) == 1
                    assert all(word.encode() in got[0].body for word in WORDS)
                    assert all(ANSWER["choices"][0]["message"]["content"].encode() in one.body for one in got[30:])
                    assert cable.lost > 0

            run(main(), 150)
        run(all_are_there(directory, 90))


def test_a_network_that_is_cut_ends_what_was_under_way_and_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    with data_directory() as directory:
        with gateway_and_provider(tmp_path, directory) as (cable, port, listening, tls):

            async def main() -> None:
                there = Provider(ACTS)
                async with raw_server(there, sock=listening, tls=tls):
                    assert (await ask(port, "good")).status == 200
                    begun = asyncio.create_task(ask(port, "begins"))
                    await there.until_asked("begins")
                    cable.is_cut = True
                    got = await asyncio.gather(begun, *[ask(port, "good") for _ in range(5)])
                    assert (got[0].status, got[0].is_whole) in ((200, False), (504, True))
                    assert {(one.status, one.code) for one in got[1:]} == {(504, "upstream_timeout")}
                    cable.is_cut = False

                    async def is_back() -> bool:
                        return (await ask(port, "good")).status == 200

                    await until(is_back)

            run(main(), 150)
        run(all_are_there(directory, 8))


async def all_are_there(directory: Path, least: int) -> None:
    assert len(await rows(directory, "")) >= least
