"""What a client says of itself under ``experimental``, as rust-analyzer's clients do. Knows no meaning of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsp_server.session import CodeLlamaServer


def announces(server: CodeLlamaServer, name: str) -> bool:
    """Does the client's ``experimental`` capability say ``name``?"""
    experimental: Any = server.client_capabilities.experimental
    found = experimental.get(name) if isinstance(experimental, Mapping) else getattr(experimental, name, False)
    return bool(found)
