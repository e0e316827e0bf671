"""Create the language server with all its features."""

from __future__ import annotations

from lsp_server.features import (
    chat,
    chat_model,
    code_actions,
    commit_message,
    configuration,
    edit,
    explain,
    inline_completion,
    lifecycle,
    text_sync,
    trace_records,
    usage_statistics,
)
from lsp_server.session import CodeLlamaServer


def create_server(engine_url: str = "") -> CodeLlamaServer:
    """Return a server with all its features. Those that depend on the client are registered at ``initialize``.

    ``engine_url``: address of a remote server, from the command line; empty for the local engine.
    """
    server = CodeLlamaServer(engine_url)
    for feature in (
        lifecycle,
        configuration,
        text_sync,
        inline_completion,
        usage_statistics,
        chat,
        commit_message,
        trace_records,
        chat_model,
        code_actions,
        explain,
        edit,
    ):
        feature.register(server)
    return server
