"""The routing table: which features a language server has."""

from __future__ import annotations

from lsp_server.features import (
    chat,
    code_actions,
    commit_message,
    configuration,
    edit,
    explain,
    inline_completion,
    language_model,
    lifecycle,
    text_sync,
    trace,
    usage_statistics,
)
from lsp_server.lsp import documents
from lsp_server.session import CodeLlamaServer


def create_server(engine_url: str = "") -> CodeLlamaServer:
    """A server with all its features; what depends on the client is registered when it says ``initialize``.

    ``engine_url`` is the address of a server elsewhere to use, as the command line names it.
    """
    server = CodeLlamaServer(engine_url)
    features = (
        lifecycle,
        configuration,
        text_sync,
        inline_completion,
        documents,
        usage_statistics,
        chat,
        commit_message,
        trace,
    )
    for feature in (*features, language_model, code_actions, explain, edit):
        feature.register(server)
    return server
