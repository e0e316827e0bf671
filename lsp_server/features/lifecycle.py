"""``initialize``, ``initialized`` and ``shutdown``: the first answers at once, the engine is found beside."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lsprotocol import types

from inference.serving.spawn import EngineOptions
from inference.serving.state import Status
from lsp_server.engine_link import EngineLink
from lsp_server.features import completion
from lsp_server.features.configuration import apply
from lsp_server.features.progress import EngineProgress
from lsp_server.session import CodeLlamaServer

log = logging.getLogger(__name__)

STATUS = "codellama/status"
"""Our own notification: the engine's status, whenever it changes."""


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
    document = params.capabilities.text_document
    if document is None or document.inline_completion is None:
        completion.register(server)


def initialized(server: CodeLlamaServer, params: types.InitializedParams) -> None:
    """Look for the engine."""
    del params
    chosen = server.settings.engine
    context = chosen.context or None
    options = EngineOptions(
        chosen.model, chosen.format, chosen.grace_seconds, context, chosen.chat_model, chosen.idle_minutes * 60
    )
    progress = EngineProgress(server)
    server.link = EngineLink(options, lambda status: _tell(server, progress, status))
    server.link.start()


async def shutdown(server: CodeLlamaServer, params: None) -> None:
    """Give up the lease: the engine stays if another window holds one."""
    del params
    server.suggestions.generations.stop()
    if server.link is not None:
        await server.link.stop()
        server.link = None


def _wants_status(server: CodeLlamaServer) -> bool:
    """A client that knows our status notification says so under ``experimental``, as rust-analyzer's clients do."""
    experimental: Any = server.client_capabilities.experimental
    if isinstance(experimental, Mapping):
        return bool(experimental.get("codellamaStatus"))
    return bool(getattr(experimental, "codellamaStatus", False))


def _tell(server: CodeLlamaServer, progress: EngineProgress, status: Status) -> None:
    log.info("engine: %s %s %d%%", status.phase, status.message, status.progress)
    progress.show(status)
    if _wants_status(server):
        server.protocol.notify(STATUS, status.to_json())
    if status.phase == "failed":
        _say_once(server, types.MessageType.Error, status.message)
    if status.phase == "ready":
        _say_once(server, types.MessageType.Info, status.limits)
        _say_once(server, types.MessageType.Warning, _sentence(status.crash))


def _sentence(crash: str) -> str:
    return f"The engine ended unexpectedly and was started again: {crash}. See `codellama-ls engine logs`." * bool(
        crash
    )


def _say_once(server: CodeLlamaServer, kind: types.MessageType, text: str) -> None:
    """In this window; an empty text never."""
    if text in server.told:
        return
    server.told.add(text)
    server.window_show_message(types.ShowMessageParams(kind, f"codellama-ls: {text}"))
