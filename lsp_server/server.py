"""The routing table: which features a language server has."""

from __future__ import annotations

from lsp_server.features import configuration, inline_completion, keys, lifecycle, statistics, surroundings, trace
from lsp_server.session import CodeLlamaServer


def create_server() -> CodeLlamaServer:
    """A server with all its features; what depends on the client is registered when it says ``initialize``."""
    server = CodeLlamaServer()
    for feature in (lifecycle, configuration, keys, inline_completion, surroundings, statistics, trace):
        feature.register(server)
    return server
