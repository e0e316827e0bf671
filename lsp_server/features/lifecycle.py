"""``initialize``, ``initialized`` and ``shutdown``. The server responds to ``initialize`` before it has a backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from lsprotocol import types

from inference.api.status import Status
from inference.client.engine_process import EngineOptions
from inference.remote.server_profile import ProbeRequest
from lsp_server.backend import allowed_servers
from lsp_server.backend.backend import Backend
from lsp_server.backend.local_engine import LocalEngine
from lsp_server.backend.remote_server import RemoteServer
from lsp_server.features import completion
from lsp_server.features.configuration import apply
from lsp_server.features.usage_statistics import today
from lsp_server.lsp.displayed_items import detect_reports
from lsp_server.lsp.params import announces
from lsp_server.lsp.work_done_progress import EngineProgress, cancel_background_tasks
from lsp_server.session import CodeLlamaServer

log = logging.getLogger(__name__)

STATUS = "codellama/status"
"""Custom notification: the backend's status and the usage figures of ``today``, sent when either changes."""


def register(server: CodeLlamaServer) -> None:
    """Register the three methods."""
    server.feature(types.INITIALIZE)(initialize)
    server.feature(types.INITIALIZED)(initialized)
    server.feature(types.SHUTDOWN)(shutdown)


def initialize(server: CodeLlamaServer, params: types.InitializeParams) -> None:
    """Apply the settings and detect the client's capabilities."""
    apply(server, params.initialization_options)
    info = params.client_info
    server.keeps_lines = info is not None and info.name.lower() in ("neovim", "nvim", "vim")
    detect_reports(server, params)
    document = params.capabilities.text_document
    if document is None or document.inline_completion is None:
        completion.register(server)


def initialized(server: CodeLlamaServer, params: types.InitializedParams) -> None:
    """Start to connect to the engine or the remote server."""
    del params
    progress = EngineProgress(server)
    server.backend = _backend(server, lambda status: _on_status(server, progress, status))
    server.backend.start()
    server.statistics.start(_from_a_thread(lambda: _send_status(server)))


async def shutdown(server: CodeLlamaServer, params: None) -> None:
    """Stop all work and release the engine's lease. The engine stays while another session holds one."""
    del params
    server.pipeline.in_flight.stop_all()
    server.chats.stop()
    server.watch.forget()
    await cancel_background_tasks(server)
    await asyncio.to_thread(server.statistics.close)
    if server.backend is not None:
        await server.backend.stop()
        server.backend = None


def _from_a_thread(action: Callable[[], None]) -> Callable[[], None]:
    """Return a function that another thread may call to run ``action`` in the event loop, unless the loop is closed."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(action)

    return call


def _send_status(server: CodeLlamaServer) -> None:
    if server.backend is not None and announces(server, "codellamaStatus"):
        server.protocol.notify(STATUS, {**server.backend.status.to_json(), "today": today(server)})


def _backend(server: CodeLlamaServer, on_status: Callable[[Status], None]) -> Backend:
    """Return the remote server if the user configured one, else the local engine."""
    chosen = server.settings.engine
    if allowed_servers.is_named(server.engine_url):
        wanted = ProbeRequest(chosen.model, chosen.chat_model)
        return RemoteServer(
            partial(allowed_servers.find_server, server.engine_url), wanted, on_status, server.warn_once
        )
    context = chosen.context or None
    options = EngineOptions(
        chosen.model, chosen.format, chosen.grace_seconds, context, chosen.chat_model, chosen.idle_minutes * 60
    )
    return LocalEngine(options, on_status)


def _on_status(server: CodeLlamaServer, progress: EngineProgress, status: Status) -> None:
    log.info("engine: %s %s %d%%", status.phase, status.message, status.progress)
    progress.show(status)
    _send_status(server)
    if status.phase == "failed":
        server.show_once(types.MessageType.Error, status.message)
    if status.phase == "ready":
        server.show_once(types.MessageType.Info, status.limits)
        server.show_once(types.MessageType.Warning, _crash_message(status.crash))


def _crash_message(crash: str) -> str:
    if not crash:
        return ""
    return f"The engine ended unexpectedly and was started again: {crash}. See `codellama-ls engine logs`."
