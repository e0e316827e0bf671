"""Engines for tests: the real service on a private socket with a scripted model behind it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvicorn
from fakes.scripted_model import ScriptedModel
from support.waiting import until

from inference.api.status import Phase, Status, StatusBoard
from inference.models.adapter_store import FOLDER_VARIABLE
from inference.models.catalog import why_no_infill
from inference.server.app import EngineApp
from inference.server.leases import Leases
from inference.server.model_manager import Load, ModelManager
from inference.server.scheduler import Scheduler
from inference.server.transport import ListenerServer, PrivateProtocol, listen
from inference.system.runtime_folder import bind_socket, runtime_folder
from lsp_server.backend.allowed_servers import LOCAL, URL_VARIABLE
from lsp_server.prompts import templates
from lsp_server.usage_statistics import storage


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder for one test, with a path short enough for a socket."""
    folder = tempfile.mkdtemp(prefix="cls-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    monkeypatch.setenv(FOLDER_VARIABLE, f"{folder}/adapters")  # not the user's own
    monkeypatch.setenv(storage.FOLDER_VARIABLE, f"{folder}/statistics")
    monkeypatch.setenv(URL_VARIABLE, LOCAL)  # not the user's remote server
    monkeypatch.setenv(templates.FOLDER_VARIABLE, f"{folder}/prompts")
    yield runtime_folder()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class RunningService:
    """A running engine service, its model and its server."""

    service: EngineApp
    answerer: ScriptedModel
    socket: Path
    server: uvicorn.Server
    port: int


@asynccontextmanager
async def serving(
    runtime: Path,
    answerer: ScriptedModel,
    phase: Phase = "ready",
    chat: ScriptedModel | None = None,
    load: Load | None = None,
    idle: Leases | None = None,
    token: str = "",
) -> AsyncIterator[RunningService]:
    """Serve ``answerer`` on ``runtime``'s socket, in this event loop, with a model thread of its own.

    ``chat`` is another model for chat, ``load`` reloads the models, ``idle`` counts leases on the weights. With a
    ``token`` the service also listens on TCP.
    """
    status = Status(phase, "loading weights", 40, answerer.row.id, (chat or answerer).row.id, pid=os.getpid())
    status = replace(status, limits=why_no_infill(answerer.row) or "")
    answerers = {one.row.id: one for one in (answerer, chat) if one}
    board, scheduler = StatusBoard(asyncio.get_running_loop(), status), Scheduler()
    weights = ModelManager(load or (lambda tell: answerers), board, scheduler, lambda: None)
    weights.loaded = answerers
    service = EngineApp(board, scheduler, weights, Leases(60), idle or Leases(600))
    server, port = _http_server(service, token)
    path = runtime / "engine.sock"
    thread = threading.Thread(target=service.scheduler.run, daemon=True)
    thread.start()
    running = asyncio.ensure_future(server._serve([bind_socket(path)]))
    await until(lambda: server.started)
    try:
        yield RunningService(service, answerer, path, server, port)
    finally:
        answerer.go.set()
        board.close()
        server.should_exit = True
        server.force_exit = True
        await running
        service.scheduler.close()
        await asyncio.to_thread(thread.join, 10)


def _http_server(service: EngineApp, token: str) -> tuple[ListenerServer, int]:
    """Return the server, not listening yet, and its TCP port: 0 without a token."""
    config = uvicorn.Config(
        service.app(), http=PrivateProtocol, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=0
    )
    tcp = listen(0) if token else None
    server = ListenerServer(config, tcp, token)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    return server, tcp.getsockname()[1] if tcp else 0
