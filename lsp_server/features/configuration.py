"""``workspace/didChangeConfiguration`` and ``initializationOptions``: settings, checked, with a word about bad ones."""

from __future__ import annotations

import asyncio
from typing import Any

from lsprotocol import types

from lsp_server import settings as settings_kept
from lsp_server.backend import allowed_servers
from lsp_server.session import CodeLlamaServer
from lsp_server.settings import parse_settings

SECTION = "codellama"


def register(server: CodeLlamaServer) -> None:
    """Settings may be pushed, or be pulled after an empty push."""
    server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)(did_change_configuration)


async def did_change_configuration(server: CodeLlamaServer, params: types.DidChangeConfigurationParams) -> None:
    """Take the pushed settings, or ask for them where the client only says that something changed."""
    settings = params.settings
    workspace = server.client_capabilities.workspace
    if not settings and workspace is not None and workspace.configuration:
        items = [types.ConfigurationItem(section=SECTION)]
        answer = await server.workspace_configuration_async(types.ConfigurationParams(items=items))
        settings = answer[0] if answer else None
    apply(server, settings)


def apply(server: CodeLlamaServer, raw: Any) -> None:
    """Use ``raw`` from now on; what is wrong in it is said once and defaulted."""
    server.settings, problems = parse_settings(raw)
    server.context.thaw()
    problems += filter(None, [allowed_servers.objection(server.settings.engine.url, server.engine_url)])
    settings_kept.save(server.settings.engine, problems)
    if problems:
        message = types.ShowMessageParams(types.MessageType.Warning, "codellama-ls: " + " ".join(problems))
        # after the response to `initialize`, before which nothing may be sent
        asyncio.get_running_loop().call_soon(server.window_show_message, message)
