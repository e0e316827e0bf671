"""The routing table: which features a language server has."""

from __future__ import annotations

from lsp_server.features import (
    chat,
    code_actions,
    commit,
    configuration,
    edit,
    explain,
    inline_completion,
    keys,
    language_model,
    lifecycle,
    statistics,
    surroundings,
    trace,
)
from lsp_server.session import CodeLlamaServer


def create_server(engine_url: str = "") -> CodeLlamaServer:
    """A server with all its features; what depends on the client is registered when it says ``initialize``.

    ``engine_url`` is the address of a server elsewhere to use, as the command line names it.
    """
    server = CodeLlamaServer(engine_url)
    features = (lifecycle, configuration, keys, inline_completion, surroundings, statistics, chat, commit, trace)
    for feature in (*features, language_model, code_actions, explain, edit):
        feature.register(server)
    return server
