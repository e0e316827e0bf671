"""An engine for one benchmark, in a runtime folder of its own, so that no editor's requests disturb it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from inference.api.engine_errors import EngineUnavailable
from inference.api.status import Status
from inference.client.engine_client import EngineClient
from inference.client.engine_process import EngineNotStarted, EngineOptions, ensure_engine
from inference.system.runtime_folder import NotPrivateError
from lsp_server.backend.allowed_servers import LOCAL, URL_VARIABLE
from lsp_server.benchmark.sides.http_sides import OpenAiSide
from lsp_server.benchmark.sides.side import BenchError

NAME = "codellama-ls"
NEVER = 0.0
"""Idle time before weights are unloaded: none, however long a rival takes."""
GRACE_SECONDS = 10.0
"""Seconds without a lease before the engine exits; the first lease takes a moment."""


@asynccontextmanager
async def own_engine(model: str, form: str) -> AsyncIterator[OpenAiSide]:
    """Start an engine as a side. Raises ``BenchError``."""
    async with started_engine(model, form) as (socket, pid):
        side = side_on(socket, model, pid)
        try:
            yield side
        finally:
            await side.aclose()


@asynccontextmanager
async def started_engine(model: str, form: str) -> AsyncIterator[tuple[Path, int]]:
    """Start an engine and yield its socket and process when it is ready. Raises ``BenchError``."""
    with isolated_runtime():
        try:
            socket = await ensure_engine(EngineOptions(model, form, GRACE_SECONDS, idle=NEVER))
        except (EngineNotStarted, NotPrivateError) as error:
            raise BenchError(str(error)) from error
        client = EngineClient(socket)
        try:
            async with aclosing(client.lease()) as statuses:
                pid = await _ready(statuses)
                try:
                    yield socket, pid
                finally:
                    _end(pid)
        except EngineUnavailable as error:
            raise BenchError(str(error)) from error
        finally:
            await client.aclose()


def side_on(socket: Path, model: str, pid: int | None = None) -> OpenAiSide:
    """Return the engine on this socket as a side."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    http = httpx.AsyncClient(
        transport=transport, base_url="http://engine", timeout=httpx.Timeout(None), trust_env=False
    )
    return OpenAiSide(http, NAME, model, pid, own=True)


@contextmanager
def isolated_runtime() -> Iterator[None]:
    """Set the environment so that processes use a new local engine, even if a remote server is configured."""
    folder = tempfile.mkdtemp(prefix="cls-bench-")
    ours = {"XDG_RUNTIME_DIR": folder, URL_VARIABLE: LOCAL}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def _end(pid: int) -> None:
    """Terminate the engine; nobody else has a lease."""
    with suppress(psutil.Error):
        psutil.Process(pid).terminate()


async def _ready(statuses: AsyncIterator[Status]) -> int:
    """Wait until the engine is ready and return its process. Raises ``BenchError`` if it fails."""
    async for status in statuses:
        if status.phase == "failed":
            raise BenchError(status.message)
        if status.phase == "ready":
            return status.pid
    raise BenchError("The engine exited. Its log says why.")
