"""``initialize``, ``initialized`` and ``shutdown``: the first answers at once, the engine is found beside."""

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
from lsp_server.features import completion, usage_statistics
from lsp_server.features.configuration import apply
from lsp_server.lsp import progress as work
from lsp_server.lsp.params import announces
from lsp_server.lsp.progress import EngineProgress
from lsp_server.session import CodeLlamaServer

log = logging.getLogger(__name__)

STATUS = "codellama/status"
"""Our own notification: the engine's status and what was accepted ``today``, whenever one of them changes."""


def register(server: CodeLlamaServer) -> None:
    """The three notifications and requests of a session's beginning and end."""
    server.feature(types.INITIALIZE)(initialize)
    server.feature(types.INITIALIZED)(initialized)
    server.feature(types.SHUTDOWN)(shutdown)


def initialize(server: CodeLlamaServer, params: types.InitializeParams) -> None:
    """Read the settings and see what the client can do."""
    apply(server, params.initialization_options)
    info = params.client_info
    server.keeps_lines = info is not None and info.name.lower() in ("neovim", "nvim", "vim")
    usage_statistics.meet(server, params)
    document = params.capabilities.text_document
    if document is None or document.inline_completion is None:
        completion.register(server)


def initialized(server: CodeLlamaServer, params: types.InitializedParams) -> None:
    """Look for the engine, or for the server elsewhere."""
    del params
    progress = EngineProgress(server)
    server.link = _link(server, lambda status: _tell(server, progress, status))
    server.link.start()
    server.statistics.start(_from_a_thread(lambda: _show_status(server)))


async def shutdown(server: CodeLlamaServer, params: None) -> None:
    """Give up the lease: the engine stays if another window holds one."""
    del params
    server.suggestions.generations.stop()
    server.chats.stop()
    server.watch.forget()
    await work.end_all(server)
    await asyncio.to_thread(server.statistics.close)
    if server.link is not None:
        await server.link.stop()
        server.link = None


def _from_a_thread(action: Callable[[], None]) -> Callable[[], None]:
    """``action``, to be called by another thread than the event loop's; not once that has ended."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(action)

    return call


def _show_status(server: CodeLlamaServer) -> None:
    if server.link is not None and announces(server, "codellamaStatus"):
        server.protocol.notify(STATUS, {**server.link.status.to_json(), "today": usage_statistics.today(server)})


def _link(server: CodeLlamaServer, on_status: Callable[[Status], None]) -> Backend:
    """To the server elsewhere that the person has named, or else to the engine of one's own."""
    chosen = server.settings.engine
    if allowed_servers.is_named(server.engine_url):
        wanted = ProbeRequest(chosen.model, chosen.chat_model)
        warn = partial(say_once, server, types.MessageType.Warning)
        return RemoteServer(partial(allowed_servers.find, server.engine_url), wanted, on_status, warn)
    context = chosen.context or None
    options = EngineOptions(
        chosen.model, chosen.format, chosen.grace_seconds, context, chosen.chat_model, chosen.idle_minutes * 60
    )
    return LocalEngine(options, on_status)


def _tell(server: CodeLlamaServer, progress: EngineProgress, status: Status) -> None:
    log.info("engine: %s %s %d%%", status.phase, status.message, status.progress)
    progress.show(status)
    _show_status(server)
    if status.phase == "failed":
        say_once(server, types.MessageType.Error, status.message)
    if status.phase == "ready":
        say_once(server, types.MessageType.Info, status.limits)
        say_once(server, types.MessageType.Warning, _sentence(status.crash))


def _sentence(crash: str) -> str:
    return f"The engine ended unexpectedly and was started again: {crash}. See `codellama-ls engine logs`." * bool(
        crash
    )


def say_once(server: CodeLlamaServer, kind: types.MessageType, text: str) -> None:
    """Tell the person, once in this window; an empty text never."""
    if text in server.told:
        return
    server.told.add(text)
    server.window_show_message(types.ShowMessageParams(kind, f"codellama-ls: {text}"))
