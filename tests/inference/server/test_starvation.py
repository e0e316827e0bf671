"""A TCP client without the token cannot keep the user's own requests from being answered."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import RunningService, serving
from support.waiting import until

from inference.server import transport

TOKEN = "the-token-of-this-test"
HEALTH = b"GET /health HTTP/1.1\r\nhost: engine\r\n\r\n"
ALLOWED = b"GET /health HTTP/1.1\r\nhost: engine\r\nauthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
ATTACKERS = 600
DEADLINE = 10.0
"""Time limit in seconds for a response to the user. It usually takes milliseconds; more means a hang."""


def unix_client(running: RunningService) -> httpx.AsyncClient:
    """Return a client on the Unix socket, like an editor session's."""
    unix = httpx.AsyncHTTPTransport(uds=str(running.socket))
    return httpx.AsyncClient(transport=unix, base_url="http://engine", timeout=DEADLINE)


def tcp_client(running: RunningService) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"http://127.0.0.1:{running.port}"
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE, trust_env=False)


async def check_valid_request(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE):
        response = await client.post("/v1/completions", json={"prompt": "p"})
    assert response.json()["choices"][0]["text"] == "ab"


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Read until the engine closes the connection. Raises TimeoutError after DEADLINE."""
    async with asyncio.timeout(DEADLINE):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


class Slowloris:
    """Hundreds of TCP connections that send a request byte by byte and are reopened when closed."""

    def __init__(self, port: int, first: bytes) -> None:
        """Prepare the attack. ``first`` is a complete request that each connection sends before the slow one."""
        self.rounds = 0
        self._port, self._first = port, first
        self._open: list[asyncio.StreamWriter] = []

    async def run(self) -> None:
        try:
            while True:
                self._open = [writer for writer in self._open if self._dribble(writer)]
                missing = ATTACKERS - len(self._open)
                opened = await asyncio.gather(*(self._connect() for _ in range(missing)), return_exceptions=True)
                self._open += [writer for writer in opened if isinstance(writer, asyncio.StreamWriter)]
                self.rounds += 1
                await asyncio.sleep(0.05)
        finally:
            for writer in self._open:
                writer.transport.abort()

    async def _connect(self) -> asyncio.StreamWriter:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                if self._first:
                    writer.write(self._first)
                    await reader.readuntil(b"\r\n\r\n")
                writer.write(b"GET /health HTTP/1.1\r\nx: ")
            except BaseException:
                writer.transport.abort()
                raise
        return writer

    def _dribble(self, writer: asyncio.StreamWriter) -> bool:
        if writer.is_closing():
            return False
        writer.write(b"x")
        return True


@asynccontextmanager
async def slowloris_attack(running: RunningService, first: bytes) -> AsyncIterator[Slowloris]:
    slowloris = Slowloris(running.port, first)
    attacking = asyncio.ensure_future(slowloris.run())
    try:
        await until(lambda: slowloris.rounds >= 2, 60)
        yield slowloris
    finally:
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.parametrize("first", [b"", HEALTH], ids=["first-request", "second-request"])
async def test_slowloris_on_tcp_does_not_block_the_unix_socket(runtime, first):
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        async with unix_client(running) as client:
            await check_valid_request(client)
        await until(lambda: not running.server.server_state.connections)
        files = psutil.Process().num_fds()
        async with slowloris_attack(running, first) as slowloris:
            for _ in range(3):
                async with unix_client(running) as client:
                    await check_valid_request(client)
                rounds = slowloris.rounds
                await until(lambda rounds=rounds: slowloris.rounds > rounds)
        async with unix_client(running) as client:
            await check_valid_request(client)
        await until(lambda: psutil.Process().num_fds() <= files)


async def test_slow_clients_do_not_lock_out_the_token_holder(runtime):
    """Connections without token are displaced by newer ones, so a complete request gets through."""
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running, tcp_client(running) as early:
        await check_valid_request(early)
        slow = [
            await asyncio.open_connection("127.0.0.1", running.port) for _ in range(2 * transport.MAX_TCP_CONNECTIONS)
        ]
        for _, writer in slow:
            writer.write(b"GET /health HTTP/1.1\r\nx: ")
        async with tcp_client(running) as late:
            await check_valid_request(late)
            await check_valid_request(early)
        for _, writer in slow:
            writer.close()


async def test_connections_without_token_are_bounded(runtime, caplog):
    """Further ones displace the oldest. The log gets one line for all of them."""
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        opened = [
            await asyncio.open_connection("127.0.0.1", running.port) for _ in range(3 * transport.MAX_UNAUTHENTICATED)
        ]
        await until(lambda: len(running.server.server_state.connections) == transport.MAX_UNAUTHENTICATED)
        assert await read_to_end(opened[0][0]) == b""
        for _, writer in opened:
            writer.close()
    assert len([record for record in caplog.records if record.name == transport.log.name]) <= 1


async def test_rejected_token_closes_the_connection(runtime):
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(HEALTH)
        response = await read_to_end(reader)
        writer.close()
    assert response.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in response.partition(b"\r\n\r\n")[0].lower()


async def test_token_is_checked_before_the_body_is_read(runtime):
    """There is no ``100 Continue``, and no waiting for the body."""
    head = b"POST /v1/completions HTTP/1.1\r\nhost: e\r\ncontent-length: 5000000\r\nexpect: 100-continue\r\n\r\n"
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(head)
        response = await read_to_end(reader)
        writer.close()
    assert response.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(("listener", "status"), [("socket", 413), ("tcp", 401)])
async def test_rejection_reaches_a_client_that_still_sends(runtime, listener, status):
    """Closing immediately would reset the connection, and the client would not see the response."""
    body = b"a" * 12_000_000
    head = b"POST /v1/completions HTTP/1.1\r\nhost: e\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        for _ in range(20):
            reader, writer = await connected(running, listener)
            writer.write(head + body)
            response = await read_to_end(reader)
            writer.close()
            assert response.startswith(b"HTTP/1.1 %d " % status)
            assert json.loads(response.partition(b"\r\n\r\n")[2])["error"]["message"]


@pytest.mark.parametrize("listener", ["socket", "tcp"])
@pytest.mark.parametrize(
    "slow",
    [b"GET /health HTTP/1.1\r\nx: ", b"POST /v1/completions HTTP/1.1\r\nhost: e\r\n"],
)
async def test_second_request_has_a_time_limit_too(runtime, monkeypatch, listener, slow):
    monkeypatch.setattr(transport, "HEADER_SECONDS", 0.3)
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        reader, writer = await connected(running, listener)
        writer.write(ALLOWED)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        writer.write(slow)
        response = await read_to_end(reader)
        writer.close()
    assert response.startswith(b"HTTP/1.1 408 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_body_has_a_time_limit_after_an_early_response(runtime, monkeypatch):
    """An unknown path gets a response before its body has arrived; the rest of the body must arrive in time."""
    monkeypatch.setattr(transport, "BODY_SECONDS", 0.3)
    async with serving(runtime, ScriptedModel()) as running:
        reader, writer = await connected(running, "socket")
        writer.write(b"POST /nothing HTTP/1.1\r\nhost: e\r\ncontent-length: 1000000\r\n\r\nx")
        response = await read_to_end(reader)
        writer.close()
    assert response.startswith(b"HTTP/1.1 404 ")
    assert response.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("listener", ["socket", "tcp"])
async def test_headers_are_bounded_before_the_token_is_checked(runtime, listener):
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        reader, writer = await connected(running, listener)
        writer.write(b"GET /health HTTP/1.1\r\nhost: e\r\nx: " + b"a" * 60_000 + b"\r\n\r\n")
        response = await read_to_end(reader)
        writer.close()
        async with unix_client(running) as client:
            await check_valid_request(client)
    assert response.startswith(b"HTTP/1.1 400 ")


async def test_malformed_requests_do_not_fill_the_log(runtime, caplog):
    caplog.set_level(logging.INFO)
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        for _ in range(50):
            reader, writer = await connected(running, "tcp")
            writer.write(b"nonsense\r\n\r\n")
            assert (await read_to_end(reader)).startswith(b"HTTP/1.1 400 ")
            writer.close()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1


async def connected(running: RunningService, listener: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if listener == "tcp":
        return await asyncio.open_connection("127.0.0.1", running.port)
    return await asyncio.open_unix_connection(str(running.socket))
