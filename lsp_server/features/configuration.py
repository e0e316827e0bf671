"""``workspace/didChangeConfiguration`` and ``initializationOptions``: validate settings and report invalid ones."""

from __future__ import annotations

import asyncio
from typing import Any

from lsprotocol import types

from lsp_server.backend import allowed_servers
from lsp_server.session import CodeLlamaServer
from lsp_server.settings import parse_settings, save

SECTION = "codellama"


def register(server: CodeLlamaServer) -> None:
    """Register the notification. Clients push settings, or push nothing and let the server pull them."""
    server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)(did_change_configuration)


async def did_change_configuration(server: CodeLlamaServer, params: types.DidChangeConfigurationParams) -> None:
    """Apply the pushed settings, or request them if the client only announces a change."""
    settings = params.settings
    workspace = server.client_capabilities.workspace
    if not settings and workspace is not None and workspace.configuration:
        items = [types.ConfigurationItem(section=SECTION)]
        response = await server.workspace_configuration_async(types.ConfigurationParams(items=items))
        settings = response[0] if response else None
    apply(server, settings)


def apply(server: CodeLlamaServer, raw: Any) -> None:
    """Use the settings ``raw`` from now on. Show one warning with all problems; invalid values get their defaults."""
    server.settings, problems = parse_settings(raw)
    server.context.invalidate()
    problems += filter(None, [allowed_servers.setting_problem(server.settings.engine.url, server.engine_url)])
    save(server.settings.engine, problems)
    if problems:
        message = types.ShowMessageParams(types.MessageType.Warning, "codellama-ls: " + " ".join(problems))
        # nothing may be sent before the response to `initialize`
        asyncio.get_running_loop().call_soon(server.window_show_message, message)
