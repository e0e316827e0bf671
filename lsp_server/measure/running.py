"""A measurement run from a command line: what came of it, or one sentence and an exit status. Knows no measurement."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from inference.models.catalog import UnknownModelError
from lsp_server.measure.files import NoFilesError
from lsp_server.measure.sides.side import BenchError


def run(measuring: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any] | int:
    """What ``measuring`` returns, or an exit status: 1 where it can't be measured, 2 for files that are not there."""
    try:
        return asyncio.run(measuring)
    except (BenchError, NoFilesError, UnknownModelError) as error:
        print(f"codellama-ls: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, NoFilesError) else 1
